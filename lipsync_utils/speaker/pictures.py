"""Pictures of clips for contact sheets: what the filter looked at, and what it thought."""

from collections.abc import Iterable

import cv2
import numpy as np

from .. import media
from ..project import DataSet
from ..records import Clip, SpeakerCheck, read_rows
from .measure import SpeakerFace
from .stage import SpeakerResult

HEIGHT_PX = 180
SPEAKER_BGR, OTHER_BGR = (80, 220, 80), (60, 60, 240)


def sheet(
    data: DataSet, result: SpeakerResult, checks: Iterable[SpeakerCheck], tolerance: float, most: int = 12
) -> tuple[list[np.ndarray], list[str]]:
    """Pictures (180, w, 3) BGR and labels of up to `most` of the given clips, evenly chosen.

    The frame in the middle of the looked-at ones; the speaker's face framed in green, a doubled line around others.
    """
    checks = list(checks)
    checks = [checks[i] for i in np.unique(np.linspace(0, len(checks) - 1, min(most, len(checks))).astype(int))]
    files = {clip.clip_id: clip.file for clip in read_rows(data.path("clips.csv"), Clip)}
    pictures, labels = [], []
    for check in checks:
        rows = [row for row in result.faces if row.clip_id == check.clip_id and row.frame is not None]
        if not rows:
            continue
        middle = sorted({row.frame for row in rows})[len({row.frame for row in rows}) // 2]
        shown = [row for row in rows if row.frame == middle and row.distance is not None]
        frame = next(f.image_bgr for f in media.frames(data.root / files[check.clip_id]) if f.index == middle)
        pictures.append(framed(frame, shown, tolerance))
        near = "no face" if check.median_distance is None else f"distance {check.median_distance:.2f}"
        labels.append(f"{check.clip_id}\n{check.verdict}, {near}")
    return pictures, labels


def framed(frame_bgr: np.ndarray, faces: list[SpeakerFace], tolerance: float) -> np.ndarray:
    """A small copy of a frame with its faces framed."""
    factor = HEIGHT_PX / frame_bgr.shape[0]
    small = cv2.resize(frame_bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for face in faces:
        corners = [round(v * factor) for v in (face.left, face.top, face.right, face.bottom)]
        mine = face.distance <= tolerance
        cv2.rectangle(small, corners[:2], corners[2:], SPEAKER_BGR if mine else OTHER_BGR, 2)
        if not mine:
            cv2.rectangle(small, [v - 4 for v in corners[:2]], [v + 4 for v in corners[2:]], OTHER_BGR, 1)
    return small
