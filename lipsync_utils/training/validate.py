"""Evaluating a run on its fixed validation windows, and drawing samples of them."""

from __future__ import annotations

import logging

import numpy as np
import torch
from accelerate.utils import gather_object

from ..windows import spread
from . import build, record, watch
from .steps import expert_batch, expert_loss, generator_batch, generator_losses

log = logging.getLogger(__name__)

SAMPLES = 4  # windows in a picture of samples


@torch.no_grad()
def evaluate(trainer, show=None) -> dict[str, float]:
    """Mean losses on the validation windows; also moves the reference's sync switch, warns, and draws samples."""
    main, accelerator, settings = build.bare(trainer.models["main"]), trainer.accelerator, trainer.settings
    main.eval()
    chosen = spread(trainer.indexes["val"], trainer.windows.val_windows)
    size = max(settings.batch_size // settings.accumulate, 2)
    batches = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    sums, count = {}, 0
    for numbers in batches[accelerator.process_index :: accelerator.num_processes]:
        items = torch.utils.data.default_collate([trainer.data["val"][n] for n in numbers])
        for name, value in batch_losses(trainer, main, items).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(numbers)
        count += len(numbers)
    found = _mean_over_processes(accelerator, sums, count)
    main.train()
    if trainer.kind == "generator" and "sync" in found:
        trainer.sync_is_on = trainer.schedule.after_evaluation(found["sync"], trainer.sync_is_on)
    if accelerator.is_main_process:
        _note(trainer, found, show)
    return found


def batch_losses(trainer, main, items) -> dict[str, torch.Tensor]:
    """All losses of one batch as tensors, whatever weight they have at this step."""
    device, autocast, models = trainer.accelerator.device, trainer.accelerator.autocast, trainer.models
    if trainer.kind == "expert":
        contrast = trainer.networks.contrast
        return expert_loss(main, expert_batch(items, device, contrast is not None), contrast, autocast)
    discriminator = build.bare(models["discriminator"]) if "discriminator" in models else None
    return generator_losses(
        main,
        generator_batch(items, device, trainer.settings.frames),
        expert=models.get("expert"),
        sync_weight=trainer.settings.sync_weight if "expert" in models else 0.0,
        discriminator=discriminator,
        disc_weight=trainer.settings.disc_weight,
        mouth_weight=trainer.settings.mouth_weight,
        autocast=autocast,
    )[1]


def _mean_over_processes(accelerator, sums, count):
    if accelerator.num_processes == 1:
        return {name: value / count for name, value in sums.items()}
    names = sorted(set(gather_object(sorted(sums))))  # a process without a batch learns the names from the others
    values = [sums.get(n, 0.0) for n in names] + [float(count)]
    values = accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=accelerator.device), "sum").tolist()
    return {name: value / values[-1] for name, value in zip(names, values)}


def _note(trainer, numbers, show):
    """Write down what was found, keep the best weights, warn, draw."""
    settings, weight = trainer.settings, trainer.sync_weight()
    extra = {"sync_weight": weight} if trainer.kind == "generator" else {}
    trainer.history.add(trainer.step, "val", **numbers, **extra)
    for sentence in watch.warnings(trainer.history, settings, weight):
        log.warning("step %d: %s", trainer.step, sentence)
    score = numbers["total"]
    if trainer.kind == "generator":  # the discriminator moves: what it says cannot tell which step is best
        score = numbers["l1"] + settings.sync_weight * numbers.get("sync", 0.0)
    if score < trainer.best:
        trainer.best = score
        trainer.write(f"{trainer.kind}_best.pt")
    is_time = trainer.step % settings.sample_every == 0 or trainer.step == settings.steps
    if trainer.kind == "generator" and is_time:
        picture = sample(trainer)
        if show:
            show.sample(picture)


@torch.no_grad()
def sample(trainer) -> np.ndarray:
    """Write samples/step_<step>.png of fixed validation windows; returns the picture, BGR."""
    main = build.bare(trainer.models["main"]).eval()
    items = torch.utils.data.default_collate([trainer.data["val"][n] for n in spread(trainer.indexes["val"], SAMPLES)])
    batch = generator_batch(items, trainer.accelerator.device)
    with trainer.accelerator.autocast():
        drawn = main(batch.mels, batch.faces).float()
    main.train()
    strips = [
        record.strip(faces[3:], faces[:3], ours, truth) for faces, ours, truth in zip(batch.faces, drawn, batch.truth)
    ]
    record.write_sample(trainer.folder, trainer.step, strips)
    return np.concatenate(strips, axis=1)
