"""Everything behind the embedded weights, from nothing to the shipped files (notebook 10):

    python -m lipsync_utils.training.pretrain --folder outputs/pretraining --jobs 2

Invented actors are rendered; an expert, a judge, a generator with its discriminator and a reader of mouths learn from
them. Each stage is a process of its own that continues where it was killed; stages that need nothing of each other run
side by side.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .. import checkpoints, config, models
from ..audio import frame_window_start, mel_window, sync_window_start
from ..config import TrainConfig, WindowsConfig
from ..metrics import correlation
from ..project import atomic_file, setup_logging, write_json
from .actors import HABIT_SEED, INDEPENDENT_SEED, READER_SEED, TEST_SEED, TRAIN_SEED, ActorClip, read_actor, write_actor
from .augment import augment_faces, augment_mels
from .checks import mouth_openings, redraw
from .steps import to_float
from .trainer import train

log = logging.getLogger("lipsync_utils.training.pretrain")

WINDOWS = WindowsConfig(alignment="inference")
EXPERT = TrainConfig(
    network="expert",
    start="scratch",
    expert_loss="contrastive",
    batch_size=40,
    windows_per_clip=10,
    sync_weight=0.0,
    learning_rate=6e-4,
    warmup_steps=100,
    decay=True,
    augment=True,
    precision="bf16",
    evaluate_every=500,
    save_every=250,
)
#: First what a face looks like: single frames, the mouth before the cheeks, nobody who judges.
LIKENESS = TrainConfig(
    batch_size=16,
    frames=1,
    sync_weight=0.0,
    mouth_weight=5.0,
    learning_rate=1e-3,
    warmup_steps=200,
    decay=True,
    augment=True,
    precision="bf16",
    evaluate_every=500,
    save_every=250,
    sample_every=500,
)
#: Then lips that the expert believes and a discriminator finds sharp, on windows.
JOINT = config.override(
    LIKENESS,
    frames=5,
    batch_size=4,
    discriminator="scratch",
    sync_weight=0.02,
    disc_weight=0.01,
    learning_rate=2e-4,
    disc_learning_rate=2e-4,
    betas=(0.5, 0.999),
    freeze_norm=True,
    min_expert_accuracy=0.0,
    save_every=100,
)


@dataclass(frozen=True)
class Size:
    """How much of everything: actors, seconds of speech of each, and steps."""

    actors: int = 560
    judge_actors: int = 200
    reader_actors: int = 60
    test_actors: int = 10
    seconds: float = 5.0
    test_seconds: float = 12.0
    ear_steps: int = 3000
    tower_steps: int = 1200
    expert_steps: int = 12000
    judge_steps: int = 6000
    reader_steps: int = 2500
    likeness_steps: int = 5200
    joint_steps: int = 1200


SIZES = {
    "full": Size(),
    "short": Size(3, 2, 2, 1, 4.0, 4.0, 20, 10, 20, 20, 20, 20, 10),
}


class Pretraining:
    """The stages, as methods; each returns when its result lies in `folder`."""

    def __init__(self, folder: Path, size: Size):
        self.folder, self.size = Path(folder), size

    # ---------------------------------------------------------------- data

    def train_actors(self):
        """Who expert and generator learn from: English only."""
        self._render("train_actors", TRAIN_SEED, self.size.actors, self.size.seconds, "en")

    def judge_actors(self):
        """Who the judge alone learns from, Dutch and English."""
        self._render("judge_actors", INDEPENDENT_SEED, self.size.judge_actors, self.size.seconds)

    def reader_actors(self):
        """Who the reader alone learns from: half of them with a habit of the mouth."""
        self._render("reader_actors", READER_SEED, self.size.reader_actors, self.size.seconds, habit=0.5)

    def habit_actors(self):
        """Who the reader is tested on: everybody has a habit of the mouth."""
        self._render("habit_actors", HABIT_SEED, self.size.test_actors, self.size.seconds, habit=1.0)

    def test_actors(self):
        """Who nobody learns from: validation and the model card."""
        self._render("test_actors", TEST_SEED, self.size.test_actors, self.size.test_seconds)

    def _render(self, stage, first, n, seconds, language=None, habit=0.0):
        for seed in range(first, first + n):
            write_actor(self.folder / "actors", seed, seconds, language, habit)
        write_json(
            self.result(stage), {"first": first, "actors": n, "seconds": seconds, "language": language, "habit": habit}
        )

    def clips(self, first: int, n: int, split: str = "train") -> list[ActorClip]:
        """The clips of a group of actors."""
        folders = [self.folder / "actors" / str(seed) for seed in range(first, first + n)]
        return [clip for folder in folders for clip in read_actor(folder, split)]

    def actors(self, group: str) -> list[ActorClip]:
        """The clips of a group: "train", "judge", "reader", "habit" or "test"; the last two without margin."""
        first = {"train": TRAIN_SEED, "judge": INDEPENDENT_SEED, "reader": READER_SEED, "habit": HABIT_SEED}
        n = self.size.actors if group == "train" else getattr(self.size, f"{group}_actors", self.size.test_actors)
        return self.clips(first.get(group, TEST_SEED), n, "val" if group in ("habit", "test") else "train")

    def _with_test(self, first, n):
        return [c.faces for c in self.clips(first, n) + self.actors("test")]

    # ---------------------------------------------------------------- networks

    def ear(self):
        """The generator's sound encoder learns to tell the mouth from the sound: saves blurred, closed mouths later."""
        torch.manual_seed(3)
        generator = models.Wav2Lip(0.25)
        network = torch.nn.Sequential(generator.audio_encoder, torch.nn.Flatten(), torch.nn.Linear(128, 7))
        clips = self.clips(TRAIN_SEED, self.size.actors)
        truth = np.concatenate([np.column_stack([c.opening, c.mouth]) for c in clips])
        middle, spread = truth.mean(0), truth.std(0) + 1e-6

        def batch(rng):
            chosen = [_frame(clips, rng) for _ in range(64)]
            mels = [mel_window(c.faces.mel, frame_window_start(f, WINDOWS.alignment)) for c, f in chosen]
            (mels,) = augment_mels([torch.from_numpy(np.stack(mels))[:, None]], rng)
            wanted = [np.r_[c.opening[f], c.mouth[f]] for c, f in chosen]
            return mels, torch.from_numpy(((np.array(wanted) - middle) / spread).astype(np.float32))

        _regress(network, batch, self.size.ear_steps, self.folder / "ear.pt")
        checkpoints.export(self.result("ear"), generator, mel_alignment=WINDOWS.alignment)

    def reader(self):
        """How far a mouth is open, from a picture: trained on actors that no other network saw."""
        torch.manual_seed(5)
        network, clips = models.MouthReader(), self.clips(READER_SEED, self.size.reader_actors)

        def batch(rng):
            chosen = [_frame(clips, rng) for _ in range(64)]
            faces = np.stack([c.faces.faces[f] for c, f in chosen])[:, None, None]
            faces = torch.from_numpy(augment_faces(faces, rng)[:, 0, 0].transpose(0, 3, 1, 2).copy())
            return to_float(faces), torch.tensor([float(c.opening[f]) for c, f in chosen])

        _regress(network, batch, self.size.reader_steps, self.folder / "reader.pt")
        checkpoints.export(self.result("reader"), network, steps=self.size.reader_steps)

    def expert(self):
        """The judge in the sync loss: English actors."""
        self._expert("expert", TRAIN_SEED, self.size.actors, 1, self.size.expert_steps)

    def judge(self):
        """A second expert, of another seed and other actors, for evaluation only."""
        self._expert("judge", INDEPENDENT_SEED, self.size.judge_actors, 2, self.size.judge_steps)

    def _expert(self, stage, first, n, seed, steps):
        """Both towers learn to tell the mouth, then to find each other: from scratch they stood at chance for long."""
        torch.manual_seed(seed)
        towers, clips = Towers(0.25), self.clips(first, n)
        truth = np.concatenate([np.column_stack([c.opening, c.mouth]) for c in clips])
        middle, spread = truth.mean(0), truth.std(0) + 1e-6

        def batch(rng):
            chosen = [_frame(clips, rng, 5) for _ in range(40)]
            mels = [mel_window(c.faces.mel, sync_window_start(f)) for c, f in chosen]
            (mels,) = augment_mels([torch.from_numpy(np.stack(mels))[:, None]], rng)
            faces = augment_faces(np.stack([c.faces.faces[f : f + 5] for c, f in chosen])[:, None], rng)[:, 0]
            faces = models.stack_lower_halves(to_float(torch.from_numpy(faces.transpose(0, 4, 1, 2, 3).copy())))
            wanted = [np.column_stack([c.opening, c.mouth])[f : f + 5] for c, f in chosen]
            wanted = ((np.array(wanted) - middle) / spread).reshape(40, -1)
            return (mels, faces), torch.from_numpy(np.tile(wanted, 2).astype(np.float32))

        start = self.folder / f"{stage}_towers.safetensors"
        if not start.is_file():
            _regress(towers, batch, self.size.tower_steps, start.with_suffix(".pt"))
            checkpoints.export(start, towers.expert, mel_alignment=WINDOWS.alignment)
        self._train(stage, config.override(EXPERT, seed=seed, start=str(start)), self._with_test(first, n), steps)

    def likeness(self):
        """The generator's first stage, on single frames."""
        settings = config.override(LIKENESS, start=str(self.result("ear")), seed=3)
        self._train("likeness", settings, self._with_test(TRAIN_SEED, self.size.actors), self.size.likeness_steps)

    def generator(self):
        """The generator's second stage, with expert and discriminator; the latter is exported too."""
        expert, start = str(self.result("expert")), str(self.result("likeness"))
        settings = config.override(JOINT, start=start, expert=expert, seed=4)
        clips = self._with_test(TRAIN_SEED, self.size.actors)
        self._train("generator", settings, clips, self.size.joint_steps)

    def _train(self, stage, settings, clips, steps):
        often = {name: min(getattr(settings, name), max(steps // 2, 1)) for name in ("evaluate_every", "save_every")}
        settings = config.override(
            settings, steps=steps, warmup_steps=min(settings.warmup_steps, max(steps // 10, 1)), **often
        )
        done = train(settings, clips, self.folder / stage, windows=WINDOWS, live=False, check=False)
        if stage == "generator":
            network = models.VisualQualityDiscriminator(settings.width)
            network.load_state_dict(checkpoints.read(done.weights, "generator").state["networks"]["discriminator"])
            checkpoints.export(self.result("discriminator"), network, mel_alignment=WINDOWS.alignment, steps=done.step)
        network = checkpoints.load(done.weights, settings.network)
        checkpoints.export(self.result(stage), network, mel_alignment=WINDOWS.alignment, steps=done.step)

    # ---------------------------------------------------------------- order

    def result(self, stage: str) -> Path:
        """What a stage leaves behind when it is done."""
        ending = "json" if stage.endswith("actors") else "safetensors"
        return self.folder / "results" / f"{stage}.{ending}"

    def run(self, jobs: int = 1) -> None:
        """Run all stages that are not done, at most `jobs` at a time. Raises RuntimeError where a stage fails."""
        running: dict[str, subprocess.Popen] = {}
        while True:
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    if process.returncode or not self.result(name).is_file():
                        for other in running.values():
                            other.terminate()
                        raise RuntimeError(f"stage {name} failed, see {self.folder / 'logs' / name}.log")
                    log.info("%s is done", name)
            for name, needs in STAGES.items():
                ready = all(self.result(other).is_file() for other in needs)
                if len(running) < jobs and ready and name not in running and not self.result(name).is_file():
                    running[name] = self._start(name)
            if not running:
                return
            time.sleep(1)

    def _start(self, stage):
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "lipsync_utils.training.pretrain",
            "--folder",
            str(self.folder),
            "--stage",
            stage,
        ]
        command += ["--size", next(name for name, size in SIZES.items() if size == self.size)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log.info("%s begins", stage)
        with (self.folder / "logs" / f"{stage}.log").open("ab") as stream:
            return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)


SHIPPED = ("expert", "judge", "generator", "discriminator", "reader")
#: What each stage needs; of those that could run, the first ones do.
STAGES = {
    "train_actors": (),
    "test_actors": (),
    "judge_actors": (),
    "reader_actors": (),
    "habit_actors": (),
    "ear": ("train_actors",),
    "likeness": ("ear", "test_actors"),
    "expert": ("train_actors", "test_actors"),
    "generator": ("expert", "likeness"),
    "reader": ("reader_actors",),
    "judge": ("judge_actors", "expert"),  # after the expert, for which the generator waits
}


class Towers(torch.nn.Module):
    """An expert whose two towers tell the mouth of five frames through one linear head."""

    def __init__(self, width: float):
        super().__init__()
        self.expert = models.SyncNet(width).to(memory_format=torch.channels_last)
        self.head = torch.nn.Linear(round(512 * width), 35)

    def forward(self, given):
        """(mel, faces) as SyncNet takes them: (B, 70), by the sound and by the faces."""
        mel, faces = given
        with torch.autocast("cpu", torch.bfloat16):
            heard, seen = self.expert.audio_encoder(mel).flatten(1), self.expert.face_encoder(faces).flatten(1)
        return torch.cat([self.head(heard.float()), self.head(seen.float())], 1)


def opening_correlations(generators: dict, clips: list[ActorClip]) -> pd.DataFrame:
    """How well the mouth opening, by the embedded reader, follows the true one: a row per clip, a column per generator.

    Column "truth": read on the true pictures, what can be reached.
    """
    rows = []
    for c in clips:
        drawn = {name: redraw(network, c.faces, WINDOWS.alignment) for name, network in generators.items()}
        seen = {"truth": c.faces.faces, **drawn}
        rows.append({name: correlation(mouth_openings(faces, True), c.opening) for name, faces in seen.items()})
    return pd.DataFrame(rows, index=[c.faces.clip_id for c in clips])


def _frame(clips, rng, frames: int = 1):
    """A clip and the first of so many frames in it, with their sound."""
    clip = clips[rng.integers(len(clips))]
    return clip, int(rng.integers(len(clip.opening) - frames + 1))


def _regress(network, batch, steps: int, path: Path, rate: float = 1e-3, every: int = 100) -> None:
    """Fit a network by mean squared error; batch(rng) -> (input, wanted). Its state is kept in `path`."""
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule, first = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), 0
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    if path.is_file():
        saved = torch.load(path, weights_only=True)
        first = saved.pop("step")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    network.train()
    recent = []
    for step in range(first, steps):
        given, wanted = batch(np.random.default_rng((11, step)))
        loss = torch.nn.functional.mse_loss(network(given), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if (step + 1) % every == 0 or step + 1 == steps:
            log.info("%s: step %d, loss %.4f", path.stem, step + 1, np.mean(recent[-100:]))
            with atomic_file(path) as temporary:
                torch.save({"step": step + 1, **{k: v.state_dict() for k, v in parts.items()}}, temporary)
    network.eval()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe, or one stage of it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--jobs", type=int, default=1, help="stages side by side")
    parser.add_argument("--stage", choices=STAGES, help="this one alone, in this process")
    options = parser.parse_args(arguments)
    setup_logging()
    recipe = Pretraining(options.folder, SIZES[options.size])
    if options.stage:
        getattr(recipe, options.stage)()
    else:
        recipe.run(options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
