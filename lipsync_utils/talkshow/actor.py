"""Who is on the show: an actor's looks and voice as numbers, the frozen cast, and further random actors."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import SettingError

BREATHY = ("Alicia", "Demonic", "Reed", "Storm", "caleb", "f2", "f3", "f5", "sandro", "victor", "whisper", "whisperf")
NOSE_TIP_Y = 0.42  # where nose_len is 0, head units
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
    """An espeak-ng voice: name with variant ("nl+f4"), words per minute, pitch and pitch range (0..99)."""

    name: str
    rate: int = 155
    pitch: int = 50
    range: int = 50

    def __post_init__(self):
        if self.name.partition("+")[2] in BREATHY:
            raise SettingError(f"voice {self.name}: its breath is noise seeded by the clock; use another variant")

    @property
    def language(self) -> str:
        """ "nl" or "en"."""
        return self.name[:2]


@dataclass(frozen=True)
class Actor:
    """Looks and voice. Lengths are in head units (about 75 mm), colours are display (r, g, b) 0..255."""

    name: str
    voice: Voice
    seed: int = 1
    skin: tuple = (222, 176, 148)
    face_w: float = 1.0
    jaw_w: float = 1.0
    chin: float = 0.0  # extra length
    chin_w: float = 1.0
    forehead: float = 0.0  # extra height
    eye_dx: float = 0.42  # from the middle line to a pupil
    eye_w: float = 0.205
    eye_h: float = 0.078
    eye_tilt: float = 0.02  # outer corner raised
    iris: tuple = (86, 110, 130)
    brow_y: float = -0.27
    brow_th: float = 0.045
    brow_arch: float = 0.06
    brow_col: tuple = (60, 42, 30)
    nose_w: float = 1.0
    nose_len: float = 0.0  # extra length
    nose_h: float = 1.0
    mouth_w: float = 0.36
    mouth_y: float = 0.86
    lip_up: float = 0.08
    lip_lo: float = 0.11
    bow: float = 1.0  # how deep the dent of the upper lip is
    smile: float = 0.016  # how far the lip line drops in the middle
    lip_col: tuple = (176, 96, 88)
    hair: str = "short"
    hair_col: tuple = (70, 48, 32)
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
    age: float = 0.2
    cheek: float = 1.0
    blush: float = 0.5
    shirt: tuple = (50, 70, 110)
    inner: tuple = (235, 235, 235)
    habit_side: float = 0.0  # opens more to one side, -1..1: right in the picture where positive
    habit_round: float = 0.0  # rounds the lips more, 0..1
    habit_teeth: float = 0.0  # shows more teeth, 0..1
    key_light: tuple = (-0.48, -0.62, 0.80)  # where the light comes from: x, y, towards the camera
    collar: str = "v"  # "v": jacket over a shirt, "crew": round neck, "shirt": shirt with a collar


@cache
def cast() -> dict[str, Actor]:
    """Return the frozen actors of the show by name; the host comes first."""
    found = json.loads(Path(__file__).with_name("cast.json").read_text(encoding="utf-8"))
    people = [{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()} for values in found]
    return {values["name"]: Actor(**values | {"voice": Voice(**values["voice"])}) for values in people}


def host() -> Actor:
    """Return the host: the speaker that the course tunes on."""
    return next(iter(cast().values()))


def guests() -> tuple[Actor, ...]:
    """Return the guests, Dutch and English."""
    return tuple(cast().values())[1:]


SKINS = (
    (236, 192, 178),
    (242, 203, 170),
    (228, 184, 150),
    (205, 156, 122),
    (178, 126, 92),
    (142, 94, 66),
    (108, 68, 50),
)
HAIR_COLOURS = ((22, 17, 15), (42, 28, 20), (74, 48, 30), (112, 74, 42), (176, 132, 78), (205, 168, 110), (172, 84, 36))
GREYS = ((150, 148, 146), (196, 194, 192))
IRISES = ((44, 28, 20), (70, 46, 28), (96, 84, 50), (90, 130, 100), (96, 126, 158))
GLASSES = ((25, 25, 28), (70, 48, 30), (150, 130, 90), (120, 124, 130), (96, 30, 34))
TEETH = ((219, 212, 194), (232, 228, 220), (205, 190, 156), (190, 182, 170))
BEARDS = ((0, 0, 0), (0, 0, 0.6), (0.9, 0.8, 0), (0.6, 0, 0.3), (0, 0.8, 0), (0, 0.7, 0.4), (0.75, 0.6, 0))
BEARD_SHARES = (0.4, 0.15, 0.12, 0.08, 0.1, 0.05, 0.1)
MALE_VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7")
FEMALE_VOICES = ("f1", "f4", "Annie", "anika", "belinda", "linda")


def random_actor(seed: int, language: str | None = None) -> Actor:
    """Invent an actor whose looks stay inside LOOK_BOUNDS.

    language: "nl" or "en", None: either. The same seed gives the same actor; none of the cast is among them.
    """
    rng = np.random.default_rng((seed, 7309))

    def number(low, high, digits=4):
        return round(float(rng.uniform(low, high)), digits)

    def pick(options):
        return options[int(rng.integers(len(options)))]

    def near(colour, spread=10):  # a little lighter or darker, and hardly another hue
        light = rng.uniform(-spread, spread)
        return tuple(int(np.clip(c + light + rng.uniform(-2, 2), 8, 247)) for c in colour)

    look = {key: number(*bounds) for key, bounds in LOOK_BOUNDS.items()}
    look["age"] = round(float(rng.beta(1.2, 2.0)), 4)
    mouth_y = NOSE_TIP_Y + look["nose_len"] + look["lip_up"] + rng.uniform(0.26, 0.42)
    look["mouth_y"] = round(float(np.clip(mouth_y, *LOOK_BOUNDS["mouth_y"])), 4)
    male, depth = bool(rng.random() < 0.5), int(rng.integers(len(SKINS)))
    hair_col = pick(HAIR_COLOURS[: 2 if depth >= 4 else None])
    if look["age"] > 0.55 and rng.random() < 0.7:
        hair_col = pick(GREYS)
    brow_col = tuple(int(c * 0.75) for c in hair_col)
    (r, g, b), lips = near(SKINS[depth], 6), rng.uniform(0.55, 0.9)
    hair = pick(("short", "crop", "curly", "bald") if male else ("bun", "bob", "long", "curly"))
    either = pick(("nl", "en"))  # drawn in any case: the same person speaks both
    variant, pitches = (pick(MALE_VOICES), (28, 55)) if male else (pick(FEMALE_VOICES), (50, 76))
    pitch, rate, spread = (int(rng.integers(*bounds)) for bounds in (pitches, (135, 180), (40, 70)))
    look |= {
        "voice": Voice(f"{language or either}+{variant}", rate, pitch, spread),
        "seed": int(rng.integers(1, 1_000_000)),
        "skin": (r, g, b),
        "lip_col": (int(r * min(1.0, lips + 0.22)), int(g * lips * 0.8), int(b * lips * 0.85)),
        "hair": hair,
        "hair_col": near(hair_col),
        "brow_col": brow_col,
        "iris": near(pick(IRISES)),
        "freckles": round(float(rng.uniform(0.4, 1.0) * (rng.random() < 0.2) * (depth < 3)), 2),
    }
    hue, strength, light = rng.random(), rng.beta(2, 2), rng.uniform(40, 200)
    wheel = np.clip(np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    look |= {
        "shirt": tuple(int(v) for v in light * (1 - 0.8 * strength * (1 - wheel))),
        "glasses": float(rng.choice((0.0, 0.35, 0.6, 1.0), p=(0.7, 0.1, 0.1, 0.1))),
        "glass_col": near(pick(GLASSES)),
        "tooth_h": number(0.6, 1.5, 2),
        "tooth_col": near(pick(TEETH)),
        "tongue_h": number(0.6, 1.3, 2),
        "hair_hl": number(-0.88, -0.76, 3),
        "collar": pick(("v", "crew", "shirt")),
        "fringe": float(pick((0, 0, 0, 0.55))) * (hair != "bald"),
    }
    if male:
        look["beard"], look["moustache"], look["stubble"] = BEARDS[int(rng.choice(len(BEARDS), p=BEARD_SHARES))]
        look["beard_col"] = brow_col
    return Actor(f"actor{seed}", **look)
