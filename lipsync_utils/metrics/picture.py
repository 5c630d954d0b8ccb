"""How a picture compares with the true one: likeness, sharpness of the mouth, flicker.

Sources: SSIM: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004; variance
of the Laplacian: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import DataError


def l1(generated, truth) -> float:
    """Mean absolute difference of two uint8 arrays of one shape, 0 to 255; lower is better."""
    generated, truth = _same_shape(generated, truth)
    return float(np.abs(generated.astype(np.int16) - truth).mean())


def psnr(generated, truth) -> float:
    """Peak signal-to-noise ratio of uint8 pictures of one shape, in dB; higher is better, equal ones give infinity."""
    generated, truth = _same_shape(generated, truth)
    square = np.square(generated.astype(np.float64) - truth).mean()
    return float("inf") if square == 0 else float(10 * np.log10(255**2 / square))


def ssim(generated, truth) -> float:
    """Structural similarity of two (h, w, 3) uint8 pictures of at least 11 px, up to 1; higher is better.

    Gaussian window of 1.5 px, mean over the colours, the settings of the original publication.
    """
    from skimage.metrics import structural_similarity

    generated, truth = _same_shape(generated, truth)
    return float(
        structural_similarity(
            generated,
            truth,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


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
    _same_shape(generated, truth)
    ours, true = (np.mean([sharpness(mouth_region(face)) for face in faces]) for faces in (generated, truth))
    return float(ours / true) if true > 0 else float("nan")


def flicker(generated, truth, inside=None) -> float:
    """Changes from frame to frame outside the mouth that the true video does not have, 0 to 255; lower is better.

    generated, truth: (n, h, w, 3) uint8.  inside: (h, w) or (n, h, w) bool, the region left out; None: the pictures
    are face crops and their lower half is left out.  A constant error does not flicker.
    """
    generated, truth = _same_shape(generated, truth)
    if len(generated) < 2:
        raise DataError("flicker needs at least two frames")
    if inside is None:
        inside = np.zeros(generated.shape[1:3], bool)
        inside[inside.shape[0] // 2 :] = True
    inside = np.broadcast_to(inside, generated.shape[:3])
    total, count, before = 0.0, 0, None
    for frame, true, masked in zip(generated, truth, inside):
        error = frame.astype(np.int16) - true
        if before is not None:
            outside = ~(masked | before[1])
            total += float(np.abs(error - before[0])[outside].sum())
            count += 3 * int(outside.sum())
        before = error, masked
    return total / count if count else float("nan")


def _same_shape(generated, truth):
    generated, truth = np.asarray(generated), np.asarray(truth)
    if generated.shape != truth.shape or generated.dtype != np.uint8 or truth.dtype != np.uint8 or not truth.size:
        got = f"{generated.dtype} {generated.shape} and {truth.dtype} {truth.shape}"
        raise DataError(f"need two uint8 pictures of one shape, got {got}")
    return generated, truth
