"""Figures of notebook 08: who is in the picture, which mouths moved, what a call spends its time on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def people(
    image_bgr: np.ndarray, boxes: Sequence, labels: Sequence[str], chosen: Sequence[int] = (), title: str = ""
) -> Figure:
    """A picture (h, w, 3) uint8 BGR with a box and a label for everybody; `chosen`: places in the list, drawn thick."""
    figure, axis = plt.subplots(figsize=(8, 8 * image_bgr.shape[0] / image_bgr.shape[1]), layout="constrained")
    axis.imshow(image_bgr[..., ::-1])
    for place, (box, label) in enumerate(zip(boxes, labels)):
        wide = place in chosen
        axis.add_patch(
            Rectangle(
                (box.left, box.top),
                box.width,
                box.height,
                fill=False,
                linewidth=4 if wide else 2,
                edgecolor="gold" if wide else "white",
            )
        )
        axis.text(
            box.left,
            box.top,
            label,
            va="bottom",
            color="black",
            weight="bold" if wide else "normal",
            backgroundcolor="gold" if wide else "white",
        )
    axis.axis("off")
    axis.set_title(title)
    return figure


def mouths(rows: Mapping[str, Mapping[str, np.ndarray]], fps: float, title: str = "") -> Figure:
    """Mouth openings over time, one panel per person: {person: {curve: (n,)}}, share of the eye distance."""
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(9, 1.9 * len(rows)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    looks = [("black", "-", 1.2), ("#d95f0e", "--", 2.0), ("#08519c", ":", 2.0)]
    for axis, (person, curves) in zip(axes[:, 0], rows.items()):
        for (name, curve), (colour, style, width) in zip(curves.items(), looks):
            axis.plot(np.arange(len(curve)) / fps, curve, style, color=colour, linewidth=width, label=name)
        axis.set(ylabel="opening", title=person)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)  # beside the curves, never over them
    axes[-1, 0].set_xlabel("time (s)")
    figure.suptitle(title)
    return figure


def where_time_goes(calls: Mapping[str, Mapping[str, float]]) -> Figure:
    """Seconds of several calls, split into their steps: {call: {step: seconds}}; "total" is not drawn."""
    steps = ("decode", "detect", "prepare", "network", "blend", "encode")
    figure, axis = plt.subplots(figsize=(8, 0.9 + 0.6 * len(calls)), layout="constrained")
    shades, left = plt.get_cmap("viridis")(np.linspace(0.05, 0.95, len(steps))), np.zeros(len(calls))
    for step, shade in zip(steps, shades):
        seconds = np.array([call.get(step, 0.0) for call in calls.values()])
        axis.barh(list(calls), seconds, left=left, color=shade, edgecolor="black", linewidth=0.5, label=step)
        left += seconds
    axis.invert_yaxis()
    axis.set(xlabel="seconds", title="What the calls spent their time on")
    axis.legend(ncols=3, fontsize=8)
    return figure
