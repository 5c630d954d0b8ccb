"""Bake an actor: everything about a head that does not move, painted once into layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .actor import Actor
from .canvas import Canvas, bell, blur, display, f32, linear, smoothstep
from .geometry import HeadShape, shape_head
from .hair import Hair, grow_hair, shadow_on_head
from .light import shade
from .skin import paint_head


@dataclass(frozen=True)
class Layer:
    """Straight (not premultiplied) display colour (h, w, 3) and coverage (h, w), float32 0..1."""

    colour: np.ndarray
    coverage: np.ndarray


@dataclass(frozen=True)
class BakedHead:
    """The layers of a head on Canvas.of_head(): back hair, head, glasses; relief drives the parallax of head turns."""

    actor: Actor
    head: Layer
    back_hair: Layer | None
    glasses: Layer | None
    relief: np.ndarray


@lru_cache(maxsize=12)
def bake(actor: Actor) -> BakedHead:
    """Paint an actor's head; takes about 0.3 s, remembered."""
    rng = np.random.default_rng(actor.seed)
    canvas = Canvas.of_head()
    shape = shape_head(actor, canvas, rng)
    paint = paint_head(actor, canvas, shape, rng)
    light = shade(shape.height + paint.relief, paint.albedo, canvas, paint.gloss, actor.key_light)
    light *= (1 - 0.30 * smoothstep(0.90, 1.0, shape.rho))[..., None]
    face = np.clip((0.992 - shape.rho) * shape.radius / (1.6 * canvas.pixel) + 0.5, 0, 1)
    ear_light, ears = _ears(actor, canvas)
    light = ear_light * (1 - face[..., None]) + light * face[..., None]
    coverage = np.maximum(face, ears)
    hair = grow_hair(actor, canvas, shape, rng)
    light, coverage = _put_hair(actor, canvas, hair, light, coverage)
    glasses = None
    if actor.glasses:
        glasses, shadow = _glasses(actor, canvas)
        light *= (1 - 0.30 * shadow * (coverage > 0))[..., None]
    head = Layer(_bleed(display(light), coverage, canvas), coverage.astype(f32))
    back = hair and Layer(_bleed(display(hair.back), hair.behind, canvas), hair.behind)
    return BakedHead(actor, head, back, glasses, _relief(canvas, shape, face))


def _ears(actor, canvas):
    x, y = canvas.ax - 0.985 * actor.face_w, canvas.y - 0.12
    c, s = np.cos(0.18), np.sin(0.18)
    x, y = c * x + s * y, -s * x + c * y
    rho = np.hypot(x / 0.135, y / 0.30)
    inner = np.hypot((x + 0.02) / 0.07, (y + 0.01) / 0.17)
    height = 0.16 * np.exp(-(((rho - 0.80) / 0.16) ** 2)) + 0.05 * np.exp(-(((inner - 0.8) / 0.2) ** 2))
    height = blur(height + 0.1 * bell(x, y, -0.02, 0.24, 0.06), 0.008 * canvas.px_per_unit)
    albedo = np.broadcast_to(linear(actor.skin) * np.array([1.02, 0.86, 0.83], f32), (*canvas.shape, 3))
    coverage = np.clip((1 - rho) * 0.14 / (1.6 * canvas.pixel) + 0.5, 0, 1)
    return shade(height, albedo, canvas, 0.05, actor.key_light) * f32(0.85), coverage


def _put_hair(actor: Actor, canvas: Canvas, hair: Hair | None, light, coverage):
    """Return light and coverage with the front hair over them."""
    if hair is None:  # a shaven head still shows where the hair was
        stubble = smoothstep(0.05, -0.25, canvas.y - (actor.hair_hl + 0.75 * np.clip(canvas.ax - 0.5, 0, 1)))
        return light * (1 - 0.18 * stubble * coverage)[..., None], coverage
    light = light * (1 - 0.55 * shadow_on_head(hair, canvas))[..., None]
    skin = coverage * (1 - hair.cap)
    total = hair.cap + skin
    light = (light * skin[..., None] + hair.front * hair.cap[..., None]) / np.maximum(total, 1e-3)[..., None]
    return light, total


def _glasses(actor, canvas):
    """Return the layer of the frame, and its shadow (h, w)."""
    x, y, ax = canvas.x, canvas.y, canvas.ax
    gx, gy = actor.eye_dx + 0.01, 0.03
    rim = (np.abs((ax - gx) / 0.295) ** 3.2 + np.abs((y - gy) / 0.215) ** 3.2) ** (1 / 3.2)
    frame = canvas.edge(0.030 * actor.glasses - np.abs(rim - 1) * 0.24)
    bridge = canvas.edge(0.022 - np.abs(y - gy + 0.07 + 0.05 * (1 - (x / 0.13) ** 2))) * (ax < gx - 0.27)
    arm = canvas.edge(0.022 - np.abs(y - gy + 0.09)) * (ax > gx + 0.28) * (ax < 0.985 * actor.face_w + 0.02)
    frame = np.maximum(np.maximum(frame, bridge), arm).astype(f32)
    colour = linear(actor.glass_col) * (1.0 + 0.8 * np.clip(-(y - gy) / 0.25, -0.5, 1))[..., None]
    u = canvas.px_per_unit
    shadow = np.roll(blur(frame, 0.02 * u), (int(0.04 * u), int(0.015 * u)), (0, 1))
    return Layer(display(colour), frame), shadow


def _bleed(colour, coverage, canvas):
    """Spread colours outwards, so that nothing dark creeps in at edges when the layer is resampled."""
    weight = np.where(coverage > 0.97, 1, 1e-4).astype(f32)
    sigma = 0.05 * canvas.px_per_unit
    spread = blur(colour * weight[..., None], sigma) / blur(weight, sigma)[..., None]
    keep = smoothstep(0.85, 0.99, coverage)[..., None]
    return (colour * keep + spread * (1 - keep)).astype(f32)


def _relief(canvas: Canvas, shape: HeadShape, face):
    around = np.where(canvas.y < 0.3, 0.25, 0.1)
    return blur(shape.smooth * face + (1 - face) * around, 0.06 * canvas.px_per_unit)
