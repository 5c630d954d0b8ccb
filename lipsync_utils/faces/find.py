"""find_faces: every face of every frame of a video or picture, from the cache where it is known."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import media as media_files
from ..config import FacesConfig, settings_hash
from ..media.tools import check_file
from ..project import content_hash
from . import extent
from .cache import read_table, write_table
from .detect import rescuer
from .landmarks import distances, encode_chip
from .table import HOWS, FaceTable, How
from .track import Tracker, Tracklet

log = logging.getLogger(__name__)

VERSION = 4  # of what is found; a new number makes old cache files unused
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
    settings, media = settings or FacesConfig(), check_file(media)
    key, made_with = content_hash(media) if cache_dir else "", settings_hash("faces", VERSION, settings)
    path = Path(cache_dir) / f"faces-{key[:16]}-{made_with[:8]}.csv" if cache_dir else None
    if path and path.exists():
        return read_table(path, key, made_with)
    info = media_files.probe(media)
    if info.is_picture:
        pictures, fps = [media_files.read_picture(media)], 25.0
    else:
        pictures, fps = (frame.image_bgr for frame in media_files.frames(media)), info.fps or 25.0
    table = find_in_frames(pictures, settings, fps)
    log.debug("%s: %d frames, %d tracks", media, table.n_frames, len(table.track_ids))
    if path:
        write_table(path, table, key, made_with)
        table = read_table(path, key, made_with, from_cache=False)  # what a second call will see, digit by digit
    return table


def find_in_frames(pictures, settings: FacesConfig | None = None, fps: float = 25.0) -> FaceTable:
    """The same for frames from anywhere: an iterable of (h, w, 3) uint8 BGR, held in memory for about a second."""
    settings = settings or FacesConfig()
    gatherer = Gatherer(settings.same_person, settings.max_gap_frames)
    tracker = Tracker(settings, gatherer.add_shot)
    size = (0, 0)
    for picture in pictures:
        size = picture.shape[1], picture.shape[0]
        tracker.feed(picture)
    tracker.finish()
    columns = {k: np.concatenate([part[k] for part in gatherer.columns]) for k in gatherer.columns[0]}
    for name in ("box", "raw"):
        columns[name] = columns[name] / np.float32(tracker.factor)
    return FaceTable.of_columns(columns, size, tracker.index + 1, round(float(fps), 6))


@dataclass
class Person:
    """Somebody seen before. chips: pictures that were not encoded yet, because nobody had to be compared."""

    track_id: int
    encodings: list[np.ndarray] = field(default_factory=list)
    chips: list[np.ndarray] = field(default_factory=list)

    def known(self) -> np.ndarray:
        """Encodings (k, 128) of the person."""
        self.encodings += [encode_chip(c) for c in self.chips]
        self.chips = []
        return np.stack(self.encodings[:MOST_ENCODINGS])


class Gatherer:
    """Takes the tracklets shot by shot, gives them track ids, and keeps the columns of a FaceTable."""

    def __init__(self, same_person: float, max_gap: int):
        self.same_person, self.max_gap = same_person, max_gap
        self.persons: list[Person] = []
        self.columns: list[dict[str, np.ndarray]] = [gap_columns([], -1)]

    def add_shot(self, tracklets: list[Tracklet]) -> None:
        """All tracklets of one shot, their frames ascending."""
        sure = [t for t in tracklets if max(t.scores) > WEAK_SCORE or t.rescued or rescuer().sees_face(t.chips)]
        here: dict[int, list[Tracklet]] = {}
        for tracklet in sorted(sure, key=lambda t: (t.frames[0], t.raw[0].left)):
            person = self.who(tracklet, here)
            here.setdefault(person.track_id, []).append(tracklet)
            self.columns.append(columns_of(tracklet, person.track_id))
        for track_id, parts in here.items():
            for before, after in zip(parts, parts[1:]):
                self.columns.append(gap_columns(range(before.frames[-1] + 1, after.frames[0]), track_id))

    def who(self, tracklet: Tracklet, here: dict[int, list[Tracklet]]) -> Person:
        """The person that a tracklet shows: one of those who are not elsewhere in its frames, or a new one."""
        free = [p for p in self.persons if not any(overlap(t, tracklet) for t in here.get(p.track_id, []))]
        mine: list[np.ndarray] = []
        best, best_distance = None, np.inf
        if free and tracklet.chips:
            mine = [encode_chip(tracklet.chips[0])]
            for person in free:
                beside = any(self.continues(t, tracklet) for t in here.get(person.track_id, []))
                distance = distances(person.known(), mine[0]).min() - BESIDE * beside
                if distance < best_distance:
                    best, best_distance = person, distance
        if best is None or best_distance >= self.same_person:
            best = Person(len(self.persons), chips=[] if mine else tracklet.chips[:2])
            self.persons.append(best)
        if len(best.encodings) < MOST_ENCODINGS:
            best.encodings += mine
        return best

    def continues(self, before: Tracklet, after: Tracklet) -> bool:
        """Whether a tracklet begins soon after another ended, at the same place."""
        gap = after.frames[0] - before.frames[-1]
        return 0 < gap <= self.max_gap and after.raw[0].iou(before.raw[-1]) > 0.3


def overlap(a: Tracklet, b: Tracklet) -> bool:
    """Whether two tracklets have a frame in common."""
    return a.frames[0] <= b.frames[-1] and b.frames[0] <= a.frames[-1]


def columns_of(tracklet: Tracklet, track_id: int) -> dict[str, np.ndarray]:
    """Part of a FaceTable, the boxes smoothed."""
    raw = [(b.left, b.top, b.right, b.bottom) for b in tracklet.raw]
    return {
        "frame": np.array(tracklet.frames, np.int32),
        "track": np.full(len(raw), track_id, np.int32),
        "box": extent.smooth(np.stack(tracklet.extents)).astype(np.float32),
        "raw": np.array(raw, np.float32),
        "score": np.array(tracklet.scores, np.float32),
        "how": np.array([HOWS.index(h) for h in tracklet.hows], np.uint8),
    }


def gap_columns(frames, track_id: int) -> dict[str, np.ndarray]:
    """Part of a FaceTable for frames without a face; track_id -1: without any face."""
    n = len(frames)
    return {
        "frame": np.array(frames, np.int32).reshape(-1),
        "track": np.full(n, track_id, np.int32),
        "box": np.full((n, 4), np.nan, np.float32),
        "raw": np.full((n, 4), np.nan, np.float32),
        "score": np.full(n, np.nan, np.float32),
        "how": np.full(n, HOWS.index(How.GAP), np.uint8),
    }
