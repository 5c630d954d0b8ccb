"""One frame before the run: the chosen mouths at their widest, to see whether it will look right."""

from __future__ import annotations

import cv2
import numpy as np

from ..audio import MEL_LIMIT, MEL_STEP, N_MELS, frame_window_start, mel_window
from .blend import MIDDLE, blend
from .job import Job, boxes_in, face_input

CANDIDATES = 24  # loudest windows that are tried


def preview(job: Job, source_frame: int | None = None) -> np.ndarray:
    """Draw one frame with every chosen mouth at its widest: uint8 (h, w, 3) BGR.

    job: from prepare(), paste="blend".  source_frame: which frame of the video; None: the first that shows all of them.
    Widest is the drawn mouth that differs most from the one drawn from silence.
    """
    if source_frame is None:
        seen = np.all([~np.isnan(t.boxes[:, 0]) for t in job.talkers], axis=0)
        anyone = np.any([~np.isnan(t.boxes[:, 0]) for t in job.talkers], axis=0)
        source_frame = int(np.argmax(seen if seen.any() else anyone))
    frame = next(job.source.pictures([source_frame]))
    original = frame.copy()
    for talker in job.talkers:
        if np.isnan(talker.boxes[source_frame, 0]):
            continue
        box = np.rint(talker.boxes[source_frame]).astype(np.int64)
        starts = [
            frame_window_start(i, job.settings.alignment, job.source.fps)
            for i in range(max(1, round(talker.duration_s * job.source.fps)))
        ]
        windows = np.stack([mel_window(talker.mel, s) for s in starts[:: max(1, len(starts) // 400)]])
        loudest = np.argsort(-windows.mean(axis=(1, 2)))[:CANDIDATES]
        silent = np.full((1, N_MELS, MEL_STEP), -MEL_LIMIT, np.float32)
        mels = np.concatenate([silent, windows[loudest]])
        drawn = job.engine.draw(mels, np.repeat(face_input(original, box)[None], len(mels), axis=0))
        moved = np.abs(drawn[1:, MIDDLE + 8 :, 24:72] - drawn[:1, MIDDLE + 8 :, 24:72]).mean(axis=(1, 2, 3))
        others = [b for track, b in boxes_in(job.table, source_frame).items() if track != talker.track_id]
        blend(frame, box, drawn[1 + int(np.argmax(moved))], 1.0, np.array(others).reshape(-1, 4))
    return frame


def jpeg(image_bgr: np.ndarray, longest_px: int = 1280, quality: int = 88) -> bytes:
    """A picture as JPEG bytes, shrunk to a size that a browser shows quickly."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    if scale < 1:
        image_bgr = cv2.resize(image_bgr, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
