"""One person's visit: their files, what was found in them, what they chose, the result. No widgets.

What a visitor may do is decided here, in the kernel: a page shows the limits, and what it claims counts for nothing.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import filelock
import numpy as np
import torch

from ..audio import load_wav
from ..config import InferenceConfig
from ..errors import FaceError, LipsyncError, MediaError, SettingError
from ..faces import FaceTable, find_faces
from ..inference import LipSyncResult, Source, lip_sync, prepare, preview
from ..media import is_picture, probe
from ..project import safe_name
from .choice import FaceChoice

log = logging.getLogger(__name__)

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

    @classmethod
    def from_environment(cls) -> Limits:
        """LIPSYNC_APP_UPLOAD_MB and so on, which serve.py sets."""
        given = {f.name: os.environ.get(f"LIPSYNC_APP_{f.name.upper()}") for f in fields(cls)}
        try:
            return cls(**{name: float(value) for name, value in given.items() if value})
        except ValueError as error:
            raise SettingError(f"a LIPSYNC_APP_... variable is not a number: {error}") from error

    def check_length(self, path: Path, name: str, what: str) -> None:
        """Raise MediaError for a file that is too long or not what it should be."""
        if what == "media" and is_picture(path):
            return
        info = probe(path)
        if what == "media" and not info.has_picture:
            raise MediaError(f"{name}: this is a sound file; give a picture or a video here, and the sound as speech")
        if what == "speech" and not info.has_sound:
            raise MediaError(f"{name}: there is no sound in it; give a sound file, or a video in which somebody speaks")
        if info.duration_s > self.seconds:
            raise MediaError(f"{name}: {info.duration_s:.0f} s long, at most {self.seconds:.0f} s are allowed; cut it")


@dataclass
class Session:
    """State of a visit. generator: a network, or a function that loads it when it is first needed."""

    generator: object
    settings: InferenceConfig = field(default_factory=InferenceConfig)
    limits: Limits = field(default_factory=Limits)
    folder: Path | None = None
    cache_dir: Path | None = None
    media: Path | None = None
    choice: FaceChoice | None = None
    faces: FaceTable | None = None
    result: LipSyncResult | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    names: dict[Path, str] = field(default_factory=dict)
    incoming: Path | None = None  # the upload that is not complete
    number: object = None  # its mark

    def __post_init__(self):
        if self.folder is None:
            sweep_old_sessions()
            self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cache_dir = self.cache_dir or self.folder / "cache"

    def new_file(self, name: str) -> Path:
        """A path in the visit's folder for an upload: never the name that the visitor's file has, only its suffix."""
        suffix = safe_name("x" + Path(name).suffix).removeprefix("x")[:8]
        return self.folder / f"{uuid.uuid4().hex}{suffix}"

    def receive(self, number, name: str, offset, total, piece: bytes) -> Path | None:
        """Take one piece of an upload. Returns its path when it is complete, until then None.

        number: the browser's mark of this upload; another one replaces it.  Raises MediaError for what is refused, and
        nothing of it is kept.
        """
        if offset == 0:
            self.incoming, self.number = None, number
            self.tidy()
            self.incoming = self.new_file(name)
            self.incoming.touch()
        received = self.incoming.stat().st_size if self.incoming else -1
        in_order = (
            number == self.number and offset == received and type(total) is int and received + len(piece) <= total
        )
        used = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        upload, disk = 1e6 * self.limits.upload_mb, 1e6 * self.limits.disk_mb
        if not in_order or not 0 < total <= upload or used + total - received > disk:
            self.incoming = None
            self.tidy()
            limits = f"at most {megabytes(upload)} are allowed, and {megabytes(disk)} for all files of a visit"
            raise MediaError(f"{name} was not taken: {limits}")
        with self.incoming.open("ab") as stream:
            stream.write(piece)
        if received + len(piece) < total:
            return None
        path, self.incoming = self.incoming, None
        return path

    def tidy(self) -> None:
        """Delete the visit's files that nothing refers to any more: of refused, replaced and interrupted uploads."""
        speech = self.choice.speech.values() if self.choice else ()
        kept = {self.media, self.incoming, self.result and Path(self.result.output), *speech}
        for file in self.folder.rglob("*"):
            if file.is_file() and file not in kept:
                file.unlink()

    def name_of(self, path: Path | None) -> str:
        """How the visitor knows a file."""
        return self.names.get(path, path.name) if path else ""

    def open_media(self, path: Path, name: str | None = None) -> FaceChoice:
        """Take a picture or video and find everybody in it. Raises MediaError or FaceError in words for the visitor."""
        path = Path(path)
        name = name or path.name
        with self._named(path, name):
            self.limits.check_length(path, name, "media")
            faces = find_faces(path, None, self.cache_dir)
            if not faces.track_ids:
                raise FaceError(
                    f"{name}: no face was found; use a picture in which a face looks towards the camera, "
                    f"well lit, and at least {self.settings.min_face_px} px wide"
                )
            choice = FaceChoice.of(path, faces=faces)
        choice.media_name = name
        self.media, self.faces, self.choice, self.result = path, faces, choice, None
        if len(choice.people) == 1:
            choice.pick(choice.people[0].track_id)
        self.tidy()
        return choice

    def take_speech(self, track_id: int, path: Path, name: str | None = None) -> None:
        """Give a person something to say. Raises MediaError where it cannot be heard."""
        path = Path(path)
        name = name or path.name
        with self._named(path, name):
            self.limits.check_length(path, name, "speech")
            load_wav(path)
        self._opened().pick(track_id, path)
        self.tidy()

    @contextmanager
    def _named(self, path: Path, name: str):
        """Errors speak of the visitor's name for a file, not of where it lies; a file that is refused goes at once."""
        self.names[path] = name
        try:
            yield
        except LipsyncError as error:
            self.tidy()
            raise type(error)(self.in_visitors_words(str(error))) from error

    def in_visitors_words(self, text: str) -> str:
        """Replace paths in an error by the names that the visitor knows."""
        for path, name in self.names.items():
            text = text.replace(str(path), name).replace(path.name, name)
        return text

    def _opened(self) -> FaceChoice:
        if self.choice is None:
            raise SettingError("there is no picture or video yet: give one first")
        return self.choice

    def picture(self, frame: int) -> np.ndarray:
        """One frame of the medium: uint8 (h, w, 3) BGR."""
        self._opened()
        return next(Source(self.media).pictures([frame]))

    def _ready(self) -> dict[int, Path]:
        choice = self._opened()
        if not choice.chosen:
            raise SettingError("nobody is chosen yet: press the face of the person who shall speak")
        silent = [choice.candidate(t).number for t, s in choice.speech.items() if s is None]
        if silent:
            raise SettingError(f"person {', '.join(map(str, silent))} has nothing to say yet: give a sound file")
        return dict(choice.speech)

    def load_generator(self):
        """The network, loaded at first use."""
        if not isinstance(self.generator, torch.nn.Module):
            self.generator = self.generator()
        return self.generator

    def preview(self, frame: int | None = None) -> np.ndarray:
        """The chosen mouths at their widest in one frame: uint8 (h, w, 3) BGR."""
        speech = self._ready()
        job = prepare(self.media, speech, generator=self.load_generator(), settings=self.settings, faces=self.faces)
        return preview(job, frame)

    def run(
        self,
        on_progress: Callable[[int, int], None],
        on_wait: Callable[[], None] = lambda: None,
        output: Path | None = None,
    ) -> LipSyncResult:
        """Make the video; waits for its turn where others are at work. Raises Cancelled when cancel() was called."""
        speech = self._ready()
        self.cancelled.clear()
        self.result = None
        self.tidy()

        def step(done: int, total: int) -> None:
            if self.cancelled.is_set():
                raise Cancelled("cancelled")
            on_progress(done, total)

        with turn(int(self.limits.parallel), on_wait, self.cancelled):
            self.result = lip_sync(
                self.media,
                speech,
                output or self.folder / f"{uuid.uuid4().hex}.mp4",
                generator=self.load_generator(),
                settings=self.settings,
                faces=self.faces,
                on_progress=step,
            )
        return self.result

    def cancel(self) -> None:
        """Stop a run at its next frame."""
        self.cancelled.set()

    def close(self) -> None:
        """Delete the visit's files."""
        self.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def turn(parallel: int, on_wait: Callable[[], None], cancelled: threading.Event):
    """Hold one of `parallel` places on this machine, across processes; waits for one where all are taken."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    places = [
        filelock.FileLock(Path(tempfile.gettempdir()) / f"lipsync-place-{user}-{n}.lock", thread_local=False)
        for n in range(max(1, parallel))
    ]
    told = False
    while True:
        for place in places:
            try:
                place.acquire(timeout=0)
            except filelock.Timeout:
                continue
            try:
                yield
            finally:
                place.release()
            return
        if not told:
            on_wait()
            told = True
        if cancelled.wait(0.5):
            raise Cancelled("cancelled")


def sweep_old_sessions() -> None:
    """Delete the folders of visits whose process is gone (killed, so that it could not do it itself)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        try:
            os.kill(int(folder.name.removeprefix(PREFIX).split("-")[0]), 0)
        except (ValueError, ProcessLookupError):
            if time.time() - folder.stat().st_mtime > 5:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def megabytes(count: float) -> str:
    """A size in words: one digit below 10 MB."""
    value = count / 1e6
    return f"{value:.1f} MB" if value < 10 else f"{math.ceil(value)} MB"
