"""Figures of notebooks 00 to 04: sound with its cuts, what became of every second, faces and what was left of them."""

import io
from collections.abc import Callable, Sequence
from functools import partial

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
#: Look and words of a span by its reason: dark is kept, hatching tells the rest apart without colour.
LOOKS = {
    "": ({"facecolor": "#2171b5"}, "clip"),
    "silence": ({"facecolor": "#f0f0f0"}, "silence"),
    "too_short": ({"facecolor": "#fdae6b", "hatch": "///"}, "too short"),
}
OTHER = {"facecolor": LIGHT, "hatch": "xx"}, "left out for another reason"


def look_of(reason) -> tuple[dict, str]:
    """How a span is drawn, and its words in the legend. reason: of a row; None or NaN for a clip."""
    return LOOKS.get("" if pd.isna(reason) else str(reason), OTHER)


def show_looks(axis, reasons, **place) -> None:
    """A legend of the looks of these reasons."""
    looks = {words: look for look, words in map(look_of, reasons)}
    patches = [Patch(**looks[words], edgecolor="black", label=words) for words in sorted(looks)]
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
    spans = [span for group in plan_clips(find_parts(wav, settings), length_s, settings) for span in group]
    spans = [span for span in spans if span.start_s < end_s and span.end_s > start_s]
    figure, (upper, lower) = subplots(2, 1, figsize=(11, 4.6), sharex=True)
    part = wav[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    step = max(1, len(part) // 1500)
    columns = part[: len(part) // step * step].reshape(-1, step)  # the shape of a sound at any length
    times = start_s + np.arange(len(columns)) * step / SAMPLE_RATE_HZ
    upper.fill_between(times, columns.min(axis=1), columns.max(axis=1), color="#252525", linewidth=0.3)
    for span in spans:
        upper.axvspan(span.start_s, span.end_s, **look_of(span.reason)[0], edgecolor="white", alpha=0.35)
        if span.reason is None:
            cuts = [span.first_frame / settings.fps, span.end_frame / settings.fps]
            upper.vlines(cuts, -1.15, 1.15, color="black", linewidth=1.2)
    for interval in spoken:
        upper.plot(interval, [1.05, 1.05], color="black", linewidth=4, solid_capstyle="butt")
    upper.set(ylim=(-1.15, 1.15), ylabel="sound", title=title)
    show_looks(upper, [span.reason for span in spans], loc="lower right")
    window, hop = settings.min_silence_ms * SAMPLE_RATE_HZ // 1000, SAMPLE_RATE_HZ // 50
    power = pd.Series(np.square(part, dtype=float)).rolling(window, center=True).mean()[::hop]
    level = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DBFS / 10)))
    limit = threshold_dbfs(wav, settings)
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
        look = look_of(row.reason)[0]
        axis.barh(row.video_id, row.end_s - row.start_s, 0.7, row.start_s, **look, edgecolor="black", linewidth=0.5)
    show_looks(axis, rows.reason, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    axis.invert_yaxis()
    axis.set(xlabel="seconds of the video", xlim=(0, rows.end_s.max()))
    figure.suptitle(title)
    return figure


def length_histogram(rows, settings: SplitConfig | None = None) -> Figure:
    """How long the clips and the parts that were too short are, with the limits drawn. rows: of clips.csv."""
    settings, rows = settings or SplitConfig(), pd.DataFrame(rows)
    figure, axis = subplots(figsize=(7, 3))
    lengths = (rows.cut_end_s - rows.cut_start_s).fillna(rows.end_s - rows.start_s)  # of clips as they are cut
    bins = np.arange(0, settings.max_part_s + 0.5, 0.5)
    for reason in (None, "too_short"):
        look, words = look_of(reason)
        found = lengths[rows.reason.isna() if reason is None else rows.reason.astype(str) == reason]
        axis.hist(found, bins, **look, edgecolor="black", label=f"{words} ({len(found)})")
    for limit_s, words in ((settings.min_clip_s, "shortest clip"), (settings.max_part_s, "longest part")):
        axis.axvline(limit_s, color="black", linestyle="--", linewidth=1)
        axis.text(limit_s, axis.get_ylim()[1], f"{words} ", ha="right", va="top", rotation=90, fontsize=8)
    axis.set(xlabel="seconds", ylabel="number", title="How long the parts are")
    axis.legend(fontsize=8)
    return figure


def programme(truth: dict) -> Figure:
    """Who is seen and who speaks in a video of the talk show. truth: its .truth.json."""
    shots, spoken = pd.DataFrame(truth["shots"]), pd.DataFrame(truth["spoken"])
    shades = {kind: str(0.55 + 0.1 * k) for k, kind in enumerate(("group", "inset", "single", "title", "empty"))}
    names = [", ".join((kind, *people)) for kind, people in zip(shots.kind, shots.people)]
    figure, axis = subplots(figsize=(11, 1.5 + 0.35 * spoken.actor.nunique()))
    widths, colours = shots.end_s - shots.start_s, shots.kind.map(shades).fillna("white")
    bars = axis.barh("picture", widths, left=shots.start_s, color=colours, edgecolor="black")
    axis.bar_label(bars, names, label_type="center", fontsize=8, clip_on=True)
    lengths = spoken.end_s - spoken.start_s
    axis.barh(spoken.actor + " speaks", lengths, left=spoken.start_s, color="#2171b5", edgecolor="black", linewidth=0.5)
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


def distance_histogram(distances: Sequence[float], tolerance: float, suggested: float | None = None) -> Figure:
    """How far all looked-at faces are from the reference pictures, with the tolerance drawn."""
    figure, axis = subplots(figsize=(7, 3))
    values, bins = np.asarray(distances, float), np.arange(0, 1.025, 0.025)
    for chosen, colour, name in ((values <= tolerance, DARK, "the speaker"), (values > tolerance, LIGHT, "others")):
        axis.hist(values[chosen], bins, color=colour, edgecolor="black", linewidth=0.4, label=name)
    axis.axvline(tolerance, color="black", linewidth=2, label=f"tolerance {tolerance:g}")
    if suggested is not None:
        axis.axvline(suggested, color=MIDDLE, linestyle="--", linewidth=2, label=f"suggested {suggested:g}")
    axis.set(xlabel="distance to the nearest reference picture", ylabel="faces", xlim=(0, 1))
    axis.set_title("Faces in the looked-at frames")
    axis.legend()
    return figure


def faces_on_frames(frames_bgr: Sequence[np.ndarray], raw: Sequence, boxes: Sequence, labels: Sequence[str]) -> Figure:
    """Frames with the detector's own box (dashed) and the normalised one; raw and boxes: FaceBox or None each."""
    figure, axes = subplots(1, len(frames_bgr), figsize=(2.6 * len(frames_bgr), 2.6), squeeze=False)
    for axis, frame, label, *both in zip(axes.flat, frames_bgr, labels, raw, boxes):
        axis.imshow(frame[..., ::-1])
        for box, colour, line, name in zip(both, ("white", "#fdae61"), ("--", "-"), ("detector", "normalised")):
            if box is not None:
                corner, look = (box.left, box.top), {"edgecolor": colour, "linestyle": line, "linewidth": 1.6}
                axis.add_patch(Rectangle(corner, box.width, box.height, fill=False, label=name, **look))
        axis.set_title(label, fontsize=9)
        axis.axis("off")
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, facecolor=LIGHT)
    return figure


def box_over_time(raw: np.ndarray, boxes: np.ndarray, fps: float = 25.0) -> Figure:
    """Bottom and left side of a track's boxes by time: as detected and after smoothing; (n_frames, 4), NaN in gaps."""
    figure, axes = subplots(2, 1, figsize=(8, 4), sharex=True)
    for axis, column, name in zip(axes, (3, 0), ("bottom (px)", "left (px)")):
        curves = pd.DataFrame({"detector": raw[:, column], "normalised, smooth": boxes[:, column]})
        curves.set_axis(np.arange(len(boxes)) / fps).plot(ax=axis, color=[LIGHT, DARK], ylabel=name, xlabel="time (s)")
    axes[0].set_title("One track's box over time")
    axes[0].invert_yaxis()  # as in a picture: down is down
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
