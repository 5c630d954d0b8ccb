"""Measures of lip-sync and picture quality, each with its unit and direction in MEASURES.

lse, lse_of_video            LSE-D, LSE-C and offset with the evaluation SyncNet (published weights)
judge_sync                   the same idea with the embedded judge: other numbers, never on one axis
l1 psnr ssim                 likeness to the true picture
sharpness_ratio              blur of the mouth
mouth_opening correlation landmark_distance    the mouth by landmarks
fid                          distance of two crowds (optional library)
bootstrap                    how sure a mean is, over videos
"""

from .measures import MEASURES, bootstrap
from .pictures import (
    MOUTH,
    correlation,
    eye_distance,
    fid,
    l1,
    landmark_distance,
    landmark_track,
    mouth_opening,
    psnr,
    sharpness,
    sharpness_ratio,
    ssim,
)
from .sync import (
    LSE,
    expert_features,
    expert_hears,
    filled,
    judge_from_features,
    judge_sync,
    lse,
    lse_from_features,
    lse_of_video,
    mfcc,
    offset_distances,
    sides,
    syncnet_features,
    syncnet_hears,
    to_int16,
)
