"""An actor in a picture: a baked head that moves, eyes painted into its texture, then pose, brows and mouth in one
resampling.

The mouth is a warp of the texture with a cut along the lip line, and what is seen in the gap: above the cut the texture
moves up with the upper lip, below it moves down with the lower lip and, further down, with the chin. Coordinates are
head units.
"""

from functools import cache, partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy import clip, cos, exp, hypot, maximum, sin
from numpy import float32 as f32

from .actor import LONG_HAIR
from .canvas import BAKE_PX, HEIGHT, LEFT, TOP, WIDTH, centres, rgb, to_8bit
from .curves import clamp, cover, fade, hump, mix, ridge, rise
from .head import CENTRE_Y, bake, outline, paint_body

MARGIN = 0.22  # room round the baked head for motion, head units
DRAWN_LEFT, DRAWN_TOP = LEFT - MARGIN, TOP - MARGIN
COARSE = 4  # the pose is smooth: it is computed on every fourth pixel and enlarged
SUPERSAMPLE = 1.25
NECK_Y = 1.0  # the head rolls about (0, NECK_Y)
PITCH_Y = 0.6  # and nods about this height
STILL_DEPTH = 0.35  # what has this relief stays in place when the head turns
BROW_LIFT = 0.05  # how far fully raised brows move, head units
JAW_DROP = 0.33  # how far a fully open jaw moves the chin, head units
BLINK_STEPS, GAZE_STEPS = 8, 20  # eyes are remembered per step
FOREHEAD_Y = -0.62  # top of a face box: half-way between brows and hairline
IRIS_R, PUPIL_R, GLINT_R = 0.083, 0.034, 0.0155


class FaceState(NamedTuple):
    """Pose and expression. Angles in radians: |yaw| <= 0.6, -0.2 <= pitch <= 0.35 (down), |roll| <= 0.26 look right.

    jaw, rounding, teeth, tongue, press, blink: 0..1; width: -1 (narrow) .. 1 (wide); brow: -1..1; gaze: -1..1.
    """

    jaw: float = 0.0
    width: float = 0.0
    rounding: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    press: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    brow: float = 0.0
    blink: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0

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

    @property
    def lip_gap(self) -> float:
        """How far the lips are apart in the middle, head units."""
        return self.upper_lift + self.lower_drop


def mouth_opening(actor, state) -> float:
    """Return the gap between the lips in the middle, as a fraction of the distance between the pupils."""
    return state.lip_gap / (2 * actor.eye_dx)


class Puppet:
    """An actor in a picture of a size (width, height); cx, cy: the pixel in the middle between the eyes."""

    def __init__(self, actor, size, px_per_unit, cx, cy):
        self.actor, self.size, self.px_per_unit, self.eyes = actor, size, px_per_unit, (cx, cy)
        self.half_width = float(outline(actor)(1.0, CENTRE_Y + 0.1))
        body, *self.body_at = paint_body(actor, size, px_per_unit, cx, cy)
        self.body = to_8bit(body)
        self._head_at = round(cx + DRAWN_LEFT * px_per_unit), round(cy + DRAWN_TOP * px_per_unit)
        scale = min(px_per_unit * SUPERSAMPLE, BAKE_PX)
        w, h = round(WIDTH * scale), round(HEIGHT * scale)
        self.kx, self.ky = f32(w / WIDTH), f32(h / HEIGHT)
        layers = [cv2.resize(layer, (w, h), interpolation=cv2.INTER_AREA) for layer in bake(actor)]
        texture, back, glasses, self._relief = layers
        self._eyes = [self._find_eye(side, texture, glasses) for side in (-1, 1)]
        alpha = maximum(texture[..., 3:], glasses[..., 3:])
        texture = np.dstack([mix(texture[..., :3], glasses[..., :3], glasses[..., 3:]), alpha])
        self._texture, self._back = to_8bit(texture), to_8bit(back)
        w, h = (int((side + 2 * MARGIN) * px_per_unit) // COARSE for side in (WIDTH, HEIGHT))
        self._head_size, k = (w * COARSE, h * COARSE), px_per_unit / COARSE
        self._x, self._y = np.meshgrid(centres(w, k, DRAWN_LEFT), centres(h, k, DRAWN_TOP))
        self._depth = _remap(self._relief, *self._in_texture(self._x, self._y)) - STILL_DEPTH

    def _in_texture(self, x, y):
        return (x - LEFT) * self.kx - 0.5, (y - TOP) * self.ky - 0.5

    def _find_eye(self, side, texture, glasses):
        """Rows and columns of the texture with an eye, and the function that paints it."""
        cx, (h, w, _) = side * self.actor.eye_dx, texture.shape
        columns = slice(int((cx - 0.32 - LEFT) * self.kx), int((cx + 0.32 - LEFT) * self.kx))
        at = slice(int((-0.24 - TOP) * self.ky), int((0.24 - TOP) * self.ky)), columns
        x, y = np.meshgrid((centres(w, self.kx, LEFT) - f32(cx)) * side, centres(h, self.ky, TOP))
        skin, frame = (np.moveaxis(layer[at], -1, 0) for layer in (texture, glasses))
        return at, cache(partial(_paint_eye, self.actor, side, x[at], y[at], skin, frame, 1.1 / float(self.kx)))

    def draw(self, picture, state):
        """Draw the head over a picture, uint8 RGB, that already has the body, in place."""
        gaze = round(state.gaze_x * GAZE_STEPS), round(state.gaze_y * GAZE_STEPS)
        for at, paint in self._eyes:
            self._texture[at] = paint(round(state.blink * BLINK_STEPS), *gaze)
        x, y = self._pose(state)
        k, middle = self.px_per_unit, self.actor.mouth_y - DRAWN_TOP
        rows = slice(int((middle - 0.62) * k), int((middle + 1.10) * k))  # what the mouth moves
        mouth = rows, slice(int((-DRAWN_LEFT - 1.1) * k), int((1.1 - DRAWN_LEFT) * k))
        x[mouth], y[mouth], *gap = warp_mouth(self.actor, state, x[mouth], y[mouth])
        head = self._sample(self._texture, x, y)
        if state.lip_gap > 0.004:
            below, top, bottom = gap
            inside = (top < below) & (below < bottom)
            parts = (part[inside] for part in (x[mouth], *gap))
            colour, coverage = paint_gap(self.actor, state, *parts, 1.2 / k)
            skin = head[mouth][inside][:, :3].T
            head[mouth][inside, :3] = clip(skin * (1 - coverage) + colour[:, 0] * (coverage * 255), 0, 255).T
        x, y = _rolled(state, self._x + 0.25 * state.yaw, self._y + 0.2 * state.pitch)
        back = self._sample(self._back, *(cv2.resize(field, self._head_size) for field in (x, y)))
        lay_over(picture, back, *self._head_at)
        if self.actor.hair in LONG_HAIR:  # it hangs behind the shoulders
            lay_over(picture[: self._head_at[1] + len(head)], self.body, *self.body_at)
        lay_over(picture, head, *self._head_at)

    def _pose(self, state):
        """Return where in the head each pixel looks: roll about the neck, turns, raised brows."""
        x, y = _rolled(state, self._x, self._y)
        if state.yaw or state.pitch:
            x, y = self._turned(state, x, y)
        a = self.actor
        off = ((abs(x) - a.eye_dx) / 0.30) ** 2 + ((y - a.brow_y + a.brow_arch * 0.6) / 0.15) ** 2
        y = y + BROW_LIFT * state.brow * exp(-0.5 * off)
        return cv2.resize(x, self._head_size), cv2.resize(y, self._head_size)

    def _turned(self, state, x, y):
        """Undo yaw, then pitch: what a turn hides lies in the folds that `_unfold` skips."""
        x1, y1, depth, step = self._x[0], self._y[:, 0], self._depth, f32(COARSE / self.px_per_unit)
        c, s = cos(state.yaw), sin(state.yaw)
        across = _unfold(c * x1 + s * depth, x1, s)
        column = clip((across - x1[0]) / (x1[1] - x1[0]), 0, len(x1) - 1).astype(int)
        behind = c * np.take_along_axis(depth, column, 1) - s * across
        c, s = cos(state.pitch), sin(state.pitch)
        turned = PITCH_Y + c * (y1[:, None] - PITCH_Y) + s * behind
        down = _unfold(turned.T, y1, s).T.astype(f32)
        columns = np.broadcast_to(np.arange(len(x1), dtype=f32), down.shape)
        across = _remap(across.astype(f32), columns, (down - y1[0]) / step)
        at = (x - x1[0]) / step, (y - y1[0]) / step
        return _remap(across, *at), _remap(down, *at)

    def _sample(self, texture, x, y):
        return _remap(texture, *cv2.convertMaps(*self._in_texture(x, y), cv2.CV_16SC2))

    def locate(self, points, state):
        """Return the pixels (n, 2) where points (x, y) of the head are drawn; the mouth's movement is not in it."""
        (h, w), (x, y) = self._relief.shape, np.transpose(points)
        row, column = clip(f32(y - TOP) * self.ky, 0, h - 1), clip(f32(x - LEFT) * self.kx, 0, w - 1)
        depth = self._relief[row.astype(int), column.astype(int)].astype(float) - STILL_DEPTH
        c, s = cos(state.yaw), sin(state.yaw)
        x, depth = c * x + s * depth, c * depth - s * x
        y = PITCH_Y + cos(state.pitch) * (y - PITCH_Y) + sin(state.pitch) * depth - NECK_Y
        c, s = cos(state.roll), sin(state.roll)
        return self.eyes + np.stack([c * x - s * y, s * x + c * y + NECK_Y], 1) * self.px_per_unit

    def face_box(self, state):
        """Return left, top, right and bottom of the face as drawn, forehead to chin and ear to ear, in the picture."""
        w, chin = self.half_width, 1.52 + self.actor.chin + state.chin_drop
        edge = *((k * w, y) for k, y in ((-1, 0.1), (1, 0.1), (-0.75, 0.9), (0.75, 0.9))), (0, FOREHEAD_Y), (0, chin)
        points = self.locate(edge, state).clip(0, self.size)
        return np.r_[points.min(0), points.max(0)].round(2).tolist()


def lay_over(picture, layer, x, y):
    """Lay a uint8 RGBA layer with its corner at (x, y) over a uint8 RGB picture, in place."""
    layer = layer[max(-y, 0) :, max(-x, 0) :]
    under = picture[max(y, 0) :, max(x, 0) :][: len(layer), : layer.shape[1]]
    layer = layer[: len(under), : under.shape[1]]
    if layer.size:
        alpha = cv2.extractChannel(layer, 3) * f32(1 / 255)
        under[:] = cv2.blendLinear(cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), under.copy(), alpha, 1 - alpha)


def _rolled(state, x, y):
    """Undo the roll about the neck."""
    c, s, dy = float(cos(state.roll)), float(sin(state.roll)), y - NECK_Y
    return c * x + s * dy, -s * x + c * dy + NECK_Y


def _remap(image, u, v):
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _unfold(seen, at, turn):
    """Return which of the places `at` (n,) is in front at each of them, where place k is seen at seen[:, k]; by row."""
    if turn < 0:
        return -_unfold(-seen[:, ::-1], -at[::-1], -turn)[:, ::-1]
    return np.stack([np.interp(at, row, at) for row in maximum.accumulate(seen, 1)])


def _paint_eye(actor, side, x, y, skin, frame, soft, blink, gaze_x, gaze_y):
    """Return the texture with the eye in it, uint8 (h, w, 4). Lids are curves over t = -1 inner .. 1 outer corner."""
    t, height, blink = x / actor.eye_w, actor.eye_h, blink / BLINK_STEPS
    at, tilt = abs(t), -actor.eye_tilt * t
    upper_open = -0.9765 * height * clamp(1 - abs((t + 0.10) / 1.1) ** 2.2) ** 0.75 * (at < 1) + tilt
    lower = 0.72 * height * clamp(1 - abs((t - 0.12) / 1.12) ** 2.3) ** 0.9 * (at < 1) + tilt
    upper = mix(upper_open, lower - 0.004, blink)

    closed = clamp((y - upper_open) / 0.02) * cover(lower - y, 0.02) * blink
    crease = ridge(y - (upper_open - 0.048 + 0.012 * t**2), 0.010) * rise(1.12, 0.8, at)
    shadow = fade(upper - y, 0.03) * (y < upper) * rise(1.1, 0.9, at)
    dark = (1 - 0.12 * closed) * (1 - 0.42 * crease * (1 - 0.6 * blink)) * (1 - 0.18 * shadow)
    visible = cover(y - upper, soft) * cover(lower - y, soft)
    visible *= clamp((1 - at) * actor.eye_w / soft + 0.2)
    lash = ridge(y - upper + 0.004, 0.0125 + 0.004 * clamp(t))
    lash *= rise(1.16, 0.97, at - 0.10 * (t > 0))
    lower_lash = ridge(y - lower - 0.003, 0.009) * rise(1.05, 0.9, at)

    # white, iris, pupil, catch-light, corner; lit from above by what the lid lets through
    dx, dy = x - gaze_x / GAZE_STEPS * 0.09 * side, y - (gaze_y / GAZE_STEPS * 0.05 - 0.004)
    r, angle = hypot(dx, dy), np.arctan2(dy, dx)
    ball = rgb(0.80, 0.785, 0.775) * (1 - 0.30 * at**2) * rgb(1, 0.97, 0.96) ** (at * 2)
    fibres = 1 + 0.16 * sin(angle * 23 + 2 * sin(angle * 7)) * clamp(r / IRIS_R)
    shade = fibres * (0.75 + 0.5 * clip(dy / IRIS_R, -1, 1)) * (1 - 0.75 * rise(0.72, 1.0, r / IRIS_R))
    ball = mix(ball, rgb(*actor.iris) / 255 * shade, cover(IRIS_R - r, 1.4 * soft))
    ball = mix(ball, 0.03, cover(PUPIL_R - r, soft)) * (1 - 0.50 * fade(y - upper, 0.028))
    ball = mix(ball, 0.97, cover(GLINT_R - hypot(dx * side + 0.026, dy + 0.026), soft))
    ball = mix(ball, rgb(0.72, 0.45, 0.42), hump(t + 0.93, 0.09) * 0.7)

    colour = clamp(mix(skin[:3] * dark, ball, visible) * ((1 - 0.86 * lash) * (1 - 0.38 * lower_lash)))
    return to_8bit(np.dstack([*mix(colour, frame[:3], frame[3]), skin[3]]))


def warp_mouth(actor, state, x, y):
    """Move lips and chin. x, y: float32 head coordinates of the region's pixels.

    Returns x, y: where each pixel looks; y below the resting lip line; the top and the bottom of the gap.
    """
    mw, my, rounding = actor.mouth_w, actor.mouth_y, state.rounding
    stretch = 1 + 0.20 * state.width - 0.34 * rounding
    near = exp(-0.5 * ((x / 0.46) ** 2 + ((y - my - 0.03) / 0.24) ** 2))
    x = x * (1 + (1 / stretch - 1) * near)
    line, t = actor.lip_line(x), np.linspace(0, 1, 512)
    profile = (clamp(1 - t**2.1) ** (0.75 - 0.2 * rounding)).astype(f32)
    open_ = profile[(clamp(abs(x) / (mw * 0.94)) * 511).astype(np.int32)]
    open_ = open_ * (1 + 0.55 * actor.habit_side * clip(x / (0.6 * mw), -1, 1))
    lift, drop, below = state.upper_lift * open_, state.lower_drop * open_, y - line
    # skin under the lower lip moves as the lip at first, as the chin further down
    depth, sideways, across = clip(below - drop, 0, 9), (x / 0.72) ** 2, (x / (mw * 1.1)) ** 2
    chin = state.chin_drop * exp(-sideways * sideways)
    share = 0.5 * rise(0.0, 0.50 - 0.10 * state.jaw, depth) + 0.5 * clamp(depth / 0.42)
    down = y - (drop + (chin - drop) * share)
    up = y + lift * exp(-clip(-below - lift, 0, 9) / 0.13)
    off = np.where(below < 0.5 * (drop - lift), up, down) - line
    thickness = 1 + 0.30 * rounding - 0.45 * state.press
    at_lips = exp(-((off / 0.16) ** 2) - across * across)
    return x, line + off * (1 + (1 / thickness - 1) * at_lips), below, -lift, drop


def paint_gap(actor, state, x, below, top, bottom, pixel):
    """Paint the inside of the mouth.

    x, below, top, bottom: of warp_mouth, for the n pixels inside the gap; pixel: size of a pixel, softened.
    Returns display colour (3, 1, n) and coverage (n,), float32.
    """
    mw, jaw, teeth = actor.mouth_w, state.jaw, state.teeth
    inside, over, gap = below - top, bottom - below, bottom - top
    coverage = clamp(inside / pixel) * clamp(over / pixel) * clamp(gap / (1.5 * pixel))
    deep = rise(0.3, 1.0, inside / maximum(gap, 1e-3))
    colour = rgb(0.20, 0.065, 0.06) * (0.55 + 0.7 * deep * (1 - (x / mw) ** 2))

    bulge = clamp(1 - (x / (0.62 * mw)) ** 2)
    depth = below - (bottom - actor.tongue_h * (0.05 + 0.10 * jaw + 0.13 * state.tongue) * bulge)
    light = 0.55 + 0.5 * clamp(depth / 0.12) - 0.18 * hump(x, 0.02)
    shown = rise(-0.02, 0.02, depth) * (bulge > 0) * min(1, 0.35 + state.tongue + jaw * 0.5)
    colour = mix(colour, rgb(0.66, 0.33, 0.31) * light, shown)

    enamel, across = rgb(*actor.tooth_col) / 255, x / (0.66 * mw)  # lower teeth
    height = (-0.02 + 0.055 * teeth + 0.02 * jaw) * actor.tooth_h
    between = 1 - 0.18 * hump(((x + 0.019) / 0.038) % 1 - 0.5, 0.09)
    shown = clamp((below - (bottom - height * clamp(1 - across**4))) / pixel) * (height > 0) * (abs(across) < 1)
    colour = mix(colour, enamel * (0.72 * between * (1 - 0.5 * across**2)), shown)

    across, between = x / (0.80 * mw), 1 - 0.16 * hump((x / 0.058 + 0.5) % 1 - 0.5, 0.07)  # upper teeth
    height = actor.tooth_h * (0.022 + 0.085 * max(teeth, 0.55 * min(jaw * 2, 1) * (1 - 0.75 * state.rounding)))
    edge = height * clamp(1 - across**4) * (1 - 0.05 * cos(x * (2 * np.pi / 0.058))) - state.upper_lift
    light = 0.62 + 0.36 * clamp(inside / 0.06)
    shown = clamp((edge - below) / pixel) * (abs(across) < 1)
    colour = mix(colour, enamel * (between * (1 - 0.45 * across**2) * light), shown)

    return colour * (1 - (0.50 * fade(inside, 0.022) + 0.15 * fade(over, 0.02))), coverage
