"""records: tables in and out, strictly."""

import dataclasses

import pandas as pd
import pytest

from lipsync_utils.errors import ManifestError
from lipsync_utils.records import Clip, Reason, read_csv, read_rows, rows, write_csv

CLIPS = [
    Clip("007", "NA", 0.0, 1.25, 0.0, 1.4, "clips/NA/007.mp4", 35, "ff", None, None),
    Clip("null", "=1+1", 1.25, 1.5, None, None, None, None, None, Reason.SILENCE, 'says "so", twice\nand möre'),
]


@dataclasses.dataclass(frozen=True)
class Run:
    name: str
    rate: float
    best: float | None
    steps: int
    done: bool


def test_a_table_is_a_dataframe_and_comes_back_as_it_went(tmp_path):
    written = write_csv(tmp_path / "clips.csv", CLIPS, Clip)
    frame = read_csv(tmp_path / "clips.csv", Clip)
    pd.testing.assert_frame_equal(frame, written)
    assert list(frame.clip_id) == ["007", "null"] and list(frame.video_id) == ["NA", "=1+1"]
    assert list(frame.file.notna()) == [True, False] and frame.frames.sum() == 35
    assert list(frame[frame.reason == "silence"].clip_id) == ["null"]
    assert read_rows(tmp_path / "clips.csv", Clip) == rows(frame, Clip) == CLIPS
    assert rows(frame, Clip)[1].reason is Reason.SILENCE and type(rows(frame, Clip)[0].frames) is int
    first = (tmp_path / "clips.csv").read_bytes()
    write_csv(tmp_path / "clips.csv", frame, Clip)
    assert (tmp_path / "clips.csv").read_bytes() == first


def test_an_empty_table_keeps_its_columns_and_types(tmp_path):
    frame = write_csv(tmp_path / "runs.csv", [], Run)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "runs.csv", Run), frame)
    assert frame.rate.dtype == "float64" and frame.steps.dtype == "int64" and frame.done.dtype == "bool"


@pytest.mark.parametrize(
    "value, cell", [(2e-5, "2e-05"), (0.00012345678, "0.0001235"), (12345.67891, "12345.6789"), (-0.0, "0"), (3.0, "3")]
)
def test_small_numbers_survive_and_files_stay_short(tmp_path, value, cell):
    write_csv(tmp_path / "runs.csv", [Run("a", value, None, 1, True)], Run)
    assert (tmp_path / "runs.csv").read_text().splitlines()[1] == f"a,{cell},,1,yes"
    assert read_csv(tmp_path / "runs.csv", Run).rate[0] == pytest.approx(value, rel=5e-4)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    write_csv(tmp_path / "runs.csv", [Run("a", 1.0, None, 1, True)], Run)
    before = (tmp_path / "runs.csv").read_bytes()
    with pytest.raises(ManifestError, match="runs.csv, row 1, column rate: 'nan'"):
        write_csv(tmp_path / "runs.csv", [Run("a", float("nan"), None, 1, True)], Run)
    assert (tmp_path / "runs.csv").read_bytes() == before


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("start_s", "start", ["missing column 'start_s'", "unknown column 'start'"]),
        ("clip_id,video_id", "video_id,clip_id", ["another order"]),
        (",0,1.25", ",zero,1.25", ["row 1", "column start_s", "'zero'"]),
        (",0,1.25", ",,1.25", ["row 1", "column start_s", "empty"]),
        (",0,1.25", ",nan,1.25", ["row 1", "column start_s", "finite"]),
        (",35,", ",3.5,", ["row 1", "column frames", "whole number"]),
        (",silence,", ",__import__('os').getcwd(),", ["row 2", "column reason", "__import__"]),
        (",0,1.25", ",0,,1.25", ["row 1", "12 cells where 11"]),
        ('"says', '"says" so', ["row 2", "not a CSV row"]),
    ],
)
def test_a_wrong_table_is_named_to_the_cell(tmp_path, old, new, words):
    path = tmp_path / "clips.csv"
    write_csv(path, CLIPS, Clip)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError) as error:
        read_csv(path, Clip)
    assert all(word in str(error.value) for word in ["clips.csv", *words])


def test_a_missing_table_says_what_to_do(tmp_path):
    with pytest.raises(ManifestError, match="run the stage"):
        read_csv(tmp_path / "clips.csv", Clip)
