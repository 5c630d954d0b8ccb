"""Stage 09: every model on every test clip, one row each; resumable, and done again when weights or clips change."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .. import checkpoints, inference, metrics
from ..audio import SAMPLE_RATE_HZ, save_wav
from ..config import EvaluationConfig, InferenceConfig, Preset
from ..errors import DataError
from ..parallel import Done, Item, run_stage
from ..project import kept, made_from, resolve, safe_name
from ..records import Reason, write_csv
from .measure import DEFAULTS, FPS, Judge, find_speaker, frames_of, look_at, look_at_clip, measured, network, sound_of

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

    @property
    def id(self) -> str:
        """What is measured: unique, and safe as a file name."""
        return safe_name(f"{self.model}-{self.clip_id}-{self.speech}-{self.speech_id}", longest=150)


def cases(models, clips, settings: EvaluationConfig) -> list[Score]:
    """Everything to measure, as rows without numbers, clip by clip.

    Each model gets each clip with its own speech and, for the speaker, with that of the next clip from another video,
    and for the first few clips with silence.  The truth exists for own speech only; guests say their own only.
    """
    found, judge = [], Judge(settings).name
    for (number, clip), speech, model in itertools.product(enumerate(clips), settings.speech, models):
        after = [*clips[number + 1 :], *clips[:number]]
        others = [c for c in after if c.group == "speaker" and c.video_id != clip.video_id]
        said = others[:1] if speech == "other" else [clip]
        dubbed = models[model] and clip.group == "speaker" and (speech == "other" or number < settings.silent_clips)
        if said and (dubbed or speech == "own"):
            found.append(Score(model, clip.clip_id, clip.video_id, clip.group, speech, said[0].clip_id, judge))
    return found


def evaluate(models, clips, folder: Path, *, settings=DEFAULTS, scheduler: str = "processes") -> pd.DataFrame:
    """Measure every model on every clip; writes results.csv into `folder`, and returns its rows (columns: Score).

    models: name -> weights of a generator, None for "truth".  What was measured before with the same weights, clips
    and settings is not measured again.  A clip that cannot be measured is a row with a reason.  Raises CheckpointError
    for weights that are not there or do not fit, DataError where there are no clips, before any work.
    """
    if not clips:
        raise DataError("there are no clips to test on")
    judge, folder, by_id = Judge(settings), Path(folder), {clip.clip_id: clip for clip in clips}
    for weights, kind in [*((path, "generator") for path in models.values() if path), (judge.file, judge.kind)]:
        checkpoints.read(weights, kind, mmap=True)
    items, made, readers = [], [folder / name for name in MADE], (judge.file, checkpoints.embedded("reader"))
    for row in cases(models, clips, settings):
        clip = by_id[row.clip_id]
        files = (clip.path, by_id[row.speech_id].path, models[row.model], clip.truth_csv, *readers)
        items.append(Item(row.id, tuple(filter(None, files)), {"case": row.id, "group": row.group}, row))
        made_from([folder / ".journal" / f"{row.id}.json", *made], items[-1].inputs)
    known = {"models": models, "clips": by_id, "folder": folder, "settings": settings}
    rows = run_stage(
        "evaluate",
        items,
        functools.partial(_measure, **known),
        row_type=Score,
        journal=folder / ".journal",
        output=folder,
        settings=[settings.identity_frames, PLAIN],
        version=VERSION,
        scheduler=scheduler,
        together=lambda item: item.row.clip_id,
        unit="clip",
    )
    return write_csv(folder / "results.csv", rows, Score)


def _measure(item: Item, models, clips, folder: Path, settings: EvaluationConfig) -> Done:
    """Draw the film of one row, if it is not the truth, look at it and measure it."""
    row, cache, encodings = item.row, folder / "cache", settings.identity_frames
    clip, said = clips[row.clip_id], clips[row.speech_id]
    truth = look_at_clip(clip, cache, encodings)
    spoken = truth if said is clip else look_at_clip(said, cache)
    look, wav = truth, sound_of(said.path) * (row.speech != "silence")
    if models[row.model]:
        film, boxes = draw(row, models, clips, folder), find_speaker(clip.path, cache)[1]
        how = {"rendered": clip.actor is not None, "marks": row.speech != "other"}
        look = look_at(film, boxes, encodings=encodings, **how)
    numbers = measured(look, truth, spoken, wav, Judge(settings), opening=said.true_opening())
    return Done([replace(row, frames=len(look), **numbers)])


def draw(row, models, clips, folder: Path) -> Iterator[np.ndarray]:
    """The frames behind a row, uint8 (h, w, 3) BGR: as lip_sync would encode them, or as they were filmed.

    models: name -> weights or None; clips: by clip_id.
    """
    clip, weights = clips[row.clip_id], models[row.model]
    if weights is None:
        return frames_of(clip.path)
    cache, speech = Path(folder) / "cache", clips[row.speech_id].path
    track, boxes = find_speaker(clip.path, cache)
    if row.speech == "silence":
        speech = cache / f"silence{len(boxes)}.wav"
        save_wav(speech, np.zeros(len(boxes) * SAMPLE_RATE_HZ // FPS))
    plan = _plan(clip.path, track, speech, cache, checkpoints.metadata(weights).mel_alignment)
    return plan.drawn_by(network(weights, "generator")).frames()


@kept(4)  # of one clip: own speech, another's, silence
def _plan(path: Path, track: int, speech: Path, cache: Path, alignment: str) -> inference.Job:
    """What all models draw for a clip and a speech."""
    return inference.plan(path, {track: speech}, cache_dir=cache, settings=replace(PLAIN, alignment=alignment))


def films(scores: pd.DataFrame, models, clips, folder: Path) -> list[tuple]:
    """Some rows of the scores, each with the frames behind it, drawn again when they are asked for."""
    by_id = {clip.clip_id: clip for clip in clips}
    return [(row, draw(row, models, by_id, folder)) for row in scores.itertuples()]


def fid_by_model(scores: pd.DataFrame, models, clips, folder: Path, settings: EvaluationConfig) -> dict[str, float]:
    """FID of each model's 96x96 faces, every fifth frame, on the speaker's own sentences; {} without Inception weights.

    It is of faces, not whole frames, and of far fewer pictures than published numbers: compare within this table only.
    """
    if not settings.inception_weights:
        return {}
    crowds, paths = {}, {clip.clip_id: clip.path for clip in clips}
    own = scores[(scores.group == "speaker") & (scores.speech == "own") & scores.reason.isna()]
    for row, film in films(own, models, clips, folder):
        faces = look_at(
            film, find_speaker(paths[row.clip_id], folder / "cache")[1], rendered=True, marks=False
        ).faces_bgr
        crowds.setdefault(row.model, []).extend(faces[::5])
    truth = crowds.pop(TRUTH)
    return {model: metrics.fid(faces, truth, settings.inception_weights) for model, faces in crowds.items()}


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
