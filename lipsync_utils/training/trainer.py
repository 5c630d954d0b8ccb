"""The training loop: one for the expert, the generator, and the generator with its discriminator.

What a step sees depends on its number alone, and a checkpoint holds all that changes: a run that is stopped and resumed
equals one that was not, bit for bit on a CPU. Several processes (`accelerate launch`) share every batch.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import accelerate
import cv2
import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object
from tqdm import tqdm

from .. import checkpoints, losses, models
from ..checkpoints import KINDS
from ..config import TrainConfig, WindowsConfig
from ..errors import CheckpointError, DataError, SettingError
from ..project import home, lock, progress, run_folder, write_bytes, write_json, write_text
from ..windows import ClipFaces, StepBatches, Windows, index_windows, spread
from .augment import augment
from .steps import (
    expert_batch,
    expert_loss,
    expert_step,
    generator_batch,
    generator_losses,
    generator_step,
    middle_frame,
)

log = logging.getLogger(__name__)

SAMPLES = 4  # windows in a picture of samples
DRAW_EVERY_S = 5.0  # a notebook's curves
#: Settings that may differ when a run is resumed: they do not change what a step does.
FREE = {"workers", "save_every", "sample_every", "keep", "compile", "min_expert_accuracy"}
COLUMNS = ["step", "phase", "total", "l1", "sync", "perceptual", "disc_real", "disc_fake", "disc_real_seen"]
COLUMNS += ["disc_fake_seen", "bce", "contrastive", "sync_weight", "learning_rate", "seconds"]
NEAR_COIN_FLIP = 0.03
RECENT = 50  # steps
SURE, BLIND = 0.98, 0.55  # shares of faces that the discriminator tells apart


# ---------------------------------------------------------------- networks


def open_network(kind: str, source: str, width: float):
    """A network of a kind ("generator", "expert", "discriminator") with its first weights.

    source: "scratch", "embedded", the short name of published weights (fetched to data/weights), or a path.
    Raises CheckpointError for weights that are missing, damaged or of another width.
    """
    width = models.check_width(width)
    if source == "scratch":
        network = KINDS[kind](width)
        if kind == "discriminator":
            wake(network)
        return network
    if source == "embedded":
        source = checkpoints.embedded(kind)
    elif source in checkpoints.published():
        source = checkpoints.fetch(source, home() / "data" / "weights")
    elif not Path(source).is_file():
        names = ", ".join(checkpoints.published())
        raise CheckpointError(f"no weights {source!r}: give 'scratch', 'embedded', a path to a file, or one of {names}")
    return checkpoints.load(source, kind, width=width)


def wake(discriminator) -> None:
    """First weights under which a signal survives all of the discriminator's layers, which have no norm between them.

    With torch's own a discriminator from scratch stood at "I do not know" for 175 steps (He et al., 2015).
    """
    for module in discriminator.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.01)
            torch.nn.init.zeros_(module.bias)


def choose_precision(setting: str, device: str) -> str:
    """What Accelerate calls it: "no", "bf16" or "fp16". auto: what this machine is fast in.

    A T4 has fp16 but no bf16; a CPU is faster in bf16 only where it has AMX (2x here), else slower.
    """
    if setting == "fp16" and device != "cuda":
        raise SettingError("precision fp16 needs a GPU: use auto, bf16 or fp32")
    if setting != "auto":
        return {"fp32": "no"}.get(setting, setting)
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return "bf16" if device == "cpu" and amx() else "no"


def make_accelerator(settings: TrainConfig) -> accelerate.Accelerator:
    """An Accelerator for this process; a notebook may make one after another with other precisions."""
    state = accelerate.state.AcceleratorState
    wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    cpu = wanted or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if not state._shared_state or accelerate.PartialState(cpu=cpu).num_processes == 1:
        state._reset_state(reset_partial_state=True)
    precision = choose_precision(settings.precision, accelerate.PartialState(cpu=cpu).device.type)
    steps = settings.accumulate
    return accelerate.Accelerator(cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=steps)


def bare(network):
    """The course's network inside DistributedDataParallel and torch.compile."""
    while hasattr(network, "module") or hasattr(network, "_orig_mod"):
        network = getattr(network, "_orig_mod", None) or network.module
    return network


RATES = {"main": "learning_rate", "discriminator": "disc_learning_rate"}  # who learns at which setting's rate


class Learner:
    """The networks of a run, their optimisers, and what a batch does to them.

    networks: "main" learns; "expert" judges; "discriminator" and "contrast" learn beside it, where used. From scratch
    they depend on settings.seed alone. models: the same on their device, after `place`.
    """

    def __init__(self, settings: TrainConfig, accelerator):
        self.settings, self.accelerator, self.is_expert = settings, accelerator, settings.network == "expert"
        self.networks, self.models, self.optimisers = {}, {}, {}
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.networks["main"] = open_network(settings.network, settings.start, settings.width)
            if self.is_expert and settings.expert_loss == "contrastive":
                self.networks["contrast"] = losses.ContrastiveLoss()
            if not self.is_expert and settings.sync_weight:
                expert = models.freeze(open_network("expert", settings.expert, settings.width))
                self.networks["expert"] = expert.train(settings.expert_mode == "train")
            if not self.is_expert and settings.disc_weight:
                self.networks["discriminator"] = open_network("discriminator", settings.discriminator, settings.width)

    def first_weights(self) -> dict[str, str]:
        """Which weights a run begins with, but for those from scratch: role -> 12 digits of their sha256."""
        found = {}
        for role, setting in {"main": "start", "expert": "expert", "discriminator": "discriminator"}.items():
            if role in self.networks and getattr(self.settings, setting) != "scratch":
                data = b"".join(tensor.numpy().tobytes() for tensor in self.networks[role].state_dict().values())
                found[role] = hashlib.sha256(data).hexdigest()[:12]
        return found

    def place(self, saved: checkpoints.Checkpoint | None = None) -> None:
        """Bring networks and optimisers to the device, in the state of a checkpoint where there is one."""
        if saved:
            self.networks["main"].load_state_dict(saved.weights)
            for name, weights in saved.state["networks"].items():
                self.networks[name].load_state_dict(weights)
        for name, network in self.networks.items():
            self.models[name] = self._wrap(network) if name in RATES else network.to(self.accelerator.device)
        for name in RATES.keys() & self.networks.keys():
            learning = [*self.networks[name].parameters()]
            if name == "main" and "contrast" in self.networks:
                learning += self.networks["contrast"].parameters()
            optimiser = torch.optim.Adam(learning, getattr(self.settings, RATES[name]), tuple(self.settings.betas))
            if saved:
                optimiser.load_state_dict(saved.optimizer if name == "main" else saved.state["disc_optimizer"])
            self.optimisers[name] = self.accelerator.prepare(optimiser)
        if saved and self.accelerator.scaler is not None and saved.state.get("scaler"):
            self.accelerator.scaler.load_state_dict(saved.state["scaler"])

    def _wrap(self, network):
        """Gradients and batch norm are shared where there are several processes."""
        device = self.accelerator.device
        network = network.to(device, memory_format=torch.channels_last).train()
        if self.accelerator.num_processes > 1:
            if device.type == "cuda":
                network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
            ids = [device.index] if device.type == "cuda" else None
            network = torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)
        return torch.compile(network) if self.settings.compile else network

    def state(self) -> dict:
        """What besides the main network and its optimiser changes from step to step."""
        changes = ["discriminator", "contrast"] + ["expert"] * (self.settings.expert_mode == "train")
        state = {"networks": {n: plain_state(self.networks[n].state_dict()) for n in changes if n in self.networks}}
        if "discriminator" in self.optimisers:
            state["disc_optimizer"] = plain_state(self.optimisers["discriminator"].state_dict())
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return state

    def set_rates(self, step: int) -> float:
        """Set the learning rates of a 0-based step; returns the main one."""
        factor = learning_rate_factor(self.settings, step)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = getattr(self.settings, RATES[name]) * factor
        return self.settings.learning_rate * factor

    def batch(self, items: dict, rng: np.random.Generator | None = None):
        """Items of Windows as a batch of the main network; rng: augments them."""
        if self.settings.frames == 1:
            items = middle_frame(items)
        contrastive = "contrast" in self.networks
        if rng is not None:
            items = augment(items, rng, ("faces",) if contrastive else ("faces", "wrong"))
        if self.is_expert:
            return expert_batch(items, self.accelerator.device, contrastive)
        return generator_batch(items, self.accelerator.device)

    def losses(self, batch) -> dict[str, torch.Tensor]:
        """All losses of a batch as tensors, the sync loss with its full weight."""
        main, autocast = bare(self.models["main"]), self.accelerator.autocast
        if self.is_expert:
            return expert_loss(main, batch, self.networks.get("contrast"), autocast)
        judges = self._judges(self.settings.sync_weight) | {"discriminator": bare(self.models.get("discriminator"))}
        return generator_losses(main, batch, autocast=autocast, **judges)[1]

    def step(self, batch, sync_weight: float) -> dict[str, float]:
        """One step on a batch; returns the losses as numbers."""
        main, optimiser = self.models["main"], self.optimisers["main"]
        set_norms(bare(main), self.settings.freeze_norm)
        with self.accelerator.accumulate(*[self.models[name] for name in self.optimisers]):
            if self.is_expert:
                contrast = self.networks.get("contrast")
                return expert_step(main, optimiser, batch, contrast=contrast, accelerator=self.accelerator)
            judges = self._judges(sync_weight) | {"disc_optimizer": self.optimisers.get("discriminator")}
            return generator_step(main, optimiser, batch, accelerator=self.accelerator, **judges)

    def _judges(self, sync_weight):
        return {
            "expert": self.models.get("expert"),
            "sync_weight": sync_weight if "expert" in self.models else 0.0,
            "discriminator": self.models.get("discriminator"),
            "disc_weight": self.settings.disc_weight,
            "mouth_weight": self.settings.mouth_weight,
        }


def learning_rate_factor(settings: TrainConfig, step: int) -> float:
    """What the rates are multiplied with at a 0-based step."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return factor * (0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0)


def set_norms(network, frozen: bool) -> None:
    """Train mode; with frozen, batch norms use their stored statistics and keep them."""
    network.train()
    for module in network.modules() if frozen else ():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def plain_state(value):
    """A state dict copied to the CPU: tensors, numbers, text, lists, dicts."""
    if torch.is_tensor(value):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {k: plain_state(v) for k, v in value.items()}
    return type(value)(map(plain_state, value)) if isinstance(value, list | tuple) else value


# ---------------------------------------------------------------- what a run leaves behind


class History:
    """The numbers of a run, one row per step ("train") and per evaluation ("val"): history.csv and TensorBoard."""

    def __init__(self, folder: Path, step: int = 0):
        """step: the run continues there; later rows are dropped, for they are written again."""
        self.folder, self.rows, self._written, self._board = folder, [], 0, None
        if step and (folder / "history.csv").is_file():
            earlier = read_history(folder / "history.csv")
            rows = earlier[earlier.step <= step].to_dict("records")
            self.rows = [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows]

    @property
    def table(self) -> pd.DataFrame:
        """All rows so far; NaN where a number was not measured."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def add(self, step: int, phase: str, **numbers: float) -> None:
        """Note the numbers of a step."""
        self.rows.append({"step": step, "phase": phase, **numbers})

    def recent(self, name: str, phase: str = "train", n: int = RECENT) -> np.ndarray:
        """The last n values of a column."""
        return np.array([row[name] for row in self.rows if row["phase"] == phase and name in row])[-n:]

    def flush(self) -> None:
        """Bring everything to the disk."""
        from torch.utils.tensorboard import SummaryWriter

        write_text(self.folder / "history.csv", self.table.to_csv(index=False, float_format="%.8g"))
        self._board = self._board or SummaryWriter(str(self.folder / "tensorboard"))
        for row in self.rows[self._written :]:
            for name in row.keys() - {"step", "phase"}:
                self._board.add_scalar(f"{name}/{row['phase']}", row[name], row["step"])
        self._written = len(self.rows)
        self._board.flush()


def read_history(path: Path) -> pd.DataFrame:
    """A run's history.csv: a row per step and evaluation; NaN where a number was not measured."""
    return pd.read_csv(path)


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


def differences(before: dict, now: dict) -> list[str]:
    """What keeps a run from being continued: "name=old, now new" for every setting that matters."""
    found = []
    for group, defaults in (("settings", TrainConfig()), ("windows", WindowsConfig())):
        for name, value in now[group].items():
            old = before.get(group, {}).get(name, getattr(defaults, name, None))  # a setting newer than the run
            old = tuple(old) if isinstance(old, list) else old
            longer = name == "steps" and not now["settings"]["decay"]
            if old != value and name not in FREE and not longer:
                found.append(f"{name}={old!r}, now {value!r}")
    found += [f"other {what}" for what in ("data", "processes") if before.get(what) != now[what]]
    old = before.get("weights", {})
    return found + [f"other first weights: {role}" for role, new in now["weights"].items() if old.get(role, new) != new]


def set_aside(folder: Path) -> None:
    """Move what an earlier run left in a folder to a folder beside it: nothing trained is ever lost."""
    number = 1
    while (target := folder.with_name(f"{folder.name}-before-{number}")).exists():
        number += 1
    target.mkdir()
    for item in folder.iterdir():
        if not item.name.startswith(".lock"):
            item.rename(target / item.name)
    log.warning("the earlier run %s was set aside as %s", folder.name, target.name)


def strip(reference, masked, generated, truth, columns: int = 5) -> np.ndarray:
    """Four rows of faces, each (3, T, 96, 96) in [0, 1]: uint8 BGR (4 * 96, columns * 96, 3)."""
    rows = [faces[:, :columns].permute(2, 1, 3, 0).flatten(1, 2) for faces in (reference, masked, generated, truth)]
    return (torch.cat(rows).float().cpu().numpy() * 255).round().clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------- what is seen while it runs


class Live:
    """A bar with the remaining time, and in a notebook curves and strips that update. shown: False for a silent run."""

    def __init__(self, steps: int, done: int, shown: bool, title: str):
        self.bar = progress(total=steps, desc=title, unit="step") if shown else tqdm(disable=True)
        self.bar.update(done)
        self.title, self.strip_bgr, self._handle, self._when = title, None, None, 0.0
        self._notebook = shown and "ipykernel" in sys.modules

    def step(self, numbers: dict) -> None:
        """After every step."""
        shown = {k: f"{v:.3f}" for k, v in numbers.items() if k in ("total", "l1", "sync", "bce")}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def draw(self, history: History, last: bool = False) -> None:
        """Curves and strip, drawn anew in the same place, not more often than every few seconds."""
        if not self._notebook or (time.monotonic() - self._when < DRAW_EVERY_S and not last):
            return
        from IPython.display import display

        from .. import plots

        strip_rgb = None if self.strip_bgr is None else self.strip_bgr[..., ::-1]
        figure = plots.training_curves({self.title: history.table}, strip_rgb=strip_rgb)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        self._when = time.monotonic()


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


@contextlib.contextmanager
def advise_on_memory(windows: int):
    """Turn torch's out-of-memory error in a step on so many windows into one that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "memory" not in str(error).lower():
            raise
        raise SettingError(
            f"out of memory with {windows} windows at once: halve them by doubling accumulate (the same batch in more "
            "parts) or lower batch_size; with one at a time, use a smaller width. The newest checkpoint is good."
        ) from error


def warnings(history: History, settings: TrainConfig, sync_weight: float) -> list[str]:
    """What should worry at this point of a run, in sentences; empty when all is well."""
    found = []
    guesses = {}
    for name in ("bce", "sync"):
        values = history.recent(name, "val", 3)
        guesses[name] = len(values) == 3 and np.all(np.abs(values - losses.COIN_FLIP_LOSS) < NEAR_COIN_FLIP)
    if settings.network == "expert":
        if guesses["bce"]:
            found.append(
                "the expert's loss sits at 0.69 (-ln 0.5): it guesses. Check offsets and labels, raise the rate, "
                "or wait."
            )
        return found
    if settings.sync_weight and not sync_weight:
        found.append(
            "the sync loss has weight 0 at this step: nothing teaches the mouth to follow the sound "
            f"(sync_schedule={settings.sync_schedule!r})."
        )
    if not settings.sync_weight and settings.frames > 1:
        found.append("sync_weight is 0: this run trains without any sync loss.")
    if guesses["sync"]:
        found.append("the sync loss sits at 0.69: to the expert the faces are neither in nor out of sync.")
    real, fake = history.recent("disc_real_seen"), history.recent("disc_fake_seen")
    if len(real) == RECENT and (seen := (real.mean() + fake.mean()) / 2) > SURE:
        found.append(
            f"the discriminator wins: it tells {seen:.0%} of the faces apart, its advice is then worth little. "
            "Lower disc_learning_rate."
        )
    elif len(real) == RECENT and seen < BLIND:
        found.append(
            f"the discriminator is blind: it tells {seen:.0%} of the faces apart, half of them are guesses. "
            "Raise disc_learning_rate, or train it alone first."
        )
    return found


# ---------------------------------------------------------------- the run


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. weights: its newest checkpoint; best: that with the lowest held-out loss; history: its table.

    stopped: by the stop button or Ctrl-C. seconds: of this call; s_per_step: without evaluations and saving.
    """

    run: Path
    step: int
    weights: Path
    best: Path
    history: pd.DataFrame
    stopped: bool
    seconds: float
    s_per_step: float


def train(
    settings: TrainConfig,
    clips: list[ClipFaces],
    run: str | Path,
    *,
    windows: WindowsConfig | None = None,
    resume: bool = True,
    live: bool = True,
    stop_at: int | None = None,
    check: bool = True,
) -> TrainResult:
    """Train one network on clips; what the run leaves behind lies in its folder.

    clips: of both splits, see windows.load_clips. run: a name (outputs/<run>/) or a folder. resume: continue a run with
    the same settings and data; False: set an earlier run of that name aside and begin. stop_at: a step to stop at
    before settings.steps, to be resumed. check: preflight before the first step.
    Raises SettingError, DataError or CheckpointError before anything is changed; DataError naming the clips of the
    batch whose loss is NaN.
    """
    from .checks import expert_problems, shared_videos  # which uses this module

    windows = windows or WindowsConfig()
    if not clips:
        raise DataError("the list of clips is empty: run notebook 04 first")
    indexes = {split: index_windows(clips, windows, split) for split in ("train", "val")}
    accelerator = make_accelerator(settings)
    whole = settings.batch_size * accelerator.num_processes
    if whole > len(indexes["train"]):
        raise SettingError(
            f"a batch of {whole} windows is larger than the data, {len(indexes['train'])} windows: set batch_size to "
            f"at most {max(len(indexes['train']) // accelerator.num_processes, 1)}, or use more clips"
        )
    folder = run if isinstance(run, Path) else run_folder(run)
    with lock(folder, what="this run") if accelerator.is_main_process else contextlib.nullcontext():
        trainer = Trainer(settings, windows, indexes, folder, accelerator, resume)
        if check and trainer.step == 0:
            expert = trainer.learner.networks.get("expert")
            problems = expert_problems(settings, indexes["train"].clips, expert)[0] + shared_videos(indexes)
            if problems:
                raise DataError("training would not work: " + " ".join(problems))
        return trainer.run(min(stop_at or settings.steps, settings.steps), live and accelerator.is_local_main_process)


class Trainer:
    """The state of a run, and how it goes on, is saved and resumed. Use `train`."""

    def __init__(self, settings, windows, indexes, folder: Path, accelerator, resume: bool):
        self.settings, self.windows, self.indexes, self.folder = settings, windows, indexes, folder
        self.accelerator, self.kind = accelerator, settings.network
        self.video_ids = {split: sorted({c.video_id for c in index.clips}) for split, index in indexes.items()}
        self.data = {split: Windows(index, windows) for split, index in indexes.items()}
        self.schedule = losses.SyncSchedule(
            settings.sync_schedule, settings.sync_weight, ramp_steps=settings.sync_ramp_steps
        )
        self.learner = Learner(settings, accelerator)
        self.step, self.sync_is_on, self.best = 0, False, float("inf")
        saved = self._find_earlier(resume)
        if saved:
            self.step, self.sync_is_on, self.best = saved.step, saved.state["sync_is_on"], saved.state["best"]
            log.info("%s: continuing at step %d", folder.name, self.step)
        self.learner.place(saved)
        self.history = History(folder, self.step)

    def _find_earlier(self, resume):
        """The checkpoint to continue from, or None; an earlier run that cannot be continued is never overwritten."""
        facts = {
            "settings": dataclasses.asdict(self.settings),
            "windows": dataclasses.asdict(self.windows),
            "data": self.indexes["train"].fingerprint,
            "weights": self.learner.first_weights(),
            "processes": self.accelerator.num_processes,
        }
        path, before = self.folder / "settings.json", None
        if path.is_file() and resume:
            before = json.loads(path.read_text())
        elif path.is_file() and self.accelerator.is_main_process:
            set_aside(self.folder)
        saved = newest_checkpoint(self.folder, self.kind) if before else None
        if saved and (changed := differences(before, facts)):
            raise SettingError(
                f"{self.folder.name} was begun with other settings ({', '.join(changed)}): choose another "
                "run name, or resume=False to set it aside and begin anew"
            )
        if self.accelerator.is_main_process:
            seen = {"video_ids": self.video_ids["train"], "val_video_ids": self.video_ids["val"]}
            write_json(path, facts)
            write_json(self.folder / "data.json", seen | {"fingerprint": facts["data"]})
        self.accelerator.wait_for_everyone()
        return saved

    def save(self) -> Path | None:
        """Write a checkpoint that holds all that changes from step to step."""
        if not self.accelerator.is_main_process:
            return None
        state = self.learner.state() | {"sync_is_on": self.sync_is_on, "best": self.best}
        optimizer = plain_state(self.learner.optimisers["main"].state_dict())
        path = self._write(f"{self.kind}_{self.step:09d}.pt", optimizer=optimizer, state=state)
        for old in checkpoint_files(self.folder, self.kind)[self.settings.keep :]:
            old.unlink()
        self.history.flush()
        return path

    def _write(self, name, **to_resume):
        return checkpoints.save(
            self.folder / "checkpoints" / name,
            self.learner.networks["main"],
            step=self.step,
            epoch=self.step * self.settings.batch_size // max(len(self.indexes["train"]), 1),
            settings=self.settings,
            data_fingerprint=self.indexes["train"].fingerprint,
            mel_alignment=self.windows.alignment,
            videos=self.video_ids["train"],
            **to_resume,
        )

    def run(self, last: int, live: bool) -> TrainResult:
        """Go on to step `last`; returns early, after saving, when the user stops it."""
        began, spent, first = time.perf_counter(), 0.0, self.step
        show = Live(last, self.step, live, self.folder.name)
        if self.step == 0:
            self.evaluate(show)
        batches = iter(self._loader(last))
        with stop_asked() as asked:
            while self.step < last and not self._anyone(asked.is_set()):
                tick = time.perf_counter()
                numbers = self._one_step(next(batches))
                spent += time.perf_counter() - tick
                self.history.add(self.step, "train", **numbers, seconds=round(spent, 3))
                show.step(numbers)
                if self.step % self.settings.evaluate_every == 0 or self.step == last:
                    self.evaluate(show)
                if self.step % self.settings.save_every == 0:
                    self.save()
                show.draw(self.history)
            stopped = asked.is_set()
        path, best = self.save(), self.folder / "checkpoints" / f"{self.kind}_best.pt"
        show.draw(self.history, last=True)
        show.bar.close()
        self.accelerator.wait_for_everyone()
        # A call that had nothing left to do tells the pace of the run that left the history.
        pace = np.diff(self.history.recent("seconds", n=1000))
        pace = spent / (self.step - first) if self.step > first else float(np.median(pace)) if len(pace) else np.nan
        seconds = time.perf_counter() - began
        return TrainResult(self.folder, self.step, path, best, self.history.table, stopped, seconds, pace)

    def _loader(self, last):
        batches = StepBatches(
            self.indexes["train"],
            self.windows,
            self.settings.batch_size,
            self.step,
            last,
            windows_per_clip=self.settings.windows_per_clip,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        return torch.utils.data.DataLoader(
            self.data["train"],
            batch_sampler=batches,
            num_workers=self.settings.workers,
            pin_memory=self.accelerator.device.type == "cuda",
            persistent_workers=self.settings.workers > 0,
        )

    def _anyone(self, asked: bool) -> bool:
        """Whether any process was asked to stop: all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return asked
        return bool(self.accelerator.reduce(torch.tensor(float(asked), device=self.accelerator.device), "sum") > 0)

    def sync_weight(self) -> float:
        """The weight of the sync loss at this step."""
        return self.schedule.weight_at(self.step, self.sync_is_on) if "expert" in self.learner.networks else 0.0

    def _one_step(self, items) -> dict[str, float]:
        rate, weight, n = self.learner.set_rates(self.step), self.sync_weight(), self.settings.accumulate
        rng = None
        if self.settings.augment:
            rng = np.random.default_rng((self.windows.seed, self.step, self.accelerator.process_index))
        totals = {}
        for values in zip(*(value.chunk(n) for value in items.values())):
            part = dict(zip(items, values))
            with advise_on_memory(len(part["item"])):
                numbers = self.learner.step(self.learner.batch(part, rng), weight)
            if bad := [name for name, value in numbers.items() if not math.isfinite(value)]:
                self._stop_on_nan(part, bad)
            for name, value in numbers.items():
                totals[name] = totals.get(name, 0.0) + value / n
        self.step += 1
        totals |= {"sync_weight": self.sync_weight()} if self.kind == "generator" else {}
        return {**totals, "learning_rate": rate}

    def _stop_on_nan(self, items, bad):
        """No step was made with it; the newest checkpoint is from before."""
        self.history.flush()
        clips = ", ".join(self.data["train"].names(items["item"].tolist()))
        raise DataError(
            f"{self.folder.name}, step {self.step}: the loss ({', '.join(bad)}) is NaN. Windows of this batch: "
            f"{clips}. Look at these clips, or lower learning_rate; the newest checkpoint is good."
        )

    # ---------------------------------------------------------------- evaluation

    @torch.no_grad()
    def evaluate(self, show: Live) -> dict[str, float]:
        """Mean losses on the validation windows; also moves the reference's sync switch, warns, and draws samples."""
        main, settings = bare(self.learner.models["main"]), self.settings
        main.eval()
        size = max(settings.batch_size // settings.accumulate, 2)
        chosen = spread(self.indexes["val"], self.windows.val_windows)
        batches = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        sums, count = {}, 0
        for numbers in batches[self.accelerator.process_index :: self.accelerator.num_processes]:
            for name, value in self.learner.losses(self.learner.batch(self._items(numbers))).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(numbers)
            count += len(numbers)
        found = self._mean_over_processes(sums, count)
        main.train()
        if self.kind == "generator" and "sync" in found:
            self.sync_is_on = self.schedule.after_evaluation(found["sync"], self.sync_is_on)
        if self.accelerator.is_main_process:
            self._note(found, show)
        return found

    def _items(self, numbers):
        return torch.utils.data.default_collate([self.data["val"][n] for n in numbers])

    def _mean_over_processes(self, sums, count):
        if self.accelerator.num_processes == 1:
            return {name: value / count for name, value in sums.items()}
        names = sorted(set(gather_object(sorted(sums))))  # a process without a batch learns the names from the others
        values = torch.tensor([sums.get(n, 0.0) for n in names] + [float(count)], dtype=torch.float64)
        *values, total = self.accelerator.reduce(values.to(self.accelerator.device), "sum").tolist()
        return {name: value / total for name, value in zip(names, values)}

    def _note(self, numbers, show):
        """Write down what was found, keep the best weights, warn, draw."""
        settings, is_generator = self.settings, self.kind == "generator"
        extra = {"sync_weight": self.sync_weight()} if is_generator else {}
        self.history.add(self.step, "val", **numbers, **extra)
        for sentence in warnings(self.history, settings, self.sync_weight()):
            log.warning("step %d: %s", self.step, sentence)
        score = numbers["total"]
        if is_generator:  # the discriminator moves: what it says cannot tell which step is best
            score = numbers["l1"] + settings.sync_weight * numbers.get("sync", 0.0)
        if score < self.best:
            self.best = score
            self._write(f"{self.kind}_best.pt")
        if is_generator and (self.step % settings.sample_every == 0 or self.step == settings.steps):
            show.strip_bgr = self.sample()

    @torch.no_grad()
    def sample(self) -> np.ndarray:
        """Write samples/step_<step>.png of fixed validation windows; returns the picture, BGR."""
        main = bare(self.learner.models["main"]).eval()
        batch = generator_batch(self._items(spread(self.indexes["val"], SAMPLES)), self.accelerator.device)
        with self.accelerator.autocast():
            drawn = main(batch.mels, batch.faces).float()
        main.train()
        strips = [strip(f[3:], f[:3], ours, truth) for f, ours, truth in zip(batch.faces, drawn, batch.truth)]
        picture = np.concatenate(strips, axis=1)
        path = self.folder / "samples" / f"step_{self.step:09d}.png"
        write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())
        return picture
