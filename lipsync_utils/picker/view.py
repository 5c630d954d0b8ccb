"""FacePicker: see everybody in a picture or video, press a face, give speech, get the video."""

import json
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets

from .. import checkpoints
from ..audio import load_wav
from ..config import InferenceConfig
from ..errors import FaceError, LipsyncError, MediaError, SettingError
from ..faces import find_faces
from ..inference import Doubt, LipSyncResult, Source, doubts, jpeg, lip_sync, preview
from ..project import safe_name
from .choice import FaceChoice
from .visit import Cancelled, Limits, Uploads, turn

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
MOST_DOUBTS = 4  # that are shown
FINE_PRINT = (
    "Your files stay on this server until you close the page. Use only pictures of people who agreed to it. "
    "The result says that it is AI-generated, in the picture and in the file."
)


# Uploads and the result go in pieces. Tried with 90 MB in Voila and JupyterLab: ipywidgets' FileUpload sends a file as
# one message, for which a server's limit must be raised (its memory grew by 360 MB; with the usual limit the socket
# closes without a word), shows no progress and takes no drop; Video sends the whole result as one message as well.
class FacePicker(anywidget.AnyWidget):
    """The picker as a widget, in a notebook and in the app.

    media: a picture or video to start with; speech: what a chosen person says unless another sound is given for them.
    generator: a network, or a function that loads it at first use.  choice: a FaceChoice, or its JSON, to start from.
    output: where the video is written (default: a file of the visit).  In code, do what the buttons do: press(2),
    preview(), run(); each waits for the one before, wait() for the last.
    """

    _esm = HERE / "picker.js"
    _css = HERE / "picker.css"
    view = traitlets.Dict().tag(sync=True)  # what the browser draws, by picker.js
    image = traitlets.Bytes(b"").tag(sync=True)  # the picture, or a frame of the video, as JPEG

    def __init__(
        self,
        media=None,
        speech=None,
        *,
        generator,
        choice: FaceChoice | str | Path | None = None,
        settings: InferenceConfig | None = None,
        limits: Limits | None = None,
        cache_dir: Path | None = None,
        output=None,
        fine_print: str = "",
    ):
        self.generator, self.settings, self.limits = generator, settings or InferenceConfig(), limits or Limits()
        self.uploads = Uploads(self.limits, self._kept)
        self.cache_dir, self.output = cache_dir or self.uploads.folder / "cache", output
        self.speech = Path(speech) if speech else None
        self.media = self.faces = self.choice = self.progress = self._worker = None
        self.result: LipSyncResult | None = None  # of the last run
        self.doubts: dict[int, list[Doubt]] = {}  # where a chosen person's mouth stays as it is
        self.cancelled = threading.Event()
        self.busy, self.frame, self.message, self.wrong, self.results = False, 0, "", False, 0
        self._fixed = {
            "upload": media is None,
            "fine_print": fine_print,
            "limits": f"At most {self.limits.upload_mb:g} MB and {self.limits.seconds:.0f} s.",
            "limit_bytes": int(1e6 * self.limits.upload_mb),
        }
        super().__init__()
        self.on_msg(self._take)
        if media is not None:
            self.open_media(Path(media))
            self.wait()
        if choice is not None and self.choice is not None:
            choice = choice if isinstance(choice, FaceChoice) else FaceChoice.load(choice)
            for track, own in choice.resolve(self.faces, self.media).items():
                self.choose(track, own)
        self._show()

    def set_state(self, sync_data) -> None:
        """What a browser writes into the synchronised traits is dropped: they are for display."""

    # What the browser asks for

    def _take(self, _, message, buffers) -> None:
        """One message from the browser; what makes no sense is dropped."""
        idle = self.choice is not None and not self.busy
        match message, [bytes(buffer) for buffer in buffers]:
            case {"do": "piece", "track": track, "name": str(name), **mark}, [piece]:
                self._take_piece(track, name[-200:], piece, *map(mark.get, ("number", "offset", "total")))
            case {"do": "press", "number": int(number)}, _ if idle:
                self.press(number)
            case {"do": "frame", "number": int(number)}, _ if idle:
                self.show_frame(min(max(number, 0), self.faces.n_frames - 1))
            case {"do": "preview" | "run" as what}, _ if idle:
                getattr(self, what)()
            case {"do": "cancel"}, _:
                self.cancelled.set()
            case {"do": "want", "number": self.results, "offset": int(offset)}, _ if self.result and offset >= 0:
                self._send_part(offset)

    def _take_piece(self, track, name: str, piece: bytes, number, offset, total) -> None:
        try:
            if self.busy or not (track is None or self.choice is not None and track in self.choice.chosen):
                raise MediaError(f"{name} was not taken")
            path = self.uploads.receive(number, name, offset, total, piece)
        except LipsyncError as error:
            self.send({"is": "refused", "number": number})
            return self._say(str(error), wrong=True)
        self.send({"is": "taken", "number": number, "received": offset + len(piece)})
        if path and track is None:
            self.open_media(path)
        elif path:
            self.take_speech(track, path)

    def _send_part(self, offset: int) -> None:
        """A piece of the finished video. Jupyter drops what comes faster than 1 MB/s; the app's server lifts that."""
        piece, pause_ms = (1 << 20, 0) if os.environ.get("LIPSYNC_APP") else (1 << 18, 320)
        with self.result.output.open("rb") as stream:
            stream.seek(offset)
            if part := stream.read(piece):
                self.send({"is": "part", "number": self.results, "offset": offset, "pause_ms": pause_ms}, [part])

    # What happens

    def open_media(self, path: Path) -> None:
        """Take a picture or video and show everybody in it."""

        def work() -> None:
            self.limits.check(path)
            faces = find_faces(path, None, self.cache_dir)
            choice = FaceChoice.of(path, faces=faces)
            if not choice.people:
                raise FaceError(
                    f"{path.name}: no face was found; use a picture in which a face looks towards the camera, "
                    f"well lit, and at least {self.settings.min_face_px} px wide"
                )
            self.media, self.faces, self.choice, self.result, self.doubts = path, faces, choice, None, {}
            if len(choice.people) == 1:
                self.choose(choice.people[0].track_id)
            self.show_frame(int(np.bincount(faces.seen.frame).argmax()))  # the first with the most people

        self._start(work, f"{path.name}: looking for faces")

    def take_speech(self, track: int, path: Path) -> None:
        """Give a person something to say."""

        def work() -> None:
            self.limits.check(path)
            load_wav(path)
            self.choose(track, path)

        self._start(work, f"{path.name}: listening")

    def choose(self, track: int, speech: Path | None = None) -> None:
        """Choose somebody, and look where their mouth will stay as it is."""
        if track not in self.doubts:
            self.doubts[track] = doubts(self.media, self.faces, [track])
        self.choice.pick(track, speech or self.speech)

    def press(self, number: int) -> None:
        """Press the face of a person: choose them, or no longer."""

        def work() -> None:
            for track in (person.track_id for person in self.choice.people if person.number == number):
                (self.choice.drop if track in self.choice.speech else self.choose)(track)

        self._start(work, "")

    def show_frame(self, frame: int) -> None:
        """Show another moment of the video."""
        self.frame, self.image = frame, jpeg(next(Source(self.media).pictures([frame])))
        self._say("")

    def preview(self) -> None:
        """Draw the chosen mouths at their widest, in the frame that is shown if they are in it."""

        def work() -> None:
            self.image = jpeg(preview(frame=self.frame, **self._ready()))
            self._say("Preview: the chosen mouths at their widest.")

        self._start(work, "Drawing one frame.")

    def run(self) -> None:
        """Make the video; waits for its turn where others are at work."""

        def step(done: int, total: int) -> None:
            if self.cancelled.is_set():
                raise Cancelled("Cancelled. Nothing was kept.")
            if done == total or done % max(1, total // 50) == 0:
                self.progress = done / total
                self._say("Making the video.")

        def work() -> None:
            given, wait = self._ready(), lambda: self._say("Others are at work; you are next.")
            output = self.output or self.uploads.folder / f"{uuid.uuid4().hex}.mp4"
            self.cancelled.clear()
            self.result, self.progress = None, 0.0
            self._say("Making the video.")
            try:
                with turn(int(self.limits.parallel), wait, self.cancelled):
                    self.result = result = lip_sync(output=output, on_progress=step, **given)
            finally:
                self.progress = None
            self.results += 1
            made = f"{result.duration_s:.1f} s made in {result.seconds['total']:.1f} s. It is labelled as AI-generated."
            self._say("\n".join([made, *map(self.in_visitors_words, result.notes)]))

        self._start(work, "")

    def is_ready(self) -> bool:
        """Is somebody chosen, and has everybody who is chosen something to say?"""
        return bool(self.choice and self.choice.speech and all(self.choice.speech.values()))

    def _ready(self) -> dict:
        """What preview and lip_sync want. Raises SettingError where something is missing."""
        if not self.is_ready():
            raise SettingError("press the face of who shall speak, and give a sound file for everybody who is chosen")
        if not isinstance(self.generator, torch.nn.Module):
            self.generator = self.generator()
        given = {"media": self.media, "speech": dict(self.choice.speech), "faces": self.faces}
        return given | {"generator": self.generator, "settings": self.settings}

    # How it is shown

    def _say(self, message: str, wrong: bool = False) -> None:
        self.message, self.wrong = message, wrong
        self._show()

    def _show(self) -> None:
        """Tell the browser what to draw."""
        state = {name: getattr(self, name) for name in ("busy", "message", "wrong", "progress", "frame")}
        if (choice := self.choice) is not None:
            state |= {"name": choice.media_name, "n_frames": self.faces.n_frames, "fps": self.faces.fps}
            state["people"] = self.people()
            state["hint"] = self.hint(state["people"])
            state["ready"] = self.is_ready()
        if self.result is not None:
            size, name = self.result.output.stat().st_size, safe_name(Path(choice.media_name).stem) + "_lipsync.mp4"
            state["result"] = {"number": self.results, "size": size, "name": name}
        self.view = self._fixed | state

    def people(self) -> list[dict]:
        """Everybody for the browser; place: of the face in shares of the picture, None where it is not seen."""
        (width, height), here, people = self.faces.size, self.faces.at(self.frame), []
        for person in self.choice.people:
            track, place = person.track_id, None
            if track in here:
                box = here[track].inside(width, height)
                place = [box.left / width, box.top / height, box.width / width, box.height / height]
            chosen, speech = track in self.choice.speech, self.choice.speech.get(track)
            says = speech.name if speech else ""
            people.append({"number": person.number, "track": track, "place": place, "chosen": chosen, "says": says})
        return people

    def hint(self, people: list[dict]) -> str:
        """What to do next, and what will not work."""
        chosen = [p for p in people if p["chosen"]]
        if not chosen:
            return f"People found: {len(people)}. Press the face of the person who shall speak."
        who = " and ".join(f"{p['number']}" + " (not in this moment)" * (p["place"] is None) for p in chosen)
        lines = [f"Person {who} will speak; nobody else moves."]
        if silent := " and ".join(str(p["number"]) for p in chosen if not p["says"]):
            lines[0] += f" Now give speech for person {silent}."
        fps, moves = self.faces.fps, self.faces.n_frames > 1
        for person in chosen:
            for doubt in self.doubts.get(person["track"], ()):
                when = f", {doubt.first / fps:.1f} to {(doubt.last + 1) / fps:.1f} s" if moves else ""
                lines.append(f"Person {person['number']}{when}: the face is {doubt.reason}, the mouth stays as it is.")
        return "\n".join(lines[: MOST_DOUBTS + 1])

    def in_visitors_words(self, text: str) -> str:
        """Replace where an upload lies, and track ids, by what the visitor knows."""
        text = re.sub(re.escape(f"{self.uploads.folder}{os.sep}") + r"\w+.", "", text)
        numbers = {str(p.track_id): f"person {p.number}" for p in self.choice.people} if self.choice else {}
        return re.sub(r"\btrack (\d+)", lambda found: numbers.get(found[1], found[0]), text)

    def _kept(self) -> set[Path]:
        """The files that are in use."""
        speech = self.choice.speech.values() if self.choice else ()
        return {self.media, self.result and self.result.output, *speech}

    # One thing at a time, beside the kernel's main thread

    def wait(self, timeout_s: float | None = None) -> None:
        """Come back when what was started is done, or after timeout_s."""
        if self._worker is not None:
            self._worker.join(timeout_s)

    def _start(self, work: Callable[[], None], message: str) -> None:
        def guarded() -> None:
            try:
                work()
                if self.message == message:
                    self.message = ""
            except Exception as error:
                words = self.in_visitors_words(str(error))
                if not isinstance(error, LipsyncError):  # the visitor must hear of it; the log has the rest
                    log.exception("the picker failed")
                    words = f"Something went wrong here ({type(error).__name__}). Try another file."
                self.message, self.wrong = words, not isinstance(error, Cancelled)
            finally:
                self.uploads.tidy()
                self.busy = False
                self._show()

        self.wait()
        self.busy = True
        self._say(message)
        self._worker = threading.Thread(target=guarded, daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Close the widget and delete the visit's files."""
        self.cancelled.set()
        self.uploads.temporary.cleanup()
        super().close()


class App(FacePicker):
    """A page of its own: limits and weights from serve.py, and files that are deleted when the kernel ends."""

    def __init__(self):
        given = json.loads(os.environ.get("LIPSYNC_APP", "{}"))
        weights = checkpoints.locate(given.pop("generator", None) or "embedded", "generator")
        settings = InferenceConfig(alignment=checkpoints.metadata(weights).mel_alignment)
        load = partial(checkpoints.load, weights, "generator")
        super().__init__(generator=load, settings=settings, limits=Limits(**given), fine_print=FINE_PRINT)
        self.add_class("lipsync-app")
