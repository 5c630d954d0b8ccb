"""Who is in the picture, which of them is meant (by number, order, place or likeness), who says what, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, binary_opening, distance_transform_edt

from ..audio import COLUMNS_PER_S, MEL_LIMIT, SAMPLE_RATE_HZ, load_wav, melspectrogram
from ..errors import FaceError, SettingError
from ..faces import FaceBox, FaceTable, encode
from ..speaker import encode_references
from .film import Source

SAME_PERSON = 0.5  # face_recognition's distance below which two pictures show one person, as in the speaker filter

# Speech or not, by the mean of a mel's column; 1 is 12.5 dB
FAINTEST = -3.6  # less is never speech
OVER_NOISE = 0.7  # speech is so much louder than the quietest tenth
UNDER_PEAK = 2.8  # and no more than this below the loudest
SHORTEST, BRIDGE, MARGIN = 4, 16, 6  # columns: shorter is a click; a shorter pause belongs to the word; around speech


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
    middle = (table.seen.left + table.seen.right).groupby(table.seen.track_id).median().sort_values(kind="stable")
    best = {track: table.best_frame(track) for track in middle.index.tolist()}
    return [
        Person(number, track, frame, table.at(frame)[track], len(table.rows_of(track)))
        for number, (track, frame) in enumerate(best.items(), 1)
    ]


def find_person(table: FaceTable, who: int | str, media: Path | None = None) -> int:
    """The track that is meant. Raises FaceError naming who there is.

    who: a number from left to right (2 or "2"), "left", "middle", "right", "largest", a place "x,y" in pixels of the
    first frame ("310,120"), or the path of a picture of the person (needs `media`).
    """
    people, text = people_in(table), str(who).strip()
    known = {str(person.number): person for person in people}
    if people:
        largest = max(people, key=lambda p: p.box.area)
        known |= {"left": people[0], "middle": people[(len(people) - 1) // 2], "right": people[-1], "largest": largest}
    if text in known:
        return known[text].track_id
    if place := re.fullmatch(r"(-?[\d.]+) *, *(-?[\d.]+)", text):
        x, y, here = float(place[1]), float(place[2]), table.at(0)
        inside = {t: np.hypot(b.centre[0] - x, b.centre[1] - y) for t, b in here.items() if b.contains(x, y)}
        if not inside:
            raise FaceError(f"no face at {text}; the faces there: {[box.centre for box in here.values()]}")
        return min(inside, key=inside.get)
    if text and Path(text).is_file() and media is not None:
        return like_picture(people, media, Path(text))
    raise FaceError(
        f"there is no person {text!r}; people found: {len(people)}. Use a number, counted from left to right, or left, "
        "middle, right, largest, a place such as '310,120', the path of a picture of the person"
    )


def like_picture(people: list[Person], media: Path, reference: Path) -> int:
    """The track that looks most like the (largest) face of a picture. Raises FaceError where nobody is near enough."""
    (wanted,), far = encode_references([reference]), {}
    for person in people:
        picture = next(Source(media).pictures([person.frame]))
        far[person.track_id] = np.linalg.norm(encode(picture[..., ::-1], person.box) - wanted)
    best = min(far, key=far.get)
    if far[best] > SAME_PERSON:
        raise FaceError(
            f"{reference.name}: nobody here looks like that (nearest distance {far[best]:.2f}, "
            f"{SAME_PERSON} at most); choose by number instead"
        )
    return best


def assign(speech, choice, table: FaceTable, media: Path) -> dict[int, Path]:
    """Which track says which file. Raises FaceError where that is not clear, naming who there is.

    speech: a path, or {track_id: path}.  choice: a FaceChoice (anything with `resolve(table, media)`), or None.
    """
    known, name = table.track_ids, Path(media).name
    if not known:
        raise FaceError(
            f"{name}: no face was found; use a picture or video in which a face looks towards the camera, well lit, "
            "and at least 40 px wide"
        )
    if isinstance(speech, dict):
        wanted = speech
    else:
        chosen = choice.resolve(table, media) if choice else {}
        if not chosen and len(known) > 1:
            raise FaceError(
                f"there are {len(known)} people in {name}: choose who speaks, for example with "
                "choice=FaceChoice.of(media, person='left') or speech={track_id: path}; "
                f"the tracks are {known}"
            )
        wanted = {track: own or speech for track, own in (chosen or {known[0]: speech}).items()}
    if not wanted:
        raise SettingError("nobody was chosen to speak: choose at least one person")
    for track, path in wanted.items():
        if track not in known:
            raise FaceError(
                f"no person with track id {track!r} in {name}; the tracks are {known}, and "
                "FaceChoice.of(media, person=..) finds the track of a person"
            )
        if path is None:
            raise SettingError(
                f"no speech was given for track {track}: a sound file, or one for each as {{track: path}}"
            )
    return {track: Path(path) for track, path in wanted.items()}


@dataclass(frozen=True)
class Speech:
    """One speech. mel: (80, n) float32; voiced: (n,) bool."""

    path: Path
    duration_s: float
    mel: np.ndarray
    voiced: np.ndarray

    def in_frames(self, n_frames: int, fps: float) -> np.ndarray:
        """Speech or not in every video frame: bool (n_frames,); False past the end of the sound."""
        bounds = pairwise(np.arange(n_frames + 1) / fps * COLUMNS_PER_S)
        return np.array([self.voiced[int(start) : int(np.ceil(end))].any() for start, end in bounds])


def read_speech(path: Path, close_mouth: bool = True) -> Speech:
    """Read a speech. close_mouth: in its pauses the mel is silence, so that the mouth closes whatever the noise."""
    wav = load_wav(path)
    if not len(wav):
        raise SettingError(f"{path.name}: the speech is empty (0 s); give a sound file with speech in it")
    mel = melspectrogram(wav)
    voiced = speaking(mel)
    if close_mouth:
        mel[:, ~voiced] = -MEL_LIMIT
    return Speech(path, len(wav) / SAMPLE_RATE_HZ, mel, voiced)


def speaking(mel: np.ndarray) -> np.ndarray:
    """Speech or not in every column of a mel: a plain measure of loudness over the noise, enough to close a mouth.

    mel: (80, n).  Returns bool (n,), with clicks left out, short pauses bridged and a margin at both ends.
    """
    level = mel.mean(axis=0)
    noise, peak = np.percentile(level, [10, 99])
    threshold = FAINTEST
    if peak - noise >= OVER_NOISE:  # else there is no pause, everything is speech
        threshold = max(threshold, noise + OVER_NOISE, peak - UNDER_PEAK)
    loud = np.pad(binary_opening(level > threshold, np.ones(SHORTEST)), BRIDGE)
    wide = binary_dilation(binary_closing(loud, np.ones(BRIDGE)), np.ones(2 * MARGIN + 1))
    return wide[BRIDGE:-BRIDGE]


def source_frames(n_source: int, speech_s: float, fps: float, longer: str = "ping-pong") -> np.ndarray:
    """The source frame of each frame of the result, int (n,).

    longer: a longer speech sends the video back and forth without showing the last frame twice ("ping-pong"), or ends
    with it ("cut"); one picture stands for any length.
    """
    n, last = max(1, round(speech_s * fps)), n_source - 1
    if longer == "cut" and last:
        n = min(n, n_source)
    return last - np.abs(last - np.arange(n) % max(2 * last, 1))


def strengths(active: np.ndarray, ramp: int = 3) -> np.ndarray:
    """How far the drawn mouth is blended in: 1 where active, 0 where not, rising and falling over `ramp` frames.

    active: (n,) bool.  Returns float32 (n,).  The ramp lies inside the active frames; the ends of the video have none.
    """
    steps = np.full(len(active), ramp + 1) if active.all() else distance_transform_edt(active)
    return np.clip(steps / (ramp + 1), 0, 1).astype(np.float32)
