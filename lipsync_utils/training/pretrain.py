"""Everything behind the embedded weights, from nothing to the shipped files (notebook 10):

    python -m lipsync_utils.training.pretrain --folder outputs/pretraining

Invented actors are rendered; an expert, a judge, a generator with its discriminator and a reader of mouths learn from
them. What is done is not repeated, and a long training continues where it was killed.
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .. import audio, checkpoints, metrics, models, project
from ..config import TrainConfig, WindowsConfig, override
from ..errors import DataError
from ..parallel import Failure, map_items
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
#: What is trained, in this order; each leaves a file in results/.
STAGES = ("ear", "expert", "likeness", "generator", "reader", "judge")
SHIPPED = ("expert", "judge", "generator", "discriminator", "reader")


class Pretraining:
    """The recipe. What a stage leaves behind when it is done lies in folder/results."""

    def __init__(self, folder: Path, size: Size):
        self.folder, self.size = Path(folder), size

    def result(self, stage: str) -> Path:
        """What a stage leaves behind when it is done."""
        return self.folder / "results" / f"{stage}.safetensors"

    def people(self, group: str) -> range:
        """The seeds of the actors of a group."""
        first = GROUPS[group][0]
        return range(first, first + getattr(self.size, f"{group}_actors"))

    def actors(self, group: str) -> list[ActorClip]:
        """The clips of a group: "train", "judge", "reader", "habit" or "test"; the last two without margin."""
        split = "val" if group in ("habit", "test") else "train"
        return [
            clip for seed in self.people(group) for clip in actors.read_actor(self.folder / "actors" / str(seed), split)
        ]

    def run(self) -> None:
        """Render the actors and run all stages that are not done."""
        self.render()
        for stage in STAGES:
            if not self.result(stage).is_file():
                log.info("%s begins", stage)
                self.run_stage(stage)

    def render(self) -> None:
        """Render the actors that are not there yet, on all cores. Raises DataError where one fails."""
        items = []
        for group, (_, language, habit) in GROUPS.items():
            seconds = self.size.test_seconds if group == "test" else self.size.seconds
            items += [(self.folder / "actors", seed, seconds, language, habit) for seed in self.people(group)]
        for (_, seed, *_), result in map_items(_write_actor, items, desc="actors", unit="actor"):
            if isinstance(result, Failure):
                raise DataError(f"actor {seed}: {result.error}")

    def run_stage(self, stage: str) -> None:
        """Run one stage."""
        if stage in ("ear", "reader"):
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
        done = train(settings, clips, self.folder / stage, windows=WINDOWS, live=False)
        networks = {stage: checkpoints.load(done.weights, settings.network)}
        if settings.disc_weight:
            networks["discriminator"] = models.VisualQualityDiscriminator(settings.width)
            state = checkpoints.read(done.weights, "generator").state
            networks["discriminator"].load_state_dict(state["networks"]["discriminator"])
        for name, network in reversed(networks.items()):  # the stage's own result last: then it is done
            checkpoints.export(self.result(name), network, mel_alignment=WINDOWS.alignment, steps=done.step)


def _write_actor(item):
    return actors.write_actor(*item)


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
            log.info("step %d, loss %.4f", step, loss.item())


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


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="full")
    options = parser.parse_args()
    project.setup_logging()
    Pretraining(options.folder, SIZES[options.size]).run()


if __name__ == "__main__":
    main()
