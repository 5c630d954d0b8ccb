"""The training loop: one for the expert, the generator, and the generator with its discriminator.

What a step sees depends on its number alone, and a checkpoint holds all that changes: a run that is stopped and resumed
equals one that was not, bit for bit on a CPU. Several processes (`accelerate launch`) share every batch.
"""

import contextlib
import itertools
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import accelerate
import cv2
import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object
from tqdm import tqdm

from .. import checkpoints, losses, models
from ..config import TrainConfig, WindowsConfig
from ..errors import CheckpointError, DataError, SettingError
from ..project import content_hash, lock, progress, run_folder, write_bytes, write_json, write_text
from ..windows import ClipFaces, StepBatches, Windows, index_windows, spread, summary
from . import steps
from .augment import augment
from .checks import ExpertReport, find_problems

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
#: Which setting says with which weights a network begins, and at which rate it learns.
STARTS = {"main": "start", "expert": "expert", "discriminator": "discriminator"}
RATES = {"main": "learning_rate", "discriminator": "disc_learning_rate"}

# ---------------------------------------------------------------- networks


def open_network(kind: str, source, width: float):
    """A network of a kind ("generator", "expert", "discriminator") with its first weights.

    source: "scratch", or as for checkpoints.locate. Raises CheckpointError for weights that are missing, damaged or of
    another width.
    """
    if source != "scratch":
        return checkpoints.load(checkpoints.locate(source, kind), kind, width=width)
    network = checkpoints.KINDS[kind](width)
    if kind == "discriminator":  # torch's own first weights fade in layers without norm: 175 steps of "I do not know"
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):  # so the signal keeps its size through all layers (He et al., 2015)
                torch.nn.init.kaiming_normal_(module.weight, a=0.01)
                torch.nn.init.zeros_(module.bias)
    return network


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
    return accelerate.Accelerator(cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=settings.accumulate)


def learning_rate_factor(settings: TrainConfig, step: int) -> float:
    """What the rates are multiplied with at a 0-based step."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return factor * (0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0)


# ---------------------------------------------------------------- before a run


@dataclass(frozen=True)
class Preflight:
    """What was found. problems: why the run must not start; remarks: what is worth knowing.

    windows: by split, in words; expert: its report on training clips; s_per_step: measured, None where it was not;
    estimate_s: of the whole run, without evaluations.
    """

    problems: list[str]
    remarks: list[str]
    windows: dict[str, str]
    expert: ExpertReport | None
    s_per_step: float | None = None
    estimate_s: float | None = None

    def __str__(self):
        lines = [f"{split}: {words}" for split, words in self.windows.items()]
        if self.expert is not None:
            lines.append(f"expert: {self.expert}")
        if self.s_per_step is not None:
            lines.append(f"one step {self.s_per_step:.2f} s, the run about {self.estimate_s / 60:.1f} min")
        return "\n".join(lines + [f"remark: {r}" for r in self.remarks] + [f"PROBLEM: {p}" for p in self.problems])


def look(
    settings: TrainConfig, clips: list[ClipFaces], windows: WindowsConfig | None = None, *, timed: bool = True
) -> Preflight:
    """Preflight: check data, expert and speed before a run; changes nothing.

    Raises DataError (naming clips) where windows cannot even be listed, SettingError or CheckpointError for settings
    and weights that do not work.
    """
    trainer = Trainer(settings, clips, windows)
    problems, remarks, report = trainer.preflight()
    words = {split: summary(data.index) for split, data in trainer.data.items()}
    if problems or not timed:
        return Preflight(problems, remarks, words, report)
    trainer.place()
    batches, times = trainer.batches(4), []
    for _ in range(4):
        tick = time.perf_counter()
        trainer.one_step(next(batches))
        times.append(time.perf_counter() - tick)
    each = float(np.median(times[1:]))  # the first one is slower
    return Preflight(problems, remarks, words, report, each, each * settings.steps)


# ---------------------------------------------------------------- what a run leaves behind


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


def first_weights(settings: TrainConfig, roles) -> dict[str, str]:
    """12 digits of the sha256 of each file of weights that a run begins with."""
    found = {}
    for role in STARTS.keys() & roles:
        source, kind = getattr(settings, STARTS[role]), settings.network if role == "main" else role
        if source != "scratch":
            found[f"first weights of {role}"] = content_hash(checkpoints.locate(source, kind))[:12]
    return found


def differences(before: dict, now: dict) -> list[str]:
    """What keeps a run from being continued: "name=old, now new" for every setting that matters."""
    before, now = (json.loads(json.dumps(facts)) for facts in (before, now))  # a tuple is a list in both
    defaults = {**now, "settings": asdict(TrainConfig()), "windows": asdict(WindowsConfig())}
    found = [f"other {what}" for what in ("data", "processes") if before.get(what) != now[what]]
    for group in ("settings", "windows", "first weights"):
        for name, value in now[group].items():
            old = before.get(group, {}).get(
                name, json.loads(json.dumps(defaults[group].get(name)))
            )  # newer than the run
            longer = name == "steps" and not now["settings"]["decay"]
            if old != value and name not in FREE and not longer:
                found.append(f"{name}={old!r}, now {value!r}")
    return found


def set_aside(folder: Path) -> None:
    """Move what an earlier run left in a folder to a folder beside it: nothing trained is ever lost."""
    beside = (folder.with_name(f"{folder.name}-before-{k}") for k in itertools.count(1))
    target = next(path for path in beside if not path.exists())
    target.mkdir()
    for item in folder.iterdir():
        if not item.name.startswith(".lock"):
            item.rename(target / item.name)
    log.warning("the earlier run %s was set aside as %s", folder.name, target.name)


# ---------------------------------------------------------------- what is seen while it runs


class Live:
    """A bar with the remaining time, and in a notebook curves and strips that update. shown: False for a silent run."""

    def __init__(self, title: str, total: int, shown: bool):
        self.bar = progress(total=total, desc=title, unit="step") if shown else tqdm(disable=True)
        self.title, self.in_notebook, self.handle, self.when = title, shown and "ipykernel" in sys.modules, None, 0.0

    def update(self, trainer: "Trainer", numbers: dict | None = None) -> None:
        """Move the bar; draw curves and strip anew in the same place, but not more often than every few seconds.

        numbers: the losses of a step; None: the last time, draw in any case.
        """
        last, shown = numbers is None, ("total", "l1", "sync", "bce")
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in (numbers or {}).items() if k in shown}, refresh=False)
        self.bar.update(trainer.step - self.bar.n)
        if not self.in_notebook or (time.monotonic() - self.when < DRAW_EVERY_S and not last):
            return
        from IPython.display import display

        from .. import plots

        figure = plots.training_curves({self.title: trainer.history}, strip_rgb=trainer.strip_rgb)
        if self.handle:
            self.handle.update(figure)
        else:
            self.handle = display(figure, display_id=True)
        self.when = time.monotonic()


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


def warnings(history: pd.DataFrame, settings: TrainConfig, sync_weight: float) -> list[str]:
    """What should worry at this point of a run, in sentences; empty when all is well."""
    last = history[history.phase == "val"].tail(3)
    guesses = {n: (abs(last[n] - losses.COIN_FLIP_LOSS) < NEAR_COIN_FLIP).sum() == 3 for n in ("bce", "sync")}
    if settings.network == "expert":
        advice = "Check offsets and labels, raise the rate, or wait."
        return [f"the expert's loss sits at 0.69 (-ln 0.5): it guesses. {advice}"] if guesses["bce"] else []
    seen = history[["disc_real_seen", "disc_fake_seen"]].dropna().tail(RECENT)
    share = seen.to_numpy().mean() if len(seen) == RECENT else np.nan
    found = {
        "the sync loss has weight 0 at this step: nothing teaches the mouth to follow the sound "
        f"(sync_schedule={settings.sync_schedule!r}).": settings.sync_weight and not sync_weight,
        "sync_weight is 0: this run trains without any sync loss.": not settings.sync_weight and settings.frames > 1,
        "the sync loss sits at 0.69: to the expert the faces are neither in nor out of sync.": guesses["sync"],
        f"the discriminator wins: it tells {share:.0%} of the faces apart, its advice is then worth little. "
        "Lower disc_learning_rate.": share > SURE,
        f"the discriminator is blind: it tells {share:.0%} of the faces apart, half of them are guesses. "
        "Raise disc_learning_rate, or train it alone first.": share < BLIND,
    }
    return [sentence for sentence, is_so in found.items() if is_so]


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
    trainer = Trainer(settings, clips, windows)
    folder, accelerator = run if isinstance(run, Path) else run_folder(run), trainer.accelerator
    with lock(folder, what="this run") if accelerator.is_main_process else contextlib.nullcontext():
        trainer.begin(folder, resume)
        if check and trainer.step == 0 and (problems := trainer.preflight()[0]):
            raise DataError("training would not work: " + " ".join(problems))
        return trainer.run(min(stop_at or settings.steps, settings.steps), live and accelerator.is_local_main_process)


class Trainer:
    """The state of a run: how it steps, is evaluated, saved and resumed. Use `train`.

    networks: "main" learns; "expert" judges; "discriminator" and "contrast" learn beside it, where used. From scratch
    they depend on settings.seed alone.
    """

    def __init__(self, settings: TrainConfig, clips: list[ClipFaces], windows: WindowsConfig | None = None):
        self.settings, self.windows, self.kind = settings, windows or WindowsConfig(), settings.network
        indexes = {split: index_windows(clips, self.windows, split) for split in ("train", "val")}
        self.data = {split: Windows(index, self.windows) for split, index in indexes.items()}
        self.accelerator, n = make_accelerator(settings), len(indexes["train"])
        if (whole := settings.batch_size * self.accelerator.num_processes) > n:
            raise SettingError(
                f"a batch of {whole} windows is larger than the data, {n} windows: set batch_size to "
                f"at most {max(n // self.accelerator.num_processes, 1)}, or use more clips"
            )
        ramp = settings.sync_ramp_steps
        self.schedule = losses.SyncSchedule(settings.sync_schedule, settings.sync_weight, ramp_steps=ramp)
        self.step, self.sync_is_on, self.best, self.rows, self.strip_rgb = 0, False, math.inf, [], None
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.networks = {"main": open_network(self.kind, settings.start, settings.width)}
            if self.kind == "expert" and settings.expert_loss == "contrastive":
                self.networks["contrast"] = losses.ContrastiveLoss()
            if self.kind == "generator" and settings.sync_weight:
                expert = models.freeze(open_network("expert", settings.expert, settings.width))
                self.networks["expert"] = expert.train(settings.expert_mode == "train")
            if self.kind == "generator" and settings.disc_weight:
                self.networks["discriminator"] = open_network("discriminator", settings.discriminator, settings.width)

    def preflight(self):
        """What `checks.find_problems` finds."""
        indexes = {split: data.index for split, data in self.data.items()}
        return find_problems(self.settings, indexes, self.networks.get("expert"))

    def begin(self, folder: Path, resume: bool) -> None:
        """Continue the run in a folder, or begin one; an earlier run that cannot be continued is never overwritten."""
        self.folder, path, saved = folder, folder / "settings.json", None
        facts = {
            "settings": asdict(self.settings),
            "windows": asdict(self.windows),
            "data": self.data["train"].index.fingerprint,
            "first weights": first_weights(self.settings, self.networks),
            "processes": self.accelerator.num_processes,
        }
        if path.is_file() and resume:
            before, saved = json.loads(path.read_text()), newest_checkpoint(folder, self.kind)
            if saved and (changed := differences(before, facts)):
                raise SettingError(
                    f"{folder.name} was begun with other settings ({', '.join(changed)}): choose another "
                    "run name, or resume=False to set it aside and begin anew"
                )
        if self.accelerator.is_main_process:
            if path.is_file() and not resume:
                set_aside(folder)
            write_json(path, facts)
            seen = {"video_ids": self._videos("train"), "val_video_ids": self._videos("val")}
            write_json(folder / "data.json", seen | {"fingerprint": facts["data"]})
        self.accelerator.wait_for_everyone()
        if saved:
            self.step, self.sync_is_on, self.best = saved.step, saved.state["sync_is_on"], saved.state["best"]
            log.info("%s: continuing at step %d", folder.name, self.step)
            if (folder / "history.csv").is_file():  # later rows are dropped, for they are written again
                rows = read_history(folder / "history.csv")
                self.rows = rows[rows.step <= self.step].to_dict("records")
        self.place(saved)

    def _videos(self, split):
        return sorted({clip.video_id for clip in self.data[split].index.clips})

    def place(self, saved: checkpoints.Checkpoint | None = None) -> None:
        """Bring networks and optimisers to the device, in the state of a checkpoint where there is one."""
        if saved:
            for name, weights in {"main": saved.weights, **saved.state["networks"]}.items():
                self.networks[name].load_state_dict(weights)
        self.networks = {n: self._wrap(v) if n in RATES else v.to(self._device) for n, v in self.networks.items()}
        self.optimisers = {}
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
        network, ids = network.to(self._device, memory_format=torch.channels_last), None
        if self.accelerator.num_processes > 1:
            if self._device.type == "cuda":
                network, ids = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network), [self._device.index]
            network = torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)
        return torch.compile(network) if self.settings.compile else network

    @property
    def _device(self):
        return self.accelerator.device

    # ---------------------------------------------------------------- steps

    def run(self, last: int, live: bool) -> TrainResult:
        """Go on to step `last`; returns early, after saving, when the user stops it."""
        from torch.utils.tensorboard import SummaryWriter

        began, spent, stopped, show = time.perf_counter(), 0.0, False, Live(self.folder.name, last, live)
        if self.accelerator.is_main_process:
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step and self.step + 1)
        if self.step == 0:
            self.evaluate()
        batches = self.batches(last)
        with stop_asked() as asked, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self.write_history)  # also after a NaN or a second Ctrl-C
            while self.step < last and not stopped:
                tick = time.perf_counter()
                numbers = self.one_step(next(batches))
                spent += time.perf_counter() - tick
                self.note("train", numbers | {"seconds": round(spent, 3)})
                if self.step % self.settings.evaluate_every == 0 or self.step == last:
                    self.evaluate()
                if self.step % self.settings.save_every == 0:
                    self.save()
                show.update(self, numbers)
                stopped = any(gather_object([asked.is_set()]))  # all processes stop at the same step
        path, history = self.save(), self.history
        show.update(self)
        show.bar.close()
        self.accelerator.wait_for_everyone()
        each = np.diff(history.seconds.dropna(), prepend=0.0)  # of each step; begins anew where a run was resumed
        each, seconds = float(np.median(each[each > 0])), time.perf_counter() - began
        return TrainResult(self.folder, self.step, path, self._path("best"), history, stopped, seconds, each)

    def batches(self, last: int):
        """This process's batches from the next step to step `last`."""
        sampler = StepBatches(
            self.data["train"].index,
            self.windows,
            self.settings.batch_size,
            self.step,
            last,
            windows_per_clip=self.settings.windows_per_clip,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        options = {"num_workers": self.settings.workers, "pin_memory": self._device.type == "cuda"}
        return iter(torch.utils.data.DataLoader(self.data["train"], batch_sampler=sampler, **options))

    def one_step(self, items: dict) -> dict[str, float]:
        """One optimiser step on items of Windows, in `accumulate` parts; returns the mean losses and the rate."""
        settings, totals, rng = self.settings, {}, None
        factor = learning_rate_factor(settings, self.step)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = getattr(settings, RATES[name]) * factor
        for module in self.networks["main"].modules():  # frozen batch norms use their stored statistics and keep them
            is_norm = isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
            module.training = not (settings.freeze_norm and is_norm)
        learning = [self.networks[name] for name in self.optimisers]
        if settings.augment:
            rng = np.random.default_rng((self.windows.seed, self.step, self.accelerator.process_index))
        for values in zip(*(value.chunk(settings.accumulate) for value in items.values())):
            part = dict(zip(items, values))
            with advise_on_memory(len(part["item"])), self.accelerator.accumulate(*learning):
                numbers = self._descend(self._batch(part, rng))
            if bad := [name for name, value in numbers.items() if not math.isfinite(value)]:
                clips = ", ".join(self.data["train"].names(part["item"].tolist()))
                raise DataError(
                    f"step {self.step}: the loss ({', '.join(bad)}) is NaN. Windows of this batch: {clips}. "
                    "Look at these clips, or lower learning_rate; the newest checkpoint is good."
                )
            for name, value in numbers.items():
                totals[name] = totals.get(name, 0.0) + value / settings.accumulate
        self.step += 1
        return totals | {"learning_rate": settings.learning_rate * factor}

    def _batch(self, items, rng=None):
        """Items of Windows as a batch of the main network; rng: augments them."""
        contrastive = "contrast" in self.networks
        if self.settings.frames == 1:
            items = steps.middle_frame(items)
        if rng is not None:
            items = augment(items, rng, ("faces",) if contrastive else ("faces", "wrong"))
        if self.kind == "expert":
            return steps.expert_batch(items, self._device, contrastive)
        return steps.generator_batch(items, self._device)

    def _descend(self, batch):
        main, optimiser = self.networks["main"], self.optimisers["main"]
        if self.kind == "expert":
            return steps.expert_step(main, optimiser, batch, **self._beside())
        other = self.optimisers.get("discriminator")
        return steps.generator_step(main, optimiser, batch, disc_optimizer=other, **self._beside(self.sync_weight))

    def _beside(self, sync_weight=0.0):
        """The keywords of the losses of either network."""
        if self.kind == "expert":
            return {"contrast": self.networks.get("contrast"), "accelerator": self.accelerator}
        return {
            "expert": self.networks.get("expert"),
            "sync_weight": sync_weight,
            "discriminator": self.networks.get("discriminator"),
            "disc_weight": self.settings.disc_weight,
            "mouth_weight": self.settings.mouth_weight,
            "accelerator": self.accelerator,
        }

    @property
    def sync_weight(self) -> float:
        """The weight of the sync loss at this step."""
        return self.schedule.weight_at(self.step, self.sync_is_on)

    # ---------------------------------------------------------------- evaluation

    @torch.no_grad()
    def evaluate(self) -> None:
        """Note the mean losses on the validation windows, keep the best weights, warn, and draw samples.

        Also moves the reference's sync switch.
        """
        main, settings = models.bare(self.networks["main"]).eval(), self.settings
        size, parts = max(settings.batch_size // settings.accumulate, 2), []
        chosen = spread(self.data["val"].index, self.windows.val_windows)
        chunks = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        for numbers in chunks[self.accelerator.process_index :: self.accelerator.num_processes]:
            batch, beside = self._batch(self._val(numbers)), self._beside(settings.sync_weight)
            if self.kind == "expert":
                found = steps.expert_loss(main, batch, **beside)
            else:
                found = steps.generator_losses(main, batch, **beside)[1]
            parts.append({name: value.item() * len(numbers) for name, value in found.items()})
        parts = gather_object(parts)
        found = {name: sum(part[name] for part in parts) / len(chosen) for name in parts[0]}
        if "sync" in found:
            self.sync_is_on = self.schedule.after_evaluation(found["sync"], self.sync_is_on)
        self.note("val", found)
        if not self.accelerator.is_main_process:
            return
        for sentence in warnings(self.history, settings, self.sync_weight):
            log.warning("step %d: %s", self.step, sentence)
        score = found["total"]
        if self.kind == "generator":  # the discriminator moves: what it says cannot tell which step is best
            score = found["l1"] + settings.sync_weight * found.get("sync", 0.0)
        if score < self.best:
            self.best = score
            self._write("best")
        if self.kind == "generator" and (self.step % settings.sample_every == 0 or self.step == settings.steps):
            self._draw_samples(main)

    def _val(self, numbers):
        return torch.utils.data.default_collate([self.data["val"][n] for n in numbers])

    def _draw_samples(self, main):
        """Write samples/step_<step>.png: reference, masked, generated and true frames of fixed validation windows."""
        batch = steps.generator_batch(self._val(spread(self.data["val"].index, SAMPLES)), self._device)
        with self.accelerator.autocast():
            drawn = main(batch.mels, batch.faces).float()
        rows = torch.stack([batch.faces[:, 3:], batch.faces[:, :3], drawn, batch.truth])  # (4, B, 3, T, 96, 96)
        rows = rows.permute(0, 4, 1, 3, 5, 2).flatten(2, 4).flatten(0, 1)
        picture = (rows.cpu().numpy() * 255).round().clip(0, 255).astype(np.uint8)
        path, self.strip_rgb = self.folder / "samples" / f"step_{self.step:09d}.png", picture[..., ::-1]
        write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())

    # ---------------------------------------------------------------- what stays

    @property
    def history(self) -> pd.DataFrame:
        """A row per step ("train") and per evaluation ("val"); NaN where a number was not measured."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def note(self, phase: str, numbers: dict[str, float]) -> None:
        """Add the numbers of this step to the history and to TensorBoard."""
        weight = {"sync_weight": self.sync_weight} if self.kind == "generator" else {}
        self.rows.append({"step": self.step, "phase": phase, **numbers, **weight})
        if self.accelerator.is_main_process:
            for name, value in (numbers | weight).items():
                self.board.add_scalar(f"{name}/{phase}", value, self.step)

    def write_history(self) -> None:
        """Bring history.csv and TensorBoard's files up to date."""
        if self.accelerator.is_main_process:
            write_text(self.folder / "history.csv", self.history.to_csv(index=False, float_format="%.8g"))
            self.board.flush()

    def save(self) -> Path:
        """Write all that changes from step to step; older checkpoints go."""
        changes = ["discriminator", "contrast"] + ["expert"] * (self.settings.expert_mode == "train")
        changed = {n: models.bare(self.networks[n]).state_dict() for n in changes if n in self.networks}
        state = {"networks": changed, "sync_is_on": self.sync_is_on, "best": self.best}
        if "discriminator" in self.optimisers:
            state["disc_optimizer"] = self.optimisers["discriminator"].state_dict()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        self._write(f"{self.step:09d}", optimizer=self.optimisers["main"], state=state)
        if self.accelerator.is_main_process:
            for old in checkpoint_files(self.folder, self.kind)[self.settings.keep :]:
                old.unlink()
        self.write_history()
        return self._path(f"{self.step:09d}")

    def _path(self, name):
        return self.folder / "checkpoints" / f"{self.kind}_{name}.pt"

    def _write(self, name, **to_resume):
        if self.accelerator.is_main_process:
            index = self.data["train"].index
            checkpoints.save(
                self._path(name),
                self.networks["main"],
                step=self.step,
                epoch=self.step * self.settings.batch_size // len(index),
                settings=self.settings,
                data_fingerprint=index.fingerprint,
                mel_alignment=self.windows.alignment,
                videos=self._videos("train"),
                **to_resume,
            )
