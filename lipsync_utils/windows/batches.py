"""Windows as tensors, in an order that depends on the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .. import audio
from ..config import WindowsConfig
from ..errors import DataError
from .index import WINDOW, WindowIndex

MOVE_PX = 3  # how far a varied window is moved at most


class Windows(torch.utils.data.Dataset):
    """The windows of an index as tensors. Item (index, epoch) is always the same for the same seed.

    faces, wrong: uint8 (3, 5, 96, 96) BGR: the window, and another one of the same clip (reference and false match).
    mels: float32 (5, 1, 80, 16), one per frame; sync_mel: (1, 80, 16); label: 1 if the expert sees the right faces.
    item: (clip, frame) of the index, to name it in messages. vary: both are mirrored, moved and lit at random, alike.
    """

    def __init__(self, index: WindowIndex, settings: WindowsConfig, vary: bool = False):
        self.index, self.settings, self.vary = index, settings, vary
        bounds = np.searchsorted(index.items[:, 0], np.arange(len(index.clips) + 1))
        self._frames = [index.items[a:b, 1] for a, b in zip(bounds, bounds[1:])]

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        """key: index, or (index, epoch): another epoch draws another reference."""
        number, epoch = key if isinstance(key, tuple) else (key, 0)
        clip_number, frame = (int(v) for v in self.index.items[number])
        rng = np.random.default_rng((self.settings.seed, epoch, number))
        clip, wrong = self.index.clips[clip_number], self._other(clip_number, frame, rng)
        label, look = rng.random() < 0.5, Look.at_random(rng) if self.vary else None
        sync, starts = audio.training_window_starts(frame, clip.mel.shape[1], self.settings.alignment)
        return {
            "faces": _faces(clip, frame, look),
            "wrong": _faces(clip, wrong, look),
            "mels": torch.from_numpy(np.stack([audio.mel_window(clip.mel, s) for s in starts])[:, None]),
            "sync_mel": torch.from_numpy(audio.mel_window(clip.mel, sync)[None]),
            "label": torch.tensor(float(label)),
            "item": torch.tensor([clip_number, frame]),
        }

    def _other(self, clip_number, frame, rng):
        frames = self._frames[clip_number]
        far = frames[np.abs(frames - frame) >= self.settings.min_distance]
        return int(far[rng.integers(len(far))])

    def names(self, items) -> list[str]:
        """What a batch's "item" tensor (B, 2) stands for: "clip_id @ frame"."""
        return [f"{self.index.clips[int(c)].clip_id} @ {int(f)}" for c, f in items]


@dataclass(frozen=True)
class Look:
    """How a window is varied. flip: left to right; down, right: moved, pixels; light: uint8 (256, 3), new values."""

    flip: bool
    down: int
    right: int
    light: np.ndarray

    @classmethod
    def at_random(cls, rng) -> Look:
        """Half are mirrored; up to 3 px off; a quarter brighter or darker, a fifth in each colour."""
        gain = rng.uniform(0.75, 1.25) + rng.uniform(-0.2, 0.2, 3)
        offset = rng.uniform(-20, 20) + rng.uniform(-8, 8, 3)
        light = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
        return cls(rng.random() < 0.5, *(int(v) for v in rng.integers(-MOVE_PX, MOVE_PX + 1, 2)), light)

    def apply(self, window: np.ndarray) -> np.ndarray:
        """window: uint8 (frames, height, width, 3); returns the varied one."""
        frames, height, width, _ = window.shape
        if self.flip:
            window = window[:, :, ::-1]
        padded = np.pad(window, ((0, 0), (MOVE_PX, MOVE_PX), (MOVE_PX, MOVE_PX), (0, 0)), "edge")
        top, left = MOVE_PX - self.down, MOVE_PX - self.right
        moved = padded[:, top : top + height, left : left + width].reshape(frames * height, width, 3)
        return cv2.LUT(moved, self.light[None]).reshape(frames, height, width, 3)


def _faces(clip, frame, look):
    window = clip.faces[frame : frame + WINDOW]
    if look:
        window = look.apply(window)
    return torch.from_numpy(np.ascontiguousarray(window.transpose(3, 0, 1, 2)))


def order(index: WindowIndex, epoch: int, seed: int, windows_per_clip: int = 1) -> np.ndarray:
    """The order in which an epoch goes through the windows: int64 (n,), a permutation.

    windows_per_clip: so many in a row come from one clip; what is left over of a clip is then not seen in this epoch.
    """
    rng = np.random.default_rng((seed, epoch, 77))
    shuffled = rng.permutation(len(index))
    if windows_per_clip == 1:
        return shuffled
    by_clip = shuffled[np.argsort(index.items[shuffled, 0], kind="stable")]
    bounds = np.flatnonzero(np.diff(index.items[by_clip, 0], prepend=-1, append=-1))
    groups = [
        by_clip[a : a + (b - a) // windows_per_clip * windows_per_clip].reshape(-1, windows_per_clip)
        for a, b in zip(bounds, bounds[1:])
    ]
    groups = np.concatenate(groups)
    if not len(groups):
        raise DataError(f"no clip has {windows_per_clip} usable windows: lower windows_per_clip")
    return groups[rng.permutation(len(groups))].ravel()


class StepBatches(torch.utils.data.Sampler):
    """Batches of keys (index, epoch) from one step on: epoch after epoch without a short batch, each window once.

    first, last: steps. rank, world: this process's share of every batch of world * batch_size windows. What a step
    sees depends on its number alone, so a resumed run continues exactly.
    """

    def __init__(self, index, settings: WindowsConfig, batch_size, first, last, *, windows_per_clip=1, rank=0, world=1):
        super().__init__()
        self.index, self.settings, self.batch_size, self.per_clip = index, settings, batch_size, windows_per_clip
        self.first, self.last, self.rank, self.world = first, last, rank, world
        self._orders = {}

    def __len__(self):
        return self.last - self.first

    def __iter__(self):
        whole = self.batch_size * self.world
        for step in range(self.first, self.last):
            start = step * whole + self.rank * self.batch_size
            yield [self._key(position) for position in range(start, start + self.batch_size)]

    def _key(self, position):
        # Every epoch has the same length: the leftovers of windows_per_clip depend on the clips alone.
        first = self._order(0)
        epoch, place = divmod(position, len(first))
        return int(self._order(epoch)[place]), epoch

    def _order(self, epoch):
        if epoch not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k in (0, epoch - 1)}
            self._orders[epoch] = order(self.index, epoch, self.settings.seed, self.per_clip)
        return self._orders[epoch]
