"""Getting one video: a local file or an address, under a safe name, complete or not at all."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..config import CollectConfig
from ..errors import DiskFullError, MediaError
from ..media import ffmpeg, ffmpeg_program, probe
from ..media.tools import ONLY_FILES, file_url, open_media
from ..parallel import LeftOut
from ..project import atomic_file
from ..records import Reason

quiet = logging.getLogger(f"{__name__}.yt_dlp")  # its errors come back as ours, with advice
quiet.setLevel(logging.CRITICAL)


def fetch_file(path: Path, target: Path, downloaded: bool = False) -> None:
    """Copy a local file to target, or move it where it was only downloaded for that; other containers become mp4.

    Raises LeftOut where it is missing or has no moving pictures, MediaError where it is no media file.
    """
    if not path.exists():
        raise LeftOut(Reason.NOT_FOUND, f"{path}: no such file; check the path in videos.csv")
    if not (path.is_file() or path.is_dir()):
        raise MediaError(f"{path}: a pipe or device; give a file")
    info = probe(path)
    if not info.has_picture or info.is_picture:
        raise LeftOut(Reason.NO_PICTURE, f"{path}: has no moving pictures; give a video")
    with open_media(path) as container:
        put = (os.replace if downloaded else shutil.copyfile) if "mp4" in container.format.name else remux
    if target.exists() and target.samefile(path):
        return
    with atomic_file(target) as temporary:
        put(path, temporary)


def remux(path: Path, target: Path) -> None:
    """Put the tracks of a video into an mp4 as they are; where a codec does not fit into one, encode it anew."""
    tracks = ["-map", "0:v:0", "-map", "0:a:0?", "-map_metadata", "-1", "-bitexact"]
    anew = ["-c:v", "libx264", "-crf", "14", "-preset", "veryfast", "-c:a", "aac"]
    command = ["-v", "error", "-protocol_whitelist", ONLY_FILES, "-i", file_url(path), *tracks]
    try:
        ffmpeg([*command, "-c", "copy", file_url(target)])
    except MediaError:
        ffmpeg([*command, *anew, file_url(target)])


def site(settings: CollectConfig, **options):
    """yt-dlp, patient and quiet."""
    import yt_dlp

    common = {
        "retries": settings.retries,
        "fragment_retries": settings.retries,
        "socket_timeout": settings.timeout_s,
        "ffmpeg_location": ffmpeg_program(),
        "logger": quiet,
        "color": "never",
        "noplaylist": True,
    }
    return yt_dlp.YoutubeDL(common | options)


def ask(url: str, settings: CollectConfig, folder: Path | None = None) -> dict:
    """What the site says about a video (duration, title), politely slow. Raises LeftOut.

    folder: fetch the video into it, going on where half a download waits there.
    """
    height = f"[height<=?{settings.max_height_px}]"
    options = {
        "format": f"bv*{height}[ext=mp4]+ba[ext=m4a]/b{height}/bv*+ba/b",
        "outtmpl": {"default": f"{folder}/video.%(ext)s"},
        "merge_output_format": "mp4",
        "sleep_interval" if folder else "sleep_interval_requests": settings.pause_s,
    }
    with explained(url), site(settings, **options) as opened:
        return opened.extract_info(url, download=folder is not None)


def fetch(url: str, target: Path, folder: Path, settings: CollectConfig) -> None:
    """Download to target. folder keeps what arrived when it breaks off. Raises LeftOut."""
    folder.mkdir(parents=True, exist_ok=True)
    ask(url, settings, folder)
    try:
        fetch_file(next(folder.glob("video.*")), target, downloaded=True)
    except StopIteration:
        raise LeftOut(Reason.DOWNLOAD_FAILED, f"{url}: no file came") from None
    except MediaError as error:
        words = "what came is no video, often it is a web page to sign in or consent: open the address in a browser"
        raise LeftOut(Reason.UNREADABLE, f"{url}: {words}") from error
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what yt-dlp raises into LeftOut with the reason, or DiskFullError."""
    from yt_dlp.utils import YoutubeDLError

    try:
        yield
    except YoutubeDLError as error:
        words = str(error).removeprefix("ERROR: ").removeprefix("[download] Got error: ").split("; please report")[0]
        if "No space left on device" in words:
            raise DiskFullError(f"{url}: the disk is full; free some space, run again: what is done stays") from error
        reason, words = Reason.DOWNLOAD_FAILED, f"{words}; run again to go on where it broke off"
        if found := re.search(r"HTTP Error (404|410|451)", words):
            reason, words = Reason.NOT_FOUND, f"the site answers {found[1]}: it does not exist (any more)"
        elif "Unsupported URL" in words:
            reason, words = Reason.UNREADABLE, "this is a web page without a video that yt-dlp can find"
        raise LeftOut(reason, f"{url}: {words}") from error
