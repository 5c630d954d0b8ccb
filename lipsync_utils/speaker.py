"""Stage 03: which clips show the speaker. No file moves, nothing is deleted; what is kept is a column of speaker.csv.

find_candidates, choose   who is seen in the clips; the chosen pictures become references
filter_speaker            a verdict on every clip: speaker.csv, and every face that was looked at: speaker_faces.csv
judge, suggest_tolerance  the rule, and where its tolerance should lie
sheet, score              pictures of the verdicts, and how right they are where the truth is known
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from . import media, records
from .config import FacesConfig, SpeakerConfig
from .errors import FaceError, MediaError, SettingError
from .faces import FaceBox, distances, encode, find_faces
from .parallel import Done, Failure, Item, run_stage
from .project import DataSet, made_from, spread
from .records import Clip, Reason, SpeakerCheck, Verdict, Video, read_csv, read_rows, write_csv
from .talkshow import FaceTruth

VERSION = 1
ARTICLE_STEP, ARTICLE_TOLERANCE = 16, 0.6  # the article's rule: frames between two looks, largest distance
DOUBT = 0.1  # a face this much over the tolerance still counts when the rest of its track is the speaker
SEARCHED = (0.35, 0.7)  # where a tolerance may lie
AROUND = 0.6  # of the face's size, kept around it in a reference picture
SAME = 0.5  # distance below which two candidates are one person
REASONS = {
    Verdict.SPEAKER_AND_OTHERS: Reason.WITH_OTHERS,
    Verdict.SOMEONE_ELSE: Reason.SOMEONE_ELSE,
    Verdict.NO_FACE: Reason.NO_FACE,
    Verdict.MIXED: Reason.MIXED,
}


@dataclass(frozen=True)
class Candidate:
    """Somebody who is seen in the clips. number: 0 is the person seen most often; share: of the clips looked at."""

    number: int
    clip_id: str
    frame: int
    share: float
    picture_bgr: np.ndarray
    encoding: np.ndarray


@dataclass(frozen=True)
class SpeakerFace:
    """A row of speaker_faces.csv: a face in a looked-at frame of a clip, or (without a distance) a frame without one.

    Boxes in pixels of the clip. distance: face_recognition's, to the nearest reference picture. order: 0 for the face
    that the detector was surest of. A clip that could not be looked at has one row with a reason.
    """

    clip_id: str
    video_id: str
    frame: int | None
    track_id: int | None
    order: int | None
    left: float | None
    top: float | None
    right: float | None
    bottom: float | None
    distance: float | None
    reason: Reason | None
    note: str | None


@dataclass(frozen=True)
class SpeakerResult:
    """What the filter found. checks: a verdict per clip (SpeakerCheck); faces: every looked-at face (SpeakerFace)."""

    checks: pd.DataFrame
    faces: pd.DataFrame

    @property
    def kept(self) -> pd.DataFrame:
        """The verdicts on the clips that are kept."""
        return self.checks[self.checks.kept]

    @property
    def distances(self) -> np.ndarray:
        """Of all looked-at faces to the nearest reference picture."""
        return self.faces.distance.dropna().to_numpy()


def find_candidates(
    data: DataSet, clips: pd.DataFrame, n_clips: int = 8, faces: FacesConfig | None = None
) -> list[Candidate]:
    """The people in `n_clips` of the clips (clips.csv), evenly chosen, who is seen in most clips first."""
    clips = clips[clips.file.notna()]
    clips, people = clips.iloc[spread(len(clips), n_clips)], []
    for clip in clips.itertuples():
        table = find_faces(data.root / clip.file, faces, data.cache)
        best = {track: table.best_frame(track) for track in table.track_ids}
        pictures = {frame.index: frame.image_bgr for frame in media.frames(data.root / clip.file, only=best.values())}
        for track, number in best.items():
            box = table.box_of(track, number)
            code = encode(rgb_of(pictures[number]), box)
            clip_ids = next((ids for one, ids in people if np.linalg.norm(one.encoding - code) < SAME), None)
            if clip_ids is None:
                around = box.padded(*(AROUND * box.height,) * 2, *(AROUND * box.width,) * 2)
                picture = around.crop(pictures[number]).copy()
                people.append((Candidate(0, clip.clip_id, number, 0.0, picture, code), clip_ids := set()))
            clip_ids.add(clip.clip_id)
    people.sort(key=lambda person: -len(person[1]))
    return [replace(one, number=n, share=len(ids) / len(clips)) for n, (one, ids) in enumerate(people)]


def rgb_of(picture_bgr: np.ndarray) -> np.ndarray:
    """The picture as dlib wants it."""
    return np.ascontiguousarray(picture_bgr[..., ::-1])


def choose(data: DataSet, candidates: list[Candidate], numbers: str) -> list[Path]:
    """Keep the chosen candidates' pictures in references/ of the data set; numbers: such as "0" or "0, 3"."""
    try:
        chosen = [{person.number: person for person in candidates}[int(n)] for n in numbers.split(",")]
    except (ValueError, KeyError):
        raise SettingError(
            f"candidates {numbers!r}: give numbers from 0 to {len(candidates) - 1}, for example '0' "
            "or '0, 3' for two pictures of the same person"
        ) from None
    pictures = [data.path("references", f"{c.clip_id}-{c.frame}.png") for c in chosen]
    for picture, c in zip(pictures, chosen):
        made_from([picture], data.clips.glob(f"*/{c.clip_id}.mp4"))
        media.write_picture(picture, c.picture_bgr)
    return pictures


def encode_references(pictures: list[Path], faces: FacesConfig | None = None) -> np.ndarray:
    """Encodings (n, 128) of the largest face of each picture. Raises FaceError for a picture without one."""
    if not pictures:
        raise SettingError("no reference picture: choose at least one picture of the speaker")
    encodings = []
    for path in pictures:
        boxes = list(find_faces(path, faces).at(0).values())
        if not boxes:
            raise FaceError(f"{path}: no face found; take a picture that shows the speaker from the front")
        encodings.append(encode(rgb_of(media.read_picture(path)), max(boxes, key=lambda box: box.area)))
    return np.stack(encodings)


def filter_speaker(
    data: DataSet,
    references: list[Path],
    settings: SpeakerConfig | None = None,
    faces: FacesConfig | None = None,
    *,
    clips: pd.DataFrame | None = None,
    write: bool = True,
    **how,
) -> SpeakerResult:
    """Give every clip of clips.csv a verdict; writes speaker.csv and speaker_faces.csv (write=False: only says it).

    references: pictures of the speaker.  clips: only these rows of clips.csv.  how: scheduler and workers, as for
    parallel.map_items.  Looking is done once: other tolerances, shares and verdicts to keep need no new look; other
    pictures do, but no face is searched again.
    """
    settings, faces = settings or SpeakerConfig(), faces or FacesConfig()
    clips = read_csv(data.path("clips.csv"), Clip) if clips is None else clips
    references = [Path(path) for path in references]
    encodings = encode_references(references, faces).tolist()
    stage = "speaker" if settings.rule == "course" else f"speaker-{settings.rule}"
    rows = run_stage(
        stage,
        [
            Item(clip.clip_id, (data.root / clip.file, *references), {"video_id": clip.video_id})
            for clip in clips[clips.file.notna()].itertuples()
        ],
        partial(look_at_clip, references=encodings, settings=settings, faces=faces, cache=data.cache),
        row_type=SpeakerFace,
        journal=data.journal(stage),
        output=data.journal(stage),
        settings={"faces": str(faces), "rule": settings.rule, "samples_per_s": str(settings.samples_per_s)},
        version=VERSION,
        failed=failed,
        unit="clip",
        **how,
    )
    seen = records.from_cells(records.to_cells(rows, SpeakerFace), SpeakerFace, stage)
    verdicts = [judge(looks, settings) for _, looks in seen.groupby("clip_id", sort=False)]
    if write:
        made_from([data.path("speaker.csv")], references)
        write_csv(data.path("speaker_faces.csv"), rows, SpeakerFace)
        write_csv(data.path("speaker.csv"), verdicts, SpeakerCheck)
    return SpeakerResult(records.from_cells(records.to_cells(verdicts, SpeakerCheck), SpeakerCheck, stage), seen)


def frames_to_look_at(n_frames: int, fps: float, settings: SpeakerConfig) -> list[int]:
    """The looked-at frames of a clip: evenly spread, at least one; in the article's rule 0, 16, 32 .."""
    if settings.rule == "article":
        return list(range(0, n_frames, ARTICLE_STEP))
    count = max(1, round(n_frames / fps * settings.samples_per_s))
    return [int((i + 0.5) * n_frames / count) for i in range(min(count, n_frames))]


def look_at_clip(item: Item, *, references: list, settings: SpeakerConfig, faces: FacesConfig, cache: Path) -> Done:
    """Look at one clip. item: inputs = (clip, reference pictures..); references: encodings, lists of 128 numbers."""
    clip, ids, rows = item.inputs[0], (item.id, item.arguments["video_id"]), []
    table = find_faces(clip, faces, cache)
    if not table.n_frames:
        raise MediaError(f"{clip}: no picture can be decoded; cut the clip again")
    looks = frames_to_look_at(table.n_frames, table.fps, settings)
    seen = table.seen.sort_values("score", ascending=False, kind="stable")
    found = {number: seen[seen.frame == number] for number in looks}
    for frame in media.frames(clip, only=[number for number in looks if len(found[number])]):
        rgb = rgb_of(frame.image_bgr)
        for order, row in enumerate(found[frame.index].itertuples()):
            sides = row.left, row.top, row.right, row.bottom
            near = float(distances(np.array(references), encode(rgb, FaceBox(*sides))).min())
            place = (round(side, 1) for side in sides)
            rows.append(SpeakerFace(*ids, frame.index, row.track_id, order, *place, near, None, None))
    rows += [SpeakerFace(*ids, number, *(None,) * 9) for number in looks if not len(found[number])]
    return Done(sorted(rows, key=lambda row: (row.frame, row.order or 0)))


def failed(item: Item, failure: Failure) -> list[SpeakerFace]:
    """A clip that could not be looked at."""
    return [SpeakerFace(item.id, item.arguments["video_id"], *(None,) * 8, failure.reason, failure.error[:300])]


def judge(faces: pd.DataFrame, settings: SpeakerConfig) -> SpeakerCheck:
    """The verdict on one clip from its rows of speaker_faces.csv.

    A face is the speaker's where it is near enough, or nearly so and of a track that is the speaker's. In the article's
    rule the first face of every looked-at frame must be near; a clip without any face is kept.
    """
    ids, first = (faces.clip_id.iloc[0], faces.video_id.iloc[0]), faces.iloc[0]
    if first.reason is not None:
        return SpeakerCheck(*ids, None, False, 0, 0, 0, 0, None, None, None, first.reason, first.note)
    article, seen = settings.rule == "article", faces[faces.distance.notna()]
    tolerance, doubt = (ARTICLE_TOLERANCE, 0.0) if article else (settings.tolerance, DOUBT)
    own = seen.groupby("track_id").distance.transform("median") <= tolerance
    mine = seen.distance <= tolerance + doubt * own
    n, n_face = faces.frame.nunique(), seen.frame.nunique()
    n_speaker, n_others = seen.frame[mine].nunique(), seen.frame[~mine].nunique()
    verdict = verdict_of(n, n_face, n_speaker, n_others, settings)
    firsts = seen.sort_values("order").groupby("frame").distance.first()
    kept = bool((firsts <= ARTICLE_TOLERANCE).all()) if article else verdict in settings.keep
    reason, note = None, None
    if not kept:
        reason = Reason.SOMEONE_ELSE if article else REASONS.get(verdict, Reason.FAILED)
    if reason is Reason.FAILED:
        note = f"{verdict} is not among the verdicts to keep"
    near = seen.groupby("frame").distance.min()
    measured = (near.min(), round(near.median(), 4), near.max()) if n_face else (None,) * 3
    return SpeakerCheck(*ids, verdict, kept, n, n_speaker, n_others, n - n_face, *measured, reason, note)


def verdict_of(n: int, n_face: int, n_speaker: int, n_others: int, settings: SpeakerConfig) -> Verdict:
    """The verdict from counts of looked-at frames: all, with a face, with the speaker, with somebody else."""
    some = 1 - settings.min_speaker_share
    if n_face == 0 or n_face < settings.min_face_share * n:
        return Verdict.NO_FACE
    if n_speaker <= some * n_face:
        return Verdict.SOMEONE_ELSE
    if n_speaker < settings.min_speaker_share * n_face:
        return Verdict.MIXED
    return Verdict.SPEAKER_AND_OTHERS if n_others > some * n_face else Verdict.SPEAKER_ALONE


def tracks_of_speaker(faces: pd.DataFrame, settings: SpeakerConfig) -> dict[str, list[int]]:
    """For every clip that shows the speaker, the tracks that do, surest first. faces: speaker_faces.csv."""
    middle = faces.groupby(["clip_id", "track_id"]).distance.median().sort_values(kind="stable")
    tolerance = ARTICLE_TOLERANCE if settings.rule == "article" else settings.tolerance
    near = middle[middle <= tolerance].reset_index()
    return {clip: rows.track_id.tolist() for clip, rows in near.groupby("clip_id")}


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
    data: DataSet, result: SpeakerResult, checks: pd.DataFrame, tolerance: float, most: int = 12
) -> tuple[list[np.ndarray], list[str]]:
    """Pictures (180, w, 3) BGR and labels of up to `most` of the given verdicts, evenly chosen.

    The frame in the middle of the looked-at ones; the speaker's face framed in green, a doubled line around others.
    """
    files = read_csv(data.path("clips.csv"), Clip).set_index("clip_id").file
    checks, pictures, labels = checks[checks.verdict.notna()], [], []
    for check in checks.iloc[spread(len(checks), most)].itertuples():
        rows = result.faces[result.faces.clip_id == check.clip_id]
        looks = sorted(rows.frame.unique())
        frame = next(media.frames(data.root / files[check.clip_id], only=[looks[len(looks) // 2]]))
        factor = 180 / frame.image_bgr.shape[0]
        small = cv2.resize(frame.image_bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        for face in rows[(rows.frame == frame.index) & rows.distance.notna()].itertuples():
            corners = np.multiply((face.left, face.top, face.right, face.bottom), factor).round().astype(int)
            mine = face.distance <= tolerance
            for more in (0,) if mine else (0, 4):
                box = corners + (-more, -more, more, more)
                cv2.rectangle(small, box[:2].tolist(), box[2:].tolist(), (80, 220, 80) if mine else (60, 60, 240), 2)
        pictures.append(small)
        near = "no face" if np.isnan(check.median_distance) else f"distance {check.median_distance:.2f}"
        labels.append(f"{check.clip_id}\n{check.verdict}, {near}")
    return pictures, labels


@dataclass(frozen=True)
class Score:
    """Kept clips against the truth. precision: share of kept clips that are right; recall: of the right ones kept."""

    precision: float
    recall: float
    wrong: list[str]


def score(data: DataSet, kept: Iterable[str], speaker: str, settings: SpeakerConfig | None = None) -> Score | None:
    """Compare with the truth files beside the videos; None where a video has none (real videos).

    kept: the ids of the clips that the filter kept; speaker: the actor's name.
    """
    settings, right, unknown = settings or SpeakerConfig(), set(), set()
    videos = [video for video in read_rows(data.path("collected.csv"), Video) if video.file]
    paths = {video.video_id: data.path(video.file).with_suffix(".truth.csv") for video in videos}
    if not all(path.exists() for path in paths.values()):
        return None
    truths = {video_id: read_csv(path, FaceTruth) for video_id, path in paths.items()}
    for clip in read_rows(data.path("clips.csv"), Clip):
        if clip.file:
            truth = truths[clip.video_id]
            inside = truth[(truth.time_s >= clip.cut_start_s - 1e-6) & (truth.time_s < clip.cut_end_s - 1e-6)]
            keep = should_keep([set(who.dropna()) for _, who in inside.groupby("time_s").actor], speaker, settings)
            right |= {clip.clip_id} if keep else set()
            unknown |= {clip.clip_id} if keep is None else set()
    kept = set(kept) - unknown
    hits = len(kept & right)
    return Score(hits / max(len(kept), 1), hits / max(len(right), 1), sorted(kept ^ right))


def should_keep(frames: list[set[str]], speaker: str, settings: SpeakerConfig) -> bool | None:
    """Whether a clip is to be kept if nobody were mistaken; frames: who is seen in each.

    None: it depends on which of several faces the article's rule looks at.
    """
    if settings.rule == "article":
        looks = frames[::ARTICLE_STEP]
        return None if any(len(who) > 1 for who in looks) else all(who <= {speaker} for who in looks)
    n_speaker, n_others = sum(speaker in who for who in frames), sum(bool(who - {speaker}) for who in frames)
    return verdict_of(len(frames), sum(map(bool, frames)), n_speaker, n_others, settings) in settings.keep
