"""Getting one video: a local file or an address, under a safe name, complete or not at all."""

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

from ..config import CollectConfig
from ..errors import MediaError
from ..media import ffmpeg, ffmpeg_program, probe
from ..media.tools import ONLY_FILES, file_url, open_media
from ..project import atomic_file, raise_if_full
from ..records import Reason

log = logging.getLogger(__name__)
quiet = log.getChild("yt_dlp")  # its errors come back as ours, with advice
quiet.setLevel(logging.CRITICAL)

GONE = (404, 410, 451)


class FetchError(Exception):
    """A source could not be had this time; the next run tries again (so it is none of the package's errors)."""

    def __init__(self, reason: Reason, words: str):
        super().__init__(f"{reason}: {words}")


def fetch_file(path: Path, target: Path, link: bool) -> None:
    """Copy a local file to target, or link it where that is asked for and possible; other containers become mp4.

    Raises FetchError where it is missing or has no moving pictures, MediaError where it is no media file.
    """
    if not path.exists():
        raise FetchError(Reason.NOT_FOUND, f"{path}: no such file; check the path in videos.csv")
    info = probe(path)
    if not info.has_picture or info.is_picture:
        raise FetchError(Reason.NO_PICTURE, f"{path}: has no moving pictures; give a video")
    if not is_mp4(path):
        remux(path, target)
        return
    with atomic_file(target) as temporary:
        if link:
            with contextlib.suppress(OSError):  # a link in place of itself would be nothing at all
                if target.samefile(path):
                    target.unlink()
            try:
                os.link(path, temporary)
                return
            except OSError as error:
                log.info("%s: cannot be linked (%s), so it is copied", path, error.strerror)
        shutil.copyfile(path, temporary)


def is_mp4(path: Path) -> bool:
    """Is it an mp4 or QuickTime file, judged by its content? Raises MediaError where it is no media file."""
    with open_media(path) as container:
        return "mp4" in container.format.name


def remux(path: Path, target: Path) -> None:
    """Put the tracks of a video into an mp4 as they are; where a codec does not fit into one, encode it anew."""
    tracks = [
        "-v",
        "error",
        "-protocol_whitelist",
        ONLY_FILES,
        "-i",
        file_url(path),
        "-map",
        "0:v:0",
        "-map",
        "0:a:0?",
        "-map_metadata",
        "-1",
        "-bitexact",
    ]
    anew = ["-c:v", "libx264", "-crf", "14", "-preset", "veryfast", "-c:a", "aac"]
    with atomic_file(target) as temporary:
        try:
            ffmpeg([*tracks, "-c", "copy", file_url(temporary)])
        except MediaError:
            ffmpeg([*tracks, *anew, file_url(temporary)])


class Downloader:
    """Fetches addresses with yt-dlp, one after the other, with a pause between two from one host."""

    def __init__(self, settings: CollectConfig):
        self.settings, self._last = settings, {}

    def pause(self, url: str) -> None:
        """Wait until this host may be asked again."""
        host = urlsplit(url).netloc
        wait_s = self._last.get(host, -1e9) + self.settings.pause_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)

    def options(self, folder: Path) -> dict:
        """What yt-dlp is told. folder: where half a download waits for the next run."""
        height = self.settings.max_height_px
        return {
            "format": f"bv*[height<=?{height}][ext=mp4]+ba[ext=m4a]/b[height<=?{height}]/bv*+ba/b",
            "outtmpl": {"default": str(folder / "video.%(ext)s")},
            "merge_output_format": "mp4",
            "noplaylist": True,
            "continuedl": True,
            "retries": self.settings.retries,
            "fragment_retries": self.settings.retries,
            "socket_timeout": self.settings.timeout_s,
            "ffmpeg_location": ffmpeg_program(),
            "cachedir": False,
            "updatetime": False,
            "quiet": True,
            "noprogress": True,
            "no_warnings": True,
            "logger": quiet,
            "color": "never",
        }

    def info(self, url: str) -> dict:
        """What the site says about a video (duration, size, title), nothing downloaded. Raises FetchError."""
        return self._ask(url, Path(), download=False)

    def fetch(self, url: str, target: Path, folder: Path) -> None:
        """Download to target. folder keeps what arrived when it breaks off. Raises FetchError, MediaError."""
        folder.mkdir(parents=True, exist_ok=True)
        done = [p for p in folder.glob("video.*") if p.suffix not in (".part", ".ytdl")]
        if not done:
            self._ask(url, folder, download=True)
            done = [p for p in folder.glob("video.*") if p.suffix not in (".part", ".ytdl")]
        if len(done) != 1:
            shutil.rmtree(folder)
            raise FetchError(Reason.DOWNLOAD_FAILED, f"{url}: {len(done)} files came where one was expected")
        try:
            fetch_file(done[0], target, link=True)
        except MediaError as error:
            words = web_page(done[0]) or str(error)
            shutil.rmtree(folder)
            raise FetchError(Reason.UNREADABLE, f"{url}: {words}") from error
        except FetchError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)

    def _ask(self, url: str, folder: Path, download: bool) -> dict:
        import yt_dlp

        self.pause(url)
        try:
            with yt_dlp.YoutubeDL(self.options(folder)) as site:
                return site.extract_info(url, download=download)
        except yt_dlp.utils.DownloadError as error:
            raise FetchError(*explained(url, error)) from error
        finally:
            self._last[urlsplit(url).netloc] = time.monotonic()


def explained(url: str, error) -> tuple[Reason, str]:
    """Reason and words for what yt-dlp raised."""
    import yt_dlp

    cause = error.exc_info[1] if error.exc_info else error
    while cause is not None:
        status = getattr(cause, "status", None)
        if status in GONE:
            return Reason.NOT_FOUND, f"{url}: the site answers {status}; the video does not exist (any more)"
        if isinstance(cause, yt_dlp.utils.UnsupportedError):
            return Reason.UNREADABLE, f"{url}: this is a web page without a video that yt-dlp can find"
        raise_if_full(cause, url)
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause.__context__
    words = str(error).removeprefix("ERROR: ").removeprefix("[download] Got error: ").split("; please report")[0]
    return Reason.DOWNLOAD_FAILED, f"{url}: {words}; run again to go on"


def web_page(path: Path) -> str | None:
    """A sentence for a file that is really a web page; else None."""
    with path.open("rb") as stream:
        start = stream.read(1000).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "what came is a web page, not a video (often a sign-in or consent page); open the address in a browser"
    return None
