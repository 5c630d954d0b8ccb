"""Making what a run needs: networks with their first weights, optimisers, and the Accelerator that fits the machine."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import accelerate
import torch

from .. import checkpoints
from ..checkpoints import KINDS
from ..config import TrainConfig
from ..errors import CheckpointError, SettingError
from ..losses import ContrastiveLoss
from ..models import freeze
from ..models.blocks import check_width
from ..project import home

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Networks:
    """What one run holds: `main` is trained; expert judges; discriminator and contrast learn beside it, where used."""

    main: torch.nn.Module
    expert: torch.nn.Module | None = None
    discriminator: torch.nn.Module | None = None
    contrast: ContrastiveLoss | None = None

    def parts(self) -> dict[str, torch.nn.Module]:
        """The networks that there are, by name."""
        return {name: network for name, network in vars(self).items() if network is not None}


def open_network(kind: str, source: str, width: float):
    """A network of a kind ("generator", "expert", "discriminator") with its first weights.

    source: "scratch", "embedded", the short name of published weights (fetched to data/weights), or a path.
    Raises CheckpointError for weights that are missing, damaged or of another width.
    """
    width = check_width(width)
    if source == "scratch":
        network = KINDS[kind](width)
        if kind == "discriminator":
            wake(network)
        return network
    if source == "embedded":
        return checkpoints.load(checkpoints.embedded(kind), kind, width=width)
    if source in checkpoints.published():
        return checkpoints.load(checkpoints.fetch(source, home() / "data" / "weights"), kind, width=width)
    if not Path(source).is_file():
        names = ", ".join(checkpoints.published())
        raise CheckpointError(f"no weights {source!r}: give 'scratch', 'embedded', a path to a file, or one of {names}")
    return checkpoints.load(source, kind, width=width)


def build_networks(settings: TrainConfig) -> Networks:
    """All networks of a run on the CPU; from scratch they depend on settings.seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        networks = Networks(open_network(settings.network, settings.start, settings.width))
        if settings.network == "expert":
            networks.contrast = ContrastiveLoss() if settings.expert_loss == "contrastive" else None
        else:
            if settings.sync_weight:
                networks.expert = freeze(open_network("expert", settings.expert, settings.width))
                networks.expert.train(settings.expert_mode == "train")
            if settings.disc_weight:
                networks.discriminator = open_network("discriminator", settings.discriminator, settings.width)
    return networks


def first_weights(settings: TrainConfig, networks: Networks) -> dict[str, str]:
    """Which weights a run begins with, but for those from scratch: role -> 12 digits of their sha256."""
    sources = {"main": settings.start, "expert": settings.expert, "discriminator": settings.discriminator}
    found = {}
    for role, network in networks.parts().items():
        if sources.get(role, "scratch") != "scratch":
            digest = hashlib.sha256()
            for tensor in network.state_dict().values():
                digest.update(tensor.numpy().tobytes())
            found[role] = digest.hexdigest()[:12]
    return found


def optimisers(networks: Networks, settings: TrainConfig) -> dict[str, torch.optim.Optimizer]:
    """Adam for what learns: "main", and "discriminator" where there is one."""
    mine = list(networks.main.parameters()) + (list(networks.contrast.parameters()) if networks.contrast else [])
    found = {"main": torch.optim.Adam(mine, settings.learning_rate, tuple(settings.betas))}
    if networks.discriminator is not None:
        rest = networks.discriminator.parameters()
        found["discriminator"] = torch.optim.Adam(rest, settings.disc_learning_rate, tuple(settings.betas))
    return found


def choose_precision(setting: str, device: str) -> str:
    """What Accelerate calls it: "no", "bf16" or "fp16". auto: what this machine is fast in.

    A T4 has fp16 but no bf16; a CPU is faster in bf16 only where it has AMX (2x here), else slower.
    """
    if setting == "fp16" and device != "cuda":
        raise SettingError("precision fp16 needs a GPU: use auto, bf16 or fp32")
    if setting != "auto":
        return {"fp32": "no"}.get(setting, setting)
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return "bf16" if device == "cpu" and amx() else "no"


def make_accelerator(settings: TrainConfig) -> accelerate.Accelerator:
    """An Accelerator for this process; a notebook may make one after another with other precisions."""
    state = accelerate.state.AcceleratorState
    wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    cpu = wanted or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if not state._shared_state or accelerate.PartialState(cpu=cpu).num_processes == 1:
        state._reset_state(reset_partial_state=True)
    device = accelerate.PartialState(cpu=cpu).device.type
    return accelerate.Accelerator(
        cpu=cpu,
        mixed_precision=choose_precision(settings.precision, device),
        gradient_accumulation_steps=settings.accumulate,
    )


def wrap(network, accelerator, settings: TrainConfig):
    """A network that learns, on its device; gradients and batch norm are shared where there are several processes."""
    network = network.to(accelerator.device, memory_format=torch.channels_last).train()
    if accelerator.num_processes > 1:
        if accelerator.device.type == "cuda":
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        ids = [accelerator.device.index] if accelerator.device.type == "cuda" else None
        network = torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)
    return torch.compile(network) if settings.compile else network


def bare(network):
    """The course's network inside DistributedDataParallel and torch.compile."""
    while hasattr(network, "module") or hasattr(network, "_orig_mod"):
        network = getattr(network, "_orig_mod", None) or network.module
    return network


def learning_rate_factor(settings: TrainConfig, step: int) -> float:
    """What the rates are multiplied with at a 0-based step."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.decay:
        factor *= 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return factor


def set_norms(network, frozen: bool) -> None:
    """Train mode; with frozen, batch norms use their stored statistics and keep them."""
    network.train()
    if frozen:
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


def hear_like(generator, expert) -> None:
    """Give a generator the expert's ear: its sound encoder starts with the expert's weights, which know lips already.

    The expert's has one residual block more, at 256 channels, which is left out. Saves a generator that is trained from
    scratch most of the steps in which it learns nothing but blurred, closed mouths.
    """
    ear, source = generator.audio_encoder, list(expert.audio_encoder)
    for target, block in zip(ear, source[:11] + source[12:], strict=True):
        target.load_state_dict(block.state_dict())


def wake(discriminator) -> None:
    """First weights under which a signal survives all of the discriminator's layers, which have no norm between them.

    With torch's own a discriminator from scratch stood at "I do not know" for 175 steps (He et al., 2015).
    """
    for module in discriminator.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.01)
            torch.nn.init.zeros_(module.bias)
