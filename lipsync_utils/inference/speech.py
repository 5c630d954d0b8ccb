"""What one person says: the mel that the network hears, when there is speech in it, and which frames it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, binary_opening, distance_transform_edt, uniform_filter1d

from ..audio import COLUMNS_PER_S, MEL_LIMIT, SAMPLE_RATE_HZ, load_wav, melspectrogram
from ..errors import SettingError

STEP_S = 0.01  # speech or not is decided every 10 ms
WINDOW_S = 0.025
FLOOR_DBFS = -55.0  # quieter than this is never speech
OVER_NOISE_DB = 9.0  # speech is so much louder than the quietest tenth
UNDER_PEAK_DB = 35.0  # and no more than this below the loudest
SHORTEST, BRIDGE, MARGIN = 5, 20, 8  # steps: shorter is a click; a shorter pause belongs to the word; around speech


@dataclass(frozen=True)
class Speech:
    """One speech. mel: (80, n) float32; voiced: bool every 10 ms."""

    path: Path
    duration_s: float
    mel: np.ndarray
    voiced: np.ndarray

    def in_frames(self, n_frames: int, fps: float) -> np.ndarray:
        """Speech or not in every video frame: bool (n_frames,); False past the end of the sound."""
        bounds = np.arange(n_frames + 1) / fps / STEP_S
        first, last = np.floor(bounds[:-1]).astype(int), np.ceil(bounds[1:]).astype(int)
        count = np.concatenate([[0], np.cumsum(self.voiced)])
        return count[np.minimum(last, len(self.voiced))] > count[np.minimum(first, len(self.voiced))]


def read_speech(path: Path, close_mouth: bool = True) -> Speech:
    """Read a speech. close_mouth: in its pauses the mel is silence, so that the mouth closes whatever the noise."""
    wav = load_wav(path)
    if not len(wav):
        raise SettingError(f"{path.name}: the speech is empty (0 s); give a sound file with speech in it")
    mel, voiced = melspectrogram(wav), speaking(wav)
    if close_mouth:
        step = (np.arange(mel.shape[1]) / COLUMNS_PER_S / STEP_S).astype(int)
        mel[:, ~voiced[np.minimum(step, len(voiced) - 1)]] = -MEL_LIMIT
    return Speech(path, len(wav) / SAMPLE_RATE_HZ, mel, voiced)


def speaking(wav: np.ndarray) -> np.ndarray:
    """Speech or not every 10 ms: a plain measure of loudness over the noise, enough to close a mouth in a pause.

    wav: float (n,) at 16 kHz in [-1, 1].  Returns bool (max(1, n // 160),): louder than the noise, with clicks left
    out, short pauses bridged and a margin at both ends.  All False for silent sound.
    """
    step, window = int(STEP_S * SAMPLE_RATE_HZ), int(WINDOW_S * SAMPLE_RATE_HZ)
    count = max(1, len(wav) // step)
    power = uniform_filter1d(np.square(np.resize(wav, max(len(wav), step)), dtype=np.float64), window, mode="nearest")
    level = 10 * np.log10(np.maximum(power[step // 2 :: step][:count], 1e-12))
    noise, peak = np.percentile(level, 10), np.percentile(level, 99)
    if peak < FLOOR_DBFS:
        return np.zeros(count, bool)
    threshold = max(FLOOR_DBFS, min(noise + OVER_NOISE_DB, peak - 6), peak - UNDER_PEAK_DB)
    if peak - noise < OVER_NOISE_DB:  # no pause at all: everything is speech
        threshold = FLOOR_DBFS
    loud = np.pad(binary_opening(level > threshold, np.ones(SHORTEST)), BRIDGE)
    wide = binary_dilation(binary_closing(loud, np.ones(BRIDGE)), np.ones(2 * MARGIN + 1))
    return wide[BRIDGE:-BRIDGE]


def output_frames(
    n_source: int, speech_s: float, fps: float, longer: str = "ping-pong", shorter: str = "stop", still: bool = False
) -> int:
    """How many frames the result has: the speech, to the nearest frame, unless a rule says otherwise.

    longer: "cut" ends a longer speech with the video.  shorter: "continue" shows the rest of the video.
    still: one picture stands for any length, so neither rule applies.
    """
    spoken = max(1, round(speech_s * fps))
    if longer == "cut" and not still:
        spoken = min(spoken, n_source)
    return max(spoken, n_source) if shorter == "continue" and not still else spoken


def source_frames(total: int, n_source: int, longer: str = "ping-pong") -> np.ndarray:
    """The source frame of each output frame: 0, 1, 2 .. and past the end as the rule says, int (total,).

    "ping-pong" goes back and forth without showing the last frame twice, "loop" jumps to the start, "hold" and "cut"
    stay on the last frame.
    """
    frames, last = np.arange(total), n_source - 1
    if longer == "ping-pong":
        return last - np.abs(last - frames % max(2 * last, 1))
    return frames % n_source if longer == "loop" else np.minimum(frames, last)


def strengths(active: np.ndarray, ramp: int = 3) -> np.ndarray:
    """How far the drawn mouth is blended in: 1 where active, 0 where not, rising and falling over `ramp` frames.

    active: (n,) bool.  Returns float32 (n,).  The ramp lies inside the active frames; the ends of the video have none.
    """
    steps = np.full(len(active), ramp + 1) if active.all() else distance_transform_edt(active)
    return np.clip(steps / (ramp + 1), 0, 1).astype(np.float32)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The stretches in which a mask is true, as (first, last) frame."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2])]
