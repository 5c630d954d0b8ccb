"""When is somebody speaking? A plain measure of loudness over the noise: enough to close a mouth in a pause."""

from __future__ import annotations

import numpy as np

from ..audio import SAMPLE_RATE_HZ

STEP_S = 0.01  # one value each 10 ms
WINDOW_S = 0.025
FLOOR_DBFS = -55.0  # quieter than this is never speech
OVER_NOISE_DB = 9.0  # speech is so much louder than the quietest tenth
UNDER_PEAK_DB = 35.0  # and no more than this below the loudest
SHORTEST_S = 0.05  # a shorter burst is a click
BRIDGE_S = 0.20  # a shorter pause is part of the word
MARGIN_S = 0.08  # the mouth opens before the sound and closes after it


def loudness_dbfs(wav: np.ndarray) -> np.ndarray:
    """Loudness every 10 ms: float32 (max(1, n // 160),) in dB of full scale, -120 for digital silence."""
    step, window = int(STEP_S * SAMPLE_RATE_HZ), int(WINDOW_S * SAMPLE_RATE_HZ)
    count = max(1, len(wav) // step)
    power = np.concatenate([[0.0], np.cumsum(np.square(wav, dtype=np.float64))])
    start = np.clip(np.arange(count) * step + step // 2 - window // 2, 0, len(wav))
    end = np.clip(start + window, 0, len(wav))
    mean = (power[end] - power[start]) / np.maximum(end - start, 1)
    return (10 * np.log10(np.maximum(mean, 1e-12))).astype(np.float32)


def speaking(wav: np.ndarray) -> np.ndarray:
    """Speech or not every 10 ms.

    wav: float (n,) at 16 kHz in [-1, 1].  Returns bool (max(1, n // 160),): louder than the noise, with clicks left
    out, short pauses bridged and a margin at both ends.  All False for silent sound.
    """
    level = loudness_dbfs(wav)
    noise, peak = np.percentile(level, 10), np.percentile(level, 99)
    if peak < FLOOR_DBFS:
        return np.zeros(len(level), bool)
    steady = peak - noise < OVER_NOISE_DB  # no pause at all: everything is speech
    threshold = FLOOR_DBFS if steady else max(FLOOR_DBFS, min(noise + OVER_NOISE_DB, peak - 6), peak - UNDER_PEAK_DB)
    loud = level > threshold
    loud = _drop_runs(loud, True, round(SHORTEST_S / STEP_S))
    loud = ~_drop_runs(~loud, True, round(BRIDGE_S / STEP_S), inner=True)
    margin = round(MARGIN_S / STEP_S)
    wide = np.convolve(loud, np.ones(2 * margin + 1), mode="full")[margin : margin + len(loud)]
    return wide > 0.5


def speaking_frames(wav: np.ndarray, n_frames: int, fps: float) -> np.ndarray:
    """Speech or not for every video frame: bool (n_frames,); False past the end of the sound."""
    voiced = speaking(wav)
    first = np.floor(np.arange(n_frames) / fps / STEP_S).astype(int)
    last = np.maximum(np.ceil(np.arange(1, n_frames + 1) / fps / STEP_S).astype(int), first + 1)
    count = np.concatenate([[0], np.cumsum(voiced)])
    first, last = np.minimum(first, len(voiced)), np.minimum(last, len(voiced))
    return count[last] > count[first]


def _drop_runs(mask: np.ndarray, value: bool, shorter_than: int, inner: bool = False) -> np.ndarray:
    """Turn runs of `value` that are too short into their opposite; inner: not those at either end."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8))) + 1
    result = mask.copy()
    bounds = [0, *edges, len(mask)]
    for start, end in zip(bounds[:-1], bounds[1:]):
        at_end = start == 0 or end == len(mask)
        if end > start and mask[start] == value and end - start < shorter_than and not (inner and at_end):
            result[start:end] = not value
    return result
