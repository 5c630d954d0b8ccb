"""Short fine-tunings for the study: one trap or one amount of data each, everything else equal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import checkpoints
from ..config import StudyConfig, WindowsConfig, override, preset
from ..parallel import worker_count
from ..training import train
from ..windows import ClipFaces
from .models import base_weights
from .traps import Trap

ANY_DRIFT_S = 1e6  # the study trains on purpose on clips that the course refuses


def fine_tune(
    clips: Sequence[ClipFaces], trap: Trap, settings: StudyConfig, seed: int, output: Path, *, start: Path | None = None
) -> Path:
    """Tune the base of the study's preset as notebook 06 does, with one trap switched on; writes weights to `output`.

    start: other weights to begin with.  What the run leaves lies in a folder beside `output`; a run that was stopped
    continues.  The same arguments give the same weights.
    """
    spoiled = trap.spoil(clips) if trap.spoil else list(clips)
    chosen = preset(settings.preset)
    start = start or base_weights(chosen)
    first = checkpoints.load(start, "generator")
    spoken_as = first.mel_alignment
    wanted = WindowsConfig(alignment=trap.alignment or spoken_as, max_drift_s=ANY_DRIFT_S, val_windows=8, seed=seed)
    how = override(
        chosen.generator,
        start=str(start),
        width=first.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        expert_mode=trap.expert_mode,
        sync_weight=settings.sync_weight if trap.sync else 0.0,
        seed=seed,
        evaluate_every=settings.steps,
        sample_every=settings.steps,
        save_every=50,
        keep=1,
    )
    torch.set_num_threads(worker_count())  # measuring before may have left one
    unused = replace(spoiled[-1], split="val")  # the loop wants to evaluate; the study measures on other clips
    done = train(how, [*spoiled, unused], output.with_suffix(""), windows=wanted, live=False, check=False)
    if done.stopped:
        raise KeyboardInterrupt
    generator = checkpoints.load(done.weights, "generator")
    return checkpoints.export(output, generator, mel_alignment=spoken_as, trap=trap.name, seed=seed, steps=done.step)
