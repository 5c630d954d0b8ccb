"""videos.csv: what the reader wants in the data set, with licence and consent; and what kind of source a line names."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ManifestError
from ..project import DataSet, safe_name
from ..records import Reason, Source, read_rows, write_csv

NOT_GIVEN = {"", "-", "?", "no", "none", "unknown", "n/a", "na", "nee", "todo"}
TALKSHOW = re.compile(r"talkshow:(\d+)")


def read_sources(data: DataSet) -> list[Source]:
    """The rows of videos.csv, checked. Raises ManifestError naming row and column."""
    path = data.path("videos.csv")
    sources = read_rows(path, Source)
    times = Counter(source.video_id.lower() for source in sources)
    for number, source in enumerate(sources, 1):
        if safe_name(source.video_id) != source.video_id:
            raise ManifestError(
                f"{path}, row {number}, column video_id: {source.video_id!r} cannot be a file name "
                f"everywhere; use {safe_name(source.video_id)!r}"
            )
        if times[source.video_id.lower()] > 1:
            raise ManifestError(f"{path}, row {number}, column video_id: {source.video_id!r} appears more than once")
        if not source.source.strip():
            raise ManifestError(f"{path}, row {number}, column source: is empty; write an address or a path")
        source.crop_box  # noqa: B018 (raises where it is not a box)
    return sources


def write_sources(data: DataSet, sources: Iterable[Source]) -> Path:
    """Write videos.csv; returns its path."""
    write_csv(data.path("videos.csv"), sources, Source)
    return data.path("videos.csv")


def source_from(
    source: str | Path,
    title: str,
    *,
    licence: str,
    consent: str,
    language: str = "nl",
    speaker: str = "host",
    crop: str | None = None,
    note: str | None = None,
) -> Source:
    """A row for videos.csv; the id is made of the title, whatever characters it has."""
    return Source(safe_name(title).lower(), str(source), title, language, speaker, licence, consent, crop, note)


def refusal(source: Source) -> tuple[Reason, str] | None:
    """Why this video must not be collected, or None: there is no video without a licence and a consent."""
    for reason, column in ((Reason.NO_LICENCE, "licence"), (Reason.NO_CONSENT, "consent")):
        value = getattr(source, column)
        if value.strip().lower() in NOT_GIVEN:
            return reason, (
                f"videos.csv says {value!r} in column {column}: write what allows its use, or leave the video out"
            )
    return None


def talkshow_number(source: Source) -> int | None:
    """n for the n-th video of the embedded talk show ("talkshow:n", from 1), else None."""
    found = TALKSHOW.fullmatch(source.source.strip())
    return int(found[1]) if found and int(found[1]) else None


def is_address(source: Source) -> bool:
    """Is it something to download (http, https)?"""
    return source.source.strip().lower().startswith(("http://", "https://"))


def local_path(source: str, data: DataSet) -> Path:
    """The local file that a row's source names: relative paths count from the folder of videos.csv."""
    text = source.strip()
    if text.lower().startswith("file://"):
        text = unquote(urlsplit(text).path)
    return data.root / Path(text).expanduser()
