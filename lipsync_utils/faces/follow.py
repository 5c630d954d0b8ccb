"""Following a face from one frame to the next without a detector, and noticing when the shot changes."""

import cv2
import numpy as np

from .box import FaceBox

PATCH_PX = 48  # the face is looked for at this size
REACH = 0.3  # of its width and height, in every direction, from one frame to the next
SAME_FACE = 0.6  # correlation above which it is still the same face
BLOCKS = 24  # a frame is compared as BLOCKS x BLOCKS mean values
CHANGED = 22.0  # grey values by which a block must change to count
CUT_SHARE = 0.22  # of the blocks that change at a cut


def follow(grey: np.ndarray, box: FaceBox, next_grey: np.ndarray) -> tuple[FaceBox, float]:
    """Where the face in `box` of one frame is in the next one, and how much it looks the same (-1..1).

    grey, next_grey: (h, w) uint8.  Only the place changes, not the size.
    """
    factor = PATCH_PX / box.width
    core = box.padded(*(-0.1 * box.height,) * 2, *(-0.1 * box.width,) * 2)
    patch = patch_of(grey, core, factor)
    search_box = core.padded(*(REACH * box.height,) * 2, *(REACH * box.width,) * 2)
    search = patch_of(next_grey, search_box, factor)
    if patch.std() < 2:  # a flat patch looks like everything
        return box, 0.0
    likeness = cv2.matchTemplate(search, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(likeness)
    dx = (x + peak(likeness[y], x) - (likeness.shape[1] - 1) / 2) / factor
    dy = (y + peak(likeness[:, x], y) - (likeness.shape[0] - 1) / 2) / factor
    return FaceBox(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy), float(best)


def patch_of(grey: np.ndarray, box: FaceBox, factor: float) -> np.ndarray:
    """The part of a frame in `box`, scaled; what lies outside the frame repeats its edge."""
    size = max(4, round(box.width * factor)), max(4, round(box.height * factor))
    move = np.array([[1 / factor, 0, box.left + 0.5 / factor - 0.5], [0, 1 / factor, box.top + 0.5 / factor - 0.5]])
    if factor < 0.5:  # average before sampling, or the patch flickers
        step = int(1 / factor)
        x0, y0 = max(0, int(box.left) - step), max(0, int(box.top) - step)
        part = grey[y0 : int(box.bottom) + step, x0 : int(box.right) + step]
        if part.size:
            small = cv2.resize(part, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
            sx, sy = small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]
            move = np.array([[sx / factor, 0, (box.left - x0) * sx], [0, sy / factor, (box.top - y0) * sy]])
            return cv2.warpAffine(
                small, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
            )
    return cv2.warpAffine(
        grey, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def peak(values: np.ndarray, at: int) -> float:
    """How far (-0.5..0.5) the top of a parabola through three values lies from the middle one."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, middle, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


class CutFinder:
    """Tells whether a frame begins a new shot. Rather once too often: a false alarm costs a search, no more."""

    def __init__(self):
        self.last: np.ndarray | None = None

    def is_cut(self, grey: np.ndarray) -> bool:
        """True for the first frame and wherever much of the picture changed since the last call."""
        small = cv2.resize(grey, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self.last = self.last, small
        return last is None or float((np.abs(small - last) > CHANGED).mean()) > CUT_SHARE
