"""From distances to a verdict on a clip: pure functions of what was measured and of the settings."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from ..config import SpeakerConfig
from ..records import Reason, SpeakerCheck, Verdict
from .measure import SpeakerFace

ARTICLE_TOLERANCE = 0.6
DOUBT = 0.1  # a face this much over the tolerance still counts when the rest of its track is the speaker
SEARCHED = (0.35, 0.7)  # where a tolerance may lie
REASONS = {
    Verdict.SPEAKER_AND_OTHERS: Reason.WITH_OTHERS,
    Verdict.SOMEONE_ELSE: Reason.SOMEONE_ELSE,
    Verdict.NO_FACE: Reason.NO_FACE,
    Verdict.MIXED: Reason.MIXED,
}


def judge(rows: list[SpeakerFace], settings: SpeakerConfig) -> SpeakerCheck:
    """The verdict on one clip from its rows of speaker_faces.csv."""
    first = rows[0]
    if first.reason is not None:
        return SpeakerCheck(
            first.clip_id, first.video_id, None, False, 0, 0, 0, 0, None, None, None, first.reason, first.note
        )
    frames: dict[int, list[SpeakerFace]] = defaultdict(list)
    for row in rows:
        frames[row.frame].append(row)
    mine = speakers_faces(rows, settings)
    with_face = [f for f in frames.values() if f[0].distance is not None]
    with_speaker = sum(any(face in mine for face in f) for f in with_face)
    with_others = sum(any(face not in mine for face in f) for f in with_face)
    verdict = verdict_of(len(frames), len(with_face), with_speaker, with_others, settings)
    article = settings.rule == "article"
    kept = article_keeps(with_face) if article else verdict in settings.keep
    reason = None if kept else (Reason.SOMEONE_ELSE if article else REASONS.get(verdict, Reason.MIXED))
    note = None
    if not kept and reason is Reason.MIXED and verdict is Verdict.SPEAKER_ALONE:
        reason, note = Reason.FAILED, "speaker_alone is not among the verdicts to keep"
    near = [min(face.distance for face in f) for f in with_face]
    best, middle, worst = (min(near), round(float(np.median(near)), 4), max(near)) if near else (None, None, None)
    return SpeakerCheck(
        first.clip_id,
        first.video_id,
        verdict,
        kept,
        len(frames),
        with_speaker,
        with_others,
        len(frames) - len(with_face),
        best,
        middle,
        worst,
        reason,
        note,
    )


def speakers_faces(rows: list[SpeakerFace], settings: SpeakerConfig) -> set[SpeakerFace]:
    """The rows that show the speaker: near enough, or nearly so and of a track that is the speaker's."""
    tolerance = ARTICLE_TOLERANCE if settings.rule == "article" else settings.tolerance
    by_track: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row.distance is not None:
            by_track[row.track_id].append(row.distance)
    own = {track for track, values in by_track.items() if np.median(values) <= tolerance}
    doubt = 0.0 if settings.rule == "article" else DOUBT
    return {
        row
        for row in rows
        if row.distance is not None and row.distance <= tolerance + (doubt if row.track_id in own else 0.0)
    }


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


def article_keeps(with_face: Iterable[list[SpeakerFace]]) -> bool:
    """The article's rule: the first face of every looked-at frame must be near; a clip without any face is kept."""
    return all(min(faces, key=lambda face: face.order).distance <= ARTICLE_TOLERANCE for faces in with_face)


def tracks_of_speaker(rows: Iterable[SpeakerFace], settings: SpeakerConfig) -> dict[str, list[int]]:
    """For every clip that shows the speaker, the tracks that do, surest first."""
    tolerance = ARTICLE_TOLERANCE if settings.rule == "article" else settings.tolerance
    near: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.distance is not None:
            near[row.clip_id][row.track_id].append(row.distance)
    middle = {
        clip: sorted((float(np.median(values)), track) for track, values in tracks.items())
        for clip, tracks in near.items()
    }
    return {
        clip: found
        for clip, tracks in middle.items()
        if (found := [track for distance, track in tracks if distance <= tolerance])
    }


def suggest_tolerance(values: Iterable[float], otherwise: float = 0.5) -> float:
    """The tolerance in the emptiest place between the near and the far faces; `otherwise` where one kind is missing.

    values: distances of faces to the references.
    """
    values = np.sort(np.fromiter(values, float))
    low, high = SEARCHED
    near, far = values[values < low + 0.1], values[values > high - 0.1]
    if not len(near) or not len(far):
        return otherwise
    marks = np.linspace(low, high, 71)
    density = np.exp(-0.5 * ((marks[:, None] - values[None]) / 0.03) ** 2).sum(axis=1)
    return round(float(marks[density <= density.min() * 1.05 + 1e-3].mean()), 2)
