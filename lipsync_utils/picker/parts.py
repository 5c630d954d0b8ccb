"""The widgets that FacePicker is made of: upload, picture with faces, finished video. They decide nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from .session import megabytes

HERE = Path(__file__).parent
CSS = (HERE / "picker.css").read_text(encoding="utf-8")
# Jupyter drops what a kernel sends faster than 1 MB/s; the app's own server lifts that (serve.py).
FAST = "LIPSYNC_FAST_RESULTS"


class Upload(anywidget.AnyWidget):
    """A file input. The browser checks the size before it sends, and sends pieces that fit the websocket.

    new_file(name) gives the path to write to; on_file(path, name) is called with the complete file.
    """

    _esm = (HERE / "upload.js").read_text(encoding="utf-8")
    _css = CSS
    label = traitlets.Unicode("File").tag(sync=True)
    accept = traitlets.Unicode("").tag(sync=True)
    state = traitlets.Unicode("").tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    limit_bytes = traitlets.Int(100_000_000).tag(sync=True)

    def __init__(self, new_file: Callable[[str], Path], on_file: Callable[[Path, str], None], **traits):
        super().__init__(**traits)
        self._new_file, self._on_file = new_file, on_file
        self._path, self._number, self._received = None, None, 0
        self.on_msg(self._take)

    def _take(self, _, message, buffers) -> None:
        """One piece of a file from the browser; whatever does not fit is refused, here as well."""
        if not isinstance(message, dict) or message.get("kind") != "piece" or len(buffers) != 1 or self.disabled:
            return
        number, offset, total = (message.get(key) for key in ("number", "offset", "total"))
        piece, name = bytes(buffers[0]), str(message.get("name", "file"))[-200:]
        if offset == 0:
            self._forget()
            self._number, self._path = number, self._new_file(name)
            self._path.write_bytes(b"")
        fits = isinstance(total, int) and 0 < total <= self.limit_bytes and offset + len(piece) <= total
        if number != self._number or offset != self._received or not fits or self._path is None:
            self._forget()
            self.state = f"{name} was not taken: at most {megabytes(self.limit_bytes)} are allowed; choose again"
            self.send({"kind": "refused", "number": number})
            return
        with self._path.open("ab") as stream:
            stream.write(piece)
        self._received += len(piece)
        self.send({"kind": "taken", "number": number, "received": self._received})
        if self._received == total:
            path, self._path, self._received = self._path, None, 0
            self._on_file(path, name)

    def _forget(self) -> None:
        """Delete what has come of a file that will not be completed."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._path, self._received = None, 0


class Stage(anywidget.AnyWidget):
    """A picture or a frame of a video with a button over every face.

    faces: list of {track, number, left, top, width, height, chosen}, places in percent of the picture.
    """

    _esm = (HERE / "stage.js").read_text(encoding="utf-8")
    _css = CSS
    image = traitlets.Bytes(b"").tag(sync=True)
    description = traitlets.Unicode("").tag(sync=True)
    faces = traitlets.List([]).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    n_frames = traitlets.Int(1).tag(sync=True)
    fps = traitlets.Float(25.0).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)

    def __init__(self, on_press: Callable[[int], None], on_frame: Callable[[int], None], **traits):
        super().__init__(**traits)
        self._on_press, self._on_frame = on_press, on_frame
        self.on_msg(self._take)

    def _take(self, _, message, buffers) -> None:
        if not isinstance(message, dict):
            return
        if message.get("kind") == "press" and message.get("track") in [f["track"] for f in self.faces]:
            self._on_press(message["track"])
        elif message.get("kind") == "frame" and isinstance(message.get("frame"), int):
            self._on_frame(min(max(message["frame"], 0), self.n_frames - 1))

    def press(self, number: int) -> None:
        """Press the button of a person by their number, as a click in the browser does."""
        for face in self.faces:
            if face["number"] == number:
                self._take(self, {"kind": "press", "track": face["track"]}, [])
                return
        raise ValueError(f"no button {number}; there are {[f['number'] for f in self.faces]}")


class Result(anywidget.AnyWidget):
    """The finished video with its download button; the browser asks for it piece by piece."""

    _esm = (HERE / "result.js").read_text(encoding="utf-8")
    _css = CSS
    number = traitlets.Int(0).tag(sync=True)
    size = traitlets.Int(0).tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self._path: Path | None = None
        self.on_msg(self._take)

    def show(self, path: Path | None, name: str = "", message: str = "") -> None:
        """Show another video, or none."""
        self._path = path
        with self.hold_sync():
            self.size, self.name, self.message = path.stat().st_size if path else 0, name, message
            self.number += 1

    def _take(self, _, message, buffers) -> None:
        if not isinstance(message, dict) or message.get("kind") != "want" or message.get("number") != self.number:
            return
        offset = message.get("offset")
        if self._path is None or not isinstance(offset, int) or not 0 <= offset < self.size:
            return
        piece, pause_ms = (1 << 20, 0) if os.environ.get(FAST) else (1 << 18, 320)
        with self._path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(piece)
        self.send({"kind": "part", "number": self.number, "offset": offset, "pause_ms": pause_ms}, [data])
