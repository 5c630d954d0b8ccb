"""Archives of videos become rows of videos.csv: a zip or tar from the disk or the web, such as the GRID corpus."""

import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..config import CollectConfig
from ..errors import MediaError
from ..parallel import LeftOut
from ..project import DataSet, atomic_file, made_from, resolve, safe_name, spread
from ..records import Source
from .fetch import explained, site
from .stage import read_sources, write_sources

VIDEOS = (".mp4", ".mpg", ".mpeg", ".mov", ".mkv", ".avi", ".webm", ".m4v")
MOST_GROWTH = 20  # videos hardly shrink in an archive: one that grows more was made to fill a disk
GRID = "https://zenodo.org/records/3625687/files/{}.zip"  # Cooke, Barker, Cunningham and Shao 2006
DAMAGED = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError)


def add_grid(data: DataSet, speaker: str = "s1", sentences: int = 120, archive: str = "") -> list[Source]:
    """Fill videos.csv with sentences of one speaker of the GRID corpus: s1 to s34 without s21; 3 s each.

    archive: the speaker's zip, where it was fetched before; else it is fetched from Zenodo.
    """
    rights = "CC BY 4.0", "recorded for this corpus and published with it (Cooke et al. 2006)"
    return add_archive(data, archive or GRID.format(speaker), ("en", speaker, *rights), sentences)


def add_archive(data: DataSet, archive: str, given: tuple[str, str, str, str], limit: int = 10**6) -> list[Source]:
    """Unpack the videos of a zip or tar into archive/ of the data set and add a row to videos.csv for each.

    archive: a path or an address.  given: language, speaker, licence and consent for videos.csv.  limit: at most so
    many, spread evenly.  Raises MediaError, and unpacks nothing, where a member would be written elsewhere or is no
    plain file, where the videos are far larger than the archive, and where it is damaged or has no video.
    """
    fetched = archive.startswith(("http://", "https://"))
    path = download(archive, data.path(".downloads")) if fetched else resolve(archive, "archive")
    rows = {row.video_id: row for row in (read_sources(data) if data.path("videos.csv").exists() else [])}
    try:
        with opened(path) as members:
            names = sorted(name for name in members if name.lower().endswith(VIDEOS))
            for place in spread(len(names), limit):
                inside = Path(names[place])
                video_id = safe_name("_".join(inside.with_suffix("").parts))
                target = data.path("archive", video_id + inside.suffix.lower())
                made_from([target], [path])
                if not target.exists():
                    with atomic_file(target) as temporary, temporary.open("wb") as stream:
                        shutil.copyfileobj(members[names[place]](), stream)
                rows.setdefault(video_id, Source(video_id, f"archive/{target.name}", inside.stem, *given))
    except DAMAGED as error:
        raise MediaError(f"{path.name}: cannot be unpacked ({error}); is it whole, and without a password?") from error
    if not names:
        raise MediaError(f"{path.name}: no video is inside; known are {', '.join(VIDEOS)}")
    write_sources(data, rows.values())
    if fetched:
        path.unlink()
    return read_sources(data)


@contextmanager
def opened(path: Path) -> Iterator[dict]:
    """The files of a zip or tar that may be unpacked: name -> function that opens it. Raises MediaError."""
    if zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        members = ((m.filename, m.file_size, True, m) for m in archive.infolist() if not m.is_dir())
    elif tarfile.is_tarfile(path):
        archive = tarfile.open(path)  # noqa: SIM115 (closed below)
        members = ((m.name, m.size, m.isreg(), m) for m in archive if not m.isdir())
    else:
        raise MediaError(f"{path.name}: neither a zip nor a tar; give an archive of videos")
    with archive:
        files, room = {}, MOST_GROWTH * path.stat().st_size
        for name, size, plain, member in members:
            room -= size
            if not plain or re.search(r"^[/\\]|^\w:|(^|[/\\])\.\.([/\\]|$)", name):
                raise MediaError(f"{path.name}: {name!r} is a link or leads out of the archive; nothing was unpacked")
            if room < 0:
                raise MediaError(f"{path.name}: more than {MOST_GROWTH} times as large unpacked; nothing was unpacked")
            files[name] = partial(getattr(archive, "extractfile", archive.open), member)
        yield files


def download(address: str, folder: Path) -> Path:
    """Fetch a file; what arrived of it before is not fetched again. Raises MediaError saying what to do."""
    target = folder / safe_name(address.split("?")[0].rsplit("/", 1)[-1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with explained(address), site(CollectConfig()) as opened:
            opened.dl(str(target), {"url": address})
    except LeftOut as error:
        raise MediaError(str(error)) from error
    return target
