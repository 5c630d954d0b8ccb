"""The clips that models are tested on: nobody may have trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import talkshow
from ..config import EvaluationConfig
from ..errors import DataError
from ..project import DataSet
from ..records import FaceClip, read_csv, read_rows

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
        """The ground truth beside a rendered clip, None for a real one."""
        return self.path.with_suffix(".truth.csv") if self.actor else None

    def true_opening(self) -> np.ndarray | None:
        """The mouth opening that the clip was rendered with, (frames,), NaN where unseen; None for a real video."""
        return self.actor and talkshow.mouth_curve(read_rows(self.truth_csv, talkshow.FaceTruth), self.actor)


def rendered_clips(folder: Path, group: str = "speaker") -> list[TestClip]:
    """All rendered one-person clips of a folder, each a video of its own. Raises DataError for an empty folder."""
    clips = []
    for path in sorted(Path(folder).glob("*.mp4")):
        truth = path.with_suffix(".truth.csv")
        if not truth.is_file():
            raise DataError(f"{path}: its ground truth {truth.name} is missing; run notebook 01 again")
        actor = read_csv(truth, talkshow.FaceTruth).actor.mode()
        clips += [TestClip(path.stem, path.stem, group, path, name) for name in actor[:1]]
    if not clips:
        raise DataError(f"{folder}: no held-out clip is here; notebook 01 renders them")
    return clips


def validation_clips(data: DataSet, fewest_frames: int = 50) -> list[TestClip]:
    """The clips of the videos that preprocessing kept for validation, at least 2 s long, in the order of faces.csv.

    Raises DataError where there are none.
    """
    table = read_csv(data.path("faces.csv"), FaceClip)
    table = table[(table.split == "val") & table.reason.isna() & (table.frames >= fewest_frames)]
    clips = [
        TestClip(row.clip_id, row.video_id, "speaker", data.clips / row.video_id / f"{row.clip_id}.mp4")
        for row in table.itertuples()
    ]
    if missing := [clip.path for clip in clips if not clip.path.is_file()]:
        raise DataError(f"{missing[0]} is missing, although faces.csv lists it: run notebooks 02 to 04 again")
    if not clips:
        raise DataError(
            f"{data.path('faces.csv')}: no clip of at least {fewest_frames} frames is kept for validation: collect "
            "more videos, or raise val_share in notebook 04"
        )
    return clips


def spread(clips: Sequence[TestClip], n: int | None) -> list[TestClip]:
    """At most n of the clips, taken from the videos in turn, so that many videos are seen; order kept."""
    videos = pd.Series([clip.video_id for clip in clips])
    turns = videos.groupby(videos).cumcount().sort_values(kind="stable")
    return [clips[k] for k in sorted(turns.index[:n])]


def guest_clips(folder: Path, settings: EvaluationConfig) -> list[TestClip]:
    """Render clips of the show's guests, on whom no model was tuned, saying sentences that are made up here."""
    people, rng = talkshow.guests(), np.random.default_rng((settings.seed, 31))
    for number in range(settings.guest_clips):
        actor = people[number % len(people)]
        path, line = Path(folder) / f"guest{number + 1:02d}.mp4", short_sentence(actor.voice.language, rng)
        talkshow.render_clip(path, [actor], [(0, line)], size=SIZE_PX, seed=900 + number + settings.seed)
    return rendered_clips(folder, "guest")[: settings.guest_clips] if settings.guest_clips else []


def short_sentence(language: str, rng: np.random.Generator, longest: int = 75) -> str:
    """A made-up sentence of at most so many letters, about six seconds."""
    while len(text := talkshow.random_sentence(language, rng)) > longest:
        pass
    return text


def held_out(data: DataSet, settings: EvaluationConfig | None = None) -> list[TestClip]:
    """The test clips of a data set: the talk show's held-out videos and guests, else the validation clips.

    Raises DataError saying what to run where there are none.
    """
    settings, folder = settings or EvaluationConfig(), data.path("held_out")
    if not any(folder.glob("*.mp4")):
        return spread(validation_clips(data), settings.max_clips)
    return spread(rendered_clips(folder), settings.max_clips) + guest_clips(data.path("guests"), settings)
