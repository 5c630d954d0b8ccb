"""How the embedded weights were made: actors, two experts, generator, discriminator (notebook 10)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import checkpoints, config
from ..config import TrainConfig, WindowsConfig
from ..parallel import Failure, map_items
from ..windows import ClipFaces
from .actors import INDEPENDENT_SEED, TEST_SEED, TRAIN_SEED, ActorClip, read_actor, write_actor
from .build import hear_like
from .loop import train

log = logging.getLogger(__name__)

WINDOWS = WindowsConfig(alignment="inference")
EXPERT = TrainConfig(
    network="expert",
    start="scratch",
    expert_loss="contrastive",
    steps=4000,
    batch_size=40,
    windows_per_clip=10,
    sync_weight=0.0,
    learning_rate=1e-3,
    warmup_steps=100,
    decay=True,
    vary=True,
    evaluate_every=500,
    save_every=500,
)
#: First what a face looks like: single frames, the mouth before the cheeks, nobody who judges.
GENERATOR = TrainConfig(
    start="scratch",
    steps=12_000,
    batch_size=16,
    frames=1,
    sync_weight=0.0,
    mouth_weight=5.0,
    learning_rate=1e-3,
    warmup_steps=200,
    decay=True,
    vary=True,
    evaluate_every=500,
    save_every=500,
    sample_every=500,
)
#: Then lips that an expert believes and a discriminator finds sharp, on windows.
TOGETHER = config.override(
    GENERATOR,
    frames=5,
    batch_size=4,
    sync_weight=0.02,
    disc_weight=0.01,
    learning_rate=2e-4,
    betas=(0.5, 0.999),
    freeze_norm=True,
)
#: Training weights further, as the embedded ones were: the rate starts lower.
EXPERT_FURTHER = config.override(EXPERT, learning_rate=6e-4)
GENERATOR_FURTHER = config.override(GENERATOR, learning_rate=3e-4)


@dataclass(frozen=True)
class RecipeSize:
    """How much of everything: actors and seconds of speech each, and steps."""

    actors: int = 148
    independent_actors: int = 84
    test_actors: int = 10
    seconds: float = 14.0
    expert_steps: int = 4000
    generator_steps: int = 12_000
    disc_steps: int = 500
    together_steps: int = 2400

    def scaled(self, **changes) -> RecipeSize:
        """A copy with other numbers; None keeps one."""
        return config.override(self, **changes)


SHORT = RecipeSize(
    actors=3,
    independent_actors=2,
    test_actors=1,
    seconds=6.0,
    expert_steps=30,
    generator_steps=20,
    disc_steps=10,
    together_steps=10,
)


def make_actors(folder: Path, size: RecipeSize, scheduler: str = "processes") -> dict[str, list[ActorClip]]:
    """Render all actors that are not there yet: {"train", "independent", "test"} -> clips."""
    wanted = {
        "train": range(TRAIN_SEED, TRAIN_SEED + size.actors),
        "test": range(TEST_SEED, TEST_SEED + size.test_actors),
        "independent": range(INDEPENDENT_SEED, INDEPENDENT_SEED + size.independent_actors),
    }
    seeds = [(folder, seed, size.seconds) for group in wanted.values() for seed in group]
    for item, result in map_items(_write, seeds, scheduler=scheduler, desc="actors", unit="actor"):
        if isinstance(result, Failure):
            raise RuntimeError(f"actor {item[1]}: {result.error}")
    return {name: [clip for seed in group for clip in read_actor(folder / str(seed))] for name, group in wanted.items()}


def _write(item):
    return write_actor(*item)


def with_test(clips: list[ActorClip], test: list[ActorClip]) -> list[ClipFaces]:
    """Training clips of some actors, validation clips of others."""
    return [c.faces for c in clips] + [dataclasses.replace(c.faces, split="val") for c in test]


def make_expert(
    clips: list[ClipFaces], run: Path, size: RecipeSize, seed: int, start: str = "scratch", live: bool = True
):
    """Train an expert from scratch, or further from `start` (as TrainConfig.start)."""
    steps = size.expert_steps
    settings = config.override(
        EXPERT if start == "scratch" else EXPERT_FURTHER,
        start=start,
        steps=steps,
        seed=seed,
        warmup_steps=min(100, max(steps // 10, 1)),
        evaluate_every=max(steps // 8, 1),
        save_every=max(steps // 8, 1),
    )
    return train(settings, clips, run, windows=WINDOWS, live=live)


def make_generator(
    clips: list[ClipFaces],
    expert: Path,
    run: Path,
    size: RecipeSize,
    seed: int,
    start: str = "scratch",
    live: bool = True,
):
    """Train a generator for likeness alone: from scratch with the expert's ear, or further from `start`."""
    settings, steps = GENERATOR_FURTHER, size.generator_steps
    if start == "scratch":
        settings, start = GENERATOR, str(_with_ear(expert, run / "first.safetensors", seed))
    settings = config.override(settings, start=start, warmup_steps=min(200, max(steps // 10, 1)))
    return _train(settings, clips, run, steps, seed, live)


def _train(settings: TrainConfig, clips, run, steps: int, seed: int, live: bool):
    often = max(steps // 8, 1)
    settings = config.override(
        settings,
        steps=steps,
        seed=seed,
        min_expert_accuracy=0.0,
        evaluate_every=often,
        save_every=often,
        sample_every=often,
    )
    return train(settings, clips, run, windows=WINDOWS, live=live, check=False)  # a toy judge may guess


def _with_ear(expert: Path, path: Path, seed: int) -> Path:
    """A new generator whose sound encoder is a copy of the expert's, unless `path` has it already."""
    if not path.is_file():
        torch.manual_seed(seed)
        network = checkpoints.KINDS["generator"](GENERATOR.width)
        hear_like(network, checkpoints.load(expert, "expert"))
        checkpoints.export(path, network, mel_alignment=WINDOWS.alignment)
    return path


def make_discriminator(clips: list[ClipFaces], generator: Path, run: Path, size: RecipeSize, seed: int, live=True):
    """Train a discriminator against a generator that can paint, and learns on very slowly; (result, its weights)."""
    settings = config.override(
        TOGETHER,
        start=str(generator),
        discriminator="scratch",
        sync_weight=0.0,
        batch_size=8,
        learning_rate=1e-6,
        disc_learning_rate=3e-4,
        decay=False,
        warmup_steps=0,
    )
    result = _train(settings, clips, run, size.disc_steps, seed, live)
    return result, _discriminator_of(result)


def make_together(
    clips: list[ClipFaces],
    generator: Path,
    discriminator: Path,
    expert: Path,
    run: Path,
    size: RecipeSize,
    seed: int,
    live: bool = True,
):
    """Train a generator for likeness, sync and sharpness, against a discriminator; (result, the latter's weights)."""
    settings = config.override(
        TOGETHER,
        start=str(generator),
        discriminator=str(discriminator),
        expert=str(expert),
        warmup_steps=min(50, max(size.together_steps // 10, 1)),
    )
    result = _train(settings, clips, run, size.together_steps, seed, live)
    return result, _discriminator_of(result)


def _discriminator_of(result) -> Path:
    network = checkpoints.KINDS["discriminator"](TOGETHER.width)
    network.load_state_dict(checkpoints.read(result.weights, "generator").state["networks"]["discriminator"])
    return checkpoints.save(result.run / "discriminator.pt", network, step=result.step)


def export_all(files: dict[str, tuple[Path, str]], folder: Path, **facts) -> dict[str, int]:
    """Write float16 safetensors; files: name -> (checkpoint, kind). Returns bytes by name."""
    sizes = {}
    for name, (path, kind) in files.items():
        network = checkpoints.load(path, kind)
        out = checkpoints.export(
            Path(folder) / f"{name}.safetensors", network, mel_alignment=WINDOWS.alignment, **facts
        )
        sizes[name] = out.stat().st_size
    return sizes


def opening_correlations(generator, clips: list[ActorClip], opening_of: Callable | None = None) -> tuple[float, float]:
    """How well the measured mouth opening follows the true one: (generated faces, true pictures), mean over clips."""
    from .. import metrics
    from .compare import mouth_openings, redraw

    measure = opening_of or mouth_openings
    pairs = [
        (
            metrics.correlation(measure(redraw(generator, c.faces)), c.opening),
            metrics.correlation(measure(np.asarray(c.faces.faces)), c.opening),
        )
        for c in clips
    ]
    return tuple(float(v) for v in np.nanmean(np.array(pairs), axis=0))
