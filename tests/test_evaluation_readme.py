"""evaluation.readme: the README's results are those of the rows, and nothing else of it changes."""

from dataclasses import fields

import pytest

from lipsync_utils.config import EvaluationConfig
from lipsync_utils.errors import DataError
from lipsync_utils.evaluation import Score, readme, training_table

QUICK = EvaluationConfig(bootstrap=400)


def row(model, number, speech, **values):
    """A row of results.csv; every clip is a video of its own."""
    empty = dict.fromkeys(field.name for field in fields(Score))
    return Score(
        **{
            **empty,
            "model": model,
            "clip_id": f"c{number}",
            "video_id": f"v{number}",
            "group": "speaker",
            "speech": speech,
            "speech_id": f"c{number}",
            "judge": "embedded judge",
            **values,
        }
    )


@pytest.fixture
def scores():
    """Eight clips on which "without" is better in everything."""
    found = []
    for number in range(8):
        for model, gain in (("base", 0.0), ("without", 1.0 + 0.01 * number)):
            found.append(row(model, number, "own", l1=5 - gain, sharpness_ratio=0.4))
            found.append(row(model, number, "other", judge_distance=2 - gain, mouth_correlation=0.1 * gain))
    return found


def test_the_section_says_what_the_rows_say(scores, tmp_path, monkeypatch):
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path))
    about = readme.made_from(scores, training_table({"base": None}), "1 May 2026", "sample")
    text = readme.section(scores, about, [("results_faces.jpg", "faces")], QUICK)
    assert "| own | L1 (of 255) ↓ | 5.00 [5.00, 5.00] | 3.96 [3.95, 3.98] |" in text
    assert "| dubbed | mouth opening (r) ↑ | 0.00 [0.00, 0.00] | 0.10 [0.10, 0.11] |" in text
    assert "significant in L1, judge's distance and mouth opening" in text
    assert "Run of 1 May 2026, preset `sample`: 8 held-out videos" in text
    assert "![faces](docs/results_faces.jpg)" in text
    assert text.count("`make study` makes it") == 2


def test_only_the_text_between_the_marker_lines_changes():
    page = f"# Title\n\n{readme.BEGIN}\n\nold\n\n{readme.END}\n\n## More\n"
    once = readme.put_into(page, "new")
    assert once == page.replace("old", "new") and readme.put_into(once, "new") == once


def test_a_readme_without_marker_lines_is_an_error():
    for page in ("# Title\n", f"{readme.END}\n{readme.BEGIN}\n"):
        with pytest.raises(DataError, match="results: begin"):
            readme.put_into(page, "new")


def test_the_projects_readme_has_the_marker_lines():
    page = (readme.CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert "TOKEN" in readme.put_into(page, "TOKEN")
