"""Figures of notebooks 03 and 04: contact sheets, distances with the tolerance, boxes on frames, the funnel."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

DARK, MIDDLE, LIGHT = "#08519c", "#d95f0e", "#bdbdbd"


def contact_sheet(
    pictures_bgr: Sequence[np.ndarray], labels: Sequence[str], title: str = "", columns: int = 6
) -> Figure:
    """Small pictures (h, w, 3) uint8 BGR with a label each, in rows of `columns`; as wide as a page from 5 columns."""
    rows, wide = max(1, -(-len(pictures_bgr) // columns)), min(2.6, 11 / columns)
    tallest = max((np.shape(picture)[0] / np.shape(picture)[1] for picture in pictures_bgr), default=1.0)
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(wide * columns, rows * (wide * tallest + 0.17 * lines) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label in zip(axes.flat, pictures_bgr, labels):
        axis.imshow(np.asarray(picture)[..., ::-1])
        axis.set_title(label, fontsize=8)
    figure.suptitle(title)
    return figure


def distance_histogram(distances: Sequence[float], tolerance: float, suggested: float | None = None) -> Figure:
    """How far all looked-at faces are from the reference pictures, with the tolerance drawn."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    values, edges = np.asarray(distances, float), np.arange(0, 1.025, 0.025)
    axis.hist(
        [values[values <= tolerance], values[values > tolerance]],
        edges,
        stacked=True,
        color=[DARK, LIGHT],
        edgecolor="black",
        linewidth=0.4,
        label=["the speaker", "someone else"],
    )
    axis.axvline(tolerance, color="black", linewidth=2, label=f"tolerance {tolerance:g}")
    if suggested is not None:
        axis.axvline(suggested, color=MIDDLE, linestyle="--", linewidth=2, label=f"suggested {suggested:g}")
    axis.set(
        xlabel="distance to the nearest reference picture",
        ylabel="faces",
        xlim=(0, 1),
        title="Faces in the looked-at frames",
    )
    axis.legend()
    return figure


def faces_on_frames(frames_bgr: Sequence[np.ndarray], raw: Sequence, boxes: Sequence, labels: Sequence[str]) -> Figure:
    """Frames with the detector's own box (dashed) and the normalised one; raw and boxes: FaceBox or None each."""
    figure, axes = plt.subplots(
        1, len(frames_bgr), figsize=(2.6 * len(frames_bgr), 2.6), squeeze=False, layout="constrained"
    )
    for axis, frame, first, second, label in zip(axes.flat, frames_bgr, raw, boxes, labels):
        axis.imshow(frame[..., ::-1])
        for box, colour, line, name in ((first, "white", "--", "detector"), (second, "#fdae61", "-", "normalised")):
            if box is not None:
                axis.add_patch(
                    plt.Rectangle(
                        (box.left, box.top),
                        box.width,
                        box.height,
                        fill=False,
                        edgecolor=colour,
                        linestyle=line,
                        linewidth=1.6,
                        label=name,
                    )
                )
        axis.set_title(label, fontsize=9)
        axis.axis("off")
    handles, names = axes.flat[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=2, facecolor=LIGHT)
    return figure


def box_over_time(raw: np.ndarray, boxes: np.ndarray, fps: float = 25.0) -> Figure:
    """Bottom and left side of a track's boxes by time: as detected and after smoothing; (n_frames, 4), NaN in gaps."""
    figure, axes = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
    seconds = np.arange(len(boxes)) / fps
    for axis, column, name in zip(axes, (3, 0), ("bottom (px)", "left (px)")):
        axis.plot(seconds, raw[:, column], color=LIGHT, linewidth=2.5, label="detector")
        axis.plot(seconds, boxes[:, column], color=DARK, label="normalised, smooth")
        axis.set_ylabel(name)
    axes[0].set_title("One track's box over time")
    axes[0].invert_yaxis()  # as in a picture: down is down
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    axes[1].set_xlabel("time (s)")
    return figure


def funnel(counts: Sequence[tuple[str, int, int]]) -> Figure:
    """What was left after each stage, ours beside the article's, each as a share of its own clips."""
    figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
    counts = [row for row in counts if row[0] != "videos"]
    places = np.arange(len(counts))[::-1]
    for column, colour, name, shift in ((1, DARK, "ours", 0.2), (2, MIDDLE, "article", -0.2)):
        values = np.array([row[column] for row in counts], float)
        shares = 100 * values / max(values[0], 1)
        axis.barh(places + shift, shares, 0.36, color=colour, label=name)
        for place, share, value in zip(places + shift, shares, values):
            axis.text(share + 1, place, f"{value:.0f}", va="center", fontsize=9)
    axis.set_yticks(places, [row[0] for row in counts])
    axis.set(xlim=(0, 118), xlabel="share of the clips (%)", title="What was left of the clips")
    axis.legend(loc="lower right")
    return figure
