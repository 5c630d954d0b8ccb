"""What stands behind the actors: studio walls, a desk, a title card. All of it drawn, none of it a face."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import blur, f32, smoothstep, to_uint8

STYLES = ("slats", "shelves", "skyline", "plain")
TONES = ((0.16, 0.24, 0.42), (0.30, 0.20, 0.30), (0.14, 0.32, 0.34), (0.30, 0.26, 0.18), (0.24, 0.26, 0.30))
LAMPS = np.array([(1.0, 0.72, 0.38), (0.45, 0.7, 1.0), (0.9, 0.45, 0.6)], f32)


def paint_backdrop(size: tuple[int, int], seed: int, style: str | None = None, desk: float | None = None) -> np.ndarray:
    """Return a wall, uint8 RGB (h, w, 3). size: (w, h); desk: y of a table's edge as a fraction of h, None: none."""
    rng = np.random.default_rng((seed, 11))
    w, h = size
    y, x = (a.astype(f32) for a in np.mgrid[0:h, 0:w])
    y, x = y / h, x / w
    style = style or STYLES[int(rng.integers(len(STYLES)))]
    tone = np.array(TONES[int(rng.integers(len(TONES)))], f32)
    wall = tone * ((1.15 - 0.7 * np.abs(y - 0.35)) * (1.1 - 0.5 * np.abs(x - 0.5)))[..., None]
    wall = {"slats": _slats, "shelves": _shelves, "skyline": _skyline, "plain": _plain}[style](wall, x, y, w / h, rng)
    wall = blur(np.clip(wall, 0, 1), 2.2 * max(h, w) / 640)
    if desk:
        wood = np.array([0.42, 0.27, 0.17], f32) * (1 + 0.05 * np.sin(x * 60 + 6 * np.sin(y * 9)))[..., None]
        wood *= (1 - 0.45 * smoothstep(desk + 0.05, desk + 0.055, y))[..., None]
        front = smoothstep(desk - 0.004, desk + 0.004, y)[..., None]
        wall = wall * (1 - front) + wood * front
    return to_uint8(wall)


def _slats(wall, x, y, aspect, rng):
    """Bars of light and a few out-of-focus lamps."""
    n = round(7 * max(1.0, aspect))
    for k in range(n):
        centre, width = (k + 0.5 + rng.uniform(-0.2, 0.2)) / n, rng.uniform(0.012, 0.03) / max(1.0, aspect)
        bar = np.exp(-(((x - centre) / width) ** 2)) * smoothstep(0, 0.1, y) * (1 - smoothstep(0.75, 0.95, y))
        wall = wall + bar[..., None] * LAMPS[rng.integers(3)] * f32(rng.uniform(0.15, 0.38))
    return _lamps(wall, x, y, aspect, rng, 26, 0.7)


def _lamps(wall, x, y, aspect, rng, n, lowest):
    for _ in range(n):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, lowest), rng.uniform(0.01, 0.03)
        away = np.hypot((x - cx) * aspect, y - cy)
        glow = (1 - smoothstep(r * 0.8, r, away)) * rng.uniform(0.03, 0.14)
        wall = wall + glow[..., None].astype(f32) * np.array([1.0, 0.8, 0.5], f32)
    return wall


def _shelves(wall, x, y, aspect, rng):
    """A book case."""
    wall, (h, w) = wall * f32(0.5), x.shape
    for row in range(5):
        top, bottom, left = row * 0.2 + 0.03, row * 0.2 + 0.185, 0.0
        while left < 1:
            width = rng.uniform(0.012, 0.035) / max(1.0, aspect * 0.8)
            high, colour = top + rng.uniform(0.0, 0.06), rng.uniform(0.08, 0.42, 3)
            if rng.random() < 0.9:
                grey = colour.mean()
                spine = wall[round(high * h) : round(bottom * h), round(left * w) : round((left + width * 0.93) * w)]
                spine[:] = grey + 0.6 * (colour - grey)
            left += width
        wall[round(bottom * h) : round((bottom + 0.016) * h)] = (0.34, 0.24, 0.16)
    return wall * (1.05 - 0.5 * np.abs(y - 0.4))[..., None]


def _skyline(wall, x, y, aspect, rng):
    """A city by night behind a window."""
    wall = wall * (0.5 + 0.9 * y)[..., None]
    h, w = x.shape
    panes = ((x * 46 * aspect) % 1 < 0.45) & ((y * 46) % 1 < 0.5)
    panes &= (rng.random((64, 96)) < 0.3)[(y * 46).astype(int) % 64, (x * 46 * aspect).astype(int) % 96]
    left = 0.0
    while left < 1:
        width, top = rng.uniform(0.05, 0.14) / max(1.0, aspect * 0.8), rng.uniform(0.35, 0.62)
        house = slice(round(top * h), h), slice(round(left * w), round((left + width) * w))
        wall[house] *= f32(rng.uniform(0.25, 0.5))
        wall[house] += panes[house][..., None] * np.array([0.42, 0.34, 0.18], f32)
        left += width
    bars = np.min([np.abs(x - c) for c in (0.0, 0.34, 0.66, 1.0)], 0) < 0.007
    return np.where(bars[..., None], np.array([0.10, 0.10, 0.12], f32), wall)


def _plain(wall, x, y, aspect, rng):
    """A wall with a soft spot of light."""
    cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    spot = np.exp(-(((x - cx) * aspect) ** 2 + (y - cy) ** 2) / 0.18)
    return wall + spot[..., None] * LAMPS[rng.integers(3)] * f32(rng.uniform(0.10, 0.25))


def paint_title(size: tuple[int, int], seed: int, title: str, subtitle: str = "") -> np.ndarray:
    """Return a title card, uint8 RGB (h, w, 3); letters outside ASCII are not drawn."""
    picture = paint_backdrop(size, seed, "slats")
    w, h = size
    top, bottom = int(0.38 * h), int(0.62 * h)
    picture[top:bottom] = picture[top:bottom] // 4 + np.array([14, 18, 34], np.uint8)
    picture[top : top + 3] = picture[bottom - 3 : bottom] = (230, 170, 60)
    for text, height, line in ((title, 0.085, 0.49), (subtitle, 0.042, 0.57)):
        _write(picture, text, height * h, int(line * h))
    return picture


def _write(picture, text, height_px, y):
    font, width = cv2.FONT_HERSHEY_DUPLEX, picture.shape[1]
    (w, h), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(height_px / h, 0.9 * width / max(w, 1))
    thickness = max(1, round(scale * 1.6))
    origin = (int((width - w * scale) / 2), y)
    cv2.putText(picture, text, origin, font, scale, (245, 240, 230), thickness, cv2.LINE_AA)
