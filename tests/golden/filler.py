"""Fill a network with weights that depend on the names of its tensors only; see README.md."""

import math
import zlib

import numpy as np
import torch

TAME = {"output_block.1.weight": np.float32(2.0**-9)}


def fill(key, shape):
    """Return the numpy array that belongs under this key."""
    if key.endswith("num_batches_tracked"):
        return np.array(100, dtype=np.int64)
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = 0.5 + rng.random(shape)
    elif key.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2:
        values = rng.standard_normal(shape) * math.sqrt(2.0 / float(np.prod(shape[1:])))
    elif key.endswith("weight"):
        values = 0.8 + 0.4 * rng.random(shape)
    else:
        values = 0.05 * rng.standard_normal(shape)
    return values.astype(np.float32)


def load_into(module, tame=False):
    """Fill a torch module in place, keeping its dtype, and return it."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            values = fill(key, tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(np.asarray(values * TAME.get(key, np.float32(1)) if tame else values)))
    return module


def checksum(module):
    """Return crc32 over the float32 bytes of all tensors, in the order of their names."""
    crc = 0
    for _, tensor in sorted(module.state_dict().items()):
        crc = zlib.crc32(np.ascontiguousarray(tensor.numpy()).tobytes(), crc)
    return crc
