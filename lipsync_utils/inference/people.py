"""Who is in the picture, and which of them is meant: by number, order, place or likeness."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FaceError
from ..faces import FaceBox, FaceTable

WORDS = ("left", "middle", "right", "largest")
SAME_PERSON = 0.5  # face_recognition's distance below which two pictures show one person, as in the speaker filter


@dataclass(frozen=True)
class Person:
    """Somebody in the medium. number: 1, 2, .. from left to right; box: in the frame that shows them best."""

    number: int
    track_id: int
    frame: int
    box: FaceBox
    frames_seen: int


def people_in(table: FaceTable) -> list[Person]:
    """Everybody, from left to right (by the middle of where they are seen). Empty where there is no face."""
    found = []
    for track_id in table.track_ids:
        boxes = table.track_boxes(track_id)
        centres = (boxes[:, 0] + boxes[:, 2]) / 2
        found.append((float(np.nanmedian(centres)), track_id))
    people = []
    for number, (_, track_id) in enumerate(sorted(found), 1):
        frame = table.best_frame(track_id)
        people.append(Person(number, track_id, frame, table.box_of(track_id, frame), len(table.frames_of(track_id))))
    return people


def find_person(table: FaceTable, who: int | str, media: Path | None = None) -> int:
    """The track that is meant. Raises FaceError naming who there is.

    who: a number from left to right (2 or "2"), "left", "middle", "right", "largest" ("largest 2": second in size), a
    place "x,y" in pixels ("310,120"; "310,120@50" in frame 50), or the path of a picture of the person (needs `media`).
    """
    people = people_in(table)
    if not people:
        raise FaceError("no face was found: use a picture in which a face of at least 40 px looks towards the camera")
    text = str(who).strip()
    if text.isdigit():
        match = [p.track_id for p in people if p.number == int(text)]
        if not match:
            raise FaceError(f"there is no person {text}: there {_are(people)}, counted from left to right")
        return match[0]
    if nth := re.fullmatch(r"largest ?(\d*)", text):
        by_size, place = sorted(people, key=lambda p: -p.box.area), int(nth[1] or 1)
        if not 1 <= place <= len(by_size):
            raise FaceError(f"there is no person {text!r}: there {_are(people)}; largest 1 is the largest face")
        return by_size[place - 1].track_id
    if text in WORDS:
        return people[{"left": 0, "middle": (len(people) - 1) // 2, "right": -1}[text]].track_id
    place = _place(text)
    if place:
        return at_place(table, *place)
    if Path(text).is_file() and media is not None:
        return like_picture(table, media, Path(text))
    raise FaceError(
        f"person {text!r} is not known: use a number from 1 to {len(people)}, one of {', '.join(WORDS)}, "
        "a place such as '310,120', or the path of a picture of the person"
    )


def _are(people: list[Person]) -> str:
    return "is one person" if len(people) == 1 else f"are {len(people)} people"


def _place(text: str) -> tuple[float, float, int] | None:
    try:
        where, _, frame = text.partition("@")
        x, y = where.split(",")
        return float(x), float(y), int(frame or 0)
    except ValueError:
        return None


def at_place(table: FaceTable, x_px: float, y_px: float, frame: int = 0) -> int:
    """The track whose box holds this place in this frame; of several the one whose middle is nearest."""
    inside = {t: b for t, b in table.at(frame).items() if b.contains(x_px, y_px)}
    if not inside:
        there = ", ".join(f"{b.centre[0]:.0f},{b.centre[1]:.0f}" for b in table.at(frame).values()) or "none"
        raise FaceError(f"no face at {x_px:g},{y_px:g} in frame {frame}; the faces there: {there}")
    return min(inside, key=lambda t: np.hypot(inside[t].centre[0] - x_px, inside[t].centre[1] - y_px))


def like_picture(table: FaceTable, media: Path, reference: Path, tolerance: float = SAME_PERSON) -> int:
    """The track that looks most like the (largest) face of a picture. Raises FaceError where nobody is near enough."""
    from ..faces import encode, find_faces
    from ..media import read_picture
    from .source import Source

    picture = read_picture(reference)
    known = find_faces(reference)
    if not len(known.track_ids):
        raise FaceError(f"{reference.name}: no face in the reference picture; use one that looks at the camera")
    face = max(people_in(known), key=lambda p: p.box.area).box
    wanted = encode(picture[..., ::-1], face)
    people = sorted(people_in(table), key=lambda p: p.frame)
    source = Source(media)
    distances = {}
    for person, image in zip(people, source.pictures([p.frame for p in people])):
        distances[person.track_id] = float(np.linalg.norm(encode(image[..., ::-1], person.box) - wanted))
    best = min(distances, key=distances.get)
    if distances[best] > tolerance:
        raise FaceError(
            f"{reference.name}: nobody here looks like that (nearest distance {distances[best]:.2f}, "
            f"{tolerance} at most); choose by number instead"
        )
    return best
