"""Cutting the face out of a frame, and the reference's way of smoothing boxes over time."""

from __future__ import annotations

import numpy as np

from ..errors import SettingError


def box_array(boxes) -> np.ndarray:
    """Boxes as int64 (n, 4), columns left, top, right, bottom; from FaceBox records or anything array-like."""
    rows = [(b.left, b.top, b.right, b.bottom) if hasattr(b, "left") else tuple(b) for b in boxes]
    return np.array(rows, np.int64).reshape(-1, 4)


def smooth_boxes(boxes, window: int = 5) -> np.ndarray:
    """Average boxes over time exactly as the published inference does, its odd tail included.

    boxes: (n, 4) whole numbers (the order of the columns does not matter) or FaceBox records.  Row i becomes the mean
    of rows i .. i + window - 1, truncated, in place; near the end the window is the last `window` rows, which already
    hold smoothed ones; with fewer rows than the window only the last `window - n` rows count (all, where there are
    not so many).  Returns int64 (n, 4).  Source: reference facts, section 7.
    """
    if window < 1:
        raise SettingError(f"window must be at least 1 frame, got {window}")
    smooth = box_array(boxes)
    n = len(smooth)
    for i in range(n):
        seen = smooth[n - window :] if i + window > n else smooth[i : i + window]
        smooth[i] = np.trunc(seen.mean(axis=0))
    return smooth


def cut(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The picture inside a box; where the box reaches over the frame's edge, the edge is repeated.

    frame_bgr: (h, w, 3) uint8; box: left, top, right, bottom.  Returns (bottom - top, right - left, 3).
    """
    left, top, right, bottom = (int(v) for v in box)
    height, width = frame_bgr.shape[:2]
    if 0 <= left < right <= width and 0 <= top < bottom <= height:
        return frame_bgr[top:bottom, left:right]
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    return frame_bgr[np.ix_(rows, columns)]
