"""Who judges the sync: the published SyncNet where its weights are given, the embedded judge otherwise."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import checkpoints, metrics
from ..audio import SAMPLE_RATE_HZ, load_wav, mel_window, melspectrogram, sync_window_start
from ..config import EvaluationConfig
from .clips import TestClip
from .look import find_speaker, look_at

FPS = 25


@dataclass(frozen=True, eq=False)
class Judge:
    """A network that judges sync. published: it is the evaluation SyncNet, whose numbers are called LSE-D and LSE-C."""

    name: str
    network: object
    published: bool

    def features(self, faces_bgr, wav) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (n, d) of face windows and sound windows. faces_bgr: (n, 96, 96, 3) uint8, 25 fps; wav: 16 kHz."""
        if self.published:
            return metrics.syncnet_features(faces_bgr, len(faces_bgr), metrics.to_int16(wav), self.network)
        return metrics.expert_features(faces_bgr, melspectrogram(wav), self.network)

    def hear(self, wav, faces_bgr, n: int) -> np.ndarray:
        """Embeddings (n, d) of the sound windows alone, for faces whose own embeddings are known."""
        if self.published:
            return self.features(faces_bgr, wav)[1]
        mel = melspectrogram(wav)
        windows = np.stack([mel_window(mel, sync_window_start(i))[None] for i in range(n)])
        with torch.inference_mode():
            return self.network.embed_audio(torch.from_numpy(windows)).numpy()

    def compare(self, face, audio):
        """The verdict on two sequences of embeddings: distance, confidence, offset."""
        return metrics.lse_from_features(face, audio) if self.published else metrics.judge_from_features(face, audio)

    def numbers(self, face, audio) -> dict[str, float]:
        """The verdict under the names of metrics.MEASURES."""
        said = self.compare(face, audio)
        names = ("lse_d", "lse_c") if self.published else ("judge_distance", "judge_confidence")
        return {names[0]: said.distance, names[1]: said.confidence, "offset_frames": float(said.offset)}


def judge_name(settings: EvaluationConfig) -> str:
    """How the judge is called beside its numbers."""
    return Path(settings.syncnet_weights).name if settings.syncnet_weights else "embedded judge"


@functools.lru_cache(maxsize=2)
def load_judge(settings: EvaluationConfig) -> Judge:
    """The judge that the settings ask for. Raises CheckpointError where its weights are not there."""
    if settings.syncnet_weights:
        return Judge(judge_name(settings), checkpoints.load(settings.syncnet_weights, "evaluation"), True)
    return Judge(judge_name(settings), checkpoints.load(checkpoints.embedded("judge"), "expert"), False)


@dataclass(frozen=True)
class CrossCheck:
    """What the judge says of a true clip with its own sound, with another clip's, and with its own sound moved.

    found: shift applied (frames, positive: later) -> offset reported.  curves: the mean distance, (31,) for shifts of
    -15 to 15 frames, of the own and of the other sound.
    """

    clip_id: str
    matched_distance: float
    matched_confidence: float
    mismatched_distance: float
    mismatched_confidence: float
    offset: int
    found: dict[int, int]
    curves: tuple[np.ndarray, np.ndarray] = field(repr=False, compare=False)

    @property
    def shifts_right(self) -> int:
        """How many of the shifts were found to the frame, beside the clip's own offset."""
        return sum(reported == self.offset - shift for shift, reported in self.found.items())


def cross_check(
    clips: Sequence[TestClip],
    settings: EvaluationConfig | None = None,
    *,
    cache_dir: Path | None = None,
    shifts: Sequence[int] = (-5, -2, 2, 5),
) -> list[CrossCheck]:
    """Test the judge itself on true clips: mismatched sound must score worse, a shift must be found.

    The mismatched sound of a clip is that of the next one. shifts: in frames, positive delays the sound.
    """
    judge = load_judge(settings or EvaluationConfig())
    looks = [look_at(clip.path, find_speaker(clip.path, cache_dir)[1], 0).faces_bgr for clip in clips]
    wavs = [load_wav(clip.path) for clip in clips]
    rows = []
    for number, (clip, faces, wav) in enumerate(zip(clips, looks, wavs, strict=True)):
        other = fitted(wavs[(number + 1) % len(wavs)], len(wav))
        face, audio = judge.features(faces, wav)
        heard = judge.hear(other, faces, len(face))
        own, wrong = judge.compare(face, audio), judge.compare(face, heard)
        found = {shift: judge.compare(face, judge.hear(moved(wav, shift), faces, len(face))).offset for shift in shifts}
        curves = tuple(metrics.offset_distances(face, sound).mean(axis=0) for sound in (audio, heard))
        rows.append(
            CrossCheck(
                clip.clip_id, own.distance, own.confidence, wrong.distance, wrong.confidence, own.offset, found, curves
            )
        )
    return rows


def moved(wav: np.ndarray, frames: int) -> np.ndarray:
    """Sound (n,) moved by so many frames, positive later; silence where nothing is left, length kept."""
    n = frames * SAMPLE_RATE_HZ // FPS
    shifted = np.zeros_like(wav)
    if n >= 0:
        shifted[n:] = wav[: len(wav) - n]
    else:
        shifted[:n] = wav[-n:]
    return shifted


def fitted(wav: np.ndarray, n: int) -> np.ndarray:
    """Sound cut, or repeated, to n samples."""
    return np.resize(wav, n)
