"""The data contract: what a video, clip, verdict and face is, and how tables of them lie on disk as CSV.

In memory a table is a DataFrame, on disk a CSV with one column per field of a dataclass, in the order of the fields,
units in the names, written atomically. Reading is strict: an unknown, missing or misordered column or a cell of the
wrong type is a `ManifestError` that names file, row and column. Nothing in a cell is ever evaluated.
"""

import contextlib
import csv
import dataclasses
import enum
import io
import math
import typing
from pathlib import Path

import pandas as pd

from .errors import ManifestError
from .project import write_text


class Reason(enum.StrEnum):
    """Why an item was left out. The only words that the reason columns know."""

    SILENCE = "silence"  # nothing is spoken
    TOO_SHORT = "too_short"  # below the shortest clip
    TOO_QUIET = "too_quiet"  # the whole video lies below the threshold
    NO_LICENCE = "no_licence"  # videos.csv says nothing about the licence
    NO_CONSENT = "no_consent"  # nor about the consent of who is seen
    NOT_FOUND = "not_found"  # the source does not exist (any more)
    DOWNLOAD_FAILED = "download_failed"  # the source exists and could not be fetched
    UNREADABLE = "unreadable"  # not a media file, or damaged
    NO_SOUND = "no_sound"
    NO_PICTURE = "no_picture"
    NO_FACE = "no_face"
    SOMEONE_ELSE = "someone_else"  # a face, but never the speaker's
    MIXED = "mixed"  # the speaker in some of the frames only
    WITH_OTHERS = "with_others"  # the speaker, and somebody beside
    FACE_TOO_SMALL = "face_too_small"
    FACE_GAPS = "face_gaps"  # too many frames without the speaker's face
    FAILED = "failed"  # an error; the note has its words


class Verdict(enum.StrEnum):
    """What the speaker filter saw in a clip."""

    SPEAKER_ALONE = "speaker_alone"
    SPEAKER_AND_OTHERS = "speaker_and_others"
    SOMEONE_ELSE = "someone_else"
    NO_FACE = "no_face"
    MIXED = "mixed"


@dataclasses.dataclass(frozen=True)
class Source:
    """A row of videos.csv: a video that the reader wants in the data set. crop is "left,top,right,bottom" in pixels."""

    video_id: str
    source: str
    title: str
    language: str
    speaker: str
    licence: str
    consent: str
    crop: str | None = None
    note: str | None = None

    @property
    def crop_box(self) -> tuple[int, int, int, int] | None:
        """The crop as (left, top, right, bottom) in pixels. Raises ManifestError where it is not one."""
        if self.crop is None:
            return None
        with contextlib.suppress(ValueError):
            left, top, right, bottom = map(int, self.crop.split(","))
            if 0 <= left < right and 0 <= top < bottom:
                return left, top, right, bottom
        raise ManifestError(
            f"videos.csv, {self.video_id}, column crop: {self.crop!r} is not a box; write "
            "left,top,right,bottom in pixels, for example 320,0,640,480 for the right half"
        )


@dataclasses.dataclass(frozen=True)
class Video:
    """A row of collected.csv: what became of a source. Empty reason: it lies in raw/ as `file`."""

    video_id: str
    file: str | None
    sha256: str | None
    width_px: int | None
    height_px: int | None
    fps: float | None
    duration_s: float | None
    video_codec: str | None
    audio_codec: str | None
    audio_hz: int | None
    size_bytes: int | None
    reason: Reason | None
    note: str | None


@dataclasses.dataclass(frozen=True)
class Clip:
    """A row of clips.csv: a span of a video that became a clip, or the reason why it did not.

    Without their kept ends, the spans of a video's rows follow each other from 0 to its length. start_s and end_s
    are that span; cut_start_s and cut_end_s are what was cut, with the kept silence around it (clips only).
    """

    clip_id: str
    video_id: str
    start_s: float
    end_s: float
    cut_start_s: float | None
    cut_end_s: float | None
    file: str | None
    frames: int | None
    sha256: str | None
    reason: Reason | None
    note: str | None


@dataclasses.dataclass(frozen=True)
class SpeakerCheck:
    """A row of speaker.csv: the verdict on a clip. Distances are face_recognition's (0 same .. about 1 other)."""

    clip_id: str
    video_id: str
    verdict: Verdict | None
    kept: bool
    frames_checked: int
    frames_with_speaker: int
    frames_with_others: int
    frames_without_face: int
    best_distance: float | None
    median_distance: float | None
    worst_distance: float | None
    reason: Reason | None
    note: str | None


@dataclasses.dataclass(frozen=True)
class FaceClip:
    """A row of faces.csv: a clip's face crops for training, or the reason why there are none."""

    clip_id: str
    video_id: str
    split: str | None  # train or val
    folder: str | None
    frames: int | None  # of the clip
    faces: int | None  # written crops
    gaps: int | None  # frames without the speaker's face
    median_face_px: int | None
    mel_columns: int | None
    reason: Reason | None
    note: str | None


DTYPES = {int: "int64", int | None: "Int64", float: "float64", float | None: "float64", bool: "bool"}  # text: object
WRONG = {int: "is not a whole number", float: "is not a finite number", bool: "is neither yes nor no"}


def read_csv(path: Path, row_type: type) -> pd.DataFrame:
    """A table as a DataFrame: a column per field of row_type, text as it is ("007"), an empty optional cell NA.

    Raises ManifestError naming file, row (1 = first after the header) and column.
    """
    names, lines = list(typing.get_type_hints(row_type)), []
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            lines.extend(csv.reader(stream, strict=True))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); run the stage that writes it") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}, row {len(lines)}: not a CSV row in UTF-8 ({error})") from None
    header = lines.pop(0) if lines else []
    if header != names:
        faults = [f"missing column {name!r}" for name in names if name not in header]
        faults += [f"unknown column {name!r}" for name in header if name not in names]
        fault = "; ".join(faults) or "the columns are in another order or doubled"
        raise ManifestError(f"{path}: {fault}; the columns are {','.join(names)}, separated by commas")
    return from_cells(lines, row_type, path)


def read_rows(path: Path, row_type: type) -> list:
    """The same as dataclass rows."""
    return rows(read_csv(path, row_type), row_type)


def write_csv(path: Path, table, row_type: type) -> pd.DataFrame:
    """Write a DataFrame or dataclass rows as CSV, atomically; returns the DataFrame that read_csv will give.

    Equal tables are equal bytes. Raises ManifestError, and writes nothing, where a cell could not be read again.
    """
    cells, text = to_cells(table, row_type), io.StringIO()
    frame = from_cells(cells, row_type, path)
    csv.writer(text, lineterminator="\n").writerows([frame.columns, *cells])
    write_text(path, text.getvalue())
    return frame


def rows(frame: pd.DataFrame, row_type: type) -> list:
    """The rows of a table as dataclasses, NA as None, for code that works on one thing at a time."""
    columns = frame[list(typing.get_type_hints(row_type))].astype(object)
    return [row_type(*cells) for cells in columns.where(columns.notna(), None).itertuples(index=False)]


def blank(row_type: type, **known):
    """A row of which only this is known; the rest is None."""
    return row_type(**dict.fromkeys(row_type.__annotations__) | known)


def to_cells(table, row_type: type) -> list[list[str]]:
    """The text of every cell. Floats: four decimals, below 0.1 four significant digits (a learning rate of 2e-05)."""
    if isinstance(table, pd.DataFrame):
        table = rows(table, row_type)
    return [[format_cell(cell) for cell in vars(row).values()] for row in table]


def from_cells(cells: list[list[str]], row_type: type, where: Path | str) -> pd.DataFrame:
    """A table from the text of its cells. Raises ManifestError naming `where`, row and column."""
    hints = typing.get_type_hints(row_type)
    columns = {name: [] for name in hints}
    for number, line in enumerate(cells, 1):
        if len(line) != len(hints):
            raise ManifestError(f"{where}, row {number}: {len(line)} cells where {len(hints)} belong")
        for cell, name in zip(line, hints):
            try:
                columns[name].append(parse_cell(cell, hints[name]))
            except ValueError as error:
                raise ManifestError(f"{where}, row {number}, column {name}: {cell!r} {error}") from None
    return pd.DataFrame({name: pd.Series(columns[name], dtype=DTYPES.get(hints[name], object)) for name in hints})


def format_cell(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 0.1 else f"{value + 0.0:.4g}"
    return "" if value is None else str(value)


def parse_cell(cell: str, hint) -> object:
    """A cell as the hinted type; never evaluated. Raises ValueError with the rest of a sentence."""
    kind, *optional = typing.get_args(hint) or [hint]
    if optional and not cell:
        return None
    with contextlib.suppress(KeyError, ValueError):
        value = {"yes": True, "no": False}[cell] if kind is bool else kind(cell)
        if kind is not float or math.isfinite(value):
            return value
    raise ValueError((WRONG.get(kind) or f"is none of {', '.join(kind)}") if cell else "is empty")
