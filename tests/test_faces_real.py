"""Faces of real people, from ../shared/real beside the checkout; skipped where it is absent."""

import itertools

import numpy as np
import pytest

from lipsync_utils import faces, media


@pytest.mark.slow
def test_small_face_in_a_tall_picture(real_clips):
    table = faces.find_faces(real_clips / "woman_bench_1080x1920_hevc.mp4")
    assert table.size == (1080, 1920) and table.track_ids == [0]  # and not the string lights behind her
    assert len(table.rows_of(0)) >= 0.99 * table.n_frames


def test_speed_recall_and_overlap(real_clips):
    """A quick form of benchmarks/bench_faces.py: every 9th frame of one clip is the yardstick."""
    import time

    path = real_clips / "man_suit_700x700.mp4"
    faces.find_in_frames([next(media.frames(path)).image_bgr])  # load the models
    start = time.process_time()
    table = faces.find_faces(path)
    ours_s = (time.process_time() - start) / table.n_frames
    ious, looked, start = [], 0, time.process_time()
    for frame in itertools.islice(media.frames(path), 0, None, 9):
        looked += 1
        raw = table.at(frame.index, raw=True).values()
        ious += [max((box.iou(mine) for mine in raw), default=0) for box in faces.face_locations(frame.image_bgr)]
    theirs_s = (time.process_time() - start) / looked
    assert np.mean(np.array(ious) > 0.3) >= 0.99 and np.mean(ious) >= 0.75
    assert theirs_s > 4 * ours_s  # 8 and more where nothing else runs: see the benchmark


def test_real_chins_and_lips(real_clips):
    for name in ("man_suit_700x700.mp4", "woman_blue_700x700_30fps.mp4"):
        table = faces.find_faces(real_clips / name)
        chin = []
        for frame in itertools.islice(media.frames(real_clips / name), 0, None, 5):
            for box in table.at(frame.index).values():
                points = faces.landmarks(frame.image_bgr, box)
                chin.append(box.contains(*points[8]))
                assert points[48:, 1].min() > (box.top + box.bottom) / 2
        assert np.mean(chin) >= 0.99
