"""The README's results: the table is that of the committed run, and no number in a sentence is anything else."""

import re
from pathlib import Path

import pandas as pd
import pytest

from lipsync_utils import evaluation
from lipsync_utils.evaluation import study

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "data" / "study"


@pytest.fixture(scope="module")
def results():
    """The section, its table, and the prose around it."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Results\n")[1].split("\n## ")[0]
    before, rest = section.split("<!-- results: begin -->\n")
    table, after = rest.split("<!-- results: end -->")
    return table, before + after


@pytest.fixture(scope="module")
def course():
    return pd.read_csv(STUDY / "course.csv")


def test_the_table_is_that_of_the_committed_run(results, course):
    assert results[0] == study.readme_table(course), "python -m lipsync_utils.evaluation.study --publish"
    assert course.groupby(["speech", "measure"]).ngroups <= 6


def test_every_number_of_a_sentence_stands_in_a_committed_table(results, course):
    rows = study.read_study(STUDY)
    seeds = [rows[(rows.seed == seed) | (rows.seconds == 0)] for seed in rows.seed.unique()]
    tables = [
        course,
        study.trap_costs(rows),
        *(study.gains(some, [*study.SHOWN["other"], "l1"]) for some in (rows, *seeds)),
    ]
    known = pd.concat([table.select_dtypes("number").stack() for table in tables]).abs()
    said = re.findall(r"\d+\.\d+", results[1])
    assert len(said) >= 8
    for number in said:
        decimals = len(number.split(".")[1])
        assert (known.round(decimals) == float(number)).any(), f"{number} is in no table of data/study"


def test_the_headline_is_about_dubbed_clips_too(results, course):
    assert "Dubbed" in results[1] and (course.speech == "other").sum() > (course.speech == "own").sum() - 1
    assert {"mouth_correlation", "judge_distance"} <= set(course.measure[course.speech == "other"])


def test_publishing_a_run_changes_the_table_and_the_figures_only(tmp_path):
    rows = []
    for number in range(6):
        for model, l1 in (("truth", None), ("base", 4.0), ("with", 3.0 + number / 10)):
            clip = f"v{number}"
            for speech in ("own", "other"):
                row = evaluation.Score(model, clip, clip, "speaker", speech, clip, "j", l1=l1, mouth_correlation=0.5)
                rows += [row] if model != "truth" or speech == "own" else []
    run, readme = tmp_path / "run", tmp_path / "README.md"
    evaluation.stage.write_csv(run / "results.csv", rows, evaluation.Score)
    (run / "results_faces.jpg").write_bytes(b"a picture")
    (tmp_path / "docs").mkdir()
    page = "# Title\n\n<!-- results: begin -->\nold\n<!-- results: end -->\n\nmore\n"
    readme.write_text(page)
    table = study.publish(run, tmp_path)
    text = readme.read_text()
    assert "| L1 (of 255) ↓ | – | 4.00 [4.00, 4.00] | 3.25 [3.12, 3.38] | own sentence |" in text
    assert text.replace(study.readme_table(table), "old\n") == page
    assert (tmp_path / "docs" / "results_faces.jpg").read_bytes() == b"a picture"
    again = pd.read_csv(tmp_path / "data" / "study" / "course.csv")
    assert study.readme_table(again) == study.readme_table(table)
