"""Figures of the course. Every function returns a matplotlib Figure; colours survive greyscale."""

from .training import cosines, offset_histogram, paired_bars, similarity, strips, training_curves

__all__ = ["cosines", "offset_histogram", "paired_bars", "similarity", "strips", "training_curves"]
