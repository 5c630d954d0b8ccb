"""What the measures look at in a clip: the face in every frame, its landmarks, and who it is."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .. import metrics
from ..config import FacesConfig
from ..errors import DataError
from ..faces import FaceBox, encode, find_faces, landmarks
from ..media import frames

FACE_PX = 96  # side of the face pictures, as the networks see them


@dataclass(frozen=True, eq=False)
class Look:
    """The face in a clip. faces_bgr: (n, 96, 96, 3) uint8.  landmarks: (n, 68, 2) float32 in pixels of the video, NaN
    where the face is not seen.  encodings: (k, 128) of face_recognition.
    """

    faces_bgr: np.ndarray
    landmarks: np.ndarray
    encodings: np.ndarray

    def __len__(self) -> int:
        return len(self.faces_bgr)


def find_speaker(path: Path, cache_dir: Path | None, settings: FacesConfig | None = None) -> tuple[int, np.ndarray]:
    """(track id, boxes) of the person who is seen most in a clip, the largest where several are.

    boxes: (n, 4) float32 left, top, right, bottom in pixels, NaN where the face is not seen.  Raises DataError where
    no face is found.
    """
    table = find_faces(path, settings, cache_dir)
    if not table.track_ids:
        raise DataError(f"{Path(path).name}: no face was found, so nothing can be measured")
    best = max(table.track_ids, key=lambda t: (len(table.frames_of(t)), np.nanmean(sides(table.track_boxes(t)))))
    return best, table.track_boxes(best)


def sides(boxes: np.ndarray) -> np.ndarray:
    """The longer side of each box (n, 4), in pixels."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def filled(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) with frames without a face (NaN) filled in between their neighbours."""
    seen = np.flatnonzero(~np.isnan(boxes[:, 0]))
    every = np.arange(len(boxes))
    return np.stack([np.interp(every, seen, boxes[seen, side]) for side in range(4)], axis=1).astype(np.float32)


def region_of(boxes: np.ndarray, size: tuple[int, int], margin: float = 0.25) -> tuple[int, int, int, int]:
    """The part of the picture (left, top, right, bottom), even and inside it, that holds the face in all frames.

    boxes: (n, 4) in pixels, NaN where unseen.  size: (width, height).  margin: of the face's size, added on each side.
    """
    left, top = np.nanmin(boxes[:, :2], axis=0)
    right, bottom = np.nanmax(boxes[:, 2:], axis=0)
    wide, high = margin * (right - left), margin * (bottom - top)
    edges = max(0, left - wide), max(0, top - high), min(size[0], right + wide), min(size[1], bottom + high)
    left, top, right, bottom = (int(edge) // 2 * 2 for edge in edges)
    return left, top, max(right, left + 2), max(bottom, top + 2)


def look_at(path: Path, boxes: np.ndarray, n_encodings: int = 3) -> Look:
    """Look at a face in a video: the frames that both the video and the boxes have.

    boxes: (n, 4) float32 in pixels, NaN where unseen; those of the true video also serve its generated versions, so
    that every model is looked at in the same place.  n_encodings: frames for face_recognition, spread evenly.
    """
    seen, places = np.flatnonzero(~np.isnan(boxes[:, 0])), filled(boxes)
    encoded_at = set(seen[np.linspace(0, len(seen) - 1, n_encodings + 2).round().astype(int)[1:-1]].tolist())
    faces, points, encodings = [], [], []
    for frame, box in zip(frames(path), places, strict=False):
        picture, place = frame.image_bgr, FaceBox(*box.tolist())
        faces.append(cv2.resize(place.crop(picture), (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR))
        points.append(landmarks(picture, place))
        if frame.index in encoded_at:
            encodings.append(encode(np.ascontiguousarray(picture[..., ::-1]), place))
    if not faces:
        raise DataError(f"{Path(path).name}: no frame could be read")
    points = np.stack(points)
    points[np.isnan(boxes[: len(points), 0])] = np.nan
    return Look(np.stack(faces), points, np.reshape(encodings, (-1, 128)))


def opening_of(path: Path, boxes: np.ndarray) -> np.ndarray:
    """The mouth opening (n,) of a video by landmarks, NaN where the face is not seen; boxes as in look_at."""
    return metrics.mouth_opening(look_at(path, boxes, 0).landmarks)
