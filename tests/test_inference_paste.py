"""Where the drawn mouth goes: by the landmarks of each frame, in the colours of the skin, or not at all."""

import cv2
import numpy as np
import pytest
import torch
from mouths import HEIGHT, WIDTH, Painter, faces, video, wav

from lipsync_utils.config import InferenceConfig, override
from lipsync_utils.errors import LipsyncError, SettingError
from lipsync_utils.faces import FaceBox, FaceTable, extent, find_faces, find_in_frames, landmarks
from lipsync_utils.inference import doubts, lip_sync, prepare, preview
from lipsync_utils.inference.mouths import (
    DARK,
    FINE,
    HEAD_MM,
    HEAD_POINTS,
    find_mouths,
    fitting,
    head_pose,
    light_and_hues,
    light_plane,
    misplaced,
    mouth_weight,
    warp,
)
from lipsync_utils.media import VideoWriter, frames

PLAIN = InferenceConfig(engine="torch", label="none")


def average_face():
    """Landmarks (68, 2) in a box from (0, 0) to (1, 1): what dlib sees in an empty picture."""
    found = landmarks(np.full((200, 200), 128, np.uint8), FaceBox(50, 50, 150, 150))
    left, top, right, bottom = extent(found)
    return (found - (left, top)) / (right - left, bottom - top)


def some_face(roll_deg=0.0, open_px=0.0):
    """Landmarks of an average face in a box of 192 px, turned in the picture, with the lower lip further down."""
    points = average_face() * 192
    points[[55, 56, 57, 58, 59]] += (0, open_px)
    points[4:13, 1] += open_px
    turn = cv2.getRotationMatrix2D((96, 110), roll_deg, 1)
    return (points @ turn[:, :2].T + turn[:, 2]).astype(np.float32)


def at(weight, points):
    """The weight (192, 192) at places in a box of 192 px."""
    x, y = np.float32(points.T)
    return cv2.remap(weight, x[None], y[None], cv2.INTER_LINEAR)[0]


@pytest.mark.parametrize("roll_deg", [0, 20, -15])
@pytest.mark.parametrize("open_px", [0, 25])
def test_the_weight_covers_the_mouth_and_ends_at_jaw_and_nose(roll_deg, open_px):
    points, box = some_face(roll_deg, open_px), np.array([0, 0, FINE, FINE])
    weight = mouth_weight(points, points[48:60], box)
    assert at(weight, points[48:60]).min() >= 0.9
    assert at(weight, points[30:31]).max() == 0 and at(weight, points[31:36]).max() < 0.1
    outside = np.ones((FINE, FINE), np.uint8)
    cv2.fillPoly(outside, [np.rint(points[:17]).astype(np.int32)], 0)
    assert weight[cv2.erode(outside, np.ones((3, 3))) > 0].max() == 0
    assert np.abs(np.diff(weight, axis=1)).max() < 0.25


def test_light_follows_skin_and_neither_beard_nor_window():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    skin = ((y > 50) & (np.hypot(x - 48, y - 72) > 14)).astype(np.float32)
    difference = 0.2 + 0.1 * (x / 48 - 1) + rng.normal(0, 0.02, (96, 96))
    clean = light_plane(difference[..., None], skin)[..., 0]
    assert clean == pytest.approx(0.2 + 0.1 * (x / 48 - 1), abs=0.03)
    for part, value in ((y > 84, -1.5), (x > 82, 1.0)):
        assert light_plane(np.where(part, value, difference)[..., None], skin)[..., 0] == pytest.approx(clean, abs=0.15)
    assert np.abs(light_plane(np.full((96, 96, 1), 3.0), skin)[72, 48]) <= 0.8  # content, not light


def test_a_face_drawn_in_other_colours_comes_out_in_the_pictures(tmp_path):
    """What a network draws too dark and too purple is moved to the light and the hues of the frame."""

    class Purple(Painter):
        def forward(self, mel, faces):
            return faces[:, 3:] * torch.tensor([0.9, 0.6, 0.8])[:, None, None]

    path, speech = video(tmp_path / "v.mp4", 4), wav(tmp_path / "s.wav", 0.16)
    job = prepare(path, speech, generator=Purple(), settings=PLAIN, faces=faces(4))
    for before, after in zip(frames(path), job.frames()):
        changed = np.abs(before.image_bgr.astype(int) - after).max(axis=2)
        assert changed.any() and changed.max() < 12  # as drawn: 60


def test_drawn_lips_get_the_colour_of_the_real_ones():
    """Drawn on redder skin and purple; the skin becomes the picture's, the lips the person's own."""
    points, box = some_face(), np.array([0, 0, FINE, FINE])
    lips = np.zeros((96, 96), np.uint8)
    cv2.fillPoly(lips, [np.rint(points[48:60] / 2).astype(np.int32)], 1)
    cv2.rectangle(lips, (0, 0), (95, 60), 0, -1)
    skin, own, drawn_skin, purple = np.array([[80, 110, 160], [70, 70, 150], [70, 80, 170], [110, 40, 130]]) / 255
    source = np.where(lips[..., None], own, skin)
    drawn = np.log(np.where(lips[..., None], purple, drawn_skin) + DARK)
    weight = mouth_weight(points, points[48:60], box)
    change = fitting(drawn, *light_and_hues(drawn, (source * 255).astype(np.float32), weight, points[48:60] / 2))
    made = np.exp(drawn + change) - DARK
    inside, around = (
        cv2.erode(lips, np.ones((3, 3))) > 0,
        (weight[::2, ::2] > 0) & (cv2.dilate(lips, np.ones((5, 5))) == 0),
    )
    assert np.abs(made[inside] - own).mean() < 0.04 < np.abs(np.exp(drawn[inside]) - own).mean()
    assert np.abs(made[around] - skin).mean() < 0.02


def test_a_mouth_drawn_elsewhere_is_moved_to_where_it_is():
    """The network draws nose and mouth 6 rows too low: what is pasted at the lips comes from 6 rows below."""
    points = some_face() / 2
    drawn = points.copy()
    drawn[27:36] += (0, 5)
    drawn[48:] += (0, 6)
    x, y = warp(points, misplaced(drawn, points))
    row, column = (int(v) for v in points[48:60].mean(axis=0)[::-1])
    assert y[row, column] - row == pytest.approx(6, abs=0.7) and abs(x[row, column] - column) < 0.7
    chin = int(points[8, 1])
    assert y[chin, column] - chin == pytest.approx(0, abs=0.7)


@pytest.mark.parametrize("yaw_deg, pitch_deg", [(0, 0), (40, 0), (-60, 0), (10, 30), (0, -25)])
def test_head_pose_reads_a_turned_head(yaw_deg, pitch_deg):
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    seen = (HEAD_MM @ about_x.T @ about_y.T)[:, :2] * 2 + 300
    points = np.zeros((68, 2))
    points[HEAD_POINTS] = seen
    assert head_pose(points) == pytest.approx(np.abs([yaw_deg, pitch_deg]), abs=8)


@pytest.fixture(scope="module")
def occluded(sample_show, tmp_path_factory):
    """The host; from frame 14 to 27 a dark disc lies before the mouth."""
    folder = tmp_path_factory.mktemp("occluded")
    shots = [f.image_bgr.copy() for f, _ in zip(frames(sample_show.video("talk")), range(40))]
    box = next(iter(find_in_frames(shots[:1]).at(0).values()))
    points = landmarks(shots[0], box)
    middle, wide = points[48:60].mean(axis=0), float(np.ptp(points[48:60, 0]))
    for shot in shots[14:28]:
        cv2.circle(shot, (int(middle[0]), int(middle[1] + 0.3 * wide)), int(0.8 * wide), (35, 35, 35), -1)
    with VideoWriter(folder / "v.mp4", size=shots[0].shape[1::-1], crf=8, repeatable=True) as writer:
        for shot in shots:
            writer.write(shot)
    wav(folder / "s.wav", 1.6)
    return folder


def test_a_covered_mouth_is_left_alone_and_noted(occluded):
    table = find_faces(occluded / "v.mp4")
    job = prepare(occluded / "v.mp4", {0: occluded / "s.wav"}, generator=Painter(), settings=PLAIN, faces=table)
    reason = job.talkers[0].reason
    assert (reason[16:26] == "covered").all() and (reason[:11] == "").all() and (reason[31:] == "").all()
    assert any("covered 0." in note for note in job.notes)
    same = [(a.image_bgr == b).all() for a, b in zip(frames(occluded / "v.mp4"), job.frames())]
    assert all(same[16:26]) and not any(same[2:10])
    (found,) = doubts(occluded / "v.mp4", table)
    assert found.reason == "covered" and abs(found.first - 14) <= 5 and abs(found.last - 27) <= 5


def test_without_landmarks_the_box_decides_and_the_result_says_so(tmp_path):
    path, speech = video(tmp_path / "v.mp4", 8), wav(tmp_path / "s.wav", 0.3)
    result = lip_sync(path, speech, tmp_path / "o.mp4", generator=Painter(), settings=PLAIN, faces=faces(8))
    assert any("no landmarks were found" in note for note in result.notes)
    assert result.drawn_frames == {0: 8}


def test_a_preview_shows_frames_that_the_speech_does_not_reach(occluded, tmp_path):
    speech = wav(tmp_path / "s.wav", 0.1)
    job = prepare(occluded / "v.mp4", {0: speech}, generator=Painter(), settings=PLAIN)
    assert np.isnan(job.talkers[0].points[36]).all()
    before = [f.image_bgr for f in frames(occluded / "v.mp4")][36]
    shown = preview(occluded / "v.mp4", {0: speech}, 36, generator=Painter(), settings=PLAIN, faces=job.table)
    assert 0 < (shown != before).any(axis=2).mean() < 0.3


def test_a_face_too_small_in_some_frames_is_left_there():
    boxes = [FaceBox(40, 30, 100, 110)] * 6 + [FaceBox(50, 40, 80, 80)] * 4
    table = FaceTable.from_boxes(boxes, (WIDTH, HEIGHT))
    blank = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    mouth = find_mouths(enumerate([blank] * 10), table, [0])[0]
    assert [(d.first, d.last, d.reason) for d in mouth.doubts()] == [(6, 9, "too small")]


def test_a_given_box_is_honoured_or_refused_in_both_modes(tmp_path):
    path, speech = video(tmp_path / "v.mp4", 8), wav(tmp_path / "s.wav", 0.3)
    for paste in ("blend", "reference"):
        settings = override(PLAIN, paste=paste, box_px=(30, 110, 40, 100))
        job = prepare(path, speech, generator=Painter(), settings=settings)
        changed = np.zeros((HEIGHT, WIDTH), bool)
        for before, after in zip(frames(path), job.frames()):
            changed |= (before.image_bgr != after).any(axis=2)
        rows, columns = np.nonzero(changed)
        assert rows.min() >= 30 and rows.max() < 110 and columns.min() >= 40 and columns.max() < 100
        for wrong in ((30, 300, 40, 100), (50, 20, 10, 60), (-5, 60, 10, 60)):
            with pytest.raises(LipsyncError, match="box_px"):
                prepare(path, speech, generator=Painter(), settings=override(PLAIN, paste=paste, box_px=wrong))
    with pytest.raises(SettingError, match="reference"):
        override(PLAIN, crop_px=(0, 50, 0, 50))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["man_kitchen_1080x1920_hevc.mp4", "woman_blue_700x700_30fps.mp4", "grid/lbbc2a.mpg"])
def test_real_lips_are_covered_and_nothing_beyond_the_jaw(real_clips, tmp_path, name):
    """Lips by another detection than the one that placed the weight: face_locations afresh in every 5th frame."""
    from lipsync_utils.faces import face_locations
    from lipsync_utils.faces.landmarks import points, shape

    shots = [f.image_bgr for f, _ in zip(frames(real_clips / name), range(60))]
    if max(shots[0].shape) > 1000:
        shots = [cv2.resize(s, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for s in shots]
    table = find_in_frames(shots)
    mouth = find_mouths(enumerate(shots), table, [0])[0]
    covered, beyond = [], []
    for i in range(0, 60, 5):
        found = face_locations(shots[i])
        if mouth.reason[i] or not found:
            continue
        box = np.rint(table.track_boxes(0)[i])
        fresh = points(shape(cv2.cvtColor(shots[i], cv2.COLOR_BGR2GRAY), max(found, key=lambda b: b.area)))
        on_grid = (fresh - box[:2]) * FINE / (box[2:] - box[:2])
        weight = mouth_weight(mouth.points[i], mouth.lips[i], box)
        covered.append(at(weight, on_grid[48:60]).min() >= 0.9)
        beyond.append(at(weight, on_grid[[*range(2, 15), 30]]).max())
    assert len(covered) >= 9 and np.mean(covered) >= 0.99 and np.mean(beyond) < 0.1
