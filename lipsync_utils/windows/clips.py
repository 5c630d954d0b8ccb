"""The faces and sound of one clip, as training reads them: packed once, then mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .. import audio
from ..config import settings_hash
from ..errors import DataError
from ..parallel import Failure, map_items
from ..project import DataSet, atomic_file
from ..records import FaceClip, read_rows

FACE_PX = 96


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
    rows = [row for row in read_rows(data.path("faces.csv"), FaceClip) if row.folder]
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
