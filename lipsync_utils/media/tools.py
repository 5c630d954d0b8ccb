"""The ffmpeg program and the opening of media files: every way to fail ends in a MediaError with advice."""

import os
import subprocess
from pathlib import Path

import av

from ..errors import MediaError
from ..project import atomic_file

ONLY_FILES = "file,crypto,data"  # a playlist dressed up as a video must not make ffmpeg fetch addresses


def ffmpeg_program() -> str:
    """The path of an ffmpeg binary: the one inside imageio-ffmpeg, so nothing needs to be installed."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def file_url(path: Path) -> str:
    """A path as ffmpeg takes it whatever its characters: no leading dash, no 'a:b' read as a protocol."""
    return "file:" + os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)


def ffmpeg(arguments: list[str], timeout_s: float | None = None) -> str:
    """Run ffmpeg with an argument list; returns what it wrote to its log.

    Give inputs as file_url(path). Raises MediaError with the end of ffmpeg's own words when it fails.
    """
    command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-y", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise MediaError(f"ffmpeg {' '.join(command[4:])}: gave up after {timeout_s:.0f} s") from None
    words = done.stderr.decode(errors="replace")
    if done.returncode:
        if "No space left on device" in words:
            raise OSError(28, "No space left on device", command[-1])  # atomic_file turns it into DiskFullError
        raise MediaError(f"ffmpeg {' '.join(command[4:])}\nended with status {done.returncode}: {words.strip()[-800:]}")
    return words


def check_file(path: Path) -> Path:
    """The path if it is a readable file with something in it; else MediaError saying which of these it is not."""
    path = Path(path)
    try:
        if path.is_dir():
            raise MediaError(f"{path}: this is a folder; give the media file itself")
        if not path.exists():
            raise MediaError(f"{path}: no such file; check the path, or run the stage that makes it")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise MediaError(f"{path}: the file has 0 bytes; copy or download it again")
    except PermissionError:
        raise MediaError(f"{path}: no permission to read it; change its rights (chmod u+r)") from None
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
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


def extract_sound(path: Path, output: Path, sample_rate_hz: int = 16000) -> Path:
    """Write the sound of a media file as mono 16-bit WAV, on the picture's clock; returns `output`.

    Sound that begins late or has holes is filled with silence, so that sample n is heard n / rate after the start of
    the file. Raises MediaError where there is no sound.
    """
    path = check_file(path)
    with open_media(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{path}: has no sound; give a video with speech in it")
    with atomic_file(output) as temporary:
        ffmpeg(
            [
                "-v",
                "error",
                "-protocol_whitelist",
                ONLY_FILES,
                "-i",
                file_url(path),
                "-map",
                "0:a:0",
                "-vn",
                "-ac",
                "1",
                "-af",
                "aresample=async=1:first_pts=0",
                "-ar",
                str(sample_rate_hz),
                "-c:a",
                "pcm_s16le",
                "-bitexact",
                file_url(temporary),
            ]
        )
    return Path(output)
