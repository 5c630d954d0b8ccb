"""The pretraining data: many invented actors who talk, cut to faces the way stage 04 cuts them.

Nothing here is ever shown; what matters is variety: looks, voices, sentences, sizes, backdrops, head motion, light,
compression, and boxes that are a little off. The course's cast is not among the actors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import resample_poly

from .. import audio
from ..faces import extent
from ..project import atomic_folder
from ..talkshow import motion, viseme
from ..talkshow.actor import random_actor
from ..talkshow.face_state import mouth_opening
from ..talkshow.stage import single_shot
from ..talkshow.voice import speak
from ..windows import FACE_PX, ClipFaces
from .sentences import sentences

FPS = 25
HIGHER = 0.37  # the boxes of stage 04 begin so much above those of the talk show's ground truth, head units (measured)
LINES_PER_CLIP = 2
#: Seeds of the actors: the experts and the generator learn from different people than they are measured on.
TRAIN_SEED, INDEPENDENT_SEED, TEST_SEED = 100_000, 200_000, 900_000


@dataclass(frozen=True)
class ActorClip:
    """A clip of one invented actor: what training needs, and the true mouth opening (n,) per frame."""

    faces: ClipFaces
    opening: np.ndarray


def actor_clips(seed: int, seconds: float) -> list[ActorClip]:
    """Let one invented actor talk for about `seconds` seconds; the same seed gives the same clips."""
    rng = np.random.default_rng((seed, 5150))
    actor = random_actor(seed)
    lines = sentences(rng, actor.voice.language, LINES_PER_CLIP * (int(seconds / 6) + 2))
    spoken = speak([(line, actor.voice) for line in lines])
    clips, total_s = [], 0.0
    for k in range(0, len(spoken), LINES_PER_CLIP):
        if total_s >= seconds:
            break
        wav, held, n = _talk(spoken[k : k + LINES_PER_CLIP], rng)
        states = motion.play(
            actor, viseme.mouth_curves(held, n), FPS, int(rng.integers(1 << 30)), rng.uniform(0.3, 1.1)
        )
        faces = _film(actor, states, rng)
        mel = audio.melspectrogram(wav)
        name = f"actor{seed}"
        clip = ClipFaces(f"{name}_{len(clips):02d}", name, "train", faces, np.ones(n, bool), mel)
        clips.append(ActorClip(clip, np.array([mouth_opening(actor, s) for s in states], np.float32)))
        total_s += n / FPS
    return clips


def _talk(lines, rng):
    """Put lines one after the other: (sound at 16 kHz, visemes, number of frames)."""
    rate, now, held, placed = lines[0].rate_hz, rng.uniform(0.1, 0.4), [], []
    for line in lines:
        held += viseme.segments(line.phonemes, now)
        placed.append((round(now * rate), line.wav))
        now += line.length_s + rng.uniform(0.15, 0.5)
    n = int(now * FPS)
    sound = np.zeros(int(now * rate) + rate, np.float32)
    for start, wav in placed:
        sound[start : start + len(wav)] += wav
    sound = resample_poly(sound, audio.SAMPLE_RATE_HZ, rate)[: n * audio.SAMPLE_RATE_HZ // FPS]
    sound = sound * 10 ** (rng.uniform(-9, 3) / 20) + rng.normal(0, 10 ** (rng.uniform(-75, -50) / 20), len(sound))
    return np.clip(sound, -1, 1).astype(np.float32), held, n


def _film(actor, states, rng):
    """Draw every frame, cut out the face with a slightly wrong box, spoil it a little; uint8 BGR (n, 96, 96, 3)."""
    px_per_unit = rng.uniform(30, 95)
    side = int(3.4 * px_per_unit)
    shot = single_shot(
        actor,
        (side, int(1.3 * side)),
        int(rng.integers(1 << 30)),
        face=px_per_unit / (0.192 * side),
        at=(0.5, 0.48),
        grain=rng.uniform(0, 4),
    )
    look, wrong = _look(rng), _box_errors(rng, len(states))
    faces = np.empty((len(states), FACE_PX, FACE_PX, 3), np.uint8)
    truth = [shot.boxes([state])[0] for state in states]
    extents = np.array([[b.left, b.top - HIGHER * px_per_unit, b.right, b.bottom] for b in truth])
    extents = extent.smooth(extents) + wrong * px_per_unit
    for i, state in enumerate(states):
        left, top, right, bottom = extents[i]
        picture = shot.render([state], i)
        crop = picture[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right), ::-1]
        faces[i] = _spoil(crop, *look)
    return faces


def _box_errors(rng, n):
    """Errors of a face detector's box in head units (n, 4): a constant one, and one that wanders."""
    wander = rng.normal(0, 0.035, (n + 12, 4)) * rng.uniform(0, 1)
    smooth = np.stack([np.convolve(column, np.ones(9) / 3, "same") for column in wander.T], 1)[6 : 6 + n]
    return rng.normal(0, 0.05, 4) + smooth


def _look(rng):
    """A camera: tint, contrast, brightness, and the quality of its compression."""
    return rng.uniform(0.94, 1.06, 3), rng.uniform(0.85, 1.15), rng.normal(0, 8), int(rng.integers(60, 97))


def _spoil(crop_bgr, tint, contrast, brightness, quality):
    crop = np.clip((crop_bgr.astype(np.float32) * tint - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)
    crop = cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)


def write_actor(folder: Path, seed: int, seconds: float) -> Path:
    """Write one actor's clips to folder/<seed>/ unless they are there; returns that folder."""
    target = Path(folder) / str(seed)
    if not target.is_dir():
        with atomic_folder(target) as temporary:
            clips = actor_clips(seed, seconds)
            np.save(temporary / "faces.npy", np.concatenate([c.faces.faces for c in clips]))
            np.save(temporary / "mel.npy", np.concatenate([c.faces.mel for c in clips], axis=1))
            np.save(temporary / "opening.npy", np.concatenate([c.opening for c in clips]))
            sizes = [[c.faces.clip_id, len(c.opening), c.faces.mel.shape[1]] for c in clips]
            (temporary / "clips.json").write_text(json.dumps(sizes))
    return target


def read_actor(folder: Path, split: str = "train") -> list[ActorClip]:
    """Read what write_actor wrote; the faces stay on the disk until they are looked at."""
    folder = Path(folder)
    faces, mel = np.load(folder / "faces.npy", mmap_mode="r"), np.load(folder / "mel.npy")
    opening, clips, frame, column = np.load(folder / "opening.npy"), [], 0, 0
    for clip_id, n, columns in json.loads((folder / "clips.json").read_text()):
        clip = ClipFaces(
            clip_id,
            clip_id.rsplit("_", 1)[0],
            split,
            faces[frame : frame + n],
            np.ones(n, bool),
            mel[:, column : column + columns],
        )
        clips.append(ActorClip(clip, opening[frame : frame + n]))
        frame, column = frame + n, column + columns
    return clips
