"""The ffmpeg program and the opening of media files: every way to fail ends in a MediaError with advice."""

import os
import subprocess
from pathlib import Path

import av
from imageio_ffmpeg import get_ffmpeg_exe as ffmpeg_program  # the path of its binary: nothing to install

from ..errors import MediaError

ONLY_FILES = "file,crypto,data"  # a playlist dressed up as a video must not make ffmpeg fetch addresses


def file_url(path: Path) -> str:
    """A path as ffmpeg takes it whatever its characters: no leading dash, no 'a:b' read as a protocol."""
    return "file:" + os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)


def ffmpeg(arguments: list[str]) -> str:
    """Run ffmpeg with an argument list; returns what it wrote to its log.

    Give inputs as file_url(path). Raises MediaError with the end of ffmpeg's own words when it fails.
    """
    command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True)
    words = done.stderr.decode(errors="replace")
    if "No space left on device" in words and done.returncode:
        raise OSError(28, "No space left on device", command[-1])  # atomic_file turns it into DiskFullError
    if done.returncode:
        raise MediaError(f"ffmpeg {' '.join(command[4:])}\nended with status {done.returncode}: {words.strip()[-800:]}")
    return words


def check_file(path: Path) -> Path:
    """The path if it is a readable file with something in it; else MediaError saying which of these it is not."""
    path = Path(path)
    advice = {
        IsADirectoryError: "this is a folder; give the media file itself",
        FileNotFoundError: "no such file; check the path, or run the stage that makes it",
        PermissionError: "no permission to read it; change its rights (chmod u+r)",
    }
    try:
        if path.is_dir():
            raise IsADirectoryError
        with path.open("rb") as stream:
            if not stream.read(1):
                raise MediaError(f"{path}: the file has 0 bytes; copy or download it again")
    except OSError as error:
        raise MediaError(f"{path}: {advice.get(type(error), f'cannot be read ({error.strerror})')}") from error
    return path


def open_media(path: Path) -> av.container.InputContainer:
    """Open a media file for reading. Raises MediaError naming what is wrong with it."""
    path = check_file(path)
    try:
        return av.open(file_url(path), metadata_errors="ignore", options={"protocol_whitelist": ONLY_FILES})
    except (av.error.FFmpegError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{path}: not a video, picture or sound file, or one that is cut off or damaged ({words}); "
            "open it in a player, then export or download it again"
        ) from error
