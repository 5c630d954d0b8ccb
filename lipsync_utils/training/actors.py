"""The pretraining data: many invented actors who talk, cut to faces the way stage 04 cuts them.

Nothing here is ever shown; what matters is variety: looks, voices, sentences, sizes, backdrops, head motion, light,
compression, and boxes that are a little off. The course's cast is not among the actors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import resample_poly

from .. import audio
from ..faces import extent
from ..project import atomic_folder
from ..talkshow.actor import NOSE_TIP_Y, random_actor
from ..talkshow.mouth import mouth_opening
from ..talkshow.speech import mouth_curves, play, segments, speak
from ..talkshow.stage import single_shot
from ..windows import FACE_PX, ClipFaces
from .augment import MARGIN_PX, centre
from .sentences import sentences

FPS = 25
LINES_PER_CLIP = 2
STORED_PX = FACE_PX + 2 * MARGIN_PX
#: Seeds of the actors: the experts and the generator learn from different people than they are measured on.
TRAIN_SEED, INDEPENDENT_SEED, READER_SEED, HABIT_SEED, TEST_SEED = 100_000, 200_000, 300_000, 800_000, 900_000


@dataclass(frozen=True)
class ActorClip:
    """A clip of one invented actor: what training needs, and the truth per frame.

    opening: of the mouth (n,); mouth: jaw, width, rounding, teeth, tongue and press of FaceState (n, 6).
    """

    faces: ClipFaces
    opening: np.ndarray
    mouth: np.ndarray


def actor_clips(seed: int, seconds: float, language: str | None = None, habit: float = 0.0) -> list[ActorClip]:
    """Let one invented actor talk for about `seconds` seconds; the same seed gives the same clips.

    language: "nl" or "en", None: either. The actor looks the same in both. habit: how likely one of the mouth is.
    """
    rng = np.random.default_rng((seed, 5150))
    actor = random_actor(seed, language)
    if habit and rng.random() < habit:
        side, rounded, teeth = rng.uniform((-1, 0, 0), 1)
        actor = replace(actor, habit_side=side, habit_round=rounded, habit_teeth=teeth)
    lines = sentences(rng, actor.voice.language, LINES_PER_CLIP * (int(seconds / 6) + 2))
    spoken = speak([(line, actor.voice) for line in lines])
    clips, total_s = [], 0.0
    for k in range(0, len(spoken), LINES_PER_CLIP):
        if total_s >= seconds:
            break
        wav, held, n = _talk(spoken[k : k + LINES_PER_CLIP], rng)
        curves = mouth_curves(held, n)
        states = play(actor, curves, FPS, int(rng.integers(1 << 30)), rng.uniform(0.3, 1.1))
        states = _turn_heads(states, rng)
        faces = _film(actor, states, rng)
        mel = audio.melspectrogram(wav)
        name = f"actor{seed}"
        clip = ClipFaces(f"{name}_{len(clips):02d}", name, "train", faces, np.ones(n, bool), mel)
        opening = np.array([mouth_opening(actor, s) for s in states], np.float32)
        mouth = np.array([[s.jaw, s.width, s.rounding, s.teeth, s.tongue, s.press] for s in states], np.float32)
        clips.append(ActorClip(clip, opening, mouth))
        total_s += n / FPS
    return clips


def _talk(lines, rng):
    """Put lines one after the other: (sound at 16 kHz, visemes, number of frames)."""
    rate, now, held, placed = lines[0].rate_hz, rng.uniform(0.1, 0.4), [], []
    for line in lines:
        held += segments(line.phonemes, now)
        placed.append((round(now * rate), line.wav))
        now += line.length_s + rng.uniform(0.15, 0.5)
    n = int(now * FPS)
    sound = np.zeros(int(now * rate) + rate, np.float32)
    for start, wav in placed:
        sound[start : start + len(wav)] += wav
    sound = resample_poly(sound, audio.SAMPLE_RATE_HZ, rate)[: n * audio.SAMPLE_RATE_HZ // FPS]
    sound = sound * 10 ** (rng.uniform(-9, 3) / 20) + rng.normal(0, 10 ** (rng.uniform(-75, -50) / 20), len(sound))
    return np.clip(sound, -1, 1).astype(np.float32), held, n


def _turn_heads(states, rng):
    """Turn a talking head for a while by up to 35 degrees, bend it by up to 20 and tilt it by up to 15."""
    n = len(states)
    at = np.linspace(0, n - 1, max(2, n // 60))
    spread = np.array([0.22, 0.12, 0.09]) * rng.choice((0.3, 1.0, 1.8))
    yaw, pitch, roll = (np.interp(range(n), at, rng.normal(rng.normal(0, s), s / 2, len(at))) for s in spread)
    return [
        replace(
            state,
            yaw=float(np.clip(state.yaw + yaw[k], -0.61, 0.61)),
            pitch=float(np.clip(state.pitch + pitch[k], -0.2, 0.35)),
            roll=float(np.clip(state.roll + roll[k], -0.26, 0.26)),
        )
        for k, state in enumerate(states)
    ]


def extent_of(member, state) -> np.ndarray:
    """The box (4,) that stage 04 would find: as faces.extent makes it from landmarks, here from the true places."""
    actor, place = member.actor, member.place
    brow, half = actor.brow_y - 0.6 * actor.brow_arch - 0.045 * state.brow - 0.045, 0.96 * member.half_width
    at = [(-half, 0.1), (half, 0.1), (-0.93 * half, 0.6), (0.93 * half, 0.6), (-0.6 * half, 1.1), (0.6 * half, 1.1)]
    at += [(0, 1.39 + actor.chin + state.chin_drop), (0, NOSE_TIP_Y + actor.nose_len + 0.12)]
    at += [(-actor.eye_dx, brow), (actor.eye_dx, brow)]
    x, y = np.transpose([member.puppet.locate(*point, state) for point in at])
    top = y[8:].mean() - extent.FOREHEAD * (y[7] - y[8:].mean())
    bottom, beside = y[:7].max(), extent.BESIDE * np.ptp(x)
    box = np.array([x.min() - beside, top, x.max() + beside, bottom + extent.BELOW_CHIN * (bottom - top)])
    return box * place.px_per_unit + np.tile((place.cx, place.cy), 2)


def _film(actor, states, rng):
    """Draw every frame, cut out the face with a slightly wrong box, spoil it a little; uint8 BGR (n, 96, 96, 3)."""
    px_per_unit = rng.uniform(26, 90)
    side = int(3.4 * px_per_unit)
    actor = replace(actor, key_light=(*rng.uniform((-1.3, -1.0), (1.3, 0.1)), rng.uniform(0.3, 1.0)))
    shot = single_shot(
        actor,
        (side, int(1.3 * side)),
        int(rng.integers(1 << 30)),
        face=px_per_unit / (0.192 * side),
        at=(0.5, 0.48),
        grain=rng.uniform(0, 9) * rng.choice((0.3, 1.0)),
    )
    look, wrong = Look.random(rng), _box_errors(rng, len(states))
    faces = np.empty((len(states), STORED_PX, STORED_PX, 3), np.uint8)
    extents = np.array([extent_of(shot.members[0], state) for state in states])
    extents = extent.smooth(extents) + wrong * px_per_unit
    covers = _occluder(rng, len(states))
    for i, state in enumerate(states):
        crop = _with_margin(shot.render([state], i), extents[i])[..., ::-1]
        faces[i] = look(covers(crop, i), i)
    return faces


def _with_margin(picture, extent_px):
    """Cut out a box and MARGIN_PX / FACE_PX of its size on every side; the picture's edge is repeated outside."""
    left, top, right, bottom = extent_px
    share = MARGIN_PX / FACE_PX
    across, down = (right - left) * share, (bottom - top) * share
    left, top, right, bottom = (round(v) for v in (left - across, top - down, right + across, bottom + down))
    height, width, _ = picture.shape
    rows, columns = np.arange(top, bottom).clip(0, height - 1), np.arange(left, right).clip(0, width - 1)
    return picture[rows[:, None], columns]


def _box_errors(rng, n):
    """Errors of a face detector's box in head units (n, 4): a constant one, and one that wanders."""
    wander = rng.normal(0, 0.035, (n + 12, 4)) * rng.uniform(0, 1)
    smooth = np.stack([np.convolve(column, np.ones(9) / 3, "same") for column in wander.T], 1)[6 : 6 + n]
    return rng.normal(0, 0.05, 4) + smooth


def _occluder(rng, n):
    """A hand, a microphone or a cup that now and then stands before a part of the face for a second or two."""
    if rng.random() > 0.2:
        return lambda crop, frame: crop
    start, length = int(rng.integers(n)), int(rng.integers(20, 60))
    colour = tuple(int(v) for v in rng.uniform(20, 220) * rng.uniform(0.6, 1.0, 3))
    x, y = rng.choice((0.1, 0.25, 0.75, 0.9)), rng.uniform(0.5, 0.9)
    long, wide, angle = rng.uniform(0.11, 0.3), rng.uniform(0.05, 0.12), rng.uniform(0, 180)

    def cover(crop, frame):
        if not start <= frame < start + length:
            return crop
        h, w = crop.shape[:2]
        x_now = x + 0.02 * np.sin(frame / 5)
        crop = np.ascontiguousarray(crop)
        return cv2.ellipse(
            crop, (int(x_now * w), int(y * h)), (int(long * w), int(wide * h)), angle, 0, 360, colour, -1, cv2.LINE_AA
        )

    return cover


@dataclass(frozen=True)
class Look:
    """A camera and its light: colour cast, gamma, contrast, brightness, how one side is darker, softness, motion blur,
    and the quality of its compression."""

    table: np.ndarray
    shade: np.ndarray
    soft: float
    kernel: np.ndarray
    blurred: float
    quality: int

    @classmethod
    def random(cls, rng):
        """Most cameras are good, some are bad in one way or another."""
        bad = rng.random(4) < 0.4
        cast = np.exp(rng.normal(0, 0.12 if bad[0] else 0.03, 3))
        level = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.3 if bad[1] else 0.1))
        level = (level * 255 * cast - 128) * rng.uniform(0.75, 1.2) + 128 + rng.normal(0, 12)
        edge = STORED_PX / FACE_PX
        y, x = np.mgrid[-edge : edge : STORED_PX * 1j, -edge : edge : STORED_PX * 1j]
        slope = rng.normal(0, 0.25 if bad[2] else 0.05, 2)
        shade = np.exp(slope[0] * x + 0.5 * slope[1] * y)[..., None]
        angle, reach = rng.uniform(0, np.pi), rng.uniform(1, 3)
        kernel = np.zeros((7, 7), np.float32)
        end = np.round(3 + reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(kernel, tuple(map(int, 6 - end)), tuple(map(int, end)), 1.0)
        soft, blurred = (rng.uniform(0.4, 1.1), 0.2) if bad[3] else (0.0, 0.0)
        quality = int(rng.integers(25, 60) if bad[1] else rng.integers(60, 97))
        table = np.clip(level, 0, 255).astype(np.uint8)[None]
        return cls(table, shade.astype(np.float32), soft, kernel / kernel.sum(), blurred, quality)

    def __call__(self, crop_bgr: np.ndarray, frame: int) -> np.ndarray:
        """Return the crop as this camera sees it, uint8 BGR (128, 128, 3)."""
        crop = cv2.LUT(np.ascontiguousarray(crop_bgr), self.table)
        crop = cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1], cv2.IMREAD_COLOR)
        crop = cv2.resize(crop, (STORED_PX, STORED_PX), interpolation=cv2.INTER_LINEAR)
        if self.soft:
            crop = cv2.GaussianBlur(crop, (0, 0), self.soft)
        if self.blurred and frame // 8 % 5 == 0:
            crop = cv2.filter2D(crop, -1, self.kernel)
        return np.clip(crop * self.shade, 0, 255).astype(np.uint8)


def write_actor(folder: Path, seed: int, seconds: float, language: str | None = None, habit: float = 0.0) -> Path:
    """Write one actor's clips to folder/<seed>/ unless they are there; returns that folder. language: see actor_clips.

    A folder is made for one language: what is there is not looked at.
    """
    target = Path(folder) / str(seed)
    if not target.is_dir():
        with atomic_folder(target) as temporary:
            clips = actor_clips(seed, seconds, language, habit)
            np.save(temporary / "faces.npy", np.concatenate([c.faces.faces for c in clips]))
            np.save(temporary / "mel.npy", np.concatenate([c.faces.mel for c in clips], axis=1))
            np.save(temporary / "opening.npy", np.concatenate([c.opening for c in clips]))
            np.save(temporary / "mouth.npy", np.concatenate([c.mouth for c in clips]))
            sizes = [[c.faces.clip_id, len(c.opening), c.faces.mel.shape[1]] for c in clips]
            (temporary / "clips.json").write_text(json.dumps(sizes))
    return target


def read_actor(folder: Path, split: str = "train") -> list[ActorClip]:
    """Read what write_actor wrote; the faces stay on the disk until they are looked at.

    split: "train": faces with a margin for `augment`, 128 px; otherwise the box itself, 96 px.
    """
    folder = Path(folder)
    faces, mel = np.load(folder / "faces.npy", mmap_mode="r"), np.load(folder / "mel.npy")
    faces = faces if split == "train" else centre(faces)
    opening, mouth = np.load(folder / "opening.npy"), np.load(folder / "mouth.npy")
    clips, frame, column = [], 0, 0
    for clip_id, n, columns in json.loads((folder / "clips.json").read_text()):
        clip = ClipFaces(
            clip_id,
            clip_id.rsplit("_", 1)[0],
            split,
            faces[frame : frame + n],
            np.ones(n, bool),
            mel[:, column : column + columns],
        )
        clips.append(ActorClip(clip, opening[frame : frame + n], mouth[frame : frame + n]))
        frame, column = frame + n, column + columns
    return clips
