"""One person's visit: their files, what was found in them, what they chose, the result. No widgets.

What a visitor may do is decided here, in the kernel: a page shows the limits, and what it claims counts for nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np
import psutil
import torch

from ..audio import load_wav
from ..config import InferenceConfig
from ..errors import FaceError, LipsyncError, MediaError, SettingError
from ..faces import FaceTable, find_faces
from ..inference import Doubt, LipSyncResult, Source, doubts, lip_sync, prepare, preview
from ..media import is_picture, probe
from ..project import safe_name
from .choice import FaceChoice

PREFIX = "lipsync-session-"
MOST_DOUBTS = 4  # that are shown


class Cancelled(LipsyncError):
    """The person pressed cancel."""


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask for."""

    upload_mb: float = 100.0
    seconds: float = 120.0  # of video and of speech
    parallel: int = 2  # runs at the same time on this machine
    disk_mb: float = 500.0  # of all files of the visit together

    def check(self, path: Path, name: str, speech: bool) -> None:
        """Raise MediaError for a file that is too long, or that is not what it should be."""
        if is_picture(path) and not speech:
            return
        info = probe(path)
        if speech and not info.has_sound:
            raise MediaError(f"{name}: there is no sound in it; give a sound file, or a video in which somebody speaks")
        if not speech and not info.has_picture:
            raise MediaError(f"{name}: this is a sound file; give a picture or a video here, and the sound as speech")
        if info.duration_s > self.seconds:
            raise MediaError(f"{name}: {info.duration_s:.0f} s long, at most {self.seconds:.0f} s are allowed; cut it")


@dataclass
class Session:
    """State of a visit. generator: a network, or a function that loads it when it is first needed.

    speech: what a chosen person says unless another sound is given for them.
    """

    generator: object
    settings: InferenceConfig = field(default_factory=InferenceConfig)
    limits: Limits = field(default_factory=Limits)
    folder: Path | None = None
    cache_dir: Path | None = None
    speech: Path | None = None
    media: Path | None = None
    choice: FaceChoice | None = None
    faces: FaceTable | None = None
    result: LipSyncResult | None = None
    doubts: dict[int, list[Doubt]] = field(default_factory=dict)  # where a chosen person's mouth stays as it is
    cancelled: threading.Event = field(default_factory=threading.Event)
    names: dict[Path, str] = field(default_factory=dict)  # how the visitor knows the files
    incoming: Path | None = None  # the upload that is not complete, and the browser's mark of it
    number: object = None

    def __post_init__(self):
        sweep_old_sessions()
        self.folder = self.folder or Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cache_dir = self.cache_dir or self.folder / "cache"

    # Files

    def files(self) -> list[Path]:
        """All files of the visit."""
        return [file for file in self.folder.rglob("*") if file.is_file()]

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

    def tidy(self) -> None:
        """Delete the visit's files that nothing refers to any more: of refused, replaced and interrupted uploads."""
        kept = {self.media, self.incoming, self.result and self.result.output}
        kept.update(self.choice.speech.values() if self.choice else ())
        for file in set(self.files()) - kept:
            file.unlink()

    @contextlib.contextmanager
    def _taking(self, path: Path, name: str, speech: bool) -> Iterator[None]:
        """Errors speak of the visitor's name for a file, not of where it lies; what is refused is deleted at once."""
        self.names[path] = name
        try:
            self.limits.check(path, name, speech)
            yield
        except LipsyncError as error:
            raise type(error)(self.in_visitors_words(str(error))) from error
        finally:
            self.tidy()

    def in_visitors_words(self, text: str) -> str:
        """Replace paths and track ids in a message by what the visitor knows them by."""
        for path, name in self.names.items():
            text = text.replace(str(path), name).replace(path.name, name)
        numbers = {str(p.track_id): f"person {p.number}" for p in self.choice.people} if self.choice else {}
        return re.sub(r"\btrack (\d+)", lambda found: numbers.get(found[1], found[0]), text)

    # People

    def open_media(self, path: Path, name: str | None = None) -> FaceChoice:
        """Take a picture or video and find everybody in it. Raises MediaError or FaceError in words for the visitor."""
        path = Path(path)
        name = name or path.name
        with self._taking(path, name, speech=False):
            faces = find_faces(path, None, self.cache_dir)
            if not faces.track_ids:
                raise FaceError(
                    f"{name}: no face was found; use a picture in which a face looks towards the camera, "
                    f"well lit, and at least {self.settings.min_face_px} px wide"
                )
            choice = FaceChoice.of(path, faces=faces)
            choice.media_name = name
            self.media, self.faces, self.choice, self.result, self.doubts = path, faces, choice, None, {}
            if len(choice.people) == 1:
                self.choose(choice.people[0].track_id)
        return choice

    def choose(self, track_id: int, speech: Path | None = None) -> None:
        """Choose somebody, and look where their mouth will stay as it is."""
        if track_id not in self.doubts:
            self.doubts[track_id] = doubts(self.media, self.faces, [track_id])
        self.choice.pick(track_id, speech or self.speech)

    def take_speech(self, track_id: int, path: Path, name: str | None = None) -> None:
        """Give a person something to say. Raises MediaError where it cannot be heard."""
        path = Path(path)
        with self._taking(path, name or path.name, speech=True):
            load_wav(path)
            self.choose(track_id, path)

    def people(self, frame: int) -> list[dict]:
        """Everybody for the browser; place: of the face in shares of the picture, None where it is not seen."""
        (width, height), here, people = self.choice.size, self.faces.at(frame), []
        for person in self.choice.people:
            track, place = person.track_id, None
            if track in here:
                box = here[track].inside(width, height)
                place = [box.left / width, box.top / height, box.width / width, box.height / height]
            speech, chosen = self.choice.speech.get(track), track in self.choice.speech
            says = self.names.get(speech, speech.name) if speech else ""
            people.append({"number": person.number, "track": track, "place": place, "chosen": chosen, "says": says})
        return people

    def hint(self, frame: int) -> str:
        """What to do next, and what will not work."""
        people = self.people(frame)
        chosen = [p for p in people if p["chosen"]]
        if not chosen:
            return f"People found: {len(people)}. Press the face of the person who shall speak."
        who = " and ".join(f"{p['number']}" + " (not in this moment)" * (p["place"] is None) for p in chosen)
        lines = [f"Person {who} will speak; nobody else moves."]
        if silent := " and ".join(str(p["number"]) for p in chosen if not p["says"]):
            lines[0] += f" Now give speech for person {silent}."
        fps, moves = self.choice.fps, self.choice.n_frames > 1
        for person in chosen:
            for doubt in self.doubts.get(person["track"], ()):
                when = f", {doubt.first / fps:.1f} to {(doubt.last + 1) / fps:.1f} s" if moves else ""
                lines.append(f"Person {person['number']}{when}: the face is {doubt.reason}, the mouth stays as it is.")
        return "\n".join(lines[: MOST_DOUBTS + 1])

    # The video

    def _ready(self) -> dict:
        """What prepare and lip_sync want. Raises SettingError where something is missing."""
        if self.choice is None or not self.choice.speech:
            raise SettingError("nobody is chosen yet: give a picture or video, and press the face of who shall speak")
        if not all(self.choice.speech.values()):
            raise SettingError("somebody who is chosen has nothing to say yet: give a sound file")
        if not isinstance(self.generator, torch.nn.Module):
            self.generator = self.generator()
        given = {"media": self.media, "speech": dict(self.choice.speech), "faces": self.faces}
        return given | {"generator": self.generator, "settings": self.settings}

    def picture(self, frame: int) -> np.ndarray:
        """One frame of the medium: uint8 (h, w, 3) BGR."""
        return next(Source(self.media).pictures([frame]))

    def preview(self, frame: int) -> np.ndarray:
        """The chosen mouths at their widest, in this frame if one of them is seen in it: uint8 (h, w, 3) BGR."""
        job = prepare(**self._ready())
        return preview(job, frame if self.faces.at(frame).keys() & self.choice.speech else None)

    def run(
        self,
        on_progress: Callable[[int, int], None],
        on_wait: Callable[[], None] = lambda: None,
        output: Path | None = None,
    ) -> LipSyncResult:
        """Make the video; waits for its turn where others are at work. Raises Cancelled when cancel() was called."""
        given = self._ready()
        self.cancelled.clear()
        self.result = None
        self.tidy()

        def step(done: int, total: int) -> None:
            if self.cancelled.is_set():
                raise Cancelled("cancelled")
            on_progress(done, total)

        with turn(int(self.limits.parallel), on_wait, self.cancelled):
            output = output or self.folder / f"{uuid.uuid4().hex}.mp4"
            self.result = lip_sync(output=output, on_progress=step, **given)
        return self.result

    def cancel(self) -> None:
        """Stop a run at its next frame."""
        self.cancelled.set()

    def close(self) -> None:
        """Delete the visit's files."""
        self.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


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
            raise Cancelled("cancelled")


def sweep_old_sessions() -> None:
    """Delete the folders of visits whose process is gone (killed, so that it could not do it itself)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        process = folder.name.removeprefix(PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            gone = not (process.isdigit() and psutil.pid_exists(int(process)))  # os.kill(id, 0) would end it on Windows
            if gone and time.time() - folder.stat().st_mtime > 5:
                shutil.rmtree(folder, ignore_errors=True)
