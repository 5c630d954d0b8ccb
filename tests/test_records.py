"""records: CSV in and out, strictly."""

import pytest

from lipsync_utils.errors import ManifestError
from lipsync_utils.records import Clip, Reason, read_csv, write_csv

CLIPS = [
    Clip("a_0", "a", 0.0, 1.25, 0.0, 1.4, "clips/a/a_0.mp4", 35, "ff", None, None),
    Clip("a_1", "a", 1.25, 1.5, None, None, None, None, None, Reason.SILENCE, 'says "so", twice\nand more'),
]


def test_records_come_back_as_they_went(tmp_path):
    write_csv(tmp_path / "clips.csv", CLIPS, Clip)
    assert read_csv(tmp_path / "clips.csv", Clip) == CLIPS
    first = (tmp_path / "clips.csv").read_bytes()
    write_csv(tmp_path / "clips.csv", read_csv(tmp_path / "clips.csv", Clip), Clip)
    assert (tmp_path / "clips.csv").read_bytes() == first


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("start_s", "start", ["missing column 'start_s'", "unknown column 'start'"]),
        ("clip_id,video_id", "video_id,clip_id", ["another order"]),
        ("a_0,a,0,", "a_0,a,zero,", ["row 1", "column start_s", "'zero'"]),
        ("a_0,a,0,", "a_0,a,,", ["row 1", "column start_s", "empty"]),
        ("a_0,a,0,", "a_0,a,nan,", ["row 1", "column start_s", "finite"]),
        (",35,", ",3.5,", ["row 1", "column frames", "whole number"]),
        (",silence,", ",__import__('os').getcwd(),", ["row 2", "column reason", "__import__"]),
        ("a_0,a,0,", "a_0,a,0,,", ["row 1", "12 cells where 11"]),
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
