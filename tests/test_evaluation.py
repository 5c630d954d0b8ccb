"""evaluation: what is said about numbers follows from the numbers, and the page and films hold what they should."""

import re
from dataclasses import fields, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lipsync_utils import evaluation, metrics
from lipsync_utils.config import STUDY_SIZES, EvaluationConfig
from lipsync_utils.evaluation import TestClip, measure, results, study
from lipsync_utils.evaluation.stage import cases
from lipsync_utils.media import frames, probe
from lipsync_utils.project import DataSet
from lipsync_utils.records import read_csv, write_csv
from lipsync_utils.windows import ClipFaces

QUICK = EvaluationConfig(bootstrap=400)
ROOT = Path(__file__).resolve().parents[1]


def score(model, number, speech="own", **values):
    """A row with the given measures; every clip is a video of its own."""
    clip = f"c{number:02d}"
    return evaluation.Score(model, clip, f"v{number:02d}", "speaker", speech, clip, "j", **values)


@pytest.fixture(scope="module")
def scores():
    """Twelve clips: "without" is clearly better in L1 and unclear in SSIM, "with" clearly worse in L1."""
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        hard, l1 = rng.normal(0, 2), 10 + rng.normal(0, 2)
        better, worse = (l1 + hard + step + 0.1 * rng.normal() for step in (-1, 1))
        rows.append(score("truth", number, sharpness_ratio=1.0))
        rows.append(score("base", number, l1=l1 + hard, ssim=0.8, sharpness_ratio=1.4))
        rows.append(score("without", number, l1=better, ssim=0.8 + 0.01 * (-1) ** number, sharpness_ratio=0.7))
        rows.append(score("with", number, l1=worse, sharpness_ratio=1.1))
    return pd.DataFrame(rows)


def test_rows_survive_the_way_to_disk_and_back(tmp_path, scores):
    write_csv(tmp_path / "results.csv", scores, evaluation.Score)
    again = read_csv(tmp_path / "results.csv", evaluation.Score)
    assert again.clip_id.tolist() == scores.clip_id.tolist()
    assert again.l1[1] == pytest.approx(scores.l1[1], abs=1e-4) and np.isnan(again.l1[0])


def test_every_number_of_a_row_is_a_known_measure():
    plain = {"model", "clip_id", "video_id", "group", "speech", "speech_id", "judge", "frames", "reason", "note"}
    assert {f.name for f in fields(evaluation.Score)} - plain == set(metrics.MEASURES) - {"fid"}


def test_differences_are_paired_so_hard_clips_do_not_blur_them(scores):
    found = evaluation.differences(scores, settings=QUICK).set_index(["model", "measure"])
    better, worse = found.loc["without", "l1"], found.loc["with", "l1"]
    assert better.verdict == "better" and better.difference == pytest.approx(-1, abs=0.15) and better.p < 0.01
    assert worse.verdict == "worse" and worse.low > 0
    assert found.loc["without", "ssim"].verdict == "unclear"
    assert ("with", "ssim") not in found.index and ("truth", "sharpness_ratio") not in found.index
    means = evaluation.means(scores, ["l1"], settings=QUICK)
    assert means.model.tolist() == ["base", "without", "with"]
    assert (means.high - means.low > better.high - better.low).all()  # unpaired intervals are wider
    assert ((found.low <= found.difference) & (found.difference <= found.high)).all()


def test_a_measure_with_a_target_is_better_nearer_to_it(scores):
    found = evaluation.differences(scores, measures=["sharpness_ratio"], settings=QUICK).set_index("model")
    assert found.difference["without"] == pytest.approx(0.3 - 0.4) and found.verdict["without"] == "better"
    assert found.difference["with"] == pytest.approx(0.1 - 0.4)


def test_two_videos_or_one_give_no_interval(scores):
    few = scores[scores.video_id.isin(["v00", "v01"])]
    for rows, videos in ((few, 2), (scores.assign(video_id="v00"), 1)):
        found = evaluation.differences(rows, measures=["l1"], settings=QUICK)
        assert found[["low", "high", "p"]].isna().all(axis=None) and set(found.verdict) == {"unclear"}
        assert set(found.videos) == {videos}


def test_seeds_are_one_mean_and_not_more_clips(scores):
    twice = pd.concat([scores, scores.assign(l1=scores.l1 + 1)])
    once, both = (evaluation.means(rows, ["l1"], settings=QUICK) for rows in (scores, twice))
    assert both.clips.tolist() == once.clips.tolist() == [12] * 3
    np.testing.assert_allclose(both["mean"], once["mean"] + 0.5)


def test_tables_have_directions_units_and_a_dash_where_nothing_is(scores):
    table = evaluation.shown(evaluation.means(scores, settings=QUICK))
    assert list(table) == ["truth", "base", "without", "with"]
    row = table.loc["L1 (of 255) ↓"]
    assert row.truth == "–" and re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", row.base)
    assert table.loc["mouth sharpness (× truth) → 1"].base.startswith("1.40")
    changes = evaluation.shown(evaluation.differences(scores, settings=QUICK))
    assert re.fullmatch(r"-\d\.\d{3} \[-\d\.\d{3}, -\d\.\d{3}\]", changes.loc["L1 (of 255) ↓"]["without"])


# ---- which clips say what


def some_clips(folder, names):
    return [TestClip(name, name[:2], "guest" if name[0] == "g" else "speaker", folder / name) for name in names]


def test_every_model_says_the_clips_own_speech_anothers_and_nothing(tmp_path):
    clips = some_clips(tmp_path, ["v1a", "v1b", "v2a", "g1a", "g2a"])
    found = cases({"truth": None, "base": tmp_path / "w"}, clips, EvaluationConfig(silent_clips=2))
    said = {clip.clip_id: [] for clip in clips}
    for case in found:
        said[case.clip_id].append(f"{case.model} {case.speech} {case.speech_id}")
    assert said["v1a"] == ["truth own v1a", "base own v1a", "base other v2a", "base silence v1a"]
    assert said["v2a"] == ["truth own v2a", "base own v2a", "base other v1a"]
    assert said["g1a"] == ["truth own g1a", "base own g1a"]
    assert len({case.id for case in found}) == len(found)
    assert [case.clip_id for case in found[:4]] == ["v1a"] * 4  # one after the other: a worker keeps what they share


def test_few_clips_are_spread_over_the_videos(tmp_path, monkeypatch):
    clips = some_clips(tmp_path, [f"{video}{n}" for video in ("aa", "bb", "cc") for n in range(4)])
    monkeypatch.setattr(measure, "validation_clips", lambda data: clips)
    for most, names in (
        (4, ["aa0", "bb0", "bb3", "cc3"]),
        (None, [c.clip_id for c in clips]),
        (99, [c.clip_id for c in clips]),
    ):
        settings = EvaluationConfig(max_clips=most)
        assert [c.clip_id for c in evaluation.held_out(DataSet("x", tmp_path), settings)] == names


def test_delayed_sound_keeps_its_length():
    wav = np.arange(1, 6401, dtype=np.float32)
    later, earlier = measure.delayed(wav, 2), measure.delayed(wav, -3)
    assert not later[:1280].any() and later[1280] == 1 and len(later) == len(wav)
    assert earlier[0] == 1921 and not earlier[-1920:].any() and len(earlier) == len(wav)
    assert np.array_equal(measure.delayed(wav, 0), wav)


def test_leakage_counts_open_mouths_in_silent_frames_only():
    wav = np.concatenate([np.zeros(16000), np.full(16000, 0.1)])
    true = np.tile([0.0, 0.4], 25)
    opening = np.zeros(50)
    opening[[3, 7, 40]] = 0.3  # twice in the silence, once while something is heard
    silent = 23  # frames further than 0.1 s from the sound
    assert measure.leakage(opening, true, wav) == pytest.approx(2 / silent)
    opening[3] = 0.09  # a quarter of the way is not reached
    assert measure.leakage(opening, true, wav) == pytest.approx(1 / silent)
    assert np.isnan(measure.leakage(opening, true, wav[16000:]))


# ---- films and the page


def film(level, n=10):
    """Pictures 64x48 that become brighter from frame to frame."""
    return [np.full((48, 64, 3), level + 2 * k, np.uint8) for k in range(n)]


def test_side_by_side_shows_all_films_with_captions_and_sound(tmp_path):
    both = {"dark": film(40), "bright": iter(film(200, 12))}
    path = evaluation.side_by_side(both, tmp_path / "both.mp4", np.zeros(6400, np.float32))
    info = probe(path)
    assert info.size == (640, 240 + results.CAPTION_PX) and info.audio_codec == "aac"
    pictures = [f.image_bgr for f in frames(path)]
    assert len(pictures) == 10
    below = pictures[0][results.CAPTION_PX + 8 :]
    assert below[:, 50:250].mean() < 60 and below[:, 375:600].mean() > 180
    assert pictures[0][: results.CAPTION_PX].max() > 150  # letters


def test_strip_frames_are_open_and_closed_mouths_in_turn():
    opening = np.abs(np.sin(np.arange(100) / 8))
    chosen = evaluation.strip_frames(opening, 6)
    assert len(chosen) == 6 and chosen == sorted(chosen)
    assert opening[chosen[::2]].min() > 0.8 and opening[chosen[1::2]].max() < 0.5
    assert len(evaluation.strip_frames(np.full(30, np.nan), 4)) == 4
    assert evaluation.strip_frames(np.ones(3), 8) == [0, 1, 2]


def test_the_report_is_one_file_with_everything_inside(tmp_path, scores):
    clip, figure = tmp_path / "film.mp4", plt.figure()
    clip.write_bytes(b"a film")
    parts = {
        "about": "one < two",
        "dubbed": evaluation.shown(evaluation.means(scores, settings=QUICK)),
        "strip": figure,
        "film": clip,
    }
    page = evaluation.write_report(tmp_path / "report.html", parts).read_text()
    plt.close(figure)
    assert "one &lt; two" in page and "<td>1.40 [1.40, 1.40]</td>" in page
    assert page.count("data:image/png;base64,") == 1 and page.count("data:video/mp4;base64,") == 1
    assert "not measured in this run" in page and "$" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


# ---- the traps and the study


def numbered(n=100):
    """A clip whose frame i is painted i and whose mel column j is j."""
    faces = np.tile(np.arange(n, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 3))
    mel = np.tile(np.arange(int(n * 3.2) + 1, dtype=np.float32), (80, 1))
    return ClipFaces("n", "n", "train", faces, np.ones(n, bool), mel)


def test_each_trap_does_to_the_data_what_it_says():
    clip = numbered()
    late = study.delayed([clip], 3)[0]
    assert (late.mel[:, :10] == -4).all() and late.mel[0, 10] == 0 and late.mel.shape == clip.mel.shape
    kept = study.kept_fps([clip], 30)[0]
    assert len(kept.faces) == len(kept.present) == 120 and kept.faces[60, 0, 0, 0] == 50  # 2 s at 30 fps
    assert kept.mel.shape[1] == 385 and np.array_equal(kept.mel[:, :321], clip.mel)
    pieces = study.mismatched([clip, clip, clip], 4, 20)
    wrong = [p for p in pieces if p.mel[0, 0] != round(p.faces[0, 0, 0, 0] * 3.2)]
    assert len(pieces) == 15 and len(wrong) == 4 and all(p.mel.shape[1] == 65 for p in pieces)


def test_a_case_is_tuned_on_the_first_clips_that_have_its_seconds(monkeypatch):
    monkeypatch.setattr(study.project, "data_set", lambda name: name)
    monkeypatch.setattr(study, "load_clips", lambda data, scheduler: [numbered(100)] * 3)
    for seconds, clips in ((3, 1), (4, 1), (4.1, 2), (8, 2), (100, 3)):
        case = pd.Series({"speaker": "own data", "seconds": seconds})
        assert len(study.data_of(case, STUDY_SIZES["article"], None, "inline")) == clips, seconds


def test_the_study_asks_about_face_language_distance_and_seconds():
    found = study.study_cases(STUDY_SIZES["full"])
    assert not found.duplicated().any()
    plain = found[found.trap == ""].groupby(["seed", "speaker", "data"]).seconds.agg(list)
    for seed in (1, 2):
        for who in ("host", "near"):
            assert plain[seed, who, "own"] == [10, 30, 90, 270]
        for data in ("own, English", "others, Dutch", "others, English"):
            assert plain[seed, "host", data] == [90]
        assert plain[seed, "new", "own"] == [90]
    assert found.speaker[found.model == "untuned"].is_unique
    assert set(found.trap) - {""} == set(study.TRAPS) and set(found.seed[found.trap != ""]) == {1}
    assert set(study.study_cases(STUDY_SIZES["article"]).speaker) == {"own data"}


def test_other_actors_speak_the_language_and_are_neither_speaker_nor_tested():
    dutch, english = (study.actors_of("host", f"others, {name}") for name in ("Dutch", "English"))
    assert {a.voice.language for a in dutch} == {"nl"} and {a.voice.language for a in english} == {"en"}
    names = {a.name for who in ("host", "near", "new") for a in study.actors_of(who, "own")}
    assert len(names) == 3 and not names & {a.name for a in (*dutch, *english)}
    (own,), (abroad,) = study.actors_of("host", "own"), study.actors_of("host", "own, English")
    assert (own.voice.language, abroad.voice.language) == ("nl", "en") and replace(abroad, voice=own.voice) == own


def study_rows():
    """Eight videos of two speakers: tuning on one's own data gains 1 of L1 near and 2 far; a trap takes sync."""
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        hard = rng.normal()
        for speaker, far in (("near", 1.0), ("host", 2.0)):
            for data, trap, gain in (("none", "", 0), ("own", "", far), ("own", "late_sound", far)):
                model = "untuned" if data == "none" else f"own 90 s {trap}".strip()
                numbers = {
                    "l1": 5 * far + hard - gain,
                    "lmd_percent": 5 * far + hard,
                    "judge_distance": hard + (0.5 if trap else 0.01 * rng.normal()),
                }
                where = {"speaker": speaker, "data": data, "seconds": 90.0 * (data == "own"), "trap": trap}
                rows += [
                    {**vars(score(model, number, speech, **numbers)), **where, "seed": 1} for speech in ("own", "other")
                ]
    return pd.DataFrame(rows)


def test_gains_stand_beside_the_distance_of_the_speaker():
    found = study.gains(study_rows(), ["l1"]).set_index(["speaker", "model"])
    assert found.difference["near", "own 90 s"] == pytest.approx(-1) and found.difference["host", "own 90 s"] == -2
    assert found.distance["host", "own 90 s"] > found.distance["near", "own 90 s"] + 4
    assert set(found.verdict) == {"better"} and set(found.seconds) == {90}


def test_traps_cost_what_their_rows_say():
    rows = study_rows()
    found = study.trap_costs(rows[rows.speaker == "host"], ["judge_distance"])
    assert found.model.tolist() == ["late_sound"] and found.verdict.tolist() == ["worse"]
    assert found.difference[0] == pytest.approx(0.5, abs=0.02)
