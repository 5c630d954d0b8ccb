"""The shape of a head: outline and height field, from which light and parallax follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from .actor import NOSE_TIP_Y, Actor
from .canvas import Canvas, bell, blur, f32, noise, ridge, smoothstep

CENTRE_Y = 0.05  # the outline is polar around (0, CENTRE_Y)


@dataclass(frozen=True)
class HeadShape:
    """Height field and landmarks of one head; every array is float32 (h, w).

    radius: distance centre to outline in each pixel's direction; rho: distance to centre / radius (1 on the outline);
    height: relief towards the camera; smooth: the same without fine detail, for parallax; lips: coverage of the lips;
    lip_line, lip_top, lip_bottom: y of the closed mouth's curves.
    """

    radius: np.ndarray
    rho: np.ndarray
    height: np.ndarray
    smooth: np.ndarray
    lips: np.ndarray
    lip_line: np.ndarray
    lip_top: np.ndarray
    lip_bottom: np.ndarray


def outline(actor: Actor):
    """Return the head's outline as a function: (x, y) -> radius in that direction."""
    c, top, jaw = actor.chin, actor.forehead, actor.jaw_w
    points = np.array(
        [
            (0, -1.46 - top),
            (0.46, -1.36 - top),
            (0.78, -1.06 - top * 0.7),
            (0.93, -0.6),
            (0.965, -0.2),
            (0.945, 0.15),
            (0.90, 0.45),
            (0.83 * (0.4 + 0.6 * jaw), 0.78),
            (0.69 * jaw, 1.08 + c * 0.5),
            (0.46 * jaw * (0.6 + 0.4 * actor.chin_w), 1.36 + c * 0.8),
            (0.23 * (0.5 + 0.5 * jaw) * actor.chin_w, 1.50 + c),
            (0, 1.535 + c),
        ]
    )
    points[:, 0] *= actor.face_w
    points[:, 1] -= CENTRE_Y
    angle, radius = np.arctan2(points[:, 1], points[:, 0]), np.hypot(points[:, 0], points[:, 1])
    mirrored = (2 * np.pi - angle[1:-1]) % (2 * np.pi) - np.pi
    angle, radius = np.concatenate([angle, mirrored]), np.concatenate([radius, radius[1:-1]])
    order = np.argsort(angle)
    angle, radius = angle[order], radius[order]
    spline = CubicSpline(np.append(angle, angle[0] + 2 * np.pi), np.append(radius, radius[0]), bc_type="periodic")
    return lambda x, y: spline(np.arctan2(y - CENTRE_Y, x)).astype(f32)


def lip_line(actor: Actor, x):
    """Return y of the line where closed lips meet, at x."""
    t = np.clip(np.abs(x) / actor.mouth_w, 0, 1)
    return actor.mouth_y + actor.smile * np.cos(t * np.pi) + 0.006 * np.exp(-((x / 0.05) ** 2))


def lip_curves(actor: Actor, x):
    """Return y of the lip line, of the upper lip's top edge and of the lower lip's bottom edge, float32."""
    t = np.clip(np.abs(x) / actor.mouth_w, 0, 1)
    line = lip_line(actor, x)
    bow = 1.0 - 0.22 * actor.bow * np.exp(-((x / 0.05) ** 2)) + 0.12 * np.exp(-(((np.abs(x) - 0.09) / 0.06) ** 2))
    upper = actor.lip_up * np.sqrt(np.clip(1 - t**2.2, 0, 1)) * bow * (1 - 0.35 * t)
    lower = actor.lip_lo * np.clip(1 - t**2.4, 0, 1) ** 0.8
    return line.astype(f32), (line - upper).astype(f32), (line + lower).astype(f32)


def nose_tip_y(actor: Actor):
    """Return y of the tip of the nose."""
    return NOSE_TIP_Y + actor.nose_len


def shape_head(actor: Actor, canvas: Canvas, rng) -> HeadShape:
    """Build the height field of one head."""
    x, y, ax, u = canvas.x, canvas.y, canvas.ax, canvas.px_per_unit
    radius = outline(actor)(x, y)
    rho = np.hypot(x, y - CENTRE_Y) / radius
    z = 0.98 * np.power(np.clip(1 - np.clip(rho, 0, 1) ** 2.5, 1e-4, 1), 0.52)
    z += _nose(actor, x, y, ax) + _eye_sockets(actor, x, y, ax) + _cheeks(actor, ax, y)
    line, top, bottom = lip_curves(actor, x)
    lips = (ax < actor.mouth_w) & (y >= top) & (y <= bottom)
    z += _mouth(actor, canvas, line, top, bottom)
    z += _chin_and_folds(actor, x, y, ax) + _wrinkles(actor, x, y, ax)
    smooth = blur(z, 0.02 * u)
    z *= 1 + 0.015 * np.sin(x * 1.3 + actor.seed)  # nobody is a mirror image
    z += noise(rng, z.shape, [26, 3.0], [0.0010, 0.00045])
    soft_lips = blur(lips.astype(f32), 0.008 * u)
    return HeadShape(radius, rho, z.astype(f32), smooth, soft_lips, line, top, bottom)


def _nose(actor, x, y, ax):
    tip = nose_tip_y(actor)
    t = np.clip((y + 0.12) / (tip + 0.12), 0, 1)
    ends = smoothstep(-0.30, -0.02, y) * (1 - smoothstep(tip + 0.02, tip + 0.145, y))
    z = (0.05 + 0.24 * t**1.35) * actor.nose_h * ridge(ax, (0.085 + 0.045 * t**2) * actor.nose_w) * ends
    z += 0.06 * actor.nose_h * bell(x, y, 0, tip, 0.10 * actor.nose_w, 0.085)
    wing = 0.165 * actor.nose_w
    z += 0.17 * bell(ax, y, wing, tip + 0.052, 0.055, 0.058)
    return z - 0.07 * bell(ax, y, wing + 0.085, tip + 0.04, 0.028, 0.07)


def _eye_sockets(actor, x, y, ax):
    e = actor.eye_dx
    z = -0.15 * bell(ax, y, e - 0.04, -0.05, 0.22, 0.13) - 0.06 * bell(ax, y, 0.17, -0.03, 0.07, 0.10)
    z += 0.075 * bell(ax, y, e, 0.0, 0.155, 0.10) + 0.065 * bell(ax, y, e + 0.02, actor.brow_y, 0.25, 0.085)
    return z + 0.03 * bell(x, y, 0, -0.22, 0.16, 0.10)


def _cheeks(actor, ax, y):
    w = actor.face_w
    z = 0.085 * actor.cheek * bell(ax, y, 0.60 * w, 0.30, 0.20, 0.15, 0.5)
    return z - 0.05 * bell(ax, y, 0.70 * w, 0.82, 0.16, 0.25) - 0.04 * bell(ax, y, 0.88 * w, -0.35, 0.12, 0.25)


def _mouth(actor, canvas, line, top, bottom):
    """Muzzle, philtrum and the two lips."""
    x, y, ax, my, mw = canvas.x, canvas.y, canvas.ax, actor.mouth_y, actor.mouth_w
    z = 0.115 * bell(x, y, 0, my - 0.02, 0.34, 0.22) - 0.022 * bell(x, y, 0, my - 0.16, 0.03, 0.07)
    z += 0.012 * bell(ax, y, 0.05, my - 0.15, 0.022, 0.07)
    up = np.clip((line - y) / np.maximum(line - top, 1e-3), 0, 1)
    down = np.clip((y - line) / np.maximum(bottom - line, 1e-3), 0, 1)
    round_up = np.clip(np.sin(np.pi * up), 0, 1) ** 0.8
    round_down = np.clip(np.sin(np.pi * down), 0, 1) ** 0.8
    fade = np.clip(1 - (ax / mw) ** 2, 0, 1) ** 0.6 * (ax < mw)
    lips = np.where(y <= line, 0.055 * round_up * (y >= top), 0.085 * round_down * (y <= bottom)) * fade
    z += blur(lips, 0.010 * canvas.px_per_unit)
    z -= 0.05 * ridge(y - line, 0.013) * (1 - smoothstep(mw * 0.9, mw * 1.08, ax))
    return z - 0.03 * bell(ax, y, mw + 0.03, my + 0.01, 0.04, 0.05)


def _chin_and_folds(actor, x, y, ax):
    my, age, tip = actor.mouth_y, actor.age, nose_tip_y(actor)
    boss = my + 0.67 * (1.53 + actor.chin - my)
    z = 0.095 * bell(x, y, 0, boss, 0.19 * actor.chin_w, 0.12)
    z -= 0.055 * bell(x, y, 0, my + 0.08 + actor.lip_lo, 0.22, 0.055)
    t = np.clip((y - tip) / (my + 0.10 - tip), 0, 1)
    end = 1 - smoothstep(my - 0.05, my + 0.14, y)
    fold_x = 0.255 * actor.nose_w + 0.21 * t + 0.05 * np.sin(t * np.pi)
    z -= (0.010 + 0.028 * age) * ridge(ax - fold_x, 0.022) * smoothstep(tip - 0.02, tip + 0.08, y) * end
    return z + (0.012 + 0.02 * age) * ridge(ax - fold_x - 0.06, 0.06) * smoothstep(tip - 0.05, tip + 0.1, y) * end


def _wrinkles(actor, x, y, ax):
    e, age = actor.eye_dx, actor.age
    bag = ridge(y - 0.165 + 0.25 * (ax - e) ** 2, 0.024) * (1 - smoothstep(0.14, 0.22, np.abs(ax - e)))
    z = -(0.006 + 0.018 * age) * bag
    if age <= 0.3:
        return z
    for k, level in enumerate((-0.48, -0.58, -0.68)):
        wave = 0.02 * np.sin(x * 7 + k * 2 + actor.seed)
        z = z - 0.010 * age * ridge(y - level - wave, 0.009) * (1 - smoothstep(0.35, 0.6, ax))
        crow = ridge(y - (k - 1) * 0.07 * (ax - 0.5) / 0.2, 0.008)
        z = z - 0.008 * age * crow * smoothstep(e + 0.22, e + 0.26, ax) * (1 - smoothstep(e + 0.30, e + 0.38, ax))
    return z
