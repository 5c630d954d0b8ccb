"""Face detectors: one interface over dlib's HOG and CNN detectors and S3FD.

`scan` searches a whole frame down to the smallest wanted face; `near` looks again around a known face, at the scale at
which the detector needs the fewest pixels. That is what makes tracking cheap: the cost of HOG is the number of pixels.
"""

import functools
import math
import warnings
from dataclasses import dataclass

import cv2
import numpy as np

from ..config import FacesConfig
from ..errors import SettingError
from .landmarks import grey_of, model
from .table import FaceBox

WINDOW_PX = 80  # side of the smallest face that dlib's detectors see
STEP = 5 / 6  # between the levels of dlib's pyramid
NEAR_PX = 100  # a known face is brought to about this size before looking again
S3FD_LONGEST_PX = 960  # frames are reduced to this: S3FD sees faces from 16 px on, and costs 0.3 M operations a pixel
S3FD_NEAR_PX = 96  # size to which a known face is brought before looking again


@dataclass(frozen=True)
class Detection:
    """A face that a detector found, in pixels of the frame."""

    box: FaceBox
    score: float


def resized(picture: np.ndarray, factor: float) -> np.ndarray:
    """A picture scaled by `factor`: area averaging down, bilinear up."""
    height, width = picture.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def on_pyramid(factor: float) -> float:
    """The nearest scale that dlib's own pyramid over the doubled picture would visit: 2, 1.67, 1.39 .."""
    return 2 * STEP ** max(0, round(math.log(factor / 2) / math.log(STEP)))


class Detector:
    """What all detectors share. find(picture, factor, least score) scales and gives rows: 4 sides, score."""

    LEAST, FAINT = -np.inf, np.inf  # scores: below the first nothing counts; the second is enough around a known face

    def __init__(self, settings: FacesConfig):
        self.settings, self.least = settings, max(self.LEAST, settings.min_score)

    def scan(self, bgr: np.ndarray, smallest_px: float = 0.0) -> list[Detection]:
        """All faces of a frame (h, w, 3) uint8 that are not below min_face_px and smallest_px."""
        return self.search(bgr, self.scan_factor(bgr, max(self.settings.min_face_px, smallest_px)), self.least)

    def near(self, bgr: np.ndarray, box: FaceBox) -> list[Detection]:
        """Faces around `box`, also faint ones: in a part twice as wide and high."""
        around = box.grown(0.5).inside(bgr.shape[1], bgr.shape[0])
        factor, least = self.near_factor(box.width), min(self.least, self.FAINT)
        return self.search(around.crop(bgr), factor, least, (around.left, around.top))

    def search(self, bgr: np.ndarray, factor: float, least: float = 0.0, corner=(0, 0)) -> list[Detection]:
        """What is found in a part of a frame that is scaled by `factor`; corner: where it lies in the frame."""
        if min(bgr.shape[:2]) < 2:
            return []
        rows = [(np.multiply(place, 1 / factor), score) for *place, score in self.find(bgr, factor, least)]
        return [
            Detection(FaceBox(*(place + (*corner, *corner)).tolist()), float(score))
            for place, score in rows
            if place[2] - place[0] >= 0.75 * self.settings.min_face_px
        ]


class HogDetector(Detector):
    """dlib's frontal face detector on grey pictures."""

    FAINT = -0.5

    def scan_factor(self, bgr, smallest_px):
        return on_pyramid(WINDOW_PX / smallest_px)

    def near_factor(self, width):
        return on_pyramid(NEAR_PX / width)

    def find(self, bgr, factor, least):
        found, scores, _ = model("hog").run(resized(grey_of(bgr), factor), 0, least)
        return [(*sides(rect), score) for rect, score in zip(found, scores)]


class CnnDetector(Detector):
    """dlib's CNN detector: sees turned and tilted faces that HOG misses, and takes seconds a frame on a CPU."""

    LEAST = 0.0

    def scan_factor(self, bgr, smallest_px):
        return min(1.0, WINDOW_PX / self.settings.min_face_px)

    def near_factor(self, width):
        return min(2.0, NEAR_PX / width)

    def find(self, bgr, factor, least):
        found = model("cnn")(np.ascontiguousarray(resized(bgr, factor)[..., ::-1]), 0)
        return [(*sides(d.rect), d.confidence) for d in found if d.confidence >= least]


class S3fdDetector(Detector):
    """S3FD, the detector of the reference, for whoever has its published weights; on a GPU where there is one."""

    LEAST = 0.5

    def scan_factor(self, bgr, smallest_px):
        return min(1.0, max(S3FD_LONGEST_PX / max(bgr.shape[:2]), 20 / self.settings.min_face_px))

    def near_factor(self, width):
        return min(1.0, S3FD_NEAR_PX / width)

    def find(self, bgr, factor, least):
        from ..models.s3fd import detect_faces

        return detect_faces(s3fd_network(self.settings.s3fd_weights), resized(bgr, factor), least)


def sides(rect) -> tuple[int, int, int, int]:
    """dlib's rectangle, whose right and bottom are inside, as left, top, right, bottom."""
    return rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1


def distinct(found: list[Detection], taken: list[FaceBox], most_iou: float = 0.3) -> list[Detection]:
    """Detections, best first, that overlap neither a taken box nor a better detection."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(one.box.iou(box) < most_iou for box in [*taken, *(k.box for k in kept)]):
            kept.append(one)
    return kept


def make_detector(settings: FacesConfig) -> Detector:
    """The detector that the settings ask for. Raises SettingError where S3FD's weights are not there."""
    if settings.detector == "s3fd" and not settings.s3fd_weights:
        raise SettingError("detector 's3fd' needs s3fd_weights=checkpoints.fetch('s3fd', folder); or use 'hog'")
    return {"hog": HogDetector, "cnn": CnnDetector, "s3fd": S3fdDetector}[settings.detector](settings)


def face_locations(frame_bgr: np.ndarray, upsample: int = 1) -> list[FaceBox]:
    """What face_recognition.face_locations finds in one frame, searched afresh: the article's way, for comparison."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import face_recognition
    found = face_recognition.face_locations(np.ascontiguousarray(frame_bgr[..., ::-1]), upsample)
    return [FaceBox(left, top, right, bottom) for top, right, bottom, left in found]


@functools.cache
def rescuer() -> CnnDetector:
    """The CNN detector as a rescue for the others."""
    return CnnDetector(FacesConfig(detector="cnn"))


@functools.cache
def s3fd_network(path: str):
    """The network with the weights of a file, on the GPU where there is one; once per process."""
    import torch

    from .. import checkpoints

    network = checkpoints.load(path, "detector").eval()
    return network.to("cuda" if torch.cuda.is_available() else "cpu")
