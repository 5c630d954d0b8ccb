"""The extent of a face box: what S3FD would frame, made from landmarks whatever the detector.

dlib's detectors frame a square from the brows to the chin, and cut the chin of an open mouth. The published networks
were trained on S3FD boxes: from the forehead to the chin, from ear to ear. Training data, inference and published
weights fit together only when all see the same extent.
"""

import numpy as np
from scipy.ndimage import correlate1d, maximum_filter1d

from .landmarks import BROWS, JAW, NOSE, OUTER_LIPS, points, shape, to_detector_box
from .table import FaceBox

BESIDE = 0.03  # beyond the landmarks of the jaw, of the width: the ears
FOREHEAD = 0.6  # above the brows, in distances from brows to nose base
BELOW_CHIN = 0.03  # of the height of the box
OVER_LIPS = 0.06  # of the height, at least between the middle of the box and the lips: a head bent down
WINDOW = 9  # frames over which boxes are smoothed; odd, so that nothing lags


def measure_twice(grey: np.ndarray, marks) -> np.ndarray:
    """The extent (4,) of a face from its landmark object, and from a second look that starts there; not smoothed.

    Where landmarks end depends a little on where they start: sides and top are the mean of both, the bottom the lower.
    """
    first = measure(points(marks))
    second = measure(points(shape(grey, to_detector_box(FaceBox(*first)))))
    return np.append((first[:3] + second[:3]) / 2, max(first[3], second[3]))


def measure(points: np.ndarray) -> np.ndarray:
    """The extent (4,) left, top, right, bottom of a face with these landmarks (68, 2)."""
    nose_base, lips = float(points[NOSE][4:, 1].mean()), float(points[OUTER_LIPS, 1].min())
    brow, bottom = float(np.median(np.sort(points[BROWS, 1])[:5])), float(points[JAW, 1].max())
    top = brow - FOREHEAD * max(nose_base - brow, 1.0)
    top = min(top, 2 * lips - bottom - 2 * OVER_LIPS * (bottom - top))
    left, right = float(points[:, 0].min()), float(points[:, 0].max())
    beside = BESIDE * (right - left)
    return np.array([left - beside, top, right + beside, bottom + BELOW_CHIN * (bottom - top)])


def smooth(extents: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Extents (n, 4) of consecutive frames, calm over time and without lag.

    Sides and top: a symmetric weighted mean. Bottom: the lowest in the window, then the same mean, so that the chin
    never leaves the box while the mouth opens and the box does not follow every syllable.
    """
    weights = np.hanning(window + 2)[1:-1]
    calm = np.array(extents, float)
    calm[:, 3] = maximum_filter1d(calm[:, 3], window, mode="nearest")
    return correlate1d(calm, weights / weights.sum(), axis=0, mode="nearest")
