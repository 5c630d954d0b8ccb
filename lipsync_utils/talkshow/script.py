"""What happens in a video: scenes with people and lines; and the programme: which videos the show has."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from ..config import TalkshowConfig
from ..errors import SettingError
from .actor import Actor, cast, host

KINDS = {"single": 1, "group": 3, "inset": 2, "title": 0, "empty": 0}  # and how many people they show at most
CHARS_PER_S = 13.5  # of espeak-ng at the speeds used here
LONG_LINE_CHARS = 175  # speaks for more than 10 s without a pause
TITLES = (
    "De Praatshow",
    "Water en wind",
    "Aan tafel",
    "Op bezoek",
    "Zachtjes gezegd",
    "From abroad",
    "Achter de schermen",
    "Met z'n drieen",
)


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
    people: tuple = ()
    lines: tuple = ()
    seed: int = 0
    face: float = 1.0
    at: tuple = (0.5, 0.42)
    title: str = ""
    subtitle: str = ""

    def __post_init__(self):
        if len(self.people) > KINDS.get(self.kind, -1) or (self.kind == "inset" and len(self.people) < 2):
            limits = f"at most {KINDS}, and an inset needs 2"
            raise SettingError(f"a scene of kind {self.kind!r} cannot show {len(self.people)} people: {limits}")


@dataclass(frozen=True)
class Script:
    """A video before it is spoken.

    seconds: its length, lines that do not fit are left out; None: what they take. quiet: speech near -46 dBFS, silent
    for a detector set to -40.
    """

    video_id: str
    scenes: tuple
    seconds: float | None = None
    size: tuple = (640, 480)
    seed: int = 0
    title: str = ""
    quiet: bool = False

    @property
    def lines(self) -> list[Line]:
        """All lines in order."""
        return [line for scene in self.scenes for line in scene.lines]


@cache
def sentences(language: str) -> dict:
    """Return what there is to say in "nl" or "en": lists "talk", "short", "held_out", and "words" for random ones."""
    return json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))[language]


def random_sentence(language: str, rng: np.random.Generator) -> str:
    """Make up a sentence of one or two clauses."""
    words = sentences(language)["words"]

    def clause():
        parts = [rng.choice(words[part]) for part in ("who", "verb", "what", "where", "when")]
        return " ".join(parts if rng.random() < 0.6 else parts[:4])

    text = clause()
    if rng.random() < 0.4:
        join, second = rng.choice(words["join"]), clause()
        text += f", {join} {second[0].lower()}{second[1:]}"
    return text + "."


def _talk(language, rng) -> Iterator[str]:
    """The written sentences of a language in random order, then made-up ones for ever."""
    yield from map(str, rng.permutation(sentences(language)["talk"]))
    while True:
        yield random_sentence(language, rng)


# A video of the programme is a tuple of scenes: kind, who is seen (numbers of the cast), how long the lines are.
# The first and the third of them speak in turns; where nobody is seen, the host is heard.
MONOLOGUE = (("title", (), "medium"), ("single", (0,), "long short medium medium"))
VOICE_OVER = (("single", (0,), "long short"), ("empty", (), "medium"), ("single", (0,), "medium medium"))
INSET = (("inset", (0, 4), "medium long short medium"),)


def _interview(guest):
    return (("single", (0,), "long"), ("single", (guest,), "medium short"), ("single", (0,), "medium medium"))


def _panel(left, middle):
    alone = ("single", (0,), "medium short medium"), ("single", (left,), "medium"), ("single", (0,), "medium medium")
    return (("group", (0, left, middle), "medium medium"), *alone)


# The course's eight videos; longer shows go round again.
PROGRAMME = (MONOLOGUE, _interview(2), _panel(2, 3), INSET, MONOLOGUE, _interview(1), VOICE_OVER, _panel(4, 1))
QUIET_NUMBER = 4


def course_scripts(settings: TalkshowConfig) -> list[Script]:
    """Return the videos that the course learns from; the first n of a longer show are the same."""
    rng, people, scripts = np.random.default_rng((settings.seed, 17)), list(cast().values()), []
    talk = {language: _talk(language, rng) for language in ("nl", "en")}

    def say(actor, length):
        language = actor.voice.language
        text = str(rng.choice(sentences(language)["short"])) if length == "short" else next(talk[language])
        while length == "long" and len(text) < LONG_LINE_CHARS:
            text += " " + next(talk[language])
        return Line(actor, text, round(rng.uniform(0.5, 1.5), 2))

    for number in range(settings.n_videos):
        turn, title, scenes, written_s = number % len(PROGRAMME), TITLES[number % len(TITLES)], [], 0.0
        while written_s < 0.85 * settings.seconds:
            for kind, numbers, lengths in PROGRAMME[turn]:
                seen = tuple(people[k] for k in numbers)
                lines = tuple(say(*line) for line in zip(cycle(seen[::2] or (host(),)), lengths.split()))
                written_s += sum(len(line.text) / CHARS_PER_S + line.pause_s for line in lines)
                face = 0.95 if kind == "single" and 0 not in numbers else 1.0
                shown = {"seed": 10 * number + 1 + len(seen), "face": face, "title": title}
                scenes.append(Scene(kind, seen, lines, subtitle=f"aflevering {number + 1}", **shown))
        last = next(s for s in scenes if s.people[:1] == (host(),) and s.kind != "group")
        goodbye = tuple(say(host(), length) for length in ("medium", "short", "short", "short"))  # as much as fits
        scenes, size = (*scenes, replace(last, lines=goodbye)), (settings.width_px, settings.height_px)
        about = settings.seconds, size, settings.seed * 1000 + number, title, turn == QUIET_NUMBER
        scripts.append(Script(f"show{number + 1:02d}", scenes, *about))
    return scripts


def held_out_scripts(settings: TalkshowConfig) -> list[Script]:
    """Return short videos of the host alone, with sentences that no other video has: for evaluation only."""
    rng, scripts = np.random.default_rng((settings.seed, 23)), []
    texts = rng.permutation(sentences("nl")["held_out"]).tolist()
    per_video = max(1, round(settings.held_out_seconds / 3.3))
    while len(texts) < per_video * settings.n_held_out:
        texts.append(random_sentence("nl", rng))
    for number in range(settings.n_held_out):
        said = texts[number * per_video :][:per_video]
        lines = tuple(Line(host(), text, round(rng.uniform(0.5, 0.8), 2)) for text in said)
        about = None, (settings.width_px, settings.height_px), settings.seed * 1000 + 500 + number, "held out"
        scripts.append(Script(f"held{number + 1:02d}", (Scene("single", (host(),), lines, 500 + number),), *about))
    return scripts
