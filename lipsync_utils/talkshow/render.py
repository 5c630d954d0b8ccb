"""From a script to an mp4 with its ground truth."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..config import settings_hash
from ..errors import SettingError
from ..media import VideoWriter
from ..project import write_json
from ..records import write_csv
from .actor import Actor
from .puppet import mouth_opening
from .script import FPS, Line, Scene, Script
from .speech import Speech, is_pause, mouth_curves, play, segments, speak
from .stage import Shot

VERSION = 4  # raise it when the same script gives another video
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
    in [-1, 1] at rate_hz.
    """

    script: Script
    cues: list[Cue]
    takes: list[tuple]
    n_frames: int
    wav: np.ndarray
    rate_hz: int

    def frames(self, every: int = 1):
        """Yield (image_bgr uint8 (h, w, 3), list of FaceTruth) for every frame, or for every so many-th."""
        script, played, speakers = self.script, {}, [None] * self.n_frames
        for number, actor in enumerate(dict.fromkeys(p for scene, *_ in self.takes for p in scene.people)):
            own = [segments(c.speech.phonemes, c.start_s) for c in self.cues if c.actor == actor]
            curves = mouth_curves(sum(own, []), self.n_frames, FPS)  # who does not speak listens with a closed mouth
            played[actor] = play(actor, curves, FPS, script.seed * 31 + number)
        for cue in self.cues:
            heard = range(round(cue.start_s * FPS), round(cue.end_s * FPS))
            speakers[heard.start : heard.stop] = [cue.actor.name] * len(heard)
        shot_of = cache(lambda scene: Shot(scene, script.size))  # the camera comes back to a scene
        for scene, first, end in self.takes:
            shot = shot_of(scene)
            for frame in range(first + -first % every, end, every):
                when, speaker, rows = (frame, frame / FPS, scene.kind), speakers[frame], []
                states = [played[member.actor][frame] for member in shot.members]
                for member, state in zip(shot.members, states):
                    name, gap = member.actor.name, round(mouth_opening(member.actor, state), 4)
                    rows.append(FaceTruth(*when, name, *member.face_box(state), gap, name == speaker, speaker))
                image = cv2.cvtColor(shot.render(states, frame), cv2.COLOR_RGB2BGR)
                yield image, rows or [FaceTruth(*when, *[None] * 6, False, speaker)]

    def truth(self) -> dict:
        """Return what the JSON file says: the video, its shots, who says what when, and every phoneme."""

        def span(start_s, end_s, **more):
            return {"start_s": round(start_s, 4), "end_s": round(end_s, 4), **more}

        shots, spoken, phonemes = [], [], []
        for scene, first, end in self.takes:
            shots.append(span(first / FPS, end / FPS, kind=scene.kind, people=[p.name for p in scene.people]))
        for start_s, end_s, actor, speech in self.cues:
            spoken.append(span(start_s, end_s, actor=actor.name, text=speech.text))
            sounds = [p for p in speech.phonemes if not is_pause(p.symbol)]
            phonemes += [
                span(start_s + p.start_s, start_s + p.end_s, actor=actor.name, symbol=p.symbol) for p in sounds
            ]
        length = {"n_frames": self.n_frames, "duration_s": round(self.n_frames / FPS, 4)}
        about = {"video_id": self.script.video_id, "title": self.script.title, **length}
        return about | {"shots": shots, "spoken": spoken, "phonemes": phonemes}


def film(script: Script) -> Film:
    """Let espeak-ng speak a script and lay it out in time: a cut falls into the middle of a pause.

    Raises SettingError when no line fits into the script's seconds.
    """
    spoken = speak([(line.text, line.actor.voice) for line in script.lines])
    cues, shown, end_s = [], [], SILENT_END_S
    scenes = [scene for scene in script.scenes for _ in scene.lines]
    for scene, line, speech in zip(scenes, script.lines, spoken):
        start_s = end_s + (line.pause_s if cues else 0)
        if script.seconds is None or start_s + speech.length_s + SILENT_END_S <= script.seconds:
            end_s = start_s + speech.length_s
            cues.append(Cue(start_s, end_s, line.actor, speech))
            shown.append(replace(scene, lines=()))
    if not cues:
        raise SettingError(f"{script.video_id}: no line fits into {script.seconds} s; make the video longer")
    n_frames = round((script.seconds or end_s + SILENT_END_S) * FPS)
    cuts = [k for k in range(1, len(cues)) if shown[k] != shown[k - 1]]  # elsewhere the camera stays
    edges = [0, *(round((cues[k - 1].end_s + cues[k].start_s) / 2 * FPS) for k in cuts), n_frames]
    takes = list(zip([shown[k] for k in (0, *cuts)], edges, edges[1:]))
    rng, rate_hz = np.random.default_rng((script.seed, 3)), spoken[0].rate_hz
    wav = rng.standard_normal(round(n_frames / FPS * rate_hz)).astype(np.float32) * 10 ** (script.noise_dbfs / 20)
    for cue in cues:
        start, sound = round(cue.start_s * rate_hz), cue.speech.wav
        wav[start : start + len(sound)] += sound * 10 ** (script.volume_db / 20)
    return Film(script, cues, takes, n_frames, wav.clip(-1, 1), rate_hz)


def render_video(script: Script, folder: Path) -> Path:
    """Render <video_id>.mp4, .truth.csv and .truth.json into a folder; returns the mp4.

    Files appear only when complete, the JSON last; a video that is there and was made from the same script stays.
    """
    path, made_from = Path(folder) / f"{script.video_id}.mp4", settings_hash(VERSION, script)
    table, about = path.with_suffix(".truth.csv"), path.with_suffix(".truth.json")
    if all(p.is_file() for p in (path, table, about)) and made_from in about.read_text(encoding="utf-8"):
        return path
    shot, rows = film(script), []
    writer = VideoWriter(
        path,
        fps=FPS,
        size=script.size,
        sound=shot.wav,
        sample_rate_hz=shot.rate_hz,
        repeatable=True,
        crf=20,
        metadata={"title": script.title, "comment": "rendered talk show: no real person"},
    )
    with writer:
        for picture, truth in shot.frames():
            writer.write(picture)
            rows += truth
    write_csv(table, rows, FaceTruth)
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
