"""The drawing plane of a head and the few numeric helpers that everything drawn here shares.

Head coordinates: one unit is about 75 mm, x to the right and y down in the picture, the eye line is y = 0, the mouth
is near y = 0.86 and the chin near y = 1.53. Colours are linear light while a head is baked, 0..1, and come first:
(3, h, w), so that a plane (h, w) scales them as it is.
"""

import cv2
import numpy as np

from .curves import clamp

f32 = np.float32
BAKE_PX = 150  # pixels per head unit of a baked head; noise is tuned to it
LEFT, TOP, WIDTH, HEIGHT = -1.42, -2.05, 2.84, 4.0  # what a baked head covers, head units
NOISE_SCALE = BAKE_PX / 220  # noise sizes below were tuned at 220 px per unit
GAMMA = 2.2


def rgb(*values):
    """A colour that planes can be multiplied with: float32 (3, 1, 1)."""
    return f32(values)[:, None, None]


def linear(colour):
    """Turn an 8-bit display colour (r, g, b) into linear light, float32 (3, 1, 1)."""
    return (rgb(*colour) / 255) ** GAMMA


def display(light):
    """Turn linear light into display values 0..1, float32."""
    return (clamp(light) ** (1 / GAMMA)).astype(f32)


def blur(image, sigma_px):
    """Gaussian blur of (h, w) or (h, w, channels)."""
    return cv2.GaussianBlur(np.ascontiguousarray(image, f32), (0, 0), sigma_px)


def to_8bit(image):
    """Turn 0..1 into 0..255 uint8."""
    return (clamp(image) * 255 + 0.5).astype(np.uint8)


def noise(rng, shape, sizes_px, weights):
    """Return a sum of smooth random fields of the given sizes, float32 of `shape`."""
    out = np.zeros(shape, f32)
    for size, weight in zip(sizes_px, weights):
        size = max(1.0, size * NOISE_SCALE)
        coarse = rng.standard_normal([max(2, int(n / size) + 2) for n in shape]).astype(f32)
        out += weight * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return out


def streaks(rng, shape, across_px, along_px):
    """Return noise drawn out vertically, as hair of a beard or creases of lips."""
    field = rng.standard_normal(shape).astype(f32)
    return cv2.GaussianBlur(field, (0, 0), sigmaX=across_px, sigmaY=along_px * NOISE_SCALE)


def centres(n, px_per_unit, start):
    """Return where the centres of n pixels lie, float32 (n,) head units from `start`."""
    return (np.arange(n, dtype=f32) + 0.5) / f32(px_per_unit) + f32(start)


X, Y = np.meshgrid(*(centres(round(n * BAKE_PX), BAKE_PX, start) for n, start in ((WIDTH, LEFT), (HEIGHT, TOP))))
AX = abs(X)  # a baked head's coordinates of every pixel, float32 (h, w)
