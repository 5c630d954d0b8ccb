"""A quick comparison of generators on a few held-out clips, on the 96x96 crops: enough for the training notebooks.

Notebook 09 measures whole videos, with intervals; this says in seconds whether a run went the right way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .. import audio, metrics
from ..errors import DataError
from ..windows import FACE_PX, ClipFaces
from .steps import to_float

ENLARGED = 3  # landmarks are looked for on crops so much larger


@dataclass(frozen=True)
class ClipScore:
    """One clip. l1: 0..255; sharpness: of the mouth, truth is 1; judge_distance: 0..1.41; mouth_correlation: of the
    opening by landmarks with that of the truth. NaN where it cannot be measured."""

    clip_id: str
    video_id: str
    l1: float
    sharpness: float
    judge_distance: float
    mouth_correlation: float


LOWER_IS_BETTER = {"l1": True, "sharpness": False, "judge_distance": True, "mouth_correlation": False}


@torch.no_grad()
def redraw(generator, clip: ClipFaces, batch_size: int = 40) -> np.ndarray:
    """Let a generator say a clip's own sound; uint8 BGR (n, 96, 96, 3).

    The reference of frame i is the frame half a clip away: the same frame, as in inference, would show the true mouth.
    """
    was_training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    n = len(clip.present)
    alignment = getattr(generator, "mel_alignment", "inference")
    drawn = np.zeros((n, FACE_PX, FACE_PX, 3), np.uint8)
    for start in range(0, n, batch_size):
        frames = np.arange(start, min(start + batch_size, n))
        mel = np.stack([audio.mel_window(clip.mel, audio.frame_window_start(int(f), alignment)) for f in frames])[
            :, None
        ]
        truth, other = (
            to_float(torch.from_numpy(np.ascontiguousarray(clip.faces[f].transpose(0, 3, 1, 2))))
            for f in (frames, (frames + n // 2) % n)
        )
        truth[..., FACE_PX // 2 :, :] = 0
        faces = generator(torch.from_numpy(mel).to(device), torch.cat([truth, other], 1).to(device))
        drawn[frames] = (faces * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    generator.train(was_training)
    return drawn


def score_clip(generator, clip: ClipFaces, judge, landmarks: bool = True) -> ClipScore:
    """Measure one clip; generator None: the truth itself, what the measures can reach."""
    seen = np.flatnonzero(clip.present)
    truth = np.asarray(clip.faces)[seen]
    drawn = truth if generator is None else redraw(generator, clip)[seen]
    try:
        distance = metrics.judge_sync(drawn, clip.mel, judge).distance
    except DataError:
        distance = float("nan")
    openings = [mouth_openings(faces) for faces in (drawn, truth)] if landmarks else [np.empty(0)] * 2
    return ClipScore(
        clip.clip_id,
        clip.video_id,
        metrics.l1(drawn, truth),
        metrics.sharpness_ratio(drawn, truth),
        distance,
        metrics.correlation(*openings) if landmarks else float("nan"),
    )


def mouth_openings(faces: np.ndarray) -> np.ndarray:
    """Mouth opening by landmarks on 96x96 crops: uint8 BGR (n, 96, 96, 3) -> (n,), see metrics.mouth_opening."""
    side = FACE_PX * ENLARGED
    boxes = np.tile([0.0, 0, side, side], (len(faces), 1))
    large = (cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC) for face in faces)
    return metrics.mouth_opening(metrics.landmark_track(large, boxes))


def score(generator, clips: list[ClipFaces], judge, landmarks: bool = True) -> list[ClipScore]:
    """Measure several clips, see score_clip."""
    return [score_clip(generator, clip, judge, landmarks) for clip in clips]


def means(scores: list[ClipScore]) -> dict[str, float]:
    """Mean of every measure over clips that have it."""
    return {name: float(np.nanmean([getattr(s, name) for s in scores])) for name in LOWER_IS_BETTER}


def table_text(table: dict[str, dict[str, float]]) -> str:
    """The means of several models as lines of text, one model a line. table: model -> measure -> mean."""
    measures = next(iter(table.values()))
    lines = [f"{'':>8} " + " ".join(f"{measure:>18}" for measure in measures)]
    lines += [f"{name:>8} " + " ".join(f"{value:18.3f}" for value in row.values()) for name, row in table.items()]
    return "\n".join(lines)


def difference(after: list[ClipScore], before: list[ClipScore], name: str) -> metrics.Interval:
    """after - before in one measure, with an interval over videos."""
    a, b = ([getattr(s, name) for s in scores] for scores in (after, before))
    return metrics.paired_difference(a, b, [s.video_id for s in after])
