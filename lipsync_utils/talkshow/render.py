"""From a script to an mp4 with its ground truth."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from ..config import settings_hash
from ..media import VideoWriter, write_picture
from ..project import write_json
from ..records import write_csv
from .actor import Actor
from .mouth import FaceState, mouth_opening
from .script import Camera, Line, Scene, Script, Timeline, lay_out
from .speech import is_pause, mouth_curves, play, segments, speak
from .stage import Shot, group_shot, inset_shot, single_shot, still_shot

VERSION = 4  # raise it when the same script gives another video


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


@dataclass(frozen=True, eq=False)
class Film:
    """A script that has been spoken: its timeline and sound (float32 (n,) at rate_hz); `frames` draws it."""

    script: Script
    timeline: Timeline
    wav: np.ndarray
    rate_hz: int

    def frames(self, every: int = 1) -> Iterator[tuple[np.ndarray, list[FaceTruth]]]:
        """Yield (image_bgr uint8 (h, w, 3), the truth about it) for every frame, or for every so many-th."""
        script, camera, shots, heard = self.script, _camera(self.script.camera), {}, [None] * self.timeline.n_frames
        played, fps = _play_all(script, self.timeline), script.fps
        for cue in self.timeline.cues:
            for frame in range(round(cue.start_s * fps), min(round(cue.end_s * fps), len(heard))):
                heard[frame] = cue.actor.name
        for take in self.timeline.takes:
            shot = shots.get(take.scene) or shots.setdefault(take.scene, _build_shot(take.scene, script))
            for frame in range(-(-take.first // every) * every, take.end, every):
                speaker, time_s = heard[frame], frame / fps
                states = [played[member.actor.name][frame] for member in shot.members]
                rows = [] if states else [FaceTruth(frame, time_s, take.scene.kind, *[None] * 6, False, speaker)]
                for m, state, box in zip(shot.members, states, shot.boxes(states), strict=True):
                    name, gap = m.actor.name, round(mouth_opening(m.actor, state), 4)
                    edges = box.left, box.top, box.right, box.bottom
                    rows.append(FaceTruth(frame, time_s, take.scene.kind, name, *edges, gap, name == speaker, speaker))
                yield camera(shot.render(states, frame)), rows


def film(script: Script) -> Film:
    """Let espeak-ng speak a script and lay it out in time; the pictures are drawn later, one by one."""
    spoken = speak([(line.text, line.actor.voice) for line in script.lines])
    timeline = lay_out(script, spoken)
    rate_hz = spoken[0].rate_hz
    return Film(script, timeline, _mix(script, timeline, rate_hz), rate_hz)


def _mix(script, timeline, rate_hz):
    """Put the lines into one sound over a low noise floor."""
    rng = np.random.default_rng((script.seed, 3))
    n = round(timeline.n_frames / script.fps * rate_hz)
    wav = rng.standard_normal(n).astype(np.float32) * np.float32(10 ** (script.camera.noise_dbfs / 20))
    volume = np.float32(10 ** (script.camera.volume_db / 20))
    for cue in timeline.cues:
        start = round(cue.start_s * rate_hz)
        part = cue.speech.wav[: n - start]
        wav[start : start + len(part)] += part * volume
    return np.clip(wav, -1, 1)


def _play_all(script, timeline) -> dict[str, list[FaceState]]:
    """Return every seen actor's states over the whole video: those who do not speak listen with closed mouths."""
    people = {p.name: p for take in timeline.takes for p in take.scene.people}
    played = {}
    for number, (name, actor) in enumerate(people.items()):
        held = [s for c in timeline.cues if c.actor.name == name for s in segments(c.speech.phonemes, c.start_s)]
        curves = mouth_curves(held, timeline.n_frames, script.fps)
        played[name] = play(actor, curves, script.fps, script.seed * 31 + number, script.motion)
    return played


def _build_shot(scene: Scene, script: Script) -> Shot:
    size, grain = script.size, script.camera.grain
    if scene.kind == "single":
        return single_shot(scene.people[0], size, scene.seed, scene.face, scene.at, scene.backdrop, grain)
    if scene.kind == "group":
        return group_shot(list(scene.people), size, scene.seed, grain)
    if scene.kind == "inset":
        return inset_shot(*scene.people, size, scene.seed, grain)
    return still_shot(size, scene.seed, scene.title, scene.subtitle, grain)


def _camera(camera: Camera):
    """Return a function that applies a camera's colours and softness; RGB in, BGR out."""
    levels = np.arange(256, dtype=np.float32)[:, None] * np.array(camera.gain, np.float32)[::-1]
    table = np.clip(levels + 0.5, 0, 255).astype(np.uint8)[None]

    def look(picture_rgb):
        picture = cv2.LUT(cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR), table)
        return cv2.GaussianBlur(picture, (0, 0), camera.blur_px) if camera.blur_px else picture

    return look


def render_video(script: Script, folder: Path) -> Path:
    """Render <video_id>.mp4, .truth.csv and .truth.json into a folder; returns the mp4.

    Files appear only when complete, the JSON last; a video that is there and was made from the same script stays.
    """
    folder = Path(folder)
    path, made_from = folder / f"{script.video_id}.mp4", settings_hash(VERSION, script)
    if is_rendered(path, made_from):
        return path
    shot = film(script)
    rows, comment = [], "rendered talk show: no real person"
    writer = VideoWriter(
        path,
        fps=script.fps,
        size=script.size,
        sound=shot.wav,
        sample_rate_hz=shot.rate_hz,
        repeatable=True,
        crf=script.camera.crf,
        metadata={"title": script.title, "comment": comment},
    )
    with _one_thread(), writer:
        for picture, truth in shot.frames():
            writer.write(picture)
            rows += truth
    write_csv(path.with_suffix(".truth.csv"), rows, FaceTruth)
    write_json(path.with_suffix(".truth.json"), _describe(script, shot.timeline, made_from))
    return path


@contextmanager
def _one_thread():
    """One video per process: more threads of OpenCV would only fight for the same cores. Restored afterwards."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def is_rendered(path: Path, made_from: str) -> bool:
    """Say whether a video and its truth are there, made from this script."""
    try:
        known = json.loads(path.with_suffix(".truth.json").read_text(encoding="utf-8"))["made_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return known == made_from and path.is_file() and path.with_suffix(".truth.csv").is_file()


def _describe(script: Script, timeline: Timeline, made_from: str) -> dict:
    """Return what the JSON file says: the video, its shots, who says what when, and every phoneme."""

    def span(start_s, end_s, **more):
        return {"start_s": round(start_s, 4), "end_s": round(end_s, 4), **more}

    fps, takes, spoken, phonemes = script.fps, timeline.takes, [], []
    for c in timeline.cues:
        name, language = c.actor.name, c.actor.voice.language
        spoken.append(span(c.start_s, c.end_s, actor=name, language=language, text=c.speech.text))
        sounding = [p for p in c.speech.phonemes if not is_pause(p.symbol)]
        phonemes += [span(c.start_s + p.start_s, c.start_s + p.end_s, actor=name, symbol=p.symbol) for p in sounding]
    return {
        "video_id": script.video_id,
        "title": script.title,
        "languages": list(dict.fromkeys(s["language"] for s in spoken)),
        "fps": fps,
        "width_px": script.size[0],
        "height_px": script.size[1],
        "n_frames": timeline.n_frames,
        "duration_s": round(timeline.n_frames / fps, 4),
        "seed": script.seed,
        "people": list(dict.fromkeys(p.name for t in takes for p in t.scene.people)),
        "camera": asdict(script.camera),
        "shots": [
            span(t.first / fps, t.end / fps, kind=t.scene.kind, people=[p.name for p in t.scene.people]) for t in takes
        ],
        "spoken": spoken,
        "phonemes": phonemes,
        "made_from": made_from,
    }


def render_clip(
    path: Path,
    actors: list[Actor],
    lines: list[tuple[int, str]],
    *,
    size=(256, 256),
    seconds=None,
    pause_s=0.6,
    face=1.0,
    at=(0.5, 0.42),
    backdrop=None,
    motion=1.0,
    camera: Camera | None = None,
    seed=0,
    fps=25.0,
) -> Path:
    """Render one shot of one actor, or of up to three at a desk, to an mp4 with its ground truth.

    lines: (index into actors, text), spoken one after the other, pause_s apart; seconds: length (lines that do not fit
    are left out), None: as long as they take; face: size of the head in a shot of one actor (1 fills the picture well);
    at: where its eyes are, fractions of width and height; motion: strength of head movement, 0..1.
    """
    path = Path(path)
    spoken = tuple(Line(actors[who], text, pause_s) for who, text in lines)
    kind = "single" if len(actors) == 1 else "group"
    scene = Scene(kind, tuple(actors), spoken, seed=seed, face=face, at=tuple(at), backdrop=backdrop)
    script = Script(path.stem, (scene,), seconds, tuple(size), fps, seed, motion, camera or Camera())
    return render_video(script, path.parent)


def portrait(path: Path, actor: Actor, size=(360, 360), seed: int = 0, state: FaceState | None = None) -> Path:
    """Write a reference picture of an actor; the suffix of path says how (.png, .jpg)."""
    shot = single_shot(actor, size, seed, at=(0.5, 0.46))
    return write_picture(path, cv2.cvtColor(shot.render([state or FaceState()], 0), cv2.COLOR_RGB2BGR))


def group_picture(path: Path, actors: list[Actor], size=(640, 480), seed: int = 0) -> Path:
    """Write a picture of up to three actors behind a desk."""
    shot = group_shot(actors, size, seed)
    states = [FaceState(yaw=y, roll=r) for y, r in ((0.08, 0.02), (-0.08, -0.02), (0.0, 0.01))][: len(actors)]
    return write_picture(path, cv2.cvtColor(shot.render(states, 0), cv2.COLOR_RGB2BGR))


def mouth_curve(rows: list[FaceTruth], actor: str) -> np.ndarray:
    """Return an actor's mouth opening per frame, float64; NaN where the actor is not seen."""
    curve = np.full(rows[-1].frame + 1, np.nan)
    for row in rows:
        if row.actor == actor:
            curve[row.frame] = row.mouth_open
    return curve
