"""Animate a baked head: eyes painted into its texture, then pose, brows and mouth in one resampling."""

from __future__ import annotations

import cv2
import numpy as np

from .bake import BakedHead
from .canvas import BAKE_PX, BOTTOM, LEFT, RIGHT, TOP, f32, to_uint8
from .eyes import EyePatch, paint_eye, quantised
from .face_state import FaceState, with_habit
from .mouth import INNER, REGION, Warp, paint_gap, warp_mouth

MARGIN = 0.22  # room round the baked head for motion, head units
COARSE = 4  # the pose is smooth: it is computed on every fourth pixel and enlarged
SUPERSAMPLE = 1.25
NECK_Y = 1.0  # the head rolls about (0, NECK_Y)
PITCH_Y = 0.6  # and nods about this height
REPLICATE = cv2.BORDER_REPLICATE
STILL_DEPTH = 0.35  # what has this relief stays in place when the head turns
BROW_LIFT = 0.05  # how far fully raised brows move, head units


class Puppet:
    """A head at a given size; `render` draws one frame of it.

    px_per_unit: size in the shot. left, top: where the drawn picture's corner lies relative to the middle between the
    eyes, head units. size: (width, height) of what `render` returns.
    """

    def __init__(self, baked: BakedHead, px_per_unit: float):
        self.actor, self.px_per_unit = baked.actor, px_per_unit
        scale = min(px_per_unit * SUPERSAMPLE, BAKE_PX)
        w, h = round((RIGHT - LEFT) * scale), round((BOTTOM - TOP) * scale)
        self.kx, self.ky = f32(w / (RIGHT - LEFT)), f32(h / (BOTTOM - TOP))
        self._relief = _shrink(baked.relief, w, h)
        texture = np.dstack([_shrink(baked.head.colour, w, h), _shrink(baked.head.coverage, w, h)])
        glasses = baked.glasses and (_shrink(baked.glasses.colour, w, h), _shrink(baked.glasses.coverage, w, h))
        self._patches = self._find_eyes(texture, glasses)
        if glasses:
            colour, cover = glasses
            texture[..., :3] = texture[..., :3] * (1 - cover[..., None]) + colour * cover[..., None]
            texture[..., 3] = np.maximum(texture[..., 3], cover)
        self._texture = to_uint8(texture)
        back = baked.back_hair
        if back:
            back = to_uint8(np.dstack([_shrink(back.colour, w, h), _shrink(back.coverage, w, h)]))
        self._back = back
        self._eyes = {}
        self._make_grid()

    def _make_grid(self):
        self.left, self.top = LEFT - MARGIN, TOP - MARGIN
        w = int((RIGHT - LEFT + 2 * MARGIN) * self.px_per_unit) // COARSE
        h = int((BOTTOM - TOP + 2 * MARGIN) * self.px_per_unit) // COARSE
        self.size = (w * COARSE, h * COARSE)
        x = ((np.arange(w, dtype=f32) + f32(0.5)) * COARSE) / f32(self.px_per_unit) + f32(self.left)
        y = ((np.arange(h, dtype=f32) + f32(0.5)) * COARSE) / f32(self.px_per_unit) + f32(self.top)
        self._x, self._y = np.meshgrid(x, y)

    def _find_eyes(self, texture, glasses):
        patches, a = [], self.actor
        for side in (-1, 1):
            cx = side * a.eye_dx
            columns = slice(int((cx - 0.32 - LEFT) * self.kx), int((cx + 0.32 - LEFT) * self.kx))
            rows = slice(int((-0.24 - TOP) * self.ky), int((0.24 - TOP) * self.ky))
            x = (np.arange(columns.start, columns.stop, dtype=f32) + f32(0.5)) / self.kx + f32(LEFT)
            y = (np.arange(rows.start, rows.stop, dtype=f32) + f32(0.5)) / self.ky + f32(TOP)
            x, y = np.meshgrid((x - f32(cx)) * f32(side), y)
            frame = glasses and tuple(layer[rows, columns] for layer in glasses)
            skin = texture[rows, columns].copy()
            patches.append(EyePatch(side, rows, columns, x, y, skin, frame, 1.1 / float(self.kx)))
        return patches

    def render(self, state: FaceState):
        """Return (head, back hair or None), each uint8 RGBA of `size`, straight alpha."""
        state = with_habit(self.actor, state)
        key = quantised(state.blink, state.gaze_x, state.gaze_y)
        for patch in self._patches:
            if (patch.side, key) not in self._eyes:
                self._eyes[patch.side, key] = paint_eye(self.actor, patch, key)
            self._texture[patch.rows, patch.columns] = self._eyes[patch.side, key]
        x, y = self._pose(state)
        rows, columns, warp = self._mouth(state, x, y)
        x[rows, columns], y[rows, columns] = warp.x, warp.y
        head = self._sample(self._texture, x, y)
        if state.upper_lift + state.lower_drop > 0.004:
            self._fill_gap(state, warp, head[rows, columns])
        return head, None if self._back is None else self._draw_back(state)

    def _rolled(self, state, x, y):
        c, s, neck = float(np.cos(state.roll)), float(np.sin(state.roll)), f32(NECK_Y)
        dx, dy = x, y - neck
        return c * dx + s * dy, -s * dx + c * dy + neck

    def _pose(self, state):
        """Return where in the head each pixel looks: roll about the neck, turns, raised brows."""
        x, y = self._rolled(state, self._x, self._y)
        if state.yaw or state.pitch:
            x, y = self._turned(state, x, y)
        if state.brow:
            a = self.actor
            off = ((np.abs(x) - a.eye_dx) / 0.30) ** 2 + ((y - a.brow_y + a.brow_arch * 0.6) / 0.15) ** 2
            y = y + float(BROW_LIFT * state.brow) * np.exp(-0.5 * off)
        return self._enlarge(x), self._enlarge(y)

    def _turned(self, state, x, y):
        """Undo yaw, then pitch: what a turn hides lies in the folds that `_unfold` skips."""
        x1, y1 = self._x[0], self._y[:, 0]
        u = np.broadcast_to((x1 - f32(LEFT)) * self.kx - f32(0.5), self._x.shape)
        v = np.broadcast_to(((y1 - f32(TOP)) * self.ky - f32(0.5))[:, None], self._x.shape)
        depth = cv2.remap(self._relief, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - f32(STILL_DEPTH)
        c, s = np.cos(state.yaw), np.sin(state.yaw)
        across = np.stack([_unfold(c * x1 + s * row, x1, s) for row in depth])
        rows = np.arange(len(y1))[:, None]
        column = np.clip((across - x1[0]) / (x1[1] - x1[0]), 0, len(x1) - 1).astype(int)
        behind = c * depth[rows, column] - s * across
        c, s = np.cos(state.pitch), np.sin(state.pitch)
        turned = PITCH_Y + c * (y1[:, None] - PITCH_Y) + s * behind
        down = np.stack([_unfold(line, y1, s) for line in turned.T], axis=1).astype(f32)
        step, corner = f32(COARSE / self.px_per_unit), (x1[0], y1[0])
        grid = np.broadcast_to(np.arange(len(x1), dtype=f32), down.shape)
        across = cv2.remap(across.astype(f32), grid, (down - corner[1]) / step, cv2.INTER_LINEAR, borderMode=REPLICATE)
        at = (x - corner[0]) / step, (y - corner[1]) / step
        return tuple(cv2.remap(field, *at, cv2.INTER_LINEAR, borderMode=REPLICATE) for field in (across, down))

    def _enlarge(self, field):
        return cv2.resize(field, self.size, interpolation=cv2.INTER_LINEAR)

    def _window(self, bounds):
        """Rows and columns of a rectangle (left, right, above, below) round the mouth's middle."""
        left, right, above, below = bounds
        my, k = self.actor.mouth_y, self.px_per_unit
        rows = slice(max(0, int((my + above - self.top) * k)), int((my + below - self.top) * k))
        return rows, slice(max(0, int((left - self.left) * k)), int((right - self.left) * k))

    def _mouth(self, state, x, y):
        rows, columns = self._window(REGION)
        return rows, columns, warp_mouth(self.actor, state, x[rows, columns], y[rows, columns])

    def _fill_gap(self, state, warp, region):
        """Paint the inside of the mouth into `region`, the part of the head that warp covers, in place."""
        outer, inner = self._window(REGION), self._window(INNER)
        cut = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        part = Warp(warp.x[cut], warp.y[cut], warp.below[cut], warp.top[cut], warp.bottom[cut])
        colour, coverage = paint_gap(self.actor, state, part, 1.2 / self.px_per_unit)
        coverage = coverage[..., None]
        under = region[cut]
        under[..., :3] = np.clip(under[..., :3] * (1 - coverage) + colour * (coverage * 255), 0, 255)

    def _sample(self, texture, x, y):
        u, v = (x - f32(LEFT)) * self.kx - f32(0.5), (y - f32(TOP)) * self.ky - f32(0.5)
        maps = cv2.convertMaps(u, v, cv2.CV_16SC2)
        return cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _draw_back(self, state):
        x, y = self._rolled(state, self._x + f32(0.25 * state.yaw), self._y + f32(0.2 * state.pitch))
        return self._sample(self._back, self._enlarge(x), self._enlarge(y))

    def locate(self, x: float, y: float, state: FaceState) -> tuple[float, float]:
        """Return where a point of the head is drawn, in head units round the middle between the eyes.

        The inverse of the pose; the mouth's own movement is not in it.
        """
        h, w = self._relief.shape
        row, column = int((y - TOP) * self.ky), int((x - LEFT) * self.kx)
        depth = float(self._relief[min(max(row, 0), h - 1), min(max(column, 0), w - 1)]) - STILL_DEPTH
        c, s = np.cos(state.yaw), np.sin(state.yaw)
        x, depth = c * x + s * depth, c * depth - s * x
        y = PITCH_Y + np.cos(state.pitch) * (y - PITCH_Y) + np.sin(state.pitch) * depth - NECK_Y
        c, s = np.cos(state.roll), np.sin(state.roll)
        return float(c * x - s * y), float(s * x + c * y + NECK_Y)


def _unfold(seen, at, turn):
    """Return which of the places `at` (n,) is in front at each of them, where place k is seen at seen[k]."""
    if turn < 0:
        return -_unfold(-seen[::-1], -at[::-1], -turn)[::-1]
    return np.interp(at, np.maximum.accumulate(seen), at)


def _shrink(image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(f32)
