"""The network behind LSE-D and LSE-C: SyncNet of the Visual Geometry Group, University of Oxford.

Source: Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016.  Layer sizes follow the
published weights (syncnet_v2); the embeddings are not normalised.
"""

from torch import nn

from .networks import channels, check_width


class EvaluationSyncNet(nn.Module):
    """Two towers, sound as MFCC and five large frames, compared by euclidean distance.

    width: channel factor, 1.0 is the published size (13.6 M parameters); others serve quick tests.
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        self.width = width = check_width(width)
        c64, c96, c192, c256, c384, c512, c1024 = (channels(c, width) for c in (64, 96, 192, 256, 384, 512, 1024))

        def flat(n_in, n_out, kernel=3, padding=1):
            return [nn.Conv2d(n_in, n_out, kernel, padding=padding), nn.BatchNorm2d(n_out), nn.ReLU()]

        def deep(n_in, n_out, kernel=(1, 3, 3), stride=1, padding=(0, 1, 1)):
            return [nn.Conv3d(n_in, n_out, kernel, stride, padding), nn.BatchNorm3d(n_out), nn.ReLU()]

        def head():
            return nn.Sequential(nn.Linear(c512, c512), nn.BatchNorm1d(c512), nn.ReLU(), nn.Linear(c512, c1024))

        self.netcnnaud = nn.Sequential(
            *flat(1, c64),
            nn.Identity(),  # 13 x 20
            *flat(c64, c192),
            nn.MaxPool2d(3, (1, 2)),  # 11 x 9
            *flat(c192, c384),
            *flat(c384, c256),
            *flat(c256, c256),
            nn.MaxPool2d(3, 2),  # 5 x 4
            *flat(c256, c512, kernel=(5, 4), padding=0),  # 1 x 1
        )
        self.netfcaud = head()
        self.netfclip = head()
        self.netcnnlip = nn.Sequential(
            *deep(3, c96, (5, 7, 7), (1, 2, 2), 0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),  # 109, 54
            *deep(c96, c256, (1, 5, 5), (1, 2, 2)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),  # 26, 13
            *deep(c256, c256),
            *deep(c256, c256),
            *deep(c256, c256),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),  # 6
            *deep(c256, c512, (1, 6, 6), padding=0),  # 1
        )

    def embed_audio(self, mfcc):
        """Embed (B, 1, 13, 20) MFCC columns (0.2 s) as (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def embed_face(self, frames):
        """Embed (B, 3, 5, 224, 224) BGR frames in 0..255 (not scaled) as (B, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))
