"""What is seen while a run runs: a bar with the remaining time, and in a notebook curves and strips that update."""

from __future__ import annotations

import sys
import time

import cv2

from ..project import progress

EVERY_S = 5.0


class Live:
    """Progress on the screen. shown: False for a silent run."""

    def __init__(self, steps: int, done: int, shown: bool, title: str):
        self.bar = progress(total=steps, desc=title, unit="step") if shown else None
        self.title, self._handle, self._when, self._strip = title, None, 0.0, None
        self._notebook = shown and "ipykernel" in sys.modules
        if self.bar is not None and done:
            self.bar.update(done)

    def step(self, numbers: dict) -> None:
        """After every step."""
        if self.bar is not None:
            self.bar.set_postfix(
                {k: f"{v:.3f}" for k, v in numbers.items() if k in ("total", "l1", "sync", "bce")}, refresh=False
            )
            self.bar.update()

    def sample(self, picture_bgr) -> None:
        """A new strip."""
        self._strip = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2RGB)

    def draw(self, history, last: bool = False) -> None:
        """Curves and strip, drawn anew in the same place, not more often than every few seconds."""
        if not self._notebook or (time.monotonic() - self._when < EVERY_S and not last):
            return
        import matplotlib.pyplot as plt
        from IPython.display import display

        from .. import plots

        figure = plots.training_curves({self.title: history.rows}, strip_rgb=self._strip)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)
        self._when = time.monotonic()

    def close(self) -> None:
        """Let go of the bar."""
        if self.bar is not None:
            self.bar.close()
