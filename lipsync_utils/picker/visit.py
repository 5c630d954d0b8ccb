"""What one visitor may do: limits, uploads, a turn at the processor. No widgets.

It is decided here, in the kernel: a page shows the limits, and what it claims counts for nothing.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

from ..errors import LipsyncError, MediaError
from ..media import probe
from ..project import safe_name

PREFIX = "lipsync-session-"


class Cancelled(LipsyncError):
    """The person pressed cancel."""


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask for."""

    upload_mb: float = 100.0
    seconds: float = 120.0  # of video and of speech
    parallel: int = 2  # runs at the same time on this machine
    disk_mb: float = 500.0  # of all files of the visit together

    def check(self, path: Path) -> None:
        """Raise MediaError for a file that is too long."""
        if (length_s := probe(path).duration_s) > self.seconds:
            raise MediaError(f"{path.name}: {length_s:.0f} s long, at most {self.seconds:.0f} s are allowed; cut it")


class Uploads:
    """The files of a visit, in a temporary folder that is deleted with it. kept: says which are still in use."""

    def __init__(self, limits: Limits, kept: Callable[[], set[Path]]):
        sweep_old_sessions()
        self.limits, self.kept = limits, kept
        self.temporary = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)
        self.folder = Path(self.temporary.name)
        self.incoming, self.number = None, None  # the upload that is not complete, and the browser's mark of it

    def files(self) -> list[Path]:
        """All files of the visit."""
        return [file for file in self.folder.rglob("*") if file.is_file()]

    def tidy(self) -> None:
        """Delete what nothing refers to any more: refused, replaced and interrupted uploads."""
        for file in set(self.files()) - self.kept() - {self.incoming}:
            file.unlink(missing_ok=True)

    def receive(self, number, name: str, offset, total, piece: bytes) -> Path | None:
        """Take one piece of an upload. Returns its path when it is complete, until then None.

        number: the browser's mark of this upload; another one replaces it.  The file keeps its name, made safe, in a
        folder of its own.  Raises MediaError for what is refused, and nothing of it is kept.
        """
        if offset == 0:
            self.incoming, self.number = None, number
            self.tidy()
            self.incoming = self.folder / uuid.uuid4().hex / safe_name(name)
            self.incoming.parent.mkdir()
            self.incoming.touch()
        got = self.incoming.stat().st_size if self.incoming else -1
        in_order = number == self.number and offset == got and type(total) is int and got + len(piece) <= total
        used_mb, limits = sum(file.stat().st_size for file in self.files()) / 1e6, self.limits
        if not (in_order and 0 < total <= 1e6 * limits.upload_mb and used_mb + (total - got) / 1e6 <= limits.disk_mb):
            self.incoming = None
            self.tidy()
            words = f"at most {limits.upload_mb:g} MB are allowed, and {limits.disk_mb:g} MB for all files of a visit"
            raise MediaError(f"{name} was not taken: {words}")
        with self.incoming.open("ab") as stream:
            stream.write(piece)
        if got + len(piece) < total:
            return None
        path, self.incoming = self.incoming, None
        return path


@contextlib.contextmanager
def turn(parallel: int, on_wait: Callable[[], None], cancelled: threading.Event) -> Iterator[None]:
    """Hold one of `parallel` places on this machine, across processes; waits for one where all are taken."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    start = Path(tempfile.gettempdir()) / f"lipsync-place-{user}"
    places = [filelock.FileLock(f"{start}-{n}.lock", thread_local=False) for n in range(max(1, parallel))]
    while True:
        for place in places:
            with contextlib.suppress(filelock.Timeout), place.acquire(timeout=0):
                yield
                return
        on_wait()
        if cancelled.wait(0.5):
            raise Cancelled("Cancelled. Nothing was kept.")


def sweep_old_sessions() -> None:
    """Delete the folders of visits whose process is gone (killed, so that it could not do it itself)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        process = folder.name.removeprefix(PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            gone = not (process.isdigit() and psutil.pid_exists(int(process)))  # os.kill(id, 0) would end it on Windows
            if gone and time.time() - folder.stat().st_mtime > 5:
                shutil.rmtree(folder, ignore_errors=True)
