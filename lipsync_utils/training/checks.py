"""Checks around training: what an expert hears in these clips, and a quick comparison after a run.

Notebook 09 measures whole videos, with intervals; the comparison here, on the 96x96 crops of a few held-out clips, says
in seconds whether a run went the right way.
"""

import functools
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch

from .. import audio, checkpoints, metrics, project, windows
from ..config import TrainConfig
from ..errors import DataError
from ..windows import FACE_PX, WINDOW, ClipFaces
from .steps import to_float

FAR = 5  # frames: a false match is at least so far away, beyond the window itself
MAX_SHIFT = 15  # frames: offsets that are looked at, both ways
SPEECH_LEVEL = -2.6  # mean of a mel window that counts as speech; silence is -4 .. -3
QUESTIONS = 4  # for each window with speech
TRUSTED = 0.75  # two-way accuracy of a judge whose numbers mean something

# ---------------------------------------------------------------- what an expert hears


class ClipVerdict(NamedTuple):
    """What an expert says about one clip.

    similarity: mean cosine per shift (2 * MAX_SHIFT + 1,), NaN where the clip is too short. offset: in frames, positive
    where the sound is early, as in LSE; NaN: unknown. questions: rows of an ExpertReport.
    """

    similarity: np.ndarray
    offset: float
    questions: list[tuple]


@dataclass(frozen=True)
class ExpertReport:
    """An expert's answers on several clips.

    questions: a row for each, columns clip_id, offset of the clip, own, other: the cosine of lips with their own sound,
    and with a sound at least FAR frames away in the same clip.
    """

    questions: pd.DataFrame

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The means by clip, the hardest first."""
        right = self.questions.own > self.questions.other
        means = self.questions.assign(accuracy=right).groupby("clip_id", as_index=False).mean()
        return means.sort_values("accuracy", ignore_index=True)

    @property
    def accuracy(self) -> float:
        """Share of right answers to "which of two sounds belongs to these lips?"; 0.5 is guessing."""
        return float((self.questions.own > self.questions.other).mean())

    @property
    def offsets(self) -> Counter:
        """Clips by offset."""
        return Counter(self.table.offset.dropna().astype(int).tolist())

    @property
    def exact(self) -> float:
        """Share of clips whose offset is found to be 0; NaN without such clips."""
        return self.offsets[0] / self.offsets.total() if self.offsets else np.nan

    @property
    def trusted(self) -> bool:
        """Whether this expert's numbers mean something here: it is right often, most offsets lie within a frame."""
        common = max(self.offsets, key=self.offsets.get, default=0)
        near = sum(self.offsets[common + k] for k in (-1, 0, 1))
        return self.accuracy >= TRUSTED and near >= 0.75 * self.offsets.total()

    def __str__(self):
        seen = ", ".join(f"{offset:+d}: {n} clips" for offset, n in sorted(self.offsets.items())) or "unknown"
        words = f"right in {self.accuracy:.1%} of {len(self.questions)} two-way questions, offsets {seen}"
        return f"{words}; {'to be trusted here' if self.trusted else 'NOT to be trusted here'}"


def embed_clip(expert, clip: ClipFaces, max_frames: int = 250, shift: int = 0):
    """Embed every window of a clip's first max_frames frames.

    shift: hear the sound so many frames later than it belongs. Returns first frames (n,), sound (n, D), faces (n, D).
    """
    expert = expert.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    faces, sound = metrics.expert_features(clip.faces[:max_frames], clip.mel, expert)
    complete = [audio.sync_window_start(f) + audio.MEL_STEP <= clip.mel.shape[1] for f in range(len(sound))]
    whole = np.lib.stride_tricks.sliding_window_view(clip.present[:max_frames], WINDOW).all(1)
    frames = np.flatnonzero(whole)
    frames = frames[(frames + shift >= 0) & (frames + shift < sum(complete))]
    return frames, sound[frames + shift], faces[frames]


def judge_clip(expert, clip: ClipFaces, *, shift: int = 0, max_frames: int = 250) -> ClipVerdict:
    """Ask an expert about one clip: its offset, and two-way questions for each window with speech."""
    frames, sound, faces = embed_clip(expert, clip, max_frames, shift)
    cosine, apart = faces @ sound.T, frames - frames[:, None]
    shifts, n = np.arange(-MAX_SHIFT, MAX_SHIFT + 1), len(frames)
    similarity = [cosine[apart == s].mean() if (apart == s).sum() >= max(n // 2, 1) else np.nan for s in shifts]
    offset = np.nan if np.isnan(similarity).any() else -float(shifts[np.argmax(similarity)])
    rng, questions = np.random.default_rng((1, n)), []
    for i, frame in enumerate(frames):
        heard = audio.mel_window(clip.mel, audio.sync_window_start(int(frame + shift)))
        far = np.flatnonzero(abs(apart[i]) >= FAR)
        if len(far) and heard.mean() >= SPEECH_LEVEL:
            others = cosine[i, far[rng.integers(len(far), size=QUESTIONS)]]
            questions += [(clip.clip_id, offset, cosine[i, i], other) for other in others]
    return ClipVerdict(np.array(similarity), offset, questions)


def judge(expert, clips: list[ClipFaces], *, shift: int = 0, max_frames: int = 250) -> ExpertReport:
    """Ask an expert about clips; clips without speech give no questions."""
    how = {"shift": shift, "max_frames": max_frames}
    rows = [row for c in clips if len(c.present) >= WINDOW for row in judge_clip(expert, c, **how).questions]
    numbers = dict.fromkeys(["offset", "own", "other"], float)
    return ExpertReport(pd.DataFrame(rows, columns=["clip_id", *numbers]).astype(numbers))


def alignment_scores(clips: list[ClipFaces], *, rendered: bool, max_frames: int = 125) -> dict[str, float]:
    """How well a linear guess from each alignment's mel window follows the mouth opening of clips it has not seen.

    rendered: as for mouth_openings. Returns correlation by name of the alignment, on clips left out one by one.
    """
    openings, scores = [mouth_openings(c.faces[:max_frames], rendered) for c in clips], {}
    for name in audio.ALIGNMENTS:
        starts = [audio.frame_window_start(f, name) for f in range(max_frames)]
        heard = [
            np.stack([audio.mel_window(c.mel, start)[::4].ravel() for start in starts[: len(o)]])
            for c, o in zip(clips, openings)
        ]
        found = []
        for k, opening in enumerate(openings):
            x = np.concatenate(heard[:k] + heard[k + 1 :]).astype(float)
            y = np.concatenate(openings[:k] + openings[k + 1 :])
            middle = x.mean(0)
            ridge = (x - middle).T @ (x - middle) + 300.0 * np.eye(x.shape[1])
            weights = np.linalg.solve(ridge, (x - middle).T @ (y - y.mean()))
            found.append(metrics.correlation((heard[k] - middle) @ weights, opening))
        scores[name] = float(np.nanmean(found))
    return scores


# ---------------------------------------------------------------- before a run

ASKED_ABOUT = 16  # clips that the expert is asked about
LONG_ENOUGH = 75  # frames of a clip whose offset can be trusted
MAX_OFFSET = 3  # frames; more: picture and sound of a clip do not belong together
MAX_BAD_SHARE = 0.25  # of the clips whose offset is known
GENERATOR_GMAC, EXPERT_GMAC, DISCRIMINATOR_GMAC = 3.967, 1.210, 1.256  # per frame, window, frame at width 1.0
T4_TFLOPS = 8.0  # an estimate: what convolutions in fp16 get of a T4's 65; not measured by us


@dataclass(frozen=True)
class Preflight:
    """What was found before a run. problems: why it must not start; s_per_step: measured, None where it was not."""

    problems: list[str]
    lines: list[str]
    s_per_step: float | None = None

    def __str__(self):
        return "\n".join(self.lines + [f"PROBLEM: {problem}" for problem in self.problems])


def preflight(settings: TrainConfig, indexes: dict, expert) -> tuple[list[str], list[str]]:
    """What the data and the expert say before a run: (problems, lines).

    indexes: windows.WindowIndex by split. expert: the judge in the loss, asked about some training clips, or None.
    """
    problems, lines = [], [f"{split}: {windows.summary(index)}" for split, index in indexes.items()]
    clips = indexes["train"].clips
    if both := {c.video_id for c in clips} & {c.video_id for c in indexes["val"].clips}:
        problems = [f"These videos are in both splits: {', '.join(sorted(both)[:10])}. Split by video (stage 04)."]
    if expert is None:
        return problems, lines
    report = judge(expert, [clips[k] for k in project.spread(len(clips), ASKED_ABOUT)], max_frames=LONG_ENOUGH)
    lines.append(f"expert: {report}" if len(report.questions) else "remark: the expert was asked about no speech")
    long = [clip.clip_id for clip in clips if len(clip.present) >= LONG_ENOUGH]
    known = report.table[report.table.clip_id.isin(long)].dropna()
    far = known[known.offset.abs() >= MAX_OFFSET]
    named = ", ".join(f"{clip} ({offset:+.0f})" for clip, offset in zip(far.clip_id[:10], far.offset))
    if report.accuracy < settings.min_expert_accuracy:
        problems.append(
            f"The expert is right in {report.accuracy:.0%} of two-way questions on these clips (50 % is guessing): as "
            "a judge it would teach nothing. Tune it first (notebook 05) or set sync_weight=0."
        )
    elif len(far) > MAX_BAD_SHARE * len(known):
        problems.append(
            f"Sound and picture are {MAX_OFFSET} or more frames apart in {len(far)} of {len(known)} clips: {named}. "
            "Correct the videos, or leave these clips out."
        )
    elif named:
        lines.append(f"remark: clips that may be out of sync: {named}")
    return problems, lines


def cost_lines(settings: TrainConfig, s_per_step: float, article: TrainConfig, clips: int = 4700) -> list[str]:
    """Sentences for a notebook: this run here, and the article's size on a T4, estimated from multiplications.

    A backward pass counts twice, frozen networks once. clips: of the article; an epoch of the published code is one
    window of each.
    """
    per_window = 3 * EXPERT_GMAC
    if article.network == "generator":
        per_window = 15 * GENERATOR_GMAC + 2 * EXPERT_GMAC * (article.sync_weight > 0)
        per_window += 5 * (2 + 6) * DISCRIMINATOR_GMAC * (article.disc_weight > 0)
    gmacs = per_window * article.batch_size * article.width**2
    t4_s = gmacs * 2e9 / (T4_TFLOPS * 1e12)
    return [
        f"here: {settings.steps} steps of {settings.batch_size} windows at {s_per_step:.2f} s "
        f"= {settings.steps * s_per_step / 60:.1f} min",
        f"at article size on a T4 (ESTIMATE from {gmacs:.0f} G multiplications a step at {T4_TFLOPS:g} TFLOP/s): "
        f"{t4_s:.2f} s a step, {article.steps} steps = {article.steps * t4_s / 3600:.1f} h, "
        f"{article.steps * article.batch_size / clips:.0f} epochs of {clips} clips in the published code's counting",
    ]


# ---------------------------------------------------------------- after a run

MEASURES = ["l1", "sharpness", "judge_distance", "mouth_correlation"]
ENLARGED_PX = 3 * FACE_PX  # landmarks are looked for on crops so large
AT_ONCE = 40  # faces that are drawn


def to_network(faces: np.ndarray) -> torch.Tensor:
    """uint8 (n, 96, 96, 3) to float32 (n, 3, 96, 96) in [0, 1]."""
    return to_float(torch.from_numpy(np.ascontiguousarray(faces.transpose(0, 3, 1, 2))))


@torch.inference_mode()
def redraw(generator, clip: ClipFaces, alignment: str) -> np.ndarray:
    """Let a generator, in eval mode on the CPU, say a clip's own sound; uint8 BGR (n, 96, 96, 3).

    The reference of frame i is the frame half a clip away: the same frame, as in inference, would show the true mouth.
    alignment: of the mel windows, as the generator was trained (`checkpoints.metadata`).
    """
    n, drawn, generator = len(clip.present), [], generator.to(memory_format=torch.channels_last)  # twice as fast
    for first in range(0, n, AT_ONCE):
        frames = np.arange(first, min(first + AT_ONCE, n))
        mels = [audio.mel_window(clip.mel, audio.frame_window_start(int(f), alignment)) for f in frames]
        truth, other = to_network(clip.faces[frames]), to_network(clip.faces[(frames + n // 2) % n])
        truth[..., FACE_PX // 2 :, :] = 0
        faces = generator(torch.from_numpy(np.stack(mels)[:, None]), torch.cat([truth, other], 1))
        drawn.append((faces * 255).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(drawn)


@functools.cache
def _reader():
    return checkpoints.load(checkpoints.embedded("reader"), "reader")


def mouth_openings(faces: np.ndarray, rendered: bool) -> np.ndarray:
    """Mouth opening of 96x96 crops, uint8 BGR (n, 96, 96, 3): (n,), relative to the distance of the eyes.

    rendered: read by the embedded reader, which knows drawn faces; else by landmarks, which know photographs.
    """
    if rendered:
        with torch.inference_mode():
            return _reader()(to_network(faces)).numpy()
    boxes = np.tile([0.0, 0, ENLARGED_PX, ENLARGED_PX], (len(faces), 1))
    large = (cv2.resize(face, (ENLARGED_PX, ENLARGED_PX), interpolation=cv2.INTER_CUBIC) for face in faces)
    return metrics.mouth_opening(metrics.landmark_track(large, boxes))


def score(generators: dict, clips: list[ClipFaces], judge, alignment: str, *, rendered: bool) -> pd.DataFrame:
    """Measure generators by name on clips; None: the truth itself, what the measures can reach.

    A row per model and clip. l1: 0..255; sharpness: of the mouth, truth is 1; judge_distance: 0..1.41;
    mouth_correlation: of the opening (see mouth_openings) with that of the truth. NaN where it cannot be measured.
    """
    rows = []
    for clip in clips:
        seen = np.flatnonzero(clip.present)
        truth = np.asarray(clip.faces)[seen]
        opening = mouth_openings(truth, rendered)
        for name, generator in generators.items():
            drawn = truth if generator is None else redraw(generator, clip, alignment)[seen]
            try:
                distance = metrics.judge_sync(drawn, clip.mel, judge).distance
            except DataError:
                distance = np.nan
            sharpness = metrics.sharpness_ratio(drawn, truth)
            opens = mouth_openings(drawn, rendered) if generator else opening
            follows = metrics.correlation(opens, opening)
            rows.append((name, clip.clip_id, clip.video_id, metrics.l1(drawn, truth), sharpness, distance, follows))
    return pd.DataFrame(rows, columns=["model", "clip_id", "video_id", *MEASURES])


def gains(scores: pd.DataFrame, after: str, before: str) -> pd.DataFrame:
    """after - before in every measure, with an interval over videos."""
    a, b = (scores[scores.model == name].reset_index() for name in (after, before))
    found = {m: vars(metrics.bootstrap(a[m] - b[m], a.video_id)) for m in MEASURES}
    return pd.DataFrame.from_dict(found, orient="index")
