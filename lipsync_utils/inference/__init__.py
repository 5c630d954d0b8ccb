"""Stage 08: make a chosen person in a picture or video say something.

lip_sync(media, speech, output, generator=..) does all of it; prepare() stops before the drawing and gives the frames
before encoding; plan() stops before it needs a network; doubts() says beforehand where a mouth will be left as it is;
verify(path) reads the label of a result; smooth_boxes is the reference's rule.
"""

from .engine import Engine, make_engine
from .exact import smooth_boxes
from .film import Label, Source, jpeg, verify
from .lipsync import Job, LipSyncResult, lip_sync, plan, prepare, preview
from .mouths import Doubt, doubts
from .people import Person, find_person, people_in

__all__ = [
    "Doubt",
    "Engine",
    "Job",
    "Label",
    "LipSyncResult",
    "Person",
    "Source",
    "doubts",
    "find_person",
    "jpeg",
    "lip_sync",
    "make_engine",
    "people_in",
    "plan",
    "prepare",
    "preview",
    "smooth_boxes",
    "verify",
]
