"""The programme: which videos the show has, who is in them and what they say; and rendering all of it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import TalkshowConfig
from ..errors import MediaError
from ..parallel import Failure, map_items
from .actor import Actor, cast, guests, host
from .render import group_picture, portrait, render_video
from .script import Camera, Line, Scene, Script, random_sentence, sentences, talk

log = logging.getLogger(__name__)

QUIET = Camera(volume_db=-26.0, noise_dbfs=-78.0)  # speech near -46 dBFS: silent for a detector set to -40
CHARS_PER_S = 13.5  # of espeak-ng at the speeds used here
LONG_LINE_CHARS = 175  # speaks for more than 10 s without a pause
MEAN_PAUSE_S = 1.0
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


class Writer:
    """Writes scenes: sentences that were not used before, pauses of 0.5 to 1.5 s; keeps count of the time."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng((seed, 17))
        self.written_s = 0.0
        self._talk = {language: talk(language, self.rng) for language in ("nl", "en")}

    def line(self, actor: Actor, text: str | None = None) -> Line:
        """Return a line of one sentence."""
        text = text or next(self._talk[actor.voice.language])
        pause_s = round(float(self.rng.uniform(0.5, 1.5)), 2)
        self.written_s += len(text) / CHARS_PER_S + pause_s
        return Line(actor, text, pause_s)

    def long_line(self, actor: Actor) -> Line:
        """Return several sentences without a pause that a silence detector would find."""
        text = ""
        while len(text) < LONG_LINE_CHARS:
            text = f"{text} {next(self._talk[actor.voice.language])}".strip()
        return self.line(actor, text)

    def short_line(self, actor: Actor) -> Line:
        """Return a word or two, under a second."""
        return self.line(actor, str(self.rng.choice(sentences(actor.voice.language)["short"])))

    def scene(self, kind: str, people: tuple[Actor, ...] = (), *lines: Line, **look) -> Scene:
        """Return a scene before the video's backdrop for it."""
        return Scene(kind, people, lines, seed=self.backdrop + len(people), **look)

    def open_video(self, number: int) -> None:
        """Start counting again, with other backdrops."""
        self.written_s, self.backdrop = 0.0, 10 * number + 1


def monologue(w: Writer, who: Actor, number: int) -> list[Scene]:
    """Title card with the host's voice, then the host alone."""
    title = w.scene("title", (), w.line(who), title=TITLES[number % len(TITLES)], subtitle=f"aflevering {number + 1}")
    return [title, w.scene("single", (who,), w.long_line(who), w.short_line(who), w.line(who), w.line(who))]


def voice_over(w: Writer, who: Actor, number: int) -> list[Scene]:
    """The host, the empty set with the host's voice, the host again."""
    return [
        w.scene("single", (who,), w.long_line(who), w.short_line(who)),
        w.scene("empty", (), w.line(who)),
        w.scene("single", (who,), w.line(who), w.line(who)),
    ]


def _interview(guest_number: int) -> Callable:
    def interview(w: Writer, who: Actor, number: int) -> list[Scene]:
        """Host and guest in turns, each alone in the picture."""
        guest = guests()[guest_number % len(guests())]
        return [
            w.scene("single", (who,), w.long_line(who)),
            w.scene("single", (guest,), w.line(guest), w.short_line(guest), face=0.95),
            w.scene("single", (who,), w.line(who), w.line(who)),
        ]

    return interview


def _panel(first: int, second: int) -> Callable:
    def panel(w: Writer, who: Actor, number: int) -> list[Scene]:
        """Three at the desk, then the host alone, then a guest alone."""
        left, middle = (guests()[k % len(guests())] for k in (first, second))
        table = (who, left, middle)
        return [
            w.scene("group", table, w.line(who), w.line(middle)),
            w.scene("single", (who,), w.line(who), w.short_line(who), w.line(who)),
            w.scene("single", (left,), w.line(left), face=0.95),
            w.scene("single", (who,), w.line(who), w.line(who)),
        ]

    return panel


def inset(w: Writer, who: Actor, number: int) -> list[Scene]:
    """The host in the right half, a guest on a small screen in the left half."""
    guest = guests()[number % len(guests())]
    return [w.scene("inset", (who, guest), w.line(who), w.long_line(who), w.short_line(who), w.line(who))]


# The course's eight videos; longer shows go round again.
PROGRAMME = (monologue, _interview(1), _panel(1, 2), inset, monologue, _interview(0), voice_over, _panel(3, 0))
QUIET_NUMBER = 4


def course_scripts(settings: TalkshowConfig) -> list[Script]:
    """Return the videos that the course learns from; the first n of a longer show are the same."""
    writer, scripts = Writer(settings.seed), []
    for number in range(settings.n_videos):
        writer.open_video(number)
        scenes = []
        while writer.written_s < 0.85 * settings.seconds:
            scenes += PROGRAMME[number % len(PROGRAMME)](writer, host(), number)
        goodbye = (writer.line(host()), *(writer.short_line(host()) for _ in range(3)))  # as much of it as fits
        last = next(s for s in scenes if s.people[:1] == (host(),) and s.kind != "group")
        scenes.append(replace(last, lines=goodbye))
        camera = QUIET if number % len(PROGRAMME) == QUIET_NUMBER else Camera()
        scripts.append(
            Script(
                f"show{number + 1:02d}",
                tuple(scenes),
                settings.seconds,
                (settings.width_px, settings.height_px),
                seed=settings.seed * 1000 + number,
                camera=camera,
                title=TITLES[number % len(TITLES)],
            )
        )
    return scripts


def held_out_scripts(settings: TalkshowConfig) -> list[Script]:
    """Return short videos of the host alone, with sentences that no other video has: for evaluation only."""
    rng = np.random.default_rng((settings.seed, 23))
    texts = [str(t) for t in rng.permutation(sentences("nl")["held_out"])]
    per_video = max(1, round(settings.held_out_seconds / 3.3))
    while len(texts) < per_video * settings.n_held_out:
        texts.append(random_sentence("nl", rng))
    scripts = []
    for number in range(settings.n_held_out):
        said = texts[number * per_video : (number + 1) * per_video]
        lines = tuple(Line(host(), text, round(float(rng.uniform(0.5, 0.8)), 2)) for text in said)
        scene = Scene("single", (host(),), lines, seed=500 + number)
        size = (settings.width_px, settings.height_px)
        seed = settings.seed * 1000 + 500 + number
        scripts.append(Script(f"held{number + 1:02d}", (scene,), None, size, seed=seed, title="held out"))
    return scripts


def render_scripts(scripts: list[Script], folder: Path, *, workers: int | None = None) -> list[Path]:
    """Render videos into a folder on all cores (or `workers`); what is already there stays. Returns the mp4 files.

    Raises MediaError naming the videos that failed.
    """
    failures, paths = {}, {}
    work = [(script, Path(folder)) for script in scripts]
    scheduler = "inline" if workers == 1 else "processes"
    done = map_items(_render, work, scheduler=scheduler, workers=workers, desc="talk show", unit="video")
    for (script, _), result in done:
        if isinstance(result, Failure):
            failures[script.video_id] = result.error
        paths[script.video_id] = result
    if failures:
        words = "; ".join(f"{video}: {error}" for video, error in failures.items())
        raise MediaError(f"{len(failures)} of {len(scripts)} videos could not be rendered: {words}")
    return [paths[script.video_id] for script in scripts]


def _render(item):
    return render_video(*item)


def render(
    n_videos: int,
    seconds: float,
    folder: Path,
    *,
    seed: int = 1,
    size=(640, 480),
    held_out: bool = False,
    workers: int | None = None,
) -> list[Path]:
    """Render any number of videos of any length into a folder, each with <video_id>.truth.csv and .truth.json.

    seconds: of each video (held_out: about); size: (width, height), even; held_out: the host alone with sentences of
    their own. The same arguments give the same files on the same machine. Raises SettingError for impossible sizes.
    """
    video = {"width_px": size[0], "height_px": size[1], "seed": seed}
    if held_out:
        scripts = held_out_scripts(TalkshowConfig(n_held_out=n_videos, held_out_seconds=seconds, **video))
    else:
        scripts = course_scripts(TalkshowConfig(n_videos=n_videos, seconds=seconds, **video))
    return render_scripts(scripts, folder, workers=workers)


def render_pictures(folder: Path) -> dict[str, Path]:
    """Write group.png (host and two guests) and a reference picture of every actor; returns them by name."""
    folder = Path(folder)
    people = list(cast().values())
    paths = {a.name: portrait(folder / f"{a.name.lower()}.png", a, seed=k) for k, a in enumerate(people)}
    return {"group": group_picture(folder / "group.png", people[:3], seed=3), **paths}


def render_sample(folder: Path, settings: TalkshowConfig | None = None, *, workers: int | None = None) -> list[Path]:
    """Render the course's sample: its videos into folder, held-out ones into held_out/, pictures into pictures/."""
    settings, folder = settings or TalkshowConfig(), Path(folder)
    videos = render_scripts(course_scripts(settings), folder, workers=workers)
    render_scripts(held_out_scripts(settings), folder / "held_out", workers=workers)
    render_pictures(folder / "pictures")
    return videos
