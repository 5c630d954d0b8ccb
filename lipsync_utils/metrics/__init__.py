"""Measures of lip-sync and picture quality, each with its unit and direction in MEASURES.

lse, lse_of_video            LSE-D, LSE-C and offset with the evaluation SyncNet (published weights)
judge_sync                   the same idea with the embedded judge: other numbers, never on one axis
l1 psnr ssim                 likeness to the true picture
sharpness_ratio flicker      blur of the mouth, unrest outside it
mouth_opening correlation landmark_distance identity_distance   mouth and identity of the face
fid                          distance of two crowds (optional library)
bootstrap paired_difference  how sure a mean is, over videos
"""

from .face import (
    correlation,
    eye_distance,
    identity_distance,
    landmark_distance,
    landmark_track,
    mouth_opening,
)
from .fid import fid, frechet_distance, load_inception
from .judge import JudgeScore, expert_features, judge_from_features, judge_sync, two_way_accuracy
from .lse import LSE, framewise_confidence, lse, lse_from_features, offset_distances, syncnet_features
from .mfcc import mfcc
from .picture import flicker, l1, mouth_region, psnr, sharpness, sharpness_ratio, ssim
from .registry import MEASURES, Measure
from .statistics import Interval, PairedDifference, bootstrap, paired_difference
from .tracks import TrackLSE, TrackRun, lse_of_video, to_int16, track_runs

__all__ = [
    "LSE",
    "MEASURES",
    "Interval",
    "JudgeScore",
    "Measure",
    "PairedDifference",
    "TrackLSE",
    "TrackRun",
    "bootstrap",
    "correlation",
    "expert_features",
    "eye_distance",
    "fid",
    "flicker",
    "framewise_confidence",
    "frechet_distance",
    "identity_distance",
    "judge_from_features",
    "judge_sync",
    "l1",
    "landmark_distance",
    "landmark_track",
    "load_inception",
    "lse",
    "lse_from_features",
    "lse_of_video",
    "mfcc",
    "mouth_opening",
    "mouth_region",
    "offset_distances",
    "paired_difference",
    "psnr",
    "sharpness",
    "sharpness_ratio",
    "ssim",
    "syncnet_features",
    "to_int16",
    "track_runs",
    "two_way_accuracy",
]
