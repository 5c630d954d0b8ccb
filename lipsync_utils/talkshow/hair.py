"""Hair in front of and behind the head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .actor import LONG_HAIR, Actor
from .canvas import Canvas, blur, f32, linear, noise, smoothstep
from .geometry import CENTRE_Y, HeadShape

VOLUME = {"short": 0.12, "crop": 0.06, "curly": 0.30, "bun": 0.10, "bob": 0.20, "long": 0.19}  # above the skull
SIDE_END = {"short": 0.18, "crop": 0.10, "curly": 0.28, "bun": -0.05, "bob": 0.95, "long": 1.2}  # y of the sideburns


@dataclass(frozen=True)
class Hair:
    """front and back: linear colour (h, w, 3); cap and behind: their coverage (h, w)."""

    front: np.ndarray
    cap: np.ndarray
    back: np.ndarray
    behind: np.ndarray


def grow_hair(actor: Actor, canvas: Canvas, shape: HeadShape, rng) -> Hair | None:
    """Return the hair of an actor, None for a bald one."""
    if actor.hair == "bald":
        return None
    distance = np.hypot(canvas.x, canvas.y - CENTRE_Y)
    reach = shape.radius + _volume(actor, canvas, distance)
    rho = distance / reach
    outer = np.clip((1 - rho) * shape.radius / (3 * canvas.pixel) + 0.5, 0, 1)
    ragged = noise(rng, canvas.shape, [40, 14, 5, 2.5], [0.010] * 4)
    cap, behind = _coverage(actor, canvas, outer, ragged)
    strands = _strands(actor, canvas, rng)
    body = np.clip(0.85 + 0.38 * strands, 0.2, 2.2)
    lit = np.clip(0.62 - 0.30 * canvas.x - 0.22 * canvas.y, 0.25, 1.15)
    dome = np.sqrt(np.clip(1 - np.clip(rho, 0, 1) ** 3, 0, 1))
    if actor.hair in LONG_HAIR:
        dome = np.maximum(dome, 0.45 * (canvas.y > 0))
    colour = linear(actor.hair_col)
    front = colour * (body * (0.35 + 0.75 * dome) * lit * 1.5)[..., None]
    front += 0.055 * _gleam(canvas, strands)[..., None] * colour**0.4
    back = colour * (body * 0.40 * lit)[..., None]
    return Hair(front.astype(f32), cap.astype(f32), back.astype(f32), behind.astype(f32))


def _parting(actor):
    return actor.seed % 2 * 2 - 1


def _volume(actor, canvas, distance):
    upward = np.clip(-(canvas.y - CENTRE_Y) / np.maximum(distance, 1e-3), -1, 1)
    thick = VOLUME[actor.hair] * (0.35 + 0.65 * smoothstep(-0.1, 0.8, upward))
    thick *= 1 + 0.10 * np.sin(3 * canvas.x * _parting(actor) + actor.seed)
    if actor.hair == "curly":
        angle = np.arctan2(canvas.y - CENTRE_Y, canvas.x)
        thick = thick * (1 + 0.10 * np.sin(angle * 17 + actor.seed) + 0.08 * np.sin(angle * 29)) + 0.03
    return thick


def _coverage(actor, canvas, outer, ragged):
    """Return (in front of the head, behind it)."""
    x, y, ax = canvas.x, canvas.y, canvas.ax
    long_hair = actor.hair in LONG_HAIR
    front = _parted_front(actor, canvas, ragged) if long_hair else _short_front(actor, canvas, ragged)
    if actor.fringe > 0:
        end = actor.hair_hl + actor.fringe * 0.50 + 0.04 * np.sin(x * 4.1 + actor.seed)
        end = end + 0.10 * x * _parting(actor) + 0.9 * ragged
        sides_free = 1 - smoothstep(0.80 * actor.face_w, 0.9 * actor.face_w, ax)
        front = np.maximum(front, smoothstep(0.03, -0.03, y - end) * sides_free)
    cap = outer * front
    if long_hair:
        tail = _tail(actor, canvas, ragged)
        inner = smoothstep(0.80 * actor.face_w, 0.86 * actor.face_w, ax)
        return np.maximum(cap, tail * front * inner), np.maximum(outer * (y < 0.1), tail)
    side = SIDE_END[actor.hair]
    behind = outer * (1 - smoothstep(side - 0.1, side + 0.1, y))
    if actor.hair == "bun":
        knot = np.clip((0.36 - np.hypot(x, (y + 1.66) * 1.15)) / (3 * canvas.pixel) + 0.5, 0, 1)
        behind = np.maximum(behind, knot)
    return cap, behind


def _parted_front(actor, canvas, ragged):
    """A fringe parted off the middle and sweeping to both sides, with hair beside the face."""
    x, y = canvas.x, canvas.y
    sweep = actor.hair_hl - 0.06 + 1.05 * np.abs(x - 0.18 * _parting(actor)) ** 1.55 + 0.03 * np.sin(x * 9)
    top = smoothstep(0.025, -0.025, y - sweep + ragged * 0.6) * (y < 0.9)
    inner = 0.83 * actor.face_w + 0.02 * np.sin(y * 6 + actor.seed) + 0.4 * ragged
    sides = smoothstep(-0.02, 0.02, canvas.ax - inner) * smoothstep(-0.75, -0.55, y)
    return np.clip(np.maximum(top, sides), 0, 1)


def _short_front(actor, canvas, ragged):
    """A hairline over the forehead and sideburns."""
    x, y, ax, soft = canvas.x, canvas.y, canvas.ax, 0.045
    line = actor.hair_hl - actor.forehead * 0.6 + 0.05 * np.sin(x * 3.0 * _parting(actor)) + 0.10 * (ax / 0.6) ** 2
    line = line + ragged + 1.275 * np.clip(ax / actor.face_w - 0.58, 0, 1)
    top = smoothstep(soft, -soft, y - line)
    inner = (0.88 if actor.hair == "bun" else 0.83) * actor.face_w + 0.10 * smoothstep(-0.2, 0.25, y) + ragged
    end = SIDE_END[actor.hair]
    sides = smoothstep(-soft, soft, ax - inner) * (y > -0.8) * (1 - smoothstep(end - 0.06, end + 0.05, y + ragged * 2))
    return np.clip(np.maximum(top, sides), 0, 1)


def _tail(actor, canvas, ragged):
    """What hangs beside and behind the face of long-haired actors."""
    y, ax = canvas.y, canvas.ax
    end = 0.92 if actor.hair == "bob" else 1.85
    width = (1.11 if actor.hair == "bob" else 1.12) * actor.face_w + 0.10 * smoothstep(-0.4, 0.9, y)
    width = width + 0.02 * np.sin(y * 5) + 0.3 * ragged
    tail = (1 - smoothstep(width - 0.02, width + 0.02, ax)) * smoothstep(-0.35, -0.25, y)
    return tail * (1 - smoothstep(end - 0.10, end, y + ragged * 1.2 + 0.25 * (ax - 0.9)))


def _strands(actor, canvas, rng):
    """Noise along the hair, about -1..1."""
    if actor.hair == "curly":
        return np.sin(4.0 * noise(rng, canvas.shape, [16, 8, 4], [0.5, 0.4, 0.25]))
    dx, dy = canvas.x - 0.18 * _parting(actor), canvas.y + 1.65
    turn, distance = np.arctan2(dy, dx) / (2 * np.pi) + 0.5, np.hypot(dx, dy)
    fine = cv2.GaussianBlur(rng.standard_normal((64, 1024)).astype(f32), (0, 0), 0.6)
    coarse = cv2.resize(rng.standard_normal((16, 128)).astype(f32), (1024, 64), interpolation=cv2.INTER_CUBIC)
    texture = np.hstack([fine + coarse] * 2)
    wobble = noise(rng, canvas.shape, [120, 40], [0.004, 0.0012])
    u, v = ((turn + wobble) % 1.0 * 1023).astype(f32), np.clip(distance * 14, 0, 63).astype(f32)
    along = cv2.remap(texture, u, v, cv2.INTER_LINEAR)
    return 0.6 * along + 0.35 * noise(rng, canvas.shape, [2.0, 4.0], [0.3, 0.3])


def _gleam(canvas, strands):
    ring = np.exp(-(((np.hypot((canvas.x + 0.25) * 0.9, canvas.y + 0.15) - 1.05) / 0.16) ** 2)) * (canvas.y < -0.3)
    return ring * (0.5 + 0.5 * np.clip(strands + 0.4, 0, 1.5))


def shadow_on_head(hair: Hair, canvas: Canvas):
    """Return how much of the light the hair takes from the skin just below it, 0..1."""
    u = canvas.px_per_unit
    return np.roll(blur(hair.cap, 0.05 * u), int(0.03 * u), 0) * (1 - hair.cap)
