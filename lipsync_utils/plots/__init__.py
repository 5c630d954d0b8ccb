"""Figures of the course. Every function returns a matplotlib Figure; colours survive greyscale."""

from .data import (
    box_over_time,
    contact_sheet,
    distance_histogram,
    faces_on_frames,
    funnel,
    length_histogram,
    mouths,
    people,
    programme,
    sliders,
    timeline,
    waveform,
    where_time_goes,
)
from .models import (
    cosines,
    differences,
    face_rows,
    gains,
    offset_curves,
    offset_histogram,
    paired_bars,
    similarity,
    training_curves,
)
