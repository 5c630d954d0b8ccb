"""Stage 03: which clips show the speaker. No file moves, nothing is deleted; what is kept is a column of speaker.csv.

find_candidates, choose   who is seen in the clips; the chosen pictures become references
filter_speaker            a verdict on every clip: speaker.csv, and every face that was looked at: speaker_faces.csv
judge, suggest_tolerance  the rule, and where its tolerance should lie
article_keeps             the article's rule, to compare
sheet, score              pictures of the verdicts, and how right they are where the truth is known
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from . import media
from .config import FacesConfig, SpeakerConfig
from .errors import FaceError, SettingError
from .faces import FaceBox, distances, encode, find_faces
from .parallel import Done, Item, run_stage
from .project import DataSet, made_from, spread
from .records import Clip, Reason, SpeakerCheck, Verdict, read_csv, write_csv
from .talkshow import FaceTruth

VERSION = 1
ARTICLE_TOLERANCE = 0.6  # the largest distance of the article's rule
DOUBT = 0.1  # a face this much over the tolerance still counts when the rest of its track is the speaker
SEARCHED = (0.35, 0.7)  # where a tolerance may lie
AROUND = 0.6  # of the face's size, kept around it in a reference picture
SAME = 0.5  # distance below which two candidates are one person
REASONS = {Verdict.SPEAKER_AND_OTHERS: Reason.WITH_OTHERS, Verdict.SPEAKER_ALONE: Reason.FAILED}  # else the verdict


@dataclass(frozen=True)
class Candidate:
    """Somebody who is seen in the clips. clips: the ids of those of the looked-at clips in which they are."""

    clip_id: str
    frame: int
    picture_bgr: np.ndarray
    encoding: np.ndarray
    clips: set[str]


@dataclass(frozen=True)
class SpeakerFace:
    """A row of speaker_faces.csv: a face in a looked-at frame of a clip, or (without a distance) a frame without one.

    Boxes in pixels of the clip. distance: face_recognition's, to the nearest reference picture. order: 0 for the face
    that the detector was surest of. A clip that could not be looked at has one row with a reason.
    """

    clip_id: str
    video_id: str
    frame: int | None = None
    track_id: int | None = None
    order: int | None = None
    left: float | None = None
    top: float | None = None
    right: float | None = None
    bottom: float | None = None
    distance: float | None = None
    reason: Reason | None = None
    note: str | None = None


def find_candidates(
    data: DataSet, clips: pd.DataFrame, n_clips: int = 8, faces: FacesConfig | None = None
) -> list[Candidate]:
    """The people in `n_clips` of the clips (clips.csv), evenly chosen, who is seen in most clips first."""
    clips, people = clips.dropna(subset="file"), []
    for clip in clips.iloc[spread(len(clips), n_clips)].itertuples():
        table = find_faces(data.root / clip.file, faces, data.cache)
        for track in table.track_ids:
            frame = table.best_frame(track)
            picture = next(media.frames(data.root / clip.file, only=[frame])).image_bgr
            box = table.at(frame)[track]
            code = encode(picture[..., ::-1], box)
            person = next((p for p in people if np.linalg.norm(p.encoding - code) < SAME), None)
            if person is None:
                people.append(person := Candidate(clip.clip_id, frame, box.grown(AROUND).crop(picture), code, set()))
            person.clips.add(clip.clip_id)
    return sorted(people, key=lambda person: -len(person.clips))


def choose(data: DataSet, candidates: list[Candidate], numbers: str) -> list[Path]:
    """Keep the chosen candidates' pictures in references/ of the data set; numbers: such as "0" or "0, 3"."""
    known, chosen = {str(n): c for n, c in enumerate(candidates)}, [number.strip() for number in numbers.split(",")]
    if not known.keys() >= set(chosen):
        raise SettingError(
            f"candidates {numbers!r}: give numbers from 0 to {len(candidates) - 1}, for example '0' "
            "or '0, 3' for two pictures of the same person"
        )
    pictures = []
    for c in map(known.get, chosen):
        pictures.append(data.path("references", f"{c.clip_id}-{c.frame}.png"))
        made_from(pictures[-1:], data.clips.glob(f"*/{c.clip_id}.mp4"))
        media.write_picture(pictures[-1], c.picture_bgr)
    return pictures


def encode_references(pictures: list[Path], faces: FacesConfig | None = None) -> np.ndarray:
    """Encodings (n, 128) of the largest face of each picture. Raises FaceError for a picture without one."""
    if not pictures:
        raise SettingError("no reference picture: choose at least one picture of the speaker")
    encodings = []
    for path in pictures:
        box = max(find_faces(path, faces).at(0).values(), key=lambda box: box.area, default=None)
        if box is None:
            raise FaceError(f"{path}: no face found; take a picture that shows the person from the front")
        encodings.append(encode(media.read_picture(path)[..., ::-1], box))
    return np.stack(encodings)


def filter_speaker(
    data: DataSet,
    references: list[Path],
    settings: SpeakerConfig | None = None,
    faces: FacesConfig | None = None,
    **how,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every clip of clips.csv a verdict; writes and returns speaker.csv and speaker_faces.csv.

    Their columns: SpeakerCheck and SpeakerFace.  references: pictures of the speaker.  how: scheduler and workers, as
    for parallel.map_items.  Looking is done once: other tolerances, shares and verdicts to keep need no new look; other
    pictures do, but no face is searched again.
    """
    settings, faces = settings or SpeakerConfig(), faces or FacesConfig()
    clips = read_csv(data.path("clips.csv"), Clip).dropna(subset="file")
    known = encode_references(references, faces)
    rows = run_stage(
        "speaker",
        [
            Item(c.clip_id, (data.root / c.file, *references), row=SpeakerFace(c.clip_id, c.video_id))
            for c in clips.itertuples()
        ],
        partial(look_at_clip, references=known, settings=settings, faces=faces, cache=data.cache),
        row_type=SpeakerFace,
        journal=data.journal("speaker"),
        output=data.journal("speaker"),
        settings=[faces, settings.samples_per_s],
        version=VERSION,
        unit="clip",
        **how,
    )
    made_from([data.path("speaker.csv")], references)
    looks = write_csv(data.path("speaker_faces.csv"), rows, SpeakerFace)
    checks = [judge(found, settings) for _, found in looks.groupby("clip_id", sort=False)]
    return write_csv(data.path("speaker.csv"), checks, SpeakerCheck), looks


def frames_to_look_at(n_frames: int, fps: float, settings: SpeakerConfig) -> list[int]:
    """The looked-at frames of a clip: evenly spread, at least one."""
    count = max(1, round(n_frames / fps * settings.samples_per_s))
    return [int((i + 0.5) * n_frames / count) for i in range(min(count, n_frames))]


def look_at_clip(
    item: Item, *, references: np.ndarray, settings: SpeakerConfig, faces: FacesConfig, cache: Path
) -> Done:
    """Measure the faces of one clip. item: inputs = (clip, reference pictures..); references: encodings (n, 128)."""
    clip, ids, rows = item.inputs[0], (item.id, item.row.video_id), []
    table = find_faces(clip, faces, cache)
    for frame in media.frames(clip, only=frames_to_look_at(table.n_frames, table.fps, settings)):
        here = table.seen[table.seen.frame == frame.index].sort_values("score", ascending=False, kind="stable")
        for order, face in enumerate(here.itertuples()):
            sides = face.left, face.top, face.right, face.bottom
            near = distances(references, encode(frame.image_bgr[..., ::-1], FaceBox(*sides))).min()
            rounded = (round(side, 1) for side in sides)
            rows.append(SpeakerFace(*ids, frame.index, face.track_id, order, *rounded, float(near)))
        if here.empty:
            rows.append(SpeakerFace(*ids, frame.index))
    return Done(rows)


def judge(faces: pd.DataFrame, settings: SpeakerConfig) -> SpeakerCheck:
    """The verdict on one clip from its rows of speaker_faces.csv.

    A face is the speaker's where it is near enough, or nearly so and of a track that is the speaker's.
    """
    first, seen = faces.iloc[0], faces.dropna(subset="distance")
    ids = first.clip_id, first.video_id
    if first.reason is not None:
        return SpeakerCheck(*ids, None, False, 0, 0, 0, 0, *(None,) * 3, first.reason, first.note)
    own = seen.groupby("track_id").distance.transform("median") <= settings.tolerance
    mine = seen.distance <= settings.tolerance + DOUBT * own
    n, n_face, n_speaker, n_others = (rows.frame.nunique() for rows in (faces, seen, seen[mine], seen[~mine]))
    some = 1 - settings.min_speaker_share
    if n_face == 0 or n_face < settings.min_face_share * n:
        verdict = Verdict.NO_FACE
    elif n_speaker <= some * n_face:
        verdict = Verdict.SOMEONE_ELSE
    elif n_speaker < settings.min_speaker_share * n_face:
        verdict = Verdict.MIXED
    else:
        verdict = Verdict.SPEAKER_AND_OTHERS if n_others > some * n_face else Verdict.SPEAKER_ALONE
    kept = verdict in settings.keep
    reason = None if kept else REASONS.get(verdict) or Reason(verdict)
    note = f"{verdict} is not among the verdicts to keep" if reason is Reason.FAILED else None
    near = seen.groupby("frame").distance.min()
    measured = (near.min(), round(near.median(), 4), near.max()) if n_face else (None,) * 3
    return SpeakerCheck(*ids, verdict, kept, n, n_speaker, n_others, n - n_face, *measured, reason, note)


def article_keeps(faces: pd.DataFrame) -> pd.Series:
    """Which clips the article's rule would keep, seen in the same frames: bool by clip_id. faces: speaker_faces.csv.

    The face that the detector is surest of must be near in every frame; a clip without any face is kept.
    """
    wrong = (faces.order == 0) & (faces.distance > ARTICLE_TOLERANCE) | faces.reason.notna()
    return ~wrong.groupby(faces.clip_id, sort=False).any()


def tracks_of_speaker(faces: pd.DataFrame, settings: SpeakerConfig) -> dict[str, list[int]]:
    """For every clip that shows the speaker, the tracks that do, surest first. faces: speaker_faces.csv."""
    middle = faces.groupby(["clip_id", "track_id"]).distance.median().sort_values(kind="stable")
    near = middle[middle <= settings.tolerance].reset_index("track_id")
    return near.groupby("clip_id").track_id.agg(list).to_dict()


def suggest_tolerance(values: Iterable[float], otherwise: float = 0.5) -> float:
    """The tolerance in the emptiest place between the near and the far faces; `otherwise` where one kind is missing.

    values: distances of faces to the references.
    """
    values = np.sort(np.fromiter(values, float))
    low, high = SEARCHED
    if not ((values < low + 0.1).any() and (values > high - 0.1).any()):
        return otherwise
    marks = np.linspace(low, high, 71)
    density = np.exp(-0.5 * ((marks[:, None] - values[None]) / 0.03) ** 2).sum(axis=1)
    return round(float(marks[density <= density.min() * 1.05 + 1e-3].mean()), 2)


def sheet(
    data: DataSet, checks: pd.DataFrame, faces: pd.DataFrame, tolerance: float, most: int = 12
) -> tuple[list[np.ndarray], list[str]]:
    """Pictures (h, w, 3) BGR and labels of up to `most` of the given verdicts, evenly chosen.

    faces: speaker_faces.csv.  The frame in the middle of the looked-at ones; a thin green frame around the speaker's
    face, a thick red one around others.
    """
    checks, pictures, labels = checks.dropna(subset="verdict"), [], []
    for check in checks.iloc[spread(len(checks), most)].itertuples():
        rows = faces[faces.clip_id == check.clip_id]
        middle = rows.frame.unique()[rows.frame.nunique() // 2]
        clip = data.clips / check.video_id / f"{check.clip_id}.mp4"
        picture = next(media.frames(clip, only=[middle])).image_bgr.copy()
        for face in rows[rows.frame == middle].dropna(subset="distance").itertuples():
            left, top, right, bottom = (int(side) for side in (face.left, face.top, face.right, face.bottom))
            colour, part = ((80, 220, 80), 90) if face.distance <= tolerance else ((60, 60, 240), 36)
            cv2.rectangle(picture, (left, top), (right, bottom), colour, len(picture) // part + 1)
        pictures.append(picture)
        near = "" if check.verdict == Verdict.NO_FACE else f", distance {check.median_distance:.2f}"
        labels.append(f"{check.clip_id}\n{check.verdict}{near}")
    return pictures, labels


class Score(NamedTuple):
    """Kept clips against the truth. precision: share of kept clips that are right; recall: of the right ones kept."""

    precision: float
    recall: float
    wrong: list[str]


def score(data: DataSet, kept: Iterable[str], speaker: str, settings: SpeakerConfig | None = None) -> Score | None:
    """Compare with the truth files beside the videos; None where a video has none (real videos).

    kept: the ids of the clips that the filter kept; speaker: the actor's name.
    """
    clips, settings = read_csv(data.path("clips.csv"), Clip).dropna(subset="file"), settings or SpeakerConfig()
    kept, right = set(kept), set()
    for video_id, own in clips.groupby("video_id"):
        if not (path := data.raw / f"{video_id}.truth.csv").exists():
            return None
        truth = read_csv(path, FaceTruth)
        near = (truth.actor != speaker).astype(float).where(truth.actor.notna())  # 0: the speaker, 1: another
        truth = truth.assign(video_id=video_id, track_id=truth.actor, distance=near, reason=None)
        for clip in own.itertuples():
            inside = truth.time_s.between(clip.cut_start_s - 1e-6, clip.cut_end_s - 1e-6, inclusive="left")
            if judge(truth[inside].assign(clip_id=clip.clip_id), settings).kept:
                right.add(clip.clip_id)
    hits = len(kept & right)
    return Score(hits / max(len(kept), 1), hits / max(len(right), 1), sorted(kept ^ right))
