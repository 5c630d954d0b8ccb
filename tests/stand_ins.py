"""Stand-ins of the published weight files: their format, keys and full size, but the embedded networks' abilities.

A small network becomes a wide one that computes the same: its channels come first, the others are dead. So every check
of a notebook can pass with files that nobody has to download. SITE lets the registry take them for the real ones.
"""

import hashlib
import json
from pathlib import Path

import torch

from lipsync_utils import checkpoints, models

KINDS = {
    "wav2lip_gan": ("generator", models.Wav2Lip),
    "lipsync_expert": ("expert", models.SyncNet),
    "visual_quality_disc": ("discriminator", models.VisualQualityDiscriminator),
}


def joints(small, wide) -> dict[str, tuple[int, int]]:
    """Where a layer's input is two tensors in a row: its weight's name -> length of the first one (small, wide)."""
    if not isinstance(small, models.Wav2Lip):
        return {}
    found = {}
    for k in range(1, len(small.face_decoder_blocks) + 1):
        name = f"face_decoder_blocks.{k}.0" if k < len(small.face_decoder_blocks) else "output_block.0"
        before = [n.face_decoder_blocks[k - 1][0].conv_block[0].weight for n in (small, wide)]
        side = 0 if k == 1 else 1  # a transposed convolution's weight is (in, out, ...)
        found[f"{name}.conv_block.0.weight"] = before[0].shape[side], before[1].shape[side]
    return found


def widen(small, wide):
    """Give `wide` the weights of `small` and zeros, so that both compute the same; returns it."""
    state, places = wide.state_dict(), joints(small, wide)
    for name, value in small.state_dict().items():
        target = state[name]
        if name.endswith("running_var"):
            target.fill_(1)
        elif target.is_floating_point():
            target.zero_()
        if name in places:
            axis = 0 if name.startswith("face_decoder") else 1
            first, at = places[name]
            parts = value.split([first, value.shape[axis] - first], dim=axis)
            for part, start in zip(parts, (0, at), strict=True):
                index = [slice(0, n) for n in part.shape]
                index[axis] = slice(start, start + part.shape[axis])
                target[tuple(index)] = part
        else:
            target[tuple(slice(0, n) for n in value.shape)] = value
    wide.load_state_dict(state)
    return wide.eval()


def write_stand_ins(folder: Path, width: float = 1.0) -> Path:
    """Write stand-ins of the published files into a folder, in the published format; returns the list for SITE."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {}
    for name, (kind, network) in KINDS.items():
        small = checkpoints.load(checkpoints.embedded(kind), kind)
        path = folder / checkpoints.published()[name].file
        state = {"module." + key: value for key, value in widen(small, network(width)).state_dict().items()}
        torch.save({"state_dict": state, "optimizer": None, "global_step": 1, "global_epoch": 1}, path)
        known[name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
    listed = folder / "stand_ins.json"
    listed.write_text(json.dumps(known))
    return listed


#: Text of a sitecustomize.py: notebook kernels take the stand-ins for the published files, and batches are small.
SITE = """
import sys
if any("ipykernel" in word for word in sys.orig_argv):
    import json, pathlib
    from dataclasses import replace
    import lipsync_utils.config as config
    import lipsync_utils.checkpoints.registry as registry

    for name, facts in json.loads(pathlib.Path({listed!r}).read_text()).items():
        registry.REGISTRY[name] = replace(registry.REGISTRY[name], **facts)
    article = config.PRESETS["article"]
    config.PRESETS["article"] = replace(article, windows=replace(article.windows, val_windows=2),
                                        expert=replace(article.expert, batch_size=2))
"""
