"""The drawing plane of a head and the few numeric helpers that everything drawn here shares.

Head coordinates: one unit is about 75 mm, x to the right and y down in the picture, the eye line is y = 0, the mouth
is near y = 0.98 and the chin near y = 1.53. Colours are linear light while a head is baked, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

f32 = np.float32
BAKE_PX = 150  # pixels per head unit of a baked head; noise is tuned to it
LEFT, RIGHT, TOP, BOTTOM = -1.42, 1.42, -2.05, 1.95  # what a baked head covers, head units
NOISE_SCALE = BAKE_PX / 220  # noise sizes below were tuned at 220 px per unit
GAMMA = 2.2


def smoothstep(start, end, x):
    """Rise smoothly from 0 at `start` to 1 at `end` (falls where end < start)."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def bell(x, y, cx, cy, sx, sy=None, turn=0.0):
    """Return a 2-D Gaussian of height 1 around (cx, cy), turned by `turn` radians."""
    sy = sx if sy is None else sy
    dx, dy = x - cx, y - cy
    if turn:
        c, s = np.cos(turn), np.sin(turn)
        dx, dy = c * dx + s * dy, -s * dx + c * dy
    return np.exp(-0.5 * ((dx / sx) ** 2 + (dy / sy) ** 2))


def ridge(distance, width):
    """Return a 1-D Gaussian of height 1."""
    return np.exp(-0.5 * (distance / width) ** 2)


def linear(colour):
    """Turn an 8-bit display colour (r, g, b) into linear light, float32."""
    return np.power(np.asarray(colour, f32) / 255.0, GAMMA).astype(f32)


def display(light):
    """Turn linear light into display values 0..1, float32."""
    return np.power(np.clip(light, 0, 1), 1 / GAMMA).astype(f32)


def blur(image, sigma_px):
    """Gaussian blur."""
    return cv2.GaussianBlur(np.ascontiguousarray(image, f32), (0, 0), sigma_px)


def to_uint8(image):
    """Turn 0..1 into 0..255 uint8."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def noise(rng, shape, sizes_px, weights):
    """Return a sum of smooth random fields of the given sizes, float32 of `shape`."""
    out = np.zeros(shape, f32)
    for size, weight in zip(sizes_px, weights, strict=True):
        size = max(1.0, size * NOISE_SCALE)
        coarse = rng.standard_normal((max(2, int(shape[0] / size) + 2), max(2, int(shape[1] / size) + 2)))
        out += weight * cv2.resize(coarse.astype(f32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return out


def streaks(rng, shape, across_px, along_px, strength):
    """Return noise drawn out vertically, as hair of a beard or creases of lips."""
    field = rng.standard_normal(shape).astype(f32)
    return cv2.GaussianBlur(field, (0, 0), sigmaX=across_px, sigmaY=along_px * NOISE_SCALE) * f32(strength)


@dataclass(frozen=True)
class Canvas:
    """Coordinates of every pixel of the plane: x, y and |x|, float32 (h, w); px_per_unit."""

    x: np.ndarray
    y: np.ndarray
    px_per_unit: float

    @classmethod
    def of_head(cls, px_per_unit=BAKE_PX):
        """Return the plane that a baked head covers."""
        w, h = round((RIGHT - LEFT) * px_per_unit), round((BOTTOM - TOP) * px_per_unit)
        x = (np.arange(w, dtype=f32) + f32(0.5)) / f32(px_per_unit) + f32(LEFT)
        y = (np.arange(h, dtype=f32) + f32(0.5)) / f32(px_per_unit) + f32(TOP)
        return cls(*np.meshgrid(x, y), px_per_unit)

    @property
    def ax(self):
        """Distance from the middle line."""
        return np.abs(self.x)

    @property
    def pixel(self):
        """Size of a pixel in head units."""
        return 1.0 / self.px_per_unit

    @property
    def shape(self):
        """(height, width) in pixels."""
        return self.x.shape

    def edge(self, inside, softness_px=1.5):
        """Turn a signed distance in head units (positive inside) into coverage 0..1."""
        return np.clip(inside / (softness_px * self.pixel) + 0.5, 0, 1)
