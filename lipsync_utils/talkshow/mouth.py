"""What a face does in one frame, and its mouth: a warp of the head's texture with a cut along the lip line, and what is
seen in the gap.

Above the cut the texture moves up with the upper lip, below it moves down with the lower lip and, further down, with
the chin. Coordinates are head units.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from numpy import clip, cos, exp, maximum

from .actor import Actor
from .canvas import clamp, f32, hump, mix, smoothstep

JAW_DROP = 0.33  # how far a fully open jaw moves the chin, head units
REGION = (-1.1, 1.1, -0.62, 1.10)  # what the warp moves: left, right, above and below the mouth's middle
INNER = (-0.65, 0.65, -0.25, 0.62)  # where the gap can be
_T = np.linspace(0, 1, 512)
_DARK = np.array([0.20, 0.065, 0.06], f32)
_TONGUE = np.array([0.66, 0.33, 0.31], f32)


@dataclass(frozen=True)
class FaceState:
    """Pose and expression. Angles in radians: |yaw| <= 0.6, -0.2 <= pitch <= 0.35 (down), |roll| <= 0.26 look right.

    jaw, rounding, teeth, tongue, press, blink: 0..1; width: -1 (narrow) .. 1 (wide); brow: -1..1; gaze: -1..1.
    """

    jaw: float = 0.0
    width: float = 0.0
    rounding: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    press: float = 0.0
    blink: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    brow: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def upper_lift(self) -> float:
        """How far the upper lip rises in the middle, head units."""
        return 0.055 * self.jaw * (1 - 0.3 * self.rounding) + 0.030 * self.teeth + 0.01 * self.rounding

    @property
    def chin_drop(self) -> float:
        """How far the chin moves down, head units."""
        return JAW_DROP * self.jaw

    @property
    def lower_drop(self) -> float:
        """How far the lower lip moves down in the middle, head units."""
        return 0.92 * self.chin_drop + 0.022 * self.teeth * (1 - self.press)


def with_habit(actor: Actor, state: FaceState) -> FaceState:
    """Return what an actor with a habit of the mouth makes of a state; `habit_side` acts on the lips' shape itself."""
    if not (actor.habit_round or actor.habit_teeth):
        return state
    speaking = min(1.0, 2.5 * state.jaw)
    rounding = state.rounding + actor.habit_round * (0.5 * state.rounding + 0.45 * speaking)
    teeth = state.teeth + actor.habit_teeth * (0.3 * state.teeth + 0.6 * speaking)
    return replace(state, rounding=min(1.0, rounding), teeth=min(1.0, teeth))


def mouth_opening(actor: Actor, state: FaceState) -> float:
    """Return the gap between the lips in the middle, as a fraction of the distance between the pupils."""
    state = with_habit(actor, state)
    return (state.upper_lift + state.lower_drop) / (2 * actor.eye_dx)


def warp_mouth(actor: Actor, state: FaceState, x, y) -> SimpleNamespace:
    """Move lips and chin. x, y: float32 head coordinates of the region's pixels.

    Returns x, y: where each pixel looks; below: y below the resting lip line; top, bottom: the edges of the gap.
    """
    mw, my, rounding = actor.mouth_w, actor.mouth_y, state.rounding
    stretch = 1 + 0.20 * state.width - 0.34 * rounding
    near = exp(-0.5 * ((x / 0.46) ** 2 + ((y - my - 0.03) / 0.24) ** 2))
    x = x * (1 + (1 / stretch - 1) * near)
    ax = abs(x)
    line = my + actor.smile * cos(clamp(ax / mw) * f32(np.pi)) + 0.006 * hump(x, 0.05)
    profile = (clamp(1 - _T**2.1) ** (0.75 - 0.2 * rounding)).astype(f32)
    open_ = profile[(clamp(ax / (mw * 0.94)) * 511).astype(np.int32)]
    open_ = open_ * (1 + f32(0.55 * actor.habit_side) * clip(x / (0.6 * mw), -1, 1))
    lift, drop, below = state.upper_lift * open_, state.lower_drop * open_, y - line
    # skin under the lower lip moves as the lip at first, as the chin further down
    depth, sideways = clip(below - drop, 0, 9), (x / 0.72) ** 2
    chin = state.chin_drop * exp(-sideways * sideways)
    share = 0.5 * smoothstep(0.0, 0.50 - 0.10 * state.jaw, depth) + 0.5 * clamp(depth / 0.42)
    down = y - (drop + (chin - drop) * share)
    up = y + lift * exp(-clip(-below - lift, 0, 9) / 0.13)
    off = np.where(below < 0.5 * (drop - lift), up, down) - line
    thickness = 1 + 0.30 * rounding - 0.45 * state.press
    across = (x / (mw * 1.1)) ** 2
    at_lips = exp(-((off / 0.16) ** 2) - across * across)
    y = line + off * (1 + (1 / thickness - 1) * at_lips)
    return SimpleNamespace(x=x, y=y, below=below, top=-lift, bottom=drop)


def paint_gap(actor: Actor, state: FaceState, x, below, top, bottom, pixel: float):
    """Paint the inside of the mouth.

    x, below, top, bottom: of warp_mouth, cut to INNER; pixel: size of a pixel, softened.
    Returns display colour (h, w, 3) and coverage (h, w), float32.
    """
    mw, jaw, teeth = actor.mouth_w, state.jaw, state.teeth
    inside, over, gap = below - top, bottom - below, bottom - top
    coverage = clamp(inside / pixel) * clamp(over / pixel)
    coverage *= clamp(gap / (1.5 * pixel))
    deep = smoothstep(0.3, 1.0, inside / maximum(gap, 1e-3))
    colour = _DARK * (0.55 + 0.7 * deep * (1 - (x / mw) ** 2))[..., None]

    bulge = clamp(1 - (x / (0.62 * mw)) ** 2)
    depth = below - (bottom - actor.tongue_h * (0.05 + 0.10 * jaw + 0.13 * state.tongue) * bulge)
    light = 0.55 + 0.5 * clamp(depth / 0.12) - 0.18 * hump(x, 0.02)
    shown = smoothstep(-0.02, 0.02, depth) * (bulge > 0) * min(1, 0.35 + state.tongue + jaw * 0.5)
    colour = mix(colour, _TONGUE * light[..., None], shown)

    enamel, across = np.array(actor.tooth_col, f32) / 255, x / (0.66 * mw)
    height = (-0.02 + 0.055 * teeth + 0.02 * jaw) * actor.tooth_h
    between = 1 - 0.18 * hump(((x + 0.019) / 0.038) % 1 - 0.5, 0.09)
    shown = clamp((below - (bottom - height * clamp(1 - across**4))) / pixel) * (height > 0) * (abs(across) < 1)
    colour = mix(colour, enamel * (0.72 * between * (1 - 0.5 * across**2))[..., None], shown)

    across, between = x / (0.80 * mw), 1 - 0.16 * hump((x / 0.058 + 0.5) % 1 - 0.5, 0.07)
    height = actor.tooth_h * (0.022 + 0.085 * max(teeth, 0.55 * min(jaw * 2, 1) * (1 - 0.75 * state.rounding)))
    edge = height * clamp(1 - across**4) * (1 - 0.05 * cos(x * (2 * np.pi / 0.058))) - state.upper_lift
    light = 0.62 + 0.36 * clamp(inside / 0.06)
    shown = clamp((edge - below) / pixel) * (abs(across) < 1)
    colour = mix(colour, enamel * (between * (1 - 0.45 * across**2) * light)[..., None], shown)

    shadow = 0.50 * exp(-clamp(inside) / 0.022) + 0.15 * exp(-clamp(over) / 0.02)
    return colour * (1 - shadow)[..., None], coverage
