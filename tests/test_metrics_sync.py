"""MFCC, LSE and the judge, against numbers worked out by hand or by a slow version of the description."""

import math

import numpy as np
import pytest
import torch
from golden import filler, inputs

from lipsync_utils import audio, faces, media, metrics, models
from lipsync_utils.errors import DataError, SettingError
from lipsync_utils.metrics import sync


def slow_mfcc(wav, column):
    """One column, written out from the description: no numpy transforms."""
    x = wav.astype(float)
    x = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
    x = np.pad(x, (0, 1000))[160 * column : 160 * column + 400]
    n = np.arange(400)
    power = [abs(np.sum(x * np.exp(-2j * np.pi * k * n / 512))) ** 2 / 512 for k in range(257)]
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = [math.floor(513 * 700 * (10 ** (top * i / 27 / 2595) - 1) / 16000) for i in range(28)]
    bands = []
    for low, mid, high in zip(edges, edges[1:], edges[2:]):
        rise = sum(power[k] * (k - low) / (mid - low) for k in range(low, mid))
        bands.append(math.log(rise + sum(power[k] * (high - k) / (high - mid) for k in range(mid, high))))
    out = []
    for i in range(13):
        total = sum(b * math.cos(math.pi * i * (2 * j + 1) / 52) for j, b in enumerate(bands))
        total *= math.sqrt((1 if i == 0 else 2) / 26)
        out.append(total * (1 + 11 * math.sin(math.pi * i / 22)))
    return [math.log(sum(power)), *out[1:]]


def test_mfcc_is_the_described_pipeline():
    wav = (inputs.signal() * 32767 * 0.9).astype(np.int16)
    found = metrics.mfcc(wav)
    assert found.shape == (13, 319)
    for column in (0, 100, 318):
        np.testing.assert_allclose(found[:, column], slow_mfcc(wav, column), atol=1e-8)


def test_mfcc_of_silence_and_of_little_is_finite():
    assert metrics.mfcc(np.zeros(16000, np.int16)).shape == (13, 99)
    assert metrics.mfcc(np.zeros(16000, np.int16))[0, 0] == pytest.approx(math.log(np.finfo(float).eps))
    for n, columns in ((1, 1), (400, 1), (401, 2), (560, 2), (561, 3)):
        assert metrics.mfcc(np.ones(n, np.int16)).shape == (13, columns)
    with pytest.raises(SettingError, match="integers"):
        metrics.mfcc(np.zeros(100, np.float32))


def test_mfcc_of_long_sound_has_no_seam():
    wav = np.random.default_rng(0).integers(-30000, 30000, 160 * 5000).astype(np.int16)
    part = metrics.mfcc(wav[160 * 4000 :])
    np.testing.assert_allclose(metrics.mfcc(wav)[:, 4010:4500], part[:, 10:500], atol=1e-9)


def test_lse_by_hand():
    """Two windows, one number each: distances at offsets -1, 0, 1 are means of (3, 1), (0, 2), (2, 5)."""
    face, sound = np.array([[3.0], [5.0]]), np.array([[3.0], [5.0]])
    distances = metrics.offset_distances(face, sound, vshift=1)
    np.testing.assert_allclose(distances, [[3, 0, 2], [2, 0, 5]], atol=1e-5)
    found = metrics.lse_from_features(face, sound, vshift=1)
    assert (found.distance, found.confidence, found.offset) == pytest.approx((0, 2.5, 0), abs=1e-5)


@pytest.mark.parametrize("shift", [3, -4, 0, 2])
def test_the_offset_is_positive_where_the_sound_is_early(shift):
    found = metrics.lse_from_features(*inputs.joon_feats(shift=shift))
    assert found.offset == shift
    assert found.confidence > 2


@pytest.fixture(scope="module")
def syncnet():
    return filler.load_into(models.EvaluationSyncNet(0.0625)).eval()


def test_lse_of_a_clip_is_its_windows_one_by_one(syncnet):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (14, 40, 60, 3), np.uint8)
    wav = rng.integers(-9000, 9000, 12 * 640 + 5).astype(np.int16)  # 12 frames of sound: 7 windows
    face, sound = [], []
    import cv2

    big = np.stack([cv2.resize(f, (224, 224)) for f in frames]).astype(np.float32)
    with torch.no_grad():
        for i in range(7):
            face.append(syncnet.embed_face(torch.from_numpy(big[i : i + 5].transpose(3, 0, 1, 2)[None]))[0].numpy())
            columns = metrics.mfcc(wav)[:, 4 * i : 4 * i + 20]
            sound.append(syncnet.embed_audio(torch.from_numpy(columns[None, None]).float())[0].numpy())
    expected = metrics.lse_from_features(np.stack(face), np.stack(sound))
    found = metrics.lse(frames, wav, syncnet)
    assert found.offset == expected.offset
    assert (found.distance, found.confidence) == pytest.approx((expected.distance, expected.confidence), rel=1e-4)


def test_lse_leaves_the_network_in_its_mode_and_refuses_what_is_too_short(syncnet):
    syncnet.train()
    before = {k: v.clone() for k, v in syncnet.state_dict().items()}
    metrics.lse(np.zeros((6, 8, 8, 3), np.uint8), np.zeros(6 * 640, np.int16), syncnet)
    assert syncnet.training
    assert all(torch.equal(v, before[k]) for k, v in syncnet.state_dict().items())
    syncnet.eval()
    with pytest.raises(DataError, match="too short"):
        metrics.lse(np.zeros((5, 8, 8, 3), np.uint8), np.zeros(6 * 640, np.int16), syncnet)
    with pytest.raises(DataError, match="too short"):
        metrics.lse(np.zeros((9, 8, 8, 3), np.uint8), np.zeros(5 * 640, np.int16), syncnet)


def test_crop_rules_by_hand():
    """A box 100 wide and 80 high: half side 50; 50 up, 90 down, 70 to both sides of the centre; grey outside."""
    boxes = np.tile([[100.0, 110.0, 200.0, 190.0]], (20, 1))
    assert sync.crop_track(boxes)[10].tolist() == [50, 150, 150]
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[100:240, 80:220] = 255
    assert (sync.crop(frame, 50, 150, 150) == 255).all()
    edge = sync.crop(np.zeros((400, 400, 3), np.uint8), 50, 10, 200)
    assert (edge[:, :90] == 110).all()
    assert (edge[:, 120:] == 0).all()


def test_tracks_are_cut_at_long_gaps_and_jumps():
    boxes = np.full((400, 4), np.nan, np.float32)
    boxes[0:120] = (10, 10, 130, 130)
    boxes[60:80] = np.nan  # short gap: filled
    boxes[130:180] = (10, 10, 130, 130)
    boxes[180:300] = (200, 10, 320, 130)  # a cut
    boxes[340:400] = (200, 10, 320, 130)  # after a long gap
    runs = sync.track_runs(boxes)
    assert [(start, len(found), n) for start, found, n in runs] == [(0, 180, 150), (180, 120, 120), (340, 60, 60)]
    np.testing.assert_allclose(runs[0][1][70], (10, 10, 130, 130))
    assert sync.track_runs(boxes * np.nan) == []


@pytest.mark.parametrize("fps", [25, 30])
def test_lse_of_a_video_is_that_of_its_tracks_crops(tmp_path, monkeypatch, syncnet, fps):
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    wav = (0.3 * rng.standard_normal(16000 * 2)).clip(-1, 1).astype(np.float32)
    path = tmp_path / "film.mp4"
    with media.VideoWriter(path, fps=fps, size=(320, 240), sound=wav, sample_rate_hz=16000) as writer:
        for i in range(2 * fps):
            writer.write(np.roll(texture, 3 * int(i * 25 / fps), axis=1))
    box = faces.FaceBox(100, 60, 220, 180)

    def find(film, cache_dir=None):
        assert media.probe(film).fps == pytest.approx(25)
        seen = [None] * 10 + [box] * 40
        return faces.FaceTable.from_boxes(seen, (320, 240))

    monkeypatch.setattr(faces, "find_faces", find)
    assert metrics.lse_of_video(path, syncnet) == []  # shorter than the protocol wants
    assert metrics.lse_of_video(path, syncnet, min_frames=30, min_side_px=121) == []  # the face is smaller
    (row,) = metrics.lse_of_video(path, syncnet, min_frames=30)
    assert (row.track_id, row.start, row.end) == (0, 10, 50)
    sound = metrics.to_int16(audio.load_wav(path))[6400:32000]
    if fps == 25:
        frames = [f.image_bgr for f in media.frames(path)][10:50]
        crops = [sync.crop(f, 60, 160, 120) for f in frames]
        expected = metrics.lse(np.stack(crops), sound, syncnet)
        assert row.lse.distance == pytest.approx(expected.distance, rel=1e-4)
        assert row.lse.offset == expected.offset


@pytest.mark.slow
def test_lse_of_a_real_video_gives_a_row_for_its_face(tmp_path, real_clips, syncnet):
    film, short = real_clips / "man_suit_700x700.mp4", tmp_path / "short.mp4"
    media.ffmpeg(["-i", media.tools.file_url(film), "-t", "4.4", "-c", "copy", media.tools.file_url(short)])
    rows = metrics.lse_of_video(short, syncnet)
    assert len(rows) == 1
    assert rows[0].end - rows[0].start > 100


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("shift", [-5, 0, 4])
def test_the_judge_finds_the_offset_with_the_same_sign(shift):
    a = unit(np.abs(np.random.default_rng(0).standard_normal((100, 32))))
    found = metrics.judge_from_features(a[20:80], a[20 + shift : 80 + shift])
    assert found.offset == shift
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.confidence > 0.3


def test_the_judge_by_hand():
    face, sound = np.eye(6), np.eye(6)[[0, 1, 2, 3, 4, 0]]
    found = metrics.judge_from_features(face, sound, max_shift=1)
    # offset 0: five fit, one at sqrt 2; a window early or late: none of five fits, but for the last sound
    assert found.distance == pytest.approx(math.sqrt(2) / 6)
    assert found.offset == 0
    with pytest.raises(DataError, match="too few"):
        metrics.judge_from_features(face[:4], sound[:4])


def test_judging_a_clip_is_judging_its_windows():
    judge = filler.load_into(models.SyncNet(0.0625)).train()
    rng = np.random.default_rng(2)
    crops = rng.integers(0, 256, (12, 96, 96, 3), np.uint8)
    mel = audio.melspectrogram(rng.uniform(-0.5, 0.5, 12 * 640).astype(np.float32))
    face, sound = metrics.expert_features(crops, mel, judge)
    assert face.shape == sound.shape == (8, 32)
    assert judge.training
    judge.eval()
    pictures = torch.from_numpy(crops[3:8].transpose(3, 0, 1, 2)[None].astype(np.float32) / 255)
    start = audio.sync_window_start(3)
    with torch.no_grad():
        a, v = judge(torch.from_numpy(mel[None, None, :, start : start + 16]), models.stack_lower_halves(pictures))
    np.testing.assert_allclose(face[3], v[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(sound[3], a[0].numpy(), atol=1e-6)
    assert metrics.judge_sync(list(crops), mel, judge) == metrics.judge_sync(crops, mel, judge)
    with pytest.raises(DataError):
        metrics.expert_features(crops[:4], mel, judge)
