"""LSE on whole videos: one result per face track, with the crop rules of the published pipeline.

Source: Chung and Zisserman 2016; the numbers are those of their published code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import medfilt

from .. import media
from ..audio import load_wav
from .lse import FPS, LSE, SAMPLES_PER_FRAME, SIDE_PX, lse_from_features, syncnet_features

MAX_GAP_FRAMES = 25
MIN_FRAMES, MIN_SIDE_PX = 100, 100  # a track needs more of both
MIN_IOU = 0.5
SMOOTHING_FRAMES = 13
CROP_SCALE = 0.4
BORDER = 110


@dataclass(frozen=True)
class TrackRun:
    """A face over consecutive frames.  boxes: (n, 4) left, top, right, bottom in pixels, gaps filled in."""

    track_id: int
    start: int
    boxes: np.ndarray


@dataclass(frozen=True)
class TrackLSE:
    """The LSE of one run of one track: frames start .. end - 1 of the video at 25 fps."""

    track_id: int
    start: int
    end: int
    lse: LSE


def lse_of_video(path, model, *, cache_dir=None, min_frames: int = MIN_FRAMES, min_side_px: float = MIN_SIDE_PX):
    """Measure every face track of a video.

    path: any video with sound.  model: EvaluationSyncNet.  A track is a face that is seen without a cut or a gap of
    more than a second, for more than min_frames frames and with a mean side over min_side_px.
    Returns a list of TrackLSE, by time; empty where no track is long and large enough.  Raises MediaError.
    """
    from ..faces import find_faces

    samples = to_int16(load_wav(path))
    with tempfile.TemporaryDirectory() as folder:
        film = at_25_fps(Path(path), Path(folder))
        table = find_faces(film, cache_dir=cache_dir)
        found = []
        for run in track_runs(table, min_frames, min_side_px):
            end = run.start + len(run.boxes)
            sound = samples[run.start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
            features = syncnet_features(crops(film, run), len(run.boxes), sound, model)
            found.append(TrackLSE(run.track_id, run.start, end, lse_from_features(*features)))
    return sorted(found, key=lambda row: (row.start, row.track_id))


def to_int16(wav) -> np.ndarray:
    """Turn float samples in [-1, 1] into 16-bit integers."""
    return np.clip(np.rint(np.asarray(wav, np.float64) * 32768), -32768, 32767).astype(np.int16)


def at_25_fps(path: Path, folder: Path) -> Path:
    """Return the video itself where it has constant 25 fps, else a copy in the folder that has."""
    info = media.probe(path)
    if not info.variable_rate and info.fps is not None and abs(info.fps - FPS) < 1e-3:
        return path
    copy = folder / "25fps.mp4"
    quality = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "10"]
    media.ffmpeg(["-i", media.tools.file_url(path), "-an", "-r", str(FPS), *quality, media.tools.file_url(copy)])
    return copy


def track_runs(table, min_frames: int = MIN_FRAMES, min_side_px: float = MIN_SIDE_PX) -> list[TrackRun]:
    """Cut the tracks of a FaceTable where the face is away for over a second or jumps; drop short and small runs."""
    return [
        run
        for track in table.track_ids
        for run, n_seen in split_track(track, table.track_boxes(track))
        if n_seen > min_frames and _sides(run.boxes).mean() > min_side_px
    ]


def split_track(track_id: int, boxes) -> list[tuple[TrackRun, int]]:
    """Cut (n, 4) boxes, NaN where unseen, into runs; with each, in how many frames the face was seen."""
    frames = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(frames):
        return []
    jumps = [
        k
        for k in range(1, len(frames))
        if frames[k] - frames[k - 1] > MAX_GAP_FRAMES or _iou(boxes[frames[k - 1]], boxes[frames[k]]) <= MIN_IOU
    ]
    runs = []
    for seen in np.split(frames, jumps):
        every = np.arange(seen[0], seen[-1] + 1)
        filled = np.stack([np.interp(every, seen, boxes[seen, side]) for side in range(4)], axis=1)
        runs.append((TrackRun(track_id, int(seen[0]), filled), len(seen)))
    return runs


def crops(path: Path, run: TrackRun) -> Iterator[np.ndarray]:
    """Yield the (224, 224, 3) uint8 BGR crops of a run, one frame of the video in memory at a time.

    Around the box's centre: half the larger side s up, 1.8 s down, 1.4 s to both sides; grey beyond the picture.
    """
    half, x, y = crop_track(run.boxes)
    start_s = (run.start - 0.5) / FPS if run.start else 0.0
    for frame, s, cx, cy in zip(media.frames(path, start_s=start_s), half, x, y):
        yield crop_frame(frame.image_bgr, s, cx, cy)


def crop_track(boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return half sides, centre x and centre y, each (n,), calmed by a median over 13 frames."""
    half = _sides(boxes) / 2
    centre_x, centre_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return tuple(medfilt(values, kernel_size=SMOOTHING_FRAMES) for values in (half, centre_x, centre_y))


def crop_frame(frame_bgr, half, x, y) -> np.ndarray:
    """Cut one square, 2.8 half sides wide, and resize it to 224."""
    margin = int(half * (1 + 2 * CROP_SCALE))
    sides = (margin,) * 4
    padded = cv2.copyMakeBorder(frame_bgr, *sides, cv2.BORDER_CONSTANT, value=(BORDER,) * 3)
    x, y, side = x + margin, y + margin, half * (1 + CROP_SCALE)
    top, bottom = int(y - half), int(y + half * (1 + 2 * CROP_SCALE))
    return cv2.resize(padded[top:bottom, int(x - side) : int(x + side)], (SIDE_PX, SIDE_PX))


def _sides(boxes):
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _iou(a, b):
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return wide * high / union
