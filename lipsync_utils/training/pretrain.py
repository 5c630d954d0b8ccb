"""Everything behind the embedded weights, from nothing to the shipped files (notebook 10):

    python -m lipsync_utils.training.pretrain --folder outputs/pretraining --jobs 2

Invented actors are rendered; an expert, a judge, a generator with its discriminator and a reader of mouths learn from
them. Each stage is a process of its own; finished stages are not repeated, and a long training continues where it was
killed. Stages that need nothing of each other run side by side.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .. import audio, checkpoints, metrics, models, project
from ..config import TrainConfig, WindowsConfig, override
from . import actors
from .actors import ActorClip
from .augment import augment_faces, augment_mels
from .checks import mouth_openings, redraw
from .steps import to_float
from .trainer import train

log = logging.getLogger("lipsync_utils.training.pretrain")

WINDOWS = WindowsConfig(alignment="inference")
BASE = TrainConfig(
    start="scratch",
    sync_weight=0.0,
    decay=True,
    augment=True,
    precision="bf16",
    evaluate_every=500,
    save_every=250,
)
EXPERT = override(
    BASE,
    network="expert",
    expert_loss="contrastive",
    batch_size=40,
    windows_per_clip=10,
    learning_rate=6e-4,
    warmup_steps=100,
)
#: First what a face looks like: single frames, the mouth before the cheeks, nobody who judges.
LIKENESS = override(BASE, batch_size=16, frames=1, mouth_weight=5.0, learning_rate=1e-3, warmup_steps=200)
#: Then lips that the expert believes and a discriminator finds sharp, on windows.
JOINT = override(
    LIKENESS,
    frames=5,
    batch_size=4,
    discriminator="scratch",
    sync_weight=0.03,
    disc_weight=0.01,
    learning_rate=2e-4,
    disc_learning_rate=2e-4,
    betas=(0.5, 0.999),
    freeze_norm=True,
    save_every=100,
)


@dataclass(frozen=True)
class Size:
    """How much of everything: actors of each group, seconds of speech of each, and steps of each stage."""

    train_actors: int = 560
    judge_actors: int = 200
    reader_actors: int = 60
    habit_actors: int = 10
    test_actors: int = 10
    seconds: float = 5.0
    test_seconds: float = 12.0
    ear_steps: int = 3000
    tower_steps: int = 1200
    expert_steps: int = 11000
    judge_steps: int = 5000
    reader_steps: int = 2500
    likeness_steps: int = 13200
    generator_steps: int = 2400


SIZES = {"full": Size(), "short": Size(3, 2, 2, 1, 1, 4.0, 4.0, 20, 10, 20, 20, 20, 20, 10)}
#: Groups of actors: first seed, language (None: Dutch and English), how likely a habit of the mouth is.
GROUPS = {
    "train": (actors.TRAIN_SEED, "en", 0.0),  # expert, generator and discriminator learn from them
    "judge": (actors.INDEPENDENT_SEED, None, 0.0),  # the judge alone
    "reader": (actors.READER_SEED, None, 0.5),  # the reader alone
    "habit": (actors.HABIT_SEED, None, 1.0),  # the reader is tested on them
    "test": (actors.TEST_SEED, None, 0.0),  # validation and the model card
}
#: What each stage needs. They are begun in this order, in which none waits for a later one.
STAGES = {
    "train_actors": (),
    "test_actors": (),
    "judge_actors": (),
    "reader_actors": (),
    "habit_actors": (),
    "ear": ("train_actors",),
    "expert": ("train_actors", "test_actors"),
    "likeness": ("ear", "test_actors"),
    "reader": ("reader_actors",),
    "judge": ("judge_actors", "test_actors"),
    "generator": ("expert", "likeness"),
}
SHIPPED = ("expert", "judge", "generator", "discriminator", "reader")


class Pretraining:
    """The recipe. What a stage leaves behind when it is done lies in folder/results."""

    def __init__(self, folder: Path, size: Size):
        self.folder, self.size = Path(folder), size

    def result(self, stage: str) -> Path:
        """What a stage leaves behind when it is done."""
        return self.folder / "results" / f"{stage}.{'json' if stage.endswith('actors') else 'safetensors'}"

    def actors(self, group: str) -> list[ActorClip]:
        """The clips of a group: "train", "judge", "reader", "habit" or "test"; the last two without margin."""
        first, split = GROUPS[group][0], "val" if group in ("habit", "test") else "train"
        folders = [self.folder / "actors" / str(first + k) for k in range(getattr(self.size, f"{group}_actors"))]
        return [clip for folder in folders for clip in actors.read_actor(folder, split)]

    def run(self, jobs: int = 1) -> None:
        """Run all stages that are not done, at most `jobs` at a time. Raises RuntimeError where a stage fails."""
        futures = {}
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for stage, needs in STAGES.items():
                    futures[stage] = pool.submit(self._process, stage, [futures[need] for need in needs])
                for future in as_completed(futures.values()):
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _process(self, stage, needs):
        """Run one stage in a process of its own, once those that it needs are done."""
        for need in needs:
            need.result()
        if self.result(stage).is_file():
            return
        size = next(name for name, size in SIZES.items() if size == self.size)
        command = [sys.executable, "-m", "lipsync_utils.training.pretrain", "--folder", str(self.folder)]
        path, environment = self.folder / "logs" / f"{stage}.log", {**os.environ, "OMP_NUM_THREADS": "1"}
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("%s begins", stage)
        with path.open("ab") as stream:
            options = {"stdout": stream, "stderr": stream, "env": environment}
            if subprocess.run([*command, "--size", size, "--stage", stage], **options).returncode:
                raise RuntimeError(f"stage {stage} failed, see {path}")
        log.info("%s is done", stage)

    def run_stage(self, stage: str) -> None:
        """Run one stage in this process."""
        if stage.endswith("_actors"):
            self._render(stage)
        elif stage in ("ear", "reader"):
            getattr(self, f"_{stage}")()
        elif stage == "expert":  # the judge in the sync loss
            self._expert(stage, "train", seed=1)
        elif stage == "judge":  # a second expert, of another seed and other actors, for evaluation only
            self._expert(stage, "judge", seed=2)
        elif stage == "likeness":  # the generator on single frames
            self._train(stage, "train", override(LIKENESS, start=str(self.result("ear")), seed=3))
        else:  # the generator with expert and discriminator
            first = {"start": str(self.result("likeness")), "expert": str(self.result("expert"))}
            self._train(stage, "train", override(JOINT, **first, seed=4))

    def _render(self, stage):
        group = stage.removesuffix("_actors")
        (first, language, habit), n = GROUPS[group], getattr(self.size, stage)
        seconds = self.size.test_seconds if group == "test" else self.size.seconds
        for seed in range(first, first + n):
            actors.write_actor(self.folder / "actors", seed, seconds, language, habit)
        project.write_json(self.result(stage), {"actors": n, "seconds": seconds})

    def _ear(self):
        """The generator's sound encoder learns to tell the mouth from the sound: saves blurred, closed mouths later."""
        torch.manual_seed(3)
        generator, clips = models.Wav2Lip(0.25), self.actors("train")
        network = torch.nn.Sequential(generator.audio_encoder, torch.nn.Flatten(), torch.nn.Linear(128, 7))
        mouths = standardised_mouths(clips)

        def batch(rng):
            places = draw(clips, rng, 64)
            return sounds(places, rng, lambda f: audio.frame_window_start(f, WINDOWS.alignment)), mouths(places)

        regress(network, batch, self.size.ear_steps)
        checkpoints.export(self.result("ear"), generator, mel_alignment=WINDOWS.alignment)

    def _reader(self):
        """How far a mouth is open, from a picture: trained on actors that no other network saw."""
        torch.manual_seed(5)
        network, clips = models.MouthReader(), self.actors("reader")

        def batch(rng):
            places = draw(clips, rng, 64)
            return pictures(places, rng)[:, :, 0], torch.tensor([float(c.opening[at][0]) for c, at in places])

        regress(network, batch, self.size.reader_steps)
        checkpoints.export(self.result("reader"), network, steps=self.size.reader_steps)

    def _expert(self, stage, group, seed):
        """Both towers learn to tell the mouth, then to find each other: from scratch they stood at chance for long."""
        start = self.folder / f"{stage}_towers.safetensors"
        if not start.is_file():
            torch.manual_seed(seed)
            towers, clips = Towers(0.25), self.actors(group)
            mouths = standardised_mouths(clips)

            def batch(rng):
                places = draw(clips, rng, 40, 5)
                mels = sounds(places, rng, audio.sync_window_start)
                faces = models.stack_lower_halves(pictures(places, rng))
                return (mels, faces), mouths(places).repeat(1, 2)

            regress(towers, batch, self.size.tower_steps)
            checkpoints.export(start, towers.expert, mel_alignment=WINDOWS.alignment)
        self._train(stage, group, override(EXPERT, seed=seed, start=str(start)))

    def _train(self, stage, group, settings):
        """Train on a group of actors, validate on the test actors, and export what was learnt."""
        settings = override(settings, steps=getattr(self.size, f"{stage}_steps"))
        clips = [c.faces for c in self.actors(group) + self.actors("test")]
        done = train(settings, clips, self.folder / stage, windows=WINDOWS, live=False, check=False)
        networks = {stage: checkpoints.load(done.weights, settings.network)}
        if settings.disc_weight:
            networks["discriminator"] = models.VisualQualityDiscriminator(settings.width)
            state = checkpoints.read(done.weights, "generator").state
            networks["discriminator"].load_state_dict(state["networks"]["discriminator"])
        for name, network in reversed(networks.items()):  # the stage's own result last: then it is done
            checkpoints.export(self.result(name), network, mel_alignment=WINDOWS.alignment, steps=done.step)


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


def draw(clips: list[ActorClip], rng, n: int, frames: int = 1) -> list[tuple[ActorClip, slice]]:
    """n random places: a clip and so many frames of it."""
    places = []
    for _ in range(n):
        clip = clips[rng.integers(len(clips))]
        first = int(rng.integers(len(clip.opening) - frames + 1))
        places.append((clip, slice(first, first + frames)))
    return places


def sounds(places, rng, window_start) -> torch.Tensor:
    """The augmented mel windows of places, (n, 1, 80, 16); window_start: first column by frame."""
    mels = np.stack([audio.mel_window(c.faces.mel, window_start(at.start)) for c, at in places])
    return augment_mels([torch.from_numpy(mels)[:, None]], rng)[0]


def pictures(places, rng) -> torch.Tensor:
    """The augmented faces of places, float32 (n, 3, frames, 96, 96) in [0, 1]."""
    faces = augment_faces(np.stack([c.faces.faces[at] for c, at in places])[:, None], rng)[:, 0]
    return to_float(torch.from_numpy(faces.transpose(0, 4, 1, 2, 3).copy()))


def standardised_mouths(clips: list[ActorClip]):
    """A function of places: their seven numbers of the mouth, (n, frames * 7), by mean and spread of the clips."""

    def mouth(clip):
        return np.column_stack([clip.opening, clip.mouth])

    truth = np.concatenate([mouth(clip) for clip in clips])
    middle, spread = truth.mean(0), truth.std(0) + 1e-6

    def mouths(places):
        found = (np.stack([mouth(clip)[at] for clip, at in places]) - middle) / spread
        return torch.from_numpy(found.astype(np.float32)).flatten(1)

    return mouths


def regress(network, batch, steps: int, rate: float = 1e-3) -> None:
    """Fit a network by mean squared error; batch(rng) -> (input, wanted)."""
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        given, wanted = batch(np.random.default_rng((11, step)))
        loss = torch.nn.functional.mse_loss(network.train()(given), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            log.info("step %d, loss %.4f", step, loss)


def opening_correlations(generators: dict, clips: list[ActorClip]) -> pd.DataFrame:
    """How well the mouth opening, by the embedded reader, follows the true one: a row per clip, a column per generator.

    Column "truth": read on the true pictures, what can be reached.
    """
    rows = []
    for c in clips:
        drawn = {name: redraw(network, c.faces, WINDOWS.alignment) for name, network in generators.items()}
        seen = {"truth": c.faces.faces, **drawn}
        rows.append({name: metrics.correlation(mouth_openings(f, True), c.opening) for name, f in seen.items()})
    return pd.DataFrame(rows, index=[c.faces.clip_id for c in clips])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe, or one stage of it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--jobs", type=int, default=1, help="stages side by side")
    parser.add_argument("--stage", choices=STAGES, help="this one alone, in this process")
    options = parser.parse_args(arguments)
    project.setup_logging()
    recipe = Pretraining(options.folder, SIZES[options.size])
    if options.stage:
        recipe.run_stage(options.stage)
    else:
        recipe.run(options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
