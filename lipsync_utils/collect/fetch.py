"""Getting one video: a local file or an address, under a safe name, complete or not at all."""

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

quiet = logging.getLogger(f"{__name__}.yt_dlp")  # its errors come back as ours, with advice
quiet.setLevel(logging.CRITICAL)


class FetchError(Exception):
    """A source could not be had this time; the next run tries again (so it is none of the package's errors)."""

    def __init__(self, reason: Reason, words: str):
        super().__init__(f"{reason}: {words}")


def fetch_file(path: Path, target: Path, downloaded: bool = False) -> None:
    """Copy a local file to target, or move it where it was only downloaded for that; other containers become mp4.

    Raises FetchError where it is missing or has no moving pictures, MediaError where it is no media file.
    """
    if not path.exists():
        raise FetchError(Reason.NOT_FOUND, f"{path}: no such file; check the path in videos.csv")
    if not (path.is_file() or path.is_dir()):
        raise MediaError(f"{path}: a pipe or device; give a file")
    info = probe(path)
    if not info.has_picture or info.is_picture:
        raise FetchError(Reason.NO_PICTURE, f"{path}: has no moving pictures; give a video")
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


class Downloader:
    """Fetches addresses with yt-dlp, one after the other, with a pause between two from one host."""

    def __init__(self, settings: CollectConfig):
        self.settings, self._last = settings, {}

    def pause(self, url: str) -> None:
        """Wait until this host may be asked again."""
        wait_s = self._last.get(urlsplit(url).netloc, -1e9) + self.settings.pause_s - time.monotonic()
        time.sleep(max(wait_s, 0))

    def ask(self, url: str, folder: Path, download: bool) -> dict:
        """What the site says about a video (duration, size, title); download: and fetch it into folder, going on
        where half a download waits there. Raises FetchError."""
        import yt_dlp

        height, retries = self.settings.max_height_px, self.settings.retries
        options = {
            "format": f"bv*[height<=?{height}][ext=mp4]+ba[ext=m4a]/b[height<=?{height}]/bv*+ba/b",
            "outtmpl": {"default": str(folder / "video.%(ext)s")},
            "merge_output_format": "mp4",
            "retries": retries,
            "fragment_retries": retries,
            "socket_timeout": self.settings.timeout_s,
            "ffmpeg_location": ffmpeg_program(),
            "logger": quiet,
            "color": "never",
            "noplaylist": True,
        }
        self.pause(url)
        try:
            with yt_dlp.YoutubeDL(options) as site:
                return site.extract_info(url, download=download)
        except yt_dlp.utils.DownloadError as error:
            raise_explained(url, error)
        finally:
            self._last[urlsplit(url).netloc] = time.monotonic()

    def fetch(self, url: str, target: Path, folder: Path) -> None:
        """Download to target. folder keeps what arrived when it breaks off. Raises FetchError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.ask(url, folder, download=True)
        try:
            fetch_file(next(folder.glob("video.*")), target, downloaded=True)
        except StopIteration:
            raise FetchError(Reason.DOWNLOAD_FAILED, f"{url}: no file came") from None
        except MediaError as error:
            words = "what came is no video, often it is a web page to sign in or consent: open the address in a browser"
            raise FetchError(Reason.UNREADABLE, f"{url}: {words} ({error})") from error
        finally:
            shutil.rmtree(folder)


def raise_explained(url: str, error: Exception) -> None:
    """Raise a FetchError with reason and words for what yt-dlp raised, or DiskFullError."""
    from yt_dlp.utils import UnsupportedError

    cause = error.exc_info[1] if error.exc_info else error
    while cause is not None:
        raise_if_full(cause, url)
        status = getattr(cause, "status", None)
        if status in (404, 410, 451):
            words = f"the site answers {status}; the video does not exist (any more)"
            raise FetchError(Reason.NOT_FOUND, f"{url}: {words}") from error
        if isinstance(cause, UnsupportedError):
            words = "this is a web page without a video that yt-dlp can find"
            raise FetchError(Reason.UNREADABLE, f"{url}: {words}") from error
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause.__context__
    words = str(error).removeprefix("ERROR: ").removeprefix("[download] Got error: ").split("; please report")[0]
    raise FetchError(Reason.DOWNLOAD_FAILED, f"{url}: {words}; run again to go on") from error
