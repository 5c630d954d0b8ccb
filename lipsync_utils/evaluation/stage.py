"""Stage 09: every model on every test clip, one row each; resumable, and done again when weights or clips change."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

from .. import checkpoints, inference, metrics
from ..audio import SAMPLE_RATE_HZ, load_wav
from ..config import EvaluationConfig, InferenceConfig, Preset
from ..errors import DataError
from ..parallel import Done, Item, run_stage
from ..project import atomic_file, made_from, resolve, safe_name
from ..records import Reason, write_csv
from .measure import FPS, Judge, TestClip, find_speaker, frames_of, look_at, look_at_clip, measured, network

VERSION = 2  # of the numbers; a new one makes old rows unused
TRUTH = "truth"
#: What notebook 09 makes of the rows in the same folder.
MADE = ("results.csv", "report.html", "side_by_side.mp4", "results_faces.jpg")
PLAIN = InferenceConfig(label="none")  # a label would be measured as a fault of the model


@dataclass(frozen=True)
class Score:
    """A row of results.csv: one model on one clip. The measures are explained in metrics.MEASURES.

    model: "truth" is the video as it was filmed.  video_id: clips of one video are not independent, so intervals are
    made over videos.  group: "speaker" (whom the models are tuned on) or "guest".  speech: "own" is the clip's own
    sound, so that the true pictures are known; "other" is the sound of the clip `speech_id`, as a user would have it;
    "silence" is none.  judge: the network behind the sync measures.
    """

    model: str
    clip_id: str
    video_id: str
    group: str
    speech: str
    speech_id: str
    judge: str
    frames: int | None = None
    lse_d: float | None = None
    lse_c: float | None = None
    judge_distance: float | None = None
    judge_confidence: float | None = None
    offset_frames: float | None = None
    mouth_correlation: float | None = None
    mouth_truth_correlation: float | None = None
    leakage: float | None = None
    lmd_percent: float | None = None
    l1: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    sharpness_ratio: float | None = None
    identity_distance: float | None = None
    reason: Reason | None = None
    note: str | None = None


@dataclass(frozen=True)
class Case:
    """One thing to measure. row: its Score without numbers.  weights: None for the truth.

    said: the clip whose mouth and sound belong to the speech; the clip itself for silence.
    """

    row: Score
    weights: Path | None
    clip: TestClip
    said: TestClip

    @property
    def id(self) -> str:
        """Unique, and safe as a file name."""
        row = self.row
        return safe_name(f"{row.model}-{row.clip_id}-{row.speech}-{row.speech_id}", longest=150)


def cases(models, clips, settings: EvaluationConfig) -> list[Case]:
    """Everything to measure, two clips in turn, so that two workers do not look for the same face.

    Each model gets each clip with its own speech and, for the speaker, with that of the next clip from another video,
    and for the first few clips with silence.  The truth exists for own speech only; guests say their own only.
    """
    numbered, found, judge = list(enumerate(clips)), [], Judge(settings).name
    pairs = range(0, len(clips), 2)
    for first, (model, weights), speech in itertools.product(pairs, models.items(), settings.speech):
        for number, clip in numbered[first : first + 2]:
            after = [*clips[number + 1 :], *clips[:number]] if speech == "other" else [clip]
            said = [c for c in after if speech != "other" or (c.group == "speaker" and c.video_id != clip.video_id)]
            dubbed = weights and clip.group == "speaker" and (speech == "other" or number < settings.silent_clips)
            if said and (dubbed or speech == "own"):
                row = Score(model, clip.clip_id, clip.video_id, clip.group, speech, said[0].clip_id, judge)
                found.append(Case(row, weights, clip, said[0]))
    return found


def evaluate(models, clips, folder: Path, *, settings=None, scheduler: str = "processes") -> pd.DataFrame:
    """Measure every model on every clip; writes results.csv into `folder`, and returns its rows (columns: Score).

    models: name -> weights of a generator, None for "truth".  What was measured before with the same weights, clips
    and settings is not measured again.  A clip that cannot be measured is a row with a reason.  Raises CheckpointError
    for weights that are not there or do not fit, DataError where there are no clips, before any work.
    """
    settings, folder = settings or EvaluationConfig(), Path(folder)
    if not clips:
        raise DataError("there are no clips to test on")
    judge = Judge(settings)
    for weights, kind in [(path, "generator") for path in models.values() if path] + [(judge.file, judge.kind)]:
        checkpoints.read(weights, kind, mmap=True)
    todo = {case.id: case for case in cases(models, clips, settings)}
    items, made = [], [folder / name for name in MADE]
    for case in todo.values():
        files = case.clip.path, case.said.path, case.weights, case.clip.truth_csv
        files = (*filter(None, files), judge.file, checkpoints.embedded("reader"))
        items.append(Item(case.id, files, {"case": case.id, "group": case.clip.group}))
        made_from([folder / ".journal" / f"{case.id}.json", *made], files)
    rows = run_stage(
        "evaluate",
        items,
        functools.partial(_measure, cases=todo, folder=folder, settings=settings),
        row_type=Score,
        journal=folder / ".journal",
        output=folder,
        settings=[settings.identity_frames, PLAIN],
        version=VERSION,
        failed=lambda item, failure: [replace(todo[item.id].row, reason=Reason.FAILED, note=failure.error)],
        scheduler=scheduler,
        unit="clip",
    )
    return write_csv(folder / "results.csv", rows, Score)


def _measure(item: Item, cases, folder: Path, settings: EvaluationConfig) -> Done:
    """Draw the film of one case, if it is not the truth, look at it and measure it."""
    case, cache = cases[item.id], folder / "cache"
    truth, spoken = (look_at_clip(clip, cache, settings.identity_frames) for clip in (case.clip, case.said))
    look, wav = truth, load_wav(case.said.path) * (case.row.speech != "silence")
    if case.weights:
        how = {"encodings": settings.identity_frames, "rendered": case.clip.actor is not None}
        look = look_at(draw(case, folder), find_speaker(case.clip.path, cache)[1], **how)
    numbers = measured(look, truth, spoken, wav, Judge(settings), opening=case.said.true_opening())
    return Done([replace(case.row, frames=len(look), **numbers)])


def draw(case: Case, folder: Path) -> Iterator[np.ndarray]:
    """The frames of a case, uint8 (h, w, 3) BGR: as lip_sync would encode them, or as they were filmed."""
    if case.weights is None:
        return frames_of(case.clip.path)
    cache, speech = Path(folder) / "cache", case.said.path
    track, boxes = find_speaker(case.clip.path, cache)
    if case.row.speech == "silence":
        speech = cache / f"silence{len(boxes)}.wav"
        with atomic_file(speech) as temporary:
            wavfile.write(temporary, SAMPLE_RATE_HZ, np.zeros(len(boxes) * SAMPLE_RATE_HZ // FPS, np.int16))
    generator = network(case.weights, "generator")
    how = replace(PLAIN, alignment=checkpoints.metadata(case.weights).mel_alignment)
    job = inference.prepare(case.clip.path, {track: speech}, generator=generator, cache_dir=cache, settings=how)
    return job.frames()


def films(scores: pd.DataFrame, models, clips, folder: Path) -> list[tuple[pd.Series, Iterator[np.ndarray]]]:
    """The rows of some scores, each with the frames behind it, drawn again when they are asked for."""
    by = {clip.clip_id: clip for clip in clips}
    return [
        (row, draw(Case(row, models[row.model], by[row.clip_id], by[row.speech_id]), folder))
        for _, row in scores.iterrows()
    ]


def fid_by_model(scores: pd.DataFrame, models, clips, folder: Path, settings: EvaluationConfig) -> dict[str, float]:
    """FID of each model's 96x96 faces, every fifth frame, on the speaker's own sentences; {} without Inception weights.

    It is of faces, not whole frames, and of far fewer pictures than published numbers: compare within this table only.
    """
    if not settings.inception_weights:
        return {}
    extractor, crowds = metrics.load_inception(settings.inception_weights), {}
    own = scores[(scores.group == "speaker") & (scores.speech == "own") & scores.reason.isna()]
    paths = {clip.clip_id: clip.path for clip in clips}
    for row, film in films(own, models, clips, folder):
        faces = look_at(film, find_speaker(paths[row.clip_id], folder / "cache")[1], rendered=True).faces_bgr
        crowds.setdefault(row.model, []).extend(faces[::5])
    truth = crowds.pop(TRUTH)
    return {model: metrics.fid(faces, truth, extractor) for model, faces in crowds.items()}


# ---- which models there are

RUNS = {"without": "without", "with": "with"}  # the runs that notebooks 06 and 07 leave under outputs/
BEST = Path("checkpoints") / "generator_best.pt"  # by the run's own validation, as notebooks 06 and 07 show it
#: What the published code did (its weights of the sync loss count only after a trigger), on the article's data.
ARTICLE = pd.DataFrame(
    {
        "without, article": ["not reported", 16, 1e-4, "0, then 0.01", 0, 60],
        "with, article": ["not reported", 16, 1e-4, "0, then 0.03", 0.07, 60],
    },
    ["steps", "batch_size", "learning_rate", "sync_weight", "disc_weight", "videos"],
)


def find_models(preset: Preset, runs, *, base=None) -> tuple[dict, list[str]]:
    """(models, what is missing): name -> weights, None for the truth, in the order of the tables.

    runs: name -> folder under outputs/, or the path of a weight file.  A run that has no weights yet is left out, with
    a sentence that says what to do.  base: other weights to compare with.
    """
    models: dict[str, Path | None] = {
        TRUTH: None,
        "base": base or checkpoints.locate(preset.generator.start, "generator"),
    }
    missing = []
    for name, run in runs.items():
        path = resolve(run if Path(run).suffix else Path("outputs", safe_name(run), BEST))
        if path.is_file():
            models[name] = path
        else:
            missing.append(
                f"There are no weights of {name!r} at {path}: run its notebook first (06 without, 07 with the "
                "discriminator), or give the path of a weight file. It is left out here."
            )
    return models, missing


def seen_videos(models) -> set[str]:
    """The videos that the models' checkpoints say they were trained on; weights that do not say add nothing."""
    paths = filter(None, models.values())
    return {video for path in paths for video in checkpoints.read(path, "generator", mmap=True).videos}


def training_table(models) -> pd.DataFrame:
    """How the tuned models were trained, beside the published code and the article's data."""
    ours = {}
    for name in models.keys() & RUNS.keys():
        found = checkpoints.read(models[name], "generator", mmap=True)
        ours[f"{name}, here"] = {**found.settings, "steps": found.step, "videos": len(found.videos) or None}
    return pd.DataFrame(ours, ARTICLE.index, dtype=object).join(ARTICLE).fillna("–")
