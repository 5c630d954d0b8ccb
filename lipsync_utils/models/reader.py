"""The reader of mouths: how far is this mouth open? The measure on rendered faces, where landmarks fail."""

from __future__ import annotations

from torch import nn

from .blocks import Conv, lower_half


class MouthReader(nn.Module):
    """A small regression on the lower half of a 96 x 96 face (95 k parameters)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            Conv(3, 12, kernel=5, stride=2, padding=2),  # 24 x 48
            Conv(12, 24, stride=2),
            Conv(24, 24, residual=True),  # 12 x 24
            Conv(24, 48, stride=2),
            Conv(48, 48, residual=True),  # 6 x 12
            Conv(48, 48, stride=2),  # 3 x 6
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48 * 18, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, faces):
        """Read (B, 3, 96, 96) BGR in [0, 1]: the gap between the lips over the distance between the pupils, (B,)."""
        return self.head(self.encoder(lower_half(faces))).flatten()
