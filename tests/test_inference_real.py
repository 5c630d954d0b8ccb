"""Real people side by side: only the chosen face changes, and the edge of the mask cannot be found."""

import cv2
import numpy as np
import pytest

from lipsync_utils import checkpoints
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import find_faces
from lipsync_utils.inference import people_in, prepare
from lipsync_utils.inference.mouths import mouth_weight
from lipsync_utils.media import VideoWriter, frames

pytestmark = pytest.mark.slow
HEIGHT, N = 480, 16
NAMES = ("man_suit_700x700.mp4", "woman_blue_700x700_30fps.mp4", "man_kitchen_1080x1920_hevc.mp4")


@pytest.fixture(scope="module")
def generator():
    return checkpoints.load(checkpoints.embedded("generator"), "generator")


def side_by_side(folder, clips, path):
    """The first frames of several clips in one picture each, at one height."""
    columns = []
    for name in clips:
        shots = [f.image_bgr for f, _ in zip(frames(folder / name), range(N))]
        width = round(shots[0].shape[1] * HEIGHT / shots[0].shape[0] / 2) * 2
        columns.append([cv2.resize(s, (width, HEIGHT), interpolation=cv2.INTER_AREA) for s in shots])
    with VideoWriter(path, size=(sum(c[0].shape[1] for c in columns), HEIGHT), crf=10) as writer:
        for row in zip(*columns):
            writer.write(np.hstack(row))
    return path


def ring_of(talker, i, shape):
    """Where the weight is soft: the seam, as bool (h, w) of the frame."""
    box = left, top, right, bottom = talker.boxes[i]
    weight = mouth_weight(talker.points[i], talker.lips[i], box)
    mask = cv2.resize(weight, (int(right - left), int(bottom - top)))
    ring = np.zeros(shape, bool)
    height, width = shape
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    part = (mask > 0.02) & (mask < 0.6)
    ring[rows, columns] = part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return ring


@pytest.mark.parametrize("clips", [NAMES[:2], NAMES], ids=["two", "three"])
def test_only_the_chosen_real_face_changes_without_a_seam(clips, real_clips, generator, tmp_path):
    path = side_by_side(real_clips, clips, tmp_path / "together.mp4")
    table = find_faces(path)
    people = people_in(table)
    assert len(people) == len(clips)
    chosen = people[1]
    job = prepare(
        path,
        {chosen.track_id: real_clips / NAMES[1]},
        generator=generator,
        faces=table,
        settings=InferenceConfig(label="none", longer_speech="cut"),
    )
    before = [f.image_bgr for f in frames(path)][: len(job.order)]
    after = list(job.frames())
    boxes = table.track_boxes(chosen.track_id)
    spatial, temporal = {"in": [], "out": []}, {"in": [], "out": []}
    for i, (source, made) in enumerate(zip(before, after)):
        left, top, right, bottom = np.rint(boxes[i]).astype(int)
        outside = np.ones(source.shape[:2], bool)
        outside[(top + bottom) // 2 : bottom, max(left, 0) : right] = False
        assert (source[outside] == made[outside]).all()
        assert (source != made).any()
        ring = ring_of(job.talkers[0], i, source.shape[:2])
        for name, sequence in (("in", before), ("out", after)):
            grey = cv2.cvtColor(sequence[i], cv2.COLOR_BGR2GRAY).astype(float)
            slope = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1))
            spatial[name].append(slope[ring].mean())
            if i:
                temporal[name].append(np.abs(sequence[i].astype(float) - sequence[i - 1])[ring].mean())
    assert np.mean(spatial["out"]) <= 1.15 * np.mean(spatial["in"]), "a seam can be seen"
    assert np.mean(temporal["out"]) <= 1.15 * np.mean(temporal["in"]) + 0.1, "the seam flickers"
