"""FaceBox: where a face is, in pixels of the full frame."""

import math
from dataclasses import astuple, dataclass

import numpy as np

from ..errors import FaceError


@dataclass(frozen=True)
class FaceBox:
    """A rectangle in pixels of the full frame; right and bottom are outside, so width is right - left."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self):
        if not all(map(math.isfinite, astuple(self))) or not (self.left < self.right and self.top < self.bottom):
            raise FaceError(
                f"not a box: left {self.left}, top {self.top}, right {self.right}, bottom {self.bottom}; "
                "need left < right and top < bottom"
            )

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def iou(self, other: "FaceBox") -> float:
        """Intersection over union with another box, 0..1."""
        return float(iou(np.array(astuple(self)), np.array(astuple(other))))

    def contains(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    def padded(self, top: float = 0, bottom: float = 0, left: float = 0, right: float = 0) -> "FaceBox":
        """The box grown by so many pixels at each side (order of the reference's option: top, bottom, left, right)."""
        return FaceBox(self.left - left, self.top - top, self.right + right, self.bottom + bottom)

    def scaled(self, factor: float) -> "FaceBox":
        """The same box in a picture that is `factor` times as large."""
        return FaceBox(*(value * factor for value in astuple(self)))

    def inside(self, width: int, height: int) -> "FaceBox":
        """Whole pixels, clipped to a picture of that size. Raises FaceError where nothing is left."""
        return FaceBox(
            max(0, round(self.left)),
            max(0, round(self.top)),
            min(width, round(self.right)),
            min(height, round(self.bottom)),
        )

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """The part of a frame (h, w, ...) inside the box, clipped to the frame; a view, not a copy."""
        b = self.inside(frame.shape[1], frame.shape[0])
        return frame[b.top : b.bottom, b.left : b.right]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) in the order left, top, right, bottom; broadcasts."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    wide = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    high = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    common = np.maximum(wide, 0) * np.maximum(high, 0)
    both = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1]) + (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return common / np.maximum(both - common, 1e-9)
