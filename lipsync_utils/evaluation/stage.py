"""Stage 09: every model on every test clip, one row each; resumable, and done again when weights or clips change."""

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .. import checkpoints
from ..audio import load_wav
from ..config import EvaluationConfig, InferenceConfig, override
from ..errors import DataError
from ..inference import lip_sync
from ..parallel import Done, Failure, Item, run_stage
from ..project import made_from, safe_name
from ..records import Reason, write_csv
from .clips import TestClip
from .judge import judge_name, load_judge
from .look import Look, find_speaker, look_at
from .measure import measured
from .scores import Score

log = logging.getLogger(__name__)

VERSION = 1  # of the numbers; a new one makes old rows unused
TRUTH = "truth"
PLAIN = InferenceConfig(label="none")  # a label would be measured as a fault of the model


@dataclass(frozen=True)
class Case:
    """One thing to measure: a model on a clip, saying the speech of `speech`. weights: None for the truth."""

    model: str
    clip: TestClip
    speech: TestClip
    weights: Path | None

    @property
    def id(self) -> str:
        """Unique, and safe as a file name."""
        said = "own" if self.speech is self.clip else f"says_{self.speech.clip_id}"
        return safe_name(f"{self.model}-{self.clip.clip_id}-{said}", longest=150)

    @property
    def film(self) -> Path:
        """Where the generated film lies in the run's folder."""
        return Path("films") / f"{self.id}.mp4"


def cases(models: Mapping[str, Path | None], clips: Sequence[TestClip], settings: EvaluationConfig) -> list[Case]:
    """Everything to measure: each model on each clip with its own speech and, for the speaker, with another's.

    "Another" is the next clip of the same group that comes from another video; the truth exists for own speech only.
    Guests say their own only.
    """
    found = []
    for clip in clips:
        others = [c for c in rotated(clips, clip) if c.group == clip.group and c.video_id != clip.video_id]
        for model, weights in models.items():
            found.append(Case(model, clip, clip, weights))
            if weights is not None and "other" in settings.speech and others and clip.group == "speaker":
                found.append(Case(model, clip, others[0], weights))
    return found


def rotated(clips: Sequence[TestClip], first: TestClip) -> list[TestClip]:
    """The clips after `first`, going round."""
    at = list(clips).index(first)
    return [*clips[at + 1 :], *clips[:at]]


def evaluate(
    models: Mapping[str, Path | None],
    clips: Sequence[TestClip],
    folder: Path,
    *,
    settings: EvaluationConfig | None = None,
    scheduler: str = "processes",
    workers: int | None = None,
) -> list[Score]:
    """Measure every model on every clip; writes results.csv and the films into `folder`, and returns the rows.

    models: name -> weights of a generator, None for "truth".  What was measured before with the same weights, clips
    and settings is not measured again.  A clip that cannot be measured is a row with a reason.  Raises CheckpointError
    for weights that are not there or do not fit, DataError where there are no clips, before any work.
    """
    settings, folder = settings or EvaluationConfig(), Path(folder)
    if not clips:
        raise DataError("there are no clips to test on")
    for weights in filter(None, models.values()):
        checkpoints.read(weights, "generator", mmap=True)
    load_judge(settings)
    todo = cases(models, clips, settings)
    items = [
        Item(
            case.id,
            tuple(filter(None, (case.clip.path, case.speech.path, case.weights, case.clip.truth_csv))),
            {"case": case.id, "group": case.clip.group},
        )
        for case in todo
    ]
    by_id = {case.id: case for case in todo}
    for item in items:
        made_from(
            [folder / ".journal" / f"{item.id}.json", folder / "results.csv", folder / "report.html"], item.inputs
        )
    work = functools.partial(_measure_item, cases=by_id, folder=folder, settings=settings)
    rows = run_stage(
        "evaluate",
        items,
        work,
        row_type=Score,
        journal=folder / ".journal",
        output=folder,
        settings=[settings.identity_frames, settings.syncnet_weights, PLAIN],
        version=VERSION,
        failed=functools.partial(_failed, cases=by_id, judge=judge_name(settings)),
        scheduler=scheduler,
        workers=workers,
        unit="clip",
    )
    write_csv(folder / "results.csv", rows, Score)
    return rows


def film_of(score: Score, clips: Sequence[TestClip], folder: Path) -> Path:
    """The film behind a row: what the model made, or the clip itself for the truth."""
    by = {clip.clip_id: clip for clip in clips}
    clip, speech = by[score.clip_id], by[score.speech_id]
    return clip.path if score.model == TRUTH else folder / Case(score.model, clip, speech, None).film


def _measure_item(item: Item, cases: Mapping[str, Case], folder: Path, settings: EvaluationConfig) -> Done:
    return measure_case(cases[item.id], folder, settings)


def measure_case(case: Case, folder: Path, settings: EvaluationConfig) -> Done:
    """Make the film of one case, if it is not the truth, look at it and measure it."""
    import cv2
    import torch

    torch.set_num_threads(1)  # one process per core does the rest
    cv2.setNumThreads(1)
    cache = folder / "cache"
    track, boxes = find_speaker(case.clip.path, cache)
    truth = _look(case.clip.path, cache, settings.identity_frames)
    spoken = truth if case.speech is case.clip else _look(case.speech.path, cache, settings.identity_frames)
    if case.weights is None:
        film, files, look = case.clip.path, [], truth
    else:
        film = folder / case.film
        draw(case, track, film, cache)
        files, look = [film], look_at(film, boxes, settings.identity_frames)
    numbers = measured(
        look,
        truth,
        spoken,
        load_wav(case.speech.path),
        load_judge(settings),
        own=case.speech is case.clip,
        opening=case.speech.true_opening(),
    )
    return Done([score_of(case, judge_name(settings), frames=len(look), **numbers)], files)


def draw(case: Case, track: int, film: Path, cache: Path) -> None:
    """Let the case's model make its film, with the sound windows that it was trained with."""
    generator = open_generator(case.weights)
    lip_sync(
        case.clip.path,
        {track: case.speech.path},
        film,
        generator=generator,
        cache_dir=cache,
        settings=override(PLAIN, alignment=generator.mel_alignment),
        on_progress=quietly,
    )


def quietly(done: int, total: int) -> None:
    """No bar for a single film: the stage has one for all of them."""


@functools.lru_cache(maxsize=4)
def open_generator(weights: Path):
    """A generator, kept for the next film."""
    return checkpoints.load(weights, "generator")


@functools.lru_cache(maxsize=3)
def _look(path: Path, cache: Path, n_encodings: int) -> Look:
    """The look at a true video; the cases of one clip follow each other and share it."""
    return look_at(path, find_speaker(path, cache)[1], n_encodings)


def score_of(case: Case, judge: str, *, reason: Reason | None = None, note: str | None = None, **numbers) -> Score:
    """A row with the numbers given, all others empty."""
    empty = dict.fromkeys(f.name for f in fields(Score))
    own = case.speech is case.clip
    return Score(
        **{
            **empty,
            "model": case.model,
            "clip_id": case.clip.clip_id,
            "video_id": case.clip.video_id,
            "group": case.clip.group,
            "speech": "own" if own else "other",
            "speech_id": case.speech.clip_id,
            "judge": judge,
            "reason": reason,
            "note": note,
            **numbers,
        }
    )


def _failed(item: Item, failure: Failure, cases: Mapping[str, Case], judge: str) -> list[Score]:
    return [score_of(cases[item.id], judge, reason=Reason.FAILED, note=failure.error)]
