"""One key light, a cool fill, the sky and ambient occlusion: height field + colour -> linear light."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import Canvas, blur, f32, smoothstep

FILL = (0.75, -0.10, 0.60)
STEEPEST = 2.2  # slopes are limited to this


def _unit(vector):
    vector = np.array(vector, f32)
    return vector / np.linalg.norm(vector)


def _normals(height, canvas):
    gy, gx = np.gradient(height, f32(canvas.pixel))
    limit = np.minimum(1, STEEPEST / np.maximum(np.hypot(gx, gy), 1e-3))
    gx, gy = gx * limit, gy * limit
    n = 1 / np.sqrt(1 + gx * gx + gy * gy)
    return -gx * n, -gy * n, n


def _occlusion(height, canvas):
    """Hollows are darker: "blurred minus itself" at two sizes."""
    u = canvas.px_per_unit
    hollow = np.clip(blur(height, 0.05 * u) - height, 0, 1) + 0.6 * np.clip(blur(height, 0.13 * u) - height, 0, 1)
    return np.exp(-5.0 * hollow)


def _cast_shadow(height, canvas, key):
    """Where something nearer to the light stands in its way, 0..1: the nose on the cheek, the brow on the lid."""
    x, y, z = key
    flat, reach = float(np.hypot(x, y)), 0.5 * canvas.px_per_unit
    form, hidden = blur(height, 0.015 * canvas.px_per_unit), np.zeros_like(height)
    for step in np.linspace(0.06, 1, 12) * reach:
        move = np.float32([[1, 0, -step * x / flat], [0, 1, -step * y / flat]])
        other = cv2.warpAffine(form, move, form.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        hidden = np.maximum(hidden, other - form - step * canvas.pixel * z / flat)
    return blur(smoothstep(0.0, 0.08, hidden), 0.015 * canvas.px_per_unit)


def shade(height, albedo, canvas: Canvas, gloss, key):
    """Light a surface.

    height: (h, w) head units; albedo: (h, w, 3) linear; gloss: strength of the highlight, number or (h, w).
    Returns (h, w, 3) float32 linear light. Red wraps further round the form than blue: cheap subsurface scattering.
    """
    normal = _normals(height, canvas)

    def facing(direction):
        return sum(n * d for n, d in zip(normal, _unit(direction), strict=True))

    def lambert(direction, wrap):
        return np.clip((facing(direction) + wrap) / (1 + wrap), 0, 1)

    near, far = lambert(key, 0.25), lambert(key, 0.50)
    lit = 1 - 0.75 * _cast_shadow(height, canvas, key)
    near, far = near * lit, far * lit
    wrapped = np.stack([near * 0.4 + far * 0.6, near * 0.75 + far * 0.25, near * 0.9 + far * 0.1], -1)
    light = wrapped * np.array([0.98, 0.94, 0.88], f32) * f32(0.80)
    light += (lambert(FILL, 0.3) * 0.22)[..., None] * np.array([0.85, 0.93, 1.05], f32)
    sky = np.clip(0.5 - 0.5 * normal[1], 0, 1)
    light += (0.14 + 0.16 * sky)[..., None] * np.array([0.95, 0.98, 1.05], f32)
    open_ = _occlusion(height, canvas)
    light *= np.stack([open_**0.75, open_, open_], -1)
    half = np.clip(facing(_unit(key) + np.array([0, 0, 1], f32)), 0, 1)
    highlight = (half**22 + 0.6 * half**70) * gloss * open_ * lit
    return (albedo * light + highlight[..., None]).astype(f32)
