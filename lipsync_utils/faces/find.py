"""find_faces: every face of every frame of a video or picture, from the cache where it is known."""

import logging
from pathlib import Path

import numpy as np

from .. import media as media_files
from ..config import FacesConfig, settings_hash
from ..media.tools import check_file
from ..project import content_hash
from .cache import read_table, write_table
from .persons import Gatherer, gap_columns
from .table import FaceTable
from .track import Tracker

log = logging.getLogger(__name__)

VERSION = 4  # of what is found; a new number makes old cache files unused


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
        table = read_table(path, key, made_with)  # what a second call will see, digit by digit
        object.__setattr__(table, "from_cache", False)
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
    return gather(gatherer.columns, size, tracker.index + 1, fps, tracker.factor)


def gather(columns: list[dict], size: tuple[int, int], n_frames: int, fps: float, factor: float) -> FaceTable:
    """All shots' columns as one table, with a row for every frame without a face. factor: of the working picture."""
    seen = np.zeros(n_frames, bool)
    for part in columns:
        seen[part["frame"]] = True
    columns = [*columns, gap_columns(np.flatnonzero(~seen), -1)]
    merged = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    order = np.lexsort((merged["track"], merged["frame"]))
    merged = {name: values[order] for name, values in merged.items()}
    for name in ("box", "raw"):
        merged[name] = merged[name] / np.float32(factor)
    return FaceTable(size=size, n_frames=n_frames, fps=round(float(fps), 6), **merged)
