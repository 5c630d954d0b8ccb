"""How actors speak: lines in, sound and phonemes out (espeak-ng in a process of its own), then moving mouths and heads.

Phonemes become mouth movement by viseme targets, blended by dominance functions (Cohen and Massaro, 1993).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d

from ..errors import MediaError
from .actor import Actor, Voice
from .puppet import FaceState

WORKER = Path(__file__).with_name("espeak_worker.py")
LEVEL_DBFS = -20.0  # root mean square of a line where it is heard
LONGEST_GAP_S = 0.15  # silences inside a line are cut to this: only the script's pauses split a talk
INAUDIBLE_DBFS = -33.0  # espeak-ng fades out over up to 0.2 s; a line ends where less than this is left
BLOCK_S = 0.02
LIFT_BELOW_DBFS, LIFT_DB = -24.0, 12.0
LEAD_S = 0.03  # the mouth moves before the sound
JAW_GAIN = 1.25
SHORTEST_REST_S = 0.15
OVERSAMPLING = 4
TRACKS = ("jaw", "width", "rounding", "teeth", "tongue", "press")
BLINK_HALF_S = 0.09
POSES = (  # how far (radians) and how fast (Hz) a head sways; what talking adds; limits: see FaceState
    ("yaw", (0.10, 0.11, 0.23, 0.37), (0.07, 0.5, 0.8), (-0.61, 0.61)),
    ("pitch", (0.03, 0.13, 0.31), (0.035, 0.9, 1.4), (-0.2, 0.35)),
    ("roll", (0.045, 0.09, 0.21), (0.03, 0.45, 0.7), (-0.26, 0.26)),
)

# what is held while these IPA symbols sound: jaw 0..1, width -1..1, rounding, teeth, tongue, press 0..1; then, where it
# is not a vowel, how strongly it holds against its neighbours, and how far it reaches in seconds
REST = (0, 0, 0, 0, 0, 0, 1.2, 0.06)
VISEMES = {
    "aæɐ": (0.8, 0.1, 0, 0.25, 0.1, 0),
    "ɑɒʌ": (0.95, 0, 0.05, 0.15, 0.1, 0),
    "e": (0.42, 0.45, 0, 0.45, 0.2, 0),
    "ɛɜ": (0.6, 0.3, 0, 0.4, 0.2, 0),
    "i": (0.18, 0.75, 0, 0.6, 0.2, 0),
    "ɪɨ": (0.28, 0.4, 0, 0.45, 0.2, 0),
    "oʊ": (0.42, -0.2, 0.75, 0.05, 0, 0),
    "ɔ": (0.55, -0.1, 0.55, 0.1, 0, 0),
    "u": (0.18, -0.35, 1.0, 0, 0, 0),
    "yʏ": (0.16, -0.3, 0.9, 0.1, 0, 0),
    "øœɵ": (0.35, -0.1, 0.65, 0.15, 0, 0),
    "əɚɝᵻ": (0.32, 0.05, 0.05, 0.3, 0.1, 0),
    "pbm": (0, 0, 0, 0, 0, 0.75, 6.0, 0.045),
    "fvʋ": (0.06, 0.1, 0, 0.7, 0, 0.3, 4.0, 0.05),
    "θð": (0.18, 0.1, 0, 0.5, 0.8, 0, 1.6, 0.05),
    "tdnɾ": (0.16, 0.2, 0, 0.5, 0.4, 0, 0.9, 0.045),
    "lɫ": (0.28, 0.15, 0, 0.4, 0.9, 0, 1.1, 0.05),
    "sz": (0.06, 0.4, 0, 0.85, 0, 0, 1.6, 0.05),
    "ʃʒ": (0.12, -0.2, 0.55, 0.65, 0, 0, 2.5, 0.06),
    "kɡgŋxɣχʁ": (0.25, 0.15, 0, 0.3, 0.1, 0, 0.5, 0.05),
    "rɹɻʀ": (0.22, -0.1, 0.35, 0.25, 0.2, 0, 0.8, 0.06),
    "w": (0.1, -0.3, 0.85, 0, 0, 0, 2.5, 0.07),
    "jç": (0.16, 0.5, 0, 0.5, 0.2, 0, 1.0, 0.05),
    "hɦʔ": None,  # the shape of its neighbours
}
VOWEL_DOMINANCE = (1.4, 0.07)
SHAPES = {symbol: row for symbols, row in VISEMES.items() for symbol in symbols}


class Phoneme(NamedTuple):
    """One sound of a line, seconds from the line's start; symbol in IPA."""

    start_s: float
    end_s: float
    symbol: str


class Speech(NamedTuple):
    """One spoken line: text, sound (float32 in [-1, 1] at rate_hz), phonemes; it starts and ends with a phoneme."""

    text: str
    wav: np.ndarray
    rate_hz: int
    phonemes: list[Phoneme]

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return len(self.wav) / self.rate_hz


def speak(lines: list[tuple[str, Voice]]) -> list[Speech]:
    """Speak lines (text, voice) in this order in a fresh process, so that the same list gives the same samples.

    Raises MediaError when espeak-ng cannot speak a line (unknown voice, nothing to say).
    """
    wanted = json.dumps([{"text": text, **vars(voice)} for text, voice in lines])
    done = subprocess.run([sys.executable, WORKER], input=wanted, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr[-800:]
        raise MediaError(f"espeak-ng could not speak {len(lines)} lines; check voice names and texts\n{words}")
    rate_hz, spoken = json.loads(done.stdout)
    return [_tidy(text, rate_hz, *line) for (text, _), line in zip(lines, spoken)]


def is_pause(symbol: str) -> bool:
    """Say whether an espeak phoneme is a silence."""
    return symbol.strip() == "" or symbol.startswith("_")


def _tidy(text, rate_hz, events, pcm) -> Speech:
    """Cut silence off both ends, shorten long gaps, set the level."""
    wav = np.frombuffer(bytes.fromhex(pcm), "<i2").astype(np.float32) / 32768
    edges = [round(start_s * rate_hz) for start_s, _ in events] + [len(wav)]
    timeline = [(a, b, symbol) for a, b, (_, symbol) in zip(edges, edges[1:], events) if b > a]
    sounding = [k for k, (*_, symbol) in enumerate(timeline) if not is_pause(symbol)]
    if not sounding:
        raise MediaError(f"espeak-ng found nothing to say in {text!r}")
    pieces, phonemes, now, silent = [], [], 0, 0
    for a, b, symbol in timeline[sounding[0] : sounding[-1] + 1]:
        if is_pause(symbol):
            b = min(b, a + round(LONGEST_GAP_S * rate_hz) - silent)
        silent = silent + b - a if is_pause(symbol) else 0
        if b > a:
            pieces.append(wav[a:b])
            phonemes.append(Phoneme(now / rate_hz, (now + b - a) / rate_hz, symbol))
            now += b - a
    wav = np.concatenate(pieces)
    level = np.sqrt(np.mean(np.square(wav[abs(wav) > 0.01], dtype=np.float64)))
    wav = _lift_soft_sounds(wav * np.float32(10 ** (LEVEL_DBFS / 20) / level), rate_hz)
    start_s, _, symbol = phonemes.pop()
    block, end, earliest = round(BLOCK_S * rate_hz), len(wav), round((start_s + BLOCK_S) * rate_hz)
    while end - block > earliest and np.mean(wav[end - block : end] ** 2) < 10 ** (INAUDIBLE_DBFS / 10):
        end -= block // 2
    return Speech(text, wav[:end], rate_hz, [*phonemes, Phoneme(start_s, end / rate_hz, symbol)])


def _lift_soft_sounds(wav, rate_hz):
    """Make soft sounds up to LIFT_DB louder, as a broadcaster's compressor does: a final /kt/ can be heard."""
    block = round(0.01 * rate_hz)
    level_db = 10 * np.log10(uniform_filter1d(np.square(wav, dtype=np.float64), block) + 1e-9)
    gain_db = uniform_filter1d(np.clip(0.6 * (LIFT_BELOW_DBFS - level_db), 0, LIFT_DB), block)
    return (wav * 10 ** (gain_db / 20)).astype(np.float32)


def segments(phonemes: list[Phoneme], offset_s: float = 0.0) -> list[tuple]:
    """Turn phonemes into (start_s, end_s, row of VISEMES); a diphthong becomes two, /h/ gives none."""
    out = []
    for start_s, end_s, symbol in phonemes:
        held = [SHAPES[c] for c in symbol if c in SHAPES] or [REST] * is_pause(symbol)
        for k, row in enumerate(held):
            step = (end_s - start_s) / len(held)
            start = offset_s + start_s + k * step
            if row:
                out.append((start, start + step, row))
    return out


def mouth_curves(held: list[tuple], n_frames: int, fps: float = 25.0) -> dict[str, np.ndarray]:
    """Blend segments (in order of time) into one curve per track of TRACKS, float64 (n_frames,), a value per frame.

    The mouth is closed wherever nothing is held for SHORTEST_REST_S.
    """
    t = (np.arange(n_frames * OVERSAMPLING) + 0.5) / (fps * OVERSAMPLING)
    total, weights = np.zeros((len(t), len(TRACKS))), np.full(len(t), 0.02)
    gaps = zip([0.0, *(end for _, end, _ in held)], [*(start for start, *_ in held), n_frames / fps])
    rests = [(a, b, REST) for a, b in gaps if b - a >= SHORTEST_REST_S]
    for start, end, row in sorted([*held, *rests], key=lambda s: s[0]):
        strength, reach = row[6:] or VOWEL_DOMINANCE
        length, begins = end - start, start - LEAD_S
        first, last = (start + 0.02, end - 0.05) if row is REST else (begins + 0.2 * length, begins + 0.75 * length)
        near = slice(*np.searchsorted(t, (first - 8 * reach, last + 8 * reach)))
        away = np.maximum(np.maximum(first - t[near], t[near] - last), 0)
        weight = strength * np.exp(-((away / reach) ** 1.3))
        total[near] += weight[:, None] * row[:6]
        weights[near] += weight
    curves = (total / weights[:, None]).reshape(n_frames, OVERSAMPLING, len(TRACKS)).mean(1)
    curves[:, 0] = np.clip(curves[:, 0] * JAW_GAIN, 0, 1)
    return dict(zip(TRACKS, curves.T))


def play(actor: Actor, curves: dict, fps: float, seed: int, strength: float = 1.0, turns=(0, 0, 0)) -> list[FaceState]:
    """Return one FaceState per frame: poses, blinks, glances and brows of people who talk or listen.

    curves: of `mouth_curves`, one value per frame; strength: 0 keeps the head still, 1 is a lively talker; turns: yaw,
    pitch and roll to add, radians.
    """
    rng, tracks, half = np.random.default_rng((actor.seed, seed)), dict(curves), round(fps) // 2
    n, width = len(curves["jaw"]), 2 * half + 1
    t, talk = np.arange(n) / fps, np.pad(np.clip(curves["jaw"] * 3, 0, 1), half, mode="edge")
    talk = np.convolve(talk, np.ones(width) / width, "valid")

    def sway(amplitude, *hertz):
        return amplitude * sum(np.sin(2 * np.pi * (f * t + rng.random())) for f in hertz) / len(hertz)

    for (name, always, talking, limits), turn in zip(POSES, turns):
        tracks[name] = np.clip(strength * (sway(*always) + talk * sway(*talking)) + turn, *limits)
    tracks["brow"] = strength * (np.clip(sway(0.9, 0.17, 0.29, 0.61), -0.3, 1) * (0.35 + 0.65 * talk))
    blink, when = np.zeros(n), rng.uniform(0.5, 3)
    while when < t[-1]:
        blink = np.maximum(blink, np.clip(1.25 - abs(t - when) / BLINK_HALF_S, 0, 1))
        when += rng.uniform(2, 5)
    gaze, start = np.zeros((2, n)), 0
    while start < n:
        end = start + int(rng.uniform(0.6, 2.4) * fps)
        if rng.random() < 0.5:
            gaze[:, start:end] = rng.uniform(-0.25, 0.25, (2, 1))
        start = end
    tracks |= {"blink": blink, "gaze_x": gaze[0], "gaze_y": gaze[1]}
    return [FaceState(**row) for row in pd.DataFrame(tracks).to_dict("records")]
