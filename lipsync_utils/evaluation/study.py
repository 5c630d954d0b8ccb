"""The long study: what the article's traps cost one at a time, and how many seconds of a speaker are needed.

    python -m lipsync_utils.evaluation.study                   an hour or two; continues where it was stopped
    python -m lipsync_utils.evaluation.study --size small      minutes
    python -m lipsync_utils.evaluation.study --size article    GPU, days: published weights, your own data (notebook 04)

Every result is a row in data/study/traps.csv or data/study/curve.csv with its settings and seed; films, data and
weights that are made on the way lie in outputs/study/ and may be deleted.
"""

import argparse
import logging
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from .. import __version__, talkshow
from ..audio import load_wav, melspectrogram
from ..config import STUDY_SIZES, EvaluationConfig, StudyConfig, preset
from ..parallel import Failure, map_items
from ..project import DataSet, atomic_file, content_hash, data_set, home, lock, made_from, run_folder, setup_logging
from ..records import read_rows, write_csv
from ..windows import ClipFaces, load_clips
from .clips import TestClip, held_out, rendered_clips
from .look import find_speaker, look_at
from .models import base_weights
from .stage import Case, measure_case
from .traps import COLUMNS_PER_FRAME, TRAPS, Trap
from .tuning import fine_tune

log = logging.getLogger(__name__)

LINES_PER_CLIP = 3
BATCH_OF_CLIPS = 4  # made at once, on all cores
SIZE_PX = (480, 360)  # of the training videos; crops are 96 px anyway
TRAP_TABLE, CURVE_TABLE = "traps.csv", "curve.csv"


@dataclass(frozen=True)
class StudyRow:
    """One case of the study on one held-out clip, whose host says the next clip's sentence.

    case: "base" (no fine-tuning), a name from TRAPS, or the seconds of the learning curve.  size: "full" or "small",
    the columns after it say what that means.  base: the beginning of the sha256 of the weights that all began with.
    minutes: that the fine-tuning took.
    """

    case: str
    title: str
    size: str
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    sync_weight: float
    speaker_s: float
    clip_id: str
    video_id: str
    judge_distance: float | None
    judge_confidence: float | None
    offset_frames: float | None
    mouth_correlation: float | None
    mouth_truth_correlation: float | None
    minutes: float | None
    base: str
    machine: str
    version: str


@dataclass(frozen=True)
class StudyCase:
    """What one fine-tuning of the study is: a trap and an amount of data. trap None: the base as it is."""

    name: str
    title: str
    trap: Trap | None
    speaker_s: float
    seed: int


def trap_cases(settings: StudyConfig) -> list[StudyCase]:
    """The base, the safe way, and each trap, for every seed."""
    base = StudyCase("base", "no fine-tuning", None, 0.0, settings.seeds[0])
    return [
        base,
        *(
            StudyCase(trap.name, trap.title, trap, settings.speaker_s, seed)
            for seed in settings.seeds
            for trap in TRAPS.values()
        ),
    ]


def curve_cases(settings: StudyConfig) -> list[StudyCase]:
    """The base, and the safe way with each amount of data, for every seed."""
    base = StudyCase("base", "no fine-tuning", None, 0.0, settings.seeds[0])
    return [
        base,
        *(
            StudyCase(f"{s:g} s", f"{s:g} s of the speaker", TRAPS["safe"], s, seed)
            for seed in settings.seeds
            for s in settings.curve_s
        ),
    ]


def run_case(
    case: StudyCase, clips: Sequence[ClipFaces], tests: Sequence[TestClip], settings: StudyConfig, folder: Path
) -> list[StudyRow]:
    """Tune as the case says and measure the result on the test clips; a row for each.

    clips: the speaker's faces and sound.  folder: for weights and films.  The base and the case share everything else.
    """
    began, base, weights = time.perf_counter(), base_weights(preset(settings.preset)), None
    began_with = base_hash(settings)
    if case.trap is not None:
        name = f"{settings.size}-{case.name.replace(' ', '')}-{case.seed}-{began_with}.safetensors"
        weights = fine_tune(
            first_seconds(clips, case.speaker_s), case.trap, settings, case.seed, folder / "weights" / name
        )
    minutes = (time.perf_counter() - began) / 60
    rows = []
    for number, clip in enumerate(tests):
        speech = tests[(number + 1) % len(tests)]
        what = Case(f"{settings.size}-{case.name}-{case.seed}", clip, speech, weights or base)
        score = measure_case(what, folder, EvaluationConfig(identity_frames=1)).rows[0]
        measured = {f.name: getattr(score, f.name) for f in fields(StudyRow) if hasattr(score, f.name)}
        rows.append(
            StudyRow(
                case=case.name,
                title=case.title,
                size=settings.size,
                seed=case.seed,
                steps=settings.steps if case.trap else 0,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                sync_weight=settings.sync_weight,
                speaker_s=case.speaker_s,
                minutes=round(minutes, 2),
                base=began_with,
                machine=machine(),
                version=__version__,
                **measured,
            )
        )
    return rows


def first_seconds(clips: Sequence[ClipFaces], seconds: float) -> list[ClipFaces]:
    """The beginning of the data: whole clips, and of the last one what is needed to reach so many seconds."""
    chosen, left = [], round(seconds * 25)
    for clip in clips:
        n = min(left, len(clip.present))
        if n >= 16:
            chosen.append(
                replace(
                    clip,
                    faces=clip.faces[:n],
                    present=clip.present[:n],
                    mel=clip.mel[:, : round(n * COLUMNS_PER_FRAME) + 1],
                )
            )
        left -= n
        if left <= 0:
            break
    return chosen


def base_hash(settings: StudyConfig) -> str:
    """Which weights the fine-tunings begin with: 12 digits of their sha256."""
    return content_hash(base_weights(preset(settings.preset)))[:12]


def machine() -> str:
    """What the numbers were made on, in a few words."""
    return f"{platform.machine()} CPU"


# ---- data: the host alone, saying made-up sentences that no test clip has


def speaker_faces(folder: Path, seconds: float, seed: int = 1) -> list[ClipFaces]:
    """So many seconds of the host (at least), rendered, with faces and sound as the networks see them; kept on disk."""
    rng = np.random.default_rng((seed, 41))
    host, made, number = talkshow.host(), [], 0
    while sum(len(c.present) for c in made) < seconds * 25:
        todo = []
        for _ in range(BATCH_OF_CLIPS):
            lines = tuple((0, talkshow.random_sentence(host.voice.language, rng)) for _ in range(LINES_PER_CLIP))
            todo.append((Path(folder) / f"host{number:04d}.mp4", lines, 3000 + number))
            number += 1
        found = dict(map_items(_make_faces, todo, desc="speaker data", unit="clip"))
        for item in todo:
            if isinstance(found[item], Failure):
                raise RuntimeError(f"{item[0].name}: {found[item].error}")
            made.append(found[item])
    return made


def _make_faces(item) -> ClipFaces:
    path, lines, seed = item
    packed = path.with_suffix(".npz")
    if not packed.exists():
        talkshow.render_clip(path, [talkshow.host()], list(lines), size=SIZE_PX, seed=seed)
        _, boxes = find_speaker(path, None)
        faces = look_at(path, boxes, 0).faces_bgr
        mel = melspectrogram(load_wav(path))
        with atomic_file(packed) as temporary:
            np.savez_compressed(temporary, faces=faces, present=~np.isnan(boxes[: len(faces), 0]), mel=mel)
    held = np.load(packed)
    return ClipFaces(path.stem, path.stem, "train", held["faces"], held["present"], held["mel"])


def course_faces(data: DataSet) -> list[ClipFaces]:
    """The speaker's faces that the course itself trains on (notebook 04), for a case of the study on them."""
    return [clip for clip in load_clips(data) if clip.split == "train"]


def clips_of(settings: StudyConfig, folder: Path, seconds: float) -> list[ClipFaces]:
    """The speaker's faces to tune on, so many seconds where there are: the rendered host, or one's own data."""
    own = settings.preset != "sample"
    return course_faces(data_set(preset(settings.preset).data)) if own else speaker_faces(folder / "speaker", seconds)


def test_clips(settings: StudyConfig, folder: Path) -> list[TestClip]:
    """The held-out videos: the host's, rendered if need be, or those of one's own data."""
    if settings.preset != "sample":
        wanted = EvaluationConfig(max_clips=settings.test_clips, guest_clips=0)
        return held_out(data_set(preset(settings.preset).data), wanted)
    talkshow.render(settings.test_clips, 6.0, folder / "held_out", held_out=True)
    return rendered_clips(folder / "held_out")[: settings.test_clips]


test_clips.__test__ = False


# ---- the run


def run(settings: StudyConfig, *, output: Path | None = None, folder: Path | None = None) -> None:
    """Do what is missing in the tables of `output` (default data/study/), a case at a time."""
    output, folder = output or home() / "data" / "study", folder or run_folder("study")
    with lock(folder, what="the study"):
        tests = test_clips(settings, folder)
        tables = ((TRAP_TABLE, trap_cases(settings)), (CURVE_TABLE, curve_cases(settings)))
        work = [(table, case) for table, cases in tables for case in cases]
        for table, case in sorted(work, key=lambda item: item[1].seed):  # both tables are whole after the first seed
            rows = read_rows(output / table, StudyRow) if (output / table).is_file() else []
            if is_done(case, settings, rows, tests):
                log.info("%s: %s, seed %d: done before", table, case.title, case.seed)
                continue
            log.info("%s: %s, seed %d, %s", table, case.title, case.seed, settings.size)
            clips = clips_of(settings, folder, case.speaker_s) if case.trap else []
            keep = [row for row in rows if key_of(row) != (settings.size, case.name, case.seed)]
            made_from([output / table], [clip.path for clip in tests])
            write_csv(output / table, keep + run_case(case, clips, tests, settings, folder), StudyRow)


def key_of(row: StudyRow) -> tuple[str, str, int]:
    """Which case of which size a row belongs to."""
    return row.size, row.case, row.seed


def is_done(case: StudyCase, settings: StudyConfig, rows: Sequence[StudyRow], tests: Sequence[TestClip]) -> bool:
    """Whether all rows of a case are there, made with the same settings."""
    mine = [row for row in rows if key_of(row) == (settings.size, case.name, case.seed)]
    wanted = settings.steps if case.trap else 0, settings.batch_size, case.speaker_s, base_hash(settings)
    same = all((row.steps, row.batch_size, row.speaker_s, row.base) == wanted for row in mine)
    return same and {row.clip_id for row in mine} == {clip.clip_id for clip in tests}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.evaluation.study", description=__doc__)
    parser.add_argument("--size", choices=STUDY_SIZES, default="full")
    given = parser.parse_args(arguments)
    setup_logging()
    try:
        run(STUDY_SIZES[given.size])
    except KeyboardInterrupt:
        sys.exit("stopped: what was measured is kept, the same command goes on from here")


if __name__ == "__main__":
    main()
