"""Figures of the course, each a matplotlib Figure; colours survive greyscale.

The first half, for notebooks 00 to 04 and 08, is shown by the cell that draws: sound with its cuts, what became of
every second, faces and mouths.  The second half, for 05 to 07, 09 and 10, is shown where it is returned: loss curves,
what an expert sees, faces in rows, what fine-tuning changed.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from .audio import SAMPLE_RATE_HZ
from .silence import find_parts, plan_clips, threshold_dbfs

COLOURS = ["#08519c", "#fd8d3c", "#a1d99b", "#6a51a3"]  # dark, light, lighter, dark: greyscale tells neighbours apart
LINES = ["-", "--", "-.", ":"]
FLOOR_DBFS = -90.0
#: Look of a span by what it is: dark is kept, hatching tells the rest apart without colour.
LOOKS = {
    "clip": {"facecolor": "#2171b5"},
    "silence": {"facecolor": "#f0f0f0"},
    "too short": {"facecolor": "#fdae6b", "hatch": "///"},
    "left out for another reason": {"facecolor": "#bdbdbd", "hatch": "xx"},
}
COIN_FLIP = 0.6931  # loss of a judge that guesses
LOSSES = {
    "l1": "L1 (mean difference, 0..1)",
    "sync": "sync loss",
    "bce": "cosine loss",
    "contrastive": "contrastive loss",
    "disc_real_seen": "faces told apart, share",
}
VERDICTS = {"better": ("#1b7837", "o"), "worse": ("#b2182b", "X"), "unclear": ("#555555", "s")}


def subplots(*shape, **options):
    """A figure and its axes, shown by the cell that draws it."""
    return plt.subplots(*shape, layout="constrained", **options)


def closed_subplots(*shape, **options):
    """The same, shown only where it is returned or displayed: an open figure would be shown a second time."""
    figure, axes = subplots(*shape, **options)
    plt.close(figure)
    return figure, axes


# ---- notebooks 00 to 04, and 08


def words_of(reason):
    """What a span is, one of LOOKS. reason: of a row; None or NaN for a clip."""
    words = "clip" if pd.isna(reason) else str(reason).replace("_", " ")
    return words if words in LOOKS else "left out for another reason"


def draw_spans(axis, rows, height, **legend):
    """A bar for each span in the look of its reason. rows: place (on the y axis), start_s, end_s and reason."""
    for words, found in rows.groupby(rows.reason.map(words_of)):
        place, look = (found.place, found.end_s - found.start_s, height, found.start_s), LOOKS[words]
        axis.barh(*place, **look, edgecolor="black", linewidth=0.5, alpha=0.5, label=words)
    axis.legend(ncols=4, fontsize=8, **legend)


def waveform(wav, settings, *, start_s=0.0, end_s=None, spoken=(), title=""):
    """The sound from start_s to end_s, its level against the threshold, and the clips that the settings make of it.

    wav: float32 (n,), 16 kHz.  spoken: intervals in seconds that are known to be speech, drawn as a line on top.
    """
    sound = pd.Series(wav, np.arange(len(wav)) / SAMPLE_RATE_HZ, dtype=float).loc[start_s:end_s]
    figure, (upper, lower) = subplots(2, 1, figsize=(11, 4.6), sharex=True)
    clips, rest = plan_clips(find_parts(wav, settings), len(wav) / SAMPLE_RATE_HZ, settings)
    draw_spans(upper, pd.DataFrame([*clips, *rest]).assign(place=0), 2.3, loc="lower right")
    cuts = [frame / settings.fps for clip in clips for frame in (clip.first_frame, clip.end_frame)]
    upper.vlines(cuts, -1.15, 1.15, color="black", linewidth=1.2)
    step = 1 + len(sound) // 1500
    shape = sound.groupby(np.arange(len(sound)) // step).agg(["min", "max"])  # of a sound of any length
    upper.fill_between(sound.index[::step], shape["min"], shape["max"], color="#252525", linewidth=0.3)
    for interval in spoken:
        upper.plot(interval, [1.05, 1.05], color="black", linewidth=4, solid_capstyle="butt")
    upper.set(ylim=(-1.15, 1.15), ylabel="sound", title=title)
    window, hop = settings.min_silence_ms * SAMPLE_RATE_HZ // 1000, SAMPLE_RATE_HZ // 50
    power = np.square(sound).rolling(window, center=True).mean()[::hop]
    lower.plot(10 * np.log10(power.clip(lower=10 ** (FLOOR_DBFS / 10))), color=COLOURS[0], linewidth=1)
    limit = threshold_dbfs(wav, settings)
    lower.axhline(limit, color=COLOURS[1], linestyle="--", label=f"threshold {limit:.0f} dBFS")
    lower.set(xlim=sound.index[[0, -1]], ylim=(FLOOR_DBFS, 0), xlabel="seconds")
    lower.set_ylabel(f"level of {settings.min_silence_ms} ms, dBFS")
    lower.legend(loc="lower right")
    return figure


def timeline(rows, title="What became of every second"):
    """One bar per video: clips, silences and what was left out, in their places. rows: of clips.csv."""
    places, videos = rows.video_id.factorize()
    figure, axis = subplots(figsize=(11, 1.2 + 0.34 * len(videos)))
    draw_spans(axis, rows.assign(place=places), 0.7, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    axis.set_yticks(range(len(videos)), videos)
    axis.invert_yaxis()
    axis.set(xlabel="seconds of the video", xlim=(0, rows.end_s.max()))
    figure.suptitle(title)
    return figure


def histogram(groups, bins, lines, **labels):
    """Histograms of several groups, name -> values, over each other, and lines to compare them with."""
    figure, axis = subplots(figsize=(7, 3))
    for (name, values), colour in zip(groups.items(), COLOURS):
        axis.hist(values, bins, color=colour, alpha=0.6, edgecolor="black", linewidth=0.4, label=name)
    for (name, at), style in zip(lines.items(), LINES):
        if at is not None:
            axis.axvline(at, color="black", linestyle=style, label=f"{name} {at:g}")
    axis.set(**labels)
    axis.legend(fontsize=8)
    return figure


def length_histogram(rows, settings):
    """How long the clips and the parts that were too short are, with the limits drawn. rows: of clips.csv."""
    lengths = (rows.cut_end_s - rows.cut_start_s).fillna(rows.end_s - rows.start_s)  # of clips as they are cut
    found = {words: lengths[rows.reason.map(words_of) == words] for words in ("clip", "too short")}
    groups = {f"{words} ({len(values)})": values for words, values in found.items()}
    bins = np.arange(0, settings.max_part_s + 0.5, 0.5)
    lines = {"shortest clip": settings.min_clip_s, "longest part": settings.max_part_s}
    return histogram(groups, bins, lines, xlabel="seconds", ylabel="number", title="How long the parts are")


def distance_histogram(distances, tolerance, suggested=None):
    """How far all looked-at faces are from the reference pictures, with the tolerance drawn."""
    values, lines = pd.Series(distances, dtype=float), {"tolerance": tolerance, "suggested": suggested}
    groups = {"the speaker": values[values <= tolerance], "others": values[values > tolerance]}
    label, title = "distance to the nearest reference picture", "Faces in the looked-at frames"
    return histogram(groups, np.arange(0, 1.025, 0.025), lines, xlabel=label, ylabel="faces", title=title)


def programme(truth):
    """Who is seen and who speaks in a video of the talk show. truth: its .truth.json."""
    shots, spoken = pd.DataFrame(truth["shots"]), pd.DataFrame(truth["spoken"])
    names = [", ".join((kind, *people)) for kind, people in zip(shots.kind, shots.people)]
    figure, axis = subplots(figsize=(11, 1.5 + 0.35 * spoken.actor.nunique()))
    widths, look = shots.end_s - shots.start_s, {"edgecolor": "black", "linewidth": 0.5}
    bars = axis.barh("picture", widths, left=shots.start_s, color="0.75", **look)
    axis.bar_label(bars, names, label_type="center", fontsize=8, clip_on=True)
    axis.barh(spoken.actor + " speaks", spoken.end_s - spoken.start_s, left=spoken.start_s, color=COLOURS[1], **look)
    axis.invert_yaxis()
    axis.set(xlim=(0, truth["duration_s"]), xlabel="seconds", title=f"{truth['video_id']}: {truth['title']}")
    return figure


def sliders(draw, **controls):
    """Return a widget: the controls above the figure that `draw` makes of their values, by name.

    The figure is a picture widget. (An Output widget, as `ipywidgets.interact` uses, now and then leaves a notebook
    that is run in batch waiting for ever.)
    """
    import ipywidgets

    picture = ipywidgets.Image(layout=ipywidgets.Layout(max_width="100%"))

    def redraw(_=None):
        figure, png = draw(**{name: control.value for name, control in controls.items()}), io.BytesIO()
        figure.savefig(png, dpi=90)
        plt.close(figure)
        picture.value = png.getvalue()

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])


def contact_sheet(pictures_bgr, labels, title="", columns=6, width=2.6):
    """Pictures (h, w, 3) uint8 BGR with a label each, in rows of `columns`.

    width: of a picture in inches, less where a row would be wider than the page.
    """
    rows, wide = -(-len(pictures_bgr) // columns), min(width, 11 / columns)
    tallest = max((picture.shape[0] / picture.shape[1] for picture in pictures_bgr), default=1.0)
    size = wide * columns, rows * (wide * tallest + 0.35) + 0.4  # a label has up to two lines
    figure = plt.figure(figsize=size, layout="constrained")
    for number, (picture, label) in enumerate(zip(pictures_bgr, labels), 1):
        axis = figure.add_subplot(rows, columns, number)
        axis.imshow(picture[..., ::-1])
        axis.set_title(label, fontsize=8)
        axis.axis("off")
    figure.suptitle(title)
    return figure


def faces_on_frames(frames_bgr, raw, boxes, labels):
    """Frames with the box of the detector (white) and the normalised one (orange); raw, boxes: FaceBox or None each."""
    figure = contact_sheet(frames_bgr, labels, "white: the detector's box, orange: normalised", len(frames_bgr))
    for axis, *both in zip(figure.axes, raw, boxes):
        for box, colour in zip(both, ("white", COLOURS[1])):
            if box is not None:
                outline(axis, box, colour)
    return figure


def outline(axis, box, colour):
    """Draw a FaceBox onto a picture."""
    corner = box.left, box.top
    axis.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=colour, linewidth=2))


def people(image_bgr, boxes, labels, title=""):
    """A picture (h, w, 3) uint8 BGR with a box and a label for everybody."""
    figure = contact_sheet([image_bgr], [""], title, columns=1, width=8)
    for box, label in zip(boxes, labels):
        outline(figure.axes[0], box, "white")
        figure.axes[0].text(box.left, box.top, label, va="bottom", backgroundcolor="white")
    return figure


def mouths(rows, fps, title="", label="opening", **axes):
    """Mouth openings over time, one panel per person: {person: {curve: (n,)}}, share of the eye distance."""
    size, axes = (9, 1.9 * len(rows)), {"sharey": True, **axes}
    figure, panels = subplots(len(rows), 1, figsize=size, sharex=True, squeeze=False, **axes)
    for axis, (person, curves) in zip(panels.flat, rows.items()):
        table = pd.DataFrame({name: pd.Series(curve) for name, curve in curves.items()})
        look = {"color": ["black", *COLOURS[1::-1]], "style": LINES, "title": person}
        table.set_index(table.index / fps).plot(ax=axis, xlabel="time (s)", ylabel=label, **look)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)  # beside the curves, never over them
    figure.suptitle(title)
    return figure


def box_over_time(raw, boxes, fps=25.0):
    """Bottom and left side of a track's boxes by time: as detected and after smoothing; (n_frames, 4), NaN in gaps."""
    rows = {
        name: {"detector": raw[:, side], "normalised, smooth": boxes[:, side]}
        for name, side in (("bottom", 3), ("left", 0))
    }
    figure = mouths(rows, fps, "One track's box over time", "px", sharey=False)
    figure.axes[0].invert_yaxis()  # as in a picture: down is down
    return figure


def funnel(counts):
    """What was left after each stage, ours beside the article's, each as a share of its own clips."""
    table = pd.DataFrame(counts, columns=["stage", "ours", "article"]).set_index("stage").drop("videos")
    shares = 100 * table / table.iloc[0].clip(lower=1)
    figure, axis = subplots(figsize=(7, 2.6))
    shares[::-1].plot.barh(ax=axis, color=COLOURS, width=0.76)
    for bars, name in zip(axis.containers, table):
        axis.bar_label(bars, table[name][::-1], padding=3, fontsize=9)
    axis.set(xlim=(0, 118), ylabel="", xlabel="share of the clips (%)", title="What was left of the clips")
    axis.legend(loc="lower right")
    return figure


def where_time_goes(calls):
    """Seconds of several calls, split into their steps: {call: {step: seconds}}; "total" is not drawn."""
    figure, axis = subplots(figsize=(8, 0.9 + 0.6 * len(calls)))
    table = pd.DataFrame(calls).drop("total", errors="ignore").T[::-1]
    table.plot.barh(ax=axis, stacked=True, width=0.8, cmap="viridis", edgecolor="black", linewidth=0.5)
    axis.set(xlabel="seconds", title="What the calls spent their time on")
    axis.legend(ncols=3, fontsize=8)
    return figure


# ---- notebooks 05 to 07, 09 and 10


def training_curves(runs, strip_rgb=None):
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
    plt.close(figure)
    looks = ("train", 9, {"linewidth": 1, "alpha": 0.6}), ("val", 1, {"marker": "o", "markersize": 4})
    for name in names:
        for (run, table), colour, line in zip(tables.items(), COLOURS, LINES):
            for phase, smooth, look in looks:
                found = table[table.phase == phase].set_index("step")[name].dropna()
                curve, label = found.rolling(smooth, center=True, min_periods=1).mean(), f"{run}, {phase}"
                axes[name].plot(curve, color=colour, linestyle=line, label=label, **look)
        if name in ("sync", "bce"):
            axes[name].axhline(COIN_FLIP, color="grey", linewidth=0.8, label="guessing")
        axes[name].set(xlabel="step", title=LOSSES[name])
        axes[name].legend(fontsize=8)
    if strip_rgb is not None:
        axes["strip"].imshow(strip_rgb)
        axes["strip"].set_title("reference, masked, generated, truth (from above)", fontsize=10)
        axes["strip"].axis("off")
    return figure


def face_rows(rows_bgr, frames=(), title=""):
    """One row of pictures per name. rows_bgr: uint8 BGR (n, h, w, 3).  frames: their numbers, written below."""
    rows = [np.hstack(list(row)) for row in rows_bgr.values()]
    figure = contact_sheet(rows, rows_bgr, title, columns=1, width=11)
    plt.close(figure)
    if len(frames):
        places = (np.arange(len(frames)) + 0.5) * rows[-1].shape[1] / len(frames)
        figure.axes[-1].axis("on")
        figure.axes[-1].set_xticks(places, [f"frame {number}" for number in frames], fontsize=9)
        figure.axes[-1].set_yticks([])
    return figure


def paired_bars(values, ylabel, title, target=0.0, **options):
    """Bars by group and model. values: group -> model -> value; target: a line to reach."""
    figure, axis = closed_subplots(figsize=(7, 3))
    pd.DataFrame(values).T.plot.bar(ax=axis, color=COLOURS, edgecolor="black", rot=0, width=0.8)
    axis.axhline(target, color="grey", linewidth=0.8)
    axis.set(ylabel=ylabel, title=title, **options)
    axis.legend(fontsize=8)
    return figure


def offset_histogram(offsets, reach=15):
    """How many clips have which offset between sound and picture, according to one or more experts.

    offsets: clips by offset in frames, by name of the expert.
    """
    counts = pd.DataFrame(offsets).reindex(range(-reach, reach + 1)).fillna(0)
    label = "offset in frames of 40 ms (positive: the sound is early)"
    return paired_bars(counts.T, "clips", "Offset that the expert sees", xlabel=label)


def similarity(matrix, by_shift):
    """Left: cosine of every picture window with every sound window of a clip. Right: its mean along the diagonals."""
    figure, (left, right) = closed_subplots(1, 2, figsize=(10, 4))
    shown = left.imshow(matrix, vmin=0, vmax=1, origin="lower")
    left.set(xlabel="sound window, frame", ylabel="picture window, frame", title="Cosine")
    figure.colorbar(shown, ax=left, shrink=0.8)
    shift_curves(right, {"mean cosine": by_shift}, marker="o", markersize=3, legend=False)
    right.set(xlabel="shift of the sound, frames", ylabel="mean cosine", title="Mean cosine by shift")
    return figure


def cosines(right, wrong):
    """Histograms of the cosine of lips with their own sound and with another one."""
    groups, labels = {"own sound": right, "sound from elsewhere": wrong}, {"xlabel": "cosine", "ylabel": "windows"}
    figure = histogram(groups, np.linspace(0, 1, 41), {}, **labels, title="What the expert answers")
    plt.close(figure)
    return figure


def shift_curves(axis, curves, **look):
    """Curves against the shift of the sound. curves: name -> (2 k + 1,), for shifts -k .. k frames."""
    table = pd.DataFrame(curves)
    table.set_index(table.index - len(table) // 2).plot(ax=axis, style=LINES, color=COLOURS, **look)
    axis.axvline(0, color="grey", linewidth=0.8)


def offset_curves(curves):
    """The judge's mean distance against the shift of the sound. curves: as for shift_curves."""
    figure, axis = closed_subplots(figsize=(8, 3.6))
    shift_curves(axis, curves, linewidth=2)
    title = "The judge's distance when the sound is moved"
    axis.set(xlabel="sound taken so many frames of 40 ms later", ylabel="mean distance", title=title)
    return figure


def differences(table, title="Difference to the base"):
    """What every model changes against the base: a panel per measure in its own unit, with intervals.

    table: of evaluation.differences.
    """
    from .metrics import MEASURES  # brings torch, which the notebooks before 05 do without

    panels = table.groupby("measure", sort=False)
    size = 2.8 * len(panels), 1.4 + 0.3 * table.model.nunique()
    figure, axes = closed_subplots(1, len(panels), squeeze=False, figsize=size)
    for axis, (name, rows) in zip(axes.flat, panels):
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


def gains(questions, title):
    """What fine-tuning gains, up is better: a row per question, a panel per measure, a line per case.

    questions: label of the x axis -> (table, its column on that axis).  Columns of a table: measure, case, difference,
    low, high, and that one, of numbers or of words; a point per row.
    """
    from .metrics import MEASURES

    measures = next(iter(questions.values()))[0].measure.unique()
    size = 4.4 * len(measures), 3.2 * len(questions) + 0.4
    figure, axes = closed_subplots(len(questions), len(measures), squeeze=False, figsize=size)
    for panels, (label, (table, x)) in zip(axes, questions.items()):
        lines = [""] * 4 if x == "data" else LINES  # other people's data is not more of anything
        for axis, name in zip(panels, measures):
            sign = 1 if MEASURES[name].better == "higher" else -1
            cases = table[table.measure == name].groupby("case", sort=False)
            for colour, line, marker, (case, rows) in zip(COLOURS, lines, "os^D", cases):
                reach = rows[["low", "high"]].sub(rows.difference, axis=0).abs().T[::sign]
                look = {"color": colour, "linestyle": line, "marker": marker}
                at = rows[x].replace(", ", ",\n", regex=True)
                axis.errorbar(at, sign * rows.difference, reach, capsize=4, label=case, **look)
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set(xlabel=label, ylabel=f"gain, {MEASURES[name].unit}", title=MEASURES[name].title)
        panels[0].legend(fontsize=8)
    figure.suptitle(title)
    return figure
