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
from .table import FaceBox, iou

WINDOW_PX = 80  # side of the smallest face that dlib's detectors see
STEP = 5 / 6  # between the levels of dlib's pyramid
NEAR_PX = 100  # a known face is brought to about this size before looking again
RESCUE_PX = 480  # long side of the picture that the CNN is shown as a rescue
LENIENT = -0.5  # HOG threshold for a face that was there a moment ago
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


class HogDetector:
    """dlib's frontal face detector on grey pictures."""

    def __init__(self, settings: FacesConfig):
        self.min_score, self.min_face_px = settings.min_score, settings.min_face_px

    def scan(self, bgr: np.ndarray, smallest_px: float = 0.0) -> list[Detection]:
        """All faces of a frame (h, w, 3) uint8 that are not below min_face_px and smallest_px."""
        return self.search(bgr, on_pyramid(WINDOW_PX / max(self.min_face_px, smallest_px)), self.min_score)

    def near(self, bgr: np.ndarray, box: FaceBox) -> list[Detection]:
        """Faces around `box`, also faint ones."""
        part, corner = surroundings(bgr, box)
        return self.search(part, on_pyramid(NEAR_PX / box.width), LENIENT, corner)

    def search(self, bgr, factor, threshold, corner=(0, 0)) -> list[Detection]:
        if min(bgr.shape[:2]) < 2:
            return []
        found, scores, _ = model("hog").run(resized(grey_of(bgr), factor), 0, threshold)
        return [in_frame(sides(rect), score, factor, corner) for rect, score in zip(found, scores)]


class CnnDetector:
    """dlib's CNN detector: sees turned and tilted faces that HOG misses, and takes seconds a frame on a CPU."""

    def __init__(self, settings: FacesConfig):
        self.min_score, self.min_face_px = max(settings.min_score, 0), settings.min_face_px

    def scan(self, bgr: np.ndarray, smallest_px: float = 0.0) -> list[Detection]:
        return self.search(bgr, min(1.0, WINDOW_PX / self.min_face_px))

    def near(self, bgr: np.ndarray, box: FaceBox) -> list[Detection]:
        part, corner = surroundings(bgr, box)
        return self.search(part, min(2.0, NEAR_PX / box.width), corner)

    def rescue(self, bgr: np.ndarray) -> list[Detection]:
        """One look at a small copy of a frame in which the usual detector saw nobody."""
        return self.search(bgr, min(1.0, RESCUE_PX / max(bgr.shape[:2])))

    def search(self, bgr, factor, corner=(0, 0)) -> list[Detection]:
        found = model("cnn")(np.ascontiguousarray(resized(bgr, factor)[..., ::-1]), 0)
        sure = [d for d in found if d.confidence >= self.min_score]
        return [in_frame(sides(d.rect), d.confidence, factor, corner) for d in sure]


class S3fdDetector:
    """S3FD, the detector of the reference, for whoever has its published weights; on a GPU where there is one."""

    def __init__(self, settings: FacesConfig):
        if not settings.s3fd_weights:
            raise SettingError(
                "detector 's3fd' needs s3fd_weights: the path of its published weights "
                "(checkpoints.fetch('s3fd', folder)), or use detector 'hog'"
            )
        self.network = s3fd_network(settings.s3fd_weights)
        self.min_score, self.min_face_px = max(0.5, settings.min_score), settings.min_face_px

    def scan(self, bgr: np.ndarray, smallest_px: float = 0.0) -> list[Detection]:
        return self.search(bgr, min(1.0, max(S3FD_LONGEST_PX / max(bgr.shape[:2]), 20 / self.min_face_px)))

    def near(self, bgr: np.ndarray, box: FaceBox) -> list[Detection]:
        part, corner = surroundings(bgr, box)
        return self.search(part, min(1.0, S3FD_NEAR_PX / box.width), corner)

    def search(self, bgr, factor, corner=(0, 0)) -> list[Detection]:
        from ..models.s3fd import detect_faces

        rows = detect_faces(self.network, resized(bgr, factor), self.min_score)
        rows = rows[(rows[:, 2] - rows[:, 0]) / factor >= self.min_face_px * 0.75]
        return [in_frame(row[:4], row[4], factor, corner) for row in rows]


def surroundings(picture: np.ndarray, box: FaceBox) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture around a face, twice as wide and high as its box, and where its corner lies."""
    half = 0.5 * box.height, 0.5 * box.height, 0.5 * box.width, 0.5 * box.width
    around = box.padded(*half).inside(picture.shape[1], picture.shape[0])
    return around.crop(picture), (around.left, around.top)


def sides(rect) -> tuple[int, int, int, int]:
    """dlib's rectangle, whose right and bottom are inside, as left, top, right, bottom."""
    return rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1


def in_frame(place, score: float, factor: float, corner: tuple[int, int]) -> Detection:
    """What was found at a place (4,) of a scaled part, in the frame."""
    return Detection(FaceBox(*(np.multiply(place, 1 / factor) + (*corner, *corner)).tolist()), float(score))


def distinct(found: list[Detection], taken: list[FaceBox], most_iou: float = 0.3) -> list[Detection]:
    """Detections, best first, that overlap neither a taken box nor a better detection."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(iou(one.box, box) < most_iou for box in [*taken, *(k.box for k in kept)]):
            kept.append(one)
    return kept


def make_detector(settings: FacesConfig):
    """The detector that the settings ask for. Raises SettingError where S3FD's weights are not there."""
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
