"""One optimiser step on one batch: the mathematics of training, without files, loops or settings.

Works in float32 and float64, on any device, alone or with an Accelerator. The order inside a step is the reference's:
generator forward, sync, perceptual, L1, backward, generator step, then real and generated faces for the discriminator.
"""

import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from .. import losses
from ..models import stack_lower_halves


@dataclass(frozen=True)
class GeneratorBatch:
    """faces: (B, 6, 5, 96, 96), masked window and reference window; mels: (B, 5, 1, 80, 16), one per frame;
    sync_mel: (B, 1, 80, 16), the expert's; truth: (B, 3, 5, 96, 96). BGR in [0, 1]."""

    faces: torch.Tensor
    mels: torch.Tensor
    sync_mel: torch.Tensor
    truth: torch.Tensor


@dataclass(frozen=True)
class ExpertBatch:
    """mel: (B, 1, 80, 16); faces: (B, 15, 48, 96) lower halves of five frames; label: (B,), 1: they belong together."""

    mel: torch.Tensor
    faces: torch.Tensor
    label: torch.Tensor


def to_float(faces: torch.Tensor) -> torch.Tensor:
    """uint8 faces to float32 in [0, 1]."""
    return faces.float() / 255


def middle_frame(items: dict) -> dict:
    """Items of Windows with the middle frame of each window alone."""
    return items | {
        "faces": items["faces"][:, :, 2:3],
        "wrong": items["wrong"][:, :, 2:3],
        "mels": items["mels"][:, 2:3],
    }


def generator_batch(items: dict, device="cpu", frames: int = 5) -> GeneratorBatch:
    """Turn items of Windows into what the generator sees; faces cross to the device as bytes.

    frames: 5, or 1: the middle one of each window alone, which the sync loss cannot judge.
    """
    if frames == 1:
        items = middle_frame(items)
    items = {k: v.to(device, non_blocking=True) for k, v in items.items()}
    truth = to_float(items["faces"])
    masked = truth.clone()
    masked[..., truth.shape[-2] // 2 :, :] = 0
    return GeneratorBatch(torch.cat([masked, to_float(items["wrong"])], 1), items["mels"], items["sync_mel"], truth)


def expert_batch(items: dict, device="cpu", contrastive: bool = False) -> ExpertBatch:
    """Turn items of Windows into what the expert sees; the contrastive loss takes the right faces only."""
    items = {k: v.to(device, non_blocking=True) for k, v in items.items()}
    if contrastive:
        right, faces = torch.ones_like(items["label"]), items["faces"]
    else:
        right = items["label"]
        faces = torch.where(right.bool()[:, None, None, None, None], items["faces"], items["wrong"])
    return ExpertBatch(items["sync_mel"], stack_lower_halves(to_float(faces)), right)


@contextmanager
def judging_only(network):
    """Its weights get no gradients inside; those that flow through it to its input do."""
    wanted = [p.requires_grad for p in network.parameters()]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, want in zip(network.parameters(), wanted):
            parameter.requires_grad_(want)


def generator_losses(
    generator,
    batch: GeneratorBatch,
    *,
    expert=None,
    discriminator=None,
    sync_weight=0.0,
    disc_weight=0.0,
    mouth_weight=1.0,
    autocast=nullcontext,
):
    """Losses of the generator on a batch, as tensors: (generated faces, {"l1", "sync", "perceptual", "total"}).

    mouth_weight: of the mouth in the total's L1, see losses.mouth_l1; "l1" itself is the plain one.
    A term of weight 0 is not computed. Sync and perceptual loss are in float32 at least, outside autocast.
    """
    with autocast():
        generated = generator(batch.mels, batch.faces)
    generated = generated if generated.dtype == torch.float64 else generated.float()
    parts = {"l1": losses.l1(generated, batch.truth)}
    if sync_weight:
        parts["sync"] = losses.sync_loss(expert, batch.sync_mel, generated)
    if disc_weight:
        parts["perceptual"] = discriminator.perceptual_loss(generated)
    likeness = parts["l1"] if mouth_weight == 1 else losses.mouth_l1(generated, batch.truth, mouth_weight)
    parts["total"] = losses.generator_total(
        likeness, parts.get("sync"), parts.get("perceptual"), sync_weight, disc_weight
    )
    return generated, parts


def generator_step(
    generator,
    optimizer,
    batch: GeneratorBatch,
    *,
    expert=None,
    sync_weight=0.0,
    discriminator=None,
    disc_optimizer=None,
    disc_weight=0.0,
    mouth_weight=1.0,
    accelerator=None,
) -> dict[str, float]:
    """One step of the generator, and of the discriminator where there is one; returns the losses as numbers.

    expert: SyncNet in the mode that it shall have (models.freeze for a fixed judge; .train() is the published
    trainer's, whose statistics then follow the batch). With disc_weight 0 a discriminator still learns.
    Raises RuntimeError of torch only; a NaN is returned as such, with the weights untouched.
    """
    bare = getattr(discriminator, "module", discriminator)
    with (
        judging_only(bare) if bare is not None else nullcontext(),
        judging_only(expert) if expert is not None else nullcontext(),
    ):
        generated, parts = generator_losses(
            generator,
            batch,
            expert=expert,
            discriminator=bare,
            sync_weight=sync_weight,
            disc_weight=disc_weight,
            mouth_weight=mouth_weight,
            autocast=accelerator.autocast if accelerator else nullcontext,
        )
        numbers = {name: value.item() for name, value in parts.items()}
        stepped = _descend(optimizer, parts["total"], numbers, accelerator)
    if stepped and discriminator is not None and disc_optimizer is not None:
        numbers |= discriminator_step(discriminator, disc_optimizer, batch.truth, generated.detach(), accelerator)
    return numbers


def _descend(optimizer, loss, numbers: dict, accelerator) -> bool:
    """Step down the loss unless a number is NaN or infinite; says whether it did."""
    if not all(math.isfinite(value) for value in numbers.values()):
        return False
    if accelerator is None:  # an Accelerator keeps the gradients of the parts of a batch until the last one
        optimizer.zero_grad()
    (accelerator.backward if accelerator else torch.Tensor.backward)(loss)
    optimizer.step()
    optimizer.zero_grad()
    return True


def discriminator_step(discriminator, optimizer, truth, generated, accelerator=None) -> dict[str, float]:
    """One step of the discriminator on true and generated faces, (B, 3, T, 96, 96) each; losses are summed."""
    real, drawn = discriminator(torch.cat([truth, generated], 2)).chunk(2)  # time comes first in its answer
    real_loss, fake_loss = losses.discriminator_loss(real, True), losses.discriminator_loss(drawn, False)
    numbers = {
        "disc_real": real_loss.item(),
        "disc_fake": fake_loss.item(),
        "disc_real_seen": (real > 0.5).float().mean().item(),
        "disc_fake_seen": (drawn < 0.5).float().mean().item(),
    }
    _descend(optimizer, real_loss + fake_loss, numbers, accelerator)
    return numbers


BCE_SHARE = 0.5


def expert_loss(expert, batch: ExpertBatch, contrast=None, autocast=nullcontext):
    """The expert's loss on a batch as tensors: {"bce", "contrastive", "total"}.

    contrast: losses.ContrastiveLoss; each sound must find its face in the batch. Beside it stands the cosine loss, on
    the right pairs and on each sound with the next row's face, so that cosines keep the meaning they have as a judge.
    """
    with autocast():
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
    parts = expert_loss(expert, batch, contrast, accelerator.autocast if accelerator else nullcontext)
    numbers = {name: value.item() for name, value in parts.items()}
    _descend(optimizer, parts["total"], numbers, accelerator)
    return numbers
