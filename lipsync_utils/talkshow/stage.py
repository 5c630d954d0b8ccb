"""Shots: actors placed before a backdrop, drawn frame by frame, with the boxes of their faces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .actor import LONG_HAIR, Actor
from .backdrop import paint_backdrop, paint_title
from .canvas import CENTRE_Y, f32
from .costume import paint_body
from .head import bake, outline
from .mouth import FaceState
from .puppet import Puppet

DESK = 0.84  # height of the desk's edge in a group shot, fraction of the picture
GRAIN = 2.2  # standard deviation of the camera's noise, of 255
N_GRAINS = 5
FOREHEAD_Y = -0.62  # top of a face box: half-way between brows and hairline


@dataclass(frozen=True)
class Place:
    """Where an actor's head is in a shot: px_per_unit (size), and the pixel of the middle between the eyes."""

    px_per_unit: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Box:
    """A face from forehead to chin and from ear to ear, pixels of the frame."""

    left: float
    top: float
    right: float
    bottom: float


class Member:
    """An actor in a place."""

    def __init__(self, actor: Actor, place: Place, size: tuple[int, int]):
        self.actor, self.place = actor, place
        self.puppet = Puppet(bake(actor), place.px_per_unit)
        self.body, *self.body_at = paint_body(actor, place.px_per_unit, size, place.cx, place.cy)
        self.x = round(place.cx + self.puppet.left * place.px_per_unit)
        self.y = round(place.cy + self.puppet.top * place.px_per_unit)
        self._low_hair = actor.hair in LONG_HAIR
        self.half_width = float(outline(actor)(np.array([1.0]), np.array([CENTRE_Y + 0.1]))[0])

    def draw(self, picture: np.ndarray, state: FaceState) -> None:
        """Draw the head over a picture that already has the body, in place."""
        head, back = self.puppet.render(state)
        if back is not None:
            lay_over(picture, back, self.x, self.y)
            if self._low_hair:  # it hangs behind the shoulders
                bottom = self.y + self.puppet.size[1]
                lay_over(picture[:bottom], self.body, *self.body_at)
        lay_over(picture, head, self.x, self.y)

    def face_box(self, state: FaceState, size: tuple[int, int]) -> Box:
        """Return the box of the face as drawn, cut to the picture."""
        a, u = self.actor, self.place.px_per_unit
        w = self.half_width
        chin = 1.52 + a.chin + state.chin_drop
        edge = [(-w, 0.1), (w, 0.1), (-0.75 * w, 0.9), (0.75 * w, 0.9), (0, FOREHEAD_Y), (0, chin)]
        points = [self.puppet.locate(x, y, state) for x, y in edge]
        xs = [np.clip(self.place.cx + x * u, 0, size[0]) for x, _ in points]
        ys = [np.clip(self.place.cy + y * u, 0, size[1]) for _, y in points]
        return Box(*(round(float(v), 2) for v in (min(xs), min(ys), max(xs), max(ys))))


class Shot:
    """One camera position: `render` draws a frame, `boxes` says where the faces are."""

    def __init__(self, background: np.ndarray, members: list[Member], desk: float | None, seed: int, grain=GRAIN):
        h, w = background.shape[:2]
        self.size, self.members = (w, h), members
        self._base = background.copy()
        for member in members:
            lay_over(self._base, member.body, *member.body_at)
        self._desk_y = int(desk * h) if desk else h
        self._front = background[self._desk_y :]
        self._base[self._desk_y :] = self._front
        rng = np.random.default_rng((seed, 5))
        self._grain = [rng.normal(0, grain, (h, w, 3)).astype(np.int16) for _ in range(N_GRAINS)]

    def render(self, states: list[FaceState], frame: int) -> np.ndarray:
        """Return uint8 RGB (h, w, 3). states: one per member; frame: chooses the grain."""
        picture = self._base.copy()
        for member, state in zip(self.members, states, strict=True):
            member.draw(picture, state)
        picture[self._desk_y :] = self._front
        return cv2.add(picture, self._grain[frame % N_GRAINS], dtype=cv2.CV_8U)

    def boxes(self, states: list[FaceState]) -> list[Box]:
        """Return each member's face box."""
        return [member.face_box(state, self.size) for member, state in zip(self.members, states, strict=True)]


def lay_over(picture: np.ndarray, layer: np.ndarray, x: int, y: int) -> None:
    """Lay a uint8 RGBA layer with its corner at (x, y) over a uint8 RGB picture, in place."""
    h, w = layer.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, picture.shape[1]), min(y + h, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part, under = layer[y0 - y : y1 - y, x0 - x : x1 - x], picture[y0:y1, x0:x1]
    alpha = part[..., 3].astype(f32) * f32(1 / 255)
    colour = np.ascontiguousarray(part[..., :3])
    picture[y0:y1, x0:x1] = cv2.blendLinear(colour, np.ascontiguousarray(under), alpha, 1 - alpha)


def single_shot(
    actor: Actor,
    size: tuple[int, int],
    seed: int,
    face: float = 1.0,
    at=(0.5, 0.42),
    backdrop: str | None = None,
    grain: float = GRAIN,
) -> Shot:
    """Return a shot of one actor. face: size of the head (1 fills the picture well); at: eyes, fractions of w and h."""
    w, h = size
    place = Place(0.192 * min(w, h) * face, at[0] * w, at[1] * h)
    return Shot(paint_backdrop(size, seed, backdrop), [Member(actor, place, size)], None, seed, grain)


def group_shot(actors: list[Actor], size: tuple[int, int], seed: int, grain: float = GRAIN) -> Shot:
    """Return a shot of up to three actors behind a desk; the middle one, the last of the list, sits in front."""
    w, h = size
    u = min(0.104 * w, 0.145 * h)
    seats = [(0.185, 0.40, 1.0), (0.815, 0.40, 1.0), (0.5, 0.43, 1.04)][: len(actors)]
    members = [Member(a, Place(u * k, x * w, y * h), size) for a, (x, y, k) in zip(actors, seats, strict=True)]
    return Shot(paint_backdrop(size, seed, desk=DESK), members, DESK, seed, grain)


def inset_shot(main: Actor, inset: Actor, size: tuple[int, int], seed: int, grain: float = GRAIN) -> Shot:
    """Return a picture in picture: the main actor in the right half, a small second one on a screen in the left."""
    w, h = size
    background = paint_backdrop(size, seed, "plain")
    left, top, right, bottom = int(0.05 * w), int(0.16 * h), int(0.42 * w), int(0.60 * h)
    screen = paint_backdrop((right - left, bottom - top), seed + 1, "skyline")
    background[top - 4 : bottom + 4, left - 4 : right + 4] = (16, 16, 20)
    small = Place(min(0.155 * (bottom - top), 0.17 * (right - left)), (left + right) / 2, top + 0.42 * (bottom - top))
    large = Place(min(0.19 * h, 0.23 * w * 0.5), 0.74 * w, 0.42 * h)
    members = [Member(main, large, size), Member(inset, small, size)]
    x, y = members[1].body_at
    outside = np.ones(members[1].body.shape[:2], bool)
    outside[max(0, top - y) : max(0, bottom - y), max(0, left - x) : max(0, right - x)] = False
    members[1].body[outside] = 0
    background[top:bottom, left:right] = screen
    return Shot(background, members, None, seed, grain)


def still_shot(size: tuple[int, int], seed: int, title: str = "", subtitle: str = "", grain: float = GRAIN) -> Shot:
    """Return a shot with nobody in it: a title card, or the empty set where there is no title."""
    picture = paint_title(size, seed, title, subtitle) if title else paint_backdrop(size, seed, desk=DESK)
    return Shot(picture, [], None, seed, grain)
