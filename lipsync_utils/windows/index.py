"""Which windows of some clips can be used, and why the others cannot."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .. import audio
from ..config import WindowsConfig, settings_hash
from ..errors import DataError
from .clips import ClipFaces

WINDOW = audio.FRAMES_PER_WINDOW
MIN_FRAMES = 16  # a shorter clip is not used, as in the reference


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """All usable windows of some clips. items: int32 (n, 2), clip and first frame; unusable: windows by reason;
    left_out: clips without any usable window, with the reason."""

    clips: list[ClipFaces]
    items: np.ndarray
    unusable: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self):
        return len(self.items)

    @property
    def fingerprint(self) -> str:
        """A hash of what is in the index: clips, their lengths, windows."""
        facts = [(c.clip_id, len(c.present), c.mel.shape[1]) for c in self.clips]
        return settings_hash(facts, self.items.tolist())


def index_windows(clips: list[ClipFaces], settings: WindowsConfig, split: str | None = None) -> WindowIndex:
    """List the windows that can be used: five frames with a face, complete sound, and a second window to refer to.

    split: "train" or "val", None: all clips. Raises DataError naming clips whose sound and picture differ in length
    (the sign of another frame rate), and where nothing is left.
    """
    clips = [c for c in clips if split is None or c.split == split]
    if not clips:
        raise DataError(f"the list of {split or 'all'} clips is empty: run notebook 04, or choose another split")
    drifting = [c for c in clips if abs(c.drift_s) > settings.max_drift_s]
    if drifting:
        words = "; ".join(
            f"{c.clip_id}: {len(c.present)} frames, sound of {(c.mel.shape[1] - 1) / 80:.2f} s" for c in drifting[:10]
        )
        raise DataError(
            f"{len(drifting)} clips are not at 25 fps throughout ({words}). Mixed frame rates: run stage 02 again."
        )
    items, unusable, left_out = [], Counter(), {}
    for number, clip in enumerate(clips):
        good, reasons = usable_windows(clip, settings)
        unusable.update(reasons)
        if len(good):
            items.append(np.stack([np.full(len(good), number), good], 1))
        else:
            left_out[clip.clip_id] = max(reasons, key=reasons.get, default="too_short")
    if not items:
        raise DataError(f"no usable window in {len(clips)} clips; reasons: {dict(unusable)}")
    return WindowIndex(clips, np.concatenate(items).astype(np.int32), dict(unusable), left_out)


def usable_windows(clip: ClipFaces, settings: WindowsConfig) -> tuple[np.ndarray, Counter]:
    """The first frames of a clip's usable windows, and how many are not usable for which reason."""
    n, reasons = len(clip.present), Counter()
    if n < MIN_FRAMES:
        return np.empty(0, int), Counter(too_short=max(n - WINDOW + 1, 1))
    starts = np.arange(n - WINDOW + 1)
    whole = np.lib.stride_tricks.sliding_window_view(clip.present, WINDOW).all(1)
    heard = np.array(
        [audio.training_window_starts(int(f), clip.mel.shape[1], settings.alignment) is not None for f in starts]
    )
    reasons["frame_without_face"] = int((~whole).sum())
    reasons["sound_incomplete"] = int((whole & ~heard).sum())
    good = starts[whole & heard]
    if len(good):  # far enough from the first or the last one: then a reference exists
        paired = np.maximum(np.abs(good - good[0]), np.abs(good - good[-1])) >= settings.min_distance
        reasons["no_reference"] = int((~paired).sum())
        good = good[paired]
    return good, +reasons


def spread(index: WindowIndex, n: int) -> list[int]:
    """n windows spread evenly over an index, always the same ones: for validation."""
    return np.unique(np.linspace(0, len(index) - 1, min(n, len(index))).round().astype(int)).tolist()


def some_clips(index: WindowIndex, n: int) -> list[ClipFaces]:
    """At most n clips of an index, spread over it so that they come from several videos; always the same ones."""
    return index.clips[:: max(len(index.clips) // n, 1)][:n]


def summary(index: WindowIndex) -> str:
    """One paragraph: how many windows of how many clips, and why others cannot be used."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(index.unusable.items())) or "none"
    return (
        f"{len(index)} windows in {len(index.clips) - len(index.left_out)} clips; unusable windows: {reasons}; "
        f"clips without any: {json.dumps(index.left_out) if index.left_out else 'none'}"
    )
