"""FaceTable: every face of every frame of a medium, one row per face."""

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FaceError
from .box import FaceBox


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
        return FaceBox(*(float(value) for value in entry))
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
        for i in range(len(self)):
            yield self.row(i)

    def row(self, i: int) -> FaceRow:
        """Row i as a record."""
        gap = bool(np.isnan(self.box[i, 0]))
        raw = None if np.isnan(self.raw[i, 0]) else FaceBox(*self.raw[i].tolist())
        return FaceRow(
            int(self.frame[i]),
            int(self.track[i]) if self.track[i] >= 0 else None,
            None if gap else FaceBox(*self.box[i].tolist()),
            raw,
            None if np.isnan(self.score[i]) else float(self.score[i]),
            HOWS[self.how[i]],
        )

    @property
    def seen(self) -> np.ndarray:
        """(n,) bool: rows that hold a face, no gaps."""
        return ~np.isnan(self.box[:, 0])

    @property
    def track_ids(self) -> list[int]:
        """All tracks: one number per person, in the order of first appearance, left to right."""
        return np.unique(self.track[self.seen]).tolist()

    def frames_of(self, track_id: int) -> np.ndarray:
        """The frames (k,) in which the track's face is seen, ascending."""
        return self.frame[self.seen & (self.track == track_id)]

    def track_boxes(self, track_id: int, raw: bool = False) -> np.ndarray:
        """(n_frames, 4) float32 left, top, right, bottom of one track; NaN where it is not seen.

        Raises FaceError for a track that is not in the table.
        """
        rows = self.seen & (self.track == track_id)
        if not rows.any():
            raise FaceError(f"no track {track_id} here; the tracks are {self.track_ids}")
        boxes = np.full((self.n_frames, 4), np.nan, np.float32)
        boxes[self.frame[rows]] = (self.raw if raw else self.box)[rows]
        return boxes

    def at(self, frame: int) -> dict[int, FaceBox]:
        """The faces of one frame by track."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        return {
            int(self.track[i]): FaceBox(*self.box[i].tolist())
            for i in range(first, last)
            if not np.isnan(self.box[i, 0])
        }

    def box_of(self, track_id: int, frame: int) -> FaceBox | None:
        """The box of a track in a frame, None where it is not seen."""
        return self.at(frame).get(track_id)

    def best_frame(self, track_id: int) -> int:
        """A frame that shows the track's face well: largest and surest. Raises FaceError for an unknown track."""
        rows = np.flatnonzero(self.seen & (self.track == track_id))
        if not len(rows):
            raise FaceError(f"no track {track_id} here; the tracks are {self.track_ids}")
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
                rows.append(FaceRow(frame, track, box, box, None, How.GIVEN if box else How.GAP))
        return cls.from_rows(rows, size, len(boxes), fps)

    @classmethod
    def from_rows(cls, rows: Sequence[FaceRow], size: tuple[int, int], n_frames: int, fps: float) -> "FaceTable":
        """A table of records, put in order; a frame that no row names gets a row without a face."""
        named = {row.frame for row in rows if row.box is not None}
        rows = [r for r in rows if r.box is not None or (r.track_id is not None and r.track_id >= 0)]
        covered = {row.frame for row in rows} | named
        rows += [FaceRow(f, None, None, None, None, How.GAP) for f in range(n_frames) if f not in covered]
        rows.sort(key=lambda r: (r.frame, -1 if r.track_id is None else r.track_id))
        empty = (np.nan,) * 4
        four = [
            [dataclasses.astuple(b) if b else empty for b in column]
            for column in ((r.box for r in rows), (r.raw for r in rows))
        ]
        return cls(
            size=(int(size[0]), int(size[1])),
            n_frames=n_frames,
            fps=float(fps),
            frame=np.array([r.frame for r in rows], np.int32),
            track=np.array([-1 if r.track_id is None else r.track_id for r in rows], np.int32),
            box=np.array(four[0], np.float32).reshape(-1, 4),
            raw=np.array(four[1], np.float32).reshape(-1, 4),
            score=np.array([np.nan if r.score is None else r.score for r in rows], np.float32),
            how=np.array([HOWS.index(r.how) for r in rows], np.uint8),
        )
