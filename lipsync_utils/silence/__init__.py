"""Stage 02: silences, parts, clips. find_parts and plan_clips are pure; split_videos does the work."""

from .parts import Span, find_parts, joined, loudness_dbfs, plan_clips, threshold_dbfs
from .stage import quiet_videos, split_videos

__all__ = [
    "Span",
    "find_parts",
    "joined",
    "loudness_dbfs",
    "plan_clips",
    "quiet_videos",
    "split_videos",
    "threshold_dbfs",
]
