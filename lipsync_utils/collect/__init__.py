"""Stage 01: from videos.csv to raw/<video_id>.mp4 and collected.csv; and the way back, forget()."""

from .archive import add_archive, add_grid
from .estimate import Estimate, estimate, guess
from .forget import Forgotten, forget
from .sources import held_out_videos, read_sources, sample, source_from, write_sources
from .stage import collect_videos

__all__ = [
    "Estimate",
    "Forgotten",
    "add_archive",
    "add_grid",
    "collect_videos",
    "estimate",
    "forget",
    "guess",
    "held_out_videos",
    "read_sources",
    "sample",
    "source_from",
    "write_sources",
]
