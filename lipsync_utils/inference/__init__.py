"""Stage 08: make a chosen person in a picture or video say something.

lip_sync(media, speech, output, generator=..) does all of it; prepare() stops before the drawing and gives the frames
before encoding; verify(path) reads the label of a result; smooth_boxes is the reference's rule.
"""

from .boxes import smooth_boxes
from .engine import Engine, make_engine
from .job import Job
from .label import Label, verify
from .lipsync import LipSyncResult, lip_sync, prepare
from .people import Person, find_person, people_in
from .preview import preview

__all__ = [
    "Engine",
    "Job",
    "Label",
    "LipSyncResult",
    "Person",
    "find_person",
    "lip_sync",
    "make_engine",
    "people_in",
    "prepare",
    "preview",
    "smooth_boxes",
    "verify",
]
