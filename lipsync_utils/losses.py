"""What training minimises, as pure functions of tensors, and when the sync loss counts.

All losses are computed in float32 (float64 where the input is float64) outside autocast: binary cross entropy of
half-precision probabilities is refused by CUDA and meaningless near 0 and 1.

Sources: Prajwal et al. 2020 (cosine loss, weights); van den Oord et al., "Representation Learning with Contrastive
Predictive Coding", 2018 (InfoNCE); Radford et al., CLIP, 2021 (learnt temperature).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .config import check
from .models.networks import bce, exact, stack_lower_halves

#: Sync loss of an expert that knows nothing: -ln 0.5.  A sync loss that stays here has learnt nothing.
COIN_FLIP_LOSS = math.log(2)
REFERENCE_THRESHOLD = 0.75  # sync loss of an evaluation below which the published trainer turns its sync loss on


def l1(generated, truth):
    """Mean absolute difference of two stacks of faces of any one shape; zero means equal."""
    with exact(generated, truth) as (generated, truth):
        return F.l1_loss(generated, truth)


def mouth_l1(generated, truth, weight: float):
    """L1 of faces (..., H, W) in which the middle of the mouth counts `weight` times as much as a cheek.

    The upper half, which the network is shown, counts half.  The weights' mean is 1.  Own formula, for pretraining: a
    mouth is a twelfth of the picture, and plain L1 learns it last.
    """
    height, width = generated.shape[-2:]
    y = torch.arange(height, device=generated.device) / height
    x = torch.arange(width, device=generated.device) / width
    near = torch.exp(-0.5 * (((y[:, None] - 0.78) / 0.115) ** 2 + ((x - 0.5) / 0.167) ** 2))
    weights = torch.where(y[:, None] < 0.5, 0.5, 1.0) * (1 + (weight - 1) * near)
    with exact(generated, truth) as (generated, truth):
        return ((generated - truth).abs() * (weights / weights.mean())).mean()


def cosine_bce(a, v, y):
    """Binary cross entropy between the cosine of two embeddings and "belongs together".

    a, v: (B, D) embeddings with entries >= 0.  y: (B,) or (B, 1), 1 together, 0 not.  Returns the mean, a scalar.
    The cosine is clamped to [0, 1], which rounding alone exceeds; a zero embedding gives 100, the largest loss.  Closer
    than 1e-6 to 0 or 1 the gradient is zero: it would be up to 1e12, and one such pair would spoil Adam's memory.
    """
    with exact(a, v) as (a, v):
        cosine = F.cosine_similarity(a, v).clamp(0, 1)
        cosine = torch.where((cosine < 1e-6) | (cosine > 1 - 1e-6), cosine.detach(), cosine)
        return bce(cosine, y.reshape(-1).to(cosine))


def sync_loss(expert, mel, faces):
    """Let the expert judge generated faces: low means that it believes them in sync.

    expert: SyncNet, frozen by models.freeze, unless you want the published trainer's drifting statistics.
    mel: (B, 1, 80, 16), the expert's window.  faces: (B, 3, 5, 96, 96) in [0, 1].  Returns a scalar.
    """
    with exact(mel, faces) as (mel, faces):
        audio, face = expert(mel, stack_lower_halves(faces))
        return cosine_bce(audio, face, torch.ones(len(audio), device=audio.device))


def generator_total(l1, sync, perceptual, sync_weight, disc_weight):
    """Mix the generator's losses: w * sync + d * perceptual + (1 - w - d) * l1.

    A term whose weight is 0 may be None: it is then neither needed nor looked at.
    """
    sound = min(sync_weight, disc_weight) >= 0 and sync_weight + disc_weight <= 1
    check(sound, f"need weights >= 0 with a sum up to 1, got sync {sync_weight}, discriminator {disc_weight}")
    total = (1 - sync_weight - disc_weight) * l1
    if sync_weight:
        total = total + sync_weight * sync
    if disc_weight:
        total = total + disc_weight * perceptual
    return total


def discriminator_loss(prediction, is_real: bool):
    """Binary cross entropy of the discriminator's predictions, (N, 1) in [0, 1], against all real or all drawn."""
    with exact(prediction) as (prediction,):
        return bce(prediction, torch.full_like(prediction, float(is_real)))


class ContrastiveLoss(nn.Module):
    """Expert loss from the batch itself: each sound must find its face among all faces, and each face its sound.

    Symmetric InfoNCE with a learnt temperature; its one parameter belongs into the optimiser.
    """

    def __init__(self, temperature: float = 0.07):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, audio, face):
        """Return the mean loss of (B, D) unit vectors, row i of both from the same window; ln B means chance."""
        with exact(audio, face) as (audio, face):
            logits = audio @ face.T * self.log_scale.exp().clamp(max=100).to(audio)
            target = torch.arange(len(audio), device=audio.device)
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def scheduled_sync_weight(step: int, weight: float, schedule: str, *, ramp_steps=1, is_on=False) -> float:
    """How much the sync loss weighs at a 0-based step.

    schedule "constant": always `weight`.  "ramp": from 0 up to `weight` over `ramp_steps`.  "reference": 0 until an
    evaluation's mean sync loss is below REFERENCE_THRESHOLD, then `weight` for ever; whether that has happened is part
    of the training state (`is_on`), which the published trainer forgot to store.
    """
    if schedule == "ramp":
        return weight * min(1.0, step / ramp_steps)
    return weight if schedule == "constant" or is_on else 0.0
