"""How a face compares with the true one: its mouth by landmarks, its identity by face_recognition.

Landmarks are (68, 2) points x, y in pixels in the iBUG order: 36-47 eyes, 48-59 outer lips, 60-67 inner lips.
Source of the landmark distance: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018.
"""

from __future__ import annotations

import numpy as np

from ..errors import DataError

RIGHT_EYE, LEFT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
LIP_PAIRS = ((61, 67), (62, 66), (63, 65))  # upper and lower inner lip, facing each other


def eye_distance(landmarks) -> np.ndarray:
    """Distance of the eyes' centres in pixels: (..., 68, 2) -> (...)."""
    landmarks = np.asarray(landmarks, float)
    right, left = landmarks[..., RIGHT_EYE, :].mean(axis=-2), landmarks[..., LEFT_EYE, :].mean(axis=-2)
    return np.linalg.norm(left - right, axis=-1)


def mouth_opening(landmarks) -> np.ndarray:
    """Gap between the inner lips as a fraction of the eye distance: (n, 68, 2) -> (n,); NaN where unseen."""
    landmarks = np.asarray(landmarks, float)
    gaps = [np.linalg.norm(landmarks[..., low, :] - landmarks[..., up, :], axis=-1) for up, low in LIP_PAIRS]
    return np.mean(gaps, axis=0) / eye_distance(landmarks)


def correlation(a, b) -> float:
    """Pearson's r of two curves over the frames that both have; NaN with under three, or where one is constant."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    n = min(len(a), len(b))
    known = np.isfinite(a[:n]) & np.isfinite(b[:n])
    a, b = a[:n][known], b[:n][known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def landmark_distance(generated, truth) -> float:
    """LMD: mean distance of the 20 mouth points, in percent of the true eye distance; lower is better.

    generated, truth: (n, 68, 2), NaN where unseen.  The mouths are laid over each other by their centres first, so the
    shape counts and not the place.  NaN where no frame has both.
    """
    generated, truth = np.asarray(generated, float), np.asarray(truth, float)
    if generated.shape != truth.shape:
        raise DataError(f"need as many landmarks of both, got {generated.shape} and {truth.shape}")
    known = np.isfinite(generated).all(axis=(1, 2)) & np.isfinite(truth).all(axis=(1, 2))
    if not known.any():
        return float("nan")
    ours, true = (points[known][:, MOUTH] for points in (generated, truth))
    ours, true = (points - points.mean(axis=1, keepdims=True) for points in (ours, true))
    per_frame = np.linalg.norm(ours - true, axis=2).mean(axis=1) / eye_distance(truth[known])
    return float(100 * per_frame.mean())


def landmark_track(frames_bgr, boxes) -> np.ndarray:
    """Find the landmarks of one face in every frame: (n, 68, 2), NaN where its box is NaN.

    frames_bgr: iterable of (h, w, 3) uint8, read one at a time.  boxes: (n, 4), see FaceTable.track_boxes.
    """
    from ..faces import FaceBox, landmarks

    found = np.full((len(boxes), 68, 2), np.nan)
    for i, (frame, box) in enumerate(zip(frames_bgr, boxes)):
        if np.isfinite(box).all():
            found[i] = landmarks(frame, FaceBox(*map(float, box)))
    return found


def identity_distance(generated_bgr, truth_bgr, boxes) -> float:
    """face_recognition's distance of generated to true faces, mean over frames; 0 is equal, 0.6 somebody else.

    generated_bgr, truth_bgr: the same few frames, (h, w, 3) uint8 each.  boxes: (n, 4), frames with NaN are left out.
    """
    from ..faces import FaceBox, encode

    distances = []
    for ours, true, box in zip(generated_bgr, truth_bgr, boxes, strict=True):
        if np.isfinite(box).all():
            place = FaceBox(*map(float, box))
            codes = [encode(np.ascontiguousarray(frame[:, :, ::-1]), place) for frame in (ours, true)]
            distances.append(np.linalg.norm(codes[0] - codes[1]))
    return float(np.mean(distances)) if distances else float("nan")
