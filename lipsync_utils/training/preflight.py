"""Looking before a run: is there something to learn from, is the judge any good here, and how long will it take?"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch

from ..config import TrainConfig, WindowsConfig
from ..errors import DataError
from ..windows import ClipFaces, StepBatches, WindowIndex, Windows, index_windows
from . import build, verdict
from .steps import expert_batch, expert_step, generator_batch, generator_step

LOOKED_AT = 24  # clips that the expert is asked about
LONG_ENOUGH_S = 3.0  # clips whose offset can be trusted
MAX_OFFSET = 3  # frames; more: picture and sound of a clip do not belong together
MAX_BAD_SHARE = 0.25  # of the clips whose offset is known


@dataclass(frozen=True)
class Preflight:
    """What was found. problems: why the run must not start; remarks: what is worth knowing.

    usable: windows by split; unusable: windows by reason; offsets: frames by clip; accuracy: of the expert, two-way;
    s_per_step: measured; estimate_s: of the whole run, without evaluations.
    """

    problems: list[str]
    remarks: list[str]
    usable: dict[str, int]
    unusable: dict[str, int]
    clips: dict[str, int]
    offsets: dict[str, int] = field(default_factory=dict)
    accuracy: float | None = None
    first_step_s: float | None = None
    s_per_step: float | None = None
    estimate_s: float | None = None

    def __str__(self):
        lines = [f"{split}: {self.usable[split]} windows in {self.clips[split]} clips" for split in self.usable]
        if self.unusable:
            lines.append("not usable: " + ", ".join(f"{n} windows ({reason})" for reason, n in self.unusable.items()))
        if self.accuracy is not None:
            lines.append(
                f"expert: right in {self.accuracy:.1%} of two-way questions, offsets {_histogram(self.offsets)}"
            )
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
    """Check data, expert and speed before a run; changes nothing.

    Raises DataError (naming clips) where windows cannot even be listed, SettingError or CheckpointError for settings
    and weights that do not work.
    """
    windows = windows or WindowsConfig()
    indexes = {split: index_windows(clips, windows, split) for split in ("train", "val")}
    networks = build.build_networks(settings)
    problems, remarks, offsets, accuracy = ask_expert(settings, indexes, networks)
    problems += shared_videos(indexes)
    if indexes["train"].left_out:
        remarks.append("clips without any window: " + ", ".join(sorted(indexes["train"].left_out)[:10]))
    first = each = None
    if timed and not problems:
        first, each = time_steps(settings, windows, indexes["train"], networks)
    return Preflight(
        problems,
        remarks,
        {k: len(v) for k, v in indexes.items()},
        indexes["train"].unusable,
        {k: len(v.clips) - len(v.left_out) for k, v in indexes.items()},
        offsets,
        accuracy,
        first,
        each,
        each and each * settings.steps,
    )


def check_networks(settings: TrainConfig, windows: WindowsConfig, indexes: dict[str, WindowIndex], networks) -> None:
    """The checks that stop a run, on networks that are already there. Raises DataError."""
    problems = ask_expert(settings, indexes, networks)[0] + shared_videos(indexes)
    if problems:
        raise DataError("training would not work: " + " ".join(problems))


def shared_videos(indexes) -> list[str]:
    """Videos that are in both splits: then validation says nothing about new ones."""
    both = {c.video_id for c in indexes["train"].clips} & {c.video_id for c in indexes["val"].clips}
    if not both:
        return []
    return [f"These videos are in both splits: {', '.join(sorted(both)[:10])}. Split by video (stage 04)."]


def ask_expert(settings, indexes, networks):
    """(problems, remarks, offset by clip, accuracy) of the sync judge on some of the clips."""
    if settings.network == "expert" or networks.expert is None:
        return [], [], {}, None
    clips = indexes["train"].clips
    chosen = [
        clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, min(LOOKED_AT, len(clips))).round().astype(int))
    ]
    report = verdict.judge(networks.expert, chosen, max_frames=125)
    networks.expert.train(settings.expert_mode == "train")
    offsets = {c.clip_id: c.offset for c in report.clips if c.offset is not None}
    long = {c.clip_id for c in chosen if len(c.present) >= LONG_ENOUGH_S * 25}
    far = {clip: o for clip, o in offsets.items() if abs(o) >= MAX_OFFSET and clip in long}
    known = sum(clip in long for clip in offsets)
    problems, remarks = [], []
    if not report.asked:
        remarks.append("the expert found no speech in the clips that it was asked about")
    elif report.accuracy < settings.min_expert_accuracy:
        problems.append(
            f"The expert is right in {report.accuracy:.0%} of two-way questions on these clips "
            "(50 % is guessing): as a "
            "judge it would teach nothing. Tune it first (notebook 05) or set sync_weight=0."
        )
    elif known and len(far) / known > MAX_BAD_SHARE:
        words = ", ".join(f"{clip} ({o:+d})" for clip, o in sorted(far.items())[:10])
        problems.append(
            f"Sound and picture are {MAX_OFFSET} or more frames apart in {len(far)} of {known} clips: {words}. "
            "Correct the videos, or leave these clips out."
        )
    elif far:
        remarks.append(
            "clips that may be out of sync: " + ", ".join(f"{clip} ({o:+d})" for clip, o in sorted(far.items()))
        )
    return problems, remarks, offsets, report.accuracy if report.asked else None


def time_steps(settings, windows, index, networks, repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first step and of a later one, loading included, on throw-away copies of the networks."""
    accelerator = build.make_accelerator(settings)
    before = {
        name: {k: v.clone() for k, v in network.state_dict().items()} for name, network in networks.parts().items()
    }
    models = {
        name: build.wrap(network, accelerator, settings) if name != "expert" else network.to(accelerator.device)
        for name, network in networks.parts().items()
    }
    optimisers = {name: accelerator.prepare(o) for name, o in build.optimisers(networks, settings).items()}
    batches = StepBatches(
        index,
        windows,
        settings.batch_size // settings.accumulate,
        0,
        repeats + 1,
        windows_per_clip=settings.windows_per_clip,
    )
    data, times = Windows(index, windows), []
    for keys in batches:
        tick = time.perf_counter()
        items = torch.utils.data.default_collate([data[key] for key in keys])
        with accelerator.accumulate(*[m for n, m in models.items() if n != "expert"]):
            if settings.network == "expert":
                batch = expert_batch(items, accelerator.device, networks.contrast is not None)
                expert_step(
                    models["main"], optimisers["main"], batch, contrast=networks.contrast, accelerator=accelerator
                )
            else:
                weight = settings.sync_weight if networks.expert is not None else 0.0
                generator_step(
                    models["main"],
                    optimisers["main"],
                    generator_batch(items, accelerator.device, settings.frames),
                    expert=models.get("expert"),
                    sync_weight=weight,
                    discriminator=models.get("discriminator"),
                    disc_optimizer=optimisers.get("discriminator"),
                    disc_weight=settings.disc_weight,
                    mouth_weight=settings.mouth_weight,
                    accelerator=accelerator,
                )
        times.append((time.perf_counter() - tick) * settings.accumulate)
    for name, network in networks.parts().items():
        network.load_state_dict(before[name])
    return times[0], float(np.median(times[1:]))


def _histogram(offsets):
    values, counts = np.unique(list(offsets.values()), return_counts=True)
    return ", ".join(f"{v:+d}: {c} clips" for v, c in zip(values, counts)) or "unknown"
