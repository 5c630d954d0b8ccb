"""dlib's models: 68 landmarks of a face, its extent from them, and what it looks like as 128 numbers.

The models come with the face_recognition_models package and are loaded at first use, once per process.
The landmark model was trained on the iBUG 300-W pictures, whose licence excludes commercial use.

The extent of a face box is what S3FD would frame, whatever the detector. dlib's detectors frame a square from the brows
to the chin, and cut the chin of an open mouth. The published networks were trained on S3FD boxes: from the forehead to
the chin, from ear to ear. Training data, inference and published weights only fit when all see the same extent.
"""

import functools
import hashlib
import warnings

import cv2
import numpy as np
from scipy.ndimage import correlate1d, maximum_filter1d

from .table import FaceBox

JAW, BROWS, NOSE_BASE, OUTER_LIPS = slice(0, 17), slice(17, 27), slice(31, 36), slice(48, 60)
STARTS = np.array(
    [(0, 0, 0), (0.06, 0.04, 0), (-0.06, -0.04, 0), (0, 0, 0.06), (0.06, -0.05, -0.03)]
)  # right, down, larger
CHIP_PX, CHIP_PADDING = 150, 0.25  # of the picture that the encoder sees
BESIDE = 0.03  # beyond the landmarks of the jaw, of the width: the ears
FOREHEAD = 0.6  # above the brows, in distances from brows to nose base
BELOW_CHIN = 0.03  # of the height of the box
OVER_LIPS = 0.06  # of the height, at least between the middle of the box and the lips: a head bent down
SMOOTHED = 9  # frames over which boxes are smoothed; odd, so that nothing lags
SEEN: dict = {}  # what steady_landmarks found: (picture, box) -> (5, 68, 2)


@functools.cache
def model(name: str):
    """One of dlib's models: hog, cnn, pose, encoder."""
    import dlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import face_recognition_models as files
    if name == "hog":
        return dlib.get_frontal_face_detector()
    if name == "cnn":
        return dlib.cnn_face_detection_model_v1(files.cnn_face_detector_model_location())
    if name == "pose":
        return dlib.shape_predictor(files.pose_predictor_model_location())
    return dlib.face_recognition_model_v1(files.face_recognition_model_location())


def to_detector_box(box: FaceBox) -> FaceBox:
    """The square that dlib's detector would put on a face with this (normalised) box: what its models expect."""
    side, x = 0.52 * box.width + 0.39 * box.height, (box.left + box.right) / 2
    y = box.top + 0.51 * box.height
    return FaceBox(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def landmarks(frame: np.ndarray, box: FaceBox) -> np.ndarray:
    """The 68 landmarks of the face in `box` (normalised extent, as in a FaceTable).

    frame: (h, w, 3) uint8 in either colour order, or (h, w) grey.  Returns (68, 2) float32, x and y in pixels.
    """
    return points(shape(grey_of(frame), to_detector_box(box)))


def steady_landmarks(grey: np.ndarray, raw: FaceBox) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks (68, 2) as the median of searches from places around a detector's own box, and their scatter.

    scatter: (2,) of all landmarks and of the mouth's, as a share of the box's width: 0.004 on a face that is seen well,
    0.02 where something lies before it, 0.08 where there is no face.
    """
    x, y, grow = STARTS.T[..., None] * raw.width
    starts = np.array(raw) + np.hstack([x - grow, y - grow, x + grow, y + grow])
    key = hashlib.blake2b(np.ascontiguousarray(grey)).digest(), grey.shape, raw
    if key not in SEEN:  # the same frames are dubbed again and again, with other sentences and other models
        if len(SEEN) >= 4096:
            SEEN.clear()
        SEEN[key] = np.stack([points(shape(grey, FaceBox(*start))) for start in starts.tolist()])
    middle = np.median(SEEN[key], axis=0)
    apart = np.linalg.norm(SEEN[key] - middle, axis=-1) / raw.width
    return middle, np.median([apart.mean(axis=1), apart[:, OUTER_LIPS.start :].mean(axis=1)], axis=1)


def shape(grey: np.ndarray, raw: FaceBox):
    """dlib's landmark object for a face in a detector's own box."""
    import dlib

    left, top, right, bottom = np.round(raw).astype(int).tolist()
    return model("pose")(grey, dlib.rectangle(left, top, right - 1, bottom - 1))


def points(found) -> np.ndarray:
    """dlib's landmark object as (68, 2) float32."""
    return np.array([(p.x, p.y) for p in found.parts()], np.float32)


def encode(frame_rgb: np.ndarray, box: FaceBox) -> np.ndarray:
    """What the face in `box` (normalised extent) looks like, as (128,) float64.

    frame_rgb: (h, w, 3) uint8 RGB.  The Euclidean distance of two encodings is about 0 to 0.4 for one person and
    0.6 and more for two (face_recognition's own tolerance is 0.6).
    """
    return encode_chip(chip(frame_rgb, shape(grey_of(frame_rgb), to_detector_box(box))))


def chip(frame_rgb: np.ndarray, found) -> np.ndarray:
    """The aligned picture (150, 150, 3) RGB of a face that the encoder looks at. found: dlib's landmark object."""
    import dlib

    return dlib.get_face_chip(np.ascontiguousarray(frame_rgb), found, size=CHIP_PX, padding=CHIP_PADDING)


def encode_chip(chip_rgb: np.ndarray) -> np.ndarray:
    """The encoding (128,) of an aligned picture made by `chip`."""
    return np.array(model("encoder").compute_face_descriptor(np.ascontiguousarray(chip_rgb)))


def distances(encodings: np.ndarray, encoding: np.ndarray) -> np.ndarray:
    """Euclidean distances (n,) of encodings (n, 128) to one (128,); empty for none."""
    return np.linalg.norm(np.reshape(encodings, (-1, 128)) - encoding, axis=1)


def grey_of(frame: np.ndarray) -> np.ndarray:
    """(h, w) uint8; the colour order makes no difference that matters here."""
    return frame if frame.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_BGR2GRAY)


def extent_twice(grey: np.ndarray, marks) -> np.ndarray:
    """The extent (4,) of a face from its landmark object, and from a second look that starts there; not smoothed.

    Where landmarks end depends a little on where they start: sides and top are the mean of both, the bottom the lower.
    """
    first = extent(points(marks))
    second = extent(points(shape(grey, to_detector_box(FaceBox(*first)))))
    return np.append((first[:3] + second[:3]) / 2, max(first[3], second[3]))


def extent(points: np.ndarray) -> np.ndarray:
    """The extent (4,) left, top, right, bottom of a face with these landmarks (68, 2)."""
    nose_base, lips = float(points[NOSE_BASE, 1].mean()), float(points[OUTER_LIPS, 1].min())
    brow, bottom = float(np.median(np.sort(points[BROWS, 1])[:5])), float(points[JAW, 1].max())
    top = brow - FOREHEAD * max(nose_base - brow, 1.0)
    top = min(top, 2 * lips - bottom - 2 * OVER_LIPS * (bottom - top))
    left, right = float(points[:, 0].min()), float(points[:, 0].max())
    beside = BESIDE * (right - left)
    return np.array([left - beside, top, right + beside, bottom + BELOW_CHIN * (bottom - top)])


def smooth(extents: np.ndarray, window: int = SMOOTHED) -> np.ndarray:
    """Extents (n, 4) of consecutive frames, calm over time and without lag.

    Sides and top: a symmetric weighted mean. Bottom: the lowest in the window, then the same mean, so that the chin
    never leaves the box while the mouth opens and the box does not follow every syllable.
    """
    weights = np.hanning(window + 2)[1:-1]
    calm = np.array(extents, float)
    calm[:, 3] = maximum_filter1d(calm[:, 3], window, mode="nearest")
    return correlate1d(calm, weights / weights.sum(), axis=0, mode="nearest")
