"""Mel-frequency cepstral coefficients, the sound that the evaluation SyncNet hears.

The numbers are the defaults of python_speech_features 0.6 on raw 16-bit samples, which the network was trained with.
Source: Davis and Mermelstein, 1980; mel scale and liftering as in HTK.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from ..audio import SAMPLE_RATE_HZ
from ..errors import SettingError

WINDOW, STEP, FFT_SIZE = 400, 160, 512  # samples: 25 ms, 10 ms; rectangular
N_FILTERS, N_COEFFICIENTS, LIFTER = 26, 13, 22
PREEMPHASIS = 0.97


def mfcc(wav_int16) -> np.ndarray:
    """Return float64 (13, n), 100 columns a second, of 16 kHz mono samples.

    wav_int16: (samples,) integers, not scaled to [-1, 1].  The last, partial window is filled with zeros; coefficient
    0 is the logarithm of the window's energy.  Raises SettingError for floating samples.
    """
    wav = np.asarray(wav_int16)
    if wav.ndim != 1 or wav.dtype.kind not in "iu":
        raise SettingError(f"mfcc wants 16-bit integers of shape (n,), got {wav.dtype} {wav.shape}")
    sound = wav.astype(np.float64)
    sound[1:] -= PREEMPHASIS * wav[:-1].astype(np.float64)
    n = 1 + max(0, -(-(len(sound) - WINDOW) // STEP))
    sound = np.pad(sound, (0, (n - 1) * STEP + WINDOW - len(sound)))
    columns = np.empty((n, N_COEFFICIENTS))
    for start in range(0, n, 4096):
        part = sound[start * STEP : (min(start + 4096, n) - 1) * STEP + WINDOW]
        columns[start : start + 4096] = _coefficients(np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::STEP])
    return columns.T


def _coefficients(windows):
    power = np.square(np.abs(fft.rfft(windows, FFT_SIZE, axis=1))) / FFT_SIZE
    log_bands = np.log(_never_zero(power @ _filters().T))
    cepstrum = fft.dct(log_bands, type=2, axis=1, norm="ortho")[:, :N_COEFFICIENTS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(N_COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = np.log(_never_zero(power.sum(axis=1)))
    return cepstrum


def _never_zero(values):
    return np.where(values == 0, np.finfo(float).eps, values)


@lru_cache(maxsize=1)
def _filters():
    """(26, 257) triangles between whole FFT bins, evenly spaced on the mel scale from 0 to 8000 Hz, height 1."""
    top = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, N_FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT_SIZE + 1) * hz / SAMPLE_RATE_HZ)
    bins = np.arange(FFT_SIZE // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.where((bins >= left) & (bins < centre), rising, np.where((bins >= centre) & (bins < right), falling, 0))
