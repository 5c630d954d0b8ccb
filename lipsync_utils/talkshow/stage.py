"""Shots: studio walls, a desk, a title card, actors before them, drawn frame by frame with the boxes of their faces."""

from dataclasses import dataclass

import cv2
import numpy as np

from .actor import LONG_HAIR, Actor
from .canvas import CENTRE_Y, blur, f32, smoothstep, to_uint8
from .costume import paint_body
from .head import bake, outline
from .mouth import FaceState
from .puppet import Puppet

DESK = 0.84  # height of the desk's edge in a group shot, fraction of the picture
GRAIN = 2.2  # standard deviation of the camera's noise, of 255
N_GRAINS = 5
STYLES = ("slats", "shelves", "skyline", "plain")
TONES = ((0.16, 0.24, 0.42), (0.30, 0.20, 0.30), (0.14, 0.32, 0.34), (0.30, 0.26, 0.18), (0.24, 0.26, 0.30))
LAMPS = np.array([(1.0, 0.72, 0.38), (0.45, 0.7, 1.0), (0.9, 0.45, 0.6)], f32)
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
        self.half_width = float(outline(actor)(1.0, CENTRE_Y + 0.1))

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


def paint_backdrop(size: tuple[int, int], seed: int, style: str | None = None, desk: float | None = None) -> np.ndarray:
    """Return a wall, uint8 RGB (h, w, 3). size: (w, h); desk: y of a table's edge as a fraction of h, None: none."""
    rng = np.random.default_rng((seed, 11))
    w, h = size
    y, x = (a.astype(f32) for a in np.mgrid[0:h, 0:w])
    y, x = y / h, x / w
    style = style or STYLES[int(rng.integers(len(STYLES)))]
    tone = np.array(TONES[int(rng.integers(len(TONES)))], f32)
    wall = tone * ((1.15 - 0.7 * np.abs(y - 0.35)) * (1.1 - 0.5 * np.abs(x - 0.5)))[..., None]
    wall = {"slats": _slats, "shelves": _shelves, "skyline": _skyline, "plain": _plain}[style](wall, x, y, w / h, rng)
    wall = blur(np.clip(wall, 0, 1), 2.2 * max(h, w) / 640)
    if desk:
        wood = np.array([0.42, 0.27, 0.17], f32) * (1 + 0.05 * np.sin(x * 60 + 6 * np.sin(y * 9)))[..., None]
        wood *= (1 - 0.45 * smoothstep(desk + 0.05, desk + 0.055, y))[..., None]
        front = smoothstep(desk - 0.004, desk + 0.004, y)[..., None]
        wall = wall * (1 - front) + wood * front
    return to_uint8(wall)


def _slats(wall, x, y, aspect, rng):
    """Bars of light and a few out-of-focus lamps."""
    n = round(7 * max(1.0, aspect))
    for k in range(n):
        centre, width = (k + 0.5 + rng.uniform(-0.2, 0.2)) / n, rng.uniform(0.012, 0.03) / max(1.0, aspect)
        bar = np.exp(-(((x - centre) / width) ** 2)) * smoothstep(0, 0.1, y) * (1 - smoothstep(0.75, 0.95, y))
        wall = wall + bar[..., None] * LAMPS[rng.integers(3)] * f32(rng.uniform(0.15, 0.38))
    return _lamps(wall, x, y, aspect, rng, 26, 0.7)


def _lamps(wall, x, y, aspect, rng, n, lowest):
    for _ in range(n):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, lowest), rng.uniform(0.01, 0.03)
        away = np.hypot((x - cx) * aspect, y - cy)
        glow = (1 - smoothstep(r * 0.8, r, away)) * rng.uniform(0.03, 0.14)
        wall = wall + glow[..., None].astype(f32) * np.array([1.0, 0.8, 0.5], f32)
    return wall


def _shelves(wall, x, y, aspect, rng):
    """A book case."""
    wall, (h, w) = wall * f32(0.5), x.shape
    for row in range(5):
        top, bottom, left = row * 0.2 + 0.03, row * 0.2 + 0.185, 0.0
        while left < 1:
            width = rng.uniform(0.012, 0.035) / max(1.0, aspect * 0.8)
            high, colour = top + rng.uniform(0.0, 0.06), rng.uniform(0.08, 0.42, 3)
            if rng.random() < 0.9:
                grey = colour.mean()
                spine = wall[round(high * h) : round(bottom * h), round(left * w) : round((left + width * 0.93) * w)]
                spine[:] = grey + 0.6 * (colour - grey)
            left += width
        wall[round(bottom * h) : round((bottom + 0.016) * h)] = (0.34, 0.24, 0.16)
    return wall * (1.05 - 0.5 * np.abs(y - 0.4))[..., None]


def _skyline(wall, x, y, aspect, rng):
    """A city by night behind a window."""
    wall = wall * (0.5 + 0.9 * y)[..., None]
    h, w = x.shape
    panes = ((x * 46 * aspect) % 1 < 0.45) & ((y * 46) % 1 < 0.5)
    panes &= (rng.random((64, 96)) < 0.3)[(y * 46).astype(int) % 64, (x * 46 * aspect).astype(int) % 96]
    left = 0.0
    while left < 1:
        width, top = rng.uniform(0.05, 0.14) / max(1.0, aspect * 0.8), rng.uniform(0.35, 0.62)
        house = slice(round(top * h), h), slice(round(left * w), round((left + width) * w))
        wall[house] *= f32(rng.uniform(0.25, 0.5))
        wall[house] += panes[house][..., None] * np.array([0.42, 0.34, 0.18], f32)
        left += width
    bars = np.min([np.abs(x - c) for c in (0.0, 0.34, 0.66, 1.0)], 0) < 0.007
    return np.where(bars[..., None], np.array([0.10, 0.10, 0.12], f32), wall)


def _plain(wall, x, y, aspect, rng):
    """A wall with a soft spot of light."""
    cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    spot = np.exp(-(((x - cx) * aspect) ** 2 + (y - cy) ** 2) / 0.18)
    return wall + spot[..., None] * LAMPS[rng.integers(3)] * f32(rng.uniform(0.10, 0.25))


def paint_title(size: tuple[int, int], seed: int, title: str, subtitle: str = "") -> np.ndarray:
    """Return a title card, uint8 RGB (h, w, 3); letters outside ASCII are not drawn."""
    picture = paint_backdrop(size, seed, "slats")
    w, h = size
    top, bottom = int(0.38 * h), int(0.62 * h)
    picture[top:bottom] = picture[top:bottom] // 4 + np.array([14, 18, 34], np.uint8)
    picture[top : top + 3] = picture[bottom - 3 : bottom] = (230, 170, 60)
    for text, height, line in ((title, 0.085, 0.49), (subtitle, 0.042, 0.57)):
        _write(picture, text, height * h, int(line * h))
    return picture


def _write(picture, text, height_px, y):
    font, width = cv2.FONT_HERSHEY_DUPLEX, picture.shape[1]
    (w, h), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(height_px / h, 0.9 * width / max(w, 1))
    thickness = max(1, round(scale * 1.6))
    origin = (int((width - w * scale) / 2), y)
    cv2.putText(picture, text, origin, font, scale, (245, 240, 230), thickness, cv2.LINE_AA)
