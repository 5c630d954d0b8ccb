"""Weights on disk: load any known format, save our own so that a kill cannot spoil it, fetch the published ones.

A network is recognised by the names of its tensors and its width by their shapes, so no file name is trusted.
"""

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import safetensors.torch
import torch

from .. import __version__, models, project
from ..audio import ALIGNMENTS
from ..errors import CheckpointError, SettingError
from .formats import read_payload
from .registry import PublishedFile, fetch, is_published, published

log = logging.getLogger(__name__)

FORMAT = "lipsync_utils checkpoint 1"
KINDS = {
    "generator": models.Wav2Lip,
    "expert": models.SyncNet,
    "discriminator": models.VisualQualityDiscriminator,
    "evaluation": models.EvaluationSyncNet,
    "detector": models.S3FD,
    "reader": models.MouthReader,
}
FIXED = ("detector", "reader")  # have no width


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.  origin: "course" (ours), "published" (hash known) or "unknown"."""

    kind: str
    width: float
    weights: dict[str, torch.Tensor]
    origin: str
    optimizer: dict | None = None
    step: int = 0
    settings: dict = field(default_factory=dict)
    videos: tuple[str, ...] = ()  # ids of the videos it was trained on
    mel_alignment: str = "reference"
    state: dict = field(default_factory=dict)


def load(path, kind: str, *, width: float | None = None):
    """Load a network from any known format.

    path: published dictionary, bare state dict, with "module." prefix, TorchScript, safetensors, or our own.
    kind: of KINDS.  width: refuse every other; None: any.  Returns the network in float32 on the CPU, in eval mode.
    Raises CheckpointError naming what is wrong; warns about a file of unknown origin.
    """
    checkpoint = read(path, kind, mmap=True)
    if width is not None and checkpoint.width != models.networks.check_width(width):
        raise CheckpointError(
            f"{Path(path).name} holds a network of width {checkpoint.width:g}, wanted {width:g}: choose the weights or "
            "the preset that fit"
        )
    if bad := [key for key, tensor in checkpoint.weights.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path}: {bad[0]} holds values that are not numbers; its training had diverged")
    network = _build(kind, checkpoint.width)
    network.load_state_dict(checkpoint.weights)
    return network.eval()


def metadata(path) -> Checkpoint:
    """What is known of a weight file beside its weights: kind, width, mel_alignment, settings, steps, videos."""
    return dataclasses.replace(read(path, mmap=True), weights={}, optimizer=None, state={})


def read(path, kind: str | None = None, *, mmap: bool = False) -> Checkpoint:
    """Read everything that a weight file holds, checked; kind None accepts any known network.

    mmap leaves tensors on disk until used, for a look at a large file.  Raises CheckpointError.
    """
    path = Path(path)
    if kind not in (None, *KINDS):
        raise SettingError(f"no network kind {kind!r}: choose one of {', '.join(KINDS)}")
    payload = read_payload(path, mmap)
    weights = payload.get("state_dict", payload)
    if not isinstance(weights, dict) or not weights or not all(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{path.name} holds no weights: expected a state dict, or one under 'state_dict'")
    weights = {key.removeprefix("module."): tensor for key, tensor in weights.items()}
    kind, width = _kind_and_width(weights, kind, path)
    origin = "course" if payload.get("format") == FORMAT else "published" if is_published(path) else "unknown"
    if origin == "unknown":
        log.warning("%s is of unknown origin: it is not one of the published files and not made by this course", path)
    alignment, settings = payload.get("mel_alignment", "reference"), payload.get("settings") or {}
    if alignment not in ALIGNMENTS:
        raise CheckpointError(f"{path.name} names a mel alignment {alignment!r} that this version does not know")
    return Checkpoint(
        kind,
        width,
        weights,
        origin,
        optimizer=payload.get("optimizer"),
        step=payload.get("global_step") or 0,
        settings=json.loads(settings) if isinstance(settings, str) else settings,
        videos=tuple(payload.get("videos", ())),
        mel_alignment=alignment,
        state=payload.get("state", {}),
    )


def save(
    path, network, *, optimizer=None, step=0, epoch=0, settings=None, videos=(), mel_alignment="reference", state=None
) -> Path:
    """Write a checkpoint that a kill cannot spoil: the old file stays until the new one is complete on the disk.

    network: one of the course's, also inside DistributedDataParallel.  settings: a dictionary of plain values.
    videos: ids it was trained on.  state: what else an exact resume needs, tensors and plain values (a second network's
    state dict, random states, sync schedule).
    Its layout is a superset of the published one: other tools find "state_dict" in it.
    """
    payload = _facts(network, settings, mel_alignment) | {
        "state_dict": dict(models.bare(network).state_dict()),
        "optimizer": optimizer and optimizer.state_dict(),
        "global_step": step,
        "global_epoch": epoch,
        "videos": list(videos),
        "state": state or {},
    }
    with project.atomic_file(Path(path)) as temporary:
        torch.save(payload, temporary)
    return Path(path)


def export(path, network, *, mel_alignment="reference", **facts) -> Path:
    """Write weights alone as small safetensors: matrices in float16, vectors (norms, biases) in float32.

    facts: plain values for the file's metadata, for example steps, seed, metrics.
    """
    weights = models.bare(network).state_dict()
    tensors = {k: (t.half() if t.dim() >= 2 else t).contiguous().cpu() for k, t in weights.items()}
    if bad := [k for k, t in tensors.items() if not torch.isfinite(t).all()]:
        raise CheckpointError(f"{bad[0]} does not fit into float16 or is not a number: train longer, or with less rate")
    known = _facts(network, facts, mel_alignment)
    with project.atomic_file(Path(path)) as temporary:
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in known.items()}
        safetensors.torch.save_file(tensors, temporary, texts)
    return Path(path)


def _facts(network, settings, mel_alignment):
    """What every file of the course says about a network."""
    network = models.bare(network)
    return {
        "format": FORMAT,
        "kind": next(kind for kind, network_type in KINDS.items() if isinstance(network, network_type)),
        "width": getattr(network, "width", 1.0),
        "settings": settings or {},
        "package_version": __version__,
        "mel_alignment": mel_alignment,
    }


def embedded(name: str) -> Path:
    """Return the path of weights of the course: "generator", "expert", "discriminator", "judge", "reader", "english".

    The judge is a second expert, of another seed and other actors, that is never used as a loss.  "english" is a second
    generator, which heard English only: the study begins with it.
    """
    folder = Path(__file__).parents[1] / "weights"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.safetensors")) or "none (notebook 10 makes them)"
        raise CheckpointError(f"the course has no embedded weights called {name!r}; there are: {there}")
    return path


def locate(source, kind: str) -> Path:
    """Where weights lie. source: "embedded", "english", the short name of published ones, or a path.

    Published ones are fetched to data/weights; "english" is the generator that heard nothing else.
    A relative path counts from the project's folder. Raises CheckpointError for a file that is not there.
    """
    if source in ("embedded", "english"):
        return embedded(kind if source == "embedded" else source)
    if source in published():
        return fetch(source, project.home() / "data" / "weights")
    path = project.resolve(source)
    if not path.is_file():
        names = ", ".join(published())
        raise CheckpointError(
            f"no weights {str(source)!r}: there is no {path}; give a path, 'embedded', or one of {names}"
        )
    return path


def _kind_and_width(weights, kind, path):
    """What network these tensors are, by their names and shapes, or raise saying what the file is instead."""
    names = {k: _layout(k, 1.0).keys() for k in KINDS}
    found = next((k for k in KINDS if names[k] == weights.keys()), None)
    if found and kind not in (None, found):
        raise CheckpointError(f"{path.name} is the wrong network: it holds a {found}, wanted a {kind}")
    if not found:
        near = kind or min(KINDS, key=lambda k: len(names[k] ^ weights.keys()))
        missing, unknown = sorted(names[near] - weights.keys()), sorted(weights.keys() - names[near])
        words = f"{len(missing)} tensors missing {missing[:1]}, {len(unknown)} tensors unknown {unknown[:1]}"
        raise CheckpointError(f"{path.name} is the wrong network, not a {near}: {words}")
    width, widest = 1.0, models.networks.WIDEST
    if found not in FIXED:  # a tensor whose first side is WIDEST at width 1.0 tells it
        width = weights[next(k for k, s in _layout(found, 1.0).items() if s[:1] == (widest,))].shape[0] / widest
    for key, shape in _layout(found, width).items():
        if (got := tuple(weights[key].shape)) != shape:
            raise CheckpointError(f"{path.name}: {key} has shape {got}; a {found} of width {width:g} has {shape}")
    return found, width


def _build(kind, width):
    return KINDS[kind]() if kind in FIXED else KINDS[kind](width)


@lru_cache(maxsize=32)
def _layout(kind, width):
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in _build(kind, width).state_dict().items()}
