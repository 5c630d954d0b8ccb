"""Animate a baked head: eyes painted into its texture, then pose, brows and mouth in one resampling."""

from types import SimpleNamespace

import cv2
import numpy as np
from numpy import clip, cos, exp, hypot, maximum, sin

from .canvas import BAKE_PX, BOTTOM, LEFT, RIGHT, TOP, clamp, f32, hump, mix, ridge, smoothstep, to_uint8
from .mouth import INNER, REGION, FaceState, paint_gap, warp_mouth, with_habit

MARGIN = 0.22  # room round the baked head for motion, head units
COARSE = 4  # the pose is smooth: it is computed on every fourth pixel and enlarged
SUPERSAMPLE = 1.25
NECK_Y = 1.0  # the head rolls about (0, NECK_Y)
PITCH_Y = 0.6  # and nods about this height
STILL_DEPTH = 0.35  # what has this relief stays in place when the head turns
BROW_LIFT = 0.05  # how far fully raised brows move, head units
BLINK_STEPS, GAZE_STEPS = 8, 20  # eyes are remembered per step
IRIS_R, PUPIL_R, GLINT_R = 0.083, 0.034, 0.0155


class Puppet:
    """A head at a given size; `render` draws one frame of it.

    px_per_unit: size in the shot. left, top: where the drawn picture's corner lies relative to the middle between the
    eyes, head units. size: (width, height) of what `render` returns.
    """

    def __init__(self, baked, px_per_unit: float):
        self.actor, self.px_per_unit = baked.actor, px_per_unit
        scale = min(px_per_unit * SUPERSAMPLE, BAKE_PX)
        w, h = round((RIGHT - LEFT) * scale), round((BOTTOM - TOP) * scale)
        self.kx, self.ky = f32(w / (RIGHT - LEFT)), f32(h / (BOTTOM - TOP))

        def shrunk(layer):
            return layer and [_sized(part, w, h) for part in layer]

        texture, glasses, back = np.dstack(shrunk(baked.head)), shrunk(baked.glasses), shrunk(baked.back_hair)
        self._relief = _sized(baked.relief, w, h)
        self._patches = [self._find_eye(side, texture, glasses) for side in (-1, 1)]
        if glasses:
            texture[..., :3] = mix(texture[..., :3], *glasses)
            texture[..., 3] = maximum(texture[..., 3], glasses[1])
        self._texture, self._back, self._eyes = to_uint8(texture), back and to_uint8(np.dstack(back)), {}
        self.left, self.top = LEFT - MARGIN, TOP - MARGIN
        w = int((RIGHT - LEFT + 2 * MARGIN) * px_per_unit) // COARSE
        h = int((BOTTOM - TOP + 2 * MARGIN) * px_per_unit) // COARSE
        self.size = (w * COARSE, h * COARSE)
        x = ((np.arange(w, dtype=f32) + f32(0.5)) * COARSE) / f32(px_per_unit) + f32(self.left)
        y = ((np.arange(h, dtype=f32) + f32(0.5)) * COARSE) / f32(px_per_unit) + f32(self.top)
        self._x, self._y = np.meshgrid(x, y)
        self._depth = _remap(self._relief, *self._in_texture(self._x, self._y)) - f32(STILL_DEPTH)

    def _in_texture(self, x, y):
        return (x - f32(LEFT)) * self.kx - f32(0.5), (y - f32(TOP)) * self.ky - f32(0.5)

    def _find_eye(self, side, texture, glasses):
        """The part of the texture with an eye: where, x (outward positive) and y round the pupil, skin, glasses."""
        cx = side * self.actor.eye_dx
        columns = slice(int((cx - 0.32 - LEFT) * self.kx), int((cx + 0.32 - LEFT) * self.kx))
        rows = slice(int((-0.24 - TOP) * self.ky), int((0.24 - TOP) * self.ky))
        x = (np.arange(columns.start, columns.stop, dtype=f32) + f32(0.5)) / self.kx + f32(LEFT)
        y = (np.arange(rows.start, rows.stop, dtype=f32) + f32(0.5)) / self.ky + f32(TOP)
        x, y = np.meshgrid((x - f32(cx)) * f32(side), y)
        at = rows, columns
        glasses = glasses and [layer[at] for layer in glasses]
        skin, soft = texture[at].copy(), 1.1 / float(self.kx)
        return SimpleNamespace(side=side, at=at, x=x, y=y, skin=skin, glasses=glasses, soft=soft)

    def render(self, state: FaceState):
        """Return (head, back hair or None), each uint8 RGBA of `size`, straight alpha."""
        state = with_habit(self.actor, state)
        look = round(state.blink * BLINK_STEPS), round(state.gaze_x * GAZE_STEPS), round(state.gaze_y * GAZE_STEPS)
        for patch in self._patches:
            key = patch.side, look
            if key not in self._eyes:
                self._eyes[key] = _paint_eye(self.actor, patch, *look)
            self._texture[patch.at] = self._eyes[key]
        x, y = self._pose(state)
        outer, inner = self._window(REGION), self._window(INNER)
        warp = warp_mouth(self.actor, state, x[outer], y[outer])
        x[outer], y[outer] = warp.x, warp.y
        head = self._sample(self._texture, x, y)
        if state.upper_lift + state.lower_drop > 0.004:
            cut = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
            parts = (part[cut] for part in (warp.x, warp.below, warp.top, warp.bottom))
            colour, coverage = paint_gap(self.actor, state, *parts, 1.2 / self.px_per_unit)
            under, coverage = head[inner], coverage[..., None]
            under[..., :3] = clip(under[..., :3] * (1 - coverage) + colour * (coverage * 255), 0, 255)
        if self._back is None:
            return head, None
        x, y = self._rolled(state, self._x + f32(0.25 * state.yaw), self._y + f32(0.2 * state.pitch))
        return head, self._sample(self._back, self._enlarge(x), self._enlarge(y))

    def _rolled(self, state, x, y):
        c, s, dy = float(cos(state.roll)), float(sin(state.roll)), y - f32(NECK_Y)
        return c * x + s * dy, -s * x + c * dy + f32(NECK_Y)

    def _pose(self, state):
        """Return where in the head each pixel looks: roll about the neck, turns, raised brows."""
        x, y = self._rolled(state, self._x, self._y)
        if state.yaw or state.pitch:
            x, y = self._turned(state, x, y)
        if state.brow:
            a = self.actor
            off = ((abs(x) - a.eye_dx) / 0.30) ** 2 + ((y - a.brow_y + a.brow_arch * 0.6) / 0.15) ** 2
            y = y + float(BROW_LIFT * state.brow) * exp(-0.5 * off)
        return self._enlarge(x), self._enlarge(y)

    def _turned(self, state, x, y):
        """Undo yaw, then pitch: what a turn hides lies in the folds that `_unfold` skips."""
        x1, y1, depth = self._x[0], self._y[:, 0], self._depth
        c, s = cos(state.yaw), sin(state.yaw)
        across = np.stack([_unfold(c * x1 + s * row, x1, s) for row in depth])
        column = clip((across - x1[0]) / (x1[1] - x1[0]), 0, len(x1) - 1).astype(int)
        behind = c * np.take_along_axis(depth, column, 1) - s * across
        c, s = cos(state.pitch), sin(state.pitch)
        turned = PITCH_Y + c * (y1[:, None] - PITCH_Y) + s * behind
        down = np.stack([_unfold(line, y1, s) for line in turned.T], axis=1).astype(f32)
        step, columns = f32(COARSE / self.px_per_unit), np.broadcast_to(np.arange(len(x1), dtype=f32), down.shape)
        across = _remap(across.astype(f32), columns, (down - y1[0]) / step)
        at = (x - x1[0]) / step, (y - y1[0]) / step
        return _remap(across, *at), _remap(down, *at)

    def _enlarge(self, field):
        return cv2.resize(field, self.size, interpolation=cv2.INTER_LINEAR)

    def _window(self, bounds):
        """Rows and columns of a rectangle (left, right, above, below) round the mouth's middle."""
        left, right, above, below = bounds
        my, k = self.actor.mouth_y, self.px_per_unit
        rows = slice(max(0, int((my + above - self.top) * k)), int((my + below - self.top) * k))
        return rows, slice(max(0, int((left - self.left) * k)), int((right - self.left) * k))

    def _sample(self, texture, x, y):
        return _remap(texture, *cv2.convertMaps(*self._in_texture(x, y), cv2.CV_16SC2))

    def locate(self, x: float, y: float, state: FaceState) -> tuple[float, float]:
        """Return where a point of the head is drawn, in head units round the middle between the eyes.

        The inverse of the pose; the mouth's own movement is not in it.
        """
        h, w = self._relief.shape
        row, column = int((y - TOP) * self.ky), int((x - LEFT) * self.kx)
        depth = float(self._relief[min(max(row, 0), h - 1), min(max(column, 0), w - 1)]) - STILL_DEPTH
        c, s = cos(state.yaw), sin(state.yaw)
        x, depth = c * x + s * depth, c * depth - s * x
        y = PITCH_Y + cos(state.pitch) * (y - PITCH_Y) + sin(state.pitch) * depth - NECK_Y
        c, s = cos(state.roll), sin(state.roll)
        return float(c * x - s * y), float(s * x + c * y + NECK_Y)


def _remap(image, u, v):
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _unfold(seen, at, turn):
    """Return which of the places `at` (n,) is in front at each of them, where place k is seen at seen[k]."""
    if turn < 0:
        return -_unfold(-seen[::-1], -at[::-1], -turn)[::-1]
    return np.interp(at, maximum.accumulate(seen), at)


def _sized(image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(f32)


def _paint_eye(actor, patch, blink, gaze_x, gaze_y):
    """Return the patch with the eye in it, uint8 (h, w, 4). Lids are curves over t = -1 inner .. 1 outer corner."""
    y, soft, t, height = patch.y, patch.soft, patch.x / actor.eye_w, actor.eye_h
    at, tilt, open_, blink = abs(t), -actor.eye_tilt * t, abs(t) < 1, min(blink / BLINK_STEPS, 1.0)
    upper_open = -0.9765 * height * clamp(1 - abs((t + 0.10) / 1.1) ** 2.2) ** 0.75 * open_ + tilt
    lower = 0.72 * height * clamp(1 - abs((t - 0.12) / 1.12) ** 2.3) ** 0.9 * open_ + tilt
    upper = upper_open * (1 - blink) + (lower - 0.004) * blink

    closed = clamp((y - upper_open) / 0.02) * clamp((lower - y) / 0.02 + 0.5) * blink
    crease = ridge(y - (upper_open - 0.048 + 0.012 * t**2), 0.010) * smoothstep(1.12, 0.8, at)
    shadow = exp(-clamp(upper - y) / 0.03) * (y < upper) * smoothstep(1.1, 0.9, at)
    dark = (1 - 0.12 * closed) * (1 - 0.42 * crease * (1 - 0.6 * blink)) * (1 - 0.18 * shadow)
    ball = _eyeball(actor, patch, upper, t, gaze_x / GAZE_STEPS, gaze_y / GAZE_STEPS)
    visible = clamp((y - upper) / soft + 0.5) * clamp((lower - y) / soft + 0.5)
    visible *= clamp((1 - at) * actor.eye_w / soft + 0.2)
    rgb = mix(patch.skin[..., :3] * dark[..., None], ball, visible)
    lash = ridge(y - upper + 0.004, 0.0125 + 0.004 * clamp(t))
    lash *= smoothstep(1.16, 0.97, at - 0.10 * (t > 0))
    lower_lash = ridge(y - lower - 0.003, 0.009) * smoothstep(1.05, 0.9, at)
    rgb = clamp(rgb * ((1 - 0.86 * lash) * (1 - 0.38 * lower_lash))[..., None])
    if patch.glasses:
        rgb = mix(rgb, *patch.glasses)
    return to_uint8(np.dstack([rgb, patch.skin[..., 3]]))


def _eyeball(actor, patch, upper, t, gaze_x, gaze_y):
    """White, iris, pupil, catch-light, corner; lit from above by what the lid lets through."""
    soft, at = patch.soft, abs(t)[..., None]
    dx, dy = patch.x - gaze_x * 0.09 * patch.side, patch.y - (gaze_y * 0.05 - 0.004)
    r, angle = hypot(dx, dy), np.arctan2(dy, dx)
    ball = np.array([0.80, 0.785, 0.775], f32) * (1 - 0.30 * at**2) * np.array([1, 0.97, 0.96], f32) ** (at * 2)
    fibres = 1 + 0.16 * sin(angle * 23 + 2 * sin(angle * 7)) * clamp(r / IRIS_R)
    shade = fibres * (0.75 + 0.5 * clip(dy / IRIS_R, -1, 1)) * (1 - 0.75 * smoothstep(0.72, 1.0, r / IRIS_R))
    iris = np.array(actor.iris, f32) / 255 * shade[..., None]
    ball = mix(ball, iris, clamp((IRIS_R - r) / (1.4 * soft) + 0.5))
    ball = mix(ball, 0.03, clamp((PUPIL_R - r) / soft + 0.5))
    ball = ball * (1 - 0.50 * exp(-clamp(patch.y - upper) / 0.028))[..., None]
    glint = clamp((GLINT_R - hypot(dx * patch.side + 0.026, dy + 0.026)) / soft + 0.5)
    ball = mix(ball, 0.97, glint)
    return mix(ball, np.array([0.72, 0.45, 0.42], f32), hump(t + 0.93, 0.09) * 0.7)
