"""Figures of notebooks 00 to 04 and 08: sound with its cuts, what became of every second, faces and mouths."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..audio import SAMPLE_RATE_HZ
from ..config import SplitConfig
from ..silence import find_parts, plan_clips, threshold_dbfs

subplots = partial(plt.subplots, layout="constrained")

DARK, MIDDLE, LIGHT = "#08519c", "#d95f0e", "#bdbdbd"
FLOOR_DBFS = -90.0
#: Look of a span by what it is: dark is kept, hatching tells the rest apart without colour.
LOOKS = {
    "clip": {"facecolor": "#2171b5"},
    "silence": {"facecolor": "#f0f0f0"},
    "too short": {"facecolor": "#fdae6b", "hatch": "///"},
    "left out for another reason": {"facecolor": LIGHT, "hatch": "xx"},
}


def words_of(reason) -> str:
    """What a span is, one of LOOKS. reason: of a row; None or NaN for a clip."""
    words = "clip" if pd.isna(reason) else str(reason).replace("_", " ")
    return words if words in LOOKS else "left out for another reason"


def show_looks(axis, words, **place) -> None:
    """A legend of these looks."""
    patches = [Patch(**LOOKS[name], edgecolor="black", label=name) for name in sorted(set(words))]
    axis.legend(handles=patches, ncols=4, fontsize=8, **place)


def waveform(
    wav: np.ndarray,
    settings: SplitConfig | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    spoken: Sequence[tuple[float, float]] = (),
    title: str = "",
) -> Figure:
    """The sound from start_s to end_s, its level against the threshold, and the clips that the settings make of it.

    wav: float32 (n,), 16 kHz.  spoken: intervals in seconds that are known to be speech, drawn as a line on top.
    """
    settings, length_s = settings or SplitConfig(), len(wav) / SAMPLE_RATE_HZ
    end_s = min(end_s or length_s, length_s)
    figure, (upper, lower) = subplots(2, 1, figsize=(11, 4.6), sharex=True)
    part = wav[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    step = max(1, len(part) // 1500)
    columns = part[: len(part) // step * step].reshape(-1, step)  # the shape of a sound at any length
    times = start_s + np.arange(len(columns)) * step / SAMPLE_RATE_HZ
    upper.fill_between(times, columns.min(axis=1), columns.max(axis=1), color="#252525", linewidth=0.3)
    spans = [span for group in plan_clips(find_parts(wav, settings), length_s, settings) for span in group]
    spans = [span for span in spans if span.start_s < end_s and span.end_s > start_s]
    for span in spans:
        upper.axvspan(span.start_s, span.end_s, **LOOKS[words_of(span.reason)], edgecolor="white", alpha=0.35)
        if span.reason is None:
            cuts = [span.first_frame / settings.fps, span.end_frame / settings.fps]
            upper.vlines(cuts, -1.15, 1.15, color="black", linewidth=1.2)
    for interval in spoken:
        upper.plot(interval, [1.05, 1.05], color="black", linewidth=4, solid_capstyle="butt")
    upper.set(ylim=(-1.15, 1.15), ylabel="sound", title=title)
    show_looks(upper, [words_of(span.reason) for span in spans], loc="lower right")
    window, hop = settings.min_silence_ms * SAMPLE_RATE_HZ // 1000, SAMPLE_RATE_HZ // 50
    power = pd.Series(np.square(part, dtype=float)).rolling(window, center=True).mean()[::hop]
    level, limit = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DBFS / 10))), threshold_dbfs(wav, settings)
    lower.plot(start_s + level.index / SAMPLE_RATE_HZ, level, color=DARK, linewidth=1)
    lower.axhline(limit, color=MIDDLE, linestyle="--", label=f"threshold {limit:.0f} dBFS")
    lower.set(ylim=(FLOOR_DBFS, 0), ylabel=f"level of {settings.min_silence_ms} ms, dBFS")
    lower.set(xlim=(start_s, end_s), xlabel="seconds")
    lower.legend(loc="lower right")
    return figure


def timeline(rows, title: str = "What became of every second") -> Figure:
    """One bar per video: clips, silences and what was left out, in their places. rows: of clips.csv."""
    rows = pd.DataFrame(rows)
    figure, axis = subplots(figsize=(11, 1.2 + 0.34 * rows.video_id.nunique()))
    for row in rows.itertuples():
        place, look = (row.video_id, row.end_s - row.start_s, 0.7, row.start_s), LOOKS[words_of(row.reason)]
        axis.barh(*place, **look, edgecolor="black", linewidth=0.5)
    show_looks(axis, rows.reason.map(words_of), loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    axis.invert_yaxis()
    axis.set(xlabel="seconds of the video", xlim=(0, rows.end_s.max()))
    figure.suptitle(title)
    return figure


def histogram(groups: Mapping[str, tuple[Sequence[float], dict]], bins, lines: Mapping[str, float], **labels) -> Figure:
    """Histograms of several groups, name -> (values, look), over each other, and lines to compare them with."""
    figure, axis = subplots(figsize=(7, 3))
    for name, (values, look) in groups.items():
        axis.hist(values, bins, edgecolor="black", linewidth=0.4, label=name, **look)
    for (name, at), style in zip(lines.items(), ("-", "--")):
        axis.axvline(at, color="black", linestyle=style, label=name)
    axis.set(**labels)
    axis.legend(fontsize=8)
    return figure


def length_histogram(rows, settings: SplitConfig | None = None) -> Figure:
    """How long the clips and the parts that were too short are, with the limits drawn. rows: of clips.csv."""
    settings, rows, groups = settings or SplitConfig(), pd.DataFrame(rows), {}
    lengths = (rows.cut_end_s - rows.cut_start_s).fillna(rows.end_s - rows.start_s)  # of clips as they are cut
    for words in ("clip", "too short"):
        found = lengths[rows.reason.map(words_of) == words]
        groups[f"{words} ({len(found)})"] = found, LOOKS[words]
    bins, lines = np.arange(0, settings.max_part_s + 0.5, 0.5), {"shortest clip": settings.min_clip_s}
    lines["longest part"] = settings.max_part_s
    return histogram(groups, bins, lines, xlabel="seconds", ylabel="number", title="How long the parts are")


def distance_histogram(distances: Sequence[float], tolerance: float, suggested: float | None = None) -> Figure:
    """How far all looked-at faces are from the reference pictures, with the tolerance drawn."""
    values, lines = np.asarray(distances, float), {f"tolerance {tolerance:g}": tolerance}
    near, others = (values[values <= tolerance], {"color": DARK}), (values[values > tolerance], {"color": LIGHT})
    if suggested is not None:
        lines[f"suggested {suggested:g}"] = suggested
    labels = {"xlabel": "distance to the nearest reference picture", "ylabel": "faces", "xlim": (0, 1)}
    groups, title = {"the speaker": near, "others": others}, "Faces in the looked-at frames"
    return histogram(groups, np.arange(0, 1.025, 0.025), lines, **labels, title=title)


def programme(truth: dict) -> Figure:
    """Who is seen and who speaks in a video of the talk show. truth: its .truth.json."""
    shots, spoken = pd.DataFrame(truth["shots"]), pd.DataFrame(truth["spoken"])
    kinds = {"group": "0.55", "inset": "0.65", "single": "0.75", "title": "0.85", "empty": "0.95"}
    names = [", ".join((kind, *people)) for kind, people in zip(shots.kind, shots.people)]
    figure, axis = subplots(figsize=(11, 1.5 + 0.35 * spoken.actor.nunique()))
    widths, look = shots.end_s - shots.start_s, {"edgecolor": "black", "linewidth": 0.5}
    bars = axis.barh("picture", widths, left=shots.start_s, color=shots.kind.map(kinds), **look)
    axis.bar_label(bars, names, label_type="center", fontsize=8, clip_on=True)
    axis.barh(spoken.actor + " speaks", spoken.end_s - spoken.start_s, left=spoken.start_s, color="#2171b5", **look)
    axis.invert_yaxis()
    axis.set(xlim=(0, truth["duration_s"]), xlabel="seconds", title=f"{truth['video_id']}: {truth['title']}")
    return figure


def sliders(draw: Callable[..., Figure], **controls):
    """Return a widget: the controls above the figure that `draw` makes of their values, by name.

    The figure is a picture widget. (An Output widget, as `ipywidgets.interact` uses, now and then leaves a notebook
    that is run in batch waiting for ever.)
    """
    import ipywidgets

    picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))

    def redraw(_=None):
        figure, png = draw(**{name: control.value for name, control in controls.items()}), io.BytesIO()
        figure.savefig(png, format="png", dpi=90)
        plt.close(figure)
        picture.value = png.getvalue()

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])


def contact_sheet(
    pictures_bgr: Sequence[np.ndarray], labels: Sequence[str], title: str = "", columns: int = 6
) -> Figure:
    """Small pictures (h, w, 3) uint8 BGR with a label each, in rows of `columns`; as wide as a page from 5 columns."""
    rows, wide = max(1, -(-len(pictures_bgr) // columns)), min(2.6, 11 / columns)
    tallest = max((np.shape(picture)[0] / np.shape(picture)[1] for picture in pictures_bgr), default=1.0)
    lines = 1 + max((label.count("\n") for label in labels), default=0)
    size = wide * columns, rows * (wide * tallest + 0.17 * lines) + 0.4
    figure, axes = subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label in zip(axes.flat, pictures_bgr, labels):
        axis.imshow(np.asarray(picture)[..., ::-1])
        axis.set_title(label, fontsize=8)
    figure.suptitle(title)
    return figure


def faces_on_frames(frames_bgr: Sequence[np.ndarray], raw: Sequence, boxes: Sequence, labels: Sequence[str]) -> Figure:
    """Frames with the box of the detector (white) and the normalised one (orange); raw, boxes: FaceBox or None each."""
    pictures = [frame.copy() for frame in frames_bgr]
    for found, colour in ((raw, (255, 255, 255)), (boxes, (0, 140, 255))):
        for picture, box in zip(pictures, found):
            if box is not None:
                left, top, right, bottom = map(round, (box.left, box.top, box.right, box.bottom))
                cv2.rectangle(picture, (left, top), (right, bottom), colour, 1 + picture.shape[1] // 200)
    return contact_sheet(pictures, labels, "white: the detector's box, orange: normalised", len(pictures))


def people(
    image_bgr: np.ndarray, boxes: Sequence, labels: Sequence[str], chosen: Sequence[int] = (), title: str = ""
) -> Figure:
    """A picture (h, w, 3) uint8 BGR with a box and a label for everybody; `chosen`: places in the list, drawn thick."""
    figure, axis = subplots(figsize=(8, 8 * image_bgr.shape[0] / image_bgr.shape[1]))
    axis.imshow(image_bgr[..., ::-1])
    for place, (box, label) in enumerate(zip(boxes, labels)):
        colour, width, weight = ("gold", 4, "bold") if place in chosen else ("white", 2, "normal")
        corner = box.left, box.top
        axis.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=colour, linewidth=width))
        axis.text(*corner, label, va="bottom", weight=weight, backgroundcolor=colour)
    axis.axis("off")
    axis.set_title(title)
    return figure


def curves(axis, table: Mapping[str, Sequence[float]], fps: float, colours: Sequence[str], **labels) -> None:
    """Draw curves by frame against time: name -> (n,), solid, dashed and dotted."""
    table = pd.DataFrame({name: pd.Series(curve) for name, curve in table.items()})
    table.set_index(table.index / fps).plot(ax=axis, color=colours, style=["-", "--", ":"], xlabel="time (s)", **labels)


def box_over_time(raw: np.ndarray, boxes: np.ndarray, fps: float = 25.0) -> Figure:
    """Bottom and left side of a track's boxes by time: as detected and after smoothing; (n_frames, 4), NaN in gaps."""
    figure, axes = subplots(2, 1, figsize=(8, 4), sharex=True)
    for axis, column, name in zip(axes, (3, 0), ("bottom (px)", "left (px)")):
        both = {"detector": raw[:, column], "normalised, smooth": boxes[:, column]}
        curves(axis, both, fps, [LIGHT, DARK], ylabel=name)
    axes[0].set_title("One track's box over time")
    axes[0].invert_yaxis()  # as in a picture: down is down
    return figure


def mouths(rows: Mapping[str, Mapping[str, np.ndarray]], fps: float, title: str = "") -> Figure:
    """Mouth openings over time, one panel per person: {person: {curve: (n,)}}, share of the eye distance."""
    size = 9, 1.9 * len(rows)
    figure, axes = subplots(len(rows), 1, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, (person, table) in zip(axes[:, 0], rows.items()):
        curves(axis, table, fps, ["black", MIDDLE, DARK], ylabel="opening", title=person)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)  # beside the curves, never over them
    figure.suptitle(title)
    return figure


def funnel(counts: Sequence[tuple[str, int, int]]) -> Figure:
    """What was left after each stage, ours beside the article's, each as a share of its own clips."""
    table = pd.DataFrame(counts).set_axis(["stage", "ours", "article"], axis=1).set_index("stage").drop("videos")
    shares = 100 * table / table.iloc[0].clip(lower=1)
    figure, axis = subplots(figsize=(7, 2.6))
    shares[::-1].plot.barh(ax=axis, color=[DARK, MIDDLE], width=0.76)
    for bars, name in zip(axis.containers, table):
        axis.bar_label(bars, table[name][::-1], padding=3, fontsize=9)
    axis.set(xlim=(0, 118), ylabel="", xlabel="share of the clips (%)", title="What was left of the clips")
    axis.legend(loc="lower right")
    return figure


def where_time_goes(calls: Mapping[str, Mapping[str, float]]) -> Figure:
    """Seconds of several calls, split into their steps: {call: {step: seconds}}; "total" is not drawn."""
    steps = ["decode", "detect", "prepare", "network", "blend", "encode"]
    figure, axis = subplots(figsize=(8, 0.9 + 0.6 * len(calls)))
    table = pd.DataFrame(calls).reindex(steps).fillna(0.0).T[::-1]
    table.plot.barh(ax=axis, stacked=True, width=0.8, cmap="viridis", edgecolor="black", linewidth=0.5)
    axis.set(xlabel="seconds", title="What the calls spent their time on")
    axis.legend(ncols=3, fontsize=8)
    return figure
