"""find_faces: every face of every frame of a video or picture, from the cache where it is known.

Detection is slow, so the frames between are cheap: every detect_every frames the detector looks again around each known
face, every SCAN_EVERY frames at the whole frame. In between a face is followed by its looks, and the drift that shows
at the next detection is spread over the frames. A face found late is followed back to where it came in.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from .. import media as media_files
from ..config import FacesConfig, settings_hash
from ..project import content_hash
from ..records import read_csv, write_csv
from .detect import Detection, distinct, make_detector, rescuer, resized
from .landmarks import chip, distances, encode_chip, extent_twice, grey_of, shape, smooth
from .table import COLUMNS, RAW, SIDES, FaceBox, FaceRow, FaceTable, How

VERSION = 6  # of what is found; a new number makes old cache files unused

ROUNDED = {**dict.fromkeys([*SIDES, *RAW], 2), "score": 3}  # decimals in the cache

SCAN_EVERY = 25  # frames between two searches of the whole frame within a shot
NEWCOMER = 0.6  # of the smallest known face: smaller ones are searched only where a shot begins, in the finest picture
WORK_PX = 1920  # frames with a longer side are reduced to it
RESCUE_PX = 480  # long side of the picture that the slow detector is shown as a rescue
RESCUED_GAP = 30  # frames that a face found only by the rescue is followed without being found again
PULL = 0.35  # of the way that a detection moves the calm box, from which landmarks start
CHIPS = 3  # pictures kept of a face until it is known who it is

PATCH_PX = 48  # the face is looked for at this size
REACH = 0.3  # of its width and height, in every direction, from one frame to the next
SAME_FACE = 0.6  # correlation above which it is still the same face
LEAST_INSIDE = 0.6  # of a face that must be inside the frame
SAME_PLACE = 0.3  # overlap above which two boxes show one face
BLOCKS = 24  # a frame is compared as BLOCKS x BLOCKS mean values
CHANGED = 22.0  # grey values by which a block must change to count
CUT_SHARE = 0.22  # of the blocks that change at a cut

MOST_ENCODINGS = 8  # kept of one person
WEAK_SCORE = 0.5  # a face that was never surer than this must also convince the CNN detector
BESIDE = 0.1  # added to the allowed distance when the face also stands where it was lost


def find_faces(media: Path, settings: FacesConfig | None = None, cache_dir: Path | None = None) -> FaceTable:
    """Every face in every frame of a video or picture file, with track ids: one number per person.

    cache_dir: folder of one CSV per medium, named by the medium's content and the settings; a second call with the
    same content reads it (`from_cache`), whatever the file is called. None: nothing is kept.  A frame without a face is
    a row, never an error. Raises MediaError for a file without a picture, ManifestError for a cache file that was
    tampered with.
    """
    settings, info = settings or FacesConfig(), media_files.probe(media)
    pictures, size = (f.image_bgr for f in media_files.frames(media)), info.size
    if info.is_picture:
        pictures = [media_files.read_picture(media)]
        size = pictures[0].shape[1::-1]
    if not cache_dir:
        return find_in_frames(pictures, settings, info.fps or 25.0)
    made_with = settings_hash("faces", VERSION, settings)
    path = Path(cache_dir) / f"faces-{content_hash(media)[:16]}-{made_with[:8]}.csv"
    if known := path.exists():
        rows = read_csv(path, FaceRow)
    else:
        rows = find_in_frames(pictures, settings, info.fps or 25.0).rows
        rows = rows.astype(dict.fromkeys(ROUNDED, float)).round(ROUNDED)
        rows = write_csv(path, rows.assign(track_id=rows.track_id.mask(rows.track_id < 0)), FaceRow)
    return FaceTable.of_rows(rows, size, len(rows.frame.unique()), info.fps or 25.0, known)


def find_in_frames(pictures, settings: FacesConfig | None = None, fps: float = 25.0) -> FaceTable:
    """The same for frames from anywhere: an iterable of (h, w, 3) uint8 BGR, held in memory for about a second."""
    settings, size = settings or FacesConfig(), (0, 0)
    tracker = Tracker(settings)
    for picture in pictures:
        size = picture.shape[1], picture.shape[0]
        tracker.feed(picture)
    tracker.end_shot()
    rows = pd.DataFrame(tracker.rows, columns=COLUMNS)
    rows[[*SIDES, *RAW]] /= tracker.factor
    return FaceTable.of_rows(rows, size, tracker.index + 1, fps)


class Seen(NamedTuple):
    """A face in one frame. extent: (4,) by landmarks, not smoothed."""

    frame: int
    raw: FaceBox
    extent: np.ndarray
    score: float
    how: How


@dataclass
class Tracklet:
    """One face over consecutive frames of one shot.

    calm: the detector's box as it would be without its jumps from one size to another; landmarks are searched in it.
    """

    calm: FaceBox
    rescued: bool = False
    seen: list[Seen] = field(default_factory=list)
    chips: list[np.ndarray] = field(default_factory=list)
    found_at: int = 0  # last frame of a detection

    @property
    def raw(self) -> FaceBox:
        """The last raw box."""
        return self.seen[-1].raw


class Tracker:
    """Feed it frames one after the other, then end the shot; it keeps the rows of a FaceTable."""

    def __init__(self, settings: FacesConfig):
        self.settings, self.detector, self.rows = settings, make_detector(settings), []
        self.known: list[list[np.ndarray]] = []  # encodings by track id
        self.index = -1
        self.factor = 1.0  # from the frame to the working picture
        self.bgr: np.ndarray | None = None
        self.buffer: deque = deque(maxlen=SCAN_EVERY + 1)  # (index, grey) of this shot
        self.active: list[Tracklet] = []
        self.shot: list[Tracklet] = []
        self.key_at = self.scan_at = self.shot_at = -1
        self.asked = True

    def feed(self, frame_bgr: np.ndarray) -> None:
        """The next frame, (h, w, 3) uint8."""
        self.factor = min(1.0, WORK_PX / max(frame_bgr.shape[:2]))
        bgr = resized(frame_bgr, self.factor)
        grey = grey_of(bgr)
        cut = not self.buffer or is_cut(self.buffer[-1][1], grey)
        if cut:
            self.end_shot()
        self.index, self.bgr = self.index + 1, bgr
        self.buffer.append((self.index, grey))
        if cut:
            self.key_at = self.scan_at = self.shot_at = self.index
            self.asked = False
            self.scan()
        elif self.index - self.key_at >= self.settings.detect_every:
            self.key()

    def end_shot(self) -> None:
        """A cut, or no more frames."""
        if self.index > self.key_at:
            self.key()
        if self.index - self.scan_at >= self.settings.detect_every:  # who came back since the last search?
            self.scan()
        self.ask_rescue()
        self.name_shot()
        self.active, self.shot = [], []
        self.buffer.clear()

    def key(self) -> None:
        """Look again around every known face, fill the frames since the last key frame, search for new faces."""
        frames = [one for one in self.buffer if one[0] >= self.key_at]
        paths = [(t, [box for *_, box in trail(t.calm, frames)]) for t in self.active]
        self.active = []
        for tracklet, path in sorted(paths, key=lambda p: -len(p[1])):
            unbroken = len(path) == self.index - self.key_at
            self.fill(tracklet, path, self.look_again(tracklet, path[-1]) if unbroken else None)
            most = RESCUED_GAP if tracklet.rescued else self.settings.max_gap_frames
            if unbroken and self.index - tracklet.found_at <= most:
                self.active.append(tracklet)
        self.key_at = self.index
        if self.index - self.scan_at >= SCAN_EVERY or len(self.active) < len(paths):
            self.scan()
            if self.index - self.shot_at >= SCAN_EVERY:
                self.ask_rescue()

    def look_again(self, tracklet: Tracklet, expected: FaceBox) -> Detection | None:
        """The detection that continues a tracklet, or None."""
        taken = [t.raw for t in self.active]
        found = distinct(self.detector.near(self.bgr, expected), taken)
        if not found and tracklet.rescued and self.index - tracklet.found_at >= SCAN_EVERY:
            found = distinct(rescuer().near(self.bgr, expected), taken)
        found = [d for d in found if d.box.iou(expected) > SAME_PLACE]
        return max(found, key=lambda d: d.score + 2 * d.box.iou(expected), default=None)

    def fill(self, tracklet: Tracklet, path: list[FaceBox], found: Detection | None) -> None:
        """Add the frames of a path; a detection at its end corrects it, the more the nearer to the end."""
        score, greys = tracklet.seen[-1].score, dict(self.buffer)
        before = np.subtract(tracklet.raw, tracklet.calm)
        after = np.subtract(found.box, path[-1]) if found else before
        for i, followed in enumerate(path, 1):
            share = i / len(path)
            raw = FaceBox(*(followed + ((1 - share) * before + share * after)))
            tracklet.calm = FaceBox(*(followed + PULL * share * after)) if found else followed
            score_here = score + share * (found.score - score) if found else score
            how = How.DETECTED if found and i == len(path) else How.TRACKED
            self.observe(tracklet, self.key_at + i, greys[self.key_at + i], raw, score_here, how)

    def observe(self, tracklet: Tracklet, index: int, grey: np.ndarray, raw: FaceBox, score: float, how: How) -> None:
        """Measure a face's extent in a frame, starting from its calm box, and add it to its tracklet."""
        marks = shape(grey, tracklet.calm)
        tracklet.seen.append(Seen(index, raw, extent_twice(grey, marks), score, how))
        if how == How.DETECTED:
            tracklet.found_at = index
            if len(tracklet.chips) < CHIPS:
                tracklet.chips.append(chip(self.bgr[..., ::-1], marks))

    def scan(self) -> None:
        """Search the whole frame for faces that no tracklet has; within a shot, only for such as matter beside them."""
        self.scan_at = self.index
        smallest_px = NEWCOMER * min((t.raw.width for t in self.active), default=0.0)
        self.welcome(self.detector.scan(self.bgr, smallest_px), rescued=False)

    def ask_rescue(self) -> None:
        """Once a shot, where nobody is seen: ask the slow detector."""
        if self.active or self.asked or not self.settings.rescue or self.settings.detector == "cnn":
            return
        self.asked = True
        self.welcome(rescuer().search(self.bgr, min(1.0, RESCUE_PX / max(self.bgr.shape[:2]))), rescued=True)

    def welcome(self, found: list[Detection], rescued: bool) -> None:
        """Begin a tracklet for every new face, and follow it back to where it came in."""
        index, grey = self.buffer[-1]
        for one in distinct(found, [t.raw for t in self.active]):
            tracklet = Tracklet(calm=one.box, rescued=rescued)
            self.observe(tracklet, index, grey, one.box, one.score, How.DETECTED)
            tracklet.seen[:0] = self.earlier(one)
            self.active.append(tracklet)
            self.shot.append(tracklet)

    def earlier(self, new: Detection) -> list[Seen]:
        """A new face followed backwards through the kept frames of the shot."""
        traced = Tracklet(calm=new.box)
        for index, grey, traced.calm in trail(new.box, reversed(self.buffer)):
            known = [s.raw for t in self.shot for s in t.seen if s.frame == index]
            if any(traced.calm.iou(box) > SAME_PLACE for box in known):
                break
            self.observe(traced, index, grey, traced.calm, new.score, How.TRACKED)
        return traced.seen[::-1]

    def name_shot(self) -> None:
        """Give the shot's tracklets their track ids and add them to the rows."""
        here: dict[int, list[Tracklet]] = {}
        for tracklet in sorted(filter(is_face, self.shot), key=lambda t: (t.seen[0].frame, t.seen[0].raw.left)):
            track_id = self.who(tracklet, here)
            here.setdefault(track_id, []).append(tracklet)
            boxes = smooth(np.stack([s.extent for s in tracklet.seen])).tolist()
            for (frame, raw, _, score, how), box in zip(tracklet.seen, boxes):
                self.rows.append((frame, track_id, *box, *astuple(raw), score, how))

    def who(self, tracklet: Tracklet, here: dict[int, list[Tracklet]]) -> int:
        """The track that a tracklet continues: one of those that are not elsewhere in its frames, or a new one."""
        first, last, far = tracklet.seen[0], tracklet.seen[-1], {}
        mine = [encode_chip(one) for one in tracklet.chips[:2]]
        for track_id, encodings in enumerate(self.known if mine else ()):
            parts = [(t.seen[0], t.seen[-1]) for t in here.get(track_id, [])]
            if any(begin.frame <= last.frame and first.frame <= end.frame for begin, end in parts):
                continue
            beside = any(
                0 < first.frame - end.frame <= self.settings.max_gap_frames and first.raw.iou(end.raw) > SAME_PLACE
                for _, end in parts
            )
            far[track_id] = distances(encodings[:MOST_ENCODINGS], mine[0]).min(initial=np.inf) - BESIDE * beside
        nearest = min(far, key=far.get, default=None)
        if nearest is None or far[nearest] >= self.settings.same_person:
            self.known.append(mine[: 1 if far else 2])
            return len(self.known) - 1
        self.known[nearest].append(mine[0])
        return nearest


def is_face(tracklet: Tracklet) -> bool:
    """Whether the detector was sure once, or else the CNN detector sees a face too."""
    if tracklet.rescued or max(s.score for s in tracklet.seen) > WEAK_SCORE:
        return True
    return any(rescuer().search(c[..., ::-1], 1.0) for c in tracklet.chips)


def trail(box: FaceBox, frames) -> Iterator[tuple[int, np.ndarray, FaceBox]]:
    """Where the face in `box` of the first frame goes: (index, grey, box) of the next ones until it gets lost."""
    for (_, grey), (index, next_grey) in pairwise(frames):
        box, likeness = follow(grey, box, next_grey)
        left, top, right, bottom = np.clip(box, 0, next_grey.shape[::-1] * 2)
        if likeness < SAME_FACE or (right - left) * (bottom - top) <= LEAST_INSIDE * box.area:
            return
        yield index, next_grey, box


def follow(grey: np.ndarray, box: FaceBox, next_grey: np.ndarray) -> tuple[FaceBox, float]:
    """Where the face in `box` of one frame is in the next one, and how much it looks the same (-1..1).

    grey, next_grey: (h, w) uint8.  Only the place changes, not the size.
    """
    factor, height, width = PATCH_PX / box.width, box.height, box.width
    core = box.grown(-0.1)
    patch = patch_of(grey, core, factor)
    search = patch_of(next_grey, core.padded(*(REACH * height,) * 2, *(REACH * width,) * 2), factor)
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
    left, top, shrunk, middle = 0, 0, (1.0, 1.0), 0.5 / factor - 0.5
    step = int(1 / factor)
    if factor < 0.5:  # average before sampling, or the patch flickers
        x, y = max(0, int(box.left) - step), max(0, int(box.top) - step)
        part = grey[y : int(box.bottom) + step, x : int(box.right) + step]
        if part.size:
            grey = cv2.resize(part, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
            left, top, middle = x, y, 0
            shrunk = grey.shape[1] / part.shape[1], grey.shape[0] / part.shape[0]
    move = np.array([[1 / factor, 0, box.left - left + middle], [0, 1 / factor, box.top - top + middle]])
    move *= np.array(shrunk)[:, None]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grey, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def peak(values: np.ndarray, at: int) -> float:
    """How far (-0.5..0.5) the top of a parabola through three values lies from the middle one."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, middle, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


def is_cut(grey: np.ndarray, next_grey: np.ndarray) -> bool:
    """Whether a new shot begins with the next frame: much of the picture changed.

    Rather once too often: a false alarm costs a search, no more.
    """
    small = [cv2.resize(g, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA).astype(float) for g in (grey, next_grey)]
    return float((np.abs(small[1] - small[0]) > CHANGED).mean()) > CUT_SHARE
