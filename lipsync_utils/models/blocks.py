"""Building blocks that the networks share, and the width rule.

Names of the parts (`conv_block.0`, `conv_block.1`) follow the published checkpoints: a block's weights load by name.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import SettingError

WIDEST = 512  # channels of the deepest layers at width 1.0


def check_width(width: float) -> float:
    """Round a width to the nearest 1/512, so that a checkpoint tells it.  Raises SettingError outside (0, 4]."""
    if not 0 < width <= 4:
        raise SettingError(f"width must be in (0, 4], got {width}: 1.0 is the published size, 0.25 the sample's")
    return max(1, round(WIDEST * width)) / WIDEST


def channels(count: int, width: float) -> int:
    """Scale a published channel count by the width; at least one channel is left."""
    return max(1, round(count * width))


class Conv(nn.Module):
    """Convolution, batch norm, (+ input), ReLU: the addition comes before the ReLU."""

    def __init__(self, n_in, n_out, kernel=3, stride=1, padding=1, residual=False):
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding), nn.BatchNorm2d(n_out))
        self.residual = residual

    def forward(self, x):
        """(B, n_in, H, W) -> (B, n_out, H', W')."""
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


class Up(nn.Module):
    """Transposed convolution, batch norm, ReLU; stride 2 doubles the size, stride 1 makes 3x3 of 1x1."""

    def __init__(self, n_in, n_out, stride=2):
        super().__init__()
        padding = stride - 1
        conv = nn.ConvTranspose2d(n_in, n_out, 3, stride, padding, output_padding=padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, x):
        """(B, n_in, H, W) -> (B, n_out, H', W')."""
        return torch.relu(self.conv_block(x))


class Plain(nn.Module):
    """Convolution and leaky ReLU (slope 0.01), no norm: the discriminator's block."""

    def __init__(self, n_in, n_out, kernel=3, stride=1, padding=1):
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding))

    def forward(self, x):
        """(B, n_in, H, W) -> (B, n_out, H', W')."""
        return nn.functional.leaky_relu(self.conv_block(x), 0.01)


def residuals(n, repeats):
    """Make `repeats` residual 3x3 blocks that keep n channels."""
    return [Conv(n, n, residual=True) for _ in range(repeats)]


def audio_encoder(width, last_repeats):
    """Make the mel tower: (B, 1, 80, 16) -> (B, 512 * width, 1, 1).  last_repeats: residual blocks at 256 channels."""
    c32, c64, c128, c256, c512 = (channels(c, width) for c in (32, 64, 128, 256, 512))
    return nn.Sequential(
        Conv(1, c32),
        *residuals(c32, 2),
        Conv(c32, c64, stride=(3, 1)),
        *residuals(c64, 2),
        Conv(c64, c128, stride=3),
        *residuals(c128, 2),
        Conv(c128, c256, stride=(3, 2)),
        *residuals(c256, last_repeats),
        Conv(c256, c512, padding=0),
        Conv(c512, c512, kernel=1, padding=0),
    )


def merge_time(x):
    """Put the time axis of (B, C, T, H, W) into the batch, time first: (T * B, C, H, W)."""
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


def split_time(x, batch):
    """Undo merge_time: (T * B, C, H, W) -> (B, C, T, H, W)."""
    return x.unflatten(0, (-1, batch)).permute(1, 2, 0, 3, 4)


def lower_half(faces):
    """Keep the rows from the middle down, where the mouth is; works on any (..., H, W)."""
    return faces[..., faces.shape[-2] // 2 :, :]


def stack_lower_halves(faces):
    """Make the expert's picture input of five faces.

    faces: (B, 3, 5, 96, 96) BGR in [0, 1].  Returns (B, 15, 48, 96): frame 0 BGR, frame 1 BGR, ...
    """
    return lower_half(faces).transpose(1, 2).flatten(1, 2)


def bare(network):
    """The course's network inside DistributedDataParallel, DataParallel and torch.compile; None stays None."""
    while hasattr(network, "module") or hasattr(network, "_orig_mod"):
        network = getattr(network, "_orig_mod", None) or network.module
    return network


def freeze(network):
    """Make a network a judge only: eval mode (fixed batch-norm statistics) and no gradients for its own weights."""
    return network.eval().requires_grad_(False)
