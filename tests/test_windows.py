import dataclasses

import cv2
import numpy as np
import pytest
import torch

from lipsync_utils import audio, windows
from lipsync_utils.config import WindowsConfig
from lipsync_utils.errors import DataError
from lipsync_utils.project import DataSet
from lipsync_utils.records import FaceClip, write_csv
from tests.toys import toy_clip, toy_clips

SETTINGS = WindowsConfig()


def with_gap(clip, *frames):
    present = clip.present.copy()
    present[list(frames)] = False
    return dataclasses.replace(clip, present=present)


@pytest.mark.parametrize("alignment", ["reference", "centred", "inference"])
def test_index_lists_exactly_the_windows_whose_sound_is_complete(alignment):
    clip = toy_clip(0)
    index = windows.index_windows([clip], WindowsConfig(alignment=alignment))
    complete = [f for f in range(46) if audio.training_window_starts(f, clip.mel.shape[1], alignment)]
    assert index.items[:, 1].tolist() == complete
    assert index.unusable == {"sound_incomplete": 46 - len(complete)}


def test_a_frame_without_a_face_costs_its_five_windows_and_is_counted():
    whole, gap = (windows.index_windows([c], SETTINGS) for c in (toy_clip(0), with_gap(toy_clip(0), 20)))
    assert sorted(set(whole.items[:, 1]) - set(gap.items[:, 1])) == [16, 17, 18, 19, 20]
    assert gap.unusable["frame_without_face"] == 5


def test_clips_without_windows_are_left_out_with_a_reason():
    index = windows.index_windows([toy_clip(0), toy_clip(1, 0.5)], SETTINGS)
    assert index.left_out == {"clip1": "too_short"} and set(index.items[:, 0]) == {0}
    assert "too_short" in windows.summary(index)


def test_an_item_is_always_the_same_and_another_epoch_draws_another_reference():
    data = windows.Windows(windows.index_windows(toy_clips(), SETTINGS, "train"), SETTINGS)
    for key in (0, 17, (17, 0)):
        for name, value in data[key].items():
            assert torch.equal(value, data[key][name])
    assert all(torch.equal(data[17][n], data[(17, 0)][n]) for n in data[17])
    assert any(not torch.equal(data[(k, 0)]["wrong"], data[(k, 1)]["wrong"]) for k in range(5))


def test_item_cuts_the_right_frames_and_columns():
    clip = toy_clip(0)
    settings = WindowsConfig(alignment="reference")
    data = windows.Windows(windows.index_windows([clip], settings), settings)
    item, (_, frame) = data[7], data.index.items[7]
    assert item["faces"].shape == (3, 5, 96, 96) and item["faces"].dtype == torch.uint8
    assert np.array_equal(item["faces"][:, 2].numpy(), clip.faces[frame + 2].transpose(2, 0, 1))
    start = int(3.2 * frame)
    assert np.array_equal(item["sync_mel"][0].numpy(), clip.mel[:, start : start + 16])
    start = int(80 * ((frame + 3 - 1) / 25))
    assert np.array_equal(item["mels"][3, 0].numpy(), clip.mel[:, start : start + 16])


def test_the_reference_window_keeps_its_distance():
    data = windows.Windows(windows.index_windows([toy_clip(0)], SETTINGS), SETTINGS)
    rng = np.random.default_rng(0)
    assert all(abs(data._other(0, 20, rng) - 20) >= SETTINGS.min_distance for _ in range(50))


@pytest.mark.parametrize("world", [1, 2])
def test_every_window_comes_once_per_epoch_whatever_the_number_of_processes(world):
    index = windows.index_windows(toy_clips(), SETTINGS, "train")
    steps = 2 * len(index) // (3 * world)
    seen = []
    for rank in range(world):
        seen += [k for b in windows.StepBatches(index, SETTINGS, 3, 0, steps, rank=rank, world=world) for k in b]
    first = [number for number, epoch in seen if epoch == 0]
    assert sorted(first) == list(range(len(index)))


def test_batches_from_the_middle_equal_those_of_an_undisturbed_run():
    index = windows.index_windows(toy_clips(), SETTINGS, "train")
    whole = list(windows.StepBatches(index, SETTINGS, 4, 0, 90))
    assert list(windows.StepBatches(index, SETTINGS, 4, 50, 90)) == whole[50:]


def test_windows_per_clip_groups_a_batch_by_clip():
    index = windows.index_windows(toy_clips(), SETTINGS, "train")
    for batch in windows.StepBatches(index, SETTINGS, 8, 0, 20, windows_per_clip=4):
        clips = index.items[[number for number, _ in batch], 0].reshape(2, 4)
        assert (clips == clips[:, :1]).all() and len(set(batch)) == 8


def test_mixed_frame_rates_are_refused_by_name():
    clip = toy_clip(1)
    slow = dataclasses.replace(clip, faces=clip.faces[:40], present=clip.present[:40])
    with pytest.raises(DataError, match="clip1: 40 frames.*frame rates"):
        windows.index_windows([toy_clip(0), slow], SETTINGS)


def test_an_empty_list_says_what_to_do():
    with pytest.raises(DataError, match="empty.*notebook 04"):
        windows.index_windows([], SETTINGS)
    with pytest.raises(DataError, match="no usable window.*too_short"):
        windows.index_windows([toy_clip(0, 0.5)], SETTINGS)


@pytest.fixture
def stage04(tmp_path):
    """A data set as stage 04 leaves it: one clip of 20 frames, frame 7 without a face."""
    folder = tmp_path / "faces" / "video0" / "clip0"
    folder.mkdir(parents=True)
    clip = toy_clip(0, 0.8)
    for i in set(range(20)) - {7}:
        cv2.imwrite(str(folder / f"{i}.jpg"), np.ascontiguousarray(clip.faces[i])[:80])
    np.save(folder / "mel.npy", clip.mel)
    row = FaceClip("clip0", "video0", "train", "faces/video0/clip0", 20, 19, 1, 80, clip.mel.shape[1], None, None)
    write_csv(tmp_path / "faces.csv", [row], FaceClip)
    return DataSet("toy", tmp_path)


def test_load_clips_shrinks_crops_once_and_knows_the_gaps(stage04):
    (clip,) = windows.load_clips(stage04, scheduler="inline")
    assert clip.faces.shape == (20, 96, 96, 3) and np.flatnonzero(~clip.present).tolist() == [7]
    (packed,) = stage04.cache.rglob("*.npy")
    when = packed.stat().st_mtime_ns
    windows.load_clips(stage04, scheduler="inline")
    assert packed.stat().st_mtime_ns == when


@pytest.mark.parametrize(
    "file, words", [("mel.npy", "its face crops or mel.npy are missing"), ("3.jpg", "3.jpg is an empty or damaged")]
)
def test_missing_mels_and_empty_crops_name_the_clip(stage04, file, words):
    path = stage04.root / "faces/video0/clip0" / file
    path.unlink() if file == "mel.npy" else path.write_bytes(b"")
    with pytest.raises(DataError, match=f"clip0: {words}"):
        windows.load_clips(stage04, scheduler="inline")
