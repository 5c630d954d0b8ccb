"""S3FD, the detector of the reference, for whoever has its published weights; on a GPU where there is one."""

import functools

import numpy as np

from ..config import FacesConfig
from .box import FaceBox
from .detect import Detection, resized, surroundings

LONGEST_PX = 960  # frames are reduced to this: S3FD sees faces from 16 px on, and costs 0.3 M operations a pixel
NEAR_PX = 96  # size to which a known face is brought before looking again


class S3fdDetector:
    """S3FD as a detector of this package."""

    def __init__(self, settings: FacesConfig):
        self.network = load(settings.s3fd_weights)
        self.min_score = max(0.5, settings.min_score)
        self.min_face_px = settings.min_face_px

    def scan(self, bgr, grey, smallest_px=0.0):
        factor = min(1.0, LONGEST_PX / max(bgr.shape[:2]))
        return self.run(bgr, max(factor, min(1.0, 20 / self.min_face_px)), (0, 0))

    def near(self, bgr, grey, box):
        part, origin = surroundings(bgr, box)
        return self.run(part, min(1.0, NEAR_PX / box.width), origin)

    def run(self, bgr: np.ndarray, factor: float, origin: tuple[int, int]) -> list[Detection]:
        from ..models.s3fd import detect_faces

        rows = detect_faces(self.network, resized(bgr, factor), self.min_score)
        rows = rows[(rows[:, 2] - rows[:, 0]) / factor >= self.min_face_px * 0.75]
        return [Detection(FaceBox(*(row[:4] / factor + np.tile(origin, 2)).tolist()), float(row[4])) for row in rows]


@functools.cache
def load(path: str):
    """The network with the weights of a file, on the GPU where there is one; once per process."""
    import torch

    from .. import checkpoints

    network = checkpoints.load(path, "detector").eval()
    return network.to("cuda" if torch.cuda.is_available() else "cpu")
