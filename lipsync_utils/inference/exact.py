"""The published inference, reproduced: its boxes, its chunks, its square paste. For comparisons, not for good looks.

The list of mel windows decides how many frames come out, longer speech starts the video again, a box is padded, then
smoothed over the frames that are used, and the drawn face covers all of it. Source: reference facts, section 7.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..audio import MEL_STEP, mel_window_starts
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from .mouths import Talker


def lay_out(source, table, speeches: dict, settings: InferenceConfig):
    """Pair frames and mel windows as the published code does: paste, talkers, order and starts of a Job."""
    if len(speeches) > 1:
        raise SettingError("paste='reference' moves one mouth, as the published code does; several: paste='blend'")
    ((track, speech),) = speeches.items()
    if speech.mel.shape[1] < MEL_STEP:
        raise SettingError(f"{speech.path.name}: too short for the published code, 0.19 s at least; use paste='blend'")
    starts = mel_window_starts(speech.mel.shape[1], source.fps)
    n_source = 1 if source.image_bgr is not None else table.n_frames
    boxes = published_boxes(table.track_boxes(track, raw=True)[: len(starts)][:n_source], table, source.size, settings)
    order, reason = np.arange(len(starts)) % n_source, np.where(boxes[:, 0] < 0, "not seen", "")
    strength = (reason[order] == "").astype(np.float32)
    return paste, [Talker(track_id=track, reason=reason, speech=speech, boxes=boxes, strength=strength)], order, starts


def published_boxes(boxes: np.ndarray, table, size: tuple[int, int], settings: InferenceConfig) -> np.ndarray:
    """Boxes as the published code pastes into them: int64 (n, 4) left, top, right, bottom; all -1 without a face.

    boxes: (n, 4), in the shaped frames (the table's size says so), or in the source's frames, then they are moved.
    """
    if settings.box_px[0] != -1:
        return boxes.astype(np.int64)
    if table.size != size:
        if settings.turn_clockwise:
            raise SettingError("turn_clockwise wants faces found in the turned frames: give such a FaceTable as faces=")
        boxes = boxes / settings.shrink - np.array([settings.crop_px[2], settings.crop_px[0]] * 2, np.float32)
    seen, result = ~np.isnan(boxes[:, 0]), np.full(boxes.shape, -1, np.int64)
    if not seen.any():
        raise FaceError("the chosen face is in none of the frames that are used; choose another person or video")
    top, bottom, left, right = settings.pads_px
    padded = np.trunc(boxes[seen]).astype(np.int64) + (-left, -top, right, bottom)
    padded = np.hstack([np.maximum(padded[:, :2], 0), np.minimum(padded[:, 2:], size)])
    result[seen] = smooth_boxes(padded) if settings.smooth_boxes else padded
    return result


def paste(frame_bgr: np.ndarray, drawn_bgr: np.ndarray, talker: Talker, i: int, k: int, table, calm: dict) -> None:
    """Lay a drawn face over the whole box in place: truncated, resized, not blended. Arguments: see mouths.paste."""
    left, top, right, bottom = talker.boxes[k].tolist()
    frame_bgr[top:bottom, left:right] = cv2.resize((drawn_bgr * 255.0).astype(np.uint8), (right - left, bottom - top))


def smooth_boxes(boxes, window: int = 5) -> np.ndarray:
    """Average boxes over time exactly as the published inference does, its odd tail included.

    boxes: (n, 4) whole numbers (the order of the columns does not matter) or FaceBox records.  Row i becomes the mean
    of rows i .. i + window - 1, truncated, in place; near the end the window is the last `window` rows, which already
    hold smoothed ones; with fewer rows than the window only the last `window - n` rows count (all, where there are
    not so many).  Returns int64 (n, 4).  Source: reference facts, section 7.
    """
    smooth = np.array([np.array(box) for box in boxes], np.int64)
    n = len(smooth)
    for i in range(n):
        seen = smooth[n - window :] if i + window > n else smooth[i : i + window]
        smooth[i] = seen.mean(axis=0)
    return smooth
