"""The generator, the expert, the discriminator and the reader of mouths, their building blocks, and the width rule.

Source: Prajwal, Mukhopadhyay, Namboodiri, Jawahar, "A Lip Sync Expert Is All You Need for Speech to Lip Generation
In the Wild", ACM MM 2020; the expert after Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV
workshops 2016. Layer sizes and names of the parts (`conv_block.0`) follow the published checkpoints, so that these load
by name.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

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


class Block(nn.Module):
    """Convolution, batch norm, (+ input), ReLU: the addition comes before the ReLU.

    norm=False: convolution and leaky ReLU (slope 0.01) alone, the discriminator's block.
    """

    def __init__(self, conv, residual=False, norm=True):
        super().__init__()
        self.conv_block = nn.Sequential(conv, *[nn.BatchNorm2d(conv.out_channels)] * norm)
        self.residual, self.norm = residual, norm

    def forward(self, x):
        """(B, n_in, H, W) -> (B, n_out, H', W'). What need not be kept for the gradient is overwritten."""
        if not self.norm:
            return F.leaky_relu_(self.conv_block(x), 0.01)
        conv, norm = self.conv_block
        y = fixed_norm(conv, norm, x) if self.training and not norm.training else norm(conv(x))
        return torch.relu_(y.add_(x) if self.residual else y)


def fixed_norm(conv, norm, x):
    """Train through a batch norm that keeps its statistics as one convolution: two passes over the pictures less."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    filters = conv.weight * (scale[:, None, None] if conv.transposed else scale[:, None, None, None])
    bias = norm.bias + (conv.bias - norm.running_mean) * scale
    return torch.func.functional_call(conv, {"weight": filters, "bias": bias}, x)


def residuals(n, repeats):
    """Make `repeats` residual 3x3 blocks that keep n channels."""
    return [Block(nn.Conv2d(n, n, 3, padding=1), residual=True) for _ in range(repeats)]


def tower(n_in, width, *layers, norm=True):
    """Make a row of blocks from n_in channels on.

    layers: channels at width 1.0, residual blocks after it, and where they differ from 3, 1 and 1: kernel, stride,
    padding.
    """
    blocks = []
    for count, repeats, *given in layers:
        n_out, how = channels(count, width), [*given, *(3, 1, 1)[len(given) :]]
        blocks += [Block(nn.Conv2d(n_in, n_out, *how), norm=norm), *residuals(n_out, repeats)]
        n_in = n_out
    return nn.Sequential(*blocks)


def towers(n_in, width, *rows, norm=True):
    """Make one tower after another; rows: the layers of each."""
    made = nn.ModuleList()
    for layers in rows:
        made.append(tower(n_in, width, *layers, norm=norm))
        n_in = channels(layers[-1][0], width)
    return made


def audio_encoder(width, last):
    """Make the mel tower: (B, 1, 80, 16) -> (B, 512 * width, 1, 1).  last: residual blocks at 256 channels."""
    wide = (32, 2), (64, 2, 3, (3, 1)), (128, 2, 3, 3), (256, last, 3, (3, 2))
    return tower(1, width, *wide, (512, 0, 3, 1, 0), (512, 0, 1, 1, 0))


def merge_time(x):
    """Put the time axis of (B, C, T, H, W) into the batch, time first: (T * B, C, H, W)."""
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


def lower_half(faces):
    """Keep the rows from the middle down, where the mouth is; works on any (..., H, W)."""
    return faces[..., faces.shape[-2] // 2 :, :]


def stack_lower_halves(faces):
    """Make the expert's picture input of five faces.

    faces: (B, 3, 5, 96, 96) BGR in [0, 1].  Returns (B, 15, 48, 96): frame 0 BGR, frame 1 BGR, ...
    """
    return lower_half(faces).transpose(1, 2).flatten(1, 2)


@contextmanager
def exact(*tensors):
    """Leave autocast and give the tensors in float32, or float64 where they are."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        yield [t if t.dtype == torch.float64 else t.float() for t in tensors]


def bce(probability, target):
    """Mean binary cross entropy; a probability that is NaN gives NaN instead of torch's error, to be handled."""
    return probability.mean() if probability.isnan().any() else F.binary_cross_entropy(probability, target)


def bare(network):
    """The course's network inside DistributedDataParallel or DataParallel."""
    return getattr(network, "module", network)


def freeze(network):
    """Make a network a judge only: eval mode (fixed batch-norm statistics) and no gradients for its own weights."""
    return network.eval().requires_grad_(False)


class Wav2Lip(nn.Module):
    """The generator: a masked face, a reference face and 0.2 s of mel give a face whose lower half says what is heard.

    width: channel factor, 1.0 is the published size (36.3 M parameters), 0.25 the sample's (2.3 M).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        self.face_encoder_blocks = towers(
            6,
            width,
            [(16, 0, 7, 1, 3)],  # 96
            [(32, 2, 3, 2)],  # 48
            [(64, 3, 3, 2)],  # 24
            [(128, 2, 3, 2)],  # 12
            [(256, 2, 3, 2)],  # 6
            [(512, 1, 3, 2)],  # 3
            [(512, 0, 3, 1, 0), (512, 0, 1, 1, 0)],  # 1
        )
        self.audio_encoder = audio_encoder(width, last=1)

        def up(n_in, n_skip, n_out, repeats=2, stride=2):  # stride 2 doubles the size, stride 1 makes 3x3 of 1x1
            n_in, n_skip, n_out = (channels(count, width) for count in (n_in, n_skip, n_out))
            conv = nn.ConvTranspose2d(n_in + n_skip, n_out, 3, stride, stride - 1, output_padding=stride - 1)
            return nn.Sequential(Block(conv), *residuals(n_out, repeats))

        self.face_decoder_blocks = nn.ModuleList(
            [
                tower(channels(512, width), width, (512, 0, 1, 1, 0)),  # 1
                up(512, 512, 512, repeats=1, stride=1),  # 3
                up(512, 512, 512),  # 6
                up(512, 256, 384),  # 12
                up(384, 128, 256),  # 24
                up(256, 64, 128),  # 48
                up(128, 32, 64),  # 96
            ]
        )
        c16, c32, c64 = (channels(count, width) for count in (16, 32, 64))
        last = Block(nn.Conv2d(c64 + c16, c32, 3, padding=1))
        self.output_block = nn.Sequential(last, nn.Conv2d(c32, 3, kernel_size=1), nn.Sigmoid())

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
        return x.unflatten(0, (-1, batch)).permute(1, 2, 0, 3, 4) if is_window else x


class SyncNet(nn.Module):
    """The expert: two towers, for sound and for faces, that meet in a space where cosine means "in sync".

    width: channel factor, 1.0 is the published size (16.4 M parameters).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        self.face_encoder = tower(
            15,
            width,
            (32, 0, 7, 1, 3),  # 48 x 96
            (64, 2, 5, (1, 2)),  # 46 x 47
            (128, 3, 3, 2),  # 23 x 24
            (256, 2, 3, 2),  # 12 x 12
            (512, 2, 3, 2),  # 6 x 6
            (512, 0, 3, 2),  # 3 x 3
            (512, 0, 3, 1, 0),  # 1
            (512, 0, 1, 1, 0),
        )
        self.audio_encoder = audio_encoder(width, last=2)

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


class VisualQualityDiscriminator(nn.Module):
    """Is this lower face a photograph or was it drawn? A plain stack of convolutions, without norm or dropout.

    width: channel factor, 1.0 is the published size (14.1 M parameters).
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        self.face_encoder_blocks = towers(
            3,
            width,
            [(32, 0, 7, 1, 3)],  # 48 x 96
            [(64, 0, 5, (1, 2), 2), (64, 0, 5, 1, 2)],  # 48 x 48
            [(128, 0, 5, 2, 2), (128, 0, 5, 1, 2)],  # 24
            [(256, 0, 5, 2, 2), (256, 0, 5, 1, 2)],  # 12
            [(512, 0, 3, 2), (512, 0)],  # 6
            [(512, 0, 3, 2), (512, 0)],  # 3
            [(512, 0, 3, 1, 0), (512, 0, 1, 1, 0)],  # 1
            norm=False,
        )
        self.binary_pred = nn.Sequential(nn.Conv2d(channels(512, width), 1, kernel_size=1), nn.Sigmoid())

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
        with exact(self(faces)) as (real,):
            return bce(real, torch.ones_like(real))


class MouthReader(nn.Module):
    """How far is this mouth open? Measures rendered faces, where landmarks fail; 95 k parameters, lower half only."""

    def __init__(self):
        super().__init__()
        # 24 x 48, 12 x 24, 6 x 12, 3 x 6
        self.encoder = tower(3, 1.0, (12, 0, 5, 2, 2), (24, 1, 3, 2), (48, 1, 3, 2), (48, 0, 3, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48 * 18, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, faces):
        """Read (B, 3, 96, 96) BGR in [0, 1]: the gap between the lips over the distance between the pupils, (B,)."""
        return self.head(self.encoder(lower_half(faces))).flatten()
