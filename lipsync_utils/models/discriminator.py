"""The visual-quality discriminator: is this lower face a photograph or was it drawn?

Source: Prajwal et al. 2020, section 3.4.  Layer sizes follow the published checkpoint.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .blocks import Plain, channels, check_width, lower_half, merge_time


class VisualQualityDiscriminator(nn.Module):
    """A plain stack of convolutions, without norm or dropout, that looks at the lower half only.

    width: channel factor, 1.0 is the published size (14.1 M parameters).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        c32, c64, c128, c256, c512 = (channels(c, width) for c in (32, 64, 128, 256, 512))

        def pair(n_in, n_out, kernel, stride):
            pad = kernel // 2
            return nn.Sequential(Plain(n_in, n_out, kernel, stride, pad), Plain(n_out, n_out, kernel, 1, pad))

        self.face_encoder_blocks = nn.ModuleList(
            [
                nn.Sequential(Plain(3, c32, 7, padding=3)),  # 48 x 96
                pair(c32, c64, 5, (1, 2)),  # 48 x 48
                pair(c64, c128, 5, 2),  # 24
                pair(c128, c256, 5, 2),  # 12
                pair(c256, c512, 3, 2),  # 6
                pair(c512, c512, 3, 2),  # 3
                nn.Sequential(Plain(c512, c512, 3, padding=0), Plain(c512, c512, 1, padding=0)),  # 1
            ]
        )
        self.binary_pred = nn.Sequential(nn.Conv2d(c512, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, faces):
        """Say how real each face looks.

        faces: (B, 3, T, 96, 96) or (B, 3, 96, 96), BGR in [0, 1]; rows 48.. are cut out here.
        Returns (T * B, 1) in [0, 1], time first: 1 means real.
        """
        x = lower_half(merge_time(faces) if faces.dim() == 5 else faces)
        for block in self.face_encoder_blocks:
            x = block(x)
        return self.binary_pred(x).flatten(1)

    def perceptual_loss(self, faces):
        """Return the generator's share: binary cross entropy of "these faces are real", mean over B * T, float32."""
        real = self(faces)
        real = real if real.dtype == torch.float64 else real.float()
        if real.isnan().any():
            return real.mean()  # NaN, for the caller to handle; torch would raise
        with torch.autocast(real.device.type, enabled=False):
            return F.binary_cross_entropy(real, torch.ones_like(real))
