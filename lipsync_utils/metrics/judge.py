"""The embedded judge: a second, independent expert that says whether lips and sound fit, without published weights.

Its numbers look like LSE-D, LSE-C and the offset, but come from another network: never put them on one axis with
published ones.  It was trained with another seed on other actors and is never used as a loss, so that what was
trained to please the expert has not been trained to please the judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..audio import FRAMES_PER_WINDOW, mel_window, sync_window_start
from ..errors import DataError

MAX_SHIFT = 15  # frames to both sides
FEWEST_WINDOWS = 5  # that must be left at an offset for it to count
SIDE_PX = 96


@dataclass(frozen=True)
class JudgeScore:
    """The judge's word.  distance: at the best offset, 0 (fits) to 1.41; confidence: the median offset's distance less
    that; offset: in frames of 40 ms, positive where the sound is early.
    """

    distance: float
    confidence: float
    offset: int


def judge_sync(faces_bgr, mel, judge, max_shift: int = MAX_SHIFT) -> JudgeScore:
    """Measure one clip of face crops.

    faces_bgr: (n, h, w, 3) uint8 at 25 fps, the same crops that the networks are trained on, or a list of such.
    mel: (80, m) of its sound.  judge: SyncNet.  Raises DataError under 9 frames.
    """
    return judge_from_features(*expert_features(faces_bgr, mel, judge), max_shift)


def judge_from_features(face, audio, max_shift: int = MAX_SHIFT) -> JudgeScore:
    """Compare two sequences of unit vectors (n, d) at all offsets up to max_shift; only windows that exist count."""
    n = min(len(face), len(audio))
    reach = min(max_shift, n - FEWEST_WINDOWS)
    if reach < 0:
        raise DataError(f"{n} windows are too few to judge: at least {FEWEST_WINDOWS} (9 frames) are needed")
    distances = _pairwise(face[:n], audio[:n])
    means = [distances.diagonal(shift).mean() for shift in range(-reach, reach + 1)]  # sound window i + shift
    best = int(np.argmin(means))
    return JudgeScore(float(means[best]), float(np.median(means) - means[best]), reach - best)


def two_way_accuracy(face, audio, min_gap: int = 5, speech=None) -> float:
    """How often a face window is nearer to its own sound than to another of the same clip; chance is 0.5.

    face, audio: (n, d) unit vectors.  min_gap: frames between the two sounds.  speech: (n,) bool, windows that count,
    None: all.  All pairs are tried; a tie counts half.  NaN where there is no pair.
    """
    distances = _pairwise(np.asarray(face), np.asarray(audio))
    n = len(distances)
    use = np.ones(n, bool) if speech is None else np.asarray(speech, bool)[:n]
    frame = np.arange(n)
    pairs = (np.abs(frame[:, None] - frame) >= min_gap) & use[:, None] & use
    own = distances.diagonal()[:, None]
    wins = (own < distances) + 0.5 * (own == distances)
    return float(wins[pairs].mean()) if pairs.any() else float("nan")


def expert_features(faces_bgr, mel, expert, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Embed all windows of a clip with an expert: (face, audio), both float32 (n - 4, d) unit vectors.

    faces_bgr: (n, h, w, 3) uint8; resized to 96 x 96 if need be.  mel: (80, m); silent beyond its ends.
    """
    n = len(faces_bgr) - FRAMES_PER_WINDOW + 1
    if n < 1:
        raise DataError(f"{len(faces_bgr)} face crops are too few: a window has {FRAMES_PER_WINDOW}")
    like, was_training = next(expert.parameters()), expert.training
    halves = np.stack([_lower_half(face) for face in faces_bgr])
    face, audio = [], []
    expert.eval()
    try:
        with torch.inference_mode():
            for start in range(0, n, batch):
                first = range(start, min(start + batch, n))
                pictures = np.stack([np.concatenate(halves[i : i + FRAMES_PER_WINDOW]) for i in first])
                mels = np.stack([mel_window(mel, sync_window_start(i))[None] for i in first])
                pair = expert(torch.from_numpy(mels).to(like), torch.from_numpy(pictures).to(like) / 255)
                audio.append(pair[0].float().cpu().numpy())
                face.append(pair[1].float().cpu().numpy())
    finally:
        expert.train(was_training)
    return np.concatenate(face), np.concatenate(audio)


def _lower_half(face_bgr):
    """(h, w, 3) -> (3, 48, 96), the networks' order."""
    if face_bgr.shape[:2] != (SIDE_PX, SIDE_PX):
        face_bgr = cv2.resize(face_bgr, (SIDE_PX, SIDE_PX))
    return face_bgr[SIDE_PX // 2 :].transpose(2, 0, 1)


def _pairwise(face, audio):
    """Euclidean distances (n, n) of unit vectors: row face window, column sound window."""
    cosine = np.asarray(face, np.float64) @ np.asarray(audio, np.float64).T
    return np.sqrt(np.maximum(0, 2 - 2 * cosine))
