"""Figures of the course. Every function returns a matplotlib Figure; colours survive greyscale."""

from .choose import mouths, people, where_time_goes
from .data import (
    box_over_time,
    contact_sheet,
    distance_histogram,
    faces_on_frames,
    funnel,
    length_histogram,
    programme,
    sliders,
    timeline,
    waveform,
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
