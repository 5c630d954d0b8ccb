"""What happens in a video: scenes with people and lines; and when, once the lines have been spoken."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import SettingError
from .actor import Actor
from .speech import Speech

KINDS = ("single", "group", "inset", "title", "empty")
LEAD_IN_S = 0.6  # silence before the first line, long enough for the silence detector (400 ms)
TAIL_S = 0.6  # silence after the last line, at least


@dataclass(frozen=True)
class Line:
    """Something to say: who (seen or not), what, and the silence before it in seconds."""

    actor: Actor
    text: str
    pause_s: float = 0.6


@dataclass(frozen=True)
class Scene:
    """One camera position.

    kind: one of KINDS; people: who is seen ("inset": the first large in the right half, the second small in the left);
    face: size of the head in a single shot (1 fills the picture well); at: where the eyes are in a single shot,
    fractions of width and height; seed: of the backdrop; title, subtitle: of a title card.
    """

    kind: str
    people: tuple[Actor, ...] = ()
    lines: tuple[Line, ...] = ()
    seed: int = 0
    face: float = 1.0
    at: tuple[float, float] = (0.5, 0.42)
    backdrop: str | None = None
    title: str = ""
    subtitle: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise SettingError(f"a scene's kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        wanted = {"single": (1,), "group": (1, 2, 3), "inset": (2,), "title": (0,), "empty": (0,)}[self.kind]
        if len(self.people) not in wanted:
            raise SettingError(f"a {self.kind} scene shows {wanted} people, got {len(self.people)}")


@dataclass(frozen=True)
class Camera:
    """How the picture and sound are recorded.

    grain: standard deviation of the noise, of 255; gain: brightness per channel (r, g, b); blur_px: softness;
    crf: x264's quality, larger is worse; volume_db: of the speech; noise_dbfs: floor of the sound.
    """

    grain: float = 2.2
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur_px: float = 0.0
    crf: int = 20
    volume_db: float = 0.0
    noise_dbfs: float = -72.0


@dataclass(frozen=True)
class Script:
    """A video before it is spoken. seconds: its length, lines that do not fit are left out; None: what they take."""

    video_id: str
    scenes: tuple[Scene, ...]
    seconds: float | None = None
    size: tuple[int, int] = (640, 480)
    fps: float = 25.0
    seed: int = 0
    motion: float = 1.0
    camera: Camera = field(default_factory=Camera)
    title: str = ""

    @property
    def lines(self) -> list[Line]:
        """All lines in order."""
        return [line for scene in self.scenes for line in scene.lines]


@dataclass(frozen=True, eq=False)
class Cue:
    """A spoken line in its place."""

    start_s: float
    actor: Actor
    speech: Speech

    @property
    def end_s(self) -> float:
        """When its last phoneme ends."""
        return self.start_s + self.speech.length_s


@dataclass(frozen=True)
class Take:
    """A scene (without its lines) in its place: frames first <= frame < end."""

    scene: Scene
    first: int
    end: int


@dataclass(frozen=True)
class Timeline:
    """A video in time."""

    takes: tuple[Take, ...]
    cues: tuple[Cue, ...]
    n_frames: int


def lay_out(script: Script, spoken: list[Speech]) -> Timeline:
    """Put spoken lines (in the order of script.lines) and scenes in time; a cut falls into the middle of a pause."""
    now, cues, takes = LEAD_IN_S, [], []
    speeches, first = iter(spoken), 0
    limit = script.seconds or float("inf")
    for scene in script.scenes:
        placed = []
        for line, speech in zip(scene.lines, speeches):  # speeches go on in the next scene
            pause = line.pause_s if cues or placed else 0.0
            if now + pause + speech.length_s + TAIL_S > limit:
                continue
            placed.append(Cue(now + pause, line.actor, speech))
            now = placed[-1].end_s
        if not placed:
            continue
        scene = replace(scene, lines=())
        if takes and takes[-1].scene == scene:  # the camera stays
            cues += placed
            continue
        if cues:
            first = round((cues[-1].end_s + placed[0].start_s) / 2 * script.fps)
            takes[-1] = Take(takes[-1].scene, takes[-1].first, first)
        takes.append(Take(scene, first, first))
        cues += placed
    if not takes:
        raise SettingError(f"{script.video_id}: no line fits into {script.seconds} s; make the video longer")
    n_frames = round((script.seconds or now + TAIL_S) * script.fps)
    takes[-1] = Take(takes[-1].scene, takes[-1].first, n_frames)
    return Timeline(tuple(takes), tuple(cues), n_frames)


@cache
def sentences(language: str) -> dict:
    """Return what there is to say in "nl" or "en": lists "talk", "short", "held_out", and "words" for random ones."""
    return json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))[language]


def random_sentence(language: str, rng: np.random.Generator) -> str:
    """Make up a sentence of one or two clauses."""
    words = sentences(language)["words"]

    def clause(lower):
        who, verb, what, where, when = (str(rng.choice(words[k])) for k in ("who", "verb", "what", "where", "when"))
        who = who[0].lower() + who[1:] if lower else who
        return f"{who} {verb} {what} {where}" + (f" {when}" if rng.random() < 0.6 else "")

    text = clause(False)
    if rng.random() < 0.4:
        text += f", {rng.choice(words['join'][:2])} {clause(True)}"
    return text + "."


def talk(language: str, rng: np.random.Generator) -> Iterator[str]:
    """Yield the written sentences of a language in random order, then made-up ones for ever."""
    for text in rng.permutation(sentences(language)["talk"]):
        yield str(text)
    while True:
        yield random_sentence(language, rng)
