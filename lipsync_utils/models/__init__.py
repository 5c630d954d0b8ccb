"""The networks.  Their state-dict keys, shapes and order are those of the published checkpoints at width 1.0."""

from .blocks import bare, check_width, freeze, lower_half, merge_time, split_time, stack_lower_halves
from .discriminator import VisualQualityDiscriminator
from .evaluation import EvaluationSyncNet
from .expert import SyncNet
from .generator import Wav2Lip
from .reader import MouthReader
from .s3fd import S3FD, detect_faces

__all__ = [
    "S3FD",
    "EvaluationSyncNet",
    "MouthReader",
    "SyncNet",
    "VisualQualityDiscriminator",
    "Wav2Lip",
    "bare",
    "check_width",
    "detect_faces",
    "freeze",
    "lower_half",
    "merge_time",
    "split_time",
    "stack_lower_halves",
]
