"""Which mel window tells most about a frame's mouth? The measurement behind WindowsConfig.alignment."""

from __future__ import annotations

import numpy as np

from .. import audio, metrics
from ..windows import ClipFaces
from .compare import mouth_openings

RIDGE = 300.0  # strength of the regulariser; features are mel values of a window
KEEP_BAND = 4  # every fourth mel band is enough to hear a vowel


def alignment_scores(clips: list[ClipFaces], max_frames: int = 125) -> dict[str, float]:
    """How well a linear guess from each alignment's mel window follows the mouth opening of clips it has not seen.

    Returns correlation by name of the alignment, on clips left out one after the other.
    """
    openings = [mouth_openings(np.asarray(c.faces[:max_frames])) for c in clips]
    scores = {}
    for name in audio.ALIGNMENTS:
        features = [_features(c, len(o), name) for c, o in zip(clips, openings)]
        scores[name] = _left_out(features, openings)
    return scores


def _features(clip, n, alignment):
    starts = [audio.frame_window_start(f, alignment) for f in range(n)]
    return np.stack([audio.mel_window(clip.mel, s)[::KEEP_BAND].ravel() for s in starts]).astype(np.float64)


def _left_out(features, openings):
    found = []
    for k in range(len(features)):
        x = np.concatenate([f for i, f in enumerate(features) if i != k])
        y = np.concatenate([o for i, o in enumerate(openings) if i != k])
        middle, level = x.mean(0), y.mean()
        weights = np.linalg.solve(
            (x - middle).T @ (x - middle) + RIDGE * np.eye(x.shape[1]), (x - middle).T @ (y - level)
        )
        found.append(metrics.correlation((features[k] - middle) @ weights, openings[k]))
    return float(np.nanmean(found))
