"""Where a mouth is in every frame: landmarks, calm over time, and the frames in which they cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import correlate1d, median_filter

from ..faces import FaceBox, FaceTable, extent, landmarks, steady_landmarks, to_detector_box

LOST = 0.028  # of the detector's box: landmarks that scatter more are no face's
COVERED = 0.012  # the same for the mouth's landmarks alone: something lies before it
MOST_YAW_DEG, MOST_PITCH_DEG = 42.0, 38.0
BRIDGED = 7  # frames over which a doubt is the median; shorter ones are bridged
CALM = np.array([1, 2, 3, 2, 1]) / 9  # weights over frames
LIPS = slice(48, 60)
# A head in mm for the pose: nose tip, chin, outer corners of the eyes (the picture's left one first), of the mouth
HEAD_MM = np.array([(0, 0, 0), (0, 66, 13), (-45, -34, 27), (45, -34, 27), (-30, 30, 25), (30, 30, 25)], float)
HEAD_POINTS = [30, 8, 36, 45, 48, 54]


@dataclass(frozen=True)
class Doubt:
    """Frames first .. last of the source in which a mouth is left as it is, and why."""

    track_id: int
    first: int
    last: int
    reason: str  # "not seen", "too small", "turned away" or "covered"

    def words(self, fps: float) -> str:
        """For a note: who, when, why."""
        when = f"{self.first / fps:.1f} to {(self.last + 1) / fps:.1f} s"
        return f"track {self.track_id}, {when}: the face is {self.reason}, its mouth stays as it is"


@dataclass(frozen=True)
class Mouth:
    """One person's mouth in the frames of a medium; NaN where it is not seen.

    points: (n, 68, 2) float32, calm over time.  lips: (n, 36, 2), outer lips as found in the frame and its neighbours.
    reason: (n,) why a frame is left as it is, "" where the mouth can be drawn.  by_landmarks: False where no landmarks
    were found at all (a drawing, an animal): then they lie where they lie in an average face in that box.
    """

    track_id: int
    points: np.ndarray
    lips: np.ndarray
    reason: np.ndarray
    by_landmarks: bool

    @property
    def doubts(self) -> list[Doubt]:
        """The frames that are left as they are."""
        starts = [0, *(np.flatnonzero(self.reason[1:] != self.reason[:-1]) + 1), len(self.reason)]
        parts = [(int(a), int(b) - 1, str(self.reason[a])) for a, b in zip(starts, starts[1:]) if b > a]
        return [Doubt(self.track_id, first, last, reason) for first, last, reason in parts if reason]


def find_mouths(
    pictures: Iterable[tuple[int, np.ndarray]],
    table: FaceTable,
    track_ids: Iterable[int],
    min_face_px: int = 40,
    bridged: int = BRIDGED,
) -> dict[int, Mouth]:
    """Find the mouths of these people.

    pictures: (frame number, uint8 BGR); a frame that does not come counts as one in which nobody is seen.
    """
    boxes, raw = ({track: table.track_boxes(track, raw=kind) for track in track_ids} for kind in (False, True))
    points = {track: np.full((table.n_frames, 68, 2), np.nan, np.float32) for track in boxes}
    scatter = {track: np.full((table.n_frames, 2), np.nan, np.float32) for track in boxes}
    for number, picture in pictures:
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        for track, rows in boxes.items():
            if not np.isnan(rows[number, 0]):
                start = FaceBox(*raw[track][number].tolist())
                if (rows[number] == raw[track][number]).all():  # given, not detected
                    start = to_detector_box(start)
                points[track][number], scatter[track][number] = steady_landmarks(grey, start)
    return {t: _mouth(t, boxes[t], points[t], scatter[t], min_face_px, bridged) for t in boxes}


def _mouth(
    track: int, boxes: np.ndarray, points: np.ndarray, scatter: np.ndarray, min_face_px: int, bridged: int
) -> Mouth:
    seen = ~np.isnan(points[:, 0, 0])
    by_landmarks = not seen.any() or bool(np.median(scatter[seen, 0]) < LOST)
    reason = np.where(np.isnan(boxes[:, 0]), "not seen", "").astype(object)
    reason[seen & (boxes[:, 2] - boxes[:, 0] < min_face_px)] = "too small"
    if by_landmarks:
        yaw, pitch = np.abs(head_pose(points))
        for amount, most, word in (
            (scatter[:, 1], COVERED, "covered"),
            (np.maximum(yaw - MOST_YAW_DEG, pitch - MOST_PITCH_DEG), 0, "turned away"),
        ):
            reason[np.flatnonzero(seen)[median_filter(amount[seen], bridged, mode="nearest") > most]] = word
        points = _bridged(points, seen & (scatter[:, 1] > 2 * COVERED) & (reason == ""))
    else:
        points = boxes[:, None, :2] + average_face() * (boxes[:, None, 2:] - boxes[:, None, :2])
    calm, lips = points.copy(), np.repeat(points[:, LIPS], 3, axis=1)
    for part in _runs(points, boxes, seen):
        calm[part] = correlate1d(points[part], CALM, axis=0, mode="nearest")
        last = len(points[part]) - 1
        near = [points[part][np.clip(np.arange(last + 1) + k, 0, last), LIPS] for k in (-1, 0, 1)]
        lips[part] = np.concatenate(near, axis=1)
    return Mouth(track, calm.astype(np.float32), lips.astype(np.float32), reason.astype(str), by_landmarks)


def average_face() -> np.ndarray:
    """The landmarks (68, 2) of an average face in a box from (0, 0) to (1, 1): what dlib sees in an empty picture."""
    found = landmarks(np.full((200, 200), 128, np.uint8), FaceBox(50, 50, 150, 150))
    left, top, right, bottom = extent.measure(found)
    return (found - (left, top)) / (right - left, bottom - top)


def _runs(points: np.ndarray, boxes: np.ndarray, seen: np.ndarray) -> list[slice]:
    """Stretches of seen frames without a cut (a jump of the box)."""
    middle, side = boxes[:, :2] + boxes[:, 2:], boxes[:, 2] - boxes[:, 0]
    jump = np.r_[True, np.linalg.norm(np.diff(middle, axis=0), axis=1) > 0.6 * side[1:]]
    starts = np.flatnonzero(seen & (jump | ~np.r_[False, seen[:-1]]))
    ends = [np.flatnonzero(np.r_[(~seen | jump)[a + 1 :], True])[0] + a + 1 for a in starts]
    return [slice(int(a), int(b)) for a, b in zip(starts, ends)]


def _bridged(points: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Points of a few lost frames from those before and after."""
    known = np.flatnonzero(~lost & ~np.isnan(points[:, 0, 0]))
    if not len(known) or not lost.any():
        return points
    flat, where = points.reshape(len(points), -1).copy(), np.flatnonzero(lost)
    for column in flat.T:
        column[where] = np.interp(where, known, column[known])
    return flat.reshape(points.shape)


def head_pose(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Yaw and pitch in degrees, roughly, of landmarks (n, 68, 2): positive to the picture's right, and downwards."""
    angles = np.full((2, len(points)), np.nan)
    for i in np.flatnonzero(~np.isnan(points[:, 0, 0])):
        shape = points[i, HEAD_POINTS].astype(float)
        far = 12 * np.linalg.norm(shape[1] - shape[2:4].mean(axis=0))  # a long lens: hardly any perspective
        camera = np.array([[far, 0, shape[0, 0]], [0, far, shape[0, 1]], [0, 0, 1]])
        found, turn, _ = cv2.solvePnP(HEAD_MM, shape, camera, None)
        forward = -cv2.Rodrigues(turn)[0][:, 2] * (1 if found else np.nan)
        if forward[2] > 0:
            forward = -forward
        angles[:, i] = np.degrees([np.arctan2(forward[0], -forward[2]), np.arctan2(forward[1], -forward[2])])
    return angles[0], angles[1]


def doubts(media: Path, table: FaceTable, track_ids: Iterable[int] | None = None, every: int = 5) -> list[Doubt]:
    """Where lip_sync will leave a mouth as it is, before anything is drawn. For the picker.

    Call it with the FaceTable that found the people and the chosen tracks (None: all), once per medium, since it reads
    every `every`-th frame of it; show `doubt.words(table.fps)`, or sum the frames: one that covers nearly the whole
    video is a reason to choose somebody else.
    """
    from .film import Source

    numbers = np.arange(0, table.n_frames, every)
    pictures = zip(range(len(numbers)), Source(Path(media)).pictures(numbers.tolist()))
    tracks = table.track_ids if track_ids is None else track_ids
    found = find_mouths(pictures, table.thinned(numbers), tracks, bridged=max(1, BRIDGED // every))
    last = table.n_frames - 1
    return [
        Doubt(d.track_id, d.first * every, min(d.last * every + every - 1, last), d.reason)
        for mouth in found.values()
        for d in mouth.doubts
    ]
