"""Windows of five frames and the sound that belongs to them: what the networks see in training.

An index of all usable windows is made once, with counts and reasons for those that are not. Item i of it is always the
same item for the same seed. Faces are kept as one array of 96x96 crops per clip that is read through the page cache.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from . import audio
from .config import WindowsConfig, settings_hash
from .errors import DataError
from .parallel import Failure, map_items
from .project import DataSet, atomic_file
from .records import FaceClip, read_rows

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


def load_clips(data: DataSet, *, scheduler: str = "processes") -> list[ClipFaces]:
    """Read the faces of stage 04: every clip of faces.csv that has some.

    The crops of a clip are shrunk to 96x96 once and kept in cache/crops/. Raises DataError naming the clips whose
    files are missing or damaged, or where there is no clip at all.
    """
    items = [(data, row) for row in read_rows(data.path("faces.csv"), FaceClip) if row.folder]
    if not items:
        raise DataError(f"{data.path('faces.csv')} has no clip with faces: run notebook 04 and look at its reasons")
    to_do = [item for item in items if not packed_path(*item).is_file()]
    packed = map_items(pack, to_do, scheduler=scheduler, desc="crops", unit="clip")
    if bad := [f"{row.clip_id}: {made.error}" for (_, row), made in packed if isinstance(made, Failure)]:
        words = f"{len(bad)} of {len(items)} clips cannot be used for training ({'; '.join(bad[:10])})"
        raise DataError(f"{words}. Run notebook 04 again.")
    return [open_clip(*item) for item in items]


def packed_path(data: DataSet, row: FaceClip) -> Path:
    """Where a clip's array lies; the name changes when stage 04 writes the clip anew."""
    folder = data.root / row.folder
    when = folder.stat().st_mtime_ns if folder.is_dir() else 0
    name = f"{row.clip_id}-{settings_hash(when, row.frames, row.faces)}.npy"
    return data.cache / "crops" / row.video_id / name


def crops_of(folder: Path) -> dict[int, Path]:
    """The pictures of a clip's folder by frame."""
    return {int(path.stem): path for path in folder.glob("*.jpg") if path.stem.isdigit()}


def pack(item: tuple[DataSet, FaceClip]) -> None:
    """Write one clip's crops, 96x96, as one array; frames without a face stay black."""
    folder, target, row = item[0].root / item[1].folder, packed_path(*item), item[1]
    crops = crops_of(folder)
    if not (crops and (folder / "mel.npy").is_file()):
        raise DataError("its face crops or mel.npy are missing")
    faces = np.zeros((max(row.frames or 0, max(crops) + 1), FACE_PX, FACE_PX, 3), np.uint8)
    for frame, path in crops.items():
        crop = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if crop is None:
            raise DataError(f"{path.name} is an empty or damaged picture")
        faces[frame] = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)
    for old in target.parent.glob(f"{row.clip_id}-*.npy"):
        old.unlink()
    with atomic_file(target) as temporary:
        np.save(temporary, faces)


def open_clip(data: DataSet, row: FaceClip) -> ClipFaces:
    """A clip with its sound; the faces are mapped into memory."""
    faces, folder = np.load(packed_path(data, row), mmap_mode="r"), data.root / row.folder
    present = np.isin(np.arange(len(faces)), list(crops_of(folder)))
    return ClipFaces(row.clip_id, row.video_id, row.split, faces, present, np.load(folder / "mel.npy"))


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
        words = (f"{c.clip_id}: {len(c.present)} frames, sound longer by {c.drift_s:.2f} s" for c in drifting[:10])
        raise DataError(
            f"{len(drifting)} clips are not at 25 fps throughout ({'; '.join(words)}). "
            "Mixed frame rates: run stage 02 again."
        )
    whys = [why_not(clip, settings) for clip in clips]
    items = [(number, frame) for number, why in enumerate(whys) for frame in np.flatnonzero(why == "")]
    unusable = Counter(why for clip in whys for why in clip.tolist() if why)
    if not items:
        raise DataError(f"no usable window in {len(clips)} clips; reasons: {dict(unusable)}")
    left_out = {
        c.clip_id: Counter(why.tolist()).most_common(1)[0][0] for c, why in zip(clips, whys) if (why != "").all()
    }
    return WindowIndex(clips, np.array(items, np.int32), dict(unusable), left_out)


def why_not(clip: ClipFaces, settings: WindowsConfig) -> np.ndarray:
    """Why the window that begins at each frame of a clip cannot be used: text (n,), empty where it can."""
    n, columns = len(clip.present), clip.mel.shape[1]
    if n < MIN_FRAMES:
        return np.full(max(n - WINDOW + 1, 1), "too_short")
    whole = np.lib.stride_tricks.sliding_window_view(clip.present, WINDOW).all(1)
    heard = [audio.training_window_starts(f, columns, settings.alignment) is not None for f in range(len(whole))]
    why = np.select([~whole, ~np.array(heard)], ["frame_without_face", "sound_incomplete"], "")
    good = np.flatnonzero(why == "")
    if len(good):  # far enough from the first or the last one: then a reference exists
        far = np.maximum(good - good[0], good[-1] - good) >= settings.min_distance
        why[good[~far]] = "no_reference"
    return why


def some_clips(index: WindowIndex, n: int) -> list[ClipFaces]:
    """At most n clips of an index, spread over it so that they come from several videos; always the same ones."""
    return index.clips[:: max(len(index.clips) // n, 1)][:n]


def summary(index: WindowIndex) -> str:
    """One paragraph: how many windows of how many clips, and why others cannot be used."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(index.unusable.items())) or "none"
    left_out = ", ".join(f"{clip} ({reason})" for clip, reason in index.left_out.items()) or "none"
    n_clips = len(index.clips) - len(index.left_out)
    return f"{len(index)} windows in {n_clips} clips; unusable windows: {reasons}; clips without any: {left_out}"


class Windows(torch.utils.data.Dataset):
    """The windows of an index as tensors. Item (index, epoch) is always the same for the same seed.

    faces, wrong: uint8 (3, 5, 96, 96) BGR: the window, and another one of the same clip (reference and false match).
    mels: float32 (5, 1, 80, 16), one per frame; sync_mel: (1, 80, 16); label: 1 if the expert sees the right faces.
    item: (clip, frame) of the index, to name it in messages. Crops with a margin (pretraining) keep their size.
    """

    def __init__(self, index: WindowIndex, settings: WindowsConfig):
        self.index, self.settings = index, settings
        clip, frames = index.items.T
        self._frames = np.split(frames, np.searchsorted(clip, range(1, len(index.clips))))  # of each clip

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        """key: index, or (index, epoch): another epoch draws another reference."""
        number, epoch = key if isinstance(key, tuple) else (key, 0)
        (clip_number, frame), settings = self.index.items[number].tolist(), self.settings
        rng = np.random.default_rng((settings.seed, epoch, number))
        clip, other = self.index.clips[clip_number], self._other(clip_number, frame, rng)
        label = rng.random() < 0.5
        sync, starts = audio.training_window_starts(frame, clip.mel.shape[1], settings.alignment)
        right, wrong = (clip.faces[first : first + WINDOW].transpose(3, 0, 1, 2).copy() for first in (frame, other))
        return {
            "faces": torch.from_numpy(right),
            "wrong": torch.from_numpy(wrong),
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


def order(index: WindowIndex, epoch: int, seed: int, windows_per_clip: int = 1) -> np.ndarray:
    """The order in which an epoch goes through the windows: int64 (n,), a permutation.

    windows_per_clip: so many in a row come from one clip; what is left over of a clip is then not seen in this epoch.
    """
    rng = np.random.default_rng((seed, epoch, 77))
    shuffled = rng.permutation(len(index))
    if windows_per_clip == 1:
        return shuffled
    by_clip = shuffled[np.argsort(index.items[shuffled, 0], kind="stable")]
    clips = np.split(by_clip, np.flatnonzero(np.diff(index.items[by_clip, 0])) + 1)
    groups = [c[: len(c) // windows_per_clip * windows_per_clip].reshape(-1, windows_per_clip) for c in clips]
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
        self.steps, self.batch_size, self.rank, self.world = range(first, last), batch_size, rank, world
        self._order = lru_cache(2)(lambda epoch: order(index, epoch, settings.seed, windows_per_clip))
        self._epoch_length = len(self._order(0))  # of every epoch: what is left over depends on the clips alone

    def __len__(self):
        return len(self.steps)

    def __iter__(self):
        for step in self.steps:
            start = (step * self.world + self.rank) * self.batch_size
            places = (divmod(place, self._epoch_length) for place in range(start, start + self.batch_size))
            yield [(int(self._order(epoch)[place]), epoch) for epoch, place in places]
