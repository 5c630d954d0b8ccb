"""Figures of notebook 02: sound with the cuts drawn on it, and what became of every second of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..audio import SAMPLE_RATE_HZ
from ..config import SplitConfig
from ..records import Reason
from ..silence import dbfs, energies, find_parts, plan_clips, threshold_dbfs, window_rms

FLOOR_DBFS = -90.0
# colour, hatch, words: darker is what is kept, hatching tells the rest apart without colour
LOOKS = {
    None: ("#2171b5", "", "clip"),
    Reason.SILENCE: ("#f0f0f0", "", "silence"),
    Reason.TOO_SHORT: ("#fdae6b", "///", "too short"),
}
OTHER = ("#bdbdbd", "xx", "left out for another reason")


def look_of(reason: Reason | None) -> tuple[str, str, str]:
    """Colour, hatch and words for what became of a span."""
    return LOOKS.get(reason, OTHER)


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
    clips, rejected = plan_clips(find_parts(wav, settings), length_s, settings)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(11, 4.6), sharex=True, layout="constrained")
    draw_wave(upper, wav, start_s, end_s)
    for span in [*clips, *rejected]:
        colour, hatch, _ = look_of(span.reason)
        upper.axvspan(span.start_s, span.end_s, facecolor=colour, hatch=hatch, edgecolor="white", alpha=0.35, lw=0)
    for clip in clips:
        for frame in (clip.first_frame, clip.end_frame):
            upper.axvline(frame / settings.fps, color="black", linewidth=1.2)
    for first_s, last_s in spoken:
        upper.plot([first_s, last_s], [1.05, 1.05], color="black", linewidth=4, solid_capstyle="butt")
    upper.set(ylim=(-1.15, 1.15), ylabel="sound", title=title)
    draw_level(lower, wav, settings, start_s, end_s)
    lower.set(xlim=(start_s, end_s), xlabel="seconds")
    inside = [span for span in [*clips, *rejected] if span.start_s < end_s and span.end_s > start_s]
    shown = sorted({span.reason for span in inside}, key=str)
    patches = [Patch(fc=look_of(r)[0], hatch=look_of(r)[1], ec="grey", alpha=0.6, label=look_of(r)[2]) for r in shown]
    upper.legend(handles=patches, loc="lower right", ncols=4, fontsize=8)
    return figure


def draw_wave(axis, wav: np.ndarray, start_s: float, end_s: float, columns: int = 1500) -> None:
    """The highest and lowest sample of each of some columns: the shape of a sound at any length."""
    part = wav[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    step = max(1, len(part) // columns)
    part = part[: len(part) // step * step].reshape(-1, step)
    times = start_s + np.arange(len(part)) * step / SAMPLE_RATE_HZ
    axis.fill_between(times, part.min(axis=1), part.max(axis=1), color="#252525", linewidth=0.3)


def draw_level(axis, wav: np.ndarray, settings: SplitConfig, start_s: float, end_s: float) -> None:
    """The level of every window of min_silence_ms at its middle, and the threshold."""
    rms = window_rms(energies(wav)[0], settings.min_silence_ms) if len(wav) else np.zeros(0)
    first, last = (max(0, int(t * 1000) - settings.min_silence_ms // 2) for t in (start_s, end_s))
    levels = np.array([max(FLOOR_DBFS, dbfs(value)) for value in rms[first:last:20]])
    times = (first + 20 * np.arange(len(levels)) + settings.min_silence_ms / 2) / 1000
    limit = threshold_dbfs(wav, settings)
    axis.plot(times, levels, color="#08519c", linewidth=1)
    axis.axhline(limit, color="#d95f0e", linestyle="--", linewidth=1.5)
    axis.text(
        end_s,
        limit + 1.5,
        f"threshold {limit:.0f} dBFS ",
        ha="right",
        color="#a63603",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
    axis.set(ylim=(FLOOR_DBFS, 0), ylabel=f"level of {settings.min_silence_ms} ms, dBFS")


def timeline(clips: pd.DataFrame, title: str = "What became of every second") -> Figure:
    """One bar per video: clips, silences and what was left out, in their places. clips: clips.csv."""
    rows, videos = list(clips.itertuples()), list(clips.video_id.unique())
    figure, axis = plt.subplots(figsize=(11, 1.2 + 0.34 * len(videos)), layout="constrained")
    for row in rows:
        colour, hatch, _ = look_of(row.reason)
        axis.barh(
            videos.index(row.video_id),
            row.end_s - row.start_s,
            left=row.start_s,
            height=0.7,
            facecolor=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.5,
        )
    looks = [look_of(reason) for reason in sorted({row.reason for row in rows}, key=str)]
    patches = [Patch(facecolor=colour, hatch=hatch, edgecolor="black", label=words) for colour, hatch, words in looks]
    axis.legend(handles=patches, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, fontsize=8, frameon=False)
    axis.set_yticks(range(len(videos)), videos)
    axis.invert_yaxis()
    axis.set(xlabel="seconds of the video", xlim=(0, max(row.end_s for row in rows)))
    figure.suptitle(title)
    return figure


def length_histogram(clips: pd.DataFrame, settings: SplitConfig | None = None) -> Figure:
    """How long the clips and the parts that were too short are, with the limits drawn. clips: clips.csv."""
    settings = settings or SplitConfig()
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    bins = np.arange(0, settings.max_part_s + 0.5, 0.5)
    for reason in (None, Reason.TOO_SHORT):
        colour, hatch, words = look_of(reason)
        chosen = clips[clips.reason.isna() if reason is None else clips.reason == reason]
        lengths = chosen.end_s - chosen.start_s
        axis.hist(lengths, bins, color=colour, hatch=hatch, ec="black", lw=0.5, label=f"{words} ({len(lengths)})")
    for limit_s, words in ((settings.min_clip_s, "shortest clip"), (settings.max_part_s, "longest part")):
        axis.axvline(limit_s, color="black", linestyle="--", linewidth=1)
        axis.text(limit_s, axis.get_ylim()[1], f"{words} ", ha="right", va="top", rotation=90, fontsize=8)
    axis.set(xlabel="seconds", ylabel="number", title="How long the parts are")
    axis.legend(fontsize=8)
    return figure


def programme(truth: dict) -> Figure:
    """Who is seen and who speaks in a video of the talk show. truth: its .truth.json."""
    people = list(dict.fromkeys(s["actor"] for s in truth["spoken"]))
    figure, axis = plt.subplots(figsize=(11, 1.1 + 0.35 * (len(people) + 1)), layout="constrained")
    shades = {kind: str(0.55 + 0.1 * k) for k, kind in enumerate(("group", "inset", "single", "title", "empty"))}
    for shot in truth["shots"]:
        width = shot["end_s"] - shot["start_s"]
        axis.barh(0, width, left=shot["start_s"], facecolor=shades.get(shot["kind"], "white"), edgecolor="black")
        words = f"{shot['kind']}: {', '.join(shot['people'])}" if shot["people"] else shot["kind"]
        axis.text(shot["start_s"] + width / 2, 0, words, ha="center", va="center", fontsize=8, clip_on=True)
    for spoken in truth["spoken"]:
        axis.barh(
            1 + people.index(spoken["actor"]),
            spoken["end_s"] - spoken["start_s"],
            left=spoken["start_s"],
            facecolor="#2171b5",
            edgecolor="black",
            linewidth=0.5,
        )
    axis.set_yticks(range(len(people) + 1), ["picture", *(f"{name} speaks" for name in people)])
    axis.invert_yaxis()
    axis.set(xlim=(0, truth["duration_s"]), xlabel="seconds", title=f"{truth['video_id']}: {truth['title']}")
    return figure
