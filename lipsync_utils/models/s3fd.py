"""The S3FD face detector in the form whose weights Wav2Lip publishes.

Source: Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector", ICCV 2017; VGG-16 below, six detection heads.
"""

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

VGG = ((1, 3, 64, 2), (2, 64, 128, 2), (3, 128, 256, 3), (4, 256, 512, 3), (5, 512, 512, 3))  # stage, in, out, layers
HEADS = {"conv3_3_norm": 256, "conv4_3_norm": 512, "conv5_3_norm": 512, "fc7": 1024, "conv6_2": 512, "conv7_2": 256}
STRIDES_PX = (4, 8, 16, 32, 64, 128)
VARIANCES = (0.1, 0.2)
#: Means of blue, green and red, subtracted from red, green and blue: an oversight that the weights were used with.
MEANS = (104.0, 117.0, 123.0)


class ScaledNorm(nn.Module):
    """Divide each position by its length over the channels, then scale each channel by a learnt factor."""

    def __init__(self, n, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.full((n,), float(scale)))

    def forward(self, x):
        """(B, n, H, W) -> the same shape."""
        return x / (x.norm(dim=1, keepdim=True) + 1e-10) * self.weight[:, None, None]


class S3FD(nn.Module):
    """Face detector with anchors from 16 to 512 px."""

    def __init__(self):
        super().__init__()
        for stage, n_in, n_out, layers in VGG:
            for layer in range(layers):
                self.add_module(f"conv{stage}_{layer + 1}", nn.Conv2d(n_out if layer else n_in, n_out, 3, padding=1))
        self.fc6, self.fc7 = nn.Conv2d(512, 1024, 3, padding=3), nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, 1)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, 1)
        self.conv3_3_norm, self.conv4_3_norm = ScaledNorm(256, 10), ScaledNorm(512, 8)
        self.conv5_3_norm = ScaledNorm(512, 5)
        for name, n in HEADS.items():
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(n, 4 if name == "conv3_3_norm" else 2, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(n, 4, 3, padding=1))

    def forward(self, pictures):
        """Find candidates.

        pictures: (B, 3, H, W) RGB in 0..255 less MEANS.  Returns six pairs from fine to coarse: logits (B, 2, h, w)
        (background, face) and offsets (B, 4, h, w) (centre x, y, log width, height, relative to the anchor).
        """
        x, features, layer_of = pictures, {}, self.get_submodule
        for stage, _, _, layers in VGG:
            for layer in range(layers):
                x = F.relu(layer_of(f"conv{stage}_{layer + 1}")(x))
            if stage >= 3:
                features[f"conv{stage}_3_norm"] = layer_of(f"conv{stage}_3_norm")(x)
            x = F.max_pool2d(x, 2)
        x = features["fc7"] = F.relu(self.fc7(F.relu(self.fc6(x))))
        x = features["conv6_2"] = F.relu(self.conv6_2(F.relu(self.conv6_1(x))))
        features["conv7_2"] = F.relu(self.conv7_2(F.relu(self.conv7_1(x))))
        pairs = []
        for name in HEADS:
            logits = layer_of(f"{name}_mbox_conf")(features[name])
            if logits.shape[1] == 4:  # the finest level has three background logits; the largest counts
                logits = torch.cat([logits[:, :3].amax(1, keepdim=True), logits[:, 3:]], dim=1)
            pairs.append((logits, layer_of(f"{name}_mbox_loc")(features[name])))
        return pairs


def detect_faces(network, frame_bgr, min_score: float = 0.5) -> np.ndarray:
    """Find the faces of one picture.

    frame_bgr: (H, W, 3) uint8.  Returns float32 (n, 5): left, top, right, bottom in pixels, not clipped, and the score;
    best first.
    """
    weight = network.fc7.weight
    picture = torch.from_numpy(np.ascontiguousarray(frame_bgr[:, :, ::-1])).to(weight.device, weight.dtype)
    picture = (picture - torch.tensor(MEANS, device=weight.device, dtype=weight.dtype)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        candidates = [_level(*pair, stride) for pair, stride in zip(network(picture), STRIDES_PX)]
    rows = torch.cat(candidates).float().cpu().numpy()
    rows = rows[suppress_overlaps(rows)]
    return rows[rows[:, 4] > min_score]


def _level(logits, offsets, stride_px, floor=0.05):
    """Turn one level's candidates above a floor into rows of left, top, right, bottom, score."""
    score = logits[0].softmax(0)[1]
    y, x = torch.nonzero(score > floor, as_tuple=True)
    anchor = torch.stack([x, y], 1) * stride_px + stride_px / 2
    offset = offsets[0, :, y, x].T
    centre = anchor + offset[:, :2] * VARIANCES[0] * 4 * stride_px
    size = 4 * stride_px * torch.exp(offset[:, 2:] * VARIANCES[1])
    return torch.cat([centre - size / 2, centre + size / 2, score[y, x][:, None]], dim=1)


def suppress_overlaps(rows, max_iou: float = 0.3) -> np.ndarray:
    """Return the indices to keep, best first, of (n, 5) rows: whoever overlaps a better box by more than max_iou goes.

    Sides count inclusive pixels (+1), as in the reference.
    """
    boxes = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2] + 1])
    return np.array(cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.0, max_iou), int)
