"""How sure a mean is: intervals and tests over videos, because clips of one video are alike.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval, clusters resampled
whole); Fisher, "The Design of Experiments", 1935 (sign flips).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError

EXACT_UP_TO = 16  # videos: 2^16 sign flips are tried one by one, for more videos random ones


@dataclass(frozen=True)
class Interval:
    """A mean over clips with its interval; low and high are NaN for a single video."""

    mean: float
    low: float
    high: float
    videos: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of (ours - theirs) on the same clips, its interval, and p: how often chance gives one as large."""

    mean: float
    low: float
    high: float
    p: float
    videos: int


def bootstrap(values, videos, *, samples: int = 10_000, level: float = 0.95, seed: int = 1) -> Interval:
    """Mean of clips with a percentile interval from videos drawn with replacement.

    values: (n,), clips that are NaN are left out.  videos: (n,) the video of each clip.  Raises DataError if none left.
    """
    sums, counts = _per_video(values, videos)
    n = len(sums)
    mean = sums.sum() / counts.sum()
    if n < 2:
        return Interval(float(mean), float("nan"), float("nan"), n)
    rng, means = np.random.default_rng(seed), np.empty(samples)
    for start in range(0, samples, 1000):
        drawn = rng.integers(0, n, (min(1000, samples - start), n))
        means[start : start + 1000] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean), float(low), float(high), n)


def paired_difference(
    ours, theirs, videos, *, samples: int = 10_000, level: float = 0.95, seed: int = 1
) -> PairedDifference:
    """Compare two models on the same clips: mean difference, interval over videos, two-sided p.

    ours, theirs: (n,), clip by clip; a clip that is NaN in one is left out of both.  p is that of the test that flips
    the sign of each video's differences: exact up to 16 videos, else by random flips.  NaN for a single video.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        raise DataError(f"a paired comparison needs the same clips, got {len(ours)} and {len(theirs)} values")
    found = bootstrap(ours - theirs, videos, samples=samples, level=level, seed=seed)
    sums, counts = _per_video(ours - theirs, videos)
    p = _sign_flip_p(sums / counts.sum(), samples, seed)
    return PairedDifference(found.mean, found.low, found.high, p, found.videos)


def _sign_flip_p(shares, samples, seed):
    """Two-sided p of the sum of shares (n,) when each video's sign is left to chance."""
    n = len(shares)
    if n < 2:
        return float("nan")
    observed = abs(shares.sum()) * (1 - 1e-12)
    if n <= EXACT_UP_TO:
        sums = np.zeros(1)
        for share in shares:
            sums = np.concatenate([sums + share, sums - share])
        return float((np.abs(sums) >= observed).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (samples, n)) * 2.0 - 1
    hits = int((np.abs(signs @ shares) >= observed).sum())
    return (hits + 1) / (samples + 1)


def _per_video(values, videos):
    """Sums and counts of the finite values of each video, videos in the order of their names."""
    values, videos = np.asarray(values, float), np.asarray(videos)
    if values.shape != videos.shape:
        raise DataError(f"every value needs its video, got {len(values)} values and {len(videos)} videos")
    known = np.isfinite(values)
    if not known.any():
        raise DataError("there is no value to take a mean of")
    _, place = np.unique(videos[known], return_inverse=True)
    return np.bincount(place, weights=values[known]), np.bincount(place).astype(float)
