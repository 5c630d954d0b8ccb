"""Toy clips that need no rendering: a bright square "mouth" that follows the loudness of a tone."""

import numpy as np

from lipsync_utils.audio import melspectrogram
from lipsync_utils.windows import ClipFaces


def toy_clip(number: int, seconds: float = 2.0, split: str = "train", shift: int = 0) -> ClipFaces:
    """One clip; shift: the sound comes so many frames late."""
    rng = np.random.default_rng((5, number))
    n = int(seconds * 25)
    openness = np.convolve(rng.random(n + 4), np.ones(5) / 5, "valid")
    openness = (openness - openness.min()) / np.ptp(openness)
    faces = np.tile(np.linspace(40, 200, 96, dtype=np.uint8)[None, :, None, None], (n, 1, 96, 3))
    faces[..., number % 3] //= 2
    faces[:, 60:80, 30:66] = (255 * openness).astype(np.uint8)[:, None, None, None]
    t = np.arange(int(seconds * 16000)) / 16000
    loudness = np.interp(t - shift / 25, np.arange(n) / 25, openness)
    wav = (0.3 * np.sign(np.sin(2 * np.pi * 200 * t)) * loudness).astype(np.float32)
    return ClipFaces(f"clip{number}", f"video{number}", split, faces, np.ones(n, bool), melspectrogram(wav))


def toy_clips(n: int = 4, seconds: float = 2.0) -> list[ClipFaces]:
    """n clips of n videos, the last one for validation."""
    return [toy_clip(k, seconds, "val" if k == n - 1 else "train") for k in range(n)]
