"""Windows of five frames and the sound that belongs to them: what the networks see in training.

An index of all usable windows is made once, with counts and reasons for those that are not. Item i of it is always the
same item for the same seed. Faces are kept as one array of 96x96 crops per clip that is read through the page cache.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from . import audio
from .config import WindowsConfig, settings_hash
from .errors import DataError
from .parallel import Failure, map_items
from .project import DataSet, atomic_file
from .records import FaceClip, read_csv

log = logging.getLogger(__name__)

FACE_PX = 96
WINDOW = audio.FRAMES_PER_WINDOW
MIN_FRAMES = 16  # a shorter clip is not used, as in the reference


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """The faces of one clip. faces: uint8 BGR (n, 96, 96, 3); present: bool (n,), False where a frame has no face;
    mel: float32 (80, m), 80 columns a second, both from the clip's start; split: "train" or "val"."""

    clip_id: str
    video_id: str
    split: str
    faces: np.ndarray
    present: np.ndarray
    mel: np.ndarray

    @property
    def drift_s(self) -> float:
        """Length of the sound minus length of the picture, in seconds, at 25 fps."""
        return (self.mel.shape[1] - 1) / audio.COLUMNS_PER_S - len(self.present) / audio.FRAME_RATE


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """All usable windows of some clips. items: int32 (n, 2), clip and first frame; unusable: windows by reason;
    left_out: clips without any usable window, with the reason."""

    clips: list[ClipFaces]
    items: np.ndarray
    unusable: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self):
        return len(self.items)

    @property
    def fingerprint(self) -> str:
        """A hash of what is in the index: clips, their lengths, windows."""
        facts = [(c.clip_id, len(c.present), c.mel.shape[1]) for c in self.clips]
        return settings_hash(facts, self.items.tolist())


def load_clips(data: DataSet, *, scheduler: str = "processes") -> list[ClipFaces]:
    """Read the faces of stage 04: every clip of faces.csv that has some.

    The crops of a clip are shrunk to 96x96 once and kept in cache/crops/. Raises DataError naming the clips whose
    files are missing or damaged, or where there is no clip at all.
    """
    rows = [row for row in read_csv(data.path("faces.csv"), FaceClip) if row.folder]
    if not rows:
        raise DataError(
            f"{data.path('faces.csv')} has no clip with faces: run notebook 04, and look at its reasons there"
        )
    cache = data.cache / "crops"
    work = [(data.root, cache, row) for row in rows]
    bad, packed = {}, {}
    to_do = [item for item in work if not _packed_path(item).is_file()]
    for item, result in map_items(_pack, to_do, scheduler=scheduler, desc="crops", unit="clip") if to_do else ():
        if isinstance(result, Failure):
            bad[item[2].clip_id] = result.error
    for item in work:
        if item[2].clip_id not in bad:
            try:
                packed[item[2].clip_id] = _open(item)
            except (OSError, ValueError, DataError) as error:
                bad[item[2].clip_id] = str(error)
    if bad:
        words = "; ".join(f"{clip}: {why}" for clip, why in sorted(bad.items())[:10])
        raise DataError(
            f"{len(bad)} of {len(rows)} clips cannot be used for training ({words}). Run notebook 04 again."
        )
    return [packed[row.clip_id] for row in rows]


def _source(item):
    root, _, row = item
    folder = Path(row.folder)
    return folder if folder.is_absolute() else root / folder


def _packed_path(item):
    """Where a clip's array lies; the name changes when stage 04 writes the clip anew."""
    folder, row = _source(item), item[2]
    when = folder.stat().st_mtime_ns if folder.is_dir() else 0
    return item[1] / row.video_id / f"{row.clip_id}-{settings_hash(when, row.frames, row.faces)}.npy"


def _pack(item):
    """Write one clip's crops, 96x96, as one array; frames without a face stay black."""
    folder, row = _source(item), item[2]
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    if not (folder / "audio.wav").is_file():
        raise DataError("audio.wav is missing")
    found = {int(p.stem): p for p in folder.glob("*.jpg") if p.stem.isdigit()}
    if not found:
        raise DataError("no face crops")
    faces = np.zeros((max(row.frames or 0, max(found) + 1), FACE_PX, FACE_PX, 3), np.uint8)
    for frame, path in found.items():
        crop = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if crop is None or not crop.size:
            raise DataError(f"{path.name} is an empty or damaged picture")
        faces[frame] = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)
    target = _packed_path(item)
    for old in target.parent.glob(f"{row.clip_id}-*.npy"):
        old.unlink()
    with atomic_file(target) as temporary:
        np.save(temporary, faces)
    return target


def _open(item):
    folder, row = _source(item), item[2]
    faces = np.load(_packed_path(item), mmap_mode="r")
    present = np.zeros(len(faces), bool)
    present[[int(p.stem) for p in folder.glob("*.jpg") if p.stem.isdigit()]] = True
    mel_file = folder / "mel.npy"
    mel = np.load(mel_file) if mel_file.is_file() else audio.melspectrogram(audio.load_wav(folder / "audio.wav"))
    if mel.ndim != 2 or mel.shape[0] != audio.N_MELS:
        raise DataError(f"mel.npy has shape {mel.shape}, wanted (80, n)")
    return ClipFaces(
        row.clip_id, row.video_id, row.split or "train", faces, present, mel.astype(np.float32, copy=False)
    )


def index_windows(clips: list[ClipFaces], settings: WindowsConfig, split: str | None = None) -> WindowIndex:
    """List the windows that can be used: five frames with a face, complete sound, and a second window to refer to.

    split: "train" or "val", None: all clips. Raises DataError naming clips whose sound and picture differ in length
    (the sign of another frame rate), and where nothing is left.
    """
    clips = [c for c in clips if split is None or c.split == split]
    if not clips:
        raise DataError(f"the list of {split or 'all'} clips is empty: run notebook 04, or choose another split")
    drifting = [c for c in clips if abs(c.drift_s) > settings.max_drift_s]
    if drifting:
        words = "; ".join(
            f"{c.clip_id}: {len(c.present)} frames, sound of {(c.mel.shape[1] - 1) / 80:.2f} s" for c in drifting[:10]
        )
        raise DataError(
            f"{len(drifting)} clips are not at 25 fps throughout ({words}). Mixed frame rates: run stage 02 again."
        )
    items, unusable, left_out = [], Counter(), {}
    for number, clip in enumerate(clips):
        good, reasons = usable_windows(clip, settings)
        unusable.update(reasons)
        if len(good):
            items.append(np.stack([np.full(len(good), number), good], 1))
        else:
            left_out[clip.clip_id] = max(reasons, key=reasons.get, default="too_short")
    if not items:
        raise DataError(f"no usable window in {len(clips)} clips; reasons: {dict(unusable)}")
    return WindowIndex(clips, np.concatenate(items).astype(np.int32), dict(unusable), left_out)


def usable_windows(clip: ClipFaces, settings: WindowsConfig) -> tuple[np.ndarray, Counter]:
    """The first frames of a clip's usable windows, and how many are not usable for which reason."""
    n, reasons = len(clip.present), Counter()
    if n < MIN_FRAMES:
        return np.empty(0, int), Counter(too_short=max(n - WINDOW + 1, 1))
    starts = np.arange(n - WINDOW + 1)
    whole = np.lib.stride_tricks.sliding_window_view(clip.present, WINDOW).all(1)
    heard = np.array(
        [audio.training_window_starts(int(f), clip.mel.shape[1], settings.alignment) is not None for f in starts]
    )
    reasons["frame_without_face"] = int((~whole).sum())
    reasons["sound_incomplete"] = int((whole & ~heard).sum())
    good = starts[whole & heard]
    if len(good):  # far enough from the first or the last one: then a reference exists
        paired = np.maximum(np.abs(good - good[0]), np.abs(good - good[-1])) >= settings.min_distance
        reasons["no_reference"] = int((~paired).sum())
        good = good[paired]
    return good, +reasons


class Windows(torch.utils.data.Dataset):
    """The windows of an index as tensors. Item (index, epoch) is always the same for the same seed.

    faces, wrong: uint8 (3, 5, 96, 96) BGR: the window, and another one of the same clip (reference and false match).
    mels: float32 (5, 1, 80, 16), one per frame; sync_mel: (1, 80, 16); label: 1 if the expert sees the right faces.
    item: (clip, frame) of the index, to name it in messages.
    """

    def __init__(self, index: WindowIndex, settings: WindowsConfig, mirror: bool = False):
        self.index, self.settings, self.mirror = index, settings, mirror
        bounds = np.searchsorted(index.items[:, 0], np.arange(len(index.clips) + 1))
        self._frames = [index.items[a:b, 1] for a, b in zip(bounds, bounds[1:])]

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        """key: index, or (index, epoch): another epoch draws another reference."""
        number, epoch = key if isinstance(key, tuple) else (key, 0)
        clip_number, frame = (int(v) for v in self.index.items[number])
        rng = np.random.default_rng((self.settings.seed, epoch, number))
        clip, wrong = self.index.clips[clip_number], self._other(clip_number, frame, rng)
        label, flip = rng.random() < 0.5, self.mirror and rng.random() < 0.5
        sync, starts = audio.training_window_starts(frame, clip.mel.shape[1], self.settings.alignment)
        return {
            "faces": _faces(clip, frame, flip),
            "wrong": _faces(clip, wrong, flip),
            "mels": torch.from_numpy(np.stack([audio.mel_window(clip.mel, s) for s in starts])[:, None]),
            "sync_mel": torch.from_numpy(audio.mel_window(clip.mel, sync)[None]),
            "label": torch.tensor(float(label)),
            "item": torch.tensor([clip_number, frame]),
        }

    def _other(self, clip_number, frame, rng):
        frames = self._frames[clip_number]
        far = frames[np.abs(frames - frame) >= self.settings.min_distance]
        return int(far[rng.integers(len(far))])

    def names(self, items) -> list[str]:
        """What a batch's "item" tensor (B, 2) stands for: "clip_id @ frame"."""
        return [f"{self.index.clips[int(c)].clip_id} @ {int(f)}" for c, f in items]


def _faces(clip, frame, flip):
    window = clip.faces[frame : frame + WINDOW]
    if flip:
        window = window[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(window.transpose(3, 0, 1, 2)))


def order(index: WindowIndex, epoch: int, seed: int, windows_per_clip: int = 1) -> np.ndarray:
    """The order in which an epoch goes through the windows: int64 (n,), a permutation.

    windows_per_clip: so many in a row come from one clip; what is left over of a clip is then not seen in this epoch.
    """
    rng = np.random.default_rng((seed, epoch, 77))
    shuffled = rng.permutation(len(index))
    if windows_per_clip == 1:
        return shuffled
    by_clip = shuffled[np.argsort(index.items[shuffled, 0], kind="stable")]
    bounds = np.flatnonzero(np.diff(index.items[by_clip, 0], prepend=-1, append=-1))
    groups = [
        by_clip[a : a + (b - a) // windows_per_clip * windows_per_clip].reshape(-1, windows_per_clip)
        for a, b in zip(bounds, bounds[1:])
    ]
    groups = np.concatenate(groups)
    if not len(groups):
        raise DataError(f"no clip has {windows_per_clip} usable windows: lower windows_per_clip")
    return groups[rng.permutation(len(groups))].ravel()


class StepBatches(torch.utils.data.Sampler):
    """Batches of keys (index, epoch) from one step on: epoch after epoch without a short batch, each window once.

    first, last: steps. rank, world: this process's share of every batch of world * batch_size windows. What a step
    sees depends on its number alone, so a resumed run continues exactly.
    """

    def __init__(self, index, settings: WindowsConfig, batch_size, first, last, *, windows_per_clip=1, rank=0, world=1):
        super().__init__()
        self.index, self.settings, self.batch_size, self.per_clip = index, settings, batch_size, windows_per_clip
        self.first, self.last, self.rank, self.world = first, last, rank, world
        self._orders = {}

    def __len__(self):
        return self.last - self.first

    def __iter__(self):
        whole = self.batch_size * self.world
        for step in range(self.first, self.last):
            start = step * whole + self.rank * self.batch_size
            yield [self._key(position) for position in range(start, start + self.batch_size)]

    def _key(self, position):
        # Every epoch has the same length: the leftovers of windows_per_clip depend on the clips alone.
        first = self._order(0)
        epoch, place = divmod(position, len(first))
        return int(self._order(epoch)[place]), epoch

    def _order(self, epoch):
        if epoch not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k in (0, epoch - 1)}
            self._orders[epoch] = order(self.index, epoch, self.settings.seed, self.per_clip)
        return self._orders[epoch]


def spread(index: WindowIndex, n: int) -> list[int]:
    """n windows spread evenly over an index, always the same ones: for validation."""
    return np.unique(np.linspace(0, len(index) - 1, min(n, len(index))).round().astype(int)).tolist()


def summary(index: WindowIndex) -> str:
    """One paragraph: how many windows of how many clips, and why others cannot be used."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(index.unusable.items())) or "none"
    return (
        f"{len(index)} windows in {len(index.clips) - len(index.left_out)} clips; unusable windows: {reasons}; "
        f"clips without any: {json.dumps(index.left_out) if index.left_out else 'none'}"
    )
