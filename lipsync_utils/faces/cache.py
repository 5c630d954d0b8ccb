"""Faces as CSV: one file per medium, written once, read strictly. No cell is ever evaluated."""

import csv
import math
import re
from pathlib import Path

import numpy as np

from ..errors import FaceError, ManifestError
from ..project import atomic_file
from .box import FaceBox
from .table import HOWS, FaceRow, FaceTable, How

COLUMNS = (
    "frame",
    "track_id",
    "left",
    "top",
    "right",
    "bottom",
    "raw_left",
    "raw_top",
    "raw_right",
    "raw_bottom",
    "score",
    "how",
)
HEAD = re.compile(
    r"# faces of (?P<media>[0-9a-f]+) found with (?P<settings>[0-9a-f]+): "
    r"(?P<width>\d+) x (?P<height>\d+) px, (?P<frames>\d+) frames, (?P<fps>\d+(?:\.\d+)?) fps"
)
ARTICLE_CELL = re.compile(r"[(\[]\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*[)\]]")


def write_table(path: Path, table: FaceTable, media: str, settings: str) -> None:
    """Write a table: a line that says what it is, a header, a row per face. media, settings: hashes, hexadecimal."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        width, height = table.size
        fps = f"{table.fps:.6f}".rstrip("0").rstrip(".")
        stream.write(
            f"# faces of {media} found with {settings}: {width} x {height} px, {table.n_frames} frames, {fps} fps\n"
        )
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i in range(len(table)):
            numbers = [*table.box[i], *table.raw[i]]
            writer.writerow(
                [
                    table.frame[i],
                    "" if table.track[i] < 0 else table.track[i],
                    *("" if np.isnan(v) else f"{v:.2f}" for v in numbers),
                    "" if np.isnan(table.score[i]) else f"{table.score[i]:.3f}",
                    HOWS[table.how[i]],
                ]
            )


def read_table(path: Path, media: str | None = None, settings: str | None = None) -> FaceTable:
    """Read a table that `write_table` wrote, for the medium and settings with these hashes if they are given.

    Raises ManifestError naming file, row (1 = first face) and column of anything that does not belong.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            head = HEAD.fullmatch(stream.readline().rstrip("\n"))
            if not head:
                raise ManifestError(
                    f"{path}: the first line does not say what these faces are of; delete the file to find them again"
                )
            for what, wanted in (("media", media), ("settings", settings)):
                if wanted is not None and head[what] != wanted:
                    raise ManifestError(f"{path}: made of other {what} ({head[what]}, not {wanted}); delete the file")
            rows = csv.reader(stream, strict=True)
            header = next(rows, [])
            if tuple(header) != COLUMNS:
                raise ManifestError(f"{path}: the columns are {','.join(header)}; they must be {','.join(COLUMNS)}")
            n_frames = int(head["frames"])
            parsed = [parse_row(path, number, cells, n_frames) for number, cells in enumerate(rows, 1)]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: not a CSV file ({error}); delete it to find the faces again") from None
    columns = np.array([p[:-1] for p in parsed], np.float64).reshape(-1, len(COLUMNS) - 1)
    frame, track = columns[:, 0].astype(np.int32), columns[:, 1].astype(np.int32)
    if np.any((np.diff(frame) < 0) | ((np.diff(frame) == 0) & (np.diff(track) <= 0))):
        raise ManifestError(f"{path}: rows are not in the order of frame and track, or doubled; delete the file")
    box, raw, score = (columns[:, part].astype(np.float32) for part in (slice(2, 6), slice(6, 10), 10))
    return FaceTable(
        size=(int(head["width"]), int(head["height"])),
        n_frames=n_frames,
        fps=float(head["fps"]),
        frame=frame,
        track=track,
        box=box,
        raw=raw,
        score=score,
        how=np.array([p[-1] for p in parsed], np.uint8),
        from_cache=True,
    )


def parse_row(path: Path, number: int, cells: list[str], n_frames: int) -> tuple:
    """The numbers of one row; the last one is an index into HOWS."""
    if len(cells) != len(COLUMNS):
        raise ManifestError(f"{path}, row {number}: {len(cells)} cells where {len(COLUMNS)} belong")

    def fault(column: str, words: str) -> ManifestError:
        return ManifestError(f"{path}, row {number}, column {column}: {cells[COLUMNS.index(column)]!r} {words}")

    if not cells[0].isascii() or not cells[0].isdigit() or int(cells[0]) >= n_frames:
        raise fault("frame", f"is not a frame number below {n_frames}")
    if cells[1] and not (cells[1].isascii() and cells[1].isdigit()):
        raise fault("track_id", "is not a track number")
    if cells[-1] not in tuple(HOWS):
        raise fault("how", f"is none of {', '.join(HOWS)}")
    numbers = []
    for name, cell in zip(COLUMNS[2:-1], cells[2:-1]):
        if cell and not re.fullmatch(r"-?\d{1,6}(\.\d{1,6})?", cell):
            raise fault(name, "is not a number")
        numbers.append(float(cell) if cell else math.nan)
    for first, box in ((2, numbers[:4]), (6, numbers[4:8])):
        missing = [math.isnan(v) for v in box]
        if any(missing) != all(missing):
            raise fault(COLUMNS[first + missing.index(True)], "is empty, the rest of the box is not")
        if not all(missing) and not (box[0] < box[2] and box[1] < box[3]):
            raise fault(COLUMNS[first], "does not begin a box: need left < right and top < bottom")
    if math.isnan(numbers[0]) != (cells[-1] == How.GAP):
        raise fault("left", "and the column how disagree: only a gap has no box")
    return (int(cells[0]), int(cells[1] or -1), *numbers, HOWS.index(How(cells[-1])))


def read_article_csv(path: Path, size: tuple[int, int], fps: float = 25.0) -> FaceTable:
    """Import the article's format: a row per frame, a column per face, cells such as "(x1, y1, x2, y2)" or empty.

    A header line and a leading column of row numbers are skipped. size: (width, height) of the frames in pixels.
    Raises ManifestError naming row (1 = first frame) and column (1 = first face) of a cell that is anything else.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [cells for cells in csv.reader(stream) if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a CSV file ({error})") from None
    boxes_in_first = lines and any(ARTICLE_CELL.fullmatch(c.strip()) for c in lines[0])
    if lines and not boxes_in_first and re.fullmatch(r"[\w ]+", "".join(lines[0])):
        lines = lines[1:]
    numbered = bool(lines) and all(cells[0].strip() == str(n) for n, cells in enumerate(lines))
    rows = []
    for frame, cells in enumerate(lines):
        for face, cell in enumerate(cells[numbered:]):
            if cell.strip() in ("", "nan", "None"):
                continue
            found = ARTICLE_CELL.fullmatch(cell.strip())
            where = f"{path}, row {frame + 1}, column {face + 1}: {cell!r}"
            if not found:
                raise ManifestError(f"{where} is not a box such as (x1, y1, x2, y2), nothing else is read")
            try:
                box = FaceBox(*(float(v) for v in found.groups()))
            except FaceError as error:
                raise ManifestError(f"{where}: {error}") from None
            rows.append(FaceRow(frame, face, box, box, None, How.GIVEN))
    return FaceTable.from_rows(rows, size, len(lines), fps)
