"""Curves of numbers and arrays that everything drawn here is made of."""

import numpy as np


def clamp(x):
    """Limit to 0..1."""
    return np.clip(x, 0, 1)


def rise(start, end, x):
    """Rise smoothly from 0 at `start` to 1 at `end` (falls where end < start)."""
    t = clamp((x - start) / (end - start))
    return t * t * (3 - 2 * t)


def fall(start, end, x):
    """Fall smoothly from 1 at `start` to 0 at `end`."""
    return 1 - rise(start, end, x)


def fade(distance, length):
    """Fall from 1 at 0 and before it to 1/e at `length`."""
    return np.exp(-clamp(distance) / length)


def cover(inside, pixel):
    """Turn a signed distance (positive inside) into coverage 0..1 that changes over `pixel`."""
    return clamp(inside / pixel + 0.5)


def ridge(distance, width):
    """Return a 1-D Gaussian of height 1; width is its standard deviation."""
    return np.exp(-0.5 * (distance / width) ** 2)


def hump(distance, width):
    """Return exp(-(distance / width)^2)."""
    return np.exp(-((distance / width) ** 2))


def mix(under, over, share):
    """Lay something over something else. share: 0..1, how much of `over` is seen."""
    return under * (1 - share) + over * share
