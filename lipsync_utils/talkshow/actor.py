"""Who is on the show: an actor's looks and voice as numbers, the frozen cast, and further random actors."""

import json
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL.ImageColor import getrgb

LONG_HAIR = ("bob", "long")

# Inside these a face looks like a person; its rows and widths cover real ones (tests/tools/measure_proportions.py).
LOOK_BOUNDS = {
    "face_w": (0.92, 1.07),
    "jaw_w": (0.82, 1.14),
    "chin": (-0.06, 0.10),
    "chin_w": (0.80, 1.35),
    "forehead": (-0.06, 0.07),
    "eye_dx": (0.385, 0.455),
    "eye_w": (0.19, 0.235),
    "eye_h": (0.062, 0.098),
    "eye_tilt": (-0.02, 0.045),
    "brow_y": (-0.31, -0.20),
    "brow_th": (0.026, 0.060),
    "brow_arch": (0.02, 0.11),
    "nose_w": (0.85, 1.50),
    "nose_len": (-0.10, 0.10),
    "nose_h": (0.7, 1.2),
    "mouth_w": (0.32, 0.48),
    "mouth_y": (0.74, 0.94),
    "lip_up": (0.065, 0.125),
    "lip_lo": (0.09, 0.165),
    "bow": (0.4, 2.0),
    "smile": (-0.01, 0.035),
    "cheek": (0.1, 1.6),
    "blush": (0.0, 1.0),
    "age": (0.0, 1.0),
}


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice: name with variant ("nl+f4"), words per minute, pitch and pitch range (0..99).

    The breath of some variants (f2, f3, f5, whisper, Alicia, caleb, victor) is noise seeded by the clock.
    """

    name: str
    rate: int = 155
    pitch: int = 50
    range: int = 50

    @property
    def language(self) -> str:
        """ "nl" or "en"."""
        return self.name[:2]


@dataclass(frozen=True)
class Actor:
    """Looks and voice. Lengths are in head units (about 75 mm), colours are display (r, g, b) 0..255."""

    name: str
    voice: Voice
    seed: int
    skin: tuple
    face_w: float
    jaw_w: float
    chin: float  # extra length
    forehead: float  # extra height
    eye_dx: float  # from the middle line to a pupil
    eye_w: float
    eye_h: float
    eye_tilt: float  # outer corner raised
    iris: tuple
    brow_y: float
    brow_th: float
    brow_arch: float
    brow_col: tuple
    nose_w: float
    nose_len: float  # extra length
    nose_h: float
    mouth_w: float
    mouth_y: float
    lip_up: float
    lip_lo: float
    lip_col: tuple
    hair: str
    hair_col: tuple
    age: float
    cheek: float
    blush: float
    shirt: tuple
    chin_w: float = 1.0
    bow: float = 1.0  # how deep the dent of the upper lip is
    smile: float = 0.016  # how far the lip line drops in the middle
    hair_hl: float = -0.80  # y of the hairline
    fringe: float = 0.0
    freckles: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    stubble: float = 0.0
    beard_col: tuple = (60, 42, 30)
    glasses: float = 0.0  # thickness of the frame, 0: none
    glass_col: tuple = (25, 25, 28)
    tooth_h: float = 1.0
    tooth_col: tuple = (219, 212, 194)
    tongue_h: float = 1.0
    habit_side: float = 0.0  # opens more to one side, -1..1: right in the picture where positive
    habit_round: float = 0.0  # rounds the lips more, 0..1
    habit_teeth: float = 0.0  # shows more teeth, 0..1
    key_light: tuple = (-0.48, -0.62, 0.80)  # where the light comes from: x, y, towards the camera
    collar: str = "v"  # "v": jacket over a shirt, "crew": round neck, "shirt": shirt with a collar

    @property
    def nose_tip_y(self) -> float:
        """Where the tip of the nose is, head units."""
        return 0.42 + self.nose_len

    def lip_line(self, x):
        """Return the height of the closed mouth's line at x."""
        drop = self.smile * np.cos(np.clip(abs(x) / self.mouth_w, 0, 1) * np.float32(np.pi))
        return self.mouth_y + drop + 0.006 * np.exp(-((x / 0.05) ** 2))


def _from_json(values):
    """Turn a JSON object into a voice or an actor."""
    kind = Voice if "rate" in values else Actor
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@cache
def cast() -> dict[str, Actor]:
    """Return the frozen actors of the show by name; the host comes first."""
    text = Path(__file__).with_name("cast.json").read_text(encoding="utf-8")
    return {actor.name: actor for actor in json.loads(text, object_hook=_from_json)}


def host() -> Actor:
    """Return the host: the speaker that the course tunes on."""
    return next(iter(cast().values()))


def guests() -> tuple[Actor, ...]:
    """Return the guests, Dutch and English."""
    return tuple(cast().values())[1:]


SKINS = ("#ecc0b2", "#f2cbaa", "#e4b896", "#cd9c7a", "#b27e5c", "#8e5e42", "#6c4432")
HAIR_COLOURS = ("#16110f", "#2a1c14", "#4a301e", "#704a2a", "#b0844e", "#cda86e", "#ac5424")
GREYS = ("#969492", "#c4c2c0")
IRISES = ("#2c1c14", "#462e1c", "#605432", "#5a8264", "#607e9e")
GLASSES = ("#19191c", "#46301e", "#96825a", "#787c82", "#601e22")
TEETH = ("#dbd4c2", "#e8e4dc", "#cdbe9c", "#beb6aa")
BEARDS = ((0, 0, 0), (0, 0, 0.6), (0.9, 0.8, 0), (0.6, 0, 0.3), (0, 0.8, 0), (0, 0.7, 0.4), (0.75, 0.6, 0))
BEARD_SHARES = (0.4, 0.15, 0.12, 0.08, 0.1, 0.05, 0.1)


def random_actor(seed: int, language: str | None = None) -> Actor:
    """Invent an actor whose looks stay inside LOOK_BOUNDS.

    language: "nl" or "en", None: either. The same seed gives the same actor; none of the cast is among them.
    """
    rng = np.random.default_rng((seed, 7309))

    def number(low, high, digits=4):
        return round(rng.uniform(low, high), digits)

    def pick(*options):
        return options[rng.integers(len(options))]

    def near(colour, spread=10):  # a little lighter or darker, and hardly another hue
        shift = rng.uniform(-spread, spread) + rng.uniform(-2, 2, 3)
        return tuple(int(c) for c in np.clip(getrgb(colour) + shift, 8, 247))

    look = {key: number(*bounds) for key, bounds in LOOK_BOUNDS.items()}
    look["age"] = round(rng.beta(1.2, 2.0), 4)
    mouth_y = 0.42 + look["nose_len"] + look["lip_up"] + rng.uniform(0.26, 0.42)
    look["mouth_y"] = round(float(np.clip(mouth_y, *LOOK_BOUNDS["mouth_y"])), 4)
    male, depth = rng.random() < 0.5, rng.integers(len(SKINS))
    hair_col = pick(*HAIR_COLOURS[: 2 if depth >= 4 else None])
    if look["age"] > 0.55 and rng.random() < 0.7:
        hair_col = pick(*GREYS)
    brow_col = tuple(int(c * 0.75) for c in getrgb(hair_col))
    (r, g, b), lips = near(SKINS[depth], 6), rng.uniform(0.55, 0.9)
    look["hair"] = pick("short", "crop", "curly", "bald") if male else pick("bun", "bob", "long", "curly")
    either = pick("nl", "en")  # drawn in any case: the same person speaks both
    variant = f"m{rng.integers(7) + 1}" if male else pick("f1", "f4", "Annie", "anika", "belinda", "linda")
    pitch, rate, spread = (int(rng.integers(*ends)) for ends in ((28, 55) if male else (50, 76), (135, 180), (40, 70)))
    look |= {
        "voice": Voice(f"{language or either}+{variant}", rate, pitch, spread),
        "seed": int(rng.integers(1, 1_000_000)),
        "skin": (r, g, b),
        "lip_col": (int(r * min(1.0, lips + 0.22)), int(g * lips * 0.8), int(b * lips * 0.85)),
        "hair_col": near(hair_col),
        "brow_col": brow_col,
        "iris": near(pick(*IRISES)),
        "freckles": round(rng.uniform(0.4, 1.0) * bool(rng.random() < 0.2 and depth < 3), 2),
    }
    hue, strength, light = rng.random(), rng.beta(2, 2), rng.uniform(40, 200)
    look |= {
        "shirt": tuple(int(c) for c in hsv_to_rgb(hue, 0.8 * strength, light)),
        "glasses": float(rng.choice((0.0, 0.35, 0.6, 1.0), p=(0.7, 0.1, 0.1, 0.1))),
        "glass_col": near(pick(*GLASSES)),
        "tooth_h": number(0.6, 1.5, 2),
        "tooth_col": near(pick(*TEETH)),
        "tongue_h": number(0.6, 1.3, 2),
        "hair_hl": number(-0.88, -0.76, 3),
        "collar": pick("v", "crew", "shirt"),
        "fringe": pick(0.0, 0.0, 0.0, 0.55) * (look["hair"] != "bald"),
    }
    if male:
        look["beard"], look["moustache"], look["stubble"] = BEARDS[rng.choice(len(BEARDS), p=BEARD_SHARES)]
        look["beard_col"] = brow_col
    return Actor(f"actor{seed}", **look)
