"""FacePicker: see everybody in a picture or video, press a face, give speech, get the video. State lives in Session."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from .. import checkpoints
from ..config import InferenceConfig
from ..errors import LipsyncError
from ..inference import LipSyncResult, jpeg
from ..project import safe_name
from .choice import FaceChoice
from .session import Cancelled, Limits, Session

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
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
        speech, limits = Path(speech) if speech else None, limits or Limits()
        self.session = Session(generator, settings or InferenceConfig(), limits, cache_dir=cache_dir, speech=speech)
        self.output, self.busy, self.frame, self.message, self.wrong = output, False, 0, "", False
        self.progress, self.results, self._worker = None, 0, None
        self._fixed = {
            "upload": media is None,
            "fine_print": fine_print,
            "limits": f"At most {limits.upload_mb:g} MB and {limits.seconds:.0f} s.",
            "limit_bytes": int(1e6 * limits.upload_mb),
        }
        super().__init__()
        self.on_msg(self._take)
        if media is not None:
            self.open_media(Path(media))
            self.wait()
        if choice is not None and self.choice is not None:
            choice = choice if isinstance(choice, FaceChoice) else FaceChoice.load(choice)
            for track, own in choice.resolve(self.session.faces, self.session.media).items():
                self.session.choose(track, own)
        self._show()

    def set_state(self, sync_data) -> None:
        """What a browser writes into the synchronised traits is dropped: they are for display."""

    @property
    def choice(self) -> FaceChoice | None:
        """Who was found and chosen; None before there is a picture."""
        return self.session.choice

    @property
    def result(self) -> LipSyncResult | None:
        """What the last run made."""
        return self.session.result

    # What the browser asks for

    def _take(self, _, message, buffers) -> None:
        """One message from the browser; what makes no sense is dropped."""
        message = message if isinstance(message, dict) else {}
        number, offset, idle = message.get("number"), message.get("offset"), self.choice is not None and not self.busy
        match message.get("do"):
            case "piece" if len(buffers) == 1:
                self._take_piece(number, offset, message, bytes(buffers[0]))
            case "press" if idle and type(number) is int:
                self.press(number)
            case "frame" if idle and type(number) is int:
                self.show_frame(min(max(number, 0), self.choice.n_frames - 1))
            case "preview" if idle:
                self.preview()
            case "run" if idle:
                self.run()
            case "cancel":
                self.session.cancel()
            case "want" if self.result is not None and number == self.results and type(offset) is int and offset >= 0:
                self._send_part(offset)

    def _take_piece(self, number, offset, message: dict, piece: bytes) -> None:
        name, track = str(message.get("name"))[-200:], message.get("track")
        try:
            if self.busy or not (track is None or self.choice is not None and track in self.choice.chosen):
                raise LipsyncError(f"{name} was not taken")
            path = self.session.receive(number, name, offset, message.get("total"), piece)
        except LipsyncError as error:
            self.send({"is": "refused", "number": number})
            return self._say(str(error), wrong=True)
        self.send({"is": "taken", "number": number, "received": offset + len(piece)})
        if path and track is None:
            self.open_media(path, name)
        elif path:
            self._start(lambda: self.session.take_speech(track, path, name), f"{name}: listening")

    def _send_part(self, offset: int) -> None:
        """A piece of the finished video. Jupyter drops what comes faster than 1 MB/s; the app's server lifts that."""
        piece, pause_ms = (1 << 20, 0) if os.environ.get("LIPSYNC_APP") else (1 << 18, 320)
        with self.result.output.open("rb") as stream:
            stream.seek(offset)
            if part := stream.read(piece):
                self.send({"is": "part", "number": self.results, "offset": offset, "pause_ms": pause_ms}, [part])

    # What happens

    def open_media(self, path: Path, name: str | None = None) -> None:
        """Take a picture or video and show everybody in it."""

        def work() -> None:
            self.session.open_media(path, name)
            self.show_frame(int(np.bincount(self.session.faces.seen.frame).argmax()))  # the first with the most people

        self._start(work, f"{name or path.name}: looking for faces")

    def press(self, number: int) -> None:
        """Press the face of a person: choose them, or no longer."""

        def work() -> None:
            for track in (person.track_id for person in self.choice.people if person.number == number):
                (self.choice.drop if track in self.choice.speech else self.session.choose)(track)

        self._start(work, "")

    def show_frame(self, frame: int) -> None:
        """Show another moment of the video."""
        self.frame, self.image = frame, jpeg(self.session.picture(frame))
        self._say("")

    def preview(self) -> None:
        """Draw the chosen mouths at their widest, in the frame that is shown if they are in it."""

        def work() -> None:
            self.image = jpeg(self.session.preview(self.frame))
            self._say("Preview: the chosen mouths at their widest.")

        self._start(work, "Drawing one frame.")

    def run(self) -> None:
        """Make the video."""

        def step(done: int, total: int) -> None:
            if done == total or done % max(1, total // 50) == 0:
                self.progress = done / total
                self._say("Making the video.")

        def work() -> None:
            self.progress = 0.0
            self._say("Making the video.")
            try:
                result = self.session.run(step, lambda: self._say("Others are at work; you are next."), self.output)
            except Cancelled:
                return self._say("Cancelled. Nothing was kept.")
            finally:
                self.progress = None
            self.results += 1
            made = f"{result.duration_s:.1f} s made in {result.seconds['total']:.1f} s. It is labelled as AI-generated."
            self._say("\n".join([made, *map(self.session.in_visitors_words, result.notes)]))

        self._start(work, "")

    # How it is shown

    def _say(self, message: str, wrong: bool = False) -> None:
        self.message, self.wrong = message, wrong
        self._show()

    def _show(self) -> None:
        """Tell the browser what to draw."""
        state = {name: getattr(self, name) for name in ("busy", "message", "wrong", "progress", "frame")}
        if (choice := self.choice) is not None:
            state |= {"name": choice.media_name, "n_frames": choice.n_frames, "fps": choice.fps}
            state |= {"hint": self.session.hint(self.frame), "people": self.session.people(self.frame)}
            state["ready"] = bool(choice.speech) and all(choice.speech.values())
        if self.result is not None:
            size, name = self.result.output.stat().st_size, safe_name(Path(choice.media_name).stem) + "_lipsync.mp4"
            state["result"] = {"number": self.results, "size": size, "name": name}
        self.view = self._fixed | state

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
                words = self.session.in_visitors_words(str(error))
                if not isinstance(error, LipsyncError):  # the visitor must hear of it; the log has the rest
                    log.exception("the picker failed")
                    words = f"Something went wrong here ({type(error).__name__}). Try another file."
                self.message, self.wrong = words, True
            finally:
                self.busy = False
                self._show()

        self.wait()
        self.busy = True
        self._say(message)
        self._worker = threading.Thread(target=guarded, daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Close the widget and delete the visit's files."""
        self.session.close()
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
        atexit.register(self.session.close)
