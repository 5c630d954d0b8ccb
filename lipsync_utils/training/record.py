"""What a run leaves behind: history as CSV and TensorBoard, strips of samples, checkpoints that resume exactly."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import torch

from .. import checkpoints
from ..config import TrainConfig, WindowsConfig
from ..errors import CheckpointError
from ..project import write_bytes, write_text

log = logging.getLogger(__name__)

DEFAULTS = {"settings": TrainConfig(), "windows": WindowsConfig()}
#: Settings that may differ when a run is resumed: they do not change what a step does.
FREE = {"workers", "save_every", "sample_every", "keep", "compile", "min_expert_accuracy"}

COLUMNS = (
    "step",
    "phase",
    "total",
    "l1",
    "sync",
    "perceptual",
    "disc_real",
    "disc_fake",
    "disc_real_seen",
    "disc_fake_seen",
    "bce",
    "contrastive",
    "accuracy",
    "sync_weight",
    "learning_rate",
    "seconds",
)


class History:
    """The numbers of a run, one row per step ("train") and per evaluation ("val"); rows: list of dicts."""

    def __init__(self, folder: Path, step: int = 0):
        """step: rows after it are dropped, a resumed run writes them again."""
        self.path, self.rows, self._board, self._written = folder / "history.csv", [], None, 0
        self._board_folder = folder / "tensorboard"
        if self.path.is_file():
            self.rows = [row for row in read_history(self.path) if row["step"] <= step]

    def add(self, step: int, phase: str, **numbers: float) -> None:
        """Note numbers of a step; unknown names are refused."""
        unknown = set(numbers) - set(COLUMNS)
        if unknown:
            raise KeyError(f"history has no column {sorted(unknown)}")
        self.rows.append({"step": step, "phase": phase, **numbers})

    def flush(self) -> None:
        """Bring everything to the disk."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in self.rows)
        write_text(self.path, text.getvalue())
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._board_folder))
        for row in self.rows[self._written :]:
            for name, value in row.items():
                if name not in ("step", "phase"):
                    self._board.add_scalar(f"{name}/{row['phase']}", value, row["step"])
        self._written = len(self.rows)
        self._board.flush()

    def series(self, name: str, phase: str = "train") -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one column."""
        found = [(row["step"], row[name]) for row in self.rows if row["phase"] == phase and name in row]
        return tuple(np.array(found).T) if found else (np.empty(0), np.empty(0))

    def last(self, phase: str = "val") -> dict:
        """The newest row of a phase, {} if there is none."""
        return next((row for row in reversed(self.rows) if row["phase"] == phase), {})


def read_history(path: Path) -> list[dict]:
    """The rows of a history.csv; empty cells are left out."""
    with Path(path).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        {k: int(v) if k == "step" else v if k == "phase" else float(v) for k, v in row.items() if v != ""}
        for row in rows
    ]


def strip(reference, masked, generated, truth, columns: int = 5) -> np.ndarray:
    """A picture for the eye: rows reference | masked | generated | truth, one column per frame.

    Each (3, n, 96, 96) BGR in [0, 1].  Returns uint8 BGR (4 * 96, columns * 96, 3).
    """
    rows = []
    for faces in (reference, masked, generated, truth):
        frames = faces[:, :columns].permute(1, 2, 3, 0).float().cpu().numpy()
        rows.append(np.concatenate(list(frames), axis=1))
    return (np.concatenate(rows) * 255).round().clip(0, 255).astype(np.uint8)


def write_sample(folder: Path, step: int, pictures: list[np.ndarray]) -> Path:
    """samples/step_<step>.png: strips side by side."""
    path = folder / "samples" / f"step_{step:09d}.png"
    write_bytes(path, cv2.imencode(".png", np.concatenate(pictures, axis=1))[1].tobytes())
    return path


def checkpoint_files(folder: Path, kind: str) -> list[Path]:
    """A run's numbered checkpoints, newest first."""
    return sorted((folder / "checkpoints").glob(f"{kind}_[0-9]*.pt"), reverse=True)


def newest_checkpoint(folder: Path, kind: str) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that can be read; a damaged one is passed over with a warning."""
    for path in checkpoint_files(folder, kind):
        try:
            return checkpoints.read(path, kind)
        except CheckpointError as error:
            log.warning("%s; going back to the one before", error)
    return None


def remove_old(folder: Path, kind: str, keep: int) -> None:
    """Delete all numbered checkpoints but the newest `keep`."""
    for path in checkpoint_files(folder, kind)[keep:]:
        path.unlink()


def plain_state(value):
    """A state dict copied to the CPU: tensors, numbers, text, lists, dicts."""
    if torch.is_tensor(value):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {k: plain_state(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain_state(v) for v in value)
    return value


def read_json(path: Path) -> dict | None:
    """A JSON file, or None if there is none."""
    return json.loads(path.read_text()) if path.is_file() else None


def differences(before: dict, now: dict) -> list[str]:
    """What keeps a run from being continued: "name=old, now new" for every setting that matters."""
    found = []
    for group in ("settings", "windows"):
        for name, value in now[group].items():
            old = before.get(group, {}).get(name, getattr(DEFAULTS[group], name, None))  # a setting newer than the run
            old = tuple(old) if isinstance(old, list) else old
            if old != value and name not in FREE and not (name == "steps" and not now["settings"]["decay"]):
                found.append(f"{name}={old!r}, now {value!r}")
    found += [f"other {what}" for what in ("data", "processes") if before.get(what) != now[what]]
    old = before.get("weights", {})
    return found + [f"other first weights: {role}" for role, new in now["weights"].items() if old.get(role, new) != new]


def set_aside(folder: Path):
    """Move what an earlier run left in a folder to a folder beside it: nothing trained is ever lost."""
    number = 1
    while (target := folder.with_name(f"{folder.name}-before-{number}")).exists():
        number += 1
    target.mkdir()
    for item in folder.iterdir():
        if not item.name.startswith(".lock"):
            item.rename(target / item.name)
    log.warning("the earlier run %s was set aside as %s", folder.name, target.name)
