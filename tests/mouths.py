"""Stand-ins for the tests of stage 08: a painter instead of a trained generator, small media, boxes given."""

from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.io import wavfile

from lipsync_utils.faces import FaceBox, FaceTable
from lipsync_utils.media import VideoWriter

WIDTH, HEIGHT = 160, 120


class Painter(torch.nn.Module):
    """Opens a black mouth in the reference frame, as wide as the mel is loud; closed it changes nothing."""

    def __init__(self):
        super().__init__()
        y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
        self.register_buffer("x", x)
        self.register_buffer("y", y)
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, mel, faces):
        loud = ((mel.mean((1, 2, 3)) + 4) / 4).clamp(0, 1)[:, None, None]
        inside = 1 - ((self.x - 48) / 14) ** 2 - ((self.y - 76) / (1 + 12 * loud)) ** 2
        hole = torch.sigmoid(inside * 6) * (loud > 0.02)
        return faces[:, 3:] * (1 - self.gain * hole[:, None])


def video(path: Path, n_frames: int, fps: float = 25.0, size=(WIDTH, HEIGHT), sound=None, hz: int = 16000) -> Path:
    """A video of smooth noise of one hue; frame i is numbered by the brightness of its top left corner."""
    grey = np.random.default_rng(3).integers(80, 220, (9, 12, 1), np.uint8)
    base = cv2.resize((grey * (0.7, 0.8, 1.0)).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, fps=fps, size=size, crf=4, sound=sound, sample_rate_hz=hz) as writer:
        for i in range(n_frames):
            frame = base.copy()
            frame[:24, :24] = 40 + 8 * (i % 25)
            writer.write(frame)
    return path


def number_of(frame_bgr: np.ndarray) -> int:
    """The number that video() wrote into a frame."""
    return round((float(frame_bgr[4:20, 4:20].mean()) - 40) / 8)


def wav(path: Path, seconds: float, hz: int = 16000, channels: int = 1, pauses=()) -> Path:
    """Noise that is loud like speech, silent in the pauses (start_s, end_s)."""
    rng = np.random.default_rng(7)
    samples = rng.standard_normal((round(seconds * hz), channels)) * 0.1
    for start, end in pauses:
        samples[round(start * hz) : round(end * hz)] = 0
    wavfile.write(path, hz, (samples * 32767).astype(np.int16).squeeze())
    return path


def faces(n_frames: int, boxes=((40, 30, 100, 110),), gaps=(), size=(WIDTH, HEIGHT)) -> FaceTable:
    """The same boxes in every frame, one track each; in the frames of `gaps` there is nobody."""
    rows = [None if i in gaps else [FaceBox(*b) for b in boxes] for i in range(n_frames)]
    return FaceTable.from_boxes(rows, size)
