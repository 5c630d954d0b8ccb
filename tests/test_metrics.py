"""Pictures, faces, FID and statistics, each against a case worked out by hand or published."""

import itertools
import sys
import types

import cv2
import numpy as np
import pytest
import torch

from lipsync_utils import faces, media, metrics
from lipsync_utils.errors import CheckpointError, DataError, SettingError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_every_measure_has_a_direction_and_a_unit():
    for name, measure in metrics.MEASURES.items():
        assert measure.name == name
        assert measure.unit
        assert measure.better in ("lower", "higher") or float(measure.better) >= 0
        assert measure.label.startswith(f"{measure.title} ({measure.unit}) ")
        assert measure.meaning
    offset = metrics.MEASURES["offset_frames"]
    assert (offset.label[-3:], offset.from_target(-2)) == ("→ 0", 2)
    assert metrics.MEASURES["ssim"].from_target(-0.1) == -0.1


def test_l1_and_psnr_by_hand():
    a = np.zeros((4, 4, 3), np.uint8)
    b = np.full((4, 4, 3), 51, np.uint8)  # a fifth of full scale: 20 log10(5) dB
    assert metrics.l1(a, b) == 51
    assert metrics.psnr(a, b) == pytest.approx(13.9794, abs=1e-4)
    assert metrics.psnr(a, a) == float("inf")


def test_ssim_by_hand():
    """Two flat pictures: only the brightness term is left, (2 m1 m2 + c1) / (m1^2 + m2^2 + c1), c1 = 2.55^2."""
    a, b = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 150, np.uint8)
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-6)
    assert metrics.ssim(noise(20, 20, 3), noise(20, 20, 3)) == 1


def test_sharpness_by_hand():
    """One bright point on black: the Laplacian is -4 h there and h at its four neighbours."""
    picture = np.zeros((11, 11, 3), np.uint8)
    picture[5, 5] = 100
    expected = (400**2 + 4 * 100**2) / 121
    assert metrics.sharpness(picture) == pytest.approx(expected, abs=1e-9)


def test_sharpness_ratio_sees_blur_of_the_mouth_only():
    truth = noise(3, 96, 96, 3)
    blurred = np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in truth])
    mouths = truth.copy()
    mouths[:, 48:] = blurred[:, 48:]
    assert metrics.sharpness_ratio(truth, truth) == 1
    assert metrics.sharpness_ratio(mouths, truth) < 0.1
    upper = truth.copy()
    upper[:, :48] = blurred[:, :48]
    assert metrics.sharpness_ratio(upper, truth) == pytest.approx(1, abs=0.1)
    assert np.isnan(metrics.sharpness_ratio(truth, np.zeros_like(truth)))


def face_points(opening=0.0, shift=0.0, n=5):
    """68 points with eyes 100 px apart and inner lips `opening` px apart."""
    points = np.zeros((n, 68, 2))
    points[:, 36:42] = (100, 100)
    points[:, 42:48] = (200, 100)
    points[:, 48:68] = (150, 200)
    points[:, 48:68, 0] += np.linspace(-30, 30, 20)
    for up, low in ((61, 67), (62, 66), (63, 65)):
        points[:, low, 0] = points[:, up, 0]
        points[:, low, 1] = points[:, up, 1] + opening
    return points + shift


def test_mouth_opening_by_hand_whatever_the_roll_and_size():
    np.testing.assert_allclose(metrics.mouth_opening(face_points(20)), 0.2)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) * 3
    np.testing.assert_allclose(metrics.mouth_opening(face_points(20) @ turn), 0.2)


def test_landmark_distance_by_hand():
    truth = face_points(0)
    assert metrics.landmark_distance(truth + 5, truth) == pytest.approx(0, abs=1e-9)
    wide = truth.copy()
    wide[:, 48:68, 0] += np.where(np.arange(20) < 10, -2.0, 2.0)  # both halves 2 px outwards, centre unmoved
    assert metrics.landmark_distance(wide, truth) == pytest.approx(2.0)
    wide[1:] = np.nan
    assert metrics.landmark_distance(wide, truth) == pytest.approx(2.0)
    assert np.isnan(metrics.landmark_distance(truth * np.nan, truth))


def test_correlation_by_hand():
    assert metrics.correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert metrics.correlation([1, 2, 3, 9], [3, 2, 1]) == pytest.approx(-1)
    assert metrics.correlation([1, np.nan, 2, 3], [1, 5, 2, 3]) == pytest.approx(1)
    assert metrics.correlation([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(0)
    assert np.isnan(metrics.correlation([1, 1, 1], [1, 2, 3]))
    assert np.isnan(metrics.correlation([1, 2], [1, 2]))


def test_landmarks_go_frame_by_frame(monkeypatch):
    monkeypatch.setattr(faces, "landmarks", lambda frame, box: np.full((68, 2), frame[0, 0, 0] + box.left))
    frames = [np.full((4, 4, 3), v, np.uint8) for v in (1, 2, 3)]
    track = metrics.landmark_track(iter(frames), np.array([[10, 0, 20, 10], [np.nan] * 4, [30, 0, 40, 10]]))
    assert (track[0, 0, 0], track[2, 5, 1]) == (11, 33)
    assert np.isnan(track[1]).all()


def test_fid_hands_rgb_pictures_and_safe_weights_to_the_library(tmp_path, monkeypatch):
    blue = [np.dstack([noise(3, 3, seed=i), noise(3, 3, seed=9), noise(3, 3, seed=9)]) for i in range(3)]
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "w.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(SettingError, match="pip install torch-fidelity"):
        metrics.fid(blue, blue, tmp_path / "w.pth")
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(CheckpointError, match="HTML"):
        metrics.fid(blue, blue, tmp_path / "page.pth")
    given = {}
    library = types.ModuleType("torch_fidelity")
    library.calculate_metrics = lambda **how: given.update(how) or {"frechet_inception_distance": 1.5}
    monkeypatch.setitem(sys.modules, "torch_fidelity", library)
    assert metrics.fid(blue, blue[:2], tmp_path / "w.pth") == 1.5 and given["fid"]
    assert given["feature_extractor_weights_path"] == str(tmp_path / "w.pth")
    assert (len(given["input1"]), len(given["input2"]), given["input1"][0].dtype) == (3, 2, torch.uint8)
    assert given["input1"][2][:, 0, 0].tolist() == blue[2][0, 0, ::-1].tolist()


def test_bootstrap_resamples_whole_videos():
    values = [1.0, 1.0, 1.0, 5.0]
    found = metrics.bootstrap(values, ["a", "a", "a", "b"])
    assert (found.mean, found.videos) == (2.0, 2)
    assert (found.low, found.high) == (1.0, 5.0)  # both draws the same video: one in four each
    alone = metrics.bootstrap(values, ["a"] * 4)
    assert alone.mean == 2.0
    assert np.isnan(alone.low)
    assert metrics.bootstrap([1.0, np.nan, 3.0], ["a", "b", "c"]).mean == 2
    with pytest.raises(DataError):
        metrics.bootstrap([np.nan], ["a"])


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        values = rng.normal(1.0, 1.0, 30)
        found = metrics.bootstrap(values, np.arange(30), samples=500, seed=trial)
        hits += found.low <= 1.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_is_reproducible_and_as_wide_as_theory():
    values = np.random.default_rng(0).standard_normal(400)
    first, second = (metrics.bootstrap(values, np.arange(400), seed=3) for _ in range(2))
    assert first == second
    assert (first.high - first.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.05)


def test_differences_by_hand():
    """Fisher's case of all differences on one side: p = 2 / 2^n."""
    found = metrics.bootstrap([1, 2, 3, 4, 5], list("abcde"))
    assert found.mean == 3
    assert found.p == 2 / 32
    assert found.low > 0
    assert found.videos == 5
    even = metrics.bootstrap([1, -1, 2, -2], list("abcd"))
    assert (even.mean, even.p) == (0, 1)


def test_darwins_maize_gives_fishers_published_p():
    """Fisher 1935: 15 pairs of plants (eighths of an inch); of 32768 sign patterns 1726 are as extreme: p = 0.0527."""
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = metrics.bootstrap(differences, np.arange(15), samples=2**15)
    assert found.mean == pytest.approx(314 / 15)
    assert found.p == pytest.approx(1726 / 32768, abs=1e-9)


def test_clips_of_one_video_are_one_vote():
    ours, videos = np.ones(40), ["a"] * 20 + ["b"] * 20
    assert metrics.bootstrap(ours, videos).p == 0.5
    assert np.isnan(metrics.bootstrap(ours[:20], videos[:20]).p)


def test_many_videos_are_flipped_at_random():
    rng = np.random.default_rng(1)
    clear = metrics.bootstrap(1 + 0.1 * rng.standard_normal(40), np.arange(40))
    assert clear.p < 0.001
    unclear = metrics.bootstrap(rng.standard_normal(40) * np.tile([1, -1], 20), np.arange(40))
    assert unclear.p > 0.01


def test_the_meter_follows_the_mouths_of_the_talk_show(sample_show):
    """Landmarks on the rendered host against the opening that was rendered."""
    rows = [row for row in sample_show.rows("talk") if row.actor]
    host = rows[0].actor
    boxes = np.full((1 + max(row.frame for row in rows), 4), np.nan)
    for row in rows:
        if row.actor == host:
            boxes[row.frame] = row.left_px, row.top_px, row.right_px, row.bottom_px
    n = int(np.flatnonzero(np.isfinite(boxes[:, 0])).max()) + 1
    pictures = [f.image_bgr for f in itertools.islice(media.frames(sample_show.video("talk")), n)]
    measured = metrics.mouth_opening(metrics.landmark_track(pictures, boxes[:n]))
    truth = np.full(len(boxes), np.nan)
    for row in rows:
        if row.actor == host:
            truth[row.frame] = row.mouth_open
    assert metrics.correlation(measured, truth) > 0.8
