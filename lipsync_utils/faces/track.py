"""Tracking: faces found in some frames become tracks over all of them.

A shot begins with a search of the whole frame. Every `detect_every` frames the detector looks again around each known
face, every SCAN_EVERY frames at the whole frame. In between a face is followed by its looks, and the drift that shows
at the next detection is spread over the frames. A face found late is followed back to where it came in.
"""

from collections import deque
from dataclasses import astuple, dataclass, field

import cv2
import numpy as np

from ..config import FacesConfig
from . import extent
from .detect import Detection, distinct, make_detector, rescuer, resized
from .landmarks import chip, grey_of, shape
from .table import FaceBox, How, iou

SCAN_EVERY = 25  # frames between two searches of the whole frame within a shot
NEWCOMER = 0.6  # of the smallest known face: smaller ones are searched only where a shot begins, in the finest picture
WORK_PX = 1920  # frames with a longer side are reduced to it
RESCUED_GAP = 30  # frames that a face found only by the rescue is followed without being found again
PULL = 0.35  # of the way that a detection moves the calm box, from which landmarks start
CHIPS = 3  # pictures kept of a face until it is known who it is

PATCH_PX = 48  # the face is looked for at this size
REACH = 0.3  # of its width and height, in every direction, from one frame to the next
SAME_FACE = 0.6  # correlation above which it is still the same face
BLOCKS = 24  # a frame is compared as BLOCKS x BLOCKS mean values
CHANGED = 22.0  # grey values by which a block must change to count
CUT_SHARE = 0.22  # of the blocks that change at a cut


@dataclass
class Tracklet:
    """One face over consecutive frames of one shot. extents: landmarks' extent per frame, not smoothed.

    calm: the detector's box as it would be without its jumps from one size to another; landmarks are searched in it.
    """

    calm: FaceBox
    rescued: bool = False
    frames: list[int] = field(default_factory=list)
    raw: list[FaceBox] = field(default_factory=list)
    extents: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    hows: list[How] = field(default_factory=list)
    chips: list[np.ndarray] = field(default_factory=list)
    found_at: int = 0  # last frame of a detection
    n_found: int = 0

    def add(self, frame: int, raw: FaceBox, extent_: np.ndarray, score: float, how: How) -> None:
        self.frames.append(frame)
        self.raw.append(raw)
        self.extents.append(extent_)
        self.scores.append(score)
        self.hows.append(how)

    def ordered(self) -> "Tracklet":
        """The same with its frames ascending: a face followed back was added backwards."""
        order = np.argsort(self.frames)
        for name in ("frames", "raw", "extents", "scores", "hows"):
            values = getattr(self, name)
            setattr(self, name, [values[i] for i in order])
        return self

    def box_at(self, frame: int) -> FaceBox | None:
        """The raw box of a frame, None where the face was not seen."""
        return self.raw[self.frames.index(frame)] if frame in self.frames else None


class Tracker:
    """Feed it frames one after the other; it hands each finished shot's tracklets to `on_shot(tracklets)`."""

    def __init__(self, settings: FacesConfig, on_shot):
        self.settings, self.on_shot = settings, on_shot
        self.detector, self.cuts = make_detector(settings), CutFinder()
        self.index = -1
        self.factor = 1.0  # from the frame to the working picture
        self.buffer: deque = deque(maxlen=SCAN_EVERY + 1)  # (index, grey) of this shot
        self.bgr: np.ndarray | None = None
        self.active: list[Tracklet] = []
        self.shot: list[Tracklet] = []
        self.key_at = self.scan_at = self.shot_at = -1
        self.asked = False

    def feed(self, frame_bgr: np.ndarray) -> None:
        """The next frame, (h, w, 3) uint8."""
        self.factor = min(1.0, WORK_PX / max(frame_bgr.shape[:2]))
        bgr = resized(frame_bgr, self.factor)
        grey = grey_of(bgr)
        cut = self.cuts.is_cut(grey)
        if cut and self.index >= 0:
            self.end_shot()
        self.index, self.bgr = self.index + 1, bgr
        self.buffer.append((self.index, grey))
        if cut:
            self.key_at = self.scan_at = self.shot_at = self.index
            self.asked = False
            self.scan()
        elif self.index - self.key_at >= self.settings.detect_every:
            self.key()

    def finish(self) -> None:
        """No more frames."""
        if self.index >= 0:
            self.end_shot()

    def end_shot(self) -> None:
        if self.index > self.key_at:
            self.key()
        if self.index - self.scan_at >= self.settings.detect_every:  # who came back since the last search?
            self.scan_at = self.index
            self.scan()
        self.ask_rescue()
        self.on_shot([t.ordered() for t in self.shot])
        self.active, self.shot = [], []
        self.buffer.clear()

    def key(self) -> None:
        """Look again around every known face, fill the frames since the last key frame, search for new faces."""
        paths = [(t, self.chase(t)) for t in self.active]
        before, self.active = self.active, []
        taken: list[FaceBox] = []
        for tracklet, path in sorted(paths, key=lambda p: -len(p[1])):
            unbroken = len(path) == self.index - self.key_at
            found = self.look_again(tracklet, path[-1], taken) if unbroken else None
            self.fill(tracklet, path, found)
            gap = self.index - tracklet.found_at
            if unbroken and gap <= (RESCUED_GAP if tracklet.rescued else self.settings.max_gap_frames):
                self.active.append(tracklet)
                taken.append(tracklet.raw[-1])
        self.key_at = self.index
        if self.index - self.scan_at >= SCAN_EVERY or len(self.active) < len(before):
            self.scan_at = self.index
            self.scan()
            if self.index - self.shot_at >= SCAN_EVERY:
                self.ask_rescue()

    def chase(self, tracklet: Tracklet) -> list[FaceBox]:
        """Where the face went since the last key frame, frame by frame; shorter when it got lost."""
        path, box = [], tracklet.calm
        frames = [grey for index, grey in self.buffer if index >= self.key_at]
        for grey, next_grey in zip(frames, frames[1:]):
            box, likeness = follow(grey, box, next_grey)
            if likeness < SAME_FACE or not on_picture(box, next_grey):
                break
            path.append(box)
        return path

    def look_again(self, tracklet: Tracklet, expected: FaceBox, taken: list[FaceBox]) -> Detection | None:
        """The detection that continues a tracklet, or None."""
        grey = self.buffer[-1][1]
        found = distinct(self.detector.near(self.bgr, grey, expected), taken)
        if not found and tracklet.rescued and self.index - tracklet.found_at >= SCAN_EVERY:
            found = distinct(rescuer().near(self.bgr, grey, expected), taken)
        found = [d for d in found if d.box.iou(expected) > 0.3]
        return max(found, key=lambda d: d.score + 2 * d.box.iou(expected), default=None)

    def fill(self, tracklet: Tracklet, path: list[FaceBox], found: Detection | None) -> None:
        """Add the frames of a path; a detection at its end corrects it, the more the nearer to the end."""
        score, greys = tracklet.scores[-1], dict(self.buffer)
        before = np.subtract(astuple(tracklet.raw[-1]), astuple(tracklet.calm))
        after = np.subtract(astuple(found.box), astuple(path[-1])) if found else before
        for i, followed in enumerate(path, 1):
            here, share = self.key_at + i, i / len(path)
            raw = FaceBox(*np.add(astuple(followed), (1 - share) * before + share * after))
            tracklet.calm = FaceBox(*np.add(astuple(followed), PULL * share * after)) if found else followed
            score_here = score + share * (found.score - score) if found else score
            how = How.DETECTED if found and i == len(path) else How.TRACKED
            self.observe(tracklet, here, greys[here], raw, score_here, how)

    def observe(self, tracklet: Tracklet, index: int, grey: np.ndarray, raw: FaceBox, score: float, how: How) -> None:
        """Measure a face's extent in a frame, starting from its calm box, and add it to its tracklet."""
        marks = shape(grey, tracklet.calm)
        tracklet.add(index, raw, extent.measure_twice(grey, marks), score, how)
        if how == How.DETECTED:
            tracklet.found_at, tracklet.n_found = index, tracklet.n_found + 1
            if len(tracklet.chips) < CHIPS and index == self.index:
                tracklet.chips.append(chip(self.bgr[..., ::-1], marks))

    def scan(self) -> None:
        """Search the whole frame for faces that no tracklet has; within a shot, only for such as matter beside them."""
        smallest_px = NEWCOMER * min((t.raw[-1].width for t in self.active), default=0.0)
        self.welcome(self.detector.scan(self.bgr, self.buffer[-1][1], smallest_px), rescued=False)

    def ask_rescue(self) -> None:
        """Once a shot, where nobody is seen: ask the slow detector."""
        if self.active or self.asked or not self.settings.rescue or self.settings.detector == "cnn":
            return
        self.asked = True
        self.welcome(rescuer().rescue(self.bgr), rescued=True)

    def welcome(self, found: list[Detection], rescued: bool) -> None:
        """Begin a tracklet for every new face, and follow it back to where it came in."""
        index, grey = self.buffer[-1]
        for one in distinct(found, [t.raw[-1] for t in self.active]):
            tracklet = Tracklet(calm=one.box, rescued=rescued)
            self.observe(tracklet, index, grey, one.box, one.score, How.DETECTED)
            self.trace_back(tracklet)
            self.active.append(tracklet)
            self.shot.append(tracklet)

    def trace_back(self, tracklet: Tracklet) -> None:
        """Follow a new face backwards through the kept frames of the shot."""
        box, score, others = tracklet.raw[0], tracklet.scores[0], self.shot
        frames = list(self.buffer)
        earlier = Tracklet(calm=box)
        for (_, grey), (index, before) in zip(frames[:0:-1], frames[-2::-1]):
            box, likeness = follow(grey, box, before)
            known = [b for b in (t.box_at(index) for t in others) if b]
            if likeness < SAME_FACE or not on_picture(box, before) or any(box.iou(b) > 0.3 for b in known):
                break
            earlier.calm = box
            self.observe(earlier, index, before, box, score, How.TRACKED)
        for name in ("frames", "raw", "extents", "scores", "hows"):
            setattr(tracklet, name, getattr(earlier, name)[::-1] + getattr(tracklet, name))


def on_picture(box: FaceBox, grey: np.ndarray) -> bool:
    """Whether most of a box lies on the picture."""
    height, width = grey.shape
    common = iou(
        np.array(astuple(box)),
        np.array([max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height)]),
    )
    return bool(common > 0.6)


def follow(grey: np.ndarray, box: FaceBox, next_grey: np.ndarray) -> tuple[FaceBox, float]:
    """Where the face in `box` of one frame is in the next one, and how much it looks the same (-1..1).

    grey, next_grey: (h, w) uint8.  Only the place changes, not the size.
    """
    factor = PATCH_PX / box.width
    core = box.padded(*(-0.1 * box.height,) * 2, *(-0.1 * box.width,) * 2)
    patch = patch_of(grey, core, factor)
    search_box = core.padded(*(REACH * box.height,) * 2, *(REACH * box.width,) * 2)
    search = patch_of(next_grey, search_box, factor)
    if patch.std() < 2:  # a flat patch looks like everything
        return box, 0.0
    likeness = cv2.matchTemplate(search, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(likeness)
    dx = (x + peak(likeness[y], x) - (likeness.shape[1] - 1) / 2) / factor
    dy = (y + peak(likeness[:, x], y) - (likeness.shape[0] - 1) / 2) / factor
    return FaceBox(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy), float(best)


def patch_of(grey: np.ndarray, box: FaceBox, factor: float) -> np.ndarray:
    """The part of a frame in `box`, scaled; what lies outside the frame repeats its edge."""
    size = max(4, round(box.width * factor)), max(4, round(box.height * factor))
    move = np.array([[1 / factor, 0, box.left + 0.5 / factor - 0.5], [0, 1 / factor, box.top + 0.5 / factor - 0.5]])
    if factor < 0.5:  # average before sampling, or the patch flickers
        step = int(1 / factor)
        x0, y0 = max(0, int(box.left) - step), max(0, int(box.top) - step)
        part = grey[y0 : int(box.bottom) + step, x0 : int(box.right) + step]
        if part.size:
            small = cv2.resize(part, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
            sx, sy = small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]
            move = np.array([[sx / factor, 0, (box.left - x0) * sx], [0, sy / factor, (box.top - y0) * sy]])
            return cv2.warpAffine(
                small, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
            )
    return cv2.warpAffine(
        grey, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def peak(values: np.ndarray, at: int) -> float:
    """How far (-0.5..0.5) the top of a parabola through three values lies from the middle one."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, middle, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


class CutFinder:
    """Tells whether a frame begins a new shot. Rather once too often: a false alarm costs a search, no more."""

    def __init__(self):
        self.last: np.ndarray | None = None

    def is_cut(self, grey: np.ndarray) -> bool:
        """True for the first frame and wherever much of the picture changed since the last call."""
        small = cv2.resize(grey, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self.last = self.last, small
        return last is None or float((np.abs(small - last) > CHANGED).mean()) > CUT_SHARE
