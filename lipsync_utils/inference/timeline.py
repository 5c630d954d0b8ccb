"""Which frame of the source is shown when: speech and picture seldom have the same length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import SettingError

LONGER = ("ping-pong", "loop", "hold", "cut")
SHORTER = ("stop", "continue")


def output_frames(
    n_source: int, speech_s: float, fps: float, longer: str = "ping-pong", shorter: str = "stop", still: bool = False
) -> int:
    """How many frames the result has: the speech, to the nearest frame, unless a rule says otherwise.

    longer: "cut" ends a longer speech with the video.  shorter: "continue" shows the rest of the video.
    still: one picture stands for any length, so neither rule applies.
    """
    spoken = max(1, round(speech_s * fps))
    if still:
        return spoken
    if longer == "cut":
        spoken = min(spoken, n_source)
    return max(spoken, n_source) if shorter == "continue" else spoken


def source_frames(total: int, n_source: int, longer: str = "ping-pong") -> Iterator[int]:
    """Yield the source frame of each output frame: 0, 1, 2 .. and past the end as the rule says.

    "ping-pong" goes back and forth without showing the last frame twice, "loop" jumps to the start, "hold" and "cut"
    stay on the last frame.
    """
    if longer not in LONGER:
        raise SettingError(f"no rule {longer!r} for speech longer than the video: choose one of {', '.join(LONGER)}")
    period = max(2 * (n_source - 1), 1)
    for i in range(total):
        if i < n_source:
            yield i
        elif longer == "ping-pong":
            turn = i % period
            yield min(turn, period - turn) if n_source > 1 else 0
        elif longer == "loop":
            yield i % n_source
        else:
            yield n_source - 1


def strengths(active: np.ndarray, ramp: int = 3) -> np.ndarray:
    """How far the drawn mouth is blended in: 1 where active, 0 where not, rising and falling over `ramp` frames.

    active: (n,) bool.  Returns float32 (n,).  The ramp lies inside the active frames; the ends of the video have none.
    """
    distance = np.full(len(active), ramp + 1.0, np.float32)
    for order in (range(len(active)), range(len(active) - 1, -1, -1)):
        run = ramp + 1.0
        for i in order:
            run = 0.0 if not active[i] else run + 1
            distance[i] = min(distance[i], run)
    return np.clip(distance / (ramp + 1), 0, 1)
