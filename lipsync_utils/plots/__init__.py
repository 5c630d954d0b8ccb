"""Figures of the course. Every function returns a matplotlib Figure; colours survive greyscale."""

from .choose import mouths, people, where_time_goes
from .evaluation import case_bars, forest, learning_curve, model_strips, offset_curves
from .faces import box_over_time, contact_sheet, distance_histogram, faces_on_frames, funnel
from .sliders import sliders
from .sound import length_histogram, programme, timeline, waveform
from .training import cosines, face_rows, offset_histogram, paired_bars, similarity, strips, training_curves

__all__ = [
    "box_over_time",
    "case_bars",
    "contact_sheet",
    "cosines",
    "distance_histogram",
    "face_rows",
    "faces_on_frames",
    "forest",
    "funnel",
    "learning_curve",
    "length_histogram",
    "model_strips",
    "mouths",
    "offset_curves",
    "offset_histogram",
    "paired_bars",
    "people",
    "programme",
    "similarity",
    "sliders",
    "strips",
    "timeline",
    "training_curves",
    "waveform",
    "where_time_goes",
]
