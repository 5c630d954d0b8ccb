"""FaceBox: where a face is. FaceTable: every face of every frame of a medium."""

import enum
import functools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd

from ..errors import FaceError

SIDES = ["left", "top", "right", "bottom"]
RAW = [f"raw_{side}" for side in SIDES]


@dataclass(frozen=True)
class FaceBox:
    """A rectangle in pixels of the full frame; right and bottom are outside, so width is right - left."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self):
        if not all(map(math.isfinite, astuple(self))) or not (self.left < self.right and self.top < self.bottom):
            raise FaceError(f"not a box: need left < right and top < bottom, got {astuple(self)}")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """(4,) left, top, right, bottom: numpy calculates with boxes."""
        return np.array(astuple(self), dtype)

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
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        common = max(width, 0) * max(height, 0)
        return common / (self.area + other.area - common)

    def contains(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    def padded(self, top: float = 0, bottom: float = 0, left: float = 0, right: float = 0) -> "FaceBox":
        """The box grown by so many pixels at each side (order of the reference's option: top, bottom, left, right)."""
        return FaceBox(self.left - left, self.top - top, self.right + right, self.bottom + bottom)

    def grown(self, share: float) -> "FaceBox":
        """The box grown at each side by a share of its height or width."""
        return self.padded(*(share * self.height,) * 2, *(share * self.width,) * 2)

    def inside(self, width: int, height: int) -> "FaceBox":
        """Whole pixels, clipped to a picture of that size. Raises FaceError where nothing is left."""
        left, top, right, bottom = map(round, astuple(self))
        return FaceBox(max(0, left), max(0, top), min(width, right), min(height, bottom))

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """The part of a frame (h, w, ...) inside the box, clipped to the frame; a view, not a copy."""
        b = self.inside(frame.shape[1], frame.shape[0])
        return frame[b.top : b.bottom, b.left : b.right]


class How(enum.StrEnum):
    """How a row came about."""

    DETECTED = "detected"  # the detector fired in this frame
    TRACKED = "tracked"  # followed from a frame in which it did
    GAP = "gap"  # there is no face in this frame
    GIVEN = "given"  # came from outside: from_boxes


@dataclass(frozen=True)
class FaceRow:
    """A row, also of a CSV in the cache: one face in one frame.

    left .. bottom: normalised extent, smooth over time; raw_left ..: the detector's own box; a gap has neither.
    score: of the detector; a tracked face carries that of the detections around it.
    """

    frame: int
    track_id: int | None  # in memory -1 instead of None: no face at all
    left: float | None
    top: float | None
    right: float | None
    bottom: float | None
    raw_left: float | None
    raw_top: float | None
    raw_right: float | None
    raw_bottom: float | None
    score: float | None
    how: How


COLUMNS = list(FaceRow.__dataclass_fields__)
TYPES = {"frame": int, "track_id": int, "how": object, **dict.fromkeys([*SIDES, *RAW, "score"], np.float32)}


@dataclass(frozen=True, eq=False)
class FaceTable:
    """Faces by frame and track. size: (width, height) of the frames in pixels.

    rows: a DataFrame with the columns of FaceRow, sorted by frame, then track; every frame has a row.
    """

    size: tuple[int, int]
    n_frames: int
    fps: float
    rows: pd.DataFrame
    from_cache: bool = False

    @property
    def seen(self) -> pd.DataFrame:
        """The rows that hold a face, no gaps."""
        return self.rows[self.rows.left.notna()]

    @property
    def track_ids(self) -> list[int]:
        """All tracks: one number per person, in the order of first appearance, left to right."""
        return np.unique(self.seen.track_id).tolist()

    def rows_of(self, track_id: int) -> pd.DataFrame:
        """The rows that hold the track's face. Raises FaceError for a track that is not in the table."""
        rows = self.seen[self.seen.track_id == track_id]
        if rows.empty:
            raise FaceError(f"no track {track_id} here; the tracks are {self.track_ids}")
        return rows

    def track_boxes(self, track_id: int, raw: bool = False) -> np.ndarray:
        """(n_frames, 4) float32 left, top, right, bottom of one track; NaN where it is not seen.

        Raises FaceError for a track that is not in the table.
        """
        boxes = self.rows_of(track_id).set_index("frame")[RAW if raw else SIDES]
        return boxes.reindex(range(self.n_frames)).to_numpy()

    @functools.cached_property
    def faces(self) -> tuple[dict[int, dict[int, FaceBox]], ...]:
        """The normalised faces and the raw ones by frame, then track; a DataFrame needs milliseconds for each frame."""
        found = {}, {}
        for frame, track, *sides in self.seen[["frame", "track_id", *SIDES, *RAW]].itertuples(index=False):
            for faces, box in zip(found, (sides[:4], sides[4:])):
                faces.setdefault(frame, {})[track] = FaceBox(*box)
        return found

    def at(self, frame: int, raw: bool = False) -> dict[int, FaceBox]:
        """The faces of one frame by track."""
        return {**self.faces[raw].get(frame, {})}

    def best_frame(self, track_id: int) -> int:
        """A frame that shows the track's face well: largest and surest. Raises FaceError for an unknown track."""
        rows = self.rows_of(track_id)
        side = np.sqrt((rows.right - rows.left) * (rows.bottom - rows.top))
        return int(rows.frame[(side * (1 + rows.score.fillna(0).clip(0, 2))).idxmax()])

    def thinned(self, frames: Sequence[int]) -> "FaceTable":
        """Only these frames, renumbered 0, 1, .. in the order given; for a picture sequence made of some frames."""
        wanted = pd.DataFrame({"number": range(len(frames)), "frame": frames}).merge(self.rows, on="frame")
        rows = wanted.drop(columns="frame").rename(columns={"number": "frame"})
        return FaceTable(self.size, len(frames), self.fps, rows, self.from_cache)

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, size, n_frames: int, fps: float, from_cache=False) -> "FaceTable":
        """Rows in any order, put in order; a frame that they do not name gets a row without a face."""
        rows = rows.astype({"frame": int}).merge(pd.DataFrame({"frame": range(n_frames)}), how="right")
        rows = rows.fillna({"track_id": -1, "how": How.GAP}).sort_values(["frame", "track_id"], ignore_index=True)
        return cls((int(size[0]), int(size[1])), n_frames, float(fps), rows[COLUMNS].astype(TYPES), from_cache)

    @classmethod
    def from_boxes(cls, boxes: Sequence, size: tuple[int, int], fps: float = 25.0) -> "FaceTable":
        """A table of boxes from elsewhere: one entry per frame, a face, None, or a list of faces (place = track).

        A face is a FaceBox or four numbers left, top, right, bottom; so an (n, 4) or (n, faces, 4) array will do.
        size: (width, height) of the frames.  The boxes are taken as they are, nothing is smoothed.
        """
        rows = []
        for frame, entry in enumerate(boxes):
            one = entry is None or isinstance(entry, FaceBox) or (len(entry) and np.isscalar(entry[0]))
            for track, face in enumerate([entry] if one else entry):
                if face is not None:
                    sides = np.array(FaceBox(*np.array(face, float).tolist()))
                    rows.append((frame, track, *sides, *sides, None, How.GIVEN))
        return cls.of_rows(pd.DataFrame(rows, columns=COLUMNS), size, len(boxes), fps)
