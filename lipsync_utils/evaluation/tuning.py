"""Short fine-tunings for the study: one trap or one amount of data each, everything else equal."""
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .. import checkpoints
from ..config import StudyConfig, WindowsConfig
from ..models import freeze
from ..parallel import worker_count
from ..project import progress
from ..training.steps import generator_batch, generator_step
from ..windows import ClipFaces, StepBatches, Windows, index_windows
from .traps import Trap

log = logging.getLogger(__name__)

ANY_DRIFT_S = 1e6  # the study trains on purpose on clips that the course refuses


def fine_tune(clips: Sequence[ClipFaces], trap: Trap, settings: StudyConfig, seed: int, output: Path, *,
              start: Path | None = None) -> Path:
    """Tune the embedded generator on the clips with one trap switched on; writes its weights to `output`.

    start: other weights to begin with.  The same arguments give the same weights on one machine.
    """
    generator = checkpoints.load(start or checkpoints.embedded("generator"), "generator")
    spoken_as = generator.mel_alignment
    expert = freeze(checkpoints.load(checkpoints.embedded("expert"), "expert")) if trap.sync else None
    if expert is not None:
        expert.train(trap.expert_mode == "train")
    wanted = WindowsConfig(alignment=trap.alignment or spoken_as, max_drift_s=ANY_DRIFT_S, seed=seed)
    index = index_windows(trap.spoil(clips) if trap.spoil else list(clips), wanted)
    loader = torch.utils.data.DataLoader(
        Windows(index, wanted), batch_sampler=StepBatches(index, wanted, settings.batch_size, 0, settings.steps))
    optimizer = torch.optim.Adam(generator.parameters(), settings.learning_rate)
    torch.set_num_threads(worker_count())  # measuring before may have left one
    generator.train()
    for step, items in enumerate(progress(loader, desc=trap.name, unit="step")):
        numbers = generator_step(generator, optimizer, generator_batch_of(items), expert=expert,
                                 sync_weight=settings.sync_weight if trap.sync else 0.0)
        if not np.isfinite(numbers["total"]):
            raise FloatingPointError(f"{trap.name}: the loss is no number at step {step}")
    return checkpoints.export(output, generator.eval(), mel_alignment=spoken_as, trap=trap.name, seed=seed,
                              steps=settings.steps)


def generator_batch_of(items: dict):
    """The items of Windows as the generator's batch; the study needs neither names nor labels."""
    return generator_batch({name: items[name] for name in ("faces", "wrong", "mels", "sync_mel")})
