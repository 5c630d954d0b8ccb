"""Early warnings: what a look at the curves would tell, told while there is time to stop."""

from __future__ import annotations

import numpy as np

from ..config import TrainConfig
from ..losses import COIN_FLIP_LOSS
from .record import History

NEAR_COIN_FLIP = 0.03
RECENT = 50  # steps
SURE, BLIND = 0.98, 0.55  # shares of faces that the discriminator tells apart


def warnings(history: History, settings: TrainConfig, sync_weight: float) -> list[str]:
    """What should worry at this point of a run, in sentences; empty when all is well."""
    found = []
    if settings.network == "expert":
        values = history.series("bce", "val")[1][-3:]
        if len(values) == 3 and np.all(np.abs(values - COIN_FLIP_LOSS) < NEAR_COIN_FLIP):
            found.append(
                "the expert's loss sits at 0.69 (-ln 0.5): it guesses. "
                "Check offsets and labels, raise the rate, or wait."
            )
        return found
    if settings.sync_weight and not sync_weight:
        found.append(
            "the sync loss has weight 0 at this step: nothing teaches the mouth to follow the sound "
            f"(sync_schedule={settings.sync_schedule!r})."
        )
    if not settings.sync_weight and settings.frames > 1:
        found.append("sync_weight is 0: this run trains without any sync loss.")
    values = history.series("sync", "val")[1][-3:]
    if len(values) == 3 and np.all(np.abs(values - COIN_FLIP_LOSS) < NEAR_COIN_FLIP):
        found.append("the sync loss sits at 0.69: to the expert the faces are neither in nor out of sync.")
    real, fake = (history.series(name)[1][-RECENT:] for name in ("disc_real_seen", "disc_fake_seen"))
    if len(real) == RECENT:
        seen = (real.mean() + fake.mean()) / 2
        if seen > SURE:
            found.append(
                f"the discriminator wins: it tells {seen:.0%} of the faces apart, its advice is then worth little. "
                "Lower disc_learning_rate."
            )
        elif seen < BLIND:
            found.append(
                f"the discriminator is blind: it tells {seen:.0%} of the faces apart, half of them are guesses. "
                "Raise disc_learning_rate, or train it alone first."
            )
    return found
