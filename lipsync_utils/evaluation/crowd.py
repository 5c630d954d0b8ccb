"""FID of every model: its crowd of faces against the true ones. Needs Inception weights and an optional library."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import metrics
from ..config import EvaluationConfig
from .clips import TestClip
from .compare import models_of
from .look import find_speaker, look_at
from .scores import Score
from .stage import TRUTH, film_of

EVERY = 5  # frames; neighbours are alike and would only pretend a larger crowd


def fid_by_model(
    scores: Sequence[Score], clips: Sequence[TestClip], folder: Path, settings: EvaluationConfig
) -> dict[str, float]:
    """FID of each model's 96x96 faces, every fifth frame, on the speaker's own sentences; {} without Inception weights.

    It is of faces, not whole frames, and of far fewer pictures than published numbers: compare within this table only.
    """
    if not settings.inception_weights:
        return {}
    extractor = metrics.load_inception(settings.inception_weights)
    crowds: dict[str, list[np.ndarray]] = {model: [] for model in models_of(scores)}
    boxes = {clip.clip_id: find_speaker(clip.path, folder / "cache")[1] for clip in clips if clip.group == "speaker"}
    for row in scores:
        if row.group == "speaker" and row.speech == "own" and row.reason is None:
            crowds[row.model].extend(look_at(film_of(row, clips, folder), boxes[row.clip_id], 0).faces_bgr[::EVERY])
    return {model: metrics.fid(faces, crowds[TRUTH], extractor) for model, faces in crowds.items() if model != TRUTH}
