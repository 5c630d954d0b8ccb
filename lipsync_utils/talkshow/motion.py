"""How heads move while people talk and listen: poses, blinks, glances, brows, as curves over a video's frames."""

from __future__ import annotations

import numpy as np

from .actor import Actor
from .mouth import FaceState

BLINK_HALF_S = 0.09


def play(actor: Actor, curves: dict[str, np.ndarray], fps: float, seed: int, strength: float = 1.0) -> list[FaceState]:
    """Return one FaceState per frame.

    curves: of `viseme.mouth_curves`, one value per frame; strength: 0 keeps the head still, 1 is a lively talker.
    """
    rng = np.random.default_rng((actor.seed, seed))
    n = len(curves["jaw"])
    t = np.arange(n) / fps
    talk = _smooth(np.clip(curves["jaw"] * 3, 0, 1), round(fps))

    def sway(amplitude, *hertz):
        return amplitude * sum(np.sin(2 * np.pi * (f * t + rng.random())) for f in hertz) / len(hertz)

    yaw = strength * (sway(0.10, 0.11, 0.23, 0.37) + talk * sway(0.07, 0.5, 0.8))
    pitch = strength * (sway(0.03, 0.13, 0.31) + talk * sway(0.035, 0.9, 1.4))
    roll = strength * (sway(0.045, 0.09, 0.21) + talk * sway(0.03, 0.45, 0.7))
    brow = strength * (np.clip(sway(0.9, 0.17, 0.29, 0.61), -0.3, 1) * (0.35 + 0.65 * talk))
    blink, gaze = _blinks(t, rng), _glances(n, fps, rng)
    tracks = {
        **curves,
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "brow": brow,
        "blink": blink,
        "gaze_x": gaze[:, 0],
        "gaze_y": gaze[:, 1],
    }
    return [FaceState(**{k: float(v[i]) for k, v in tracks.items()}) for i in range(n)]


def _smooth(values, width):
    width = width // 2 * 2 + 1
    return np.convolve(np.pad(values, width // 2, mode="edge"), np.ones(width) / width, "valid")


def _blinks(t, rng):
    blink, when = np.zeros(len(t)), rng.uniform(0.5, 3)
    while len(t) and when < t[-1]:
        blink = np.maximum(blink, np.clip(1.25 - np.abs(t - when) / BLINK_HALF_S, 0, 1))
        when += rng.uniform(2, 5)
    return blink


def _glances(n, fps, rng):
    gaze, start = np.zeros((n, 2)), 0
    while start < n:
        end = start + int(rng.uniform(0.6, 2.4) * fps)
        if rng.random() < 0.5:
            gaze[start:end] = rng.uniform(-0.25, 0.25, 2)
        start = end
    return gaze
