"""The training loop: one for the expert, the generator, and the generator with its discriminator.

Read it from top to bottom: `train`, then the Trainer: build, one step, validate, save and resume, the loop.
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

from .. import checkpoints, losses, models, project, windows
from ..config import TrainConfig, WindowsConfig, check
from ..errors import CheckpointError, DataError, SettingError
from . import steps
from .augment import augment
from .checks import find_problems

log = logging.getLogger(__name__)

SAMPLES = 4  # windows in a picture of samples
#: Settings that may differ when a run is resumed: they do not change what a step does.
FREE = {"workers", "save_every", "sample_every", "keep", "compile", "min_expert_accuracy"}
COLUMNS = ["step", "phase", "total", "l1", "sync", "perceptual", "disc_real", "disc_fake", "disc_real_seen"]
COLUMNS += ["disc_fake_seen", "bce", "contrastive", "sync_weight", "learning_rate", "seconds"]
NEAR_COIN_FLIP = 0.03
RECENT = 50  # steps
SURE, BLIND = 0.98, 0.55  # shares of faces that the discriminator tells apart


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. weights: its newest checkpoint; best: that with the lowest held-out loss; history: its table.

    stopped: by the stop button or Ctrl-C. seconds: of this call; s_per_step: without evaluations and saving.
    """

    step: int
    weights: Path
    best: Path
    history: pd.DataFrame
    stopped: bool
    seconds: float
    s_per_step: float


def train(
    settings: TrainConfig,
    clips: list[windows.ClipFaces],
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
    trainer, folder = Trainer(settings, clips, windows), run if isinstance(run, Path) else project.run_folder(run)
    with project.lock(folder, "this run") if trainer.accelerator.is_main_process else contextlib.nullcontext():
        trainer.begin(folder, resume)
        if check and trainer.step == 0 and (problems := trainer.preflight()[0]):
            raise DataError("training would not work: " + " ".join(problems))
        return trainer.run(min(stop_at or settings.steps, settings.steps), live)


@dataclass(frozen=True)
class Preflight:
    """What was found before a run. problems: why it must not start; s_per_step: measured, None where it was not."""

    problems: list[str]
    lines: list[str]
    s_per_step: float | None = None

    def __str__(self):
        return "\n".join(self.lines + [f"PROBLEM: {problem}" for problem in self.problems])


def look(settings: TrainConfig, clips: list, windows: WindowsConfig | None = None) -> Preflight:
    """Preflight: check data, expert and speed before a run; changes nothing.

    Raises DataError (naming clips) where windows cannot even be listed, SettingError or CheckpointError for settings
    and weights that do not work.
    """
    trainer = Trainer(settings, clips, windows)
    problems, lines = trainer.preflight()
    if problems:
        return Preflight(problems, lines)
    trainer.place()
    batches, times = trainer.batches(4), []
    for _ in range(4):
        tick = time.perf_counter()
        trainer.one_step(next(batches))
        times.append(time.perf_counter() - tick)
    each = float(np.median(times[1:]))  # the first one is slower
    lines.append(f"one step {each:.2f} s, the run about {each * settings.steps / 60:.1f} min")
    return Preflight(problems, lines, each)


class Trainer:
    """The state of a run: how it steps, is evaluated, saved and resumed. Use `train`.

    networks: "main" learns; "expert" judges; "discriminator" and "contrast" learn beside it, where used. From scratch
    they depend on settings.seed alone.
    """

    # ---------------------------------------------------------------- build

    def __init__(self, settings: TrainConfig, clips: list, windows_settings: WindowsConfig | None = None):
        self.settings, self.windows, self.kind = settings, windows_settings or WindowsConfig(), settings.network
        indexes = {split: windows.index_windows(clips, self.windows, split) for split in ("train", "val")}
        self.data = {split: windows.Windows(index, self.windows) for split, index in indexes.items()}
        self.accelerator, n = make_accelerator(settings), len(indexes["train"])
        whole = settings.batch_size * self.accelerator.num_processes
        check(whole <= n, f"a batch of {whole} windows is larger than the data, {n} windows: lower batch_size")
        ramp = settings.sync_ramp_steps
        self.schedule = losses.SyncSchedule(settings.sync_schedule, settings.sync_weight, ramp_steps=ramp)
        self.step, self.sync_is_on, self.best, self.rows, self.strip_rgb = 0, False, math.inf, [], None
        self.rates = {"main": settings.learning_rate, "discriminator": settings.disc_learning_rate}
        self.first = {"main": (self.kind, settings.start)}  # kind and source of the first weights
        if self.kind == "generator" and settings.sync_weight:
            self.first["expert"] = ("expert", settings.expert)
        if self.kind == "generator" and settings.disc_weight:
            self.first["discriminator"] = ("discriminator", settings.discriminator)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.networks = {role: open_network(*first, settings.width) for role, first in self.first.items()}
        if "expert" in self.networks:
            models.freeze(self.networks["expert"]).train(settings.expert_mode == "train")
        if self.kind == "expert" and settings.expert_loss == "contrastive":
            self.networks["contrast"] = losses.ContrastiveLoss()

    def preflight(self) -> tuple[list[str], list[str]]:
        """(problems, what else is worth knowing)."""
        indexes = {split: data.index for split, data in self.data.items()}
        problems, remarks = find_problems(self.settings, indexes, self.networks.get("expert"))
        return problems, [f"{split}: {windows.summary(index)}" for split, index in indexes.items()] + remarks

    def place(self, saved: checkpoints.Checkpoint | None = None) -> None:
        """Bring networks and optimisers to the device, in the state of a checkpoint where there is one."""
        if saved:
            for name, weights in {"main": saved.weights, **saved.state["networks"]}.items():
                self.networks[name].load_state_dict(weights)
        self.optimisers = {}
        for name, network in self.networks.items():
            if name not in self.rates:
                network.to(self._device)
                continue
            self.networks[name] = network = self._wrap(network)
            learning = [*network.parameters()]
            if name == "main" and "contrast" in self.networks:
                learning += self.networks["contrast"].parameters()
            optimiser = torch.optim.Adam(learning, self.rates[name], tuple(self.settings.betas))
            if saved:
                optimiser.load_state_dict(saved.optimizer if name == "main" else saved.state["disc_optimizer"])
            self.optimisers[name] = self.accelerator.prepare(optimiser)
        if saved and self.accelerator.scaler and "scaler" in saved.state:
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

    # ---------------------------------------------------------------- one step

    def batches(self, last: int):
        """This process's batches from the next step to step `last`."""
        settings, data = self.settings, self.data["train"]
        sampler = windows.StepBatches(
            data.index,
            self.windows,
            settings.batch_size,
            self.step,
            last,
            windows_per_clip=settings.windows_per_clip,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        pin = self._device.type == "cuda"
        loader = torch.utils.data.DataLoader
        return iter(loader(data, batch_sampler=sampler, num_workers=settings.workers, pin_memory=pin))

    def one_step(self, items: dict) -> dict[str, float]:
        """One optimiser step on items of Windows, in `accumulate` parts; returns the mean losses and the rate."""
        settings, totals, rng = self.settings, {}, None
        factor = learning_rate_factor(settings, self.step)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name] * factor
        for module in self.networks["main"].train().modules():
            if settings.freeze_norm and isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()  # uses its stored statistics and keeps them
        if settings.augment:
            rng = np.random.default_rng((self.windows.seed, self.step, self.accelerator.process_index))
        for values in zip(*(value.chunk(settings.accumulate) for value in items.values())):
            part = dict(zip(items, values))
            learning = [self.networks[name] for name in self.optimisers]
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
        main, optimiser, judges = self.networks["main"], self.optimisers["main"], self._judges(self.sync_weight)
        if self.kind == "expert":
            return steps.expert_step(main, optimiser, batch, **judges)
        other = self.optimisers.get("discriminator")
        return steps.generator_step(main, optimiser, batch, disc_optimizer=other, **judges)

    def _judges(self, sync_weight):
        """What the losses need beside the network that learns."""
        beside = {"accelerator": self.accelerator}
        if self.kind == "expert":
            return beside | {"contrast": self.networks.get("contrast")}
        beside |= {name: self.networks.get(name) for name in ("expert", "discriminator")}
        beside |= {name: getattr(self.settings, name) for name in ("disc_weight", "mouth_weight")}
        return beside | {"sync_weight": sync_weight}

    @property
    def sync_weight(self) -> float:
        """The weight of the sync loss at this step."""
        return self.schedule.weight_at(self.step, self.sync_is_on)

    # ---------------------------------------------------------------- validate

    @torch.no_grad()
    def evaluate(self) -> None:
        """Note the mean losses on the validation windows, keep the best weights, warn, and draw samples.

        Also moves the reference's sync switch.
        """
        main, settings = models.bare(self.networks["main"]).eval(), self.settings
        size, parts = max(settings.batch_size // settings.accumulate, 2), []
        chosen = windows.spread(self.data["val"].index, self.windows.val_windows)
        chunks = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        for numbers in chunks[self.accelerator.process_index :: self.accelerator.num_processes]:
            batch, judges = self._batch(self._val(numbers)), self._judges(settings.sync_weight)
            if self.kind == "expert":
                found = steps.expert_loss(main, batch, **judges)
            else:
                found = steps.generator_losses(main, batch, **judges)[1]
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
        items = self._val(windows.spread(self.data["val"].index, SAMPLES))
        batch = steps.generator_batch(items, self._device)
        with self.accelerator.autocast():
            drawn = main(batch.mels, batch.faces).float()
        rows = torch.stack([batch.faces[:, 3:], batch.faces[:, :3], drawn, batch.truth])  # (4, B, 3, T, 96, 96)
        rows = rows.permute(0, 4, 1, 3, 5, 2).flatten(2, 4).flatten(0, 1)
        picture = (rows.cpu().numpy() * 255).round().clip(0, 255).astype(np.uint8)
        path, self.strip_rgb = self.folder / "samples" / f"step_{self.step:09d}.png", picture[..., ::-1]
        project.write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())

    def draw_curves(self, again: bool) -> bool:
        """Draw curves and samples in a notebook, again: in the same place; True where there is one."""
        if "ipykernel" not in sys.modules:
            return False
        from IPython.display import display

        from .. import plots

        figure = plots.training_curves({self.folder.name: self.history}, strip_rgb=self.strip_rgb)
        display(figure, display_id=str(id(self)), update=again)
        return True

    # ---------------------------------------------------------------- save and resume

    def begin(self, folder: Path, resume: bool) -> None:
        """Continue the run in a folder, or begin one; an earlier run that cannot be continued is never overwritten."""
        self.folder, path, saved = folder, folder / "settings.json", None
        facts = {
            "settings": asdict(self.settings),
            "windows": asdict(self.windows),
            "data": self.data["train"].index.fingerprint,
            "first weights": {
                f"first weights of {role}": project.content_hash(checkpoints.locate(source, kind))[:12]
                for role, (kind, source) in self.first.items()
                if source != "scratch"
            },
            "processes": self.accelerator.num_processes,
        }
        if resume and path.is_file() and (saved := newest_checkpoint(folder, self.kind)):
            changed = differences(json.loads(path.read_text()), facts)
            check(
                not changed,
                f"{folder.name} was begun with other settings ({', '.join(changed)}): choose another "
                "run name, or resume=False to set it aside and begin anew",
            )
        if self.accelerator.is_main_process:
            if path.is_file() and not resume:
                set_aside(folder)
            project.write_json(path, facts)
            seen = {"video_ids": self._videos("train"), "val_video_ids": self._videos("val")}
            project.write_json(folder / "data.json", seen | {"fingerprint": facts["data"]})
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

    def save(self) -> Path:
        """Write all that changes from step to step; older checkpoints go."""
        changes = ["discriminator", "contrast"] + ["expert"] * (self.settings.expert_mode == "train")
        changed = {n: models.bare(self.networks[n]).state_dict() for n in changes if n in self.networks}
        state = {"networks": changed, "sync_is_on": self.sync_is_on, "best": self.best}
        if "discriminator" in self.optimisers:
            state["disc_optimizer"] = self.optimisers["discriminator"].state_dict()
        if self.accelerator.scaler:
            state["scaler"] = self.accelerator.scaler.state_dict()
        path = self._write(f"{self.step:09d}", optimizer=self.optimisers["main"], state=state)
        if self.accelerator.is_main_process:
            for old in checkpoint_files(self.folder, self.kind)[self.settings.keep :]:
                old.unlink()
        self.write_history()
        return path

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
        return self._path(name)

    @property
    def history(self) -> pd.DataFrame:
        """A row per step ("train") and per evaluation ("val"); NaN where a number was not measured."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def note(self, phase: str, numbers: dict[str, float]) -> None:
        """Add the numbers of this step to the history and to TensorBoard."""
        numbers = numbers | ({"sync_weight": self.sync_weight} if self.kind == "generator" else {})
        self.rows.append({"step": self.step, "phase": phase, **numbers})
        if self.accelerator.is_main_process:
            for name, value in numbers.items():
                self.board.add_scalar(f"{name}/{phase}", value, self.step)

    def write_history(self) -> None:
        """Bring history.csv and TensorBoard's files up to date."""
        if self.accelerator.is_main_process:
            project.write_text(self.folder / "history.csv", self.history.to_csv(index=False, float_format="%.8g"))
            self.board.flush()

    # ---------------------------------------------------------------- the loop

    def run(self, last: int, live: bool) -> TrainResult:
        """Go on to step `last`; returns early, after saving, when the user stops it."""
        from torch.utils.tensorboard import SummaryWriter

        live = live and self.accelerator.is_local_main_process
        began, spent, stopped, drawn = time.perf_counter(), 0.0, False, False
        if self.accelerator.is_main_process:
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step and self.step + 1)
        bar = project.progress(total=last, initial=self.step, desc=self.folder.name, unit="step", disable=not live)
        if self.step == 0:
            self.evaluate()
        batches = self.batches(last)
        with stop_asked() as asked, bar, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self.write_history)  # also after a NaN or a second Ctrl-C
            while self.step < last and not stopped:
                tick = time.perf_counter()
                numbers = self.one_step(next(batches))
                spent += time.perf_counter() - tick
                self.note("train", numbers | {"seconds": round(spent, 3)})
                if self.step % self.settings.evaluate_every == 0 or self.step == last:
                    self.evaluate()
                    drawn = live and self.draw_curves(drawn)
                if self.step % self.settings.save_every == 0:
                    self.save()
                bar.set_postfix(loss=f"{numbers['total']:.3f}", refresh=False)
                bar.update()
                stopped = any(gather_object([asked.is_set()]))  # all processes stop at the same step
        path, history = self.save(), self.history
        self.accelerator.wait_for_everyone()
        each = np.diff(history.seconds.dropna(), prepend=0.0)  # of each step; begins anew where a run was resumed
        each, seconds = float(np.median(each[each > 0])), time.perf_counter() - began
        return TrainResult(self.step, path, self._path("best"), history, stopped, seconds, each)


# ---------------------------------------------------------------- networks and machines


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


def make_accelerator(settings: TrainConfig) -> accelerate.Accelerator:
    """An Accelerator for this process; a notebook may make one after another with other precisions.

    auto: what this machine is fast in. A T4 has fp16 but no bf16; a CPU is faster in bf16 only where it has AMX (2x
    here), else slower.
    """
    state, precision = accelerate.state.AcceleratorState, settings.precision
    wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    cpu = wanted or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if not state._shared_state or accelerate.PartialState(cpu=cpu).num_processes == 1:
        state._reset_state(reset_partial_state=True)
    device = accelerate.PartialState(cpu=cpu).device.type
    check(precision != "fp16" or device == "cuda", "precision fp16 needs a GPU: use auto, bf16 or fp32")
    if precision == "auto" and device == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    elif precision == "auto":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        precision = "bf16" if device == "cpu" and amx() else "fp32"
    precision = "no" if precision == "fp32" else precision
    return accelerate.Accelerator(cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=settings.accumulate)


def learning_rate_factor(settings: TrainConfig, step: int) -> float:
    """What the rates are multiplied with at a 0-based step."""
    factor = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return factor * (0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0)


@contextlib.contextmanager
def advise_on_memory(n_windows: int):
    """Turn torch's out-of-memory error in a step on so many windows into one that says what to change."""
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        raise SettingError(
            f"out of memory with {n_windows} windows at once: halve them by doubling accumulate (the same batch in "
            "more parts) or lower batch_size; with one at a time, use a smaller width. The newest checkpoint is good."
        ) from error


@contextlib.contextmanager
def stop_asked():
    """Inside, Ctrl-C or the stop button sets the yielded event: the step in work is finished. Twice: at once."""
    asked, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def note(number, frame):
        log.warning("stopping after this step; once more to stop at once")
        asked.set()
        signal.signal(signal.SIGINT, before)

    is_main = threading.current_thread() is threading.main_thread()  # only there can signals be handled
    if is_main:
        signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


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


def differences(before: dict, now: dict) -> list[str]:
    """What keeps a run from being continued: "name=old, now new" for every setting that matters."""
    defaults = now | {"settings": asdict(TrainConfig()), "windows": asdict(WindowsConfig())}
    before, now, defaults = json.loads(json.dumps([before, now, defaults]))  # a tuple is a list in all
    found = [f"other {what}" for what in ("data", "processes") if before.get(what) != now[what]]
    for group in ("settings", "windows", "first weights"):
        earlier = defaults[group] | before.get(group, {})  # a setting that is newer than the run had its default
        for name, value in now[group].items():
            longer = name == "steps" and not now["settings"]["decay"]
            if earlier.get(name) != value and name not in FREE and not longer:
                found.append(f"{name}={earlier.get(name)!r}, now {value!r}")
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


def warnings(history: pd.DataFrame, settings: TrainConfig, sync_weight: float) -> list[str]:
    """What should worry at this point of a run, in sentences; empty when all is well."""
    last = history[history.phase == "val"].tail(3)
    guesses = {n: (abs(last[n] - losses.COIN_FLIP_LOSS) < NEAR_COIN_FLIP).sum() == 3 for n in ("bce", "sync")}
    seen = history[["disc_real_seen", "disc_fake_seen"]].dropna().tail(RECENT)
    share = seen.to_numpy().mean() if len(seen) == RECENT else np.nan
    found = {
        "the expert's loss sits at 0.69 (-ln 0.5): it guesses. Check offsets and labels, raise the rate, or wait.": (
            settings.network == "expert" and guesses["bce"]
        ),
        "the sync loss has weight 0 at this step: nothing teaches the mouth to follow the sound "
        f"(sync_schedule={settings.sync_schedule!r}).": settings.sync_weight and not sync_weight,
        "the sync loss sits at 0.69: to the expert the faces are neither in nor out of sync.": guesses["sync"],
        f"the discriminator wins: it tells {share:.0%} of the faces apart, its advice is then worth little. "
        "Lower disc_learning_rate.": share > SURE,
        f"the discriminator is blind: it tells {share:.0%} of the faces apart, half of them are guesses. "
        "Raise disc_learning_rate, or train it alone first.": share < BLIND,
    }
    return [sentence for sentence, is_so in found.items() if is_so]
