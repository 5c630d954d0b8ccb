"""Which models there are to measure: the true video, the base, and what notebooks 06 and 07 left behind."""
from collections.abc import Mapping
from pathlib import Path

from .. import checkpoints
from ..config import Preset
from ..errors import CheckpointError
from ..project import home, safe_name
from .stage import TRUTH

BEST = Path("checkpoints") / "generator_best.pt"


def base_weights(preset: Preset) -> Path:
    """The weights that fine-tuning begins with. Raises CheckpointError saying how to get them where they are not there.

    The published ones are looked for in data/weights, and fetched there where they are not.
    """
    start = preset.generator.start
    if start == "embedded":
        return checkpoints.embedded("generator")
    if start in checkpoints.published():
        return checkpoints.fetch(start, home() / "data" / "weights")
    if not Path(start).is_file():
        raise CheckpointError(f"no weights at {start}: the base of the comparison is missing")
    return Path(start)


def find_models(preset: Preset, runs: Mapping[str, str], *, base: Path | None = None) -> tuple[dict, list[str]]:
    """(models, what is missing): name -> weights, None for the truth, in the order of the tables.

    runs: name -> folder under outputs/, or the path of a weight file.  A run that has no weights yet is left out, with
    a sentence that says what to do.  base: other weights to compare with.
    """
    models: dict[str, Path | None] = {TRUTH: None, "base": base or base_weights(preset)}
    missing = []
    for name, run in runs.items():
        path = Path(run) if Path(run).suffix else home() / "outputs" / safe_name(run) / BEST
        if path.is_file():
            models[name] = path
        else:
            place = path.relative_to(home()) if path.is_relative_to(home()) else path
            missing.append(f"There are no weights of {name!r} at {place}: run its notebook first (06 without, 07 with "
                           "the discriminator), or give the path of a weight file. It is left out here.")
    return models, missing
