"""FacePicker: see everybody in a picture or video, press a face, give speech, get the video. State lives in Session."""

from __future__ import annotations

import html
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from ..errors import LipsyncError
from ..inference import jpeg
from ..project import safe_name
from .choice import FaceChoice
from .parts import Result, Stage, Upload
from .session import Cancelled, Limits, Session, megabytes

log = logging.getLogger(__name__)

MEDIA_TYPES = "image/*,video/*,.mkv,.webp,.heic"
SPEECH_TYPES = "audio/*,video/*,.wav,.mp3,.m4a,.flac,.ogg,.mkv"
WIDE = widgets.Layout(width="100%", max_width="960px")


class FacePicker(widgets.VBox):
    """The picker as a widget, in a notebook and in the app.

    media: a picture or video to start with; speech: what a chosen person says unless another sound is given for them.
    generator: a network, or a function that loads it at first use.  choice: a FaceChoice, or its JSON, to start from.
    output: where the video is written (default: a file of the visit).  In code, press the same buttons:
    stage.press(2), preview_button.click(), run_button.click(), then wait().
    """

    def __init__(
        self,
        media=None,
        speech=None,
        *,
        generator,
        choice: FaceChoice | str | Path | None = None,
        settings=None,
        limits: Limits | None = None,
        cache_dir: Path | None = None,
        output=None,
    ):
        more = {"settings": settings} if settings else {}
        self.session = Session(generator, limits=limits or Limits(), cache_dir=cache_dir, **more)
        self.speech, self.output = Path(speech) if speech else None, output
        self._worker: threading.Thread | None = None
        self._build(with_upload=media is None)
        super().__init__(self._parts, layout=WIDE)
        self.add_class("lipsync-picker")
        if media is not None:
            self.open_media(Path(media), wait=True)
        if choice is not None and self.session.choice is not None:
            self._take_choice(choice)

    @property
    def choice(self) -> FaceChoice | None:
        """Who was found and chosen; None before there is a picture."""
        return self.session.choice

    @property
    def result(self):
        """The LipSyncResult of the last run, or None."""
        return self.session.result

    def _build(self, with_upload: bool) -> None:
        limit = self.session.limits
        self.media_upload = Upload(
            self.session.new_file,
            self.open_media,
            accept=MEDIA_TYPES,
            label="Picture or video",
            limit_bytes=int(limit.upload_mb * 1e6),
            state=f"At most {megabytes(limit.upload_mb * 1e6)} and {limit.seconds:.0f} s.",
        )
        self.stage = Stage(self._press, self._show_frame)
        self.speeches = widgets.VBox([], layout=WIDE)
        self.alert = widgets.HTML("", layout=WIDE)
        self.preview_button = widgets.Button(
            description="Preview one frame",
            disabled=True,
            tooltip="Draw the chosen mouths at their widest in this frame",
        )
        self.run_button = widgets.Button(
            description="Make the video", button_style="primary", disabled=True, tooltip="Make the chosen people speak"
        )
        self.cancel_button = widgets.Button(description="Cancel", disabled=True, tooltip="Stop the run")
        self.bar = widgets.IntProgress(0, 0, 1)
        self.bar.layout.width, self.bar.layout.max_width, self.bar.layout.visibility = "100%", "960px", "hidden"
        self.result_view = Result()
        actions = widgets.Box(
            [self.preview_button, self.run_button, self.cancel_button],
            layout=widgets.Layout(flex_flow="row wrap", width="100%", max_width="960px"),
        )
        for button in (self.preview_button, self.run_button, self.cancel_button):
            button.layout.width, button.layout.height, button.layout.min_height = "auto", "40px", "40px"
        self.preview_button.on_click(lambda _: self._start(self._preview))
        self.run_button.on_click(lambda _: self._start(self._run))
        self.cancel_button.on_click(lambda _: self.session.cancel())
        self._rows: dict[int, Upload] = {}
        self._parts = [
            *([self.media_upload] if with_upload else []),
            self.stage,
            self.speeches,
            actions,
            self.alert,
            self.bar,
            self.result_view,
        ]

    # What happens

    def open_media(self, path: Path, name: str | None = None, wait: bool = False) -> None:
        """Take a picture or video and show everybody in it. wait: come back when that is done."""

        def work() -> None:
            self.media_upload.state = f"{name or path.name}: looking for faces"
            try:
                choice = self.session.open_media(path, name)
            except LipsyncError:
                self.media_upload.state = f"{name or path.name} was not taken."
                raise
            self.result_view.show(None)
            people = len(choice.people)
            self.media_upload.state = f"{choice.media_name}: {people} {'person' if people == 1 else 'people'} found."
            if self.speech:
                for track in choice.chosen:
                    self.session.take_speech(track, self.speech)
            self._rows.clear()
            self._show_frame(self._fullest_frame())

        self._start(work)
        if wait:
            self.wait()

    def _fullest_frame(self) -> int:
        """The first frame that shows the most people."""
        table = self.session.faces
        return int(np.argmax(np.bincount(table.frame[table.seen], minlength=table.n_frames)))

    def _take_choice(self, choice) -> None:
        choice = choice if isinstance(choice, FaceChoice) else FaceChoice.load(choice)
        for track, speech in choice.resolve(self.session.faces, self.session.media).items():
            self.session.choice.pick(track)
            if speech or self.speech:
                self.session.take_speech(track, speech or self.speech)
        self._show_choice()

    def _press(self, track: int) -> None:
        if self.busy:
            return
        if self.choice.toggle(track) and self.speech:
            self.choice.pick(track, self.speech)
        self._say("")
        self._show_choice()

    def _take_speech(self, track: int, path: Path, name: str) -> None:
        def work() -> None:
            self._rows[track].state = f"{name}: listening"
            try:
                self.session.take_speech(track, path, name)
            except LipsyncError:
                self._rows[track].state = f"{name} was not taken."
                raise
            self._show_choice()

        self._start(work)

    def _preview(self) -> None:
        self._say("Drawing one frame.")
        image = self.session.preview(self._frame_for_preview())
        self.stage.image = jpeg(image)
        self.stage.description = "Preview: the chosen mouths at their widest"
        self._say("Preview: the chosen mouths at their widest. Move the slider or make the video.")

    def _frame_for_preview(self) -> int | None:
        shown = self.session.faces.at(self.stage.frame)
        return self.stage.frame if any(t in shown for t in self.choice.chosen) else None

    def _run(self) -> None:
        self.bar.value, self.bar.max, self.bar.layout.visibility = 0, 1, "visible"
        self.bar.description = ""
        self.cancel_button.disabled = False
        self.result_view.show(None)
        self._say("Making the video.")
        try:
            result = self.session.run(self._step, self._say_wait, self.output)
        except Cancelled:
            self._say("Cancelled. Nothing was kept.")
            return
        finally:
            self.bar.layout.visibility = "hidden"
            self.cancel_button.disabled = True
        words = [
            f"{result.duration_s:.1f} s made in {result.seconds['total']:.1f} s. It is labelled as AI-generated.",
            *map(self.session.in_visitors_words, result.notes),
        ]
        self._say(" ".join(words))
        name = safe_name(Path(self.choice.media_name).stem) + "_lipsync.mp4"
        self.result_view.show(result.output, name, "The video is ready.")

    def _say_wait(self) -> None:
        self._say("Others are at work; your video is made when it is its turn.")

    def _step(self, done: int, total: int) -> None:
        self.bar.max = total
        if done == total or done % max(1, total // 50) == 0:
            self.bar.value = done
            self.bar.description = f"{100 * done // total} %"

    # How it is shown

    def _show_frame(self, frame: int) -> None:
        if self.choice is None:
            return
        choice = self.choice
        with self.stage.hold_sync():
            self.stage.n_frames, self.stage.fps, self.stage.frame = choice.n_frames, choice.fps, frame
            self.stage.image = jpeg(self.session.picture(frame))
            self.stage.description = f"{choice.media_name}, {frame / choice.fps:.1f} s"
            self.stage.count = len(choice.people)
        self._show_choice()

    def _show_choice(self) -> None:
        """Bring buttons, rows and messages in line with the state."""
        choice, frame = self.choice, self.stage.frame
        width, height = choice.size
        numbers = {p.track_id: p.number for p in choice.people}
        faces = []
        for track, box in sorted(self.session.faces.at(frame).items(), key=lambda item: numbers[item[0]]):
            left, top = max(box.left, 0), max(box.top, 0)
            right, bottom = min(box.right, width), min(box.bottom, height)
            faces.append(
                {
                    "track": track,
                    "number": numbers[track],
                    "chosen": track in choice.speech,
                    "left": 100 * left / width,
                    "top": 100 * top / height,
                    "width": 100 * (right - left) / width,
                    "height": 100 * (bottom - top) / height,
                }
            )
        with self.stage.hold_sync():
            self.stage.faces, self.stage.message = faces, self._words(numbers, {f["track"] for f in faces})
        self._show_rows(numbers)
        ready = bool(choice.speech) and all(choice.speech.values()) and not self.busy
        self.preview_button.disabled = self.run_button.disabled = not ready

    def _words(self, numbers: dict[int, int], shown: set[int]) -> str:
        count = len(numbers)
        found = "One person found." if count == 1 else f"{count} people found, numbered from left to right."
        if not self.choice.speech:
            return f"{found} Press the face of the person who shall speak."
        names = [f"person {numbers[t]}" + ("" if t in shown else " (not in this moment)") for t in self.choice.speech]
        missing = [f"person {numbers[t]}" for t, s in self.choice.speech.items() if s is None]
        words = f"{found} {', '.join(names)} will speak; nobody else moves.".replace(". p", ". P")
        return words + (f" Now give speech for {', '.join(missing)}." if missing else "")

    def _show_rows(self, numbers: dict[int, int]) -> None:
        for track, speech in self.choice.speech.items():
            if track not in self._rows:
                self._rows[track] = Upload(
                    self.session.new_file,
                    partial(self._take_speech, track),
                    accept=SPEECH_TYPES,
                    label=f"Speech of person {numbers[track]}",
                    limit_bytes=int(self.session.limits.upload_mb * 1e6),
                )
            row = self._rows[track]
            row.state = f"Says: {self.session.name_of(speech)}" if speech else "A sound file, or a video with speech."
        self.speeches.children = [self._rows[t] for t in self.choice.speech]

    def _say(self, text: str, wrong: bool = False) -> None:
        """A line for the visitor; read aloud by screen readers."""
        kind, role = ("lipsync-alert", "alert") if wrong else ("lipsync-note", "status")
        self.alert.value = f'<div class="{kind}" role="{role}">{html.escape(text)}</div>' if text else ""

    # One thing at a time, beside the kernel's main thread

    @property
    def busy(self) -> bool:
        """Is something going on?"""
        return self._worker is not None and self._worker.is_alive() and self._worker is not threading.current_thread()

    def wait(self, timeout_s: float | None = None) -> None:
        """Come back when what was started is done. Raises TimeoutError."""
        if self._worker is not None:
            self._worker.join(timeout_s)
            if self._worker.is_alive():
                raise TimeoutError(f"still at work after {timeout_s:.0f} s")

    def _start(self, work: Callable[[], None]) -> None:
        if self.busy:
            return
        self._enable(False)
        self._worker = threading.Thread(target=self._guarded, args=(work,), daemon=True)
        self._worker.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        self._say("")
        try:
            work()
        except LipsyncError as error:
            self._say(self.session.in_visitors_words(str(error)), wrong=True)
        except Exception as error:  # the visitor must hear of it; the log has the rest
            log.exception("the picker failed")
            self._say(
                f"Something went wrong here ({type(error).__name__}). Try another file, and tell who runs this.",
                wrong=True,
            )
        finally:
            self._enable(True)

    def _enable(self, on: bool) -> None:
        for upload in (self.media_upload, *self._rows.values()):
            upload.disabled = not on
        if on and self.choice is not None:
            self._show_choice()
        elif not on:
            self.preview_button.disabled = self.run_button.disabled = True

    def close(self) -> None:
        """Close the widget and delete the visit's files."""
        self.session.close()
        super().close()
