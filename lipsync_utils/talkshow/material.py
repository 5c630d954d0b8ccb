"""What notebook 08 works on where the reader brings nothing: a group picture, a group video, voices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..media import extract_sound
from .actor import guests, host
from .render import group_picture, portrait, render_clip

SIZE = (640, 480)
SENTENCES = {
    "nl": ("Bij laag water wandelen we over het wad.", "De avond begint met een kop warme thee."),
    "en": ("My neighbour keeps bees on the roof.", "We open the window when the rain is over."),
}


@dataclass(frozen=True)
class Material:
    """Files of the sample. true: for each person from left to right, the group video in which they really say it."""

    picture: Path
    video: Path
    portrait: Path  # of the person in the middle
    speech: tuple[Path, ...]  # from left to right, each in that person's voice
    true: tuple[Path, ...]


def make_material(folder: Path) -> Material:
    """Render the sample's group into a folder; what is already there stays. About 20 s on two cores."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    people = [host(), *guests()[:2]]
    seats = (0, 2, 1)  # who sits left, in the middle, right: the talk show puts its second actor on the right
    picture, face = folder / "group.png", folder / "portrait.png"
    if not picture.is_file():
        group_picture(picture, people, seed=3)
    if not face.is_file():
        portrait(face, people[seats[1]], seed=5)
    video = render_clip(folder / "group.mp4", people, [(0, SENTENCES["nl"][1])], seconds=4.0, size=SIZE, seed=4)
    true, speech = [], []
    for place, actor in enumerate(seats):
        text = SENTENCES["nl" if people[actor].voice.name.startswith("nl") else "en"][0]
        true.append(render_clip(folder / f"true{place + 1}.mp4", people, [(actor, text)], size=SIZE, seed=4))
        speech.append(folder / f"speech{place + 1}.wav")
        if not speech[-1].is_file():
            extract_sound(true[-1], speech[-1])
    return Material(picture, video, face, tuple(speech), tuple(true))
