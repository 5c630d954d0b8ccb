"""Figures of notebooks 05, 06, 07 and 10: loss curves, offset histograms, what an expert sees, strips of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

COIN_FLIP = 0.6931  # loss of a judge that guesses
STYLES = (("#08519c", "-"), ("#d95f0e", "--"), ("#238b45", "-."), ("#6a51a3", ":"))
LOSSES = {
    "l1": "L1 (mean difference, 0..1)",
    "sync": "sync loss",
    "bce": "cosine loss",
    "contrastive": "contrastive loss",
    "disc_real_seen": "faces told apart, share",
}


def _series(rows, name, phase):
    found = [(row["step"], row[name]) for row in rows if row["phase"] == phase and name in row]
    return np.array(found).reshape(-1, 2).T


def training_curves(runs: Mapping[str, Sequence[dict]], strip_rgb=None) -> Figure:
    """Loss curves of one or more runs in common axes: thin lines for training, dots for validation.

    runs: history rows by name of the run. strip_rgb: (h, w, 3) samples to show below.
    """
    names = [n for n in LOSSES if any(_series(rows, n, p).size for rows in runs.values() for p in ("train", "val"))]
    wide = 4.2 * max(len(names), 1)
    high = 0.0 if strip_rgb is None else wide * strip_rgb.shape[0] / strip_rgb.shape[1] + 0.4
    figure = plt.figure(figsize=(wide, 3.2 + high), layout="constrained")
    upper, *lower = figure.subfigures(2, 1, height_ratios=(3.2, high)) if high else [figure]
    for axis, name in zip(np.atleast_1d(upper.subplots(1, max(len(names), 1))), names):
        for (colour, line), (run, rows) in zip(STYLES * 3, runs.items()):
            steps, values = _series(rows, name, "train")
            if len(values):
                axis.plot(steps, _smooth(values), color=colour, linestyle=line, linewidth=1, alpha=0.6)
            steps, values = _series(rows, name, "val")
            if len(values):
                axis.plot(
                    steps, values, color=colour, linestyle=line, marker="o", markersize=4, label=f"{run}, held out"
                )
        if name in ("sync", "bce"):
            axis.axhline(COIN_FLIP, color="grey", linewidth=0.8)
            axis.set_ylim(top=max(axis.get_ylim()[1], COIN_FLIP + 0.06))
            axis.text(axis.get_xlim()[1], COIN_FLIP, "guessing ", ha="right", va="bottom", fontsize=8, color="grey")
        axis.set(xlabel="step", title=LOSSES[name])
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    if lower:
        show_picture(lower[0].subplots(), strip_rgb, "reference, masked, generated, truth (from above)")
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure


def _smooth(values, width: int = 9):
    """Mean over a window that shrinks at the ends."""
    if len(values) < 3:
        return values
    half = min(width // 2, (len(values) - 1) // 2)
    sums = np.cumsum(np.pad(values, (1, 0)))
    index = np.arange(len(values))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def show_picture(axis, picture_rgb, title: str = "") -> None:
    """A picture without ticks."""
    axis.imshow(picture_rgb)
    axis.set_title(title, fontsize=10)
    axis.axis("off")


def strips(pictures_rgb: Mapping[str, np.ndarray]) -> Figure:
    """Pictures of faces, one under the other, each with its title."""
    figure, axes = plt.subplots(
        len(pictures_rgb),
        1,
        squeeze=False,
        layout="constrained",
        figsize=(11, sum(11 * p.shape[0] / p.shape[1] + 0.35 for p in pictures_rgb.values())),
    )
    for axis, (title, picture) in zip(axes[:, 0], pictures_rgb.items()):
        show_picture(axis, picture, title)
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure


def face_rows(faces_bgr: Mapping[str, np.ndarray]) -> Figure:
    """One row of faces per name: uint8 BGR (n, h, w, 3) each."""
    return strips({name: np.concatenate(list(faces[..., ::-1]), axis=1) for name, faces in faces_bgr.items()})


def offset_histogram(offsets: Mapping[str, Mapping[int, int]], reach: int = 15) -> Figure:
    """How many clips have which offset between sound and picture, according to one or more experts.

    offsets: clips by offset in frames, by name of the expert.
    """
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    shifts, width = np.arange(-reach, reach + 1), 0.8 / len(offsets)
    for k, ((colour, _), (name, counts)) in enumerate(zip(STYLES, offsets.items())):
        bars = axis.bar(
            shifts + (k - (len(offsets) - 1) / 2) * width,
            [counts.get(int(s), 0) for s in shifts],
            width,
            color=colour,
            label=name,
        )
        for bar in bars:
            bar.set_hatch(("", "//", "..", "xx")[k % 4])
    axis.set(
        xlabel="offset in frames of 40 ms (positive: the sound is early)",
        ylabel="clips",
        title="Offset that the expert sees",
    )
    axis.legend()
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure


def similarity(matrix: np.ndarray, by_shift: np.ndarray, reach: int = 15) -> Figure:
    """Left: cosine of every picture window with every sound window of a clip. Right: its mean along the diagonals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    shown = left.imshow(matrix, cmap="viridis", vmin=0, vmax=1, origin="lower")
    left.set(xlabel="sound window, frame", ylabel="picture window, frame", title="Cosine")
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.plot(np.arange(-reach, reach + 1), by_shift, color=STYLES[0][0], marker="o", markersize=3)
    right.axvline(0, color="grey", linewidth=0.8)
    right.set(xlabel="shift of the sound, frames", ylabel="mean cosine", title="Mean cosine by shift")
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure


def cosines(right: Sequence[float], wrong: Sequence[float]) -> Figure:
    """Histograms of the cosine of lips with their own sound and with another one."""
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    bins = np.linspace(0, 1, 41)
    axis.hist(wrong, bins, color=STYLES[1][0], alpha=0.6, label="sound from elsewhere", hatch="//")
    axis.hist(right, bins, color=STYLES[0][0], alpha=0.6, label="own sound")
    axis.set(xlabel="cosine", ylabel="windows", title="What the expert answers")
    axis.legend()
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure


def paired_bars(
    values: Mapping[str, Mapping[str, float]], ylabel: str, title: str, target: float | None = None
) -> Figure:
    """Bars by measure and model. values: measure -> model -> value; target: a line to reach."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    models = list(next(iter(values.values())))
    for k, model in enumerate(models):
        places = np.arange(len(values)) + (k - (len(models) - 1) / 2) * 0.8 / len(models)
        axis.bar(
            places,
            [v[model] for v in values.values()],
            0.75 / len(models),
            color=STYLES[k % 4][0],
            hatch=("", "//", "..", "xx")[k % 4],
            label=model,
        )
    if target is not None:
        axis.axhline(target, color="grey", linewidth=0.8)
    axis.set_xticks(np.arange(len(values)), list(values))
    axis.set(ylabel=ylabel, title=title)
    axis.legend(fontsize=8)
    plt.close(figure)  # a notebook shows the returned figure, and would show an open one a second time
    return figure
