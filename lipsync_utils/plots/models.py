"""Figures of notebooks 05 to 10: loss curves, what an expert sees, faces in rows, what fine-tuning changed."""

from collections.abc import Mapping, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..metrics import MEASURES
from .data import histogram, subplots

COIN_FLIP = 0.6931  # loss of a judge that guesses
COLOURS = ["#08519c", "#fd8d3c", "#a1d99b", "#6a51a3"]  # dark, light, lighter, dark: greyscale tells neighbours apart
STYLES = [{"color": colour, "linestyle": line} for colour, line in zip(COLOURS, ("-", "--", "-.", ":"))]
LOSSES = {
    "l1": "L1 (mean difference, 0..1)",
    "sync": "sync loss",
    "bce": "cosine loss",
    "contrastive": "contrastive loss",
    "disc_real_seen": "faces told apart, share",
}
VERDICTS = {"better": ("#1b7837", "o"), "worse": ("#b2182b", "X"), "unclear": ("#555555", "s")}


def closed(draw):
    """A figure that a notebook shows because it is returned; an open one would be shown a second time."""

    @wraps(draw)
    def drawn(*args, **options) -> Figure:
        figure = draw(*args, **options)
        plt.close(figure)
        return figure

    return drawn


@closed
def training_curves(runs: Mapping[str, Sequence[dict]], strip_rgb=None) -> Figure:
    """Loss curves of one or more runs in common axes: thin lines for training, dots for validation.

    runs: history rows by name of the run. strip_rgb: (h, w, 3) samples to show below.
    """
    tables = {run: pd.DataFrame(rows, columns=["step", "phase", *LOSSES]) for run, rows in runs.items()}
    names = [name for name in LOSSES if any(table[name].notna().any() for table in tables.values())] or ["l1"]
    wide, layout, heights = 4.2 * len(names), [names], [3.2]
    if strip_rgb is not None:
        layout.append(["strip"] * len(names))
        heights.append(wide * strip_rgb.shape[0] / strip_rgb.shape[1] + 0.4)
    size = {"figsize": (wide, sum(heights)), "height_ratios": heights}
    figure, axes = plt.subplot_mosaic(layout, layout="constrained", **size)
    for name in names:
        axis = axes[name]
        for style, (run, table) in zip(STYLES * 3, tables.items()):
            found = table.set_index("step")[[name, "phase"]].dropna()
            train, held_out = (found[name][found.phase == phase] for phase in ("train", "val"))
            axis.plot(train.rolling(9, center=True, min_periods=1).mean(), **style, linewidth=1, alpha=0.6)
            if len(held_out):
                axis.plot(held_out, **style, marker="o", markersize=4, label=f"{run}, held out")
        if name in ("sync", "bce"):
            axis.axhline(COIN_FLIP, color="grey", linewidth=0.8, label="guessing")
        axis.set(xlabel="step", title=LOSSES[name])
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    if strip_rgb is not None:
        axes["strip"].imshow(strip_rgb)
        axes["strip"].set_title("reference, masked, generated, truth (from above)", fontsize=10)
        axes["strip"].axis("off")
    return figure


@closed
def face_rows(rows_bgr: Mapping[str, np.ndarray], frames: Sequence[int] = (), title: str = "") -> Figure:
    """One row of pictures per name. rows_bgr: uint8 BGR (h, w, 3), or (n, h, w, 3) to be laid side by side.

    frames: the numbers of the pictures in a row, written below.
    """
    rows = {name: np.hstack(list(row)) if np.ndim(row) == 4 else row for name, row in rows_bgr.items()}
    size = 11, sum(11 * row.shape[0] / row.shape[1] + 0.35 for row in rows.values()) + 0.4
    figure, axes = subplots(len(rows), 1, squeeze=False, figsize=size)
    for axis, (name, row) in zip(axes[:, 0], rows.items()):
        axis.imshow(row[..., ::-1])
        axis.set_title(name, fontsize=10)
        axis.set(xticks=[], yticks=[])
    middles = (np.arange(len(frames)) + 0.5) * row.shape[1] / max(len(frames), 1)
    axis.set_xticks(middles, [f"frame {number}" for number in frames], fontsize=9)
    figure.suptitle(title)
    return figure


@closed
def paired_bars(
    values: Mapping[str, Mapping], ylabel: str, title: str, target: float | None = None, **options
) -> Figure:
    """Bars by group and model. values: group -> model -> value; target: a line to reach."""
    figure, axis = subplots(figsize=(7, 3))
    pd.DataFrame(values).T.plot.bar(ax=axis, color=COLOURS, edgecolor="black", rot=0, width=0.8)
    if target is not None:
        axis.axhline(target, color="grey", linewidth=0.8)
    axis.set(ylabel=ylabel, title=title, **options)
    axis.legend(fontsize=8)
    return figure


def offset_histogram(offsets: Mapping[str, Mapping[int, int]], reach: int = 15) -> Figure:
    """How many clips have which offset between sound and picture, according to one or more experts.

    offsets: clips by offset in frames, by name of the expert.
    """
    counts = pd.DataFrame(offsets).reindex(range(-reach, reach + 1)).fillna(0)
    label = "offset in frames of 40 ms (positive: the sound is early)"
    return paired_bars(counts.T, "clips", "Offset that the expert sees", xlabel=label)


@closed
def similarity(matrix: np.ndarray, by_shift: np.ndarray, reach: int = 15) -> Figure:
    """Left: cosine of every picture window with every sound window of a clip. Right: its mean along the diagonals."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 4))
    shown = left.imshow(matrix, vmin=0, vmax=1, origin="lower")
    left.set(xlabel="sound window, frame", ylabel="picture window, frame", title="Cosine")
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.plot(np.arange(-reach, reach + 1), by_shift, **STYLES[0], marker="o", markersize=3)
    right.axvline(0, color="grey", linewidth=0.8)
    right.set(xlabel="shift of the sound, frames", ylabel="mean cosine", title="Mean cosine by shift")
    return figure


@closed
def cosines(right: Sequence[float], wrong: Sequence[float]) -> Figure:
    """Histograms of the cosine of lips with their own sound and with another one."""
    named = {"sound from elsewhere": (wrong, COLOURS[1]), "own sound": (right, COLOURS[0])}
    groups = {name: (values, {"color": colour, "alpha": 0.6}) for name, (values, colour) in named.items()}
    labels = {"xlabel": "cosine", "ylabel": "windows", "title": "What the expert answers"}
    return histogram(groups, np.linspace(0, 1, 41), {}, **labels)


@closed
def offset_curves(
    curves: Mapping[str, np.ndarray], title: str = "The judge's distance when the sound is moved"
) -> Figure:
    """Mean distance against the shift of the sound. curves: name -> (2 k + 1,), for shifts -k .. k frames."""
    figure, axis = subplots(figsize=(8, 3.6))
    table = pd.DataFrame(curves)
    table.set_index(table.index - len(table) // 2).plot(ax=axis, style=["-", "--", ":"], color=COLOURS, linewidth=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="sound taken so many frames of 40 ms later", ylabel="mean distance", title=title)
    return figure


@closed
def differences(table: pd.DataFrame, title: str = "Difference to the base") -> Figure:
    """What every model changes against the base: a panel per measure in its own unit, at most eight, with intervals.

    table: of evaluation.differences.
    """
    measures = list(table.measure.unique())[:8]
    down, across = -(-len(measures) // 4), min(4, len(measures))
    size = 3.1 * across, (0.9 + 0.3 * table.model.nunique()) * down + 0.5
    figure, axes = subplots(down, across, squeeze=False, figsize=size)
    for axis in axes.flat[len(measures) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, measures):
        rows = table[table.measure == name]
        for place, row in enumerate(rows.itertuples()):
            colour, marker = VERDICTS[row.verdict]
            axis.plot([row.low, row.high], [-place] * 2, color=colour, linewidth=2.4)
            axis.plot(row.difference, -place, marker, color=colour, markersize=7)
        axis.axvline(0, color="black", linewidth=1)
        axis.set_yticks(-np.arange(len(rows)), rows.model)
        axis.margins(y=0.3)
        axis.locator_params(axis="x", nbins=3)
        axis.set_title(MEASURES[name].label, fontsize=9)
    figure.suptitle(f"{title} (● better, ✖ worse, ■ unclear)")
    return figure


@closed
def gains(questions: Mapping[str, tuple[pd.DataFrame, str]], title: str) -> Figure:
    """What fine-tuning gains, up is better: a row per question, a panel per measure, a line per case.

    questions: label of the x axis -> (table, its column on that axis).  Columns of a table: measure, case, difference,
    low, high, and that one; a point per row.  Seconds are on a logarithmic scale.
    """
    measures = list(next(iter(questions.values()))[0].measure.unique())
    size = 4.4 * len(measures), 3.2 * len(questions) + 0.4
    figure, axes = subplots(len(questions), len(measures), squeeze=False, figsize=size)
    for panels, (label, (table, x)) in zip(axes, questions.items()):
        for axis, name in zip(panels, measures):
            sign = 1 if MEASURES[name].better == "higher" else -1
            cases = table[table.measure == name].groupby("case", sort=False)
            for style, marker, (case, rows) in zip(STYLES, "os^D", cases):
                reach = rows[["low", "high"]].sub(rows.difference, axis=0).abs().T[::sign]
                style = (
                    style | {"marker": marker, "capsize": 4, "label": case} | ({"linestyle": ""} if x == "data" else {})
                )
                at = rows[x].str.replace(", ", ",\n") if x == "data" else rows[x]
                axis.errorbar(at, sign * rows.difference, reach, **style)
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set(xlabel=label, ylabel=f"gain, {MEASURES[name].unit}", title=MEASURES[name].title)
            if x == "seconds":
                ticks = sorted(table[x].unique())
                axis.set(xscale="log", xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
                axis.minorticks_off()
        panels[0].legend(fontsize=8)
    figure.suptitle(title)
    return figure
