"""The state of a training run, what happens in a step, and how it is saved and resumed. Use `loop.train`."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import checkpoints, losses
from ..errors import DataError, SettingError
from ..project import write_json
from ..windows import StepBatches, Windows
from . import build, record
from .augment import augment
from .memory import advise_on_memory
from .show import Live
from .steps import expert_batch, expert_step, generator_batch, generator_step, middle_frame
from .stop import stop_asked
from .validate import evaluate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. weights: its newest checkpoint; best: that with the lowest held-out loss; rows: history.

    stopped: by the stop button or Ctrl-C. seconds: of this call; s_per_step: without evaluations and saving.
    """

    run: Path
    step: int
    weights: Path
    best: Path
    rows: list[dict]
    stopped: bool
    seconds: float
    s_per_step: float


class Trainer:
    """The state of a run, and what happens in a step. Use `train`."""

    def __init__(self, settings, windows, indexes, folder: Path, accelerator, resume: bool):
        self.settings, self.windows, self.indexes, self.folder = settings, windows, indexes, folder
        self.accelerator, self.kind = accelerator, settings.network
        self.fingerprint = indexes["train"].fingerprint
        self.networks = build.build_networks(settings)
        if settings.network == "generator":
            self.networks.main.mel_alignment = windows.alignment
        self.schedule = losses.SyncSchedule(
            settings.sync_schedule, settings.sync_weight, ramp_steps=settings.sync_ramp_steps
        )
        self.step, self.sync_is_on, self.best = 0, False, float("inf")
        self.data = {
            split: Windows(index, windows, settings.vary and split == "train") for split, index in indexes.items()
        }
        saved = self._find_earlier(resume)
        if saved:
            self._load_networks(saved)
        self.models = {
            name: build.wrap(network, accelerator, settings)
            if name in ("main", "discriminator")
            else network.to(accelerator.device)
            for name, network in self.networks.parts().items()
        }
        self.optimisers = build.optimisers(self.networks, settings)
        if saved:
            self._load_optimisers(saved)
        self.optimisers = {name: accelerator.prepare(o) for name, o in self.optimisers.items()}
        self.history = record.History(folder, self.step)

    # ---------------------------------------------------------------- beginning and resuming

    def _find_earlier(self, resume):
        """The checkpoint to continue from, or None; an earlier run that cannot be continued is never overwritten."""
        facts = {
            "settings": dataclasses.asdict(self.settings),
            "windows": dataclasses.asdict(self.windows),
            "data": self.fingerprint,
            "weights": build.first_weights(self.settings, self.networks),
            "processes": self.accelerator.num_processes,
        }
        before = record.read_json(self.folder / "settings.json")
        if before and not resume and self.accelerator.is_main_process:
            record.set_aside(self.folder)
            before = None
        saved = record.newest_checkpoint(self.folder, self.kind) if before and resume else None
        if saved:
            changed = record.differences(before, facts)
            if changed:
                raise SettingError(
                    f"{self.folder.name} was begun with other settings ({', '.join(changed)}): choose another "
                    "run name, or resume=False to set it aside and begin anew"
                )
        if self.accelerator.is_main_process:
            write_json(self.folder / "settings.json", facts)
            write_json(
                self.folder / "data.json",
                {
                    "video_ids": sorted({c.video_id for c in self.indexes["train"].clips}),
                    "val_video_ids": sorted({c.video_id for c in self.indexes["val"].clips}),
                    "fingerprint": self.fingerprint,
                },
            )
        self.accelerator.wait_for_everyone()
        return saved

    def _load_networks(self, saved):
        self.networks.main.load_state_dict(saved.weights)
        for name, weights in saved.state["networks"].items():
            getattr(self.networks, name).load_state_dict(weights)
        self.step, self.sync_is_on, self.best = saved.step, saved.state["sync_is_on"], saved.state["best"]
        log.info("%s: continuing at step %d", self.folder.name, self.step)

    def _load_optimisers(self, saved):
        self.optimisers["main"].load_state_dict(saved.optimizer)
        if "discriminator" in self.optimisers:
            self.optimisers["discriminator"].load_state_dict(saved.state["disc_optimizer"])
        if self.accelerator.scaler is not None and saved.state.get("scaler"):
            self.accelerator.scaler.load_state_dict(saved.state["scaler"])

    def save(self):
        """Write a checkpoint that holds all that changes from step to step."""
        if not self.accelerator.is_main_process:
            return None
        networks = {
            k: record.plain_state(v.state_dict())
            for k, v in self.networks.parts().items()
            if k in ("discriminator", "contrast") or (k == "expert" and self.settings.expert_mode == "train")
        }
        state = {"networks": networks, "sync_is_on": self.sync_is_on, "best": self.best}
        if "discriminator" in self.optimisers:
            state["disc_optimizer"] = record.plain_state(self.optimisers["discriminator"].state_dict())
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        path = self.write(f"{self.kind}_{self.step:09d}.pt", self.optimisers["main"], state)
        record.remove_old(self.folder, self.kind, self.settings.keep)
        self.history.flush()
        return path

    def write(self, name, optimizer=None, state=None):
        """Write checkpoints/<name>; without optimizer and state it is for use, not for resuming."""
        return checkpoints.save(
            self.folder / "checkpoints" / name,
            self.networks.main,
            optimizer=optimizer and record.plain_state(optimizer.state_dict()),
            step=self.step,
            epoch=self.step * self.settings.batch_size // max(len(self.indexes["train"]), 1),
            settings=self.settings,
            data_fingerprint=self.fingerprint,
            mel_alignment=self.windows.alignment,
            videos=sorted({c.video_id for c in self.indexes["train"].clips}),
            state=state,
        )

    # ---------------------------------------------------------------- the run

    def run(self, last: int, live: bool) -> TrainResult:
        """Go on to step `last`; returns early, after saving, when the user stops it."""
        began, spent, first = time.perf_counter(), 0.0, self.step
        show = Live(last, self.step, live, self.folder.name)
        if self.step == 0:
            evaluate(self, show)
        batches = iter(self._loader(last))
        with stop_asked() as asked:
            while self.step < last and not self._anyone(asked.is_set()):
                tick = time.perf_counter()
                numbers = self._one_step(next(batches))
                spent += time.perf_counter() - tick
                self.history.add(self.step, "train", **numbers, seconds=round(spent, 3))
                show.step(numbers)
                if self.step % self.settings.evaluate_every == 0 or self.step == last:
                    evaluate(self, show)
                if self.step % self.settings.save_every == 0:
                    self.save()
                show.draw(self.history)
            stopped = asked.is_set()
        path = self.save()
        show.draw(self.history, last=True)
        show.close()
        self.accelerator.wait_for_everyone()
        return TrainResult(
            self.folder,
            self.step,
            path,
            self.folder / "checkpoints" / f"{self.kind}_best.pt",
            self.history.rows,
            stopped,
            time.perf_counter() - began,
            spent / (self.step - first) if self.step > first else self._earlier_pace(),
        )

    def _earlier_pace(self) -> float:
        """Seconds a step of the run that left the history, for a call that had nothing left to do."""
        steps, spent = self.history.series("seconds")
        return float(np.median(np.diff(spent))) if len(steps) > 1 else float("nan")

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
        flag = torch.tensor(float(asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    def sync_weight(self) -> float:
        """The weight of the sync loss at this step."""
        return self.schedule.weight_at(self.step, self.sync_is_on) if self.networks.expert is not None else 0.0

    def _one_step(self, items) -> dict[str, float]:
        factor = build.learning_rate_factor(self.settings, self.step)
        for name, rate in (("main", self.settings.learning_rate), ("discriminator", self.settings.disc_learning_rate)):
            for group in self.optimisers[name].param_groups if name in self.optimisers else ():
                group["lr"] = rate * factor
        build.set_norms(build.bare(self.models["main"]), self.settings.freeze_norm)
        frames = self.settings.frames
        if self.settings.augment:
            if frames == 1:
                items, frames = middle_frame(items), 5
            names = ("faces",) if self.networks.contrast is not None else ("faces", "wrong")
            seed = (self.windows.seed, self.step, self.accelerator.process_index)
            items = augment(items, np.random.default_rng(seed), names)
        parts = [
            dict(zip(items, values)) for values in zip(*(v.chunk(self.settings.accumulate) for v in items.values()))
        ]
        learning = [self.models[n] for n in ("main", "discriminator") if n in self.models]
        totals = {}
        for part in parts:
            with self.accelerator.accumulate(*learning), advise_on_memory(self, part):
                numbers = self._update(part, frames)
            if not all(value - value == 0 for value in numbers.values()):
                self._stop_on_nan(part, numbers)
            for name, value in numbers.items():
                totals[name] = totals.get(name, 0.0) + value / len(parts)
        self.step += 1
        extra = {"sync_weight": self.sync_weight()} if self.kind == "generator" else {}
        return {**totals, "learning_rate": self.settings.learning_rate * factor, **extra}

    def _update(self, items, frames):
        device = self.accelerator.device
        if self.kind == "expert":
            contrast = self.networks.contrast
            batch = expert_batch(items, device, contrast is not None)
            return expert_step(
                self.models["main"], self.optimisers["main"], batch, contrast=contrast, accelerator=self.accelerator
            )
        return generator_step(
            self.models["main"],
            self.optimisers["main"],
            generator_batch(items, device, frames),
            expert=self.models.get("expert"),
            sync_weight=self.sync_weight(),
            discriminator=self.models.get("discriminator"),
            disc_optimizer=self.optimisers.get("discriminator"),
            disc_weight=self.settings.disc_weight,
            mouth_weight=self.settings.mouth_weight,
            accelerator=self.accelerator,
        )

    def _stop_on_nan(self, items, numbers):
        """No step was made with it; the newest checkpoint is from before."""
        self.history.flush()
        bad = [name for name, value in numbers.items() if value - value != 0]
        clips = ", ".join(self.data["train"].names(items["item"].tolist()))
        raise DataError(
            f"{self.folder.name}, step {self.step}: the loss ({', '.join(bad)}) is no number. Windows of this batch: "
            f"{clips}. Look at these clips, or lower learning_rate; the newest checkpoint is good."
        )
