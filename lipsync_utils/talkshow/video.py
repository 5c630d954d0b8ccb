"""From a script to an mp4 with its ground truth; and what notebook 08 works on."""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import media
from ..audio import load_wav, save_wav
from ..config import TalkshowConfig, settings_hash
from ..errors import MediaError, SettingError
from ..parallel import Failure, map_items
from ..project import write_json
from ..records import write_csv
from .actor import Actor, cast
from .puppet import mouth_opening
from .script import Line, Scene, Script, course_scripts
from .speech import FPS, RATE_HZ, Speech, mouth_curves, play, speak
from .stage import Shot, group_picture, portrait

VERSION = 4  # raise it when the same script gives another video
NOISE_DB, QUIET_DB = -72.0, (-78.0, -26.0)  # floor of the sound; of a quiet video, with its speech's gain
SILENT_END_S = 0.6  # before the first line and after the last: long enough for the silence detector (400 ms)


@dataclass(frozen=True)
class FaceTruth:
    """One face in one frame; a frame without a face has one row without an actor.

    The box goes from forehead to chin and from ear to ear. mouth_open: gap between the lips as a fraction of the
    distance between the pupils. speaker: whose voice is heard, seen or not; speaking: whether it is this face's.
    """

    frame: int
    time_s: float
    shot: str
    actor: str | None
    left_px: float | None
    top_px: float | None
    right_px: float | None
    bottom_px: float | None
    mouth_open: float | None
    speaking: bool
    speaker: str | None


class Cue(NamedTuple):
    """A spoken line in its place."""

    start_s: float
    end_s: float
    actor: Actor
    speech: Speech


class Film(NamedTuple):
    """A script that has been spoken; `frames` draws it.

    cues: the lines in order; takes: scenes in order, as (scene, first frame, frame after the last); wav: float32 (n,)
    in [-1, 1] at RATE_HZ.
    """

    script: Script
    cues: list[Cue]
    takes: list[tuple]
    n_frames: int
    wav: np.ndarray

    def frames(self, every: int = 1):
        """Yield (image_bgr uint8 (h, w, 3), list of FaceTruth) for every frame, or for every so many-th."""
        played, speakers = {}, np.full(self.n_frames, None)
        for number, actor in enumerate(dict.fromkeys(p for scene, *_ in self.takes for p in scene.people)):
            curves = mouth_curves([(c.start_s, c.speech) for c in self.cues if c.actor == actor], self.n_frames)
            played[actor] = play(actor, curves, self.script.seed * 31 + number)
        for cue in self.cues:
            speakers[round(cue.start_s * FPS) : round(cue.end_s * FPS)] = cue.actor.name
        shot_of = cache(lambda scene: Shot(scene, self.script.size))  # the camera comes back to a scene
        for scene, first, end in self.takes:
            members = shot_of(scene).members
            for frame in range(first + -first % every, end, every):
                when, speaker, rows = (frame, frame / FPS, scene.kind), speakers[frame], []
                states = [played[member.actor][frame] for member in members]
                for member, state in zip(members, states):
                    name, gap = member.actor.name, round(mouth_opening(member.actor, state), 4)
                    rows.append(FaceTruth(*when, name, *member.face_box(state), gap, name == speaker, speaker))
                nobody = FaceTruth(*when, *[None] * 6, False, speaker)
                yield shot_of(scene).render(states, frame), rows or [nobody]

    def truth(self) -> dict:
        """Return what the JSON file says: the video, its shots, who says what when, and every phoneme."""

        def span(start_s, end_s, **more):
            return {"start_s": round(start_s, 4), "end_s": round(end_s, 4), **more}

        return {
            "video_id": self.script.video_id,
            "title": self.script.title,
            "n_frames": self.n_frames,
            "duration_s": round(self.n_frames / FPS, 4),
            "shots": [
                span(first / FPS, end / FPS, kind=scene.kind, people=[p.name for p in scene.people])
                for scene, first, end in self.takes
            ],
            "spoken": [span(a, b, actor=actor.name, text=speech.text) for a, b, actor, speech in self.cues],
            "phonemes": [
                span(start_s + a, start_s + b, actor=actor.name, symbol=symbol)
                for start_s, _, actor, speech in self.cues
                for a, b, symbol in speech.phonemes
                if symbol
            ],
        }


def film(script: Script) -> Film:
    """Let espeak-ng speak a script and lay it out in time: a cut falls into the middle of a pause.

    Raises SettingError when no line fits into the script's seconds.
    """
    spoken = iter(speak([(line.text, line.actor.voice) for line in script.lines]))
    cues, takes, end_s = [], [], SILENT_END_S
    for scene in script.scenes:
        shown = replace(scene, lines=())
        for line, speech in zip(scene.lines, spoken):
            start_s = end_s + (line.pause_s if cues else 0)
            if script.seconds is None or start_s + speech.length_s + SILENT_END_S <= script.seconds:
                if not takes or takes[-1][0] != shown:  # elsewhere the camera stays
                    takes.append((shown, round((end_s + start_s) / 2 * FPS) if cues else 0))
                end_s = start_s + speech.length_s
                cues.append(Cue(start_s, end_s, line.actor, speech))
    if not cues:
        raise SettingError(f"{script.video_id}: no line fits into {script.seconds} s; make the video longer")
    n_frames = round((script.seconds or end_s + SILENT_END_S) * FPS)
    ends = [*(first for _, first in takes[1:]), n_frames]
    noise_db, volume_db = QUIET_DB if script.quiet else (NOISE_DB, 0.0)
    wav = np.random.default_rng((script.seed, 3)).standard_normal(n_frames * RATE_HZ // FPS).astype(np.float32)
    wav *= np.float32(10 ** (noise_db / 20))
    for cue in cues:
        start, sound = round(cue.start_s * RATE_HZ), cue.speech.wav
        wav[start : start + len(sound)] += sound * 10 ** (volume_db / 20)
    return Film(script, cues, [(*take, end) for take, end in zip(takes, ends)], n_frames, wav.clip(-1, 1))


def render_video(script: Script, folder: Path) -> Path:
    """Render <video_id>.mp4, .truth.csv and .truth.json into a folder; returns the mp4.

    Files appear only when complete, the JSON last; a video that is there and was made from the same script stays.
    """
    path, made_from = Path(folder) / f"{script.video_id}.mp4", settings_hash(VERSION, script)
    about = path.with_suffix(".truth.json")
    if path.is_file() and about.is_file() and made_from in about.read_text(encoding="utf-8"):
        return path
    shot, rows = film(script), []
    sound = {"sound": shot.wav, "sample_rate_hz": RATE_HZ, "repeatable": True}
    metadata = {"title": script.title, "comment": "rendered talk show: no real person"}
    with media.VideoWriter(path, fps=FPS, size=script.size, crf=20, metadata=metadata, **sound) as writer:
        for picture, truth in shot.frames():
            writer.write(picture)
            rows += truth
    write_csv(path.with_suffix(".truth.csv"), rows, FaceTruth)
    write_json(about, shot.truth() | {"made_from": made_from})
    return path


def render_clip(
    path: Path, actors: list[Actor], lines: list[tuple], *, size=(256, 256), seconds=None, pause_s=0.6, seed=0
) -> Path:
    """Render one shot of one actor, or of up to three at a desk, to an mp4 with its ground truth.

    lines: (index into actors, text), spoken one after the other, pause_s apart; seconds: length (lines that do not fit
    are left out), None: as long as they take. A Script says more: other shots, cuts, titles.
    """
    spoken = tuple(Line(actors[who], text, pause_s) for who, text in lines)
    scene = Scene("single" if len(actors) == 1 else "group", tuple(actors), spoken, seed)
    return render_video(Script(Path(path).stem, (scene,), seconds, tuple(size), seed), Path(path).parent)


def mouth_curve(rows: list[FaceTruth], actor: str) -> np.ndarray:
    """Return an actor's mouth opening per frame, float64; NaN where the actor is not seen."""
    curve = np.full(rows[-1].frame + 1, np.nan)
    for row in rows:
        if row.actor == actor:
            curve[row.frame] = row.mouth_open
    return curve


def render_scripts(scripts: list[Script], folder: Path, **how) -> list[Path]:
    """Render videos into a folder on all cores; what is already there stays. Returns the mp4 files.

    how: scheduler and workers, as for parallel.map_items. Raises MediaError naming the videos that failed.
    """
    results = map_items(partial(render_video, folder=Path(folder)), scripts, desc="talk show", **how)
    done = {script.video_id: result for script, result in results}
    failed = [f"{video_id}: {result.error}" for video_id, result in done.items() if isinstance(result, Failure)]
    if failed:
        raise MediaError(f"{len(failed)} of {len(scripts)} videos could not be rendered: {'; '.join(failed)}")
    return [done[script.video_id] for script in scripts]


def render(n_videos: int, seconds: float, folder: Path, *, seed=1, size=(640, 480), **how) -> list[Path]:
    """Render any number of videos of any length into a folder, each with <video_id>.truth.csv and .truth.json.

    seconds: of each video; size: (width, height), even; how: of render_scripts. The same arguments give the same
    files on the same machine. Raises SettingError for impossible sizes.
    """
    settings = TalkshowConfig(n_videos, seconds, width_px=size[0], height_px=size[1], seed=seed)
    return render_scripts(course_scripts(settings), folder, **how)


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
