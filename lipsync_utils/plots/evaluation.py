"""Figures of the evaluation: forest plot, means with intervals, strips at the same frames, traps, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..metrics import MEASURES

COLOURS = {"better": "#1b7837", "worse": "#b2182b", "unclear": "#555555"}
MARKERS = {"better": "o", "worse": "X", "unclear": "s"}


def forest(differences: Sequence, spread: Mapping[str, float], title: str = "Difference to the base") -> Figure:
    """Paired differences with their intervals, one line each; right of zero is better.

    differences: evaluation.Difference records.  spread: by measure, what its differences are divided by (its standard
    deviation over the base's clips), so that all fit on one axis; 1 where it is not given.
    """
    figure, axis = plt.subplots(figsize=(8.5, 0.36 * max(len(differences), 2) + 1.6), layout="constrained")
    for place, row in enumerate(differences):
        measure = MEASURES[row.measure]
        scale = (1 if measure.better == "higher" else -1) / (spread.get(row.measure) or 1.0)
        if row.low is not None:
            axis.plot([scale * row.low, scale * row.high], [-place] * 2, color=COLOURS[row.verdict], linewidth=2.4)
        axis.plot(scale * row.mean, -place, MARKERS[row.verdict], color=COLOURS[row.verdict], markersize=8)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(
        [-p for p in range(len(differences))], [f"{MEASURES[row.measure].title} · {row.model}" for row in differences]
    )
    axis.set_xlabel("← worse     difference / spread over clips     better →")
    axis.set_title(title)
    axis.grid(axis="x", alpha=0.3)
    handles = [
        plt.Line2D([], [], color=COLOURS[k], marker=MARKERS[k], linewidth=2.4, label=words)
        for k, words in (("better", "better"), ("worse", "worse"), ("unclear", "unclear"))
    ]
    axis.legend(handles=handles, loc="best", fontsize=9)
    return figure


def model_strips(rows: Mapping[str, np.ndarray], frames: Sequence[int], title: str = "The same frames") -> Figure:
    """One row of pictures per model. rows: caption -> uint8 (h, w, 3) BGR, all of one size.  frames: their numbers."""
    height, width = next(iter(rows.values())).shape[:2]
    wide = 11.0
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(wide, wide * height / width * len(rows) + 0.6), squeeze=False, layout="constrained"
    )
    for axis, (name, picture) in zip(axes[:, 0], rows.items()):
        axis.imshow(picture[..., ::-1])
        axis.set_ylabel(name, fontsize=10)
        axis.set_yticks([])
        axis.set_xticks([])
    axes[-1, 0].set_xticks((np.arange(len(frames)) + 0.5) * width / len(frames), [str(f) for f in frames], fontsize=9)
    axes[-1, 0].set_xlabel("frame")
    figure.suptitle(title)
    return figure


def offset_curves(
    curves: Mapping[str, np.ndarray], title: str = "The judge's distance when the sound is moved"
) -> Figure:
    """Mean distance against the shift of the sound. curves: name -> (2 k + 1,), for shifts -k .. k frames."""
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for (name, curve), style in zip(curves.items(), ("-", "--", ":", "-.") * 3, strict=False):
        reach = len(curve) // 2
        axis.plot(np.arange(-reach, len(curve) - reach), curve, style, label=name, linewidth=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="sound taken so many frames of 40 ms later", ylabel="mean distance", title=title)
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def case_bars(cases: Sequence, label: str, *, reference: str | None = None, title: str = "") -> Figure:
    """One measure of several cases with intervals. cases: evaluation's CaseResult records.

    label: of the axis.  reference: the case whose mean is drawn as a line through all.
    """
    figure, axis = plt.subplots(figsize=(8.5, 0.4 * len(cases) + 1.4), layout="constrained")
    for place, case in enumerate(cases):
        if case.low is not None:
            axis.plot([case.low, case.high], [-place, -place], color="#33507a", linewidth=2.4)
        axis.plot(case.mean, -place, "o", color="#33507a", markersize=7)
        if case.name == reference:
            axis.axvline(case.mean, color="black", linewidth=0.8, linestyle="--")
    axis.set_yticks([-p for p in range(len(cases))], [case.title for case in cases])
    axis.set(xlabel=label, title=title)
    axis.grid(axis="x", alpha=0.3)
    return figure


def learning_curve(
    points: Sequence, label: str, *, before=None, title: str = "How much of the speaker is needed"
) -> Figure:
    """A measure against the seconds of speaker data, with intervals.

    points: evaluation's CaseResult records.  before: that of the base, drawn as a band.
    """
    figure, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
    seconds = np.array([p.seconds for p in points], float)
    means = np.array([p.mean for p in points], float)
    low = np.array([p.mean if p.low is None else p.low for p in points], float)
    high = np.array([p.mean if p.high is None else p.high for p in points], float)
    axis.errorbar(seconds, means, [means - low, high - means], fmt="o-", capsize=4, color="#33507a", label="fine-tuned")
    if before is not None:
        axis.axhline(before.mean, color="black", linestyle="--", label="base, no fine-tuning")
        if before.low is not None:
            axis.axhspan(before.low, before.high, color="black", alpha=0.08)
    axis.set_xscale("log")
    axis.set_xticks(seconds, [f"{s:g}" for s in seconds], minor=False)
    axis.set_xticks([], minor=True)
    axis.set(xlabel="seconds of the speaker in the training data", ylabel=label, title=title)
    axis.legend()
    axis.grid(alpha=0.3)
    return figure
