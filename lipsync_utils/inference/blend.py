"""Putting the drawn mouth back: only the lower face, with soft edges and the colours of its surroundings.

All shapes live on the 96 x 96 grid of the networks and are scaled to the face's size. Where the mask is zero, the
frame keeps its own pixels exactly: the upper half of the box always, and everything outside the oval.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .boxes import cut

GRID = 96
MIDDLE = GRID // 2  # the rows from here on are drawn by the network
CENTRE_XY = (47.5, 75.0)  # of the oval; mouths lie there in a box from forehead to chin, noses above
RADII_XY = (39.0, 20.0)
POWER = 2.6  # between an ellipse (2) and a box
FEATHER = 0.34  # share of the radius over which the mask fades
MATCH_SIGMA = 14.0  # how far a colour difference at the seam reaches inwards, in grid pixels
LARGEST_MATCH = 40.0  # levels; a larger difference is content, not colour


@lru_cache(maxsize=1)
def lower_face_mask() -> np.ndarray:
    """The blending weight on the grid: float32 (96, 96), 1 around the mouth, 0 outside an oval in the lower half."""
    y, x = np.mgrid[:GRID, :GRID].astype(np.float32)
    across, down = np.abs(x - CENTRE_XY[0]) / RADII_XY[0], np.abs(y - CENTRE_XY[1]) / RADII_XY[1]
    distance = (across**POWER + down**POWER) ** (1 / POWER)
    mask = smooth_step((1 - distance) / FEATHER)
    mask[:MIDDLE] = 0
    mask.setflags(write=False)
    return mask


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a soft S between."""
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def match_colours(drawn_bgr: np.ndarray, source_bgr: np.ndarray) -> np.ndarray:
    """Shift the drawn face's colours so that they meet the source's along the seam.

    drawn_bgr, source_bgr: (96, 96, 3) float32 in 0..255.  The difference along the soft edge is carried inwards
    smoothly (a blurred mean of the difference, weighted by the edge).  Returns float32 of the same shape.
    """
    mask = lower_face_mask()
    edge = mask * (1 - mask)
    difference = np.clip(source_bgr - drawn_bgr, -LARGEST_MATCH, LARGEST_MATCH)
    weight = cv2.GaussianBlur(edge, (0, 0), MATCH_SIGMA)
    carried = cv2.GaussianBlur(difference * edge[..., None], (0, 0), MATCH_SIGMA)
    return drawn_bgr + carried / np.maximum(weight, 1e-4)[..., None]


def nearer_to_own_face(box: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """Weight that ends half-way to every other face: a neighbour who overlaps the box is not touched.

    box: left, top, right, bottom; others: (n, 4).  Returns float32 (h, w) of the box, or None where nobody is near.
    """
    left, top, right, bottom = (int(v) for v in box)
    near = [o for o in others if o[0] < right and o[2] > left and o[1] < bottom and o[3] > top]
    if not near:
        return None
    x = np.arange(left, right, dtype=np.float32)[None] + 0.5
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5

    def distance(b):
        return np.hypot((x - (b[0] + b[2]) / 2) / max(b[2] - b[0], 1), (y - (b[1] + b[3]) / 2) / max(b[3] - b[1], 1))

    own = distance(box)
    keep = np.ones((bottom - top, right - left), np.float32)
    for other in near:
        keep *= smooth_step((distance(other) - own) / 0.12)
    return keep


def blend(
    frame_bgr: np.ndarray,
    box: np.ndarray,
    drawn_bgr: np.ndarray,
    strength: float = 1.0,
    others: np.ndarray | None = None,
) -> None:
    """Lay a drawn face over a frame, in place.

    frame_bgr: (h, w, 3) uint8; box: left, top, right, bottom, may reach over the edge; drawn_bgr: (96, 96, 3) float32
    in [0, 1]; strength: 0 leaves the frame as it is; others: (n, 4) boxes of the other faces in this frame.
    """
    left, top, right, bottom = (int(v) for v in box)
    size = (right - left, bottom - top)
    source = cut(frame_bgr, box)
    small = cv2.resize(source, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
    drawn = match_colours(drawn_bgr * 255, small)
    drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_CUBIC if size[0] > GRID else cv2.INTER_AREA)
    mask = cv2.resize(lower_face_mask(), size, interpolation=cv2.INTER_LINEAR) * np.float32(strength)
    keep = nearer_to_own_face(box, others) if others is not None and len(others) else None
    if keep is not None:
        mask *= keep
    mask[: (size[1] + 1) // 2] = 0  # enlarging must not reach above the middle
    mixed = source + mask[..., None] * (drawn - source)
    mixed = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    height, width = frame_bgr.shape[:2]
    rows, columns = slice(max(-top, 0), height - top), slice(max(-left, 0), width - left)
    frame_bgr[max(top, 0) : bottom, max(left, 0) : right] = mixed[rows, columns]


def paste_square(frame_bgr: np.ndarray, box: np.ndarray, drawn_bgr: np.ndarray) -> None:
    """Lay a drawn face over the whole box in place as the published inference does: truncated, resized, not blended."""
    left, top, right, bottom = (int(v) for v in box)
    pixels = (drawn_bgr * 255.0).astype(np.uint8)
    frame_bgr[top:bottom, left:right] = cv2.resize(pixels, (right - left, bottom - top))
