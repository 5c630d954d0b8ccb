"""The data contract: what a video, clip, verdict and face is, and how tables of them lie on disk as CSV.

A manifest is a CSV with one column per field, in the order of the fields, units in the names, written atomically.
Reading is strict: an unknown, missing or misordered column or a cell of the wrong type is a `ManifestError` that
names file, row and column. Nothing in a cell is ever evaluated.
"""

import csv
import dataclasses
import enum
import io
import math
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

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
        try:
            left, top, right, bottom = (int(cell) for cell in self.crop.split(","))
        except ValueError:
            left, top, right, bottom = 0, 0, 0, 0
        if not (0 <= left < right and 0 <= top < bottom):
            raise ManifestError(
                f"videos.csv, {self.video_id}, column crop: {self.crop!r} is not a box; write "
                "left,top,right,bottom in pixels, for example 320,0,640,480 for the right half"
            )
        return left, top, right, bottom


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


T = typing.TypeVar("T")


def write_csv(path: Path, rows: Iterable[T], row_type: type[T]) -> None:
    """Write records as CSV, atomically: header from the field names, floats with 4 decimals, None as an empty cell."""
    names = [f.name for f in dataclasses.fields(row_type)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([format_cell(getattr(row, name)) for name in names])
    write_text(path, text.getvalue())


def read_csv(path: Path, row_type: type[T]) -> list[T]:
    """All records of a CSV file. Raises ManifestError naming file, row (1 = first after the header) and column."""
    return list(iter_csv(path, row_type))


def iter_csv(path: Path, row_type: type[T]) -> Iterator[T]:
    """The records of a CSV file one by one, for tables that should not be held in memory."""
    path = Path(path)
    fields = dataclasses.fields(row_type)
    names = [f.name for f in fields]
    hints = typing.get_type_hints(row_type)
    readers = [cell_reader(hints[name]) for name in names]
    try:
        stream = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); run the stage that writes it") from error
    with stream:
        rows = csv.reader(stream, strict=True)
        header = next(rows, [])
        if header != names:
            raise ManifestError(f"{path}: {header_fault(header, names)}; the columns are {','.join(names)}")
        number = 0
        try:
            for number, cells in enumerate(rows, 1):
                if len(cells) != len(names):
                    raise ManifestError(f"{path}, row {number}: {len(cells)} cells where {len(names)} belong")
                values = []
                for name, cell, reader in zip(names, cells, readers):
                    try:
                        values.append(reader(cell))
                    except ValueError as error:
                        raise ManifestError(f"{path}, row {number}, column {name}: {cell!r} {error}") from None
                yield row_type(*values)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}, row {number + 1}: not a CSV row ({error})") from None


def header_fault(header: list[str], names: list[str]) -> str:
    """What is wrong with a header line, in words."""
    missing = [n for n in names if n not in header]
    unknown = [n for n in header if n not in names]
    if missing or unknown:
        return "; ".join(
            f"{what} column {', '.join(map(repr, which))}"
            for what, which in (("missing", missing), ("unknown", unknown))
            if which
        )
    return "the columns are in another order or doubled"


def format_cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if math.isfinite(value) else str(value)
    return str(value)


def cell_reader(hint) -> typing.Callable[[str], object]:
    """A function that turns a cell into the hinted type, or raises ValueError with the rest of a sentence."""
    optional = isinstance(hint, types.UnionType)
    if optional:
        hint = next(t for t in typing.get_args(hint) if t is not type(None))

    def read(cell: str):
        if cell == "":
            if optional:
                return None
            if hint is str:
                return ""
            raise ValueError("is empty")
        if hint is bool:
            if cell not in ("yes", "no"):
                raise ValueError("is neither yes nor no")
            return cell == "yes"
        if hint in (int, float):
            try:
                value = hint(cell)
            except ValueError:
                raise ValueError(f"is not {'a whole' if hint is int else 'a'} number") from None
            if not math.isfinite(value):
                raise ValueError("is not a finite number")
            return value
        if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
            try:
                return hint(cell)
            except ValueError:
                raise ValueError(f"is none of {', '.join(hint)}") from None
        return cell

    return read
