"""Faces: where they are in every frame, whose they are, and how they look.

find_faces(media)        every face of every frame with track ids, cached as CSV
FaceTable, FaceBox       the result; FaceTable.from_boxes takes boxes from elsewhere
landmarks(frame, box)    68 points of a face
encode(frame_rgb, box)   what a face looks like: 128 numbers
"""

from .detect import face_locations
from .find import find_faces, find_in_frames
from .landmarks import distances, encode, extent, landmarks, steady_landmarks, to_detector_box
from .table import FaceBox, FaceRow, FaceTable, How

__all__ = [
    "FaceBox",
    "FaceRow",
    "FaceTable",
    "How",
    "distances",
    "encode",
    "extent",
    "face_locations",
    "find_faces",
    "find_in_frames",
    "landmarks",
    "steady_landmarks",
    "to_detector_box",
]
