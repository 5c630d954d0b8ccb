"""How a face compares with the true one: likeness, sharpness, its mouth by landmarks, FID of many.

Landmarks are (68, 2) points x, y in pixels in the iBUG order: 36-47 eyes, 48-59 outer lips, 60-67 inner lips.
Sources: SSIM: Wang et al. 2004; variance of the Laplacian: Pech-Pacheco et al. 2000; landmark distance: Chen et al.,
"Lip Movements Generation at a Glance", 2018; FID: Heusel et al. 2017.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import Subset

from .. import faces
from ..checkpoints.formats import read_payload
from ..errors import SettingError

RIGHT_EYE, LEFT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
UPPER_LIP, LOWER_LIP = (61, 62, 63), (67, 66, 65)  # inner lips, facing each other


def l1(generated, truth) -> float:
    """Mean absolute difference of two uint8 arrays of one shape, 0 to 255; lower is better."""
    return float(np.abs(np.subtract(generated, truth, dtype=np.int16)).mean())


def psnr(generated, truth) -> float:
    """Peak signal-to-noise ratio of uint8 pictures of one shape, in dB; higher is better, equal ones give infinity."""
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(255**2 / np.square(np.subtract(generated, truth, dtype=float)).mean()))


def ssim(generated, truth) -> float:
    """Structural similarity of two (h, w, 3) uint8 pictures of at least 11 px, up to 1; higher is better.

    Gaussian window of 1.5 px, mean over the colours, the settings of the original publication.
    """
    from skimage.metrics import structural_similarity

    settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(generated, truth, channel_axis=-1, **settings))


def mouth_region(face) -> np.ndarray:
    """Cut the mouth out of a face crop (..., h, w, 3): the lower half, less a fifth of the width at both sides."""
    height, width = face.shape[-3:-1]
    return face[..., height // 2 :, width // 5 : width - width // 5, :]


def sharpness(picture_bgr) -> float:
    """Variance of the Laplacian of a (h, w, 3) uint8 picture, in grey levels squared; blur lowers it."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture_bgr), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def sharpness_ratio(generated, truth) -> float:
    """Sharpness of the mouths of generated faces against that of the true ones, 1 is as sharp; means over frames.

    generated, truth: (n, h, w, 3) uint8 face crops of one size.  NaN where the truth is one flat colour.
    """
    ours, true = (np.mean([sharpness(face) for face in mouth_region(crops)]) for crops in (generated, truth))
    return float(ours / true) if true > 0 else np.nan


def eye_distance(landmarks) -> np.ndarray:
    """Distance of the eyes' centres in pixels: (..., 68, 2) -> (...)."""
    landmarks = np.asarray(landmarks, float)
    eyes = landmarks[..., LEFT_EYE, :].mean(axis=-2) - landmarks[..., RIGHT_EYE, :].mean(axis=-2)
    return np.linalg.norm(eyes, axis=-1)


def mouth_opening(landmarks) -> np.ndarray:
    """Gap between the inner lips as a fraction of the eye distance: (n, 68, 2) -> (n,); NaN where unseen."""
    landmarks = np.asarray(landmarks, float)
    gaps = np.linalg.norm(landmarks[..., LOWER_LIP, :] - landmarks[..., UPPER_LIP, :], axis=-1)
    return gaps.mean(axis=-1) / eye_distance(landmarks)


def correlation(a, b) -> float:
    """Pearson's r of two curves over the frames that both have; NaN with under three, or where one is constant."""
    a, b = (pd.Series(np.asarray(curve, float)) for curve in (a, b))  # by place, whatever the index was
    return a.corr(b, min_periods=3)


def landmark_distance(generated, truth) -> float:
    """LMD: mean distance of the 20 mouth points, in percent of the true eye distance; lower is better.

    generated, truth: (n, 68, 2), NaN where unseen.  The mouths are laid over each other by their centres first, so the
    shape counts and not the place.  NaN where no frame has both.
    """
    both = np.stack([generated, truth]).astype(float)
    known, truth = both[:, np.isfinite(both).all(axis=(0, 2, 3))]
    if not len(known):
        return np.nan
    moved = known[:, MOUTH] - truth[:, MOUTH]
    moved -= moved.mean(axis=1, keepdims=True)
    return float(100 * (np.linalg.norm(moved, axis=2).mean(axis=1) / eye_distance(truth)).mean())


def landmark_track(frames_bgr, boxes) -> np.ndarray:
    """Find the landmarks of one face in every frame: (n, 68, 2), NaN where its box is NaN.

    frames_bgr: iterable of (h, w, 3) uint8, read one at a time.  boxes: (n, 4), see FaceTable.track_boxes.
    """
    found = np.full((len(boxes), 68, 2), np.nan)
    for i, (frame, box) in enumerate(zip(frames_bgr, boxes, strict=False)):
        if np.isfinite(box).all():
            found[i] = faces.landmarks(frame, faces.FaceBox(*map(float, box)))
    return found


def fid(generated_bgr: Sequence, truth_bgr: Sequence, weights) -> float:
    """FID of two collections of (h, w, 3) uint8 pictures of one size; lower is better.

    weights: weights-inception-2015-12-05-6726825d.pth, which torch-fidelity publishes.  Say with every number what the
    pictures were (whole frames or faces) and how many, as few pictures make it too large.  Raises SettingError where
    torch-fidelity is not installed, CheckpointError for a file that is no weight file.
    """
    read_payload(Path(weights))  # refuses code: the library itself would run it
    try:
        from torch_fidelity import calculate_metrics
    except ImportError as error:
        raise SettingError("FID needs the library torch-fidelity: pip install torch-fidelity torchvision") from error
    rgb = [torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).flip(1) for some in (generated_bgr, truth_bgr)]
    crowds = {f"input{k}": Subset(pictures, range(len(pictures))) for k, pictures in enumerate(rgb, 1)}
    how = {"cuda": torch.cuda.is_available(), "verbose": False, "feature_extractor_weights_path": str(weights)}
    return calculate_metrics(fid=True, **crowds, **how)["frechet_inception_distance"]
