"""LSE-D, LSE-C and the offset: do the lips belong to this sound, and when?

Source: Chung and Zisserman 2016 (the network and the sliding comparison); Prajwal et al. 2020 (the names).  The
arithmetic follows the published evaluation, oddities included: one window fewer than fits, zero vectors beyond both
ends of the sound, which makes short clips look worse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from scipy.signal import medfilt

from ..audio import SAMPLE_RATE_HZ
from ..errors import DataError
from .mfcc import mfcc

FPS = 25
SIDE_PX, WINDOW_FRAMES = 224, 5
COLUMNS_PER_FRAME, WINDOW_COLUMNS = 4, 20
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
MAX_SHIFT = 15  # frames to both sides
_BATCH = 20


@dataclass(frozen=True)
class LSE:
    """How well lips and sound fit.  distance (LSE-D, lower is better): at the best offset; confidence (LSE-C, higher is
    better): the median offset's distance less that; offset: in frames of 40 ms, positive where the sound is early.
    """

    distance: float
    confidence: float
    offset: int


def lse_from_features(face_features, audio_features, vshift: int = MAX_SHIFT) -> LSE:
    """Compare two sequences of embeddings, window by window, at 2 * vshift + 1 offsets.

    face_features, audio_features: (n, d), row i of both for the window that starts at frame i.
    """
    means = offset_distances(face_features, audio_features, vshift).mean(axis=0)
    best = int(means.argmin())
    return LSE(float(means[best]), float(np.median(means) - means[best]), vshift - best)


def offset_distances(face_features, audio_features, vshift: int = MAX_SHIFT) -> np.ndarray:
    """Return (n, 2 * vshift + 1): lip window i against sound window i + k - vshift; a zero vector outside the sound."""
    face, audio = (np.asarray(f, dtype=np.float64) for f in (face_features, audio_features))
    n = min(len(face), len(audio))
    if n == 0:
        raise DataError("no window to compare: the clip is shorter than 6 frames (0.24 s)")
    padded = np.pad(audio[:n], ((vshift, vshift), (0, 0)))
    shifts = range(2 * vshift + 1)
    return np.stack([np.sqrt(np.square(face[:n] - padded[k : k + n] + 1e-6).sum(axis=1)) for k in shifts], axis=1)


def framewise_confidence(face_features, audio_features, vshift: int = MAX_SHIFT) -> np.ndarray:
    """Return (n,): confidence of each window at the best offset of the whole clip, median-filtered over 9 windows."""
    distances = offset_distances(face_features, audio_features, vshift)
    means = distances.mean(axis=0)
    return medfilt(np.median(means) - distances[:, means.argmin()], kernel_size=9)


def lse(frames_bgr, wav_int16, model) -> LSE:
    """Measure one clip with the evaluation SyncNet.

    frames_bgr: (n, h, w, 3) uint8 at 25 fps, or any sequence of frames; each whole frame is resized to 224 x 224.
    wav_int16: (m,) 16 kHz mono.  model: EvaluationSyncNet in eval mode, best with its published weights.
    Raises DataError for a clip of fewer than 6 frames.
    """
    return lse_from_features(*syncnet_features(frames_bgr, len(frames_bgr), wav_int16, model))


def syncnet_features(frames_bgr: Iterable, n_frames: int, wav_int16, model) -> tuple[np.ndarray, np.ndarray]:
    """Embed a clip: (face features, audio features), both (n, 1024); n is one fewer than the windows that fit.

    frames_bgr is read once, in order, and not kept.  The network's training mode is put back as it was.
    """
    n = min(n_frames, len(wav_int16) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
    if n < 1:
        raise DataError(f"{n_frames} frames and {len(wav_int16)} samples are too short: 6 frames (0.24 s) are needed")
    columns = mfcc(wav_int16)
    sounds = (columns[:, COLUMNS_PER_FRAME * i :][:, :WINDOW_COLUMNS][None] for i in range(n))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            face = _embed(_lip_windows(frames_bgr, n), model.embed_face, model)
            return face, _embed(sounds, model.embed_audio, model)
    finally:
        model.train(was_training)


def _lip_windows(frames_bgr, n):
    """Yield n overlapping windows (3, 5, 224, 224), BGR in 0..255."""
    recent = deque(maxlen=WINDOW_FRAMES)
    for frame in islice(frames_bgr, n + WINDOW_FRAMES - 1):
        recent.append(cv2.resize(frame, (SIDE_PX, SIDE_PX)).transpose(2, 0, 1))
        if len(recent) == WINDOW_FRAMES:
            yield np.stack(recent, axis=1)


def _embed(windows, embed, model):
    like = next(model.parameters())
    features = []
    while batch := list(islice(windows, _BATCH)):
        features.append(embed(torch.from_numpy(np.stack(batch)).to(like)).cpu().numpy())
    return np.concatenate(features)
