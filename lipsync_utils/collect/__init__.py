"""Stage 01: from videos.csv to raw/<video_id>.mp4 and collected.csv; and the way back, forget()."""

from .archive import add_archive, add_grid
from .forget import Forgotten, forget
from .stage import collect_videos, cost, estimate, read_sources, sample, source_from, write_sources
