"""FID: how far a crowd of generated faces is from a crowd of true ones.

Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017.  The Inception network comes from the
optional library torch-fidelity, and its weights from the user; say with every number what the pictures were (whole
frames or faces) and how many, as few pictures make it too large.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ..checkpoints.formats import read_payload
from ..errors import DataError, SettingError

N_FEATURES = 2048


def frechet_distance(features_a, features_b) -> float:
    """Distance of two normal distributions fitted to (n, d) features: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2)."""
    a, b = (np.asarray(f, np.float64) for f in (features_a, features_b))
    if min(len(a), len(b)) < 2:
        raise DataError(f"FID needs at least two pictures on both sides, got {len(a)} and {len(b)}")
    cov_a, cov_b = (np.atleast_2d(np.cov(f, rowvar=False)) for f in (a, b))
    # the eigenvalues of C1 C2 are real and >= 0; rounding makes them slightly otherwise
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0))
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(0.0, shift + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum()))


def fid(generated_bgr: Iterable, truth_bgr: Iterable, extractor) -> float:
    """FID of two collections of (h, w, 3) uint8 pictures of any size; lower is better.  extractor: load_inception."""
    return frechet_distance(*(picture_features(pictures, extractor) for pictures in (generated_bgr, truth_bgr)))


def picture_features(pictures_bgr: Iterable, extractor) -> np.ndarray:
    """Embed pictures one by one: (n, d).  extractor: takes (1, 3, h, w) uint8 RGB, gives (1, d) or a tuple of it."""
    rows = []
    with torch.inference_mode():
        for picture in pictures_bgr:
            rgb = np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1))[None]
            found = extractor(torch.from_numpy(rgb))
            rows.append((found[0] if isinstance(found, tuple) else found).flatten().float().cpu().numpy())
    if not rows:
        raise DataError("FID got no pictures")
    return np.stack(rows)


def load_inception(weights):
    """Make the extractor from weights-inception-2015-12-05-6726825d.pth, which torch-fidelity publishes.

    Raises SettingError where torch-fidelity is not installed, CheckpointError for a file that is no weight file.
    """
    read_payload(Path(weights))  # refuses code: the library itself would run it
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise SettingError("FID needs the library torch-fidelity: pip install torch-fidelity torchvision") from error
    wanted = [str(N_FEATURES)]
    return FeatureExtractorInceptionV3("inception-v3-compat", wanted, feature_extractor_weights_path=str(weights))
