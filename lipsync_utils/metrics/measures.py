"""What can be measured, each number with a title, a unit and which way is better; and how sure a mean of it is.

Intervals and tests are over videos, because clips of one video are alike: the bootstrap draws whole videos, and the
permutation test flips the signs of whole videos (Fisher, "The Design of Experiments", 1935).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import DataError

ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Measure:
    """A number that is measured.  better: "lower", "higher", or a target such as "1" to come near to."""

    name: str
    title: str
    unit: str
    better: str
    meaning: str
    decimals: int = 2

    @property
    def label(self) -> str:
        """Title, unit and which way is better: "PSNR (dB) ↑"."""
        return f"{self.title} ({self.unit}) {ARROWS.get(self.better, f'→ {self.better}')}"

    def from_target(self, value):
        """The distance (of a number or an array) to the target; the value itself where there is none."""
        return value if self.better in ARROWS else abs(value - float(self.better))


MEASURES = {
    row[0]: Measure(*row)
    for row in (
        ("lse_d", "LSE-D", "distance", "lower", "distance of lips and sound at the best offset, published SyncNet"),
        ("lse_c", "LSE-C", "distance", "higher", "how much better the best offset is than the median one, same"),
        (
            "judge_distance",
            "judge's distance",
            "distance",
            "lower",
            "distance of lips and sound at the best offset, embedded judge; not comparable with LSE-D",
            3,
        ),
        (
            "judge_confidence",
            "judge's confidence",
            "distance",
            "higher",
            "how much better the best offset is than the median one, embedded judge; not comparable with LSE-C",
            3,
        ),
        ("offset_frames", "offset", "frames", "0", "sound against picture at the best match; a frame is 40 ms", 1),
        (
            "mouth_correlation",
            "mouth opening",
            "r",
            "higher",
            "correlation with the mouth of the true video of that speech, both measured in the same way",
        ),
        (
            "mouth_truth_correlation",
            "mouth opening against ground truth",
            "r",
            "higher",
            "correlation with the opening that the talk show was rendered with",
        ),
        (
            "leakage",
            "leakage",
            "share of frames",
            "lower",
            "frames with an open mouth although the network hears silence (LipLeak)",
        ),
        ("lmd_percent", "LMD", "% of eye distance", "lower", "distance of mouth landmarks to the true ones"),
        ("l1", "L1", "of 255", "lower", "mean difference of the face's pixels to the true ones"),
        ("psnr_db", "PSNR", "dB", "higher", "likeness of the face's pixels to the true ones", 1),
        ("ssim", "SSIM", "0 to 1", "higher", "likeness of local structure to the true picture", 3),
        ("sharpness_ratio", "mouth sharpness", "× truth", "1", "variance of the Laplacian in the mouth region"),
        (
            "identity_distance",
            "identity",
            "distance",
            "lower",
            "face_recognition's distance to the true picture; 0.6 is somebody else",
        ),
        ("fid", "FID", "distance", "lower", "distance of two crowds of faces as Inception sees them", 1),
    )
}


@dataclass(frozen=True)
class Interval:
    """A mean over clips with its interval over videos, and p: how often a mean as far from 0 comes about when the sign
    of each video is left to chance (of use for differences).  NaN for a single video.
    """

    mean: float
    low: float
    high: float
    p: float
    videos: int


def bootstrap(values, videos, *, samples: int = 10_000, level: float = 0.95, seed: int = 1) -> Interval:
    """Mean of clips with a percentile interval from videos drawn with replacement.

    values: (n,), clips that are NaN are left out.  videos: (n,) the video of each clip.  p is exact for up to
    log2(samples) videos, else from random flips.  Raises DataError if no value is left.
    """
    totals = pd.Series(values, dtype=float).groupby(np.asarray(videos)).agg(["sum", "count"])
    sums, counts = totals[totals["count"] > 0].to_numpy(float).T
    if not len(sums):
        raise DataError("there is no value to take a mean of")
    low = high = p = np.nan
    if len(sums) > 1:
        how = {"rng": np.random.default_rng(seed), "n_resamples": samples, "batch": 1000}
        interval = {"paired": True, "confidence_level": level, "method": "percentile"}
        low, high = stats.bootstrap((sums, counts), _mean, **interval, **how).confidence_interval
        p = stats.permutation_test((sums,), np.sum, permutation_type="samples", **how).pvalue
    return Interval(*map(float, (_mean(sums, counts), low, high, p)), len(sums))


def _mean(sums, counts, axis=-1):
    return sums.sum(axis) / counts.sum(axis)
