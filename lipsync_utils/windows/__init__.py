"""Windows of five frames and the sound that belongs to them: what the networks see in training.

An index of all usable windows is made once, with counts and reasons for those that are not. Item i of it is always the
same item for the same seed. Faces are kept as one array of 96x96 crops per clip that is read through the page cache.
"""

from .batches import StepBatches, Windows, order
from .clips import FACE_PX, ClipFaces, load_clips
from .index import MIN_FRAMES, WINDOW, WindowIndex, index_windows, some_clips, spread, summary, usable_windows

__all__ = [
    "FACE_PX",
    "MIN_FRAMES",
    "WINDOW",
    "ClipFaces",
    "StepBatches",
    "WindowIndex",
    "Windows",
    "index_windows",
    "load_clips",
    "order",
    "some_clips",
    "spread",
    "summary",
    "usable_windows",
]
