"""From two looks, a generated and a true one, to the numbers of a row."""

import numpy as np

from .. import metrics
from .judge import Judge
from .look import Look

SSIM_EVERY = 3  # frames; neighbours are alike, and SSIM is the slowest of the measures


def measured(
    look: Look,
    truth: Look,
    spoken: Look,
    wav: np.ndarray,
    judge: Judge,
    *,
    own: bool,
    opening: np.ndarray | None = None,
) -> dict[str, float | None]:
    """All measures of one film, by the names of metrics.MEASURES; None where one cannot be taken.

    look: of the film; truth: of the video it was made from; spoken: of the true video of what is said (the same for a
    clip's own speech); wav: what is said, float32 16 kHz; opening: the true mouth opening by frame, if known.
    """
    seen = min(len(look), len(truth))
    faces, true_faces = look.faces_bgr[:seen], truth.faces_bgr[:seen]
    numbers = judge.numbers(*judge.features(look.faces_bgr, wav))
    mouth = metrics.mouth_opening(look.landmarks)
    numbers["mouth_correlation"] = metrics.correlation(mouth, metrics.mouth_opening(spoken.landmarks))
    numbers["mouth_truth_correlation"] = None if opening is None else metrics.correlation(mouth, opening)
    numbers["sharpness_ratio"] = metrics.sharpness_ratio(faces, true_faces)
    numbers["flicker"] = metrics.flicker(faces, true_faces)
    numbers["identity_distance"] = identity(look, truth)
    if own and look is not truth:
        numbers["lmd_percent"] = metrics.landmark_distance(look.landmarks[:seen], truth.landmarks[:seen])
        numbers["l1"] = metrics.l1(faces, true_faces)
        numbers["psnr_db"] = metrics.psnr(faces, true_faces)
        pairs = zip(faces[::SSIM_EVERY], true_faces[::SSIM_EVERY], strict=True)
        numbers["ssim"] = float(np.mean([metrics.ssim(ours, true) for ours, true in pairs]))
    return {name: None if value is None or not np.isfinite(value) else float(value) for name, value in numbers.items()}


def identity(look: Look, truth: Look) -> float:
    """Mean face_recognition distance of the same frames of two looks; NaN where there are none."""
    n = min(len(look.encodings), len(truth.encodings))
    return float(np.linalg.norm(look.encodings[:n] - truth.encodings[:n], axis=1).mean()) if n else float("nan")
