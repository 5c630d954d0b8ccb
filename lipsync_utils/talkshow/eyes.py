"""Eyes, painted per frame into the texture of a head and remembered per (blink, gaze)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .actor import Actor
from .canvas import f32, ridge, smoothstep, to_uint8

BLINK_STEPS, GAZE_STEPS = 8, 20
IRIS_R, PUPIL_R, GLINT_R = 0.083, 0.034, 0.0155


@dataclass(frozen=True)
class EyePatch:
    """The part of a head's texture that holds one eye.

    side: -1 left in the picture, 1 right; rows, columns: where it is; x (outward positive) and y: head units around the
    pupil; skin: (h, w, 4) texture without the eye; glasses: (colour, coverage) of the frame before it, or None.
    """

    side: int
    rows: slice
    columns: slice
    x: np.ndarray
    y: np.ndarray
    skin: np.ndarray
    glasses: tuple | None
    pixel: float


@dataclass(frozen=True)
class _Lids:
    """Curves of the lids at each column, t = -1 inner corner .. 1 outer corner."""

    t: np.ndarray
    upper_open: np.ndarray
    upper: np.ndarray
    lower: np.ndarray


def quantised(blink, gaze_x, gaze_y):
    """Return the key under which an eye is remembered."""
    return round(blink * BLINK_STEPS), round(gaze_x * GAZE_STEPS), round(gaze_y * GAZE_STEPS)


def paint_eye(actor: Actor, patch: EyePatch, key) -> np.ndarray:
    """Return the patch with the eye in it, uint8 (h, w, 4)."""
    blink, gaze_x, gaze_y = key[0] / BLINK_STEPS, key[1] / GAZE_STEPS, key[2] / GAZE_STEPS
    lids = _lids(actor, patch, min(blink, 1.0))
    rgb = _lid_skin(patch, lids, min(blink, 1.0))
    ball = _eyeball(actor, patch, lids, gaze_x, gaze_y)
    soft = patch.pixel
    visible = np.clip((patch.y - lids.upper) / soft + 0.5, 0, 1) * np.clip((lids.lower - patch.y) / soft + 0.5, 0, 1)
    visible *= np.clip((1 - np.abs(lids.t)) * actor.eye_w / soft + 0.2, 0, 1)
    rgb = rgb * (1 - visible[..., None]) + ball * visible[..., None]
    lash = ridge(patch.y - lids.upper + 0.004, 0.0125 + 0.004 * np.clip(lids.t, 0, 1))
    lash *= smoothstep(1.16, 0.97, np.abs(lids.t) - 0.10 * (lids.t > 0))
    lower_lash = ridge(patch.y - lids.lower - 0.003, 0.009) * smoothstep(1.05, 0.9, np.abs(lids.t))
    rgb = np.clip(rgb * ((1 - 0.86 * lash) * (1 - 0.38 * lower_lash))[..., None], 0, 1)
    if patch.glasses is not None:
        colour, coverage = patch.glasses
        rgb = rgb * (1 - coverage[..., None]) + colour * coverage[..., None]
    return to_uint8(np.dstack([rgb, patch.skin[..., 3]]))


def _lids(actor, patch, blink):
    t = patch.x / actor.eye_w
    tilt = -actor.eye_tilt * t
    open_ = np.abs(t) < 1
    upper = -0.9765 * actor.eye_h * np.clip(1 - np.abs((t + 0.10) / 1.1) ** 2.2, 0, 1) ** 0.75 * open_ + tilt
    lower = 0.72 * actor.eye_h * np.clip(1 - np.abs((t - 0.12) / 1.12) ** 2.3, 0, 1) ** 0.9 * open_ + tilt
    return _Lids(t, upper, upper * (1 - blink) + (lower - 0.004) * blink, lower)


def _lid_skin(patch, lids, blink):
    """The skin round the eye: closed lid, crease, shadow above the lashes."""
    y, t = patch.y, lids.t
    closed = np.clip((y - lids.upper_open) / 0.02, 0, 1) * np.clip((lids.lower - y) / 0.02 + 0.5, 0, 1) * blink
    crease = ridge(y - (lids.upper_open - 0.048 + 0.012 * t**2), 0.010) * smoothstep(1.12, 0.8, np.abs(t))
    shadow = np.exp(-np.clip(lids.upper - y, 0, 1) / 0.03) * (y < lids.upper) * smoothstep(1.1, 0.9, np.abs(t))
    dark = (1 - 0.12 * closed) * (1 - 0.42 * crease * (1 - 0.6 * blink)) * (1 - 0.18 * shadow)
    return patch.skin[..., :3] * dark[..., None]


def _eyeball(actor, patch, lids, gaze_x, gaze_y):
    """White, iris, pupil, catch-light, corner; lit from above by what the lid lets through."""
    t = np.abs(lids.t)[..., None]
    ix, iy = gaze_x * 0.09 * patch.side, gaze_y * 0.05 - 0.004
    dx, dy = patch.x - ix, patch.y - iy
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    soft = patch.pixel
    white = np.array([0.80, 0.785, 0.775], f32) * (1 - 0.30 * t**2) * np.array([1, 0.97, 0.96], f32) ** (t * 2)
    fibres = 1 + 0.16 * np.sin(angle * 23 + 2 * np.sin(angle * 7)) * np.clip(r / IRIS_R, 0, 1)
    shade = fibres * (0.75 + 0.5 * np.clip(dy / IRIS_R, -1, 1)) * (1 - 0.75 * smoothstep(0.72, 1.0, r / IRIS_R))
    iris = np.array(actor.iris, f32) / 255 * shade[..., None]
    inside = np.clip((IRIS_R - r) / (1.4 * soft) + 0.5, 0, 1)[..., None]
    ball = white * (1 - inside) + iris * inside
    pupil = np.clip((PUPIL_R - r) / soft + 0.5, 0, 1)[..., None]
    ball = ball * (1 - pupil) + 0.03 * pupil
    ball = ball * (1 - 0.50 * np.exp(-np.clip(patch.y - lids.upper, 0, 1) / 0.028))[..., None]
    glint = np.clip((GLINT_R - np.hypot(dx * patch.side + 0.026, dy + 0.026)) / soft + 0.5, 0, 1)[..., None]
    ball = ball * (1 - glint) + 0.97 * glint
    corner = np.exp(-(((lids.t + 0.93) / 0.09) ** 2))[..., None] * 0.7
    return ball * (1 - corner) + np.array([0.72, 0.45, 0.42], f32) * corner
