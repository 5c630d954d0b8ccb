"""Choosing who speaks: FaceChoice is the state, FacePicker the widget, App the same as a web page.

Importing this imports no widget; FacePicker and App do when they are first named.
"""

from .choice import FaceChoice
from .visit import Limits

__all__ = ["App", "FaceChoice", "FacePicker", "Limits"]


def __getattr__(name: str):
    if name in ("App", "FacePicker"):
        from . import view

        return getattr(view, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
