"""FaceBox: where a face is. FaceTable: every face of every frame of a medium, one row per face."""

import dataclasses
import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from ..errors import FaceError


@dataclass(frozen=True)
class FaceBox:
    """A rectangle in pixels of the full frame; right and bottom are outside, so width is right - left."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self):
        if not all(map(math.isfinite, astuple(self))) or not (self.left < self.right and self.top < self.bottom):
            raise FaceError(
                f"not a box: left {self.left}, top {self.top}, right {self.right}, bottom {self.bottom}; "
                "need left < right and top < bottom"
            )

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def iou(self, other: "FaceBox") -> float:
        """Intersection over union with another box, 0..1."""
        return float(iou(astuple(self), astuple(other)))

    def contains(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    def padded(self, top: float = 0, bottom: float = 0, left: float = 0, right: float = 0) -> "FaceBox":
        """The box grown by so many pixels at each side (order of the reference's option: top, bottom, left, right)."""
        return FaceBox(self.left - left, self.top - top, self.right + right, self.bottom + bottom)

    def scaled(self, factor: float) -> "FaceBox":
        """The same box in a picture that is `factor` times as large."""
        return FaceBox(*(value * factor for value in astuple(self)))

    def inside(self, width: int, height: int) -> "FaceBox":
        """Whole pixels, clipped to a picture of that size. Raises FaceError where nothing is left."""
        left, top, right, bottom = map(round, astuple(self))
        return FaceBox(max(0, left), max(0, top), min(width, right), min(height, bottom))

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """The part of a frame (h, w, ...) inside the box, clipped to the frame; a view, not a copy."""
        b = self.inside(frame.shape[1], frame.shape[0])
        return frame[b.top : b.bottom, b.left : b.right]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) in the order left, top, right, bottom; broadcasts."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    common = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(axis=-1)
    both = sum((box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b))
    return common / np.maximum(both - common, 1e-9)


class How(enum.StrEnum):
    """How a row came about."""

    DETECTED = "detected"  # the detector fired in this frame
    TRACKED = "tracked"  # followed from a frame in which it did
    GAP = "gap"  # the face of a track, or (without a track) any face, is missing in this frame
    GIVEN = "given"  # came from outside: from_boxes, an imported file


HOWS = tuple(How)


@dataclass(frozen=True)
class FaceRow:
    """One face in one frame. box: normalised extent, smooth over time; raw: the detector's own box. A gap has neither.

    score: of the detector; a tracked face carries that of the detections around it. track_id: None: no face at all.
    """

    frame: int
    track_id: int | None
    box: FaceBox | None
    raw: FaceBox | None
    score: float | None
    how: How


def given_box(entry) -> FaceBox | None:
    """A FaceBox, or four numbers as one; None for anything else."""
    if isinstance(entry, FaceBox):
        return entry
    four = isinstance(entry, (tuple, list, np.ndarray)) and len(entry) == 4
    if four and all(isinstance(value, (int, float, np.number)) for value in entry):
        return FaceBox(*map(float, entry))
    return None


@dataclass(frozen=True, eq=False)
class FaceTable:
    """Faces by frame and track. size: (width, height) of the frames in pixels.

    Arrays of one length, sorted by frame, then track: frame (n,) int32; track (n,) int32, -1 in a frame without any
    face; box and raw (n, 4) float32 left, top, right, bottom, NaN in gaps; score (n,) float32; how (n,) uint8, index
    into HOWS. About 50 bytes a row, 4.5 MB an hour of one face.
    """

    size: tuple[int, int]
    n_frames: int
    fps: float
    frame: np.ndarray
    track: np.ndarray
    box: np.ndarray
    raw: np.ndarray
    score: np.ndarray
    how: np.ndarray
    from_cache: bool = False

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[FaceRow]:
        for frame, track, box, raw, score, how in zip(
            self.frame.tolist(), self.track.tolist(), self.box, self.raw, self.score.tolist(), self.how
        ):
            boxes = (None if np.isnan(b[0]) else FaceBox(*b.tolist()) for b in (box, raw))
            known = None if math.isnan(score) else score
            yield FaceRow(frame, track if track >= 0 else None, *boxes, known, HOWS[how])

    @property
    def seen(self) -> np.ndarray:
        """(n,) bool: rows that hold a face, no gaps."""
        return ~np.isnan(self.box[:, 0])

    @property
    def track_ids(self) -> list[int]:
        """All tracks: one number per person, in the order of first appearance, left to right."""
        return np.unique(self.track[self.seen]).tolist()

    def rows_of(self, track_id: int) -> np.ndarray:
        """The rows (k,) that hold the track's face. Raises FaceError for a track that is not in the table."""
        rows = np.flatnonzero(self.seen & (self.track == track_id))
        if not len(rows):
            raise FaceError(f"no track {track_id} here; the tracks are {self.track_ids}")
        return rows

    def frames_of(self, track_id: int) -> np.ndarray:
        """The frames (k,) in which the track's face is seen, ascending."""
        return self.frame[self.seen & (self.track == track_id)]

    def track_boxes(self, track_id: int, raw: bool = False) -> np.ndarray:
        """(n_frames, 4) float32 left, top, right, bottom of one track; NaN where it is not seen.

        Raises FaceError for a track that is not in the table.
        """
        rows = self.rows_of(track_id)
        boxes = np.full((self.n_frames, 4), np.nan, np.float32)
        boxes[self.frame[rows]] = (self.raw if raw else self.box)[rows]
        return boxes

    def at(self, frame: int) -> dict[int, FaceBox]:
        """The faces of one frame by track."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        rows = first + np.flatnonzero(self.seen[first:last])
        return {int(self.track[i]): FaceBox(*self.box[i].tolist()) for i in rows}

    def box_of(self, track_id: int, frame: int) -> FaceBox | None:
        """The box of a track in a frame, None where it is not seen."""
        return self.at(frame).get(track_id)

    def best_frame(self, track_id: int) -> int:
        """A frame that shows the track's face well: largest and surest. Raises FaceError for an unknown track."""
        rows = self.rows_of(track_id)
        side = np.sqrt((self.box[rows, 2] - self.box[rows, 0]) * (self.box[rows, 3] - self.box[rows, 1]))
        return int(self.frame[rows[np.argmax(side * (1 + np.clip(np.nan_to_num(self.score[rows]), 0, 2)))]])

    def thinned(self, frames: Sequence[int]) -> "FaceTable":
        """Only these frames, renumbered 0, 1, .. in the order given; for a picture sequence made of some frames."""
        parts = [np.arange(*np.searchsorted(self.frame, [f, f + 1])) for f in frames]
        rows = np.concatenate(parts) if parts else np.zeros(0, int)
        number = np.repeat(np.arange(len(parts)), [len(p) for p in parts]).astype(np.int32)
        columns = {name: getattr(self, name)[rows] for name in ("track", "box", "raw", "score", "how")}
        return dataclasses.replace(self, n_frames=len(parts), frame=number, **columns)

    @classmethod
    def of_columns(cls, columns: dict, size: tuple[int, int], n_frames: int, fps: float, **more) -> "FaceTable":
        """Columns in any order, put in order; a frame that they do not name gets a row without a face."""
        missing = np.setdiff1d(np.arange(n_frames), columns["frame"])
        gap = {"frame": 0, "track": -1, "box": (np.nan,) * 4, "raw": (np.nan,) * 4, "score": np.nan}
        gaps = {name: np.array([value] * len(missing)) for name, value in gap.items()}
        gaps |= {"frame": missing, "how": np.full(len(missing), HOWS.index(How.GAP))}
        types = {"frame": np.int32, "track": np.int32, "how": np.uint8}
        order = np.lexsort(tuple(np.append(columns[name], gaps[name]) for name in ("track", "frame")))
        made = {}
        for name, some in gaps.items():
            shape = (-1, 4) if name in ("box", "raw") else (-1,)
            both = [np.asarray(part, np.float64).reshape(shape) for part in (columns[name], some)]
            made[name] = np.concatenate(both)[order].astype(types.get(name, np.float32))
        return cls((int(size[0]), int(size[1])), n_frames, float(fps), **made, **more)

    @classmethod
    def from_boxes(cls, boxes: Sequence, size: tuple[int, int], fps: float = 25.0) -> "FaceTable":
        """A table of boxes from elsewhere: one entry per frame, a face, None, or a list of faces (place = track).

        A face is a FaceBox or four numbers left, top, right, bottom; so an (n, 4) or (n, faces, 4) array will do.
        size: (width, height) of the frames.  The boxes are taken as they are, nothing is smoothed.
        """
        rows = []
        for frame, entry in enumerate(boxes):
            one = entry is None or given_box(entry) or len(entry) == 0
            for track, face in enumerate([given_box(entry)] if one else entry):
                box = given_box(face)
                if box is None and face is not None:
                    raise FaceError(f"frame {frame}: {face!r} is not a box; use FaceBox(left, top, right, bottom)")
                rows.append((frame, track, astuple(box) if box else (np.nan,) * 4))
        frames, tracks, sides = zip(*rows) if rows else ((), (), ())
        how = [HOWS.index(How.GAP if np.isnan(s[0]) else How.GIVEN) for s in sides]
        columns = {"frame": frames, "track": tracks, "box": sides, "raw": sides, "how": how}
        return cls.of_columns(columns | {"score": np.full(len(rows), np.nan)}, size, len(boxes), fps)
