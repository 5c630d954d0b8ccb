"""What to do when a batch does not fit into memory: find out what does, and say it."""

from __future__ import annotations

import contextlib
import gc

import torch

from ..errors import SettingError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch means that memory ran out, on a GPU or on the CPU."""
    words = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in words or "not enough memory" in words or "can't allocate memory" in words)
    )


def fitting_size(attempt, size: int) -> int:
    """The largest half, quarter, ... of `size` for which attempt(size) does not run out of memory; 0 if none does."""
    while size > 1:
        size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    return 0


@contextlib.contextmanager
def advise_on_memory(trainer, items):
    """Turn torch's out-of-memory error in a step into one that names the batch size that fits."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        for optimiser in trainer.optimisers.values():
            optimiser.zero_grad()
        size = len(items["item"])
        fits = fitting_size(lambda n: _try(trainer, {k: v[:n] for k, v in items.items()}), size)
        whole = trainer.settings.batch_size
        advice = (
            f"{fits} at a time fit: set accumulate={-(-whole // fits)} (the same batch in parts) or batch_size={fits}"
            if fits
            else "not even one fits: use a smaller width or a machine with more memory"
        )
        raise SettingError(
            f"out of memory with {size} windows at once; {advice}. The newest checkpoint is good."
        ) from error


def _try(trainer, items):
    """Losses and gradients of a smaller part, thrown away."""
    from .validate import batch_losses

    try:
        sum(v for k, v in batch_losses(trainer, trainer.networks.main, items).items() if k == "total").backward()
    finally:
        for optimiser in trainer.optimisers.values():
            optimiser.zero_grad()
