"""Do the lips belong to this sound, and when? LSE-D, LSE-C and the offset, and the same idea with the embedded judge.

lse_of_video finds the faces itself; lse takes the pictures of one face.  The arithmetic follows the published
evaluation, oddities included: one window fewer than fits, zero vectors beyond both ends of the sound, which makes short
clips look worse.  Sources: Chung and Zisserman 2016 (network, sliding comparison, crops); Prajwal et al. 2020 (names);
Davis and Mermelstein 1980 (MFCC; mel scale and liftering as in HTK).
"""

import tempfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from scipy import fft
from scipy.signal import medfilt

from .. import faces, media
from ..audio import FRAMES_PER_WINDOW, SAMPLE_RATE_HZ, load_wav, mel_window, sync_window_start
from ..errors import DataError, SettingError

FPS = 25
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
MAX_SHIFT = 15  # frames to both sides

# ---- what the evaluation SyncNet hears: the defaults of python_speech_features 0.6 on raw 16-bit samples

WINDOW, STEP, FFT_SIZE = 400, 160, 512  # samples: 25 ms, 10 ms; rectangular
N_FILTERS, N_COEFFICIENTS, LIFTER = 26, 13, 22
PREEMPHASIS = 0.97


def mfcc(wav_int16) -> np.ndarray:
    """Return float64 (13, n), 100 columns a second, of 16 kHz mono samples.

    wav_int16: (samples,) integers, not scaled to [-1, 1].  The last, partial window is filled with zeros; coefficient
    0 is the logarithm of the window's energy.  Raises SettingError for floating samples.
    """
    wav = np.asarray(wav_int16)
    if wav.ndim != 1 or wav.dtype.kind not in "iu":
        raise SettingError(f"mfcc wants 16-bit integers of shape (n,), got {wav.dtype} {wav.shape}")
    sound = wav.astype(np.float64)
    sound[1:] -= PREEMPHASIS * wav[:-1].astype(np.float64)
    n = 1 + max(0, -(-(len(sound) - WINDOW) // STEP))
    sound = np.pad(sound, (0, (n - 1) * STEP + WINDOW - len(sound)))
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::STEP]
    return np.concatenate([_coefficients(windows[i : i + 4096]) for i in range(0, n, 4096)]).T


def _coefficients(windows):
    power = np.square(np.abs(fft.rfft(windows, FFT_SIZE, axis=1))) / FFT_SIZE
    cepstrum = fft.dct(_log(power @ _filters().T), type=2, axis=1, norm="ortho")[:, :N_COEFFICIENTS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(N_COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = _log(power.sum(axis=1))
    return cepstrum


def _log(values):
    return np.log(np.where(values == 0, np.finfo(float).eps, values))


def _filters():
    """(26, 257) triangles between whole FFT bins, evenly spaced on the mel scale from 0 to 8000 Hz, height 1."""
    top = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, N_FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT_SIZE + 1) * hz / SAMPLE_RATE_HZ)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(FFT_SIZE // 2 + 1)
    return np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))


def to_int16(wav) -> np.ndarray:
    """Turn float samples in [-1, 1] into 16-bit integers."""
    return np.clip(np.rint(np.asarray(wav, np.float64) * 32768), -32768, 32767).astype(np.int16)


# ---- LSE

SIDE_PX, WINDOW_FRAMES = 224, 5
COLUMNS_PER_FRAME, WINDOW_COLUMNS = 4, 20
_BATCH = 20


@dataclass(frozen=True)
class LSE:
    """How well lips and sound fit.  distance (LSE-D, lower is better): at the best offset; confidence (LSE-C, higher is
    better): the median offset's distance less that; offset: in frames of 40 ms, positive where the sound is early.
    """

    distance: float
    confidence: float
    offset: int


def lse_from_features(face_features, audio_features, vshift: int = MAX_SHIFT) -> LSE:
    """Compare two sequences of embeddings, window by window, at 2 * vshift + 1 offsets.

    face_features, audio_features: (n, d), row i of both for the window that starts at frame i.
    """
    means = offset_distances(face_features, audio_features, vshift).mean(axis=0)
    best = int(means.argmin())
    return LSE(float(means[best]), float(np.median(means) - means[best]), vshift - best)


def offset_distances(face_features, audio_features, vshift: int = MAX_SHIFT) -> np.ndarray:
    """Return (n, 2 * vshift + 1): lip window i against sound window i + k - vshift; a zero vector outside the sound."""
    n = min(len(face_features), len(audio_features))
    face, audio = (np.asarray(features[:n], np.float64) for features in (face_features, audio_features))
    padded = np.pad(audio, ((vshift, vshift), (0, 0)))
    shifts = range(2 * vshift + 1)
    return np.stack([np.sqrt(np.square(face - padded[k : k + n] + 1e-6).sum(axis=1)) for k in shifts], axis=1)


def lse(frames_bgr, wav_int16, model) -> LSE:
    """Measure one clip with the evaluation SyncNet.

    frames_bgr: (n, h, w, 3) uint8 at 25 fps, or any sequence of frames; each whole frame is resized to 224 x 224.
    wav_int16: (m,) 16 kHz mono.  model: EvaluationSyncNet in eval mode, best with its published weights.
    Raises DataError for a clip of fewer than 6 frames.
    """
    return lse_from_features(*syncnet_features(frames_bgr, wav_int16, model))


def syncnet_features(frames_bgr: Iterable, wav_int16, model, n_frames=None) -> tuple[np.ndarray, np.ndarray]:
    """Embed a clip: (face features, audio features), both (n, 1024); n is one fewer than the windows that fit.

    frames_bgr is read once, in order, and not kept; n_frames: how many they are, for an iterator.  The network's
    training mode is put back as it was.
    """
    n_frames = n_frames or len(frames_bgr)
    n = min(n_frames, len(wav_int16) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
    if n < 1:
        raise DataError(f"{n_frames} frames and {len(wav_int16)} samples are too short: 6 frames (0.24 s) are needed")
    return _embed(_lip_windows(frames_bgr, n), model.embed_face, model), syncnet_hears(wav_int16, n, model)


def syncnet_hears(wav_int16, n: int, model) -> np.ndarray:
    """Embed the first n sound windows of a clip with the evaluation SyncNet: (n, 1024)."""
    columns = mfcc(wav_int16)
    sounds = (columns[:, COLUMNS_PER_FRAME * i :][:, :WINDOW_COLUMNS][None] for i in range(n))
    return _embed(sounds, model.embed_audio, model)


def _lip_windows(frames_bgr, n):
    """Yield n overlapping windows (3, 5, 224, 224), BGR in 0..255."""
    recent = deque(maxlen=WINDOW_FRAMES)
    for frame in islice(frames_bgr, n + WINDOW_FRAMES - 1):
        recent.append(cv2.resize(frame, (SIDE_PX, SIDE_PX)).transpose(2, 0, 1))
        if len(recent) == WINDOW_FRAMES:
            yield np.stack(recent, axis=1)


def _embed(windows, embed, model, batch=_BATCH):
    """Embed windows batch by batch, in evaluation mode; the network's own mode is put back."""
    like, was_training, features = next(model.parameters()), model.training, []
    model.eval()
    try:
        with torch.inference_mode():
            while some := list(islice(windows, batch)):
                features.append(embed(torch.from_numpy(np.stack(some)).to(like)).float().cpu().numpy())
    finally:
        model.train(was_training)
    return np.concatenate(features)


# ---- LSE of whole videos: one result per face track, with the crop rules of the published pipeline

MAX_GAP_FRAMES = 25
MIN_FRAMES, MIN_SIDE_PX = 100, 100  # a track needs more of both
MIN_IOU = 0.5
SMOOTHING_FRAMES = 13
CROP_SCALE = 0.4
BORDER = 110


@dataclass(frozen=True)
class TrackLSE:
    """The LSE of one run of one track: frames start .. end - 1 of the video at 25 fps."""

    track_id: int
    start: int
    end: int
    lse: LSE


def lse_of_video(
    path, model, *, cache_dir=None, min_frames: int = MIN_FRAMES, min_side_px: float = MIN_SIDE_PX
) -> list[TrackLSE]:
    """Measure every face track of a video; the results by time, none where no track is long and large enough.

    path: any video with sound.  model: EvaluationSyncNet.  A track is a face that is seen without a cut or a gap of
    more than a second, for more than min_frames frames and with a mean side over min_side_px.  Raises MediaError.
    """
    samples, found = to_int16(load_wav(path)), []
    with tempfile.TemporaryDirectory() as folder:
        film = at_25_fps(Path(path), Path(folder))
        table = faces.find_faces(film, cache_dir=cache_dir)
        for track in table.track_ids:
            for start, boxes, n_seen in track_runs(table.track_boxes(track)):
                if n_seen > min_frames and sides(boxes).mean() > min_side_px:
                    end = start + len(boxes)
                    sound = samples[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
                    frames = media.frames(film, start_s=(start - 0.5) / FPS if start else 0.0)
                    pictures = (crop(f.image_bgr, *place) for f, place in zip(frames, crop_track(boxes), strict=False))
                    measured = lse_from_features(*syncnet_features(pictures, sound, model, len(boxes)))
                    found.append(TrackLSE(track, start, end, measured))
    return sorted(found, key=lambda row: (row.start, row.track_id))


def at_25_fps(path: Path, folder: Path) -> Path:
    """Return the video itself where it has constant 25 fps, else a copy in the folder that has."""
    info = media.probe(path)
    if not info.variable_rate and info.fps is not None and abs(info.fps - FPS) < 1e-3:
        return path
    copy = folder / "25fps.mp4"
    source, target = map(media.tools.file_url, (path, copy))
    media.ffmpeg(["-i", source, "-an", "-r", FPS, "-c:v", "libx264", "-preset", "veryfast", "-crf", 10, target])
    return copy


def track_runs(boxes) -> list[tuple[int, np.ndarray, int]]:
    """Cut (n, 4) boxes, NaN where unseen, where the face is away for over a second or jumps.

    Returns for each run its first frame, its boxes with gaps filled in, and in how many frames the face was seen.
    """
    runs = []
    for frame in np.flatnonzero(~np.isnan(boxes[:, 0])):
        near = runs and frame - runs[-1][-1] <= MAX_GAP_FRAMES
        if near and faces.FaceBox(*boxes[runs[-1][-1]]).iou(faces.FaceBox(*boxes[frame])) > MIN_IOU:
            runs[-1].append(int(frame))
        else:
            runs.append([int(frame)])
    return [(run[0], filled(boxes[run[0] : run[-1] + 1]), len(run)) for run in runs]


def filled(boxes) -> np.ndarray:
    """Boxes (n, 4) with those that are NaN filled in between their neighbours, float64."""
    return pd.DataFrame(np.asarray(boxes, float)).interpolate(limit_direction="both").to_numpy()


def sides(boxes) -> np.ndarray:
    """The longer side of each box (n, 4), in pixels."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def crop_track(boxes) -> np.ndarray:
    """Return (n, 3): half side, centre x and centre y of each box, calmed by a median over 13 frames."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return medfilt(np.column_stack([sides(boxes) / 2, centres]), (SMOOTHING_FRAMES, 1))


def crop(frame_bgr, half, x, y) -> np.ndarray:
    """Cut one square, 2.8 half sides wide, and resize it to 224: (224, 224, 3) uint8.

    From x, y half a side up, 1.8 down and 1.4 to both sides; grey beyond the picture.
    """
    margin = int(half * (1 + 2 * CROP_SCALE))
    padded = cv2.copyMakeBorder(frame_bgr, *(margin,) * 4, cv2.BORDER_CONSTANT, value=(BORDER,) * 3)
    x, y, side = x + margin, y + margin, half * (1 + CROP_SCALE)
    top, bottom = int(y - half), int(y + half * (1 + 2 * CROP_SCALE))
    return cv2.resize(padded[top:bottom, int(x - side) : int(x + side)], (SIDE_PX, SIDE_PX))


# ---- the embedded judge: a second expert, trained with another seed on other actors and never used as a loss.
# Its numbers look like LSE but come from another network: never put them on one axis with published ones.

FEWEST_WINDOWS = 5  # that must be left at an offset for it to count
FACE_PX = 96


def judge_sync(faces_bgr, mel, judge, max_shift: int = MAX_SHIFT) -> LSE:
    """Measure one clip of face crops with the judge: distance 0 (fits) to 1.41, confidence, offset.

    faces_bgr: (n, h, w, 3) uint8 at 25 fps, the same crops that the networks are trained on, or a list of such.
    mel: (80, m) of its sound.  judge: SyncNet.  Raises DataError under 9 frames.
    """
    return judge_from_features(*expert_features(faces_bgr, mel, judge), max_shift)


def judge_from_features(face, audio, max_shift: int = MAX_SHIFT) -> LSE:
    """Compare two sequences of unit vectors (n, d) at all offsets up to max_shift; only windows that exist count."""
    n = min(len(face), len(audio))
    reach = min(max_shift, n - FEWEST_WINDOWS)
    if reach < 0:
        raise DataError(f"{n} windows are too few to judge: at least {FEWEST_WINDOWS} (9 frames) are needed")
    cosine = np.asarray(face[:n], np.float64) @ np.asarray(audio[:n], np.float64).T
    distances = np.sqrt(np.maximum(0, 2 - 2 * cosine))
    means = [distances.diagonal(shift).mean() for shift in range(-reach, reach + 1)]  # sound window i + shift
    best = int(np.argmin(means))
    return LSE(float(means[best]), float(np.median(means) - means[best]), reach - best)


def expert_features(faces_bgr, mel, expert) -> tuple[np.ndarray, np.ndarray]:
    """Embed all windows of a clip with an expert: (face, audio), both float32 (n - 4, d) unit vectors.

    faces_bgr: (n, h, w, 3) uint8; resized to 96 x 96 if need be.  mel: (80, m); silent beyond its ends.
    """
    n, small = len(faces_bgr) - FRAMES_PER_WINDOW + 1, (FACE_PX, FACE_PX)
    if n < 1:
        raise DataError(f"{len(faces_bgr)} face crops are too few: a window has {FRAMES_PER_WINDOW}")
    sized = (face if face.shape[:2] == small else cv2.resize(face, small) for face in faces_bgr)
    halves = [face[FACE_PX // 2 :].transpose(2, 0, 1) for face in sized]
    pictures = (np.concatenate(halves[i : i + FRAMES_PER_WINDOW]) / np.float32(255) for i in range(n))
    return _embed(pictures, expert.embed_face, expert, 64), expert_hears(mel, n, expert)


def expert_hears(mel, n: int, expert) -> np.ndarray:
    """Embed the sound of a clip's first n windows with an expert: float32 (n, d) unit vectors."""
    windows = (mel_window(mel, sync_window_start(i))[None] for i in range(n))
    return _embed(windows, expert.embed_audio, expert, 64)
