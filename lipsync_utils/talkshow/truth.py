"""What is really seen and heard in a rendered video: one CSV row per frame and face, and the rest as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..project import write_json
from ..records import write_csv
from .mouth import FaceState, mouth_opening
from .script import Script, Timeline
from .voice import is_pause


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


def speakers(timeline: Timeline, fps: float) -> list[str | None]:
    """Return whose voice is heard at the middle of each frame."""
    heard = [None] * timeline.n_frames
    for cue in timeline.cues:
        for frame in range(round(cue.start_s * fps), min(round(cue.end_s * fps), timeline.n_frames)):
            heard[frame] = cue.actor.name
    return heard


def frame_rows(frame, fps, kind, members, states: list[FaceState], boxes, speaker) -> list[FaceTruth]:
    """Return the rows of one frame; members, states and boxes belong together."""
    time_s = frame / fps
    if not members:
        return [FaceTruth(frame, time_s, kind, None, None, None, None, None, None, False, speaker)]
    return [
        FaceTruth(
            frame,
            time_s,
            kind,
            m.actor.name,
            b.left,
            b.top,
            b.right,
            b.bottom,
            round(mouth_opening(m.actor, s), 4),
            m.actor.name == speaker,
            speaker,
        )
        for m, s, b in zip(members, states, boxes, strict=True)
    ]


def describe(script: Script, timeline: Timeline, made_from: str) -> dict:
    """Return what the JSON file says: the video, its shots, who says what when, and every phoneme."""
    names = list(dict.fromkeys(p.name for t in timeline.takes for p in t.scene.people))
    shots = [
        {
            "start_s": round(t.first / script.fps, 4),
            "end_s": round(t.end / script.fps, 4),
            "kind": t.scene.kind,
            "people": [p.name for p in t.scene.people],
        }
        for t in timeline.takes
    ]
    spoken = [
        {
            "start_s": round(c.start_s, 4),
            "end_s": round(c.end_s, 4),
            "actor": c.actor.name,
            "language": c.actor.voice.language,
            "text": c.speech.text,
        }
        for c in timeline.cues
    ]
    phonemes = [
        {
            "start_s": round(c.start_s + p.start_s, 4),
            "end_s": round(c.start_s + p.end_s, 4),
            "actor": c.actor.name,
            "symbol": p.symbol,
        }
        for c in timeline.cues
        for p in c.speech.phonemes
        if not is_pause(p.symbol)
    ]
    languages = list(dict.fromkeys(s["language"] for s in spoken))
    return {
        "video_id": script.video_id,
        "title": script.title,
        "languages": languages,
        "fps": script.fps,
        "width_px": script.size[0],
        "height_px": script.size[1],
        "n_frames": timeline.n_frames,
        "duration_s": round(timeline.n_frames / script.fps, 4),
        "seed": script.seed,
        "people": names,
        "camera": asdict(script.camera),
        "shots": shots,
        "spoken": spoken,
        "phonemes": phonemes,
        "made_from": made_from,
    }


def write_truth(folder: Path, video_id: str, rows: list[FaceTruth], description: dict) -> None:
    """Write <video_id>.truth.csv and <video_id>.truth.json into a folder, atomically."""
    write_csv(folder / f"{video_id}.truth.csv", rows, FaceTruth)
    write_json(folder / f"{video_id}.truth.json", description)


def mouth_curve(rows: list[FaceTruth], actor: str) -> np.ndarray:
    """Return an actor's mouth opening per frame, float64; NaN where the actor is not seen."""
    curve = np.full(rows[-1].frame + 1, np.nan)
    for row in rows:
        if row.actor == actor:
            curve[row.frame] = row.mouth_open
    return curve
