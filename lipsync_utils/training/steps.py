"""One optimiser step on one batch: the mathematics of training, without files, loops or settings.

Works in float32 and float64, on any device, alone or with an Accelerator. The order inside a step is the reference's:
generator forward, sync, perceptual, L1, backward, generator step, then real and generated faces for the discriminator.
"""

import math
from contextlib import nullcontext
from typing import NamedTuple

import torch

from .. import losses, models

BCE_SHARE = 0.5  # of the cosine loss beside the contrastive one


class GeneratorBatch(NamedTuple):
    """faces: (B, 6, 5, 96, 96), masked window and reference window; mels: (B, 5, 1, 80, 16), one per frame;
    sync_mel: (B, 1, 80, 16), the expert's; truth: (B, 3, 5, 96, 96). BGR in [0, 1]."""

    faces: torch.Tensor
    mels: torch.Tensor
    sync_mel: torch.Tensor
    truth: torch.Tensor


class ExpertBatch(NamedTuple):
    """mel: (B, 1, 80, 16); faces: (B, 15, 48, 96) lower halves of five frames; label: (B,), 1: they belong together."""

    mel: torch.Tensor
    faces: torch.Tensor
    label: torch.Tensor


def to_float(faces: torch.Tensor) -> torch.Tensor:
    """uint8 faces to float32 in [0, 1]."""
    return faces.float() / 255


def middle_frame(items: dict) -> dict:
    """Items of Windows with the middle frame of each window alone, which the sync loss cannot judge."""
    middle = {"mels": items["mels"][:, 2:3]}
    return items | middle | {name: items[name][:, :, 2:3] for name in ("faces", "wrong")}


def generator_batch(items: dict, device="cpu") -> GeneratorBatch:
    """Turn items of Windows into what the generator sees; faces cross to the device as bytes."""
    items = {k: v.to(device, non_blocking=True) for k, v in items.items()}
    truth = to_float(items["faces"])
    masked = truth.clone()
    models.networks.lower_half(masked).zero_()
    return GeneratorBatch(torch.cat([masked, to_float(items["wrong"])], 1), items["mels"], items["sync_mel"], truth)


def expert_batch(items: dict, device="cpu", contrastive: bool = False) -> ExpertBatch:
    """Turn items of Windows into what the expert sees; the contrastive loss takes the right faces only."""
    items = {k: v.to(device, non_blocking=True) for k, v in items.items()}
    right, faces = items["label"], items["faces"]
    if contrastive:
        right = torch.ones_like(right)
    else:
        faces = torch.where(right.bool()[:, None, None, None, None], faces, items["wrong"])
    return ExpertBatch(items["sync_mel"], models.stack_lower_halves(to_float(faces)), right)


def generator_losses(
    generator,
    batch: GeneratorBatch,
    *,
    expert=None,
    sync_weight=0.0,
    discriminator=None,
    disc_weight=0.0,
    mouth_weight=1.0,
    accelerator=None,
):
    """Losses of the generator on a batch, as tensors: (generated faces, {"l1", "sync", "perceptual", "total"}).

    mouth_weight: of the mouth in the total's L1, see losses.mouth_l1; "l1" itself is the plain one.
    A term of weight 0 is not computed. Sync and perceptual loss are in float32 at least, outside autocast.
    """
    with accelerator.autocast() if accelerator else nullcontext():
        generated = generator(batch.mels, batch.faces)
    generated = generated if generated.dtype == torch.float64 else generated.float()
    parts = {"l1": losses.l1(generated, batch.truth)}
    if sync_weight:
        parts["sync"] = losses.sync_loss(expert, batch.sync_mel, generated)
    if disc_weight:
        parts["perceptual"] = models.bare(discriminator).perceptual_loss(generated)
    likeness = parts["l1"] if mouth_weight == 1 else losses.mouth_l1(generated, batch.truth, mouth_weight)
    judged = parts.get("sync"), parts.get("perceptual")
    return generated, parts | {"total": losses.generator_total(likeness, *judged, sync_weight, disc_weight)}


def generator_step(generator, optimizer, batch: GeneratorBatch, *, disc_optimizer=None, **judges) -> dict[str, float]:
    """One step of the generator, and of the discriminator where there is one; returns the losses as numbers.

    judges: the keywords of generator_losses. expert: SyncNet after models.freeze; .train() is the published trainer's,
    whose statistics then follow the batch. With disc_weight 0 a discriminator still learns. A NaN is returned as such,
    with the weights untouched.
    """
    discriminator, accelerator = judges.get("discriminator"), judges.get("accelerator")
    if discriminator:
        discriminator.requires_grad_(False)  # it judges first, and learns afterwards
    generated, parts = generator_losses(generator, batch, **judges)
    numbers = descend(optimizer, parts, accelerator)
    if discriminator:
        discriminator.requires_grad_(True)
    if discriminator and disc_optimizer and is_finite(numbers):
        numbers |= discriminator_step(discriminator, disc_optimizer, batch.truth, generated.detach(), accelerator)
    return numbers


def is_finite(numbers: dict[str, float]) -> bool:
    """Whether none of the losses is NaN or infinite."""
    return all(map(math.isfinite, numbers.values()))


def descend(optimizer, parts: dict[str, torch.Tensor], accelerator) -> dict[str, float]:
    """Step down the "total" unless a loss is NaN or infinite; returns the losses as numbers."""
    numbers = {name: value.item() for name, value in parts.items()}
    if is_finite(numbers):
        optimizer.zero_grad()
        backward = accelerator.backward if accelerator else torch.Tensor.backward
        backward(parts["total"])
        optimizer.step()
    return numbers


def discriminator_step(discriminator, optimizer, truth, generated, accelerator=None) -> dict[str, float]:
    """One step of the discriminator on true and generated faces, (B, 3, T, 96, 96) each; losses are summed.

    Also returns the shares of both that it recognised.
    """
    real, drawn = discriminator(torch.cat([truth, generated], 2)).chunk(2)  # time comes first in its answer
    parts = {"disc_real": losses.discriminator_loss(real, True), "disc_fake": losses.discriminator_loss(drawn, False)}
    seen = {"disc_real_seen": (real > 0.5).float().mean(), "disc_fake_seen": (drawn < 0.5).float().mean()}
    numbers = descend(optimizer, parts | seen | {"total": sum(parts.values())}, accelerator)
    del numbers["total"]
    return numbers


def expert_loss(expert, batch: ExpertBatch, contrast=None, accelerator=None):
    """The expert's loss on a batch as tensors: {"bce", "contrastive", "total"}.

    contrast: losses.ContrastiveLoss; each sound must find its face in the batch. Beside it stands the cosine loss, on
    the right pairs and on each sound with the next row's face, so that cosines keep the meaning they have as a judge.
    """
    with accelerator.autocast() if accelerator else nullcontext():
        audio, face = expert(batch.mel, batch.faces)
    if contrast is None:
        bce = losses.cosine_bce(audio, face, batch.label)
        return {"bce": bce, "total": bce}
    together = torch.ones(len(audio), device=audio.device)
    bce = (losses.cosine_bce(audio, face, together) + losses.cosine_bce(audio, face.roll(1, 0), 1 - together)) / 2
    nce = contrast(audio, face)
    return {"bce": bce, "contrastive": nce, "total": nce + BCE_SHARE * bce}


def expert_step(expert, optimizer, batch: ExpertBatch, *, contrast=None, accelerator=None) -> dict[str, float]:
    """One step of the expert; returns the losses as numbers. optimizer: holds contrast's parameter too, if given."""
    return descend(optimizer, expert_loss(expert, batch, contrast, accelerator), accelerator)
