"""The published inference, reproduced: its boxes, its chunks, its square paste. For comparisons, not for good looks.

Frames and mels are paired as the published code does it: the list of mel windows decides how many frames come out,
longer speech starts the video again, a box is padded, then smoothed over the frames that are used, and the drawn face
covers the whole box. Source: reference facts, section 7.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..audio import mel_window, mel_window_starts
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceTable
from .blend import GRID, paste_square
from .boxes import smooth_boxes
from .engine import Engine
from .source import Source


def prepared_frame(frame_bgr: np.ndarray, settings: InferenceConfig) -> np.ndarray:
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


def prepared_size(source: Source, settings: InferenceConfig) -> tuple[int, int]:
    """(width, height) of the frames after that."""
    if source.still and source.static_frame is None:
        return source.size
    width, height = source.size
    shape = prepared_frame(np.zeros((height, width, 1), np.uint8), settings).shape
    return shape[1], shape[0]


def reference_boxes(
    table: FaceTable, track_id: int, count: int, size: tuple[int, int], settings: InferenceConfig
) -> np.ndarray:
    """The boxes of the first `count` frames: int64 (count, 4) left, top, right, bottom; all -1 where there is no face.

    table: boxes in the prepared frames (its size says so), or in the source's frames, where they are moved along.
    """
    if settings.box_px[0] != -1:
        top, bottom, left, right = settings.box_px
        return np.tile(np.array([left, top, right, bottom], np.int64), (count, 1))
    boxes = table.track_boxes(track_id, raw=True)[:count]
    if table.size != size:
        if settings.turn_clockwise:
            raise SettingError("turn_clockwise wants faces found in the turned frames: give such a FaceTable as faces=")
        boxes = boxes / settings.shrink - np.array([settings.crop_px[2], settings.crop_px[0]] * 2, np.float32)
    seen = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(seen):
        raise FaceError("the chosen face is in none of the frames that are used; choose another person or video")
    top, bottom, left, right = settings.pads_px
    width, height = size
    padded = np.trunc(boxes[seen]).astype(np.int64) + np.array([-left, -top, right, bottom])
    padded = np.stack(
        [
            np.maximum(padded[:, 0], 0),
            np.maximum(padded[:, 1], 0),
            np.minimum(padded[:, 2], width),
            np.minimum(padded[:, 3], height),
        ],
        axis=1,
    )
    result = np.full((len(boxes), 4), -1, np.int64)
    result[seen] = smooth_boxes(padded) if settings.smooth_boxes else padded
    return result


def reference_frames(
    source: Source, mel: np.ndarray, table: FaceTable | None, track_id: int, engine: Engine, settings: InferenceConfig
) -> tuple[int, Iterator[np.ndarray]]:
    """How many frames the published code would write, and these frames one by one, uint8 (h, w, 3) BGR.

    mel: float32 (80, n), n >= 16.  table: the faces; None where settings.box_px says where the face is.
    """
    starts = mel_window_starts(mel.shape[1], source.fps)
    n_source = 1 if source.still else table.n_frames if table is not None else len(starts)
    used = min(n_source, len(starts))
    boxes = reference_boxes(table, track_id, used, prepared_size(source, settings), settings)
    plain = source.still and source.static_frame is None

    def run() -> Iterator[np.ndarray]:
        waiting: list[tuple[np.ndarray, np.ndarray, int]] = []
        order = (i % n_source for i in range(len(starts)))
        for i, (start, frame) in enumerate(zip(starts, source.pictures(order))):
            frame = frame if plain else prepared_frame(frame, settings)
            waiting.append((frame, boxes[i % n_source], start))
            if len(waiting) == engine.batch_size:
                yield from _drawn(waiting, mel, engine)
                waiting = []
        if waiting:
            yield from _drawn(waiting, mel, engine)

    return len(starts), run()


def _drawn(waiting: list, mel: np.ndarray, engine: Engine) -> list[np.ndarray]:
    """Draw and paste one batch; a frame without the face stays as it is."""
    drawn = [(frame, box, start) for frame, box, start in waiting if box[0] >= 0]
    if drawn:
        faces = np.stack([cv2.resize(frame[b[1] : b[3], b[0] : b[2]], (GRID, GRID)) for frame, b, _ in drawn])
        mels = np.stack([mel_window(mel, start) for _, _, start in drawn])
        for (frame, box, _), face in zip(drawn, engine.draw(mels, faces)):
            paste_square(frame, box, face)
    return [frame for frame, _, _ in waiting]
