"""The network behind LSE-D and LSE-C: SyncNet of the Visual Geometry Group, University of Oxford.

Source: Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016.  Layer sizes follow the
published weights (syncnet_v2); the embeddings are not normalised.
"""

from torch import nn

from .networks import channels, check_width


def stack(kinds, n_in, width, *rows):
    """Make a row of convolutions, each with norm and ReLU; kinds: of both.

    rows: channels at width 1.0, kernel, stride and padding of a convolution, or a module that stands between.
    """
    made, (conv, norm) = [], kinds
    for row in rows:
        if isinstance(row, nn.Module):
            made.append(row)
        else:
            n_out = channels(row[0], width)
            made += [conv(n_in, n_out, *row[1:]), norm(n_out), nn.ReLU()]
            n_in = n_out
    return nn.Sequential(*made)


class EvaluationSyncNet(nn.Module):
    """Two towers, sound as MFCC and five large frames, compared by euclidean distance.

    width: channel factor, 1.0 is the published size (13.6 M parameters); others serve quick tests.
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        c512, c1024 = channels(512, width), channels(1024, width)

        def head():
            return nn.Sequential(nn.Linear(c512, c512), nn.BatchNorm1d(c512), nn.ReLU(), nn.Linear(c512, c1024))

        self.netcnnaud = stack(
            (nn.Conv2d, nn.BatchNorm2d),
            1,
            width,
            (64, 3, 1, 1),
            nn.Identity(),  # 13 x 20
            (192, 3, 1, 1),
            nn.MaxPool2d(3, (1, 2)),  # 11 x 9
            (384, 3, 1, 1),
            (256, 3, 1, 1),
            (256, 3, 1, 1),
            nn.MaxPool2d(3, 2),  # 5 x 4
            (512, (5, 4)),  # 1 x 1
        )
        self.netfcaud = head()
        self.netfclip = head()
        flat, halve = (1, 3, 3), (1, 2, 2)
        self.netcnnlip = stack(
            (nn.Conv3d, nn.BatchNorm3d),
            3,
            width,
            (96, (5, 7, 7), halve),
            nn.MaxPool3d(flat, halve),  # 109, 54
            (256, (1, 5, 5), halve, (0, 1, 1)),
            nn.MaxPool3d(flat, halve, (0, 1, 1)),  # 26, 13
            (256, flat, 1, (0, 1, 1)),
            (256, flat, 1, (0, 1, 1)),
            (256, flat, 1, (0, 1, 1)),
            nn.MaxPool3d(flat, halve),  # 6
            (512, (1, 6, 6)),  # 1
        )

    def embed_audio(self, mfcc):
        """Embed (B, 1, 13, 20) MFCC columns (0.2 s) as (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def embed_face(self, frames):
        """Embed (B, 3, 5, 224, 224) BGR frames in 0..255 (not scaled) as (B, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))
