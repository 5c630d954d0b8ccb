"""The traps of the published trainer as switches, one at a time, and a constant delay of the sound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..audio import COLUMNS_PER_S, FRAME_RATE, MEL_LIMIT
from ..windows import ClipFaces

COLUMNS_PER_FRAME = COLUMNS_PER_S / FRAME_RATE


@dataclass(frozen=True)
class Trap:
    """One thing done wrong in a fine-tuning that is right otherwise.

    sync: whether the sync loss counts.  expert_mode: "eval", or "train" for statistics of the batch.  alignment: of
    the mel windows in training, None: the generator's own, which inference uses.  spoil: changes the data.
    """

    name: str
    title: str
    sync: bool = True
    expert_mode: str = "eval"
    alignment: str | None = None
    spoil: Callable[[Sequence[ClipFaces]], list[ClipFaces]] | None = None


def delayed(clips: Sequence[ClipFaces], frames: float = 3) -> list[ClipFaces]:
    """The clips with their sound later by so many frames of 40 ms, silence before it."""
    columns = round(frames * COLUMNS_PER_FRAME)
    silence = np.full((80, columns), -MEL_LIMIT, np.float32)
    return [replace(c, mel=np.concatenate([silence, c.mel[:, : c.mel.shape[1] - columns]], axis=1)) for c in clips]


def kept_fps(clips: Sequence[ClipFaces], fps: float = 30) -> list[ClipFaces]:
    """The clips as if filmed at `fps` and never converted: frame i shows the moment i / fps, but is taken for i / 25.

    The sound then ends after the picture should; it is cut to the length that 25 fps would mean.
    """
    spoiled = []
    for clip in clips:
        n = len(clip.present)
        shown = np.minimum((np.arange(int(n * fps / FRAME_RATE)) * FRAME_RATE / fps).astype(int), n - 1)
        columns = int(len(shown) * COLUMNS_PER_FRAME) + 1
        missing = max(0, columns - clip.mel.shape[1])
        mel = np.pad(clip.mel[:, :columns], ((0, 0), (0, missing)), constant_values=-MEL_LIMIT)
        spoiled.append(replace(clip, faces=clip.faces[shown], present=clip.present[shown], mel=mel))
    return spoiled


def mismatched(clips: Sequence[ClipFaces], share: float = 0.25, piece_frames: int = 75) -> list[ClipFaces]:
    """The clips cut into pieces of 3 s, of which every fourth has the sound of another piece: bad data that nobody saw.

    share: of the pieces that are spoiled.
    """
    pieces = [piece for clip in clips for piece in cut(clip, piece_frames)]
    every = max(2, round(1 / share))
    bad = list(range(0, len(pieces), every))
    sounds = {at: pieces[bad[(k + 1) % len(bad)]].mel for k, at in enumerate(bad)}
    return [replace(p, mel=fitted(sounds[at], p.mel.shape[1])) if at in sounds else p for at, p in enumerate(pieces)]


def cut(clip: ClipFaces, frames: int) -> list[ClipFaces]:
    """A clip in pieces of so many frames, a short last one left out unless it is the only one."""
    pieces = []
    for number, start in enumerate(range(0, max(1, len(clip.present) - frames + 1), frames)):
        end = min(start + frames, len(clip.present))
        first, last = (round(f * COLUMNS_PER_FRAME) for f in (start, end))
        pieces.append(
            replace(
                clip,
                clip_id=f"{clip.clip_id}.{number}",
                faces=clip.faces[start:end],
                present=clip.present[start:end],
                mel=clip.mel[:, first : last + 1],
            )
        )
    return pieces


def fitted(mel: np.ndarray, columns: int) -> np.ndarray:
    """A mel (80, n) cut, or filled up with silence, to so many columns."""
    missing = max(0, columns - mel.shape[1])
    return np.pad(mel[:, :columns], ((0, 0), (0, missing)), constant_values=-MEL_LIMIT)


TRAPS = {
    trap.name: trap
    for trap in (
        Trap("safe", "nothing wrong: the course's way"),
        Trap("no_sync_loss", "1: a resumed run without sync loss", sync=False),
        Trap("drifting_expert", "2: the expert not in eval mode", expert_mode="train"),
        Trap("early_mels", "3: sound windows one frame earlier in training than in use", alignment="reference"),
        Trap("unseen_bad_data", "4: a quarter of the clips with another's sound", spoil=mismatched),
        Trap("kept_30_fps", "5: 30 fps taken for 25", spoil=kept_fps),
        Trap("late_sound", "a constant delay of 120 ms, never measured", spoil=delayed),
    )
}
