"""How fast faces are found, and how many of face_recognition's: ratios within one run, CPU time, one core.

On the sample and, where they are, on the real clips: every n-th frame is searched afresh, as the article did.
"""

import itertools
import time

import numpy as np
import pytest

from lipsync_utils import faces, media
from lipsync_utils.faces.detect import rescuer

REAL = (
    "man_suit_700x700.mp4",
    "woman_blue_700x700_30fps.mp4",
    "woman_bench_1080x1920_hevc.mp4",
    "man_kitchen_1080x1920_hevc.mp4",
)
EVERY = 8  # the yardstick costs a second a frame


def compare(path, record):
    """Find the faces of a video, then search every EVERY-th frame afresh, with upsample 1 and 0."""
    faces.find_in_frames([next(media.frames(path)).image_bgr])  # load the models
    start = time.process_time()
    table = faces.find_faces(path)
    ours_s = (time.process_time() - start) / table.n_frames
    spent, looked, ious, wrong = {0: 0.0, 1: 0.0}, 0, [], 0
    for frame in itertools.islice(media.frames(path), 0, None, EVERY):
        looked += 1
        for upsample in spent:
            start = time.process_time()
            found = faces.face_locations(frame.image_bgr, upsample)
            spent[upsample] += time.process_time() - start
        # found: the frame's boxes at upsample 1, the last of the two
        raw = table.at(frame.index, raw=True).values()
        for box in found:
            best = max((box.iou(mine) for mine in raw), default=0.0)
            if best < 0.3 and not rescuer().near(frame.image_bgr, box):
                wrong += 1  # a lamp, not a face: dlib's CNN detector does not see one either
            else:
                ious.append(best)
    record("frames", table.n_frames)
    record("ours_ms_per_frame", 1000 * ours_s)
    record("face_locations_upsample_1_ms", 1000 * spent[1] / looked)
    record("face_locations_upsample_0_ms", 1000 * spent[0] / looked)
    record("times_faster_than_upsample_1", spent[1] / looked / ours_s)
    record("times_faster_than_upsample_0", spent[0] / looked / ours_s)
    record("share_of_its_faces_found", float(np.mean(np.array(ious) >= 0.3)))
    record("mean_iou_of_raw_boxes", float(np.mean(ious)))
    record("its_boxes_that_are_no_faces", wrong)
    return spent[1] / looked / ours_s, ious


@pytest.mark.parametrize("name", ["talk", "group", "inset"])
def bench_faces_on_the_sample(sample_show, record_property, name):
    _, ious = compare(sample_show.video(name), record_property)
    assert np.mean(np.array(ious) >= 0.3) >= 0.99 and np.mean(ious) >= 0.75


@pytest.mark.parametrize("name", REAL)
def bench_faces_on_real_clips(real_clips, record_property, name):
    faster, ious = compare(real_clips / name, record_property)
    assert np.mean(np.array(ious) >= 0.3) >= 0.99 and np.mean(ious) >= 0.75
    assert faster >= 8
