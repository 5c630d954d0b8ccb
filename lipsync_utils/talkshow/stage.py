"""Shots: studio walls, a desk, a title card, actors before them, drawn frame by frame with the boxes of their faces."""

from pathlib import Path

import cv2
import numpy as np

from .. import media
from .actor import Actor, cast
from .canvas import blur, f32, rgb, to_8bit
from .curves import fall, hump, mix, rise
from .puppet import FaceState, Puppet, lay_over
from .script import Scene

DESK = 0.84  # height of the desk's edge in a group shot, fraction of the picture
SEATS = (0.185, 0.40, 1.0), (0.815, 0.40, 1.0), (0.5, 0.43, 1.04)  # eyes and size; the last one sits in front
GRAIN = 2.2  # standard deviation of the camera's noise, of 255
N_GRAINS = 5
TONES = ((0.16, 0.24, 0.42), (0.30, 0.20, 0.30), (0.14, 0.32, 0.34), (0.30, 0.26, 0.18), (0.24, 0.26, 0.30))
LAMPS = rgb(1.0, 0.72, 0.38), rgb(0.45, 0.7, 1.0), rgb(0.9, 0.45, 0.6)


class Shot:
    """A scene in a picture of a size (width, height): `render` draws a frame of its members."""

    def __init__(self, scene: Scene, size: tuple, grain: float = GRAIN):
        (w, h), kind, seed, desk = size, scene.kind, scene.seed, DESK if scene.kind in ("group", "empty") else 1
        self._base = wall = paint_backdrop(size, seed, {"title": "slats", "inset": "plain"}.get(kind), desk)
        self._front = wall[int(desk * h) :].copy()
        places = [(0.192 * min(w, h) * scene.face, scene.at[0] * w, scene.at[1] * h)]
        if kind == "title":
            _write_title(wall, scene.title, scene.subtitle)
        elif kind == "group":
            places = [(min(0.104 * w, 0.145 * h) * k, x * w, y * h) for x, y, k in SEATS]
        elif kind == "inset":
            left, top, right, bottom = int(0.05 * w), int(0.16 * h), int(0.42 * w), int(0.60 * h)
            wide, high, screen = right - left, bottom - top, np.s_[top:bottom, left:right]
            small = min(0.155 * high, 0.17 * wide), (left + right) / 2, top + 0.42 * high
            places = [(min(0.19 * h, 0.23 * w * 0.5), 0.74 * w, 0.42 * h), small]
            wall[top - 4 : bottom + 4, left - 4 : right + 4] = (16, 16, 20)
            wall[screen] = paint_backdrop((wide, high), seed + 1, "skyline")
        self.members = [Puppet(actor, size, *place) for actor, place in zip(scene.people, places)]
        for member in self.members:
            body, (x, y) = member.body, member.body_at
            if kind == "inset" and member is self.members[1]:  # cut to the screen
                shown = np.zeros((h, w, 1), np.uint8)
                shown[screen] = 1
                body *= shown[y:, x : x + body.shape[1]]
            lay_over(wall, body, x, y)
        rng = np.random.default_rng((seed, 5))
        self._grain = [rng.normal(0, grain, (h, w, 3)).astype(np.int16) for _ in range(N_GRAINS)]

    def render(self, states: list[FaceState], frame: int) -> np.ndarray:
        """Return uint8 BGR (h, w, 3). states: one per member; frame: chooses the grain."""
        picture = self._base.copy()
        for member, state in zip(self.members, states, strict=True):
            member.draw(picture, state)
        picture[len(picture) - len(self._front) :] = self._front
        picture = cv2.add(picture, self._grain[frame % N_GRAINS], dtype=cv2.CV_8U)
        return cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)


def portrait(path: Path, actor: Actor, size=(360, 360), seed: int = 0) -> Path:
    """Write a reference picture of an actor; the suffix of path says how (.png, .jpg)."""
    scene = Scene("single", (actor,), seed=seed, at=(0.5, 0.46))
    return media.write_picture(path, Shot(scene, size).render([FaceState()], 0))


def group_picture(path: Path, actors: list[Actor], size=(640, 480), seed: int = 0) -> Path:
    """Write a picture of up to three actors behind a desk."""
    states = [FaceState(yaw=y, roll=r) for y, r in ((0.08, 0.02), (-0.08, -0.02), (0, 0.01))][: len(actors)]
    return media.write_picture(path, Shot(Scene("group", tuple(actors), seed=seed), size).render(states, 0))


def render_pictures(folder: Path) -> dict[str, Path]:
    """Write group.png (host and two guests) and a reference picture of every actor; returns them by name."""
    folder, people = Path(folder), cast().values()
    paths = {a.name: portrait(folder / f"{a.name.lower()}.png", a, seed=k) for k, a in enumerate(people)}
    return {"group": group_picture(folder / "group.png", list(people)[:3], seed=3), **paths}


def paint_backdrop(size, seed, style=None, desk=1):
    """Return a wall, uint8 RGB (h, w, 3).

    size: (w, h); style: of STYLES, None: any; desk: y of a table's edge as a fraction of h.
    """
    rng, (w, h) = np.random.default_rng((seed, 11)), size
    y, x = np.mgrid[:h, :w].astype(f32)
    y, x = y / h, x / w
    style, tone = style or list(STYLES)[rng.integers(len(STYLES))], rgb(*TONES[rng.integers(len(TONES))])
    wall = tone * ((1.15 - 0.7 * abs(y - 0.35)) * (1.1 - 0.5 * abs(x - 0.5)))
    wall = np.dstack(STYLES[style](wall, x, y, w / h, rng))
    wall = blur(wall.clip(0, 1), 2.2 * max(h, w) / 640)
    if desk < 1:
        wood = rgb(0.42, 0.27, 0.17) * (1 + 0.05 * np.sin(x * 60 + 6 * np.sin(y * 9)))
        wood *= 1 - 0.45 * rise(desk + 0.05, desk + 0.055, y)
        wall = mix(wall, np.dstack(wood), rise(desk - 0.004, desk + 0.004, y)[..., None])
    return to_8bit(wall)


def _slats(wall, x, y, aspect, rng):
    """Bars of light and a few out-of-focus lamps."""
    wide = max(1.0, aspect)
    n = round(7 * wide)
    for k in range(n):
        centre, width = (k + 0.5 + rng.uniform(-0.2, 0.2)) / n, rng.uniform(0.012, 0.03) / wide
        bar = hump(x - centre, width) * rise(0, 0.1, y) * fall(0.75, 0.95, y)
        wall = wall + bar * LAMPS[rng.integers(3)] * rng.uniform(0.15, 0.38)
    for _ in range(26):
        cx, cy, r = rng.uniform((0, 0, 0.01), (1, 0.7, 0.03)).tolist()
        glow = fall(r * 0.8, r, np.hypot((x - cx) * aspect, y - cy))
        wall = wall + glow * rng.uniform(0.03, 0.14) * rgb(1.0, 0.8, 0.5)
    return wall


def _shelves(wall, x, y, aspect, rng):
    """A book case."""
    wall, (h, w), wide = wall * 0.5, x.shape, max(1.0, aspect * 0.8)
    for row in range(5):
        top, bottom, left = row * 0.2 + 0.03, row * 0.2 + 0.185, 0.0
        while left < 1:
            width, high, colour = rng.uniform(0.012, 0.035) / wide, rng.uniform(0.0, 0.06), rng.uniform(0.08, 0.42, 3)
            if rng.random() < 0.9:
                place, grey = np.s_[round(left * w) : round((left + width * 0.93) * w)], colour.mean()
                wall[:, round((top + high) * h) : round(bottom * h), place] = rgb(*(grey + 0.6 * (colour - grey)))
            left += width
        wall[:, round(bottom * h) : round((bottom + 0.016) * h)] = rgb(0.34, 0.24, 0.16)
    return wall * (1.05 - 0.5 * abs(y - 0.4))


def _skyline(wall, x, y, aspect, rng):
    """A city by night behind a window."""
    wall, left, (h, w) = wall * (0.5 + 0.9 * y), 0.0, x.shape
    row, column = y * 46, x * 46 * aspect
    panes = (column % 1 < 0.45) & (row % 1 < 0.5)
    panes &= (rng.random((64, 96)) < 0.3)[row.astype(int) % 64, column.astype(int) % 96]
    while left < 1:
        width, top = rng.uniform(0.05, 0.14) / max(1.0, aspect * 0.8), rng.uniform(0.35, 0.62)
        house = np.s_[..., round(top * h) :, round(left * w) : round((left + width) * w)]
        wall[house] *= rng.uniform(0.25, 0.5)
        wall[house] += panes[house] * rgb(0.42, 0.34, 0.18)
        left += width
    frame = np.min([abs(x - c) for c in (0.0, 0.34, 0.66, 1.0)], 0) < 0.007
    return np.where(frame, rgb(0.10, 0.10, 0.12), wall)


def _plain(wall, x, y, aspect, rng):
    """A wall with a soft spot of light."""
    cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    spot = np.exp(-(((x - cx) * aspect) ** 2 + (y - cy) ** 2) / 0.18)
    return wall + spot * LAMPS[rng.integers(3)] * rng.uniform(0.10, 0.25)


STYLES = {"slats": _slats, "shelves": _shelves, "skyline": _skyline, "plain": _plain}


def _write_title(picture, title, subtitle):
    """Make a wall a title card, in place; letters outside ASCII are not drawn."""
    height, width, _ = picture.shape
    top, bottom, font = int(0.38 * height), int(0.62 * height), cv2.FONT_HERSHEY_DUPLEX
    picture[top:bottom] = picture[top:bottom] // 4 + np.uint8([14, 18, 34])
    picture[top : top + 3] = picture[bottom - 3 : bottom] = (230, 170, 60)
    for text, tall, line in ((title, 0.085, 0.49), (subtitle, 0.042, 0.57)):
        (w, h), _ = cv2.getTextSize(text, font, 1.0, 2)
        scale = min(tall * height / h, 0.9 * width / max(w, 1))
        corner = int((width - w * scale) / 2), int(line * height)
        cv2.putText(picture, text, corner, font, scale, (245, 240, 230), max(1, round(scale * 1.6)), cv2.LINE_AA)
