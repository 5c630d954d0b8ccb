"""Ctrl-C and the notebook's stop button, as a wish that a training loop can ask for."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading

log = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_asked():
    """Inside, Ctrl-C or the stop button sets the yielded event: the step in work is finished. Twice: at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        log.warning("stopping after this step; once more to stop at once")
        asked.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
