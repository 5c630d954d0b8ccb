"""evaluation: what is said about numbers follows from the numbers, and the page and films hold what they should."""

import re
from dataclasses import fields

import cv2
import numpy as np
import pytest

from lipsync_utils import evaluation, metrics
from lipsync_utils.config import EvaluationConfig
from lipsync_utils.errors import DataError, SettingError
from lipsync_utils.evaluation import compare, films, words
from lipsync_utils.evaluation.clips import TestClip, spread
from lipsync_utils.evaluation.judge import moved
from lipsync_utils.evaluation.stage import cases
from lipsync_utils.media import VideoWriter, frames, probe
from lipsync_utils.records import read_rows, write_csv

QUICK = EvaluationConfig(bootstrap=400)


def score(model, number, **values):
    """A row with the given measures; every clip is a video of its own."""
    empty = dict.fromkeys(f.name for f in fields(evaluation.Score))
    return evaluation.Score(
        **{
            **empty,
            "model": model,
            "clip_id": f"c{number:02d}",
            "video_id": f"v{number:02d}",
            "group": "speaker",
            "speech": "own",
            "speech_id": f"c{number:02d}",
            "judge": "j",
            "frames": 50,
            **values,
        }
    )


@pytest.fixture(scope="module")
def scores():
    """Twelve clips: "without" is clearly better in L1 and unclear in SSIM, "with" clearly worse in L1."""
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        hard, l1 = rng.normal(0, 2), 10 + rng.normal(0, 2)
        rows.append(score("truth", number, sharpness_ratio=1.0))
        rows.append(score("base", number, l1=l1 + hard, ssim=0.8 + 0.01 * rng.normal(), sharpness_ratio=1.4))
        rows.append(
            score(
                "without",
                number,
                l1=l1 + hard - 1 + 0.1 * rng.normal(),
                ssim=0.8 + 0.01 * rng.normal(),
                sharpness_ratio=0.7,
            )
        )
        rows.append(score("with", number, l1=l1 + hard + 1 + 0.1 * rng.normal(), ssim=None, sharpness_ratio=1.1))
    return rows


def test_rows_survive_the_way_to_disk_and_back(tmp_path, scores):
    write_csv(tmp_path / "results.csv", scores, evaluation.Score)
    again = read_rows(tmp_path / "results.csv", evaluation.Score)
    assert [r.clip_id for r in again] == [r.clip_id for r in scores]
    assert again[1].l1 == pytest.approx(scores[1].l1, abs=1e-4) and again[0].l1 is None


def test_every_number_of_a_row_is_a_known_measure():
    plain = {"model", "clip_id", "video_id", "group", "speech", "speech_id", "judge", "frames", "reason", "note"}
    assert {f.name for f in fields(evaluation.Score)} - plain <= set(metrics.MEASURES)


def test_differences_are_paired_so_hard_clips_do_not_blur_them(scores):
    by = {(d.model, d.measure): d for d in evaluation.differences(scores, settings=QUICK)}
    better, worse = by["without", "l1"], by["with", "l1"]
    assert better.verdict == "better" and better.mean == pytest.approx(-1, abs=0.15) and better.p < 0.01
    assert worse.verdict == "worse" and worse.low > 0
    assert by["without", "ssim"].verdict == "unclear"
    assert ("with", "ssim") not in by and ("truth", "sharpness_ratio") not in by
    table = evaluation.summaries(scores, ["l1"], settings=QUICK)
    assert {row.model for row in table} == {"base", "without", "with"}
    assert all(row.high - row.low > better.high - better.low for row in table)  # unpaired intervals are wider


def test_a_measure_with_a_target_is_better_nearer_to_it(scores):
    by = {d.model: d for d in evaluation.differences(scores, measures=["sharpness_ratio"], settings=QUICK)}
    assert by["without"].mean == pytest.approx(0.3 - 0.4) and by["without"].verdict == "better"
    assert by["with"].mean == pytest.approx(0.1 - 0.4)


def test_two_videos_give_no_interval_and_the_sentence_says_so(scores):
    few = [row for row in scores if row.video_id in ("v00", "v01")]
    found = [d for d in evaluation.differences(few, measures=["l1"], settings=QUICK) if d.model == "without"]
    assert found[0].low is None and found[0].verdict == "unclear" and not found[0].significant
    assert "too few" in words.difference_sentence(found[0])


def test_clips_of_one_video_count_as_one(scores):
    one = [evaluation.Score(**{**vars(row), "video_id": "v00"}) for row in scores]
    assert all(d.low is None for d in evaluation.differences(one, measures=["l1"], settings=QUICK))


def test_comparing_with_what_was_not_measured_is_an_error(scores):
    with pytest.raises(DataError, match="no scores of 'other'"):
        evaluation.differences(scores, base="other")


def test_sentences_follow_the_numbers(scores):
    found = evaluation.differences(scores, settings=QUICK)
    by = {(d.model, d.measure): d for d in found}
    text = words.difference_sentence(by["without", "l1"])
    assert "not chance" in text and "improvement" in text and "12 videos" in text
    assert f"{by['without', 'l1'].low:+.3f}" in text
    assert "chance alone" in words.difference_sentence(by["without", "ssim"])
    assert "loss" in words.difference_sentence(by["with", "l1"])
    answer = words.answer_paragraph(found)
    assert "without the discriminator it is significant in L1" in answer
    assert "with the discriminator it is significant in none of them, negative in L1" in answer
    assert "improves L1" in words.verdict_paragraph(found, "without")
    assert "was not measured" in words.verdict_paragraph(found, "nothing")
    blur = words.blur_paragraph(evaluation.summaries(scores, settings=QUICK))
    assert "adds 0.40" in blur and "true video being 1" in blur
    assert "stays open" in words.answer_paragraph([])


def test_the_tables_have_directions_units_and_a_dash_where_nothing_is(scores):
    header, rows = evaluation.result_table(scores, settings=QUICK)
    assert header == ["measure", "truth", "base", "without", "with"]
    cells = {row[0]: row for row in rows}
    truth, base = cells["L1 (of 255) ↓"][1:3]
    assert truth == "–" and re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", base)
    assert cells["mouth sharpness (× truth) → 1"][2].startswith("1.40")
    _, rows = evaluation.difference_table(evaluation.differences(scores, settings=QUICK))
    assert {row[-1] for row in rows} == {"better", "worse", "unclear"}
    assert compare.shown(-0.001) == "0.00" and compare.shown(None) == "–" and compare.shown(1.5, 1, True) == "+1.5"


def test_the_worst_clips_come_worst_first(scores):
    worst = evaluation.worst_clips(scores, "base", "l1", 3)
    values = sorted((row.l1 for row in scores if row.model == "base"), reverse=True)
    assert [row.l1 for row in worst] == values[:3]


def test_every_model_says_the_clips_own_speech_and_anothers(tmp_path):
    clips = [
        TestClip(name, name[:2], group, tmp_path / f"{name}.mp4")
        for name, group in (("v1a", "speaker"), ("v1b", "speaker"), ("v2a", "speaker"), ("g1a", "guest"))
    ]
    found = cases({"truth": None, "base": tmp_path / "w"}, clips, EvaluationConfig())
    said = {
        (c.model, c.clip.clip_id): [d.speech.clip_id for d in found if (d.model, d.clip) == (c.model, c.clip)]
        for c in found
    }
    assert said["truth", "v1a"] == ["v1a"] and said["base", "g1a"] == ["g1a"]
    assert said["base", "v1a"] == ["v1a", "v2a"] and said["base", "v2a"] == ["v2a", "v1a"]
    assert len({c.id for c in found}) == len(found)


def test_few_clips_are_spread_over_the_videos(tmp_path):
    clips = [TestClip(f"{video}{n}", video, "speaker", tmp_path) for video in "abc" for n in range(4)]
    assert [c.clip_id for c in spread(clips, 4)] == ["a0", "a1", "b0", "c0"]
    assert spread(clips, None) == clips and spread(clips, 99) == clips


def test_moved_sound_keeps_its_length():
    wav = np.arange(1, 6401, dtype=np.float32)
    later, earlier = moved(wav, 2), moved(wav, -3)
    assert not later[:1280].any() and later[1280] == 1 and len(later) == len(wav)
    assert earlier[0] == 1921 and not earlier[-1920:].any()
    assert np.array_equal(moved(wav, 0), wav)


# ---- films and the page


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory):
    """A dark and a bright video of 10 frames, 64x48."""
    folder, paths = tmp_path_factory.mktemp("films"), {}
    for name, level in (("dark", 40), ("bright", 200)):
        paths[name] = folder / f"{name}.mp4"
        with VideoWriter(paths[name], size=(64, 48)) as writer:
            for k in range(10):
                writer.write(np.full((48, 64, 3), level + 2 * k, np.uint8))
    return paths


def test_side_by_side_shows_all_videos_with_captions_and_sound(tmp_path, two_videos):
    path = films.side_by_side(two_videos, tmp_path / "both.mp4", np.zeros(6400, np.float32), height_px=96)
    info = probe(path)
    assert info.size == (256, 96 + films.CAPTION_PX) and info.audio_codec == "aac"
    pictures = [f.image_bgr for f in frames(path)]
    assert len(pictures) == 10
    below = pictures[0][films.CAPTION_PX + 8 :]
    assert below[:, 20:100].mean() < 60 and below[:, 150:240].mean() > 180
    assert pictures[0][: films.CAPTION_PX].max() > 150  # letters
    with pytest.raises(SettingError):
        films.side_by_side({}, tmp_path / "none.mp4", np.zeros(10, np.float32))


def test_strips_show_the_same_frames(two_videos):
    rows = films.strip(two_videos, [0, 5, 20], side_px=32)
    assert {row.shape for row in rows.values()} == {(32, 96, 3)}
    assert rows["dark"][16, 48].mean() == pytest.approx(50, abs=4)
    assert (rows["dark"][:, 64:] == 128).all()  # past the end


def test_strip_frames_are_open_and_closed_mouths_apart_from_each_other():
    opening = np.abs(np.sin(np.arange(100) / 8))
    chosen = films.strip_frames(opening, 6)
    assert len(chosen) == 6 and chosen == sorted(chosen) and np.diff(chosen).min() >= 8
    assert np.sort(opening[chosen])[-3:].min() > 0.9 and np.sort(opening[chosen])[:3].max() < 0.2
    assert len(films.strip_frames(np.full(30, np.nan), 4)) == 4


def test_the_report_is_one_file_with_everything_inside(tmp_path, two_videos, scores):
    import matplotlib.pyplot as plt

    page = evaluation.Report("A <title>", "made by a test")
    page.heading("Numbers & words")
    page.text("one < two")
    page.table(*evaluation.result_table(scores, settings=QUICK), caption="means")
    figure = plt.figure()
    page.figure(figure, 'a "figure"')
    plt.close(figure)
    page.video(two_videos["dark"], "a film")
    html = page.save(tmp_path / "report.html").read_text()
    assert "A &lt;title&gt;" in html and "one &lt; two" in html and "a &quot;figure&quot;" in html
    assert html.count("data:image/png;base64,") == 1 and html.count("data:video/mp4;base64,") == 1
    assert not re.search(r'(src|href)="(?!data:)', html)
    with pytest.raises(SettingError, match="plays"):
        page.video(tmp_path / "film.avi", "no")
    assert cv2.imread(str(two_videos["dark"])) is None  # a film, not a picture
