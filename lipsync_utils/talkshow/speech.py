"""How actors speak: lines in, sound and phonemes out (espeak-ng in a process of its own), then moving mouths and heads.

Phonemes become mouth movement by viseme targets, blended by dominance functions (Cohen and Massaro, 1993).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..errors import MediaError
from .actor import Actor, Voice
from .puppet import FaceState

WORKER = Path(__file__).with_name("espeak_worker.py")
FPS = 25
RATE_HZ = 22050  # of every espeak-ng voice
LEVEL_DBFS = -20.0  # root mean square of a line where it is heard
LONGEST_GAP_S = 0.15  # silences inside a line are cut to this: only the script's pauses split a talk
INAUDIBLE_DBFS = -33.0  # espeak-ng fades out over up to 0.2 s; a line ends where less than this is left
BLOCK_S = 0.02
LIFT_BELOW_DBFS, LIFT_DB = -24.0, 12.0
LEAD_S = 0.03  # the mouth moves before the sound
JAW_GAIN = 1.25
SHORTEST_REST_S = 0.15
OVERSAMPLING = 4
BLINK_HALF_S = 0.09
POSES = (  # of yaw, pitch, roll: how far (radians) and fast (Hz) a head sways; what talking adds; limits of FaceState
    ((0.10, 0.11, 0.23, 0.37), (0.07, 0.5, 0.8), (-0.61, 0.61)),
    ((0.03, 0.13, 0.31), (0.035, 0.9, 1.4), (-0.2, 0.35)),
    ((0.045, 0.09, 0.21), (0.03, 0.45, 0.7), (-0.26, 0.26)),
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
    """One sound of a line, seconds from the line's start; symbol in IPA, empty for a pause."""

    start_s: float
    end_s: float
    symbol: str


class Speech(NamedTuple):
    """One spoken line: text, sound (float32 in [-1, 1] at RATE_HZ), phonemes; it starts and ends with a phoneme."""

    text: str
    wav: np.ndarray
    phonemes: list[Phoneme]

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return len(self.wav) / RATE_HZ


def speak(lines: list[tuple[str, Voice]]) -> list[Speech]:
    """Speak lines (text, voice) in this order in a fresh process, so that the same list gives the same samples.

    Raises MediaError when espeak-ng cannot speak a line (unknown voice, nothing to say).
    """
    wanted = json.dumps([{"text": text, **vars(voice)} for text, voice in lines])
    done = subprocess.run([sys.executable, WORKER], input=wanted, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr[-800:]
        raise MediaError(f"espeak-ng could not speak {len(lines)} lines; check voice names and texts\n{words}")
    return [_tidy(text, *line) for (text, _), line in zip(lines, json.loads(done.stdout))]


def _tidy(text, events, pcm) -> Speech:
    """Cut silence off both ends, shorten long gaps, set the level."""
    wav = np.frombuffer(bytes.fromhex(pcm), "<i2").astype(np.float32) / 32768
    edges = [round(start_s * RATE_HZ) for start_s, _ in events] + [len(wav)]
    timeline = [(a, b, symbol) for a, b, (_, symbol) in zip(edges, edges[1:], events) if b > a]
    sounding = [k for k, (*_, symbol) in enumerate(timeline) if symbol]
    if not sounding:
        raise MediaError(f"espeak-ng found nothing to say in {text!r}")
    pieces, phonemes, now, silent = [], [], 0, 0
    for a, b, symbol in timeline[sounding[0] : sounding[-1] + 1]:
        if symbol:
            silent = 0
        else:
            b = min(b, a + round(LONGEST_GAP_S * RATE_HZ) - silent)
            silent += b - a
        if b > a:
            pieces.append(wav[a:b])
            phonemes.append(Phoneme(now / RATE_HZ, (now + b - a) / RATE_HZ, symbol))
            now += b - a
    wav = np.concatenate(pieces)
    wav *= np.float32(10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(np.square(wav[abs(wav) > 0.01], dtype=np.float64))))
    # soft sounds become up to LIFT_DB louder, as by a broadcaster's compressor: a final /kt/ can be heard
    block = round(0.01 * RATE_HZ)
    level_db = 10 * np.log10(uniform_filter1d(np.square(wav, dtype=np.float64), block) + 1e-9)
    gain_db = uniform_filter1d(np.clip(0.6 * (LIFT_BELOW_DBFS - level_db), 0, LIFT_DB), block)
    wav = (wav * 10 ** (gain_db / 20)).astype(np.float32)
    start_s, _, symbol = phonemes.pop()
    block, end, earliest = round(BLOCK_S * RATE_HZ), len(wav), round((start_s + BLOCK_S) * RATE_HZ)
    while end - block > earliest and np.mean(wav[end - block : end] ** 2) < 10 ** (INAUDIBLE_DBFS / 10):
        end -= block // 2
    return Speech(text, wav[:end], [*phonemes, Phoneme(start_s, end / RATE_HZ, symbol)])


def mouth_curves(spoken, n_frames: int) -> np.ndarray:
    """Blend what is spoken, (start_s, Speech) in order of time, into jaw, width, rounding, teeth, tongue and press.

    Returns float64 (n_frames, 6). A diphthong is two shapes, /h/ none. The mouth is closed wherever nothing is held for
    SHORTEST_REST_S.
    """
    held = []
    for start_s, speech in spoken:
        for begin, end, symbol in speech.phonemes:
            rows = [SHAPES[c] for c in symbol if c in SHAPES] or [REST] * (not symbol)
            for k, row in enumerate(rows):
                step = (end - begin) / len(rows)
                start = start_s + begin + k * step
                if row:
                    held.append((start, start + step, row))
    gaps = zip([0.0, *(end for _, end, _ in held)], [*(start for start, *_ in held), n_frames / FPS])
    rests = [(a, b, REST) for a, b in gaps if b - a >= SHORTEST_REST_S]
    t = (np.arange(n_frames * OVERSAMPLING) + 0.5) / (FPS * OVERSAMPLING)
    total, weights = np.zeros((len(t), 6)), np.full((len(t), 1), 0.02)
    for start, end, row in sorted([*held, *rests], key=lambda s: s[0]):
        strength, reach = row[6:] or VOWEL_DOMINANCE
        length, begins = end - start, start - LEAD_S
        first, last = (start + 0.02, end - 0.05) if row is REST else (begins + 0.2 * length, begins + 0.75 * length)
        near = slice(*np.searchsorted(t, (first - 8 * reach, last + 8 * reach)))
        away = np.maximum(np.maximum(first - t[near], t[near] - last), 0)
        weight = strength * np.exp(-((away / reach) ** 1.3))[:, None]
        total[near] += weight * row[:6]
        weights[near] += weight
    curves = (total / weights).reshape(n_frames, OVERSAMPLING, 6).mean(1)
    curves[:, 0] = np.clip(curves[:, 0] * JAW_GAIN, 0, 1)
    return curves


def play(actor: Actor, curves, seed: int, strength: float = 1.0, turns=(0, 0, 0)) -> list[FaceState]:
    """Return one FaceState per frame: the mouth with its habit, poses, blinks, glances and brows of people who talk.

    curves: of `mouth_curves`; strength: 0 keeps the head still, 1 is a lively talker; turns: yaw, pitch and roll to
    add, radians.
    """
    rng, n, (jaw, width, rounding, teeth, *others) = np.random.default_rng((actor.seed, seed)), len(curves), curves.T
    talk = np.convolve(np.pad(np.clip(jaw * 3, 0, 1), FPS // 2, mode="edge"), np.ones(FPS) / FPS, "valid")
    t, speaking = np.arange(n) / FPS, np.minimum(1, 2.5 * jaw)
    rounding = np.minimum(1, rounding + actor.habit_round * (0.5 * rounding + 0.45 * speaking))
    teeth = np.minimum(1, teeth + actor.habit_teeth * (0.3 * teeth + 0.6 * speaking))
    tracks = [jaw, width, rounding, teeth, *others]

    def sway(amplitude, *hertz):
        return amplitude * sum(np.sin(2 * np.pi * (f * t + rng.random())) for f in hertz) / len(hertz)

    for (always, talking, limits), turn in zip(POSES, turns):
        tracks.append(np.clip(strength * (sway(*always) + talk * sway(*talking)) + turn, *limits))
    tracks.append(strength * (np.clip(sway(0.9, 0.17, 0.29, 0.61), -0.3, 1) * (0.35 + 0.65 * talk)))
    blink, when = np.zeros(n), rng.uniform(0.5, 3)
    while when < t[-1]:
        blink = np.maximum(blink, np.clip(1.25 - abs(t - when) / BLINK_HALF_S, 0, 1))
        when += rng.uniform(2, 5)
    gaze, start = np.zeros((2, n)), 0
    while start < n:
        end = start + int(rng.uniform(0.6, 2.4) * FPS)
        if rng.random() < 0.5:
            gaze[:, start:end] = rng.uniform(-0.25, 0.25, (2, 1))
        start = end
    return [FaceState(*row) for row in np.transpose([*tracks, blink, *gaze]).tolist()]
