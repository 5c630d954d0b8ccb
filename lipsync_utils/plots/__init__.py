"""Figures of the course. Every function returns a matplotlib Figure; colours survive greyscale."""

from .faces import box_over_time, contact_sheet, distance_histogram, faces_on_frames, funnel
from .sound import length_histogram, timeline, waveform
from .training import cosines, offset_histogram, paired_bars, similarity, strips, training_curves

__all__ = ["box_over_time", "contact_sheet", "cosines", "distance_histogram", "faces_on_frames", "funnel",
           "length_histogram", "offset_histogram", "paired_bars", "similarity", "strips", "timeline", "training_curves",
           "waveform"]
