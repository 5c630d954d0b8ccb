"""The pretraining data: many invented actors who talk, cut to faces the way stage 04 cuts them.

Nothing here is ever shown; what matters is variety: looks, voices, sentences, sizes, backdrops, head motion, light,
compression, and boxes that are a little off. The course's cast is not among the actors.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.signal import resample_poly

from .. import audio
from ..faces.landmarks import BELOW_CHIN, BESIDE, FOREHEAD, smooth
from ..project import atomic_folder
from ..talkshow import Scene, random_actor
from ..talkshow.puppet import mouth_opening
from ..talkshow.speech import FPS, RATE_HZ, mouth_curves, play, speak
from ..talkshow.stage import Shot
from ..windows import FACE_PX, ClipFaces
from .augment import MARGIN_PX, centre

LINES_PER_CLIP = 2
STORED_PX = FACE_PX + 2 * MARGIN_PX
ARRAYS = "faces", "mel", "opening", "mouth", "sizes"  # the files of an actor; sizes: frames and mel columns per clip
#: Seeds of the actors: the experts and the generator learn from different people than they are measured on.
TRAIN_SEED, INDEPENDENT_SEED, READER_SEED, HABIT_SEED, TEST_SEED = 100_000, 200_000, 300_000, 800_000, 900_000
SHAPES = (
    "say who did what when",
    "who did what where",
    "who did what when where",
    "say who did what end",
    "who did what end",
)


class ActorClip(NamedTuple):
    """A clip of one invented actor: what training needs, and the truth per frame.

    opening: of the mouth (n,); mouth: jaw, width, rounding, teeth, tongue and press of FaceState (n, 6).
    """

    faces: ClipFaces
    opening: np.ndarray
    mouth: np.ndarray


def sentence(rng: np.random.Generator, language: str) -> str:
    """Make a sentence in "en" or "nl"; about ten million different ones exist in each."""
    words = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))[language]
    text = ""
    for kind in str(rng.choice(SHAPES)).split():
        part = str(rng.choice(words[kind]))
        text += ("" if not text else ". " if part[0].isupper() and text[-1] not in ".,:?" else " ") + part
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")


def write_actor(folder: Path, seed: int, seconds: float, language: str | None = None, habit: float = 0.0) -> Path:
    """Let an invented actor talk for about `seconds` seconds, unless folder/<seed>/ is there; returns that folder.

    The same seed gives the same clips. language: "nl" or "en", None: either; the actor looks the same in both, and a
    folder is made for one language. habit: how likely the mouth has one.
    """
    target = Path(folder) / str(seed)
    if target.is_dir():
        return target
    rng, actor = np.random.default_rng((seed, 5150)), random_actor(seed, language)
    if habit and rng.random() < habit:
        side, rounded, teeth = rng.uniform((-1, 0, 0), 1)
        actor = replace(actor, habit_side=side, habit_round=rounded, habit_teeth=teeth)
    n_clips, voice, made = int(seconds / 6) + 2, actor.voice, []
    spoken = speak([(sentence(rng, voice.language), voice) for _ in range(LINES_PER_CLIP * n_clips)])
    while sum(len(faces) for faces, *_ in made) < seconds * FPS and spoken:
        lines, spoken = spoken[:LINES_PER_CLIP], spoken[LINES_PER_CLIP:]
        wav, timed, n = _talk(lines, rng)
        curves, mel = mouth_curves(timed, n), audio.melspectrogram(wav)
        states = play(actor, curves, int(rng.integers(1 << 30)), rng.uniform(0.3, 1.1), _turns(n, rng))
        opening = np.float32([mouth_opening(actor, state) for state in states])
        made.append((_film(actor, states, rng), mel, opening, np.float32(curves), [[n, mel.shape[1]]]))
    with atomic_folder(target) as temporary:
        for name, parts in zip(ARRAYS, zip(*made)):
            np.save(temporary / f"{name}.npy", np.concatenate(parts, axis=int(name == "mel")))
    return target


def read_actor(folder: Path, split: str = "train") -> list[ActorClip]:
    """Read what write_actor wrote; the faces stay on the disk until they are looked at.

    split: "train": faces with a margin for `augment`, 128 px; otherwise the box itself, 96 px.
    """
    faces, mel, opening, mouth, sizes = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    faces, video_id, clips = faces if split == "train" else centre(faces), f"actor{Path(folder).name}", []
    frames, columns = sizes.cumsum(0)[:-1].T
    parts = np.split(faces, frames), np.split(mel, columns, 1), np.split(opening, frames), np.split(mouth, frames)
    for k, (seen, heard, *truth) in enumerate(zip(*parts)):
        clip = ClipFaces(f"{video_id}_{k:02d}", video_id, split, seen, np.ones(len(seen), bool), heard)
        clips.append(ActorClip(clip, *truth))
    return clips


def _talk(lines, rng):
    """Put lines one after the other: (sound at 16 kHz, lines with their starts in seconds, number of frames)."""
    now, timed, sound = rng.uniform(0.1, 0.4), [], np.zeros(0, np.float32)
    for line in lines:
        timed.append((now, line))
        sound = np.r_[sound, np.zeros(round(now * RATE_HZ) - len(sound), np.float32), line.wav]
        now += line.length_s + rng.uniform(0.15, 0.5)
    n = int(now * FPS)
    sound = np.pad(sound, (0, int(now * RATE_HZ) + RATE_HZ - len(sound)))
    sound = resample_poly(sound, audio.SAMPLE_RATE_HZ, RATE_HZ)[: n * audio.SAMPLE_RATE_HZ // FPS]
    sound = sound * 10 ** (rng.uniform(-9, 3) / 20) + rng.normal(0, 10 ** (rng.uniform(-75, -50) / 20), len(sound))
    return np.clip(sound, -1, 1).astype(np.float32), timed, n


def _turns(n, rng):
    """Slow turns of a talking head: yaw, pitch and roll to add, (3, n) radians."""
    at, spread = np.linspace(0, n - 1, max(2, n // 60)), np.array([0.22, 0.12, 0.09]) * rng.choice((0.3, 1.0, 1.8))
    return np.array([np.interp(range(n), at, rng.normal(rng.normal(0, s), s / 2, len(at))) for s in spread])


def _box(member, state):
    """The box (4,) that stage 04 would find: as faces.extent makes it from landmarks, here from the true places."""
    actor, half = member.actor, 0.96 * member.half_width
    brow = actor.brow_y - 0.6 * actor.brow_arch - 0.045 * state.brow - 0.045
    pairs = (half, 0.1), (0.93 * half, 0.6), (0.6 * half, 1.1), (actor.eye_dx, brow)
    at = [(0, actor.nose_tip_y + 0.12), (0, 1.39 + actor.chin + state.chin_drop)]
    at += [(side * x, y) for x, y in pairs for side in (-1, 1)]
    x, y = member.locate(at, state).T
    brow = y[8:].mean()
    top, bottom, beside = brow - FOREHEAD * (y[0] - brow), y[1:8].max(), BESIDE * np.ptp(x)
    return np.array([x.min() - beside, top, x.max() + beside, bottom + BELOW_CHIN * (bottom - top)])


def _film(actor, states, rng):
    """Draw every frame, cut out the face with a slightly wrong box, spoil it a little; uint8 BGR (n, 128, 128, 3)."""
    n, px_per_unit = len(states), rng.uniform(26, 90)
    size = side, _ = int(3.4 * px_per_unit), int(1.3 * int(3.4 * px_per_unit))
    actor = replace(actor, key_light=(*rng.uniform((-1.3, -1.0), (1.3, 0.1)), rng.uniform(0.3, 1.0)))
    seed, face = int(rng.integers(1 << 30)), px_per_unit / (0.192 * side)
    scene, grain = Scene("single", (actor,), (), seed, face, (0.5, 0.48)), rng.uniform(0, 9) * rng.choice((0.3, 1.0))
    shot, camera = Shot(scene, size, grain), _camera(rng)
    # a detector's errors, in head units: a constant one, and one that wanders
    wander = rng.normal(0, 0.035, (n + 12, 4)) * rng.uniform(0, 1)
    wander = np.stack([np.convolve(column, np.ones(9) / 3, "same") for column in wander.T], 1)[6 : 6 + n]
    wrong = (rng.normal(0, 0.05, 4) + wander) * px_per_unit
    boxes = smooth(np.array([_box(shot.members[0], state) for state in states])) + wrong
    cover, faces = _occluder(rng, n), []
    for i, (state, box) in enumerate(zip(states, boxes)):
        margin, (h, w) = MARGIN_PX / FACE_PX * (box[2:] - box[:2]), size[::-1]
        left, top, right, bottom = np.rint(box + [*-margin, *margin]).astype(int)
        at = np.ix_(np.arange(top, bottom).clip(0, h - 1), np.arange(left, right).clip(0, w - 1))  # edges repeat
        faces.append(camera(cover(shot.render([state], i)[at], i), i))
    return np.array(faces)


def _occluder(rng, n):
    """A hand, a microphone or a cup that now and then stands before a part of the face for a second or two."""
    if rng.random() > 0.2:
        return lambda crop, frame: crop
    start, length = rng.integers(n), rng.integers(20, 60)
    colour = (rng.uniform(20, 220) * rng.uniform(0.6, 1.0, 3)).astype(int).tolist()
    x, y = rng.choice((0.1, 0.25, 0.75, 0.9)), rng.uniform(0.5, 0.9)
    axes, angle = rng.uniform((0.11, 0.05), (0.3, 0.12)), rng.uniform(0, 180)

    def cover(crop, frame):
        if not start <= frame < start + length:
            return crop
        size = np.array(crop.shape[1::-1])
        middle, reach = ((part * size).astype(int) for part in ((x + 0.02 * np.sin(frame / 5), y), axes))
        return cv2.ellipse(np.ascontiguousarray(crop), middle, reach, angle, 0, 360, colour, -1, cv2.LINE_AA)

    return cover


def _camera(rng):
    """A camera and its light: colour cast, gamma, contrast, brightness, one side darker, compression, softness, motion
    blur. Most are good, some are bad in one way or another. Returns a function of a crop and a frame number that
    gives uint8 BGR (128, 128, 3)."""
    bad = rng.random(4) < 0.4
    cast = np.exp(rng.normal(0, 0.12 if bad[0] else 0.03, 3))
    level = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.3 if bad[1] else 0.1))
    level = (level * 255 * cast - 128) * rng.uniform(0.75, 1.2) + 128 + rng.normal(0, 12)
    table = np.clip(level, 0, 255).astype(np.uint8)[None]
    edge = STORED_PX / FACE_PX
    y, x = np.mgrid[-edge : edge : STORED_PX * 1j, -edge : edge : STORED_PX * 1j]
    slope = rng.normal(0, 0.25 if bad[2] else 0.05, 2)
    shade = np.exp(slope[0] * x + 0.5 * slope[1] * y)[..., None].astype(np.float32)
    angle, reach, kernel = rng.uniform(0, np.pi), rng.uniform(1, 3), np.zeros((7, 7), np.float32)
    end = np.rint(3 + reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    cv2.line(kernel, 6 - end, end, 1.0)
    soft = rng.uniform(0.4, 1.1) if bad[3] else 0
    quality = int(rng.integers(25, 60) if bad[1] else rng.integers(60, 97))

    def look(crop, frame):
        crop = cv2.LUT(np.ascontiguousarray(crop), table)
        crop = cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        crop = cv2.resize(crop, (STORED_PX, STORED_PX))
        if soft:
            crop = cv2.GaussianBlur(crop, (0, 0), soft)
            if frame // 8 % 5 == 0:
                crop = cv2.filter2D(crop, -1, kernel / kernel.sum())
        return np.clip(crop * shade, 0, 255).astype(np.uint8)

    return look
