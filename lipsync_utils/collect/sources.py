"""videos.csv: what the reader wants in the data set, with licence and consent; and what kind of source a line names."""

from collections.abc import Iterable
from pathlib import Path
from urllib.request import url2pathname

from .. import talkshow
from ..config import TalkshowConfig
from ..errors import ManifestError
from ..project import DataSet, safe_name
from ..records import Reason, Source, read_rows, write_csv

NOT_GIVEN = {"", "-", "?", "no", "none", "unknown", "n/a", "na", "nee", "todo"}


def read_sources(data: DataSet) -> list[Source]:
    """The rows of videos.csv, checked. Raises ManifestError naming row and column."""
    path, known = data.path("videos.csv"), set()
    for number, source in enumerate(rows := read_rows(path, Source), 1):
        name, where = source.video_id, f"{path}, row {number}, column"
        if safe_name(name) != name:
            raise ManifestError(f"{where} video_id: {name!r} cannot be a file name everywhere; use {safe_name(name)!r}")
        if name.lower() in known:
            raise ManifestError(f"{where} video_id: {name!r} appears more than once")
        if not source.source.strip():
            raise ManifestError(f"{where} source: is empty; write an address or a path")
        source.crop_box  # noqa: B018 (raises where it is not a box)
        known.add(name.lower())
    return rows


def write_sources(data: DataSet, sources: Iterable[Source]) -> None:
    """Write videos.csv."""
    write_csv(data.path("videos.csv"), sources, Source)


def source_from(
    source: str | Path, title: str, *, licence: str, consent: str, language: str = "nl", speaker: str = "host"
) -> Source:
    """A row for videos.csv; the id is made of the title, whatever characters it has."""
    return Source(safe_name(title).lower(), str(source), title, language, speaker, licence, consent)


def refusal(source: Source) -> tuple[Reason, str] | None:
    """Why this video must not be collected, or None: there is no video without a licence and a consent."""
    for reason, column, value in (
        (Reason.NO_LICENCE, "licence", source.licence),
        (Reason.NO_CONSENT, "consent", source.consent),
    ):
        if value.strip().lower() in NOT_GIVEN:
            words = f"videos.csv says {value!r} in column {column}: write what allows its use, or leave the video out"
            return reason, words
    return None


def local_path(source: str, data: DataSet) -> Path:
    """The local file that a row's source names: relative paths count from the folder of videos.csv."""
    text = source.strip()
    if text.lower().startswith("file://"):
        text = url2pathname(text[len("file://") :])
    return data.root / Path(text).expanduser()


def sample(data: DataSet, settings: TalkshowConfig) -> list[Source]:
    """Write the talk show's videos.csv into a data set (in place of what is there); returns its rows."""
    rights = "nl", talkshow.host().name, "MIT, rendered by this project", "not needed: no real person"
    scripts = enumerate(talkshow.course_scripts(settings), 1)
    write_sources(data, [Source(s.video_id, f"talkshow:{n}", s.title, *rights) for n, s in scripts])
    return read_sources(data)
