"""The exact mode against the published inference, written out once more from the facts in plain loops."""

import cv2
import numpy as np
import pytest
import torch
from golden import filler
from scipy.io import wavfile

from lipsync_utils.audio import load_wav, melspectrogram
from lipsync_utils.config import InferenceConfig
from lipsync_utils.errors import FaceError, SettingError
from lipsync_utils.faces import FaceBox, FaceTable
from lipsync_utils.inference import lip_sync, prepare, smooth_boxes
from lipsync_utils.media import VideoWriter, frames, write_picture
from lipsync_utils.models import Wav2Lip

WIDTH, HEIGHT, N_FRAMES = 120, 96, 14


@pytest.fixture(scope="module")
def generator():
    return filler.load_into(Wav2Lip(0.25), tame=True).eval()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A video of smooth noise, one frame of it as a picture, 1.1 s and 0.4 s of sound, a wandering face box."""
    folder, rng = tmp_path_factory.mktemp("reference"), np.random.default_rng(5)
    for name, fps in (("video.mp4", 25.0), ("ntsc.mp4", 29.97)):
        with VideoWriter(folder / name, fps=fps, size=(WIDTH, HEIGHT)) as writer:
            for _ in range(N_FRAMES):
                small = rng.integers(0, 256, (12, 15, 3), np.uint8)
                writer.write(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    write_picture(folder / "picture.png", next(frames(folder / "video.mp4")).image_bgr)
    for name, seconds in (("long.wav", 1.1), ("short.wav", 0.4)):
        wavfile.write(folder / name, 16000, (rng.standard_normal(int(16000 * seconds)) * 3000).astype(np.int16))
    boxes = [FaceBox(20 + i, 10 + (i % 3) * 2, 80 + i, 84 - (i % 2) * 3) for i in range(N_FRAMES)]
    return folder, FaceTable.from_boxes(boxes, (WIDTH, HEIGHT))


def published(pictures, is_picture, wav, fps, boxes, generator, s):
    """Section 7 of the facts: frames in, frames out."""
    if not is_picture:
        made = []
        for p in pictures:
            p = cv2.resize(p, (p.shape[1] // s.shrink, p.shape[0] // s.shrink)) if s.shrink > 1 else p
            p = cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE) if s.turn_clockwise else p
            y1, y2, x1, x2 = s.crop_px
            made.append(p[y1 : p.shape[0] if y2 == -1 else y2, x1 : p.shape[1] if x2 == -1 else x2])
        pictures = made
    mel, chunks, i = melspectrogram(wav), [], 0
    while True:
        start = int(i * (80.0 / fps))
        if start + 16 > mel.shape[1]:
            chunks.append(mel[:, mel.shape[1] - 16 :])
            break
        chunks.append(mel[:, start : start + 16])
        i += 1
    pictures = pictures[: len(chunks)]
    if s.static:
        pictures = pictures[:1]
    if s.box_px[0] == -1:
        top, bottom, left, right = s.pads_px
        height, width = pictures[0].shape[:2]
        rows = np.array(
            [
                [
                    max(0, int(b.left) - left),
                    max(0, int(b.top) - top),
                    min(width, int(b.right) + right),
                    min(height, int(b.bottom) + bottom),
                ]
                for b in boxes[: len(pictures)]
            ]
        )
        if s.smooth_boxes:
            for k in range(len(rows)):
                window = rows[len(rows) - 5 :] if k + 5 > len(rows) else rows[k : k + 5]
                rows[k] = np.mean(window, axis=0)
    else:
        rows = np.array([[s.box_px[2], s.box_px[0], s.box_px[3], s.box_px[1]]] * len(pictures))
    result = []
    for i, chunk in enumerate(chunks):
        frame, (x1, y1, x2, y2) = pictures[i % len(pictures)].copy(), rows[i % len(pictures)]
        face = cv2.resize(frame[y1:y2, x1:x2], (96, 96))
        masked = face.copy()
        masked[48:] = 0
        both = np.concatenate([masked, face], axis=2)[None] / 255.0
        with torch.no_grad():
            drawn = generator(torch.FloatTensor(chunk[None, None]), torch.FloatTensor(both.transpose(0, 3, 1, 2)))
        drawn = (drawn.numpy().transpose(0, 2, 3, 1)[0] * 255.0).astype(np.uint8)
        frame[y1:y2, x1:x2] = cv2.resize(drawn, (x2 - x1, y2 - y1))
        result.append(frame)
    return result


CASES = {
    "video": ("video.mp4", "long.wav", {}),
    "shorter speech": ("video.mp4", "short.wav", {}),
    "nosmooth": ("video.mp4", "short.wav", {"smooth_boxes": False}),
    "batch 4": ("video.mp4", "short.wav", {"batch_size": 4}),
    "29.97 fps": ("ntsc.mp4", "long.wav", {}),
    "crop and box": ("video.mp4", "short.wav", {"crop_px": (4, 90, 10, -1), "box_px": (6, 70, 12, 66)}),
    "shrink and box": ("video.mp4", "short.wav", {"shrink": 2, "turn_clockwise": True, "box_px": (5, 45, 6, 40)}),
    "static": ("video.mp4", "short.wav", {"static": True}),
    "picture": ("picture.png", "short.wav", {}),
    "picture 30 fps": ("picture.png", "short.wav", {"picture_fps": 30.0}),
    "picture and box": ("picture.png", "short.wav", {"box_px": (6, 70, 12, 66)}),
    "torch": ("video.mp4", "short.wav", {"engine": "torch"}),
}


@pytest.mark.parametrize("case", CASES)
def test_frames_equal_the_published_inference(case, material, generator):
    folder, table = material
    name, speech, options = CASES[case]
    settings = InferenceConfig(paste="reference", label="none", **options)
    is_picture = name.endswith("png")
    pictures = [f.image_bgr for f in frames(folder / name)]
    fps = settings.picture_fps if is_picture else 29.97 if "ntsc" in name else 25.0
    boxes = [table.at(f)[0] for f in range(1 if is_picture else N_FRAMES)]
    faces = table.thinned([0]) if is_picture else table
    expected = published(pictures, is_picture, load_wav(folder / speech), fps, boxes, generator, settings)
    job = prepare(folder / name, folder / speech, generator=generator, settings=settings, faces=faces)
    got = list(job.frames())
    assert len(got) == len(expected) == len(job.order)
    assert got[0].shape == expected[0].shape
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(got, expected)) <= 1


def test_length_is_the_published_one_and_ours_is_the_speech(material, generator, tmp_path):
    folder, table = material
    exact = InferenceConfig(paste="reference")
    result = lip_sync(
        folder / "video.mp4", folder / "long.wav", tmp_path / "a.mp4", generator=generator, faces=table, settings=exact
    )
    assert result.n_frames == 25  # 1.1 s are 89 columns: 24 whole chunks and the last one
    result = lip_sync(folder / "video.mp4", folder / "long.wav", tmp_path / "b.mp4", generator=generator, faces=table)
    assert abs(result.n_frames - 1.1 * 25) <= 1


@pytest.mark.parametrize("n", range(1, 9))
def test_boxes_are_smoothed_in_place_with_the_odd_tail(n):
    rng = np.random.default_rng(n)
    boxes = rng.integers(0, 500, (n, 4))
    rows = boxes.copy()
    for i in range(n):
        rows[i] = np.mean(rows[n - 5 :] if i + 5 > n else rows[i : i + 5], axis=0)
    assert (smooth_boxes(boxes) == rows).all()
    assert (smooth_boxes([FaceBox(*b[:2], b[2] + 500, b[3] + 500) for b in boxes.tolist()])[:, :2] == rows[:, :2]).all()


def test_three_boxes_average_the_last_two_and_four_copy_the_last():
    boxes = np.arange(12).reshape(3, 4) * 10
    assert (smooth_boxes(boxes)[0] == (boxes[1] + boxes[2]) // 2).all()
    boxes = np.arange(16).reshape(4, 4)
    assert (smooth_boxes(boxes) == boxes[3]).all()


def test_what_the_published_code_cannot_do_is_said(material, generator, tmp_path):
    folder, table = material
    two = FaceTable.from_boxes([[FaceBox(5, 5, 50, 60), FaceBox(60, 5, 110, 60)]] * N_FRAMES, (WIDTH, HEIGHT))
    exact = InferenceConfig(paste="reference")
    with pytest.raises(SettingError, match="one mouth"):
        prepare(
            folder / "video.mp4",
            {0: folder / "short.wav", 1: folder / "short.wav"},
            generator=generator,
            settings=exact,
            faces=two,
        )
    wavfile.write(tmp_path / "tiny.wav", 16000, np.zeros(1600, np.int16))
    with pytest.raises(SettingError, match="too short"):
        prepare(folder / "video.mp4", tmp_path / "tiny.wav", generator=generator, settings=exact, faces=table)
    with pytest.raises(FaceError, match="2 people"):
        prepare(folder / "video.mp4", folder / "short.wav", generator=generator, settings=exact, faces=two)
