"""The clips that models are tested on: nobody may have trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import EvaluationConfig
from ..errors import DataError
from ..project import DataSet
from ..records import FaceClip, read_rows
from ..talkshow import FaceTruth, guests, mouth_curve, random_sentence, render_clip

SIZE_PX = (640, 480)


@dataclass(frozen=True)
class TestClip:
    """One clip to be tested on. actor: its name in the talk show's ground truth, None for a real video."""

    __test__ = False  # not a test of pytest

    clip_id: str
    video_id: str
    group: str
    path: Path
    actor: str | None = None

    @property
    def truth_csv(self) -> Path | None:
        """The ground truth beside a rendered clip, None where there is none."""
        path = self.path.with_suffix(".truth.csv")
        return path if self.actor and path.is_file() else None

    def true_opening(self) -> np.ndarray | None:
        """The mouth opening that the clip was rendered with, (frames,), NaN where unseen; None for a real video."""
        return None if self.truth_csv is None else mouth_curve(read_rows(self.truth_csv, FaceTruth), self.actor)


def rendered_clips(folder: Path, group: str = "speaker") -> list[TestClip]:
    """All rendered one-person clips of a folder, each a video of its own. Raises DataError for an empty folder."""
    clips = []
    for path in sorted(Path(folder).glob("*.mp4")):
        truth = path.with_suffix(".truth.csv")
        if not truth.is_file():
            raise DataError(f"{path}: its ground truth {truth.name} is missing; run notebook 01 again")
        names = [row.actor for row in read_rows(truth, FaceTruth) if row.actor]
        if names:
            clips.append(TestClip(path.stem, path.stem, group, path, max(set(names), key=names.count)))
    if not clips:
        raise DataError(f"{folder}: no held-out clip is here; notebook 01 renders them")
    return clips


def validation_clips(data: DataSet, fewest_frames: int = 50) -> list[TestClip]:
    """The clips of the videos that preprocessing kept for validation, at least 2 s long, in the order of faces.csv.

    Raises DataError where there are none.
    """
    table = data.path("faces.csv")
    clips = []
    for row in read_rows(table, FaceClip):
        path = data.clips / row.video_id / f"{row.clip_id}.mp4"
        if row.split == "val" and row.reason is None and (row.frames or 0) >= fewest_frames:
            if not path.is_file():
                raise DataError(f"{path} is missing, although {table.name} lists it: run notebooks 02 to 04 again")
            clips.append(TestClip(row.clip_id, row.video_id, "speaker", path))
    if not clips:
        raise DataError(
            f"{table}: no clip of at least {fewest_frames} frames is kept for validation: collect more "
            "videos, or raise val_share in notebook 04"
        )
    return clips


def spread(clips: Sequence[TestClip], n: int | None) -> list[TestClip]:
    """At most n of the clips, taken from the videos in turn, so that many videos are seen; order kept."""
    if n is None or n >= len(clips):
        return list(clips)
    by_video: dict[str, list[TestClip]] = {}
    for clip in clips:
        by_video.setdefault(clip.video_id, []).append(clip)
    turns = sorted(
        (place, number, clip)
        for number, group in enumerate(by_video.values())
        for place, clip in enumerate(group)
        if place < n
    )
    chosen = {clip.clip_id for _, _, clip in sorted(turns, key=lambda t: t[:2])[:n]}
    return [clip for clip in clips if clip.clip_id in chosen]


def guest_clips(folder: Path, settings: EvaluationConfig) -> list[TestClip]:
    """Render clips of the show's guests, on whom no model was tuned, saying sentences that are made up here."""
    people, rng = guests(), np.random.default_rng((settings.seed, 31))
    for number in range(settings.guest_clips):
        actor = people[number % len(people)]
        line = short_sentence(actor.voice.language, rng)
        render_clip(
            Path(folder) / f"guest{number + 1:02d}.mp4",
            [actor],
            [(0, line)],
            size=SIZE_PX,
            seed=900 + number + settings.seed,
        )
    return rendered_clips(folder, "guest")[: settings.guest_clips] if settings.guest_clips else []


def short_sentence(language: str, rng: np.random.Generator, longest: int = 75) -> str:
    """A made-up sentence of at most so many letters, about six seconds."""
    while len(text := random_sentence(language, rng)) > longest:
        pass
    return text


def held_out(data: DataSet, settings: EvaluationConfig | None = None) -> list[TestClip]:
    """The test clips of a data set: the talk show's held-out videos and guests, else the validation clips.

    Raises DataError saying what to run where there are none.
    """
    settings = settings or EvaluationConfig()
    folder = data.path("held_out")
    if not any(folder.glob("*.mp4")):
        return spread(validation_clips(data), settings.max_clips)
    return spread(rendered_clips(folder), settings.max_clips) + guest_clips(data.path("guests"), settings)
