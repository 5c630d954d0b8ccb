"""The generator: redraws the lower half of a face so that it says what is heard.

Source: Prajwal, Mukhopadhyay, Namboodiri, Jawahar, "A Lip Sync Expert Is All You Need for Speech to Lip Generation
In the Wild", ACM MM 2020.  Layer sizes follow the published checkpoints, so that these load by name.
"""

from __future__ import annotations

import torch
from torch import nn

from .blocks import (
    Conv,
    Up,
    audio_encoder,
    channels,
    check_width,
    merge_time,
    residuals,
    split_time,
)


class Wav2Lip(nn.Module):
    """Encoder-decoder with skips: a masked face, a reference face and 0.2 s of mel give a face.

    width: channel factor, 1.0 is the published size (36.3 M parameters), 0.25 the sample's (2.3 M).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        c16, c32, c64, c128, c256, c384, c512 = (channels(c, width) for c in (16, 32, 64, 128, 256, 384, 512))

        def down(n_in, n_out, repeats):
            return nn.Sequential(Conv(n_in, n_out, stride=2), *residuals(n_out, repeats))

        def up(n_in, n_skip, n_out, repeats=2, stride=2):
            return nn.Sequential(Up(n_in + n_skip, n_out, stride), *residuals(n_out, repeats))

        self.face_encoder_blocks = nn.ModuleList(
            [
                nn.Sequential(Conv(6, c16, kernel=7, padding=3)),  # 96
                down(c16, c32, 2),  # 48
                down(c32, c64, 3),  # 24
                down(c64, c128, 2),  # 12
                down(c128, c256, 2),  # 6
                down(c256, c512, 1),  # 3
                nn.Sequential(Conv(c512, c512, padding=0), Conv(c512, c512, kernel=1, padding=0)),  # 1
            ]
        )
        self.audio_encoder = audio_encoder(width, last_repeats=1)
        self.face_decoder_blocks = nn.ModuleList(
            [
                nn.Sequential(Conv(c512, c512, kernel=1, padding=0)),  # 1
                up(c512, c512, c512, repeats=1, stride=1),  # 3
                up(c512, c512, c512),  # 6
                up(c512, c256, c384),  # 12
                up(c384, c128, c256),  # 24
                up(c256, c64, c128),  # 48
                up(c128, c32, c64),  # 96
            ]
        )
        self.output_block = nn.Sequential(Conv(c64 + c16, c32), nn.Conv2d(c32, 3, kernel_size=1), nn.Sigmoid())

    def forward(self, mel, faces):
        """Draw faces.

        One frame per item: mel (B, 1, 80, 16) in [-4, 4], faces (B, 6, 96, 96) in [0, 1], BGR: channels 0-2 with
        rows 48.. zeroed, 3-5 the reference frame; returns (B, 3, 96, 96) in [0, 1].
        A window of frames per item: mel (B, T, 1, 80, 16), faces (B, 6, T, 96, 96); returns (B, 3, T, 96, 96).
        """
        batch, is_window = faces.shape[0], faces.dim() == 5
        if is_window:
            mel, faces = mel.transpose(0, 1).flatten(0, 1), merge_time(faces)
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        x = self.output_block(x)
        return split_time(x, batch) if is_window else x
