"""The mouth: a warp of the head's texture with a cut along the lip line, and what is seen in the gap.

Above the cut the texture moves up with the upper lip, below it moves down with the lower lip and, further down, with
the chin. Coordinates are head units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .actor import Actor
from .canvas import f32, smoothstep
from .face_state import FaceState

REGION = (-1.1, 1.1, -0.62, 1.10)  # what the warp moves: left, right, above and below the mouth's middle
INNER = (-0.65, 0.65, -0.25, 0.62)  # where the gap can be
_T = np.linspace(0, 1, 512)
_DARK = np.array([0.20, 0.065, 0.06], f32)
_TONGUE = np.array([0.66, 0.33, 0.31], f32)


@dataclass(frozen=True)
class Warp:
    """x, y: where each pixel's colour comes from; below: y below the resting lip line; top, bottom: the gap's edges."""

    x: np.ndarray
    y: np.ndarray
    below: np.ndarray
    top: np.ndarray
    bottom: np.ndarray


def warp_mouth(actor: Actor, state: FaceState, x, y) -> Warp:
    """Move lips and chin. x, y: float32 head coordinates of the region's pixels."""
    mw, my = actor.mouth_w, actor.mouth_y
    stretch = 1 + 0.20 * state.width - 0.34 * state.rounding
    near = np.exp(-0.5 * ((x / 0.46) ** 2 + ((y - my - 0.03) / 0.24) ** 2))
    x = x * (1 + (1 / stretch - 1) * near)
    line = my + actor.smile * np.cos(np.clip(np.abs(x) / mw, 0, 1) * f32(np.pi)) + 0.006 * np.exp(-((x / 0.05) ** 2))
    profile = (np.clip(1 - _T**2.1, 0, 1) ** (0.75 - 0.2 * state.rounding)).astype(f32)
    open_ = profile[(np.clip(np.abs(x) / (mw * 0.94), 0, 1) * 511).astype(np.int32)]
    open_ = open_ * (1 + f32(0.55 * actor.habit_side) * np.clip(x / (0.6 * mw), -1, 1))
    lift, drop = state.upper_lift * open_, state.lower_drop * open_
    below = y - line
    source_up = y + lift * np.exp(-np.clip(-below - lift, 0, 9) / 0.13)
    source_down = y - _jaw_shift(state, x, np.clip(below - drop, 0, 9), drop)
    source = np.where(below < 0.5 * (drop - lift), source_up, source_down)
    thickness = 1 + 0.30 * state.rounding - 0.45 * state.press
    off = source - line
    across = (x / (mw * 1.1)) ** 2
    at_lips = np.exp(-((off / 0.16) ** 2) - across * across)
    return Warp(x, line + off * (1 + (1 / thickness - 1) * at_lips), below, -lift, drop)


def _jaw_shift(state, x, depth, drop):
    """How far skin at `depth` under the lower lip has moved down: as the lip at first, as the chin further down."""
    sideways = (x / 0.72) ** 2
    chin = state.chin_drop * np.exp(-sideways * sideways)
    mix = 0.5 * smoothstep(0.0, 0.50 - 0.10 * state.jaw, depth) + 0.5 * np.clip(depth / 0.42, 0, 1)
    return drop + (chin - drop) * mix


def paint_gap(actor: Actor, state: FaceState, warp: Warp, pixel: float):
    """Paint the inside of the mouth.

    warp: cut to INNER; pixel: size of a pixel, softened. Returns display colour (h, w, 3) and coverage (h, w), float32.
    """
    x, below, top, bottom = warp.x, warp.below, warp.top, warp.bottom
    coverage = np.clip((below - top) / pixel, 0, 1) * np.clip((bottom - below) / pixel, 0, 1)
    coverage *= np.clip((bottom - top) / (1.5 * pixel), 0, 1)
    across = x / actor.mouth_w
    down = (below - top) / np.maximum(bottom - top, 1e-3)
    colour = _DARK * (0.55 + 0.7 * smoothstep(0.3, 1.0, down) * (1 - across**2))[..., None]
    for paint in (_tongue, _lower_teeth, _upper_teeth):
        layer, where = paint(actor, state, warp, pixel)
        colour = colour * (1 - where[..., None]) + layer * where[..., None]
    lips = 0.50 * np.exp(-np.clip(below - top, 0, 1) / 0.022) + 0.15 * np.exp(-np.clip(bottom - below, 0, 1) / 0.02)
    return colour * (1 - lips)[..., None], coverage


def _tongue(actor, state, warp, pixel):
    bulge = np.clip(1 - (warp.x / (0.62 * actor.mouth_w)) ** 2, 0, 1)
    depth = warp.below - (warp.bottom - actor.tongue_h * (0.05 + 0.10 * state.jaw + 0.13 * state.tongue) * bulge)
    where = smoothstep(-0.02, 0.02, depth) * (bulge > 0) * min(1, 0.35 + state.tongue + state.jaw * 0.5)
    light = 0.55 + 0.5 * np.clip(depth / 0.12, 0, 1) - 0.18 * np.exp(-((warp.x / 0.02) ** 2))
    return _TONGUE * light[..., None], where


def _lower_teeth(actor, state, warp, pixel):
    height = (-0.02 + 0.055 * state.teeth + 0.02 * state.jaw) * actor.tooth_h
    across = warp.x / (0.66 * actor.mouth_w)
    edge = warp.bottom - height * np.clip(1 - across**4, 0, 1)
    where = np.clip((warp.below - edge) / pixel, 0, 1) * (height > 0) * (np.abs(across) < 1)
    between = 1 - 0.18 * np.exp(-(((((warp.x + 0.019) / 0.038) % 1 - 0.5) / 0.09) ** 2))
    return _enamel(actor) * (0.72 * between * (1 - 0.5 * across**2))[..., None], where


def _upper_teeth(actor, state, warp, pixel):
    shown = max(state.teeth, 0.55 * min(state.jaw * 2, 1) * (1 - 0.75 * state.rounding))
    height = actor.tooth_h * (0.022 + 0.085 * shown)
    across = warp.x / (0.80 * actor.mouth_w)
    wave = 1 - 0.05 * np.cos(warp.x * (2 * np.pi / 0.058))
    edge = height * np.clip(1 - across**4, 0, 1) * wave - state.upper_lift
    where = np.clip((edge - warp.below) / pixel, 0, 1) * (np.abs(across) < 1)
    between = 1 - 0.16 * np.exp(-((((warp.x / 0.058 + 0.5) % 1 - 0.5) / 0.07) ** 2))
    light = 0.62 + 0.36 * np.clip((warp.below - warp.top) / 0.06, 0, 1)
    return _enamel(actor) * (between * (1 - 0.45 * across**2) * light)[..., None], where


def _enamel(actor):
    return np.array(actor.tooth_col, f32) / 255
