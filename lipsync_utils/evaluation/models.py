"""Which models there are to measure: the true video, the base, and what notebooks 06 and 07 left behind."""

from collections.abc import Mapping
from pathlib import Path

from .. import checkpoints
from ..config import Preset
from ..errors import CheckpointError
from ..project import home, safe_name
from ..training import read_history
from .stage import TRUTH

#: The runs that notebooks 06 and 07 leave under outputs/.
RUNS = {"without": "without", "with": "with"}
BEST = Path("checkpoints") / "generator_best.pt"  # by the run's own validation, as notebooks 06 and 07 show it
#: What the published code did (its weights of the sync loss count only after a trigger), on the article's data.
PUBLISHED = {
    "without": {
        "steps": "not told",
        "windows a step": "16",
        "learning rate": "0.0001",
        "sync weight": "0, then 0.01",
        "discriminator weight": "0",
        "videos of the training": "60",
        "held-out L1": "not told",
        "held-out sync loss": "not told",
    },
    "with": {
        "steps": "not told",
        "windows a step": "16",
        "learning rate": "0.0001",
        "sync weight": "0, then 0.03",
        "discriminator weight": "0.07",
        "videos of the training": "60",
        "held-out L1": "not told",
        "held-out sync loss": "not told",
    },
}


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
            missing.append(
                f"There are no weights of {name!r} at {place}: run its notebook first (06 without, 07 with "
                "the discriminator), or give the path of a weight file. It is left out here."
            )
    return models, missing


def seen_videos(models: Mapping[str, Path | None]) -> set[str]:
    """The videos that the models' checkpoints say they were trained on; weights that do not say add nothing."""
    paths = filter(None, models.values())
    return {video for path in paths for video in checkpoints.read(path, "generator", mmap=True).videos}


def training_table(models: Mapping[str, Path | None]) -> tuple[list[str], list[list[str]]]:
    """(header, rows): how the tuned models were trained, beside the published code and the article's data."""
    ours = {name: _trained(path) for name, path in models.items() if path and name in PUBLISHED}
    names = dict.fromkeys(key for facts in PUBLISHED.values() for key in facts)
    header = ["", *(f"{name}, here" for name in ours), *(f"{name}, article" for name in PUBLISHED)]
    return header, [
        [key, *(facts.get(key, "–") for facts in ours.values()), *(facts.get(key, "–") for facts in PUBLISHED.values())]
        for key in names
    ]


def _trained(path: Path) -> dict[str, str]:
    """What a checkpoint and its run's history say about the training."""
    checkpoint = checkpoints.read(path, "generator", mmap=True)
    told = checkpoint.settings
    history = path.parent.parent / "history.csv"
    rows = [row for row in read_history(history) if row["phase"] == "val"] if history.is_file() else []
    last = rows[-1] if rows else {}
    facts = {
        "steps": checkpoint.step,
        "windows a step": told.get("batch_size"),
        "learning rate": told.get("learning_rate"),
        "sync weight": told.get("sync_weight"),
        "discriminator weight": told.get("disc_weight"),
        "videos of the training": len(checkpoint.videos) or None,
        "held-out L1": f"{last['l1']:.4f}" if "l1" in last else None,
        "held-out sync loss": f"{last['sync']:.3f}" if "sync" in last else None,
    }
    return {key: f"{value}" for key, value in facts.items() if value is not None}
