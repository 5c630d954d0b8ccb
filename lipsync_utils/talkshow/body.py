"""Neck, shoulders and clothes of an actor, painted once per shot."""

from __future__ import annotations

import cv2
import numpy as np

from .actor import Actor
from .canvas import Canvas, display, f32, linear, ridge, smoothstep, to_uint8

SUPERSAMPLE = 2
HALF_WIDTH, NECK_TOP = 1.95, 0.68  # head units: nothing of the body lies outside


def paint_body(actor: Actor, px_per_unit: float, size: tuple[int, int], cx: float, cy: float):
    """Return (uint8 RGBA layer (h, w, 4) with straight alpha, x, y of its corner in the picture).

    px_per_unit, cx, cy: of the head, whose eyes' middle is at pixel (cx, cy); size: (width, height) of the picture.
    """
    left, right = (int(np.clip(cx + side * HALF_WIDTH * px_per_unit, 0, size[0])) for side in (-1, 1))
    top = int(np.clip(cy + NECK_TOP * px_per_unit, 0, size[1] - 1))
    w, h = right - left, size[1] - top
    x = ((np.arange(w * SUPERSAMPLE, dtype=f32) + 0.5) / SUPERSAMPLE + left - cx) / px_per_unit
    y = ((np.arange(h * SUPERSAMPLE, dtype=f32) + 0.5) / SUPERSAMPLE + top - cy) / px_per_unit
    canvas = Canvas(*np.meshgrid(x.astype(f32), y.astype(f32)), px_per_unit * SUPERSAMPLE)
    picture = np.zeros((*canvas.shape, 4), f32)
    neck = _paint_neck(actor, canvas, picture)
    _paint_clothes(actor, canvas, picture, neck, np.random.default_rng(actor.seed + 99))
    alpha = cv2.resize(picture[..., 3], (w, h), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(picture[..., :3].copy(), (w, h), interpolation=cv2.INTER_AREA)
    return to_uint8(np.dstack([colour / np.maximum(alpha, 1e-3)[..., None], alpha])), left, top


def _put(picture, colour, coverage):
    """Lay display colour over a premultiplied picture, in place."""
    coverage = np.clip(coverage, 0, 1)[..., None]
    picture[..., :3] = picture[..., :3] * (1 - coverage) + colour * coverage
    picture[..., 3:] = picture[..., 3:] * (1 - coverage) + coverage


def _paint_neck(actor, canvas, picture):
    """Paint the neck; return its display colour for the open collar."""
    x, y, ax = canvas.x, canvas.y, canvas.ax
    width = 0.53 * (actor.face_w + actor.jaw_w) / 2
    width = width + 0.05 * np.cos((y - 1.6) * 3) + 0.30 * smoothstep(1.85, 2.5, y) ** 2
    across = np.clip(x / width, -1, 1)
    light = 0.18 + 0.40 * np.clip(np.sqrt(1 - across**2) * 0.75 - across * 0.42, 0, 1)
    chin_shadow = 1 - 0.62 * np.exp(-np.clip(y - 1.25 - actor.chin + 0.56 * x**2, 0, 3) / 0.22)
    tendon = 1 - 0.12 * ridge(ax - (0.30 - 0.20 * (y - 1.6)), 0.0354)
    colour = linear(actor.skin) * (light * chin_shadow * tendon)[..., None] * np.array([1.05, 0.97, 0.93], f32)
    _put(picture, display(colour), canvas.edge(width - ax) * (y > 0.7))
    return display(colour * 0.95)


def _paint_clothes(actor, canvas, picture, neck, rng):
    x, y, ax = canvas.x, canvas.y + 0.16, canvas.ax
    shoulder = 2.15 * (0.75 + 0.25 * actor.face_w)
    top = 2.02 + 0.62 * np.clip((ax - 0.45) / (shoulder - 0.45), 0, 2) ** 1.6
    top = top + 0.75 * np.clip(ax - shoulder * 0.86, 0, 9) ** 1.2
    folds = cv2.GaussianBlur(
        rng.standard_normal(canvas.shape).astype(f32),
        (0, 0),
        sigmaX=0.10 * canvas.px_per_unit,
        sigmaY=0.5 * canvas.px_per_unit,
    )
    folds /= folds.std() + 1e-6
    weave = 1 + 0.05 * rng.standard_normal(canvas.shape).astype(f32)
    form = 0.50 - 0.16 * x / shoulder + 0.22 * np.exp(-(((y - top) / 0.5) ** 2))
    form = form - 0.25 * smoothstep(0.7, 1.1, ax / shoulder)
    light = np.clip(form + 0.05 * folds, 0.05, 1.2) * weave
    arm = 1.72 + 0.10 * np.sin((y - 2.2) * 0.9)
    seam = ridge(ax - 1.28 - 0.06 * (y - 2.6), 0.04) * (y > 2.75)
    light *= 1 - 0.55 * smoothstep(0.80, 1.0, ax / arm) - 0.30 * seam
    inside = np.minimum(y - top, arm - ax)
    _put(picture, display(linear(actor.shirt) * (light * 1.5)[..., None]), canvas.edge(inside))
    if actor.collar == "v":
        _paint_lapels(actor, canvas, picture, neck, folds, y, top)
    else:
        _paint_collar(actor, canvas, picture, neck, y)


def _paint_lapels(actor, canvas, picture, neck, folds, y, top):
    """A jacket's opening with a shirt and a piece of neck in it."""
    x, ax = canvas.x, canvas.ax
    opening = 0.62 * np.clip(1 - (y - 1.95) / 1.9, 0, 1)
    light = np.clip(0.55 - 0.2 * x + 0.04 * folds, 0, 1) * 1.25
    inner = display(linear(actor.inner) * light[..., None])
    _put(picture, inner, canvas.edge(opening - ax) * (y > 1.9) * canvas.edge(y - top, 1.0))
    skin = 0.34 * np.clip(1 - (y - 1.9) / 0.75, 0, 1)
    _put(picture, neck, canvas.edge(skin - ax) * (y > 1.6))
    edge = ridge(ax - opening - 0.02, 0.018) * (y > 1.95) * (opening > 0.01)
    reverse = opening + 0.34 * np.clip(1 - np.abs(y - 2.75) / 0.9, 0, 1)
    seam = ridge(ax - reverse, 0.012) * (np.abs(y - 2.75) < 0.85)
    picture[..., :3] *= (1 - (0.45 * edge + 0.30 * seam) * picture[..., 3])[..., None]


def _paint_collar(actor, canvas, picture, neck, y):
    """A round neck, or a shirt's two collar points with buttons."""
    x, ax = canvas.x, canvas.ax
    if actor.collar == "crew":
        hollow = 1 - (x / 0.60) ** 2 - ((y - 2.0) / 0.42) ** 2
        _put(picture, neck, canvas.edge(hollow * 0.2) * (y > 1.75))
        rim = ridge(hollow, 0.10) * (y > 1.95)  # faint: landmark finders take a dark arc there for the chin
        picture[..., :3] *= (1 - 0.18 * rim * picture[..., 3])[..., None]
        return
    skin = 0.30 * np.clip(1 - (y - 1.9) / 0.55, 0, 1)
    _put(picture, neck, canvas.edge(skin - ax) * (y > 1.6))
    flap = np.minimum(np.minimum(ax - skin - 0.01, 0.56 - ax + 0.25 * (2.1 - y)), 2.52 - y - 0.55 * np.abs(ax - 0.30))
    light = np.clip(0.80 - 0.15 * x, 0, 1) * 1.25
    cloth = linear(actor.shirt) * 0.9 + 0.06
    _put(picture, display(cloth * light[..., None]), canvas.edge(flap) * (y > 1.84))
    picture[..., :3] *= (1 - 0.45 * ridge(flap, 0.015) * (y > 1.84) * (flap < 0.004) * picture[..., 3])[..., None]
    placket = ridge(ax - 0.12, 0.008) * (y > 2.5)
    button = np.exp(-((np.hypot(x, (y - 2.72) % 0.55 - 0.27) / 0.035) ** 6)) * (y > 2.6)
    picture[..., :3] *= (1 - (0.25 * placket + 0.4 * button) * picture[..., 3])[..., None]
