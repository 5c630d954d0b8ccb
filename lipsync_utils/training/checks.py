"""Checks around training: what an expert hears in these clips, preflight before a run, and a quick comparison after it.

Notebook 09 measures whole videos, with intervals; the comparison here, on the 96x96 crops of a few held-out clips, says
in seconds whether a run went the right way.
"""

import functools
import time
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch

from .. import audio, checkpoints, metrics
from ..config import TrainConfig, WindowsConfig
from ..errors import DataError
from ..windows import FACE_PX, WINDOW, ClipFaces, StepBatches, Windows, index_windows
from .steps import to_float
from .trainer import Learner, make_accelerator

FAR = 5  # frames: a false match is at least so far away, beyond the window itself
MAX_SHIFT = 15  # frames: offsets that are looked at, both ways
SPEECH_LEVEL = -2.6  # mean of a mel window that counts as speech; silence is -4 .. -3
TRUSTED = 0.75  # two-way accuracy of a judge whose numbers mean something

# ---------------------------------------------------------------- what an expert hears


@dataclass(frozen=True)
class ClipVerdict:
    """What an expert says about one clip.

    similarity: mean cosine per shift (2 * MAX_SHIFT + 1,), NaN where the clip is too short. offset: in frames, positive
    where the sound is early, as in LSE. right, asked: two-way questions. cosine_right, cosine_wrong: means.
    """

    clip_id: str
    similarity: np.ndarray
    offset: int | None = None
    right: int = 0
    asked: int = 0
    cosine_right: float = np.nan
    cosine_wrong: float = np.nan


@dataclass(frozen=True)
class ExpertReport:
    """An expert's answers on several clips: right and wrong ones, and the offsets that it sees."""

    clips: list[ClipVerdict]

    @property
    def table(self) -> pd.DataFrame:
        """A row per clip, the hardest first; accuracy: share of right answers."""
        rows = pd.DataFrame([{**vars(c), "accuracy": c.right / c.asked} for c in self.clips])
        return rows.drop(columns="similarity").sort_values("accuracy", ignore_index=True)

    @property
    def asked(self) -> int:
        """Number of questions."""
        return sum(c.asked for c in self.clips)

    @property
    def accuracy(self) -> float:
        """Share of right answers to "which of two sounds belongs to these lips?"; 0.5 is guessing."""
        return sum(c.right for c in self.clips) / max(self.asked, 1)

    @property
    def offsets(self) -> Counter:
        """Clips by offset in frames."""
        return Counter(c.offset for c in self.clips if c.offset is not None)

    @property
    def exact(self) -> float:
        """Share of clips whose offset is found to be 0; NaN without such clips."""
        total = sum(self.offsets.values())
        return self.offsets[0] / total if total else np.nan

    @property
    def cosine_right(self) -> float:
        """Mean cosine of lips and their own sound."""
        return float(np.average([c.cosine_right for c in self.clips], weights=[c.asked for c in self.clips]))

    @property
    def cosine_wrong(self) -> float:
        """Mean cosine of lips and a sound at least FAR frames away."""
        return float(np.average([c.cosine_wrong for c in self.clips], weights=[c.asked for c in self.clips]))

    @property
    def trusted(self) -> bool:
        """Whether this expert's numbers mean something here: it is right often, most offsets lie within a frame."""
        common = max(self.offsets, key=self.offsets.get, default=0)
        near = sum(n for offset, n in self.offsets.items() if abs(offset - common) <= 1)
        return self.accuracy >= TRUSTED and near >= 0.75 * sum(self.offsets.values())

    def __str__(self):
        seen = ", ".join(f"{offset:+d}: {n} clips" for offset, n in sorted(self.offsets.items())) or "unknown"
        words = f"right in {self.accuracy:.1%} of {self.asked} two-way questions, offsets {seen}"
        return f"{words}; {'to be trusted here' if self.trusted else 'NOT to be trusted here'}"


def embed_clip(expert, clip: ClipFaces, max_frames: int = 250, shift: int = 0):
    """Embed every window of a clip's first max_frames frames.

    shift: hear the sound so many frames later than it belongs. Returns first frames (n,), sound (n, D), faces (n, D).
    """
    if len(clip.present[:max_frames]) < WINDOW:
        return np.empty(0, int), *np.zeros((2, 0, 1), np.float32)
    faces, sound = metrics.expert_features(clip.faces[:max_frames], clip.mel, expert)
    whole = np.lib.stride_tricks.sliding_window_view(clip.present[:max_frames], WINDOW).all(1)
    ends = np.array([audio.sync_window_start(f) + audio.MEL_STEP for f in range(len(sound))])
    heard = np.arange(len(sound)) + shift
    possible = (heard >= 0) & (heard < len(sound))
    possible[possible] &= ends[heard[possible]] <= clip.mel.shape[1]
    frames = np.flatnonzero(whole & possible)
    return frames, sound[frames + shift], faces[frames]


def judge_clip(
    expert, clip: ClipFaces, *, seed: int = 1, shift: int = 0, questions: int = 4, max_frames: int = 250
) -> ClipVerdict:
    """Ask an expert about one clip; each window with speech gives `questions` two-way questions."""
    frames, sound, faces = embed_clip(expert, clip, max_frames, shift=shift)
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    if len(frames) < 2 * FAR:
        return ClipVerdict(clip.clip_id, np.full(len(shifts), np.nan))
    cosine, apart = faces @ sound.T, frames - frames[:, None]
    similarity = np.array(
        [cosine[apart == s].mean() if (apart == s).sum() >= max(len(frames) // 2, 1) else np.nan for s in shifts]
    )
    rng, own, other = np.random.default_rng((seed, len(frames))), [], []
    for i, frame in enumerate(frames):
        if audio.mel_window(clip.mel, audio.sync_window_start(int(frame + shift))).mean() >= SPEECH_LEVEL:
            far = np.flatnonzero(np.abs(frames - frame) >= FAR)
            own.append(cosine[i, i])
            other.append(cosine[i, far[rng.integers(len(far), size=questions)]])
    offset = None if np.isnan(similarity).any() else -int(shifts[similarity.argmax()])
    if not own:
        return ClipVerdict(clip.clip_id, similarity, offset)
    own, other = np.array(own), np.array(other)
    right = int((own[:, None] > other).sum())
    return ClipVerdict(clip.clip_id, similarity, offset, right, other.size, float(own.mean()), float(other.mean()))


def judge(expert, clips: list[ClipFaces], *, seed: int = 1, shift: int = 0, max_frames: int = 250) -> ExpertReport:
    """Ask an expert about clips; clips without speech give no questions."""
    verdicts = [judge_clip(expert, clip, seed=seed, shift=shift, max_frames=max_frames) for clip in clips]
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


def alignment_scores(clips: list[ClipFaces], *, rendered: bool, max_frames: int = 125) -> dict[str, float]:
    """How well a linear guess from each alignment's mel window follows the mouth opening of clips it has not seen.

    rendered: as for mouth_openings. Returns correlation by name of the alignment, on clips left out one by one.
    """
    openings, scores = [mouth_openings(c.faces[:max_frames], rendered) for c in clips], {}
    for name in audio.ALIGNMENTS:
        heard = [
            np.stack([audio.mel_window(c.mel, audio.frame_window_start(f, name))[::4].ravel() for f in range(len(o))])
            for c, o in zip(clips, openings)
        ]
        found = []
        for k, (heard_there, opening) in enumerate(zip(heard, openings)):
            x = np.concatenate(heard[:k] + heard[k + 1 :]).astype(float)
            y = np.concatenate(openings[:k] + openings[k + 1 :])
            middle = x.mean(0)
            ridge = (x - middle).T @ (x - middle) + 300.0 * np.eye(x.shape[1])
            weights = np.linalg.solve(ridge, (x - middle).T @ (y - y.mean()))
            found.append(metrics.correlation((heard_there - middle) @ weights, opening))
        scores[name] = float(np.nanmean(found))
    return scores


# ---------------------------------------------------------------- before a run

ASKED_ABOUT = 24  # clips that the expert is asked about
LONG_ENOUGH_S = 3.0  # clips whose offset can be trusted
MAX_OFFSET = 3  # frames; more: picture and sound of a clip do not belong together
MAX_BAD_SHARE = 0.25  # of the clips whose offset is known
GENERATOR_GMAC, EXPERT_GMAC, DISCRIMINATOR_GMAC = 3.967, 1.210, 1.256  # per frame, window, frame at width 1.0
T4_TFLOPS = 8.0  # an estimate: what convolutions in fp16 get of a T4's 65; not measured by us


@dataclass(frozen=True)
class Preflight:
    """What was found. problems: why the run must not start; remarks: what is worth knowing.

    usable: windows by split; unusable: windows by reason; expert: its report on training clips; s_per_step: measured;
    estimate_s: of the whole run, without evaluations.
    """

    problems: list[str]
    remarks: list[str]
    usable: dict[str, int]
    unusable: dict[str, int]
    clips: dict[str, int]
    expert: ExpertReport | None = None
    first_step_s: float | None = None
    s_per_step: float | None = None
    estimate_s: float | None = None

    def __str__(self):
        lines = [f"{split}: {self.usable[split]} windows in {self.clips[split]} clips" for split in self.usable]
        if self.unusable:
            lines.append("not usable: " + ", ".join(f"{n} windows ({reason})" for reason, n in self.unusable.items()))
        if self.expert is not None:
            lines.append(f"expert: {self.expert}")
        if self.s_per_step is not None:
            lines.append(
                f"one step {self.s_per_step:.2f} s (the first {self.first_step_s:.1f} s), "
                f"the run about {self.estimate_s / 60:.1f} min"
            )
        lines += [f"remark: {text}" for text in self.remarks] + [f"PROBLEM: {text}" for text in self.problems]
        return "\n".join(lines)


def look(
    settings: TrainConfig, clips: list[ClipFaces], windows: WindowsConfig | None = None, *, timed: bool = True
) -> Preflight:
    """Preflight: check data, expert and speed before a run; changes nothing.

    Raises DataError (naming clips) where windows cannot even be listed, SettingError or CheckpointError for settings
    and weights that do not work.
    """
    windows = windows or WindowsConfig()
    indexes = {split: index_windows(clips, windows, split) for split in ("train", "val")}
    train, learner = indexes["train"], Learner(settings, make_accelerator(settings))
    problems, remarks, report = expert_problems(settings, train.clips, learner.networks.get("expert"))
    problems += shared_videos(indexes)
    if train.left_out:
        remarks.append("clips without any window: " + ", ".join(sorted(train.left_out)[:10]))
    first = each = None
    if timed and not problems:
        first, each = time_steps(learner, train, windows)
    usable, used = ({k: n(v) for k, v in indexes.items()} for n in (len, lambda v: len(v.clips) - len(v.left_out)))
    return Preflight(
        problems, remarks, usable, train.unusable, used, report, first, each, each and each * settings.steps
    )


def shared_videos(indexes) -> list[str]:
    """Videos that are in both splits: then validation says nothing about new ones."""
    both = {c.video_id for c in indexes["train"].clips} & {c.video_id for c in indexes["val"].clips}
    return (
        [f"These videos are in both splits: {', '.join(sorted(both)[:10])}. Split by video (stage 04)."] if both else []
    )


def expert_problems(settings: TrainConfig, clips: list[ClipFaces], expert):
    """(problems, remarks, report) of the sync judge on some of the clips; None: nobody judges."""
    if expert is None:
        return [], [], None
    places = np.linspace(0, len(clips) - 1, min(ASKED_ABOUT, len(clips))).round().astype(int)
    report = judge(expert, [clips[i] for i in places], max_frames=125)
    long = {clips[i].clip_id for i in places if len(clips[i].present) >= LONG_ENOUGH_S * 25}
    known = {c.clip_id: c.offset for c in report.clips if c.offset is not None and c.clip_id in long}
    far = [f"{clip} ({offset:+d})" for clip, offset in sorted(known.items()) if abs(offset) >= MAX_OFFSET]
    if not report.asked:
        return [], ["the expert found no speech in the clips that it was asked about"], None
    if report.accuracy < settings.min_expert_accuracy:
        problem = (
            f"The expert is right in {report.accuracy:.0%} of two-way questions on these clips (50 % is guessing): as "
            "a judge it would teach nothing. Tune it first (notebook 05) or set sync_weight=0."
        )
        return [problem], [], report
    if len(far) > MAX_BAD_SHARE * len(known):
        problem = (
            f"Sound and picture are {MAX_OFFSET} or more frames apart in {len(far)} of {len(known)} clips: "
            f"{', '.join(far[:10])}. Correct the videos, or leave these clips out."
        )
        return [problem], [], report
    return [], ["clips that may be out of sync: " + ", ".join(far)] if far else [], report


def time_steps(learner: Learner, index, windows: WindowsConfig, repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first step and of a later one, loading included; the learner is used up."""
    settings, data, times = learner.settings, Windows(index, windows), []
    learner.place()
    size = settings.batch_size // settings.accumulate
    for keys in StepBatches(index, windows, size, 0, repeats + 1, windows_per_clip=settings.windows_per_clip):
        tick = time.perf_counter()
        items = torch.utils.data.default_collate([data[key] for key in keys])
        learner.step(learner.batch(items), settings.sync_weight)
        times.append((time.perf_counter() - tick) * settings.accumulate)
    return times[0], float(np.median(times[1:]))


def cost_lines(settings: TrainConfig, s_per_step: float, article: TrainConfig, clips: int = 4700) -> list[str]:
    """Sentences for a notebook: this run here, and the article's size on a T4, estimated from multiplications.

    A backward pass counts twice, frozen networks once. clips: of the article; an epoch of the published code is one
    window of each.
    """
    frames = 5 * article.batch_size
    gmacs = 3 * article.batch_size * EXPERT_GMAC
    if article.network == "generator":
        gmacs = 3 * frames * GENERATOR_GMAC
        gmacs += 2 * article.batch_size * EXPERT_GMAC * (article.sync_weight > 0)
        gmacs += (2 + 6) * frames * DISCRIMINATOR_GMAC * (article.disc_weight > 0)
    gmacs *= article.width**2
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


@torch.no_grad()
def redraw(generator, clip: ClipFaces, alignment: str, batch_size: int = 40) -> np.ndarray:
    """Let a generator say a clip's own sound; uint8 BGR (n, 96, 96, 3).

    The reference of frame i is the frame half a clip away: the same frame, as in inference, would show the true mouth.
    alignment: of the mel windows, as the generator was trained (`checkpoints.metadata`).
    """
    was_training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    n, drawn = len(clip.present), []
    for frames in np.array_split(np.arange(n), max(-(-n // batch_size), 1)):
        starts = [audio.frame_window_start(int(f), alignment) for f in frames]
        mel = torch.from_numpy(np.stack([audio.mel_window(clip.mel, s) for s in starts])[:, None])
        truth, other = (
            to_float(torch.from_numpy(np.ascontiguousarray(clip.faces[f].transpose(0, 3, 1, 2))))
            for f in (frames, (frames + n // 2) % n)
        )
        truth[..., FACE_PX // 2 :, :] = 0
        faces = generator(mel.to(device), torch.cat([truth, other], 1).to(device))
        drawn.append((faces * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    generator.train(was_training)
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
            return _reader()(to_float(torch.from_numpy(np.ascontiguousarray(faces.transpose(0, 3, 1, 2))))).numpy()
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
            follows = metrics.correlation(mouth_openings(drawn, rendered), opening)
            rows.append((name, clip.clip_id, clip.video_id, metrics.l1(drawn, truth), sharpness, distance, follows))
    return pd.DataFrame(rows, columns=["model", "clip_id", "video_id", *MEASURES])


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean of every measure by model, over the clips that have it."""
    return scores.groupby("model", sort=False)[MEASURES].mean()


def gains(scores: pd.DataFrame, after: str, before: str) -> pd.DataFrame:
    """after - before in every measure, with an interval over videos."""
    a, b = (scores[scores.model == name].reset_index() for name in (after, before))
    found = {m: metrics.paired_difference(a[m], b[m], a.video_id.to_numpy()) for m in MEASURES}
    return pd.DataFrame({measure: vars(interval) for measure, interval in found.items()}).T
