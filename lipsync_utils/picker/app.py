"""The web app: the picker with a heading, limits from the environment, and files that go away with the visit."""
from __future__ import annotations

import atexit
import os
from pathlib import Path

import ipywidgets as widgets

from ..errors import SettingError
from .session import Limits
from .view import FacePicker

STYLE = """<style>
.lipsync-app { padding: 8px 12px; max-width: 984px; margin: 0 auto; box-sizing: border-box; }
.lipsync-app .widget-button, .lipsync-app .jupyter-button { font-size: 15px; padding: 0 1em; }
.lipsync-app .jupyter-button:focus-visible { outline: 3px solid #1a73e8; outline-offset: 2px; }
.lipsync-app p { font-size: 15px; line-height: 1.45; margin: .3em 0; }
@media (prefers-color-scheme: dark) {
  body[data-voila] { --jp-layout-color0: #16181c; --jp-layout-color1: #16181c; --jp-layout-color2: #2b2f36;
    --jp-layout-color3: #3b414b; --jp-ui-font-color0: #fff; --jp-ui-font-color1: #f1f3f4; --jp-ui-font-color2: #dadce0;
    --jp-content-font-color1: #f1f3f4; --jp-widgets-color: #f1f3f4; --jp-widgets-label-color: #f1f3f4;
    background: #16181c; color: #f1f3f4; color-scheme: dark; }
  body[data-voila] .widget-html-content, body[data-voila] .jp-RenderedHTMLCommon { color: #f1f3f4; }
}
</style>"""
WORDS = """<p>Your files stay on this server until you close the page: at most {mb:.0f} MB and {seconds:.0f} s each.
Use only pictures of people who agreed to it. The result says in the picture and in the file that it is AI-generated.</p>"""


def limits_from_environment() -> Limits:
    """LIPSYNC_APP_UPLOAD_MB, LIPSYNC_APP_SECONDS and LIPSYNC_APP_PARALLEL, which serve.py sets."""
    known = Limits()
    try:
        return Limits(float(os.environ.get("LIPSYNC_APP_UPLOAD_MB", known.upload_mb)),
                      float(os.environ.get("LIPSYNC_APP_SECONDS", known.seconds)),
                      int(os.environ.get("LIPSYNC_APP_PARALLEL", known.parallel)))
    except ValueError as error:
        raise SettingError(f"a LIPSYNC_APP_... variable is not a number: {error}") from error


def load_generator():
    """The network of the app: the file that LIPSYNC_GENERATOR names, else the embedded one."""
    from .. import checkpoints

    path = os.environ.get("LIPSYNC_GENERATOR")
    return checkpoints.load(Path(path) if path else checkpoints.embedded("generator"), "generator")


class App(widgets.VBox):
    """A page of its own: a word about the files, the picker. The visitor's files are deleted when the kernel ends."""

    def __init__(self, generator=load_generator, limits: Limits | None = None):
        limits = limits or limits_from_environment()
        self.picker = FacePicker(generator=generator, limits=limits)
        words = widgets.HTML(STYLE + WORDS.format(mb=limits.upload_mb, seconds=limits.seconds))
        super().__init__([words, self.picker], layout=widgets.Layout(width="100%"))
        self.add_class("lipsync-app")
        atexit.register(self.picker.session.close)
