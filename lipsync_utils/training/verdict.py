"""Asking an expert: how often is it right on these clips, and what offset of sound and picture does it see?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

from .. import audio
from ..models import stack_lower_halves
from ..windows import WINDOW, ClipFaces
from .steps import to_float

FAR = 5  # frames: a false match is at least so far away, beyond the window itself
MAX_SHIFT = 15  # frames: offsets that are looked at, both ways
SPEECH_LEVEL = -2.6  # mean of a mel window that counts as speech; silence is -4 .. -3


@dataclass(frozen=True)
class ClipVerdict:
    """What an expert says about one clip.

    similarity: mean cosine per shift (2 * MAX_SHIFT + 1,), NaN where the clip is too short. offset: in frames, positive
    where the sound is early, as in LSE. right, asked: two-way questions. cosine_right, cosine_wrong: means.
    """

    clip_id: str
    similarity: np.ndarray
    offset: int | None
    right: int
    asked: int
    cosine_right: float
    cosine_wrong: float


@dataclass(frozen=True)
class ExpertReport:
    """An expert's answers on several clips."""

    clips: list[ClipVerdict]

    @property
    def accuracy(self) -> float:
        """Share of right answers to "which of two sounds belongs to these lips?"; 0.5 is guessing."""
        return sum(c.right for c in self.clips) / max(sum(c.asked for c in self.clips), 1)

    @property
    def asked(self) -> int:
        """Number of questions."""
        return sum(c.asked for c in self.clips)

    @property
    def offsets(self) -> Counter:
        """Clips by offset in frames."""
        return Counter(c.offset for c in self.clips if c.offset is not None)

    @property
    def exact(self) -> float:
        """Share of clips whose offset is found to be 0; NaN without such clips."""
        total = sum(self.offsets.values())
        return self.offsets[0] / total if total else float("nan")

    @property
    def cosine_right(self) -> float:
        """Mean cosine of lips and their own sound."""
        return float(np.average([c.cosine_right for c in self.clips], weights=[c.asked for c in self.clips]))

    @property
    def cosine_wrong(self) -> float:
        """Mean cosine of lips and a sound at least FAR frames away."""
        return float(np.average([c.cosine_wrong for c in self.clips], weights=[c.asked for c in self.clips]))


@torch.no_grad()
def embed_clip(expert, clip: ClipFaces, max_frames: int = 250, batch_size: int = 64, shift: int = 0):
    """Embed every window of a clip's first max_frames frames.

    shift: hear the sound so many frames later than it belongs. Returns first frames (n,), sound (n, D), faces (n, D).
    """
    device = next(expert.parameters()).device
    whole = np.lib.stride_tricks.sliding_window_view(clip.present[:max_frames], WINDOW).all(1)
    frames = np.array(
        [
            f
            for f in np.flatnonzero(whole)
            if f + shift >= 0 and audio.sync_window_start(int(f + shift)) + audio.MEL_STEP <= clip.mel.shape[1]
        ],
        int,
    )
    sound, faces = [], []
    for start in range(0, len(frames), batch_size):
        part = frames[start : start + batch_size]
        mel = np.stack([audio.mel_window(clip.mel, audio.sync_window_start(int(f + shift))) for f in part])[:, None]
        pictures = np.stack([clip.faces[f : f + WINDOW].transpose(3, 0, 1, 2) for f in part])
        a, v = expert(
            torch.from_numpy(mel).to(device), stack_lower_halves(to_float(torch.from_numpy(pictures).to(device)))
        )
        sound.append(a.float().cpu().numpy())
        faces.append(v.float().cpu().numpy())
    empty = np.zeros((0, 1), np.float32)
    return frames, np.concatenate(sound or [empty]), np.concatenate(faces or [empty])


def judge_clip(
    expert, clip: ClipFaces, *, seed: int = 1, shift: int = 0, questions: int = 4, max_frames: int = 250
) -> ClipVerdict:
    """Ask an expert about one clip; each window with speech gives `questions` two-way questions."""
    frames, sound, faces = embed_clip(expert, clip, max_frames, shift=shift)
    if len(frames) < 2 * FAR:
        return ClipVerdict(clip.clip_id, np.full(2 * MAX_SHIFT + 1, np.nan), None, 0, 0, float("nan"), float("nan"))
    cosine = faces @ sound.T
    similarity = _by_shift(cosine, frames)
    rng, right, asked, own, other = np.random.default_rng((seed, len(frames))), 0, 0, [], []
    for i, frame in enumerate(frames):
        if audio.mel_window(clip.mel, audio.sync_window_start(int(frame + shift))).mean() < SPEECH_LEVEL:
            continue
        far = np.flatnonzero(np.abs(frames - frame) >= FAR)
        picked = cosine[i, far[rng.integers(len(far), size=questions)]]
        right, asked = right + int((cosine[i, i] > picked).sum()), asked + questions
        own.append(cosine[i, i])
        other.append(picked.mean())
    known = ~np.isnan(similarity)
    offset = MAX_SHIFT - int(np.nanargmax(similarity)) if known.all() else None
    return ClipVerdict(
        clip.clip_id,
        similarity,
        offset,
        right,
        asked,
        float(np.mean(own)) if own else float("nan"),
        float(np.mean(other)) if other else float("nan"),
    )


def _by_shift(cosine, frames):
    """Mean cosine of faces at f and sound at f + shift, for every shift that leaves half of the windows."""
    position = {int(f): i for i, f in enumerate(frames)}
    out = np.full(2 * MAX_SHIFT + 1, np.nan)
    for k, shift in enumerate(range(-MAX_SHIFT, MAX_SHIFT + 1)):
        pairs = [(i, position[f + shift]) for f, i in position.items() if f + shift in position]
        if len(pairs) >= max(len(frames) // 2, 1):
            out[k] = cosine[tuple(np.array(pairs).T)].mean()
    return out


def judge(expert, clips: list[ClipFaces], *, seed: int = 1, shift: int = 0, max_frames: int = 250) -> ExpertReport:
    """Ask an expert about clips; clips without speech give no questions."""
    was_training = expert.training
    expert.eval()
    verdicts = [judge_clip(expert, clip, seed=seed, shift=shift, max_frames=max_frames) for clip in clips]
    expert.train(was_training)
    return ExpertReport([v for v in verdicts if v.asked])


def cosines_of(expert, clips: list[ClipFaces], max_frames: int = 250) -> tuple[list[float], list[float]]:
    """Cosines of lips with their own sound, and with a sound from elsewhere in the clip (at least FAR frames away)."""
    own, other = [], []
    for clip in clips:
        frames, sound, faces = embed_clip(expert, clip, max_frames)
        if len(frames) > 2 * FAR:
            own += (faces * sound).sum(1).tolist()
            other += (faces * np.roll(sound, len(frames) // 2, 0)).sum(1).tolist()
    return own, other
