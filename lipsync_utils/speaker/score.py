"""How good the filter is, where the truth is known: the talk show says who is seen in every frame."""

from dataclasses import dataclass

from ..config import SpeakerConfig
from ..project import DataSet
from ..records import Clip, SpeakerCheck, Verdict, Video, read_rows
from ..talkshow import FaceTruth
from .measure import ARTICLE_STEP
from .verdict import verdict_of


@dataclass(frozen=True)
class Score:
    """Kept clips against the truth. precision: share of kept clips that are right; recall: of the right ones kept."""

    precision: float
    recall: float
    wrong: list[str]


def score(
    data: DataSet, checks: list[SpeakerCheck], speaker: str, settings: SpeakerConfig | None = None
) -> Score | None:
    """Compare verdicts with the truth files beside the videos; None where a video has none (real videos).

    speaker: the actor's name.
    """
    settings = settings or SpeakerConfig()
    people = people_in_clips(data)
    if people is None:
        return None
    if settings.rule == "article":
        truth = {clip: article_truth(frames, speaker) for clip, frames in people.items()}
    else:
        truth = {clip: true_verdict(frames, speaker, settings) in settings.keep for clip, frames in people.items()}
    right = {clip for clip, keep in truth.items() if keep}
    kept = {check.clip_id for check in checks if check.kept and truth[check.clip_id] is not None}
    hits = len(kept & right)
    return Score(hits / max(len(kept), 1), hits / max(len(right), 1), sorted(kept ^ right))


def people_in_clips(data: DataSet) -> dict[str, list[set[str]]] | None:
    """Who is seen in every frame of every clip, from the truth files; None where a video has none."""
    videos = {
        v.video_id: data.path(v.file).with_suffix(".truth.csv")
        for v in read_rows(data.path("collected.csv"), Video)
        if v.file
    }
    if not all(path.exists() for path in videos.values()):
        return None
    seen: dict[str, dict[float, set[str]]] = {}
    for video, path in videos.items():
        frames = seen.setdefault(video, {})
        for row in read_rows(path, FaceTruth):
            frames.setdefault(row.time_s, set()).update({row.actor} - {None})
    return {
        clip.clip_id: [
            who
            for time_s, who in seen[clip.video_id].items()
            if clip.cut_start_s - 1e-6 <= time_s < clip.cut_end_s - 1e-6
        ]
        for clip in read_rows(data.path("clips.csv"), Clip)
        if clip.file
    }


def true_verdict(frames: list[set[str]], speaker: str, settings: SpeakerConfig) -> Verdict:
    """The verdict on a clip if every frame was looked at and nobody was mistaken."""
    return verdict_of(
        len(frames),
        sum(map(bool, frames)),
        sum(speaker in who for who in frames),
        sum(bool(who - {speaker}) for who in frames),
        settings,
    )


def article_truth(frames: list[set[str]], speaker: str) -> bool | None:
    """Whether the article's rule should keep a clip; None where it depends on which of several faces comes first."""
    looked = frames[::ARTICLE_STEP]
    return None if any(len(who) > 1 for who in looked) else all(who <= {speaker} for who in looked)
