"""The published inference, reproduced: its boxes, its chunks, its square paste. For comparisons, not for good looks.

The list of mel windows decides how many frames come out, longer speech starts the video again, a box is padded, then
smoothed over the frames that are used, and the drawn face covers all of it. Source: reference facts, section 7.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..audio import MEL_STEP, mel_window_starts
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceTable
from .engine import Engine
from .film import Source
from .mouths import Mouth, Talker


def as_published(settings: InferenceConfig) -> InferenceConfig:
    """The settings without what the published code does not do."""
    precision = "float32" if settings.precision == "auto" else settings.precision
    return replace(settings, close_mouth=False, precision=precision)


def shaped(frame_bgr: np.ndarray, settings: InferenceConfig) -> np.ndarray:
    """Shrink, turn, crop: what the published code does to every frame of a video (not to a picture)."""
    height, width = frame_bgr.shape[:2]
    if settings.shrink > 1:
        frame_bgr = cv2.resize(frame_bgr, (width // settings.shrink, height // settings.shrink))
    if settings.turn_clockwise:
        frame_bgr = cv2.rotate(frame_bgr, cv2.ROTATE_90_CLOCKWISE)
    top, bottom, left, right = settings.crop_px
    height, width = frame_bgr.shape[:2]
    frame_bgr = frame_bgr[top : height if bottom == -1 else bottom, left : width if right == -1 else right]
    if not frame_bgr.size:
        raise SettingError(f"crop_px {settings.crop_px} (top, bottom, left, right) leaves nothing of {width}x{height}")
    return np.ascontiguousarray(frame_bgr)


def plan_exactly(source: Source, table: FaceTable, speeches: dict, settings: InferenceConfig, engine: Engine):
    """Pair frames and mel windows as the published code does: paster, talkers, order and starts of a Job."""
    if len(speeches) > 1:
        raise SettingError("paste='reference' moves one mouth, as the published code does; several: paste='blend'")
    ((track, speech),) = speeches.items()
    if speech.mel.shape[1] < MEL_STEP:
        raise SettingError(
            f"{speech.path.name}: {speech.duration_s:.2f} s of speech are too short for the published "
            "code (0.19 s at least); use paste='blend', which pads it"
        )
    starts = mel_window_starts(speech.mel.shape[1], source.fps)
    n_source = 1 if source.image_bgr is not None else table.n_frames
    boxes = reference_boxes(table, track, min(n_source, len(starts)), source.size, settings)
    order, reason = np.arange(len(starts)) % n_source, np.where(boxes[:, 0] < 0, "not seen", "")
    strength = (reason[order] == "").astype(np.float32)
    return square_paster, [Talker(speech, Mouth(track, reason), boxes, strength)], order, starts


def reference_boxes(table: FaceTable, track_id: int, count: int, size: tuple[int, int], settings) -> np.ndarray:
    """The boxes of the first `count` frames: int64 (count, 4) left, top, right, bottom; all -1 where there is no face.

    table: boxes in the shaped frames (its size says so), or in the source's frames, where they are moved along.
    """
    boxes = table.track_boxes(track_id, raw=True)[:count]
    if settings.box_px[0] != -1:
        return boxes.astype(np.int64)
    if table.size != size:
        if settings.turn_clockwise:
            raise SettingError("turn_clockwise wants faces found in the turned frames: give such a FaceTable as faces=")
        boxes = boxes / settings.shrink - np.array([settings.crop_px[2], settings.crop_px[0]] * 2, np.float32)
    seen = ~np.isnan(boxes[:, 0])
    if not seen.any():
        raise FaceError("the chosen face is in none of the frames that are used; choose another person or video")
    top, bottom, left, right = settings.pads_px
    padded = np.trunc(boxes[seen]).astype(np.int64) + (-left, -top, right, bottom)
    padded = np.hstack([np.maximum(padded[:, :2], 0), np.minimum(padded[:, 2:], size)])
    result = np.full((len(boxes), 4), -1, np.int64)
    result[seen] = smooth_boxes(padded) if settings.smooth_boxes else padded
    return result


def square_paster(table: FaceTable, talker: Talker):
    """Makes a function that lays drawn faces over the whole box in place: truncated, resized, not blended."""

    def paste(frame_bgr: np.ndarray, k: int, drawn_bgr: np.ndarray, strength: float) -> None:
        left, top, right, bottom = talker.boxes[k].tolist()
        pixels = (drawn_bgr * 255.0).astype(np.uint8)
        frame_bgr[top:bottom, left:right] = cv2.resize(pixels, (right - left, bottom - top))

    return paste


def smooth_boxes(boxes, window: int = 5) -> np.ndarray:
    """Average boxes over time exactly as the published inference does, its odd tail included.

    boxes: (n, 4) whole numbers (the order of the columns does not matter) or FaceBox records.  Row i becomes the mean
    of rows i .. i + window - 1, truncated, in place; near the end the window is the last `window` rows, which already
    hold smoothed ones; with fewer rows than the window only the last `window - n` rows count (all, where there are
    not so many).  Returns int64 (n, 4).  Source: reference facts, section 7.
    """
    if window < 1:
        raise SettingError(f"window must be at least 1 frame, got {window}")
    smooth = np.array([np.array(box) for box in boxes], np.int64).reshape(-1, 4)
    n = len(smooth)
    for i in range(n):
        seen = smooth[n - window :] if i + window > n else smooth[i : i + window]
        smooth[i] = np.trunc(seen.mean(axis=0))
    return smooth
