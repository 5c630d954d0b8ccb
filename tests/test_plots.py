"""plots: each figure shows the numbers that it was given."""

import ipywidgets
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lipsync_utils import plots
from lipsync_utils.config import SplitConfig
from lipsync_utils.faces import FaceBox
from lipsync_utils.records import Reason

matplotlib.use("agg")
PICTURE = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)


@pytest.fixture(autouse=True)
def close():
    """No figure of one test is left for the next."""
    yield
    plt.close("all")


def drawn(figure, folder):
    """The figure once rendered: texts that do not fit or colours that do not exist fail here."""
    figure.savefig(folder / "figure.png", dpi=40)
    return figure


def words(figure):
    """All texts of a figure."""
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def widths(axis):
    """(left, width) of all bars."""
    return [(round(bar.get_x(), 3), round(bar.get_width(), 3)) for bar in axis.patches]


def test_a_slider_draws_the_figure_anew():
    seen = []

    def draw(size):
        seen.append(size)
        return plt.figure(figsize=(size, 1))

    box = plots.sliders(draw, size=ipywidgets.FloatSlider(1.0, min=1, max=3))
    slider, picture = box.children
    before = bytes(picture.value)
    slider.value = 2.0
    after = bytes(picture.value)
    assert seen == [1.0, 2.0] and after != before and after.startswith(b"\x89PNG")


def test_the_waveform_shows_cuts_level_and_threshold(tmp_path):
    rng = np.random.default_rng(0)
    wav = np.concatenate([rng.normal(0, 0.1, 32000), np.zeros(16000), rng.normal(0, 0.1, 32000)]).astype(np.float32)
    figure = drawn(plots.waveform(wav, SplitConfig(keep_silence_ms=0), spoken=[(0, 2)], title="two"), tmp_path)
    upper, lower = figure.axes
    cuts = [round(segment[0][0], 1) for c in upper.collections for segment in getattr(c, "get_segments", list)()]
    assert cuts == [0, 2, 3, 5]
    assert {"clip", "silence"} <= words(figure) and any(w.startswith("threshold -4") for w in words(figure))
    level = lower.lines[0].get_ydata()
    assert np.nanmax(level) == pytest.approx(-20, abs=0.5) and np.nanmin(level) == -90


def test_every_second_of_every_video_has_its_bar(tmp_path):
    rows = pd.DataFrame(
        [("v1", 0, 2, None), ("v1", 2, 3, Reason.SILENCE), ("v2", 0, 0.5, Reason.TOO_SHORT), ("v2", 1, 5, "failed")],
        columns=["video_id", "start_s", "end_s", "reason"],
    )
    figure = drawn(plots.timeline(rows), tmp_path)
    assert sorted(widths(figure.axes[0])) == [(0, 0.5), (0, 2), (1, 4), (2, 1)]
    assert {"clip", "silence", "too short", "left out for another reason"} <= words(figure)
    rows = rows.assign(cut_start_s=[0.0, np.nan, np.nan, np.nan], cut_end_s=[2.2, np.nan, np.nan, np.nan])
    lengths = drawn(plots.length_histogram(rows, SplitConfig()), tmp_path)
    assert {"clip (1)", "too short (1)", "shortest clip 1"} <= words(lengths)


def test_the_programme_says_who_is_seen_and_who_speaks(tmp_path):
    truth = {
        "video_id": "v",
        "title": "t",
        "duration_s": 4,
        "shots": [
            {"kind": "group", "people": ["Ann", "Bob"], "start_s": 0, "end_s": 3},
            {"kind": "title", "people": [], "start_s": 3, "end_s": 4},
        ],
        "spoken": [{"actor": "Bob", "start_s": 1, "end_s": 2.5}],
    }
    figure = drawn(plots.programme(truth), tmp_path)
    assert widths(figure.axes[0]) == [(0, 3), (3, 1), (1, 1.5)]
    assert {"group, Ann, Bob", "title", "Bob speaks", "v: t"} <= words(figure)


def test_faces_and_distances(tmp_path):
    sheet = drawn(plots.contact_sheet([PICTURE] * 5, list("abcde"), "some", columns=3), tmp_path)
    assert [len(axis.images) for axis in sheet.axes] == [1] * 5 and {"a", "e", "some"} <= words(sheet)
    assert (sheet.axes[0].images[0].get_array() == PICTURE[..., ::-1]).all()
    drawn(plots.contact_sheet([], [], "none"), tmp_path)
    histogram = drawn(plots.distance_histogram([0.31, 0.32, 0.7], 0.6, 0.5), tmp_path).axes[0]
    assert sum(bar.get_height() for bar in histogram.patches) == 3
    assert {"tolerance 0.6", "suggested 0.5"} <= words(histogram.figure)
    box = FaceBox(1, 2, 4, 6)
    framed = drawn(plots.faces_on_frames([PICTURE] * 2, [box, None], [FaceBox(3, 4, 6, 7)] * 2, ["x", "y"]), tmp_path)
    outlined = [[patch.get_bbox().extents.tolist() for patch in axis.patches] for axis in framed.axes]
    assert outlined == [[[1, 2, 4, 6], [3, 4, 6, 7]], [[3, 4, 6, 7]]] and "x" in words(framed)
    boxes = np.tile(np.float32([1, 2, 3, 4]), (50, 1))
    curves = drawn(plots.box_over_time(boxes + 1, boxes), tmp_path)
    assert [[line.get_ydata()[0] for line in axis.lines] for axis in curves.axes] == [[5, 4], [2, 1]]
    left = drawn(plots.funnel([("videos", 3, 80), ("clips", 10, 5821), ("kept", 5, 4700)]), tmp_path)
    assert {"10", "5821", "4700"} <= words(left)
    assert sorted(width for _, width in widths(left.axes[0])) == [50, 80.742, 100, 100]


def test_training_curves_show_both_phases_of_both_runs(tmp_path):
    rows = [{"step": k, "phase": "train", "l1": 1 / (k + 1), "sync": 0.7} for k in range(20)]
    rows.append({"step": 19, "phase": "val", "l1": 0.5})
    figure = drawn(plots.training_curves({"one": rows, "two": rows[:3]}, np.zeros((8, 20, 3), np.uint8)), tmp_path)
    first, second, strip = figure.axes
    assert [first.get_title(), second.get_title()] == ["L1 (mean difference, 0..1)", "sync loss"]
    assert [len(line.get_xdata()) for line in first.lines] == [20, 1, 3, 0] and len(strip.images) == 1
    assert {"one, train", "one, val"} <= words(figure)
    drawn(plots.training_curves({"one": []}), tmp_path)


def test_rows_of_faces_and_bars(tmp_path):
    figure = drawn(plots.face_rows({"a": np.stack([PICTURE] * 3), "b": np.stack([PICTURE] * 3)}, [5, 6, 9]), tmp_path)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert (shown[0] == shown[1]).all() and shown[0].shape == (8, 30, 3) and "frame 9" in words(figure)
    bars = drawn(plots.paired_bars({"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 4}}, "u", "t", target=1), tmp_path)
    assert [bar.get_height() for bar in bars.axes[0].patches] == [1, 3, 2, 4]
    offsets = drawn(plots.offset_histogram({"e": {0: 5, -2: 1}}, reach=3), tmp_path).axes[0]
    assert [bar.get_height() for bar in offsets.patches] == [0, 1, 0, 5, 0, 0, 0]
    assert [label.get_text() for label in offsets.get_xticklabels()][1] == "-2"


def test_what_an_expert_sees(tmp_path):
    figure = drawn(plots.similarity(np.eye(5), np.arange(31.0)), tmp_path)
    assert figure.axes[1].lines[0].get_xdata()[[0, -1]].tolist() == [-15, 15]
    assert {"own sound", "sound from elsewhere"} <= words(drawn(plots.cosines([0.9] * 3, [0.1, 0.2]), tmp_path))
    curve = drawn(plots.offset_curves({"own": np.arange(7.0), "other": np.ones(7)}), tmp_path).axes[0]
    assert curve.lines[0].get_xdata().tolist() == [-3, -2, -1, 0, 1, 2, 3]


def table(**columns):
    """Rows as evaluation.differences makes them."""
    rows = pd.DataFrame({"low": -0.2, "high": 0.4, "verdict": "unclear", "difference": 0.1, **columns})
    return rows


def test_differences_have_a_panel_per_measure_in_its_own_unit(tmp_path):
    rows = table(measure=["l1", "l1", "ssim"], model=["without", "with", "with"])
    figure = drawn(plots.differences(rows), tmp_path)
    assert [axis.get_title() for axis in figure.axes] == ["L1 (of 255) ↓", "SSIM (0 to 1) ↑"]
    assert list(figure.axes[0].lines[0].get_xdata()) == [-0.2, 0.4] and {"with", "without"} <= words(figure)


def test_gains_point_up_where_it_got_better(tmp_path):
    rows = table(measure="l1", case="a", seconds=["10", "30"], difference=[-1.0, -2.0], low=-2.5, high=[-0.5, -1.5])
    axis = drawn(plots.gains({"seconds": (rows, "seconds")}, "gain"), tmp_path).axes[0]
    (points,) = axis.containers
    assert points[0].get_ydata().tolist() == [1, 2]
    assert [segment[:, 1].tolist() for segment in points[2][0].get_segments()] == [[0.5, 2.5], [1.5, 2.5]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["10", "30"]
