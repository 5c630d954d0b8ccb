"""The web app: the picker with a heading, limits from the environment, and files that go away with the visit."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import ipywidgets as widgets

from ..errors import SettingError
from .session import Limits
from .view import FacePicker

WORDS = """<p>Your files stay on this server until you close the page: at most {mb:.0f} MB and {seconds:.0f} s each.
Use only pictures of people who agreed to it.
The result says that it is AI-generated, in the picture and in the file.</p>"""


def limits_from_environment() -> Limits:
    """LIPSYNC_APP_UPLOAD_MB, LIPSYNC_APP_SECONDS and LIPSYNC_APP_PARALLEL, which serve.py sets."""
    known = Limits()
    try:
        return Limits(
            float(os.environ.get("LIPSYNC_APP_UPLOAD_MB", known.upload_mb)),
            float(os.environ.get("LIPSYNC_APP_SECONDS", known.seconds)),
            int(os.environ.get("LIPSYNC_APP_PARALLEL", known.parallel)),
        )
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
        words = widgets.HTML(WORDS.format(mb=limits.upload_mb, seconds=limits.seconds))
        super().__init__([words, self.picker], layout=widgets.Layout(width="100%"))
        self.add_class("lipsync-app")
        atexit.register(self.picker.session.close)
