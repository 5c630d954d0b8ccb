"""The training loop: one for the expert, the generator, and the generator with its discriminator.

What a step sees depends on its number alone, and a checkpoint holds all that changes: a run that is stopped and resumed
equals one that was not, bit for bit on a CPU. Several processes (`accelerate launch`) share every batch.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..config import TrainConfig, WindowsConfig
from ..errors import DataError, SettingError
from ..project import lock, run_folder
from ..windows import ClipFaces, WindowIndex, index_windows
from . import build, preflight
from .trainer import Trainer, TrainResult


def train(
    settings: TrainConfig,
    clips: list[ClipFaces],
    run: str | Path,
    *,
    windows: WindowsConfig | None = None,
    resume: bool = True,
    live: bool = True,
    stop_at: int | None = None,
    check: bool = True,
) -> TrainResult:
    """Train one network on clips; what the run leaves behind lies in its folder.

    clips: of both splits, see windows.load_clips. run: a name (outputs/<run>/) or a folder. resume: continue a run with
    the same settings and data; False: set an earlier run of that name aside and begin. stop_at: a step to stop at
    before settings.steps, to be resumed. check: pre-flight before the first step.
    Raises SettingError, DataError or CheckpointError before anything is changed; DataError naming the clips of the
    batch whose loss is no number.
    """
    windows = windows or WindowsConfig()
    if not clips:
        raise DataError("the list of clips is empty: run notebook 04 first")
    indexes = {split: index_windows(clips, windows, split) for split in ("train", "val")}
    accelerator = build.make_accelerator(settings)
    _check_size(settings, indexes["train"], accelerator.num_processes)
    folder = run if isinstance(run, Path) else run_folder(run)
    guard = lock(folder, what="this run") if accelerator.is_main_process else contextlib.nullcontext()
    with guard:
        trainer = Trainer(settings, windows, indexes, folder, accelerator, resume)
        if check and trainer.step == 0:
            preflight.check_networks(settings, windows, indexes, trainer.networks)
        return trainer.run(min(stop_at or settings.steps, settings.steps), live and accelerator.is_local_main_process)


def _check_size(settings, index: WindowIndex, processes: int):
    if settings.batch_size * processes > len(index):
        raise SettingError(
            f"a batch of {settings.batch_size * processes} windows is larger than the data, {len(index)} windows: "
            f"set batch_size to at most {max(len(index) // processes, 1)}, or use more clips"
        )
