"""Face detectors: one interface over dlib's HOG and CNN detectors and S3FD.

`scan` searches a whole frame down to the smallest wanted face; `near` looks again around a known face, at the scale at
which the detector needs the fewest pixels. That is what makes tracking cheap: the cost of HOG is the number of pixels.
"""

import functools
import logging
import math
import warnings
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from ..config import FacesConfig
from ..errors import SettingError
from .landmarks import model
from .table import FaceBox, iou

log = logging.getLogger(__name__)

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
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def on_pyramid(factor: float) -> float:
    """The nearest scale that dlib's own pyramid over the doubled picture would visit: 2, 1.67, 1.39 .."""
    return 2 * STEP ** max(0, round(math.log(factor / 2) / math.log(STEP)))


class HogDetector:
    """dlib's frontal face detector on grey pictures."""

    def __init__(self, settings: FacesConfig):
        self.min_score = settings.min_score
        self.scan_factor = on_pyramid(WINDOW_PX / settings.min_face_px)

    def scan(self, bgr: np.ndarray, grey: np.ndarray, smallest_px: float = 0.0) -> list[Detection]:
        """All faces of a frame, or those not below smallest_px. bgr (h, w, 3) and grey (h, w) are uint8 pictures."""
        factor = min(self.scan_factor, on_pyramid(WINDOW_PX / max(smallest_px, 1.0)))
        return self.run(grey, factor, (0, 0), self.min_score)

    def near(self, bgr: np.ndarray, grey: np.ndarray, box: FaceBox) -> list[Detection]:
        """Faces around `box`, also faint ones."""
        part, origin = surroundings(grey, box)
        return self.run(part, on_pyramid(NEAR_PX / box.width), origin, LENIENT)

    def run(self, grey: np.ndarray, factor: float, origin: tuple[int, int], threshold: float) -> list[Detection]:
        if min(grey.shape) < 2:
            return []
        found, scores, _ = model("hog").run(resized(grey, factor), 0, threshold)
        return [Detection(in_frame(r, factor, origin), float(s)) for r, s in zip(found, scores)]


class CnnDetector:
    """dlib's CNN detector: sees turned and tilted faces that HOG misses, and takes seconds a frame on a CPU."""

    def __init__(self, settings: FacesConfig):
        self.min_score = settings.min_score
        self.scan_factor = min(1.0, WINDOW_PX / settings.min_face_px)

    def scan(self, bgr, grey, smallest_px=0.0):
        return self.run(bgr, self.scan_factor, (0, 0))

    def near(self, bgr, grey, box):
        part, origin = surroundings(bgr, box)
        return self.run(part, min(2.0, NEAR_PX / box.width), origin)

    def rescue(self, bgr: np.ndarray) -> list[Detection]:
        """One look at a small copy of a frame in which the usual detector saw nobody."""
        return self.run(bgr, min(1.0, RESCUE_PX / max(bgr.shape[:2])), (0, 0))

    def sees_face(self, chips_rgb: list[np.ndarray]) -> bool:
        """Whether any of the small pictures (150, 150, 3), made by `landmarks.chip`, shows a face."""
        return any(self.run(np.ascontiguousarray(c[..., ::-1]), 1.0, (0, 0)) for c in chips_rgb)

    def run(self, bgr, factor, origin):
        found = model("cnn")(np.ascontiguousarray(resized(bgr, factor)[..., ::-1]), 0)
        return [
            Detection(in_frame(d.rect, factor, origin), float(d.confidence))
            for d in found
            if d.confidence >= max(self.min_score, 0)
        ]


class S3fdDetector:
    """S3FD, the detector of the reference, for whoever has its published weights; on a GPU where there is one."""

    def __init__(self, settings: FacesConfig):
        self.network = s3fd_network(settings.s3fd_weights)
        self.min_score = max(0.5, settings.min_score)
        self.min_face_px = settings.min_face_px

    def scan(self, bgr, grey, smallest_px=0.0):
        factor = min(1.0, S3FD_LONGEST_PX / max(bgr.shape[:2]))
        return self.run(bgr, max(factor, min(1.0, 20 / self.min_face_px)), (0, 0))

    def near(self, bgr, grey, box):
        part, origin = surroundings(bgr, box)
        return self.run(part, min(1.0, S3FD_NEAR_PX / box.width), origin)

    def run(self, bgr: np.ndarray, factor: float, origin: tuple[int, int]) -> list[Detection]:
        from ..models.s3fd import detect_faces

        rows = detect_faces(self.network, resized(bgr, factor), self.min_score)
        rows = rows[(rows[:, 2] - rows[:, 0]) / factor >= self.min_face_px * 0.75]
        return [Detection(FaceBox(*(row[:4] / factor + np.tile(origin, 2)).tolist()), float(row[4])) for row in rows]


def surroundings(picture: np.ndarray, box: FaceBox) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture around a face, twice as wide and high as its box, and where its corner lies."""
    height, width = picture.shape[:2]
    left, top = max(0, round(box.left - 0.5 * box.width)), max(0, round(box.top - 0.5 * box.height))
    right, bottom = min(width, round(box.right + 0.5 * box.width)), min(height, round(box.bottom + 0.5 * box.height))
    return picture[top:bottom, left:right], (left, top)


def in_frame(rect, factor: float, origin: tuple[int, int]) -> FaceBox:
    """dlib's rectangle in a scaled part as a box in the frame."""
    box = FaceBox(rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1).scaled(1 / factor)
    return box.padded(top=-origin[1], bottom=origin[1], left=-origin[0], right=origin[0])


def distinct(found: list[Detection], taken: list[FaceBox], most_iou: float = 0.3) -> list[Detection]:
    """Detections, best first, that overlap neither a taken box nor a better detection."""
    kept: list[Detection] = []
    boxes = [np.array(astuple(b)) for b in taken]
    for one in sorted(found, key=lambda d: -d.score):
        mine = np.array(astuple(one.box))
        if not boxes or iou(np.stack(boxes), mine).max() < most_iou:
            kept.append(one)
            boxes.append(mine)
    return kept


def make_detector(settings: FacesConfig):
    """The detector that the settings ask for. Raises SettingError where S3FD's weights are not there."""
    if settings.detector == "s3fd":
        if not settings.s3fd_weights:
            raise SettingError(
                "detector 's3fd' needs s3fd_weights: the path of its published weights "
                "(checkpoints.fetch('s3fd', folder)), or use detector 'hog'"
            )
        return S3fdDetector(settings)
    return {"hog": HogDetector, "cnn": CnnDetector}[settings.detector](settings)


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
