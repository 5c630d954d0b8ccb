"""The sample's files: the show's videos, pictures of the actors, and what notebook 08 works on."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2

from .. import media
from ..audio import load_wav, save_wav
from ..config import TalkshowConfig
from ..errors import MediaError
from ..parallel import Failure, map_items
from .actor import Actor, cast
from .puppet import FaceState
from .render import render_clip, render_video
from .script import Scene, Script, course_scripts
from .stage import Shot


def render_scripts(scripts: list[Script], folder: Path, *, workers: int | None = None) -> list[Path]:
    """Render videos into a folder on all cores (or `workers`); what is already there stays. Returns the mp4 files.

    Raises MediaError naming the videos that failed.
    """
    results = map_items(partial(render_video, folder=Path(folder)), scripts, workers=workers, desc="talk show")
    done = {script.video_id: result for script, result in results}
    failed = [f"{video_id}: {result.error}" for video_id, result in done.items() if isinstance(result, Failure)]
    if failed:
        raise MediaError(f"{len(failed)} of {len(scripts)} videos could not be rendered: {'; '.join(failed)}")
    return [done[script.video_id] for script in scripts]


def render(
    n_videos: int, seconds: float, folder: Path, *, seed=1, size=(640, 480), workers: int | None = None
) -> list[Path]:
    """Render any number of videos of any length into a folder, each with <video_id>.truth.csv and .truth.json.

    seconds: of each video; size: (width, height), even. The same arguments give the same files on the same machine.
    Raises SettingError for impossible sizes.
    """
    settings = TalkshowConfig(n_videos, seconds, width_px=size[0], height_px=size[1], seed=seed)
    return render_scripts(course_scripts(settings), folder, workers=workers)


def _photograph(path, scene, size, states) -> Path:
    return media.write_picture(path, cv2.cvtColor(Shot(scene, size).render(states, 0), cv2.COLOR_RGB2BGR))


def portrait(path: Path, actor: Actor, size=(360, 360), seed: int = 0) -> Path:
    """Write a reference picture of an actor; the suffix of path says how (.png, .jpg)."""
    return _photograph(path, Scene("single", (actor,), seed=seed, at=(0.5, 0.46)), size, [FaceState()])


def group_picture(path: Path, actors: list[Actor], size=(640, 480), seed: int = 0) -> Path:
    """Write a picture of up to three actors behind a desk."""
    states = [FaceState(yaw=y, roll=r) for y, r in ((0.08, 0.02), (-0.08, -0.02), (0, 0.01))][: len(actors)]
    return _photograph(path, Scene("group", tuple(actors), seed=seed), size, states)


def render_pictures(folder: Path) -> dict[str, Path]:
    """Write group.png (host and two guests) and a reference picture of every actor; returns them by name."""
    folder, people = Path(folder), cast().values()
    paths = {a.name: portrait(folder / f"{a.name.lower()}.png", a, seed=k) for k, a in enumerate(people)}
    return {"group": group_picture(folder / "group.png", list(people)[:3], seed=3), **paths}


class Material(NamedTuple):
    """What notebook 08 works on where the reader brings nothing.

    portrait: of the person in the middle; speech: for each person from left to right a sentence in that person's voice;
    true: the group video in which they really say it.
    """

    picture: Path
    video: Path
    portrait: Path
    speech: list[Path]
    true: list[Path]


SENTENCES = {
    "nl": ("Bij laag water wandelen we over het wad.", "De avond begint met een kop warme thee."),
    "en": ("My neighbour keeps bees on the roof.", "We open the window when the rain is over."),
}


def make_material(folder: Path) -> Material:
    """Render the sample's group into a folder; the videos that are there stay. About 20 s on two cores."""
    folder, people = Path(folder), list(cast().values())[:3]
    shoot = partial(render_clip, actors=people, size=(640, 480), seed=4)
    video = shoot(folder / "group.mp4", lines=[(0, SENTENCES["nl"][1])], seconds=4.0)
    true, speech = [], []
    for place, k in enumerate((0, 2, 1), 1):  # a group's second person sits on the right
        text = SENTENCES[people[k].voice.language][0]
        true.append(shoot(folder / f"true{place}.mp4", lines=[(k, text)]))
        speech.append(save_wav(folder / f"speech{place}.wav", load_wav(true[-1])))
    face = portrait(folder / "portrait.png", people[2], seed=5)
    return Material(group_picture(folder / "group.png", people, seed=3), video, face, speech, true)
