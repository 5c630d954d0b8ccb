"""The drawing plane of a head and the few numeric helpers that everything drawn here shares.

Head coordinates: one unit is about 75 mm, x to the right and y down in the picture, the eye line is y = 0, the mouth
is near y = 0.86 and the chin near y = 1.53. Colours are linear light while a head is baked, 0..1, and come first:
(3, h, w), so that a plane (h, w) scales them as it is.
"""

from typing import NamedTuple

import cv2
import numpy as np

f32 = np.float32
BAKE_PX = 150  # pixels per head unit of a baked head; noise is tuned to it
LEFT, TOP, WIDTH, HEIGHT = -1.42, -2.05, 2.84, 4.0  # what a baked head covers, head units
NOISE_SCALE = BAKE_PX / 220  # noise sizes below were tuned at 220 px per unit
GAMMA = 2.2


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


class Canvas(NamedTuple):
    """Coordinates of every pixel of a plane: x, y and ax = |x|, float32 (h, w); u: pixels per head unit."""

    x: np.ndarray
    y: np.ndarray
    ax: np.ndarray
    u: float

    @classmethod
    def of(cls, x, y, u):
        """Return the plane with these columns and rows."""
        x, y = np.meshgrid(x, y)
        return cls(x, y, abs(x), u)

    @classmethod
    def of_head(cls):
        """Return the plane that a baked head covers."""
        sides = (WIDTH, LEFT), (HEIGHT, TOP)
        return cls.of(*(centres(round(side * BAKE_PX), BAKE_PX, start) for side, start in sides), BAKE_PX)

    def bells(self, start, *rows):
        """Add 2-D Gaussians (height, |x| and y of the middle, x and y deviation, turn) to `start`, in this order."""
        for height, x, y, sx, sy, *turn in rows:
            x, y = self.ax - x, self.y - y
            for angle in turn:
                c, s = np.cos(angle), np.sin(angle)
                x, y = c * x + s * y, c * y - s * x
            start = start + height * np.exp(-0.5 * ((x / sx) ** 2 + (y / sy) ** 2))
        return start

    def edge(self, inside, softness_px=1.5):
        """Turn a signed distance in head units (positive inside) into coverage 0..1."""
        return cover(inside, softness_px * (1.0 / self.u))
