"""The networks.  Their state-dict keys, shapes and order are those of the published checkpoints at width 1.0."""

from .evaluation import EvaluationSyncNet
from .networks import MouthReader, SyncNet, VisualQualityDiscriminator, Wav2Lip, bare, freeze, stack_lower_halves
from .s3fd import S3FD, detect_faces
