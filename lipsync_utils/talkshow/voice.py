"""Speech for the actors: lines in, sound and a timeline of phonemes out (espeak-ng in a process of its own)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..errors import MediaError
from .actor import Voice

WORKER = Path(__file__).with_name("espeak_worker.py")
LEVEL_DBFS = -20.0  # root mean square of a line where it is heard
LONGEST_GAP_S = 0.15  # silences inside a line are cut to this: only the script's pauses split a talk
INAUDIBLE_DBFS = -33.0  # espeak-ng fades out over up to 0.2 s; a line ends where less than this is left
BLOCK_S = 0.02
LIFT_BELOW_DBFS, LIFT_DB = -24.0, 12.0


@dataclass(frozen=True)
class Phoneme:
    """One sound of a line, seconds from the line's start; symbol in IPA."""

    start_s: float
    end_s: float
    symbol: str


@dataclass(frozen=True, eq=False)
class Speech:
    """One spoken line: text, sound (float32 in [-1, 1] at rate_hz), phonemes; it starts and ends with a phoneme."""

    text: str
    voice: Voice
    wav: np.ndarray
    rate_hz: int
    phonemes: tuple[Phoneme, ...]

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return len(self.wav) / self.rate_hz


def speak(lines: list[tuple[str, Voice]]) -> list[Speech]:
    """Speak lines (text, voice) in this order in a fresh process, so that the same list gives the same samples.

    Raises MediaError when espeak-ng cannot speak a line (unknown voice, nothing to say).
    """
    wanted = [{"text": t, "voice": v.name, "rate": v.rate, "pitch": v.pitch, "range": v.range} for t, v in lines]
    done = subprocess.run([sys.executable, str(WORKER)], input=json.dumps(wanted).encode(), capture_output=True)
    if done.returncode:
        words = done.stderr.decode(errors="replace")[-800:]
        raise MediaError(f"espeak-ng could not speak {len(lines)} lines; check voice names and texts\n{words}")
    header, _, pcm = done.stdout.partition(b"\n")
    answer, samples = json.loads(header), np.frombuffer(pcm, "<i2")
    spoken, start = [], 0
    for (text, voice), line in zip(lines, answer["lines"], strict=True):
        wav = samples[start : start + line["n_samples"]].astype(np.float32) / 32768
        start += line["n_samples"]
        spoken.append(_tidy(text, voice, wav, answer["rate_hz"], line["phonemes"]))
    return spoken


def is_pause(symbol: str) -> bool:
    """Say whether an espeak phoneme is a silence."""
    return symbol.strip() == "" or symbol.startswith("_")


def _tidy(text, voice, wav, rate_hz, events) -> Speech:
    """Cut silence off both ends, shorten long gaps, set the level."""
    ends = [start for start, _ in events[1:]] + [len(wav) / rate_hz]
    timeline = [Phoneme(a, b, s) for (a, s), b in zip(events, ends, strict=True) if b > a]
    sounding = [i for i, p in enumerate(timeline) if not is_pause(p.symbol)]
    if not sounding:
        raise MediaError(f"espeak-ng found nothing to say in {text!r}")
    pieces, phonemes, now, silent = [], [], 0, 0
    for p in timeline[sounding[0] : sounding[-1] + 1]:
        a, b = round(p.start_s * rate_hz), round(p.end_s * rate_hz)
        if is_pause(p.symbol):
            b = min(b, a + round(LONGEST_GAP_S * rate_hz) - silent)
        silent = silent + b - a if is_pause(p.symbol) else 0
        if b == a:
            continue
        pieces.append(wav[a:b])
        phonemes.append(Phoneme(now / rate_hz, (now + b - a) / rate_hz, p.symbol))
        now += b - a
    wav = np.concatenate(pieces)
    loud = wav[np.abs(wav) > 0.01]
    level = float(np.sqrt(np.mean(np.square(loud, dtype=np.float64)))) if len(loud) else 1.0
    wav = _lift_soft_sounds(wav * np.float32(10 ** (LEVEL_DBFS / 20) / level), rate_hz)
    last = phonemes[-1]
    wav = wav[: _audible_end(wav, round((last.start_s + BLOCK_S) * rate_hz), round(BLOCK_S * rate_hz))]
    phonemes[-1] = Phoneme(last.start_s, len(wav) / rate_hz, last.symbol)
    return Speech(text, voice, wav, rate_hz, tuple(phonemes))


def _lift_soft_sounds(wav, rate_hz):
    """Make soft sounds up to LIFT_DB louder, as a broadcaster's compressor does: a final /kt/ can be heard."""
    block = round(0.01 * rate_hz)
    level_db = 10 * np.log10(uniform_filter1d(np.square(wav, dtype=np.float64), block) + 1e-9)
    gain_db = uniform_filter1d(np.clip(0.6 * (LIFT_BELOW_DBFS - level_db), 0, LIFT_DB), block)
    return (wav * 10 ** (gain_db / 20)).astype(np.float32)


def _audible_end(wav, earliest, block):
    """Return the sample, not before `earliest`, after which no block is louder than INAUDIBLE_DBFS."""
    end = len(wav)
    while end - block > earliest and np.mean(np.square(wav[end - block : end])) < 10 ** (INAUDIBLE_DBFS / 10):
        end -= block // 2
    return end
