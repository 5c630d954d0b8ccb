"""The training loop: one for the expert, the generator, and the generator with its discriminator.

Read it from top to bottom: `train`, then the Trainer: build, one step, validate, save and resume, the loop.
What a step sees depends on its number alone, and a checkpoint holds all that changes: a run that is stopped and resumed
equals one that was not, bit for bit on a CPU. Several processes (`accelerate launch`) share every batch.
"""

import contextlib
import json
import logging
import math
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

from .. import checkpoints, losses, models, project, windows
from ..config import TrainConfig, WindowsConfig, check
from ..errors import DataError, SettingError
from . import steps
from .augment import augment
from .checks import Preflight, preflight

log = logging.getLogger(__name__)

SAMPLES = 4  # windows in a picture of samples
KEPT = 2  # checkpoints that stay on the disk, besides the best
#: Settings that may differ when a run is resumed: they do not change what a step does.
FREE = {"workers", "save_every", "min_expert_accuracy"}
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
) -> TrainResult:
    """Train one network on clips; what the run leaves behind lies in its folder.

    clips: of both splits, see windows.load_clips. run: a name (outputs/<run>/) or a folder. resume: continue a run with
    the same settings and data; False: set an earlier run of that name aside and begin. Whether data and expert are fit
    for it says `look`.
    Raises SettingError, DataError or CheckpointError before anything is changed; DataError naming the clips of the
    batch whose loss is NaN.
    """
    trainer, folder = Trainer(settings, clips, windows), run if isinstance(run, Path) else project.run_folder(run)
    with project.lock(folder, "this run") if trainer.is_main else contextlib.nullcontext():
        trainer.begin(folder, resume)
        return trainer.run(live)


def look(settings: TrainConfig, clips: list, windows: WindowsConfig | None = None) -> Preflight:
    """Preflight: check data, expert and speed before a run; changes nothing.

    Raises DataError (naming clips) where windows cannot even be listed, SettingError or CheckpointError for settings
    and weights that do not work.
    """
    trainer, seconds = Trainer(settings, clips, windows), None
    indexes = {split: data.index for split, data in trainer.data.items()}
    problems, lines = preflight(settings, indexes, trainer.networks.get("expert"))
    if not problems:
        times = [trainer.one_step(items)["seconds"] for items in trainer.batches(4)]
        seconds = float(np.median(times[1:]))  # the first one is slower
        lines.append(f"one step {seconds:.2f} s, the run about {seconds * settings.steps / 60:.1f} min")
    return Preflight(problems, lines, seconds)


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
        self.accelerator = make_accelerator(settings)
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        whole, n = settings.batch_size * self.accelerator.num_processes, len(self.data["train"])
        check(whole <= n, f"a batch of {whole} windows is larger than the data, {n} windows: lower batch_size")
        self.step, self.sync_is_on, self.best, self.rows, self.strip_rgb = 0, False, math.inf, [], None
        self.first = {"main": (self.kind, settings.start)}  # kind and source of the first weights
        for judge, weight in {"expert": settings.sync_weight, "discriminator": settings.disc_weight}.items():
            if self.kind == "generator" and weight:
                self.first[judge] = (judge, getattr(settings, judge))
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.networks = {role: open_network(*first, settings.width) for role, first in self.first.items()}
        if "expert" in self.networks:
            models.freeze(self.networks["expert"]).train(settings.expert_mode == "train")
        if self.kind == "expert" and settings.expert_loss == "contrastive":
            self.networks["contrast"] = losses.ContrastiveLoss()
        self.networks = {name: network.to(self.device) for name, network in self.networks.items()}
        self.rates = {"main": settings.learning_rate, "discriminator": settings.disc_learning_rate}
        self.optimisers = {}
        for role in [role for role in self.rates if role in self.networks]:
            beside = ["contrast"] * (role == "main" and "contrast" in self.networks)
            learning = [p for name in (role, *beside) for p in self.networks[name].parameters()]
            optimiser = torch.optim.Adam(learning, self.rates[role], tuple(settings.betas))
            self.optimisers[role] = self.accelerator.prepare(optimiser)
            self.networks[role] = self._shared(self.networks[role])
        self.judges = {"accelerator": self.accelerator}
        if self.kind == "expert":
            self.judges["contrast"] = self.networks.get("contrast")
        else:
            self.judges |= {name: self.networks.get(name) for name in ("expert", "discriminator")}
            self.judges |= {"disc_weight": settings.disc_weight, "mouth_weight": settings.mouth_weight}

    def _shared(self, network):
        """A network whose gradients and batch norm are shared where there are several processes."""
        if self.accelerator.num_processes == 1:
            return network
        ids = None
        if self.device.type == "cuda":
            network, ids = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network), [self.device.index]
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=ids)

    # ---------------------------------------------------------------- one step

    def batches(self, last: int):
        """This process's batches from the next step to step `last`."""
        sampler = windows.StepBatches(
            self.data["train"].index,
            self.windows,
            self.settings.batch_size,
            self.step,
            last,
            windows_per_clip=self.settings.windows_per_clip,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        how = {"num_workers": self.settings.workers, "pin_memory": self.device.type == "cuda"}
        return torch.utils.data.DataLoader(self.data["train"], batch_sampler=sampler, **how)

    def one_step(self, items: dict) -> dict[str, float]:
        """One optimiser step on items of Windows; returns the losses, the learning rate and the seconds it took."""
        began, settings, rng = time.perf_counter(), self.settings, None
        factor = learning_rate_factor(settings, self.step)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name] * factor
        for module in self.networks["main"].train().modules():
            if settings.freeze_norm and isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()  # uses its stored statistics and keeps them
        if settings.augment:
            rng = np.random.default_rng((self.windows.seed, self.step, self.accelerator.process_index))
        try:
            numbers = self._descend(self._batch(items, rng))
        except RuntimeError as error:  # torch has no one class for it
            if "memory" not in str(error).lower():
                raise
            raise SettingError(
                f"out of memory with {len(items['item'])} windows at once: lower batch_size; with one at a time, use a "
                "smaller width. The newest checkpoint is good."
            ) from error
        if bad := [name for name, value in numbers.items() if not math.isfinite(value)]:
            clips = ", ".join(self.data["train"].names(items["item"].tolist()))
            raise DataError(
                f"step {self.step}: the loss ({', '.join(bad)}) is NaN. Windows of this batch: {clips}. "
                "Look at these clips, or lower learning_rate; the newest checkpoint is good."
            )
        self.step += 1
        seconds = round(time.perf_counter() - began, 3)
        return numbers | {"learning_rate": settings.learning_rate * factor, "seconds": seconds}

    def _batch(self, items, rng=None):
        """Items of Windows as a batch of the main network; rng: augments them."""
        contrastive = "contrast" in self.networks
        if self.settings.frames == 1:
            items = steps.middle_frame(items)
        if rng is not None:
            items = augment(items, rng, ("faces",) if contrastive else ("faces", "wrong"))
        if self.kind == "expert":
            return steps.expert_batch(items, self.device, contrastive)
        return steps.generator_batch(items, self.device)

    def _descend(self, batch):
        main, optimiser = self.networks["main"], self.optimisers["main"]
        if self.kind == "expert":
            return steps.expert_step(main, optimiser, batch, **self.judges)
        more = self.judges | {"sync_weight": self.sync_weight, "disc_optimizer": self.optimisers.get("discriminator")}
        return steps.generator_step(main, optimiser, batch, **more)

    @property
    def sync_weight(self) -> float:
        """The weight of the sync loss at this step."""
        settings = self.settings
        how = {"ramp_steps": settings.steps, "is_on": self.sync_is_on}
        return losses.scheduled_sync_weight(self.step, settings.sync_weight, settings.sync_schedule, **how)

    # ---------------------------------------------------------------- validate

    @torch.no_grad()
    def evaluate(self) -> None:
        """Note the mean losses on the validation windows, keep the best weights, warn, and draw samples.

        Every process does the same. Also moves the reference's sync switch.
        """
        main, settings, totals = models.bare(self.networks["main"]).eval(), self.settings, {}
        chosen = self._val(self.windows.val_windows)
        for items in torch.utils.data.DataLoader(chosen, max(settings.batch_size, 2)):
            batch = self._batch(items)
            if self.kind == "expert":
                found = steps.expert_loss(main, batch, **self.judges)
            else:
                found = steps.generator_losses(main, batch, sync_weight=settings.sync_weight, **self.judges)[1]
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + value.item() * len(items["item"]) / len(chosen)
        if "sync" in totals:
            self.sync_is_on |= totals["sync"] < losses.REFERENCE_THRESHOLD
        self.note("val", totals)
        score = totals["total"]
        if self.kind == "generator":  # the discriminator moves: what it says cannot tell which step is best
            score = totals["l1"] + settings.sync_weight * totals.get("sync", 0.0)
        if score < self.best:
            self.best = score
            self._write("best")
        if self.is_main:
            for sentence in warnings(self.history, settings, self.sync_weight):
                log.warning("step %d: %s", self.step, sentence)
            if self.kind == "generator":
                self._draw_samples(main)

    def _val(self, n):
        """n validation windows, always the same ones."""
        return torch.utils.data.Subset(self.data["val"], project.spread(len(self.data["val"]), n))

    def _draw_samples(self, main):
        """Write samples/step_<step>.png: reference, masked, generated and true frames of fixed validation windows."""
        batch = steps.generator_batch(torch.utils.data.default_collate([*self._val(SAMPLES)]), self.device)
        with self.accelerator.autocast():
            drawn = main(batch.mels, batch.faces).float()
        rows = batch.faces[:, 3:], batch.faces[:, :3], drawn, batch.truth  # (B, 3, T, 96, 96) each
        strip = torch.cat([row.permute(3, 0, 2, 4, 1).flatten(1, 3) for row in rows])
        picture = (strip * 255).round().clamp(0, 255).byte().cpu().numpy()
        path, self.strip_rgb = self.folder / "samples" / f"step_{self.step:09d}.png", picture[..., ::-1]
        project.write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())

    def draw_curves(self, again: bool) -> None:
        """Draw curves and samples in a notebook; again: in the same place."""
        if "ipykernel" in sys.modules:
            from IPython.display import display

            from .. import plots

            figure = plots.training_curves({self.folder.name: self.history}, strip_rgb=self.strip_rgb)
            display(figure, display_id=str(id(self)), update=again)

    # ---------------------------------------------------------------- save and resume

    def begin(self, folder: Path, resume: bool) -> None:
        """Continue the run in a folder, or begin one; an earlier run that cannot be continued is never overwritten."""
        self.folder, path = folder, folder / "settings.json"
        first_weights = {
            f"first weights of {role}": project.content_hash(checkpoints.locate(source, kind))[:12]
            for role, (kind, source) in self.first.items()
            if source != "scratch"
        }
        how = {
            "data": self.data["train"].index.fingerprint,
            "processes": self.accelerator.num_processes,
            **first_weights,
        }
        facts = {"settings": asdict(self.settings), "windows": asdict(self.windows), "how": how}
        made = checkpoint_files(folder, self.kind)
        if resume and made:
            saved = checkpoints.read(made[0], self.kind)
            changed = ", ".join(differences(json.loads(path.read_text()), facts))
            check(
                not changed,
                f"{folder.name} was begun with other settings ({changed}): choose another "
                "run name, or resume=False to set it aside and begin anew",
            )
            self.step, self.sync_is_on, self.best = saved.step, saved.state["sync_is_on"], saved.state["best"]
            for name, weights in {"main": saved.weights, **saved.state["networks"]}.items():
                models.bare(self.networks[name]).load_state_dict(weights)
            for role, state in {"main": saved.optimizer, **saved.state["optimizers"]}.items():
                self.optimisers[role].load_state_dict(state)
            if self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(saved.state["scaler"])
            rows = pd.read_csv(folder / "history.csv")  # later rows are dropped, for they are written again
            self.rows = rows[rows.step <= self.step].to_dict("records")
            log.info("%s: continuing at step %d", folder.name, self.step)
        if self.is_main:
            if path.is_file() and not resume:
                set_aside(folder)
            project.write_json(path, facts)
            seen = {"video_ids": self._videos("train"), "val_video_ids": self._videos("val")}
            project.write_json(folder / "data.json", seen)
        self.accelerator.wait_for_everyone()

    def _videos(self, split):
        return sorted({clip.video_id for clip in self.data[split].index.clips})

    def save(self) -> Path:
        """Write all that changes from step to step; older checkpoints go."""
        fixed = {"main"} | ({"expert"} if self.settings.expert_mode == "eval" else set())
        state = {
            "networks": {n: models.bare(net).state_dict() for n, net in self.networks.items() if n not in fixed},
            "optimizers": {role: o.state_dict() for role, o in self.optimisers.items() if role != "main"},
            "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
            "sync_is_on": self.sync_is_on,
            "best": self.best,
        }
        self.write_history()
        path = self._write(f"{self.step:09d}", optimizer=self.optimisers["main"], state=state)
        if self.is_main:
            for old in checkpoint_files(self.folder, self.kind)[KEPT:]:
                old.unlink()
        return path

    def _path(self, name):
        return self.folder / "checkpoints" / f"{self.kind}_{name}.pt"

    def _write(self, name, **to_resume):
        if self.is_main:
            checkpoints.save(
                self._path(name),
                self.networks["main"],
                step=self.step,
                settings=asdict(self.settings),
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
        if self.is_main:
            for name, value in numbers.items():
                self.board.add_scalar(f"{name}/{phase}", value, self.step)

    def write_history(self) -> None:
        """Bring history.csv and TensorBoard's files up to date."""
        if self.is_main:
            project.write_text(self.folder / "history.csv", self.history.to_csv(index=False, float_format="%.8g"))
            self.board.flush()

    # ---------------------------------------------------------------- the loop

    def run(self, live: bool) -> TrainResult:
        """Go on to the last step; returns early, after saving, when the user stops it."""
        from torch.utils.tensorboard import SummaryWriter

        live, began, stopped = live and self.is_main, time.perf_counter(), False
        first, last = self.step, self.settings.steps
        if self.is_main:
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=first and first + 1)
        bar = project.progress(total=last, initial=first, desc=self.folder.name, unit="step", disable=not live)
        if first == 0:
            self.evaluate()
        drawn = False
        with stop_button(self.accelerator.set_trigger), bar, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self.write_history)  # also after a NaN or a second Ctrl-C
            for items in self.batches(last):
                numbers = self.one_step(items)
                self.note("train", numbers)
                if self.step % self.settings.evaluate_every == 0 or self.step == last:
                    self.evaluate()
                    if live:
                        self.draw_curves(again=drawn)
                        drawn = True
                if self.step % self.settings.save_every == 0:
                    self.save()
                bar.set_postfix(loss=f"{numbers['total']:.3f}", refresh=False)
                bar.update()
                if stopped := self.accelerator.check_trigger():  # in any of the processes
                    break
        path, history = self.save(), self.history
        self.accelerator.wait_for_everyone()
        seconds, each = time.perf_counter() - began, float(history.seconds.median())
        return TrainResult(self.step, path, self._path("best"), history, stopped, seconds, each)


# ---------------------------------------------------------------- networks and machines


def open_network(kind: str, source: str, width: float) -> torch.nn.Module:
    """First weights of a network in eval mode: by a name or path (see checkpoints.locate), or "scratch".

    Raises CheckpointError for a file that is missing, damaged or of another width.
    """
    if source != "scratch":
        network = checkpoints.load(checkpoints.locate(source, kind), kind, width=width)
    else:
        network = checkpoints.KINDS[kind](width)
        if kind == "discriminator":  # torch's own first weights fade without norm: 175 steps of "I do not know"
            for module in network.modules():
                if isinstance(module, torch.nn.Conv2d):  # the signal keeps its size in all layers (He et al., 2015)
                    torch.nn.init.kaiming_normal_(module.weight, a=0.01)
                    torch.nn.init.zeros_(module.bias)
    return network.to(memory_format=torch.channels_last)  # twice as fast on a CPU


def make_accelerator(settings: TrainConfig) -> accelerate.Accelerator:
    """An Accelerator for this process; a notebook may make one after another with other precisions.

    auto: what this machine is fast in. A T4 has fp16 but no bf16; a CPU is faster in bf16 where it has AMX (2x) or
    AVX-512 for it (1.7x), else slower.
    """
    state, precision = accelerate.state.AcceleratorState, settings.precision
    wanted = accelerate.utils.parse_flag_from_env("ACCELERATE_USE_CPU")
    cpu = wanted or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if accelerate.PartialState(cpu=cpu).num_processes == 1:
        state._reset_state(reset_partial_state=True)
    device = accelerate.PartialState(cpu=cpu).device.type
    check(precision != "fp16" or device == "cuda", "precision fp16 needs a GPU: use auto, bf16 or fp32")
    if precision == "auto" and device == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    elif precision == "auto":
        fast = any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("amx_tile", "avx512_bf16"))
        precision = "bf16" if device == "cpu" and fast else "fp32"
    precision = "no" if precision == "fp32" else precision
    return accelerate.Accelerator(cpu=cpu, mixed_precision=precision)


def learning_rate_factor(settings: TrainConfig, step: int) -> float:
    """What the rates are multiplied with at a 0-based step."""
    factor = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    return factor * (0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0)


@contextlib.contextmanager
def stop_button(stop):
    """Inside, Ctrl-C or the stop button calls stop(): the step in work is finished. Twice: at once."""

    def pressed(*_):
        log.warning("stopping after this step; once more to stop at once")
        signal.signal(signal.SIGINT, before)
        stop()

    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------- what a run leaves behind


def checkpoint_files(folder: Path, kind: str) -> list[Path]:
    """A run's numbered checkpoints, newest first."""
    return sorted((folder / "checkpoints").glob(f"{kind}_[0-9]*.pt"), reverse=True)


def differences(before: dict, now: dict) -> list[str]:
    """What keeps a run from being continued: "name=old, now new" for every setting that matters; see Trainer.begin."""
    now = json.loads(json.dumps(now))  # a tuple is a list in both
    free = FREE | (set() if now["settings"]["decay"] else {"steps"})  # a longer run is no other run
    pairs = [(name, before.get(group, {}).get(name), new) for group in now for name, new in now[group].items()]
    return [f"{name}={old!r}, now {new!r}" for name, old, new in pairs if old != new and name not in free]


def set_aside(folder: Path) -> None:
    """Move what an earlier run left in a folder to a folder beside it: nothing trained is ever lost."""
    count = len([*folder.parent.glob(f"{folder.name}-before-*")])
    target = folder.with_name(f"{folder.name}-before-{count + 1}")
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
