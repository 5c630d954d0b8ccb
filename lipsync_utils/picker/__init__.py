"""Choosing who speaks: FaceChoice is the state, FacePicker the widget, App the same as a web page.

Importing this imports no widget; FacePicker and App do when they are first named.
"""

from .choice import Candidate, FaceChoice
from .session import Limits, Session

__all__ = ["App", "Candidate", "FaceChoice", "FacePicker", "Limits", "Session"]


def __getattr__(name: str):
    if name == "FacePicker":
        from .view import FacePicker

        return FacePicker
    if name == "App":
        from .app import App

        return App
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
