"""Faces as CSV: one file per medium, written once, read strictly. No cell is ever evaluated."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import FaceError, ManifestError
from ..project import atomic_file
from .table import HOWS, FaceBox, FaceTable, How

SIDES = ["left", "top", "right", "bottom"]
NUMBERS = [*SIDES, *(f"raw_{side}" for side in SIDES), "score"]
COLUMNS = ["frame", "track_id", *NUMBERS, "how"]
CELLS = {
    "frame": ("[0-9]{1,9}", "is not a frame number"),
    "track_id": ("[0-9]{0,9}", "is not a track number"),
    **dict.fromkeys(NUMBERS, (r"(-?[0-9]{1,6}(\.[0-9]{1,6})?)?", "is not a number")),
    "how": ("|".join(HOWS), f"is none of {', '.join(HOWS)}"),
}
HEAD = re.compile(
    r"# faces of (?P<media>[0-9a-f]+) found with (?P<settings>[0-9a-f]+): "
    r"(?P<width>\d+) x (?P<height>\d+) px, (?P<frames>\d+) frames, (?P<fps>\d+(?:\.\d+)?) fps"
)
ARTICLE_CELL = re.compile(r"[(\[]\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*[)\]]")


def write_table(path: Path, table: FaceTable, media: str, settings: str) -> None:
    """Write a table: a line that says what it is, a header, a row per face. media, settings: hashes, hexadecimal."""
    numbers = np.column_stack([table.box, table.raw, table.score])
    rows = pd.DataFrame(numbers, columns=NUMBERS).apply(lambda c: c.map("{:.2f}".format, na_action="ignore"))
    rows["score"] = pd.Series(table.score).map("{:.3f}".format, na_action="ignore")
    rows.insert(0, "frame", table.frame)
    rows.insert(1, "track_id", np.where(table.track < 0, "", table.track.astype(str)))
    rows["how"] = np.array(HOWS)[table.how]
    fps = f"{table.fps:.6f}".rstrip("0").rstrip(".")
    size = f"{table.size[0]} x {table.size[1]} px, {table.n_frames} frames, {fps} fps"
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# faces of {media} found with {settings}: {size}\n")
        rows.to_csv(stream, index=False, lineterminator="\n")


def read_table(path: Path, media: str | None = None, settings: str | None = None, from_cache: bool = True) -> FaceTable:
    """Read a table that `write_table` wrote, for the medium and settings with these hashes if they are given.

    Raises ManifestError naming file, row (1 = first face) and column of anything that does not belong.
    """
    lines = [*read_csv(path), [], []]
    head, header, rows = HEAD.fullmatch(",".join(lines[0])), lines[1], lines[2:-2]
    if not head:
        raise ManifestError(f"{path}: the first line does not say what these faces are of; delete the file")
    for what, wanted in (("media", media), ("settings", settings)):
        if wanted is not None and head[what] != wanted:
            raise ManifestError(f"{path}: made of other {what} ({head[what]}, not {wanted}); delete the file")
    if header != COLUMNS:
        raise ManifestError(f"{path}: the columns are {','.join(header)}; they must be {','.join(COLUMNS)}")
    for number, cells in enumerate(rows, 1):
        if len(cells) != len(COLUMNS):
            raise ManifestError(f"{path}, row {number}: {len(cells)} cells where {len(COLUMNS)} belong")
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=str)

    def refuse(wrong: pd.Series, column: str, words: str) -> None:
        if wrong.any():
            place = int(np.argmax(wrong))
            raise ManifestError(f"{path}, row {place + 1}, column {column}: {table[column][place]!r} {words}")

    for column, (pattern, words) in CELLS.items():
        refuse(~table[column].str.fullmatch(pattern).astype(bool), column, words)
    values = table[COLUMNS[:-1]].replace("", np.nan).astype(float)
    refuse(values.frame >= int(head["frames"]), "frame", f"is not a frame number below {head['frames']}")
    for part in (NUMBERS[:4], NUMBERS[4:8]):
        missing = values[part].isna()
        for column in part:
            refuse(missing[column] & ~missing.all(axis=1), column, "is empty, the rest of the box is not")
        left, top, right, bottom = (values[name] for name in part)
        refuse((left >= right) | (top >= bottom), part[0], "does not begin a box: need left < right and top < bottom")
    refuse(values.left.isna() != (table.how == How.GAP), "left", "and the column how disagree: only a gap has no box")
    frame, track = values.frame.to_numpy(), values.track_id.fillna(-1).to_numpy()
    if np.any((np.diff(frame) < 0) | ((np.diff(frame) == 0) & (np.diff(track) <= 0))):
        raise ManifestError(f"{path}: rows are not in the order of frame and track, or doubled; delete the file")
    columns = {"frame": frame, "track": track, "box": values[NUMBERS[:4]], "raw": values[NUMBERS[4:8]]}
    columns |= {"score": values.score, "how": table.how.map(HOWS.index)}
    size, n_frames = (int(head["width"]), int(head["height"])), int(head["frames"])
    return FaceTable.of_columns(columns, size, n_frames, float(head["fps"]), from_cache=from_cache)


def read_csv(path: Path) -> list[list[str]]:
    """The cells of a CSV file. Raises ManifestError for anything else."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            return [cells for cells in csv.reader(stream, strict=True) if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a CSV file ({error}); delete it to find the faces again") from None


def read_article_csv(path: Path, size: tuple[int, int], fps: float = 25.0) -> FaceTable:
    """Import the article's format: a row per frame, a column per face, cells such as "(x1, y1, x2, y2)" or empty.

    A header line and a leading column of row numbers are skipped. size: (width, height) of the frames in pixels.
    Raises ManifestError naming row (1 = first frame) and column (1 = first face) of a cell that is anything else.
    """
    lines = read_csv(path)
    boxes_in_first = lines and any(ARTICLE_CELL.fullmatch(c.strip()) for c in lines[0])
    if lines and not boxes_in_first and re.fullmatch(r"[\w ]+", "".join(lines[0])):
        lines = lines[1:]
    numbered = bool(lines) and all(cells[0].strip() == str(n) for n, cells in enumerate(lines))
    boxes = []
    for frame, cells in enumerate(lines, 1):
        boxes.append([])
        for face, cell in enumerate(cells[numbered:], 1):
            found, where = ARTICLE_CELL.fullmatch(cell.strip()), f"{path}, row {frame}, column {face}: {cell!r}"
            if not found and cell.strip() not in ("", "nan", "None"):
                raise ManifestError(f"{where} is not a box such as (x1, y1, x2, y2), nothing else is read")
            try:
                boxes[-1].append(FaceBox(*map(float, found.groups())) if found else None)
            except FaceError as error:
                raise ManifestError(f"{where}: {error}") from None
    return FaceTable.from_boxes(boxes, size, fps)
