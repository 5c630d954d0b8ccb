"""The lip-sync expert: do these five lower faces belong to this 0.2 s of sound?

Source: Prajwal et al. 2020 (colour SyncNet), after Chung and Zisserman, "Out of time: automated lip sync in the wild",
ACCV workshops 2016.  Layer sizes follow the published checkpoint.
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from .blocks import Conv, audio_encoder, channels, check_width, residuals


class SyncNet(nn.Module):
    """Two towers, one for sound and one for faces, that meet in a space where cosine means "in sync".

    width: channel factor, 1.0 is the published size (16.4 M parameters).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        c32, c64, c128, c256, c512 = (channels(c, width) for c in (32, 64, 128, 256, 512))
        self.face_encoder = nn.Sequential(
            Conv(15, c32, kernel=7, padding=3),  # 48 x 96
            Conv(c32, c64, kernel=5, stride=(1, 2)),
            *residuals(c64, 2),  # 46 x 47
            Conv(c64, c128, stride=2),
            *residuals(c128, 3),  # 23 x 24
            Conv(c128, c256, stride=2),
            *residuals(c256, 2),  # 12 x 12
            Conv(c256, c512, stride=2),
            *residuals(c512, 2),  # 6 x 6
            Conv(c512, c512, stride=2),
            Conv(c512, c512, padding=0),
            Conv(c512, c512, kernel=1, padding=0),  # 3, 1, 1
        )
        self.audio_encoder = audio_encoder(width, last_repeats=2)

    def embed_audio(self, mel):
        """Embed (B, 1, 80, 16) mel in [-4, 4] as unit vectors (B, 512 * width), all entries >= 0."""
        return F.normalize(self.audio_encoder(mel).flatten(1), dim=1)

    def embed_face(self, faces):
        """Embed (B, 15, 48, 96) lower halves of five BGR frames in [0, 1] as unit vectors (B, 512 * width)."""
        return F.normalize(self.face_encoder(faces).flatten(1), dim=1)

    def forward(self, mel, faces):
        """Return (audio, face) unit vectors; a ReLU ends both towers, so their cosine lies in [0, 1].

        mel: (B, 1, 80, 16).  faces: (B, 15, 48, 96), see stack_lower_halves.
        """
        return self.embed_audio(mel), self.embed_face(faces)
