"""What a head is painted with: skin, brows, lips, nostrils, freckles, beard."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .actor import Actor
from .canvas import Canvas, bell, blur, f32, linear, noise, ridge, smoothstep, streaks
from .geometry import HeadShape, nose_tip_y


@dataclass(frozen=True)
class Paint:
    """albedo: (h, w, 3) linear; relief: (h, w) to add to the height; gloss: (h, w) strength of the highlight."""

    albedo: np.ndarray
    relief: np.ndarray
    gloss: np.ndarray


def _mix(under, colour, coverage):
    return under * (1 - coverage[..., None]) + colour * coverage[..., None]


def paint_head(actor: Actor, canvas: Canvas, shape: HeadShape, rng) -> Paint:
    """Paint one head."""
    x, y, ax = canvas.x, canvas.y, canvas.ax
    albedo = _skin(actor, canvas, rng)
    if actor.freckles:
        albedo *= 1 - actor.freckles * _freckles(canvas, rng)[..., None] * np.array([0.25, 0.42, 0.55], f32)
    beard, relief = _beard(actor, canvas, shape, rng)
    if beard is not None:
        coverage, colour = beard
        albedo = _mix(albedo, colour, coverage)
    albedo = _lips(actor, canvas, shape, albedo, rng)
    tip = nose_tip_y(actor)
    nostril = bell(ax, y, 0.083 * actor.nose_w, tip + 0.108, 0.044 * actor.nose_w, 0.020, -0.25)
    albedo *= (1 - 0.88 * np.clip(nostril * 1.5, 0, 1))[..., None]
    brows = _brows(actor, canvas, rng)
    albedo = _mix(albedo, linear(actor.brow_col), brows)
    gloss = 1 + 1.3 * shape.lips + 0.8 * bell(x, y, 0, tip - 0.02, 0.08, 0.10) + 0.25 * bell(x, y, 0, -0.5, 0.4, 0.25)
    gloss *= 1 - 0.9 * brows
    gloss *= 1 - 0.7 * actor.beard * smoothstep(0.7, 0.9, y) * (1 - shape.lips)
    return Paint(albedo.astype(f32), relief, (0.085 * gloss).astype(f32))


def _skin(actor, canvas, rng):
    x, y, ax = canvas.x, canvas.y, canvas.ax
    mottle = noise(rng, canvas.shape, [60, 22, 9], [0.03, 0.03, 0.02])
    albedo = linear(actor.skin) * (1 + mottle)[..., None]
    red = 0.22 * bell(ax, y, 0.58, 0.45, 0.20, 0.17) + 0.22 * bell(x, y, 0, nose_tip_y(actor), 0.13, 0.12)
    red += 0.10 * bell(x, y, 0, actor.mouth_y + 0.36, 0.2, 0.12) + 0.08 * bell(ax, y, actor.eye_dx, 0.17, 0.2, 0.08)
    red = actor.blush * red + 0.02 * mottle
    albedo *= np.stack([1 + 0.25 * red, 1 - 0.75 * red, 1 - 0.70 * red], -1)
    lid = bell(ax, y, actor.eye_dx, -0.06, 0.21, 0.075)
    return albedo * ((1 - 0.22 * lid)[..., None] * np.array([1, 0.96, 0.97], f32))


def _freckles(canvas, rng):
    x, y, ax = canvas.x, canvas.y, canvas.ax
    where = bell(ax, y, 0.38, 0.33, 0.34, 0.20) + 0.5 * bell(x, y, 0, 0.3, 0.2, 0.3)
    where += 0.3 * bell(x, y, 0, -0.5, 0.5, 0.2)
    return smoothstep(0.9, 1.9, noise(rng, canvas.shape, [4.5], [1.0])) * np.clip(where, 0, 1)


def _beard(actor, canvas, shape, rng):
    """Return ((coverage, colour), relief); (None, zeros) for a shaven face."""
    if not (actor.beard or actor.moustache or actor.stubble):
        return None, np.zeros(canvas.shape, f32)
    x, y, ax = canvas.x, canvas.y, canvas.ax
    cheek_line = 0.22 + 0.60 * np.exp(-((ax / 0.62) ** 4))
    mouth = np.hypot(x / (actor.mouth_w * 1.12), (y - actor.mouth_y - 0.01) / 0.155)
    beard = smoothstep(cheek_line - 0.05, cheek_line + 0.13, y) * (shape.rho < 1.1) * smoothstep(0.95, 1.25, mouth)
    under_nose = 0.5 * (actor.mouth_y - actor.lip_up + nose_tip_y(actor) + 0.14)
    moustache = np.clip(1.6 * bell(ax, y, 0.16, under_nose, 0.17, 0.05), 0, 1) * (y < shape.lip_top - 0.004)
    where = np.clip(np.maximum(beard * actor.beard, moustache * actor.moustache), 0, 1)
    shadow = smoothstep(cheek_line - 0.1, cheek_line + 0.13, y) * (shape.rho < 1.1) * (1 - shape.lips)
    shadow *= smoothstep(0.0, 0.06, y - nose_tip_y(actor) - 0.1)
    where = np.maximum(where, 0.4 * actor.stubble * shadow)
    patches = noise(rng, canvas.shape, [1.6, 3.2], [0.5, 0.35])
    hairs = streaks(rng, canvas.shape, 0.8, 4.5, 2.0)
    coverage = np.clip(where * (1 + 0.3 * patches + 0.55 * hairs), 0, 1)
    colour = linear(actor.beard_col) * (1 + 0.5 * np.clip(hairs, -1, 1))[..., None]
    return (coverage, colour), (0.02 * where * (1 + 0.5 * hairs)).astype(f32)


def _lips(actor, canvas, shape, albedo, rng):
    vary = 1 + noise(rng, canvas.shape, [5, 14], [0.03, 0.05])
    creases = streaks(rng, canvas.shape, 1.0, 8, 1.6)
    colour = linear(actor.lip_col) * (vary * (1 + 0.10 * creases))[..., None]
    colour = colour * np.where(canvas.y < shape.lip_line, 0.82, 1.05)[..., None]
    albedo = _mix(albedo, colour, shape.lips * 0.92)
    mw = actor.mouth_w
    line = ridge(canvas.y - shape.lip_line, 0.011) * (1 - smoothstep(mw * 0.97, mw * 1.08, canvas.ax))
    return albedo * (1 - 0.75 * line)[..., None]


def _brows(actor, canvas, rng):
    """Coverage of the eyebrows: a soft shape of short strokes."""
    x, y = canvas.x, canvas.y
    along = (canvas.ax - actor.eye_dx) / 0.27  # -1 at the inner end, 1 at the outer
    middle = actor.brow_y - actor.brow_arch * (1 - np.where(along < 0.25, 0.45, 1.0) * (along - 0.25) ** 2) + 0.02
    thick = actor.brow_th * np.clip(1 - 0.55 * np.clip(along, -1, 1.2), 0.3, 1.25)
    where = np.exp(-(np.abs((y - middle) / thick) ** 3)) * smoothstep(-1.08, -0.85, along)
    where *= 1 - smoothstep(0.75, 1.12, along)
    pattern = noise(rng, (256, 1024), [2.2, 5], [0.6, 0.4])
    u = ((x + y * 0.55 * np.sign(x)) * 190 + 512).astype(f32)
    strokes = cv2.remap(pattern, u, (y * 60 + 128).astype(f32), cv2.INTER_LINEAR)
    return blur(np.clip(where * (0.88 + 0.30 * strokes), 0, 1), 0.006 * canvas.px_per_unit)
