"""Weights on disk: load any known format, save our own so that a kill cannot spoil it, fetch the published ones.

A network is recognised by the names of its tensors and its width by their shapes, so no file name is trusted.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from .. import __version__, models, project
from ..audio import ALIGNMENTS
from ..errors import CheckpointError, SettingError
from ..models.blocks import WIDEST
from .formats import read_payload
from .registry import PublishedFile, entry_of, fetch, published

__all__ = [
    "KINDS",
    "Checkpoint",
    "PublishedFile",
    "embedded",
    "export",
    "fetch",
    "load",
    "metadata",
    "published",
    "read",
    "save",
]

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
#: A tensor per network whose first side is 512 at width 1.0.
_WIDTH_KEYS = {
    "generator": "audio_encoder.12.conv_block.0.weight",
    "expert": "audio_encoder.13.conv_block.0.weight",
    "discriminator": "face_encoder_blocks.6.1.conv_block.0.weight",
    "evaluation": "netfcaud.0.weight",
}


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds.  origin: "course" (ours), "published" (hash known) or "unknown"."""

    kind: str
    width: float
    weights: dict[str, torch.Tensor]
    origin: str
    optimizer: dict | None = None
    step: int = 0
    epoch: int = 0
    settings: dict = field(default_factory=dict)
    package_version: str = ""
    data_fingerprint: str = ""
    videos: tuple[str, ...] = ()  # ids of the videos it was trained on
    mel_alignment: str = "reference"
    state: dict = field(default_factory=dict)


def load(path, kind: str, *, width: float | None = None):
    """Load a network from any known format.

    path: published dictionary, bare state dict, with "module." prefix, TorchScript, safetensors, or our own.
    kind: "generator", "expert", "discriminator", "evaluation" or "detector".  width: refuse every other; None: any.
    Returns the network in float32 on the CPU, in eval mode, with an attribute mel_alignment.  Raises CheckpointError
    naming what is wrong; warns about a file of unknown origin.
    """
    checkpoint = read(path, kind, mmap=True)
    if width is not None and checkpoint.width != width:
        raise CheckpointError(
            f"{Path(path).name} holds a network of width {checkpoint.width:g}, wanted {width:g}: choose the weights or "
            "the preset that fit"
        )
    network = _build(kind, checkpoint.width)
    network.load_state_dict(checkpoint.weights)
    network.mel_alignment = checkpoint.mel_alignment
    return network.eval()


def metadata(path) -> Checkpoint:
    """What is known of a weight file beside its weights: kind, width, mel_alignment, settings, steps, videos."""
    return dataclasses.replace(read(path, mmap=True), weights={}, optimizer=None, state={})


def read(path, kind: str | None = None, *, mmap: bool = False) -> Checkpoint:
    """Read everything that a weight file holds, checked; kind None accepts any known network.

    mmap leaves tensors on disk until used, for a look at a large file.  Raises CheckpointError.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise SettingError(f"no network kind {kind!r}: choose one of {', '.join(KINDS)}")
    payload = read_payload(path, mmap)
    weights = _weights_of(payload, path)
    found = _check_kind(weights, kind, path)
    width = _check_shapes(weights, found, path)
    is_ours = payload.get("format") == FORMAT
    origin = "course" if is_ours else "published" if entry_of(path, found) else "unknown"
    if origin == "unknown":
        log.warning("%s is of unknown origin: it is not one of the published files and not made by this course", path)
    alignment = str(payload.get("mel_alignment", "reference"))
    if alignment not in ALIGNMENTS:
        raise CheckpointError(f"{path.name} names a mel alignment {alignment!r} that this version does not know")
    return Checkpoint(
        kind=found,
        width=width,
        weights=weights,
        origin=origin,
        optimizer=payload.get("optimizer"),
        step=int(payload.get("global_step") or 0),
        epoch=int(payload.get("global_epoch") or 0),
        settings=_plain(payload.get("settings")),
        package_version=str(payload.get("package_version", "")),
        data_fingerprint=str(payload.get("data_fingerprint", "")),
        videos=tuple(payload.get("videos", ())),
        mel_alignment=alignment,
        state=payload.get("state") or {},
    )


def save(
    path,
    network,
    *,
    optimizer=None,
    step=0,
    epoch=0,
    settings=None,
    data_fingerprint="",
    videos=(),
    mel_alignment="reference",
    state=None,
) -> Path:
    """Write a checkpoint that a kill cannot spoil: the old file stays until the new one is complete on the disk.

    network: one of the course's, also inside DistributedDataParallel or torch.compile.  optimizer: it or its state.
    settings: dataclass or dictionary of plain values.  videos: ids it was trained on.  state: what else an exact
    resume needs, tensors and plain values (a second network's state dict, random states, sync schedule).
    Its layout is a superset of the published one: other tools find "state_dict" in it.
    """
    bare = _unwrap(network)
    payload = {
        "format": FORMAT,
        "kind": _kind_of(bare),
        "width": getattr(bare, "width", 1.0),
        "state_dict": dict(bare.state_dict()),
        "optimizer": _state_of(optimizer),
        "global_step": int(step),
        "global_epoch": int(epoch),
        "settings": _plain(settings),
        "package_version": __version__,
        "data_fingerprint": data_fingerprint,
        "videos": list(videos),
        "mel_alignment": mel_alignment,
        "state": state or {},
    }
    with project.atomic_file(Path(path)) as temporary:
        torch.save(payload, temporary)
    return Path(path)


def export(path, network, *, mel_alignment="reference", **facts) -> Path:
    """Write weights alone as small safetensors: matrices in float16, vectors (norms, biases) in float32.

    facts: plain values for the file's metadata, for example steps, seed, metrics.
    """
    from safetensors.torch import save_file

    bare = _unwrap(network)
    tensors = {k: (t.half() if t.dim() >= 2 else t).contiguous().cpu() for k, t in bare.state_dict().items()}
    if bad := [k for k, t in tensors.items() if not torch.isfinite(t).all()]:
        raise CheckpointError(f"{bad[0]} does not fit into float16 or is not a number: train longer, or with less rate")
    metadata = {
        "format": FORMAT,
        "kind": _kind_of(bare),
        "width": f"{getattr(bare, 'width', 1.0)}",
        "package_version": __version__,
        "mel_alignment": mel_alignment,
        "settings": json.dumps(_plain(facts)),
    }
    with project.atomic_file(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)
    return Path(path)


def embedded(name: str) -> Path:
    """Return the path of weights that come with the course: "generator", "expert", "discriminator" or "judge".

    The judge is a second expert, of another seed and other actors, that is never used as a loss.
    """
    folder = Path(__file__).parents[1] / "weights"
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.safetensors")) or "none (notebook 10 makes them)"
        raise CheckpointError(f"the course has no embedded weights called {name!r}; there are: {there}")
    return path


def locate(source, kind: str) -> Path:
    """Where weights lie. source: "embedded", the short name of published ones (fetched to data/weights), or a path.

    A relative path counts from the project's folder. Raises CheckpointError for a file that is not there.
    """
    if source == "embedded":
        return embedded(kind)
    if source in published():
        return fetch(source, project.home() / "data" / "weights")
    path = project.resolve(source)
    if not path.is_file():
        names = ", ".join(published())
        raise CheckpointError(
            f"no weights {str(source)!r}: there is no {path}; give a path, 'embedded', or one of {names}"
        )
    return path


def _weights_of(payload, path):
    """Find the state dict in a payload: names without wrapper prefixes, all values finite."""
    weights = payload.get("state_dict", payload)
    if not isinstance(weights, dict) or not weights or not all(torch.is_tensor(t) for t in weights.values()):
        raise CheckpointError(f"{path.name} holds no weights: expected a state dict, or one under 'state_dict'")
    clean = {}
    for key, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path.name}: {key} holds values that are not numbers; its training had diverged")
        clean[key.replace("module.", "").replace("_orig_mod.", "")] = tensor
    return clean


def _check_kind(weights, kind, path):
    """Return the kind whose tensor names these are, or raise saying what the file is instead."""
    found = next((k for k in KINDS if set(_layout(k, 1.0)) == set(weights)), None)
    if found is not None and kind in (None, found):
        return found
    if found is not None:
        raise CheckpointError(f"{path.name} is the wrong network: it holds a {found}, wanted a {kind}")
    near = kind or max(KINDS, key=lambda k: len(set(_layout(k, 1.0)) & set(weights)))
    wanted, got = set(_layout(near, 1.0)), set(weights)
    lists = [
        f"{len(names)} tensors {word} (first: {min(names)})"
        for names, word in ((wanted - got, "missing"), (got - wanted, "unknown"))
        if names
    ]
    raise CheckpointError(f"{path.name} is the wrong network, not a {near}: {', '.join(lists)}")


def _check_shapes(weights, kind, path):
    """Return the width that all shapes agree on, or raise naming the first tensor that disagrees."""
    width = weights[_WIDTH_KEYS[kind]].shape[0] / WIDEST if kind in _WIDTH_KEYS else 1.0
    for key, shape in _layout(kind, width).items():
        if tuple(weights[key].shape) != shape:
            got = tuple(weights[key].shape)
            raise CheckpointError(f"{path.name}: {key} has shape {got}; a {kind} of width {width:g} has {shape}")
    return width


@lru_cache(maxsize=32)
def _layout(kind, width):
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in _build(kind, width).state_dict().items()}


def _build(kind, width):
    return KINDS[kind](width) if kind in _WIDTH_KEYS else KINDS[kind]()


def _kind_of(network):
    for kind, network_type in KINDS.items():
        if isinstance(network, network_type):
            return kind
    raise SettingError(f"{type(network).__name__} is none of the course's networks")


def _unwrap(network):
    while not isinstance(network, tuple(KINDS.values())):
        inner = getattr(network, "module", None) or getattr(network, "_orig_mod", None)
        if inner is None:
            break
        network = inner
    return network


def _state_of(optimizer):
    return optimizer.state_dict() if hasattr(optimizer, "state_dict") else optimizer


def _plain(settings):
    """Turn settings (dataclass, dictionary, JSON text) into a dictionary of plain values, or raise SettingError."""
    if isinstance(settings, str):
        return json.loads(settings)
    if dataclasses.is_dataclass(settings):
        settings = dataclasses.asdict(settings)
    try:
        return json.loads(json.dumps(settings or {}))
    except TypeError as error:
        raise SettingError(f"settings in a checkpoint must be plain values: {error}") from error
