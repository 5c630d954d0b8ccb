"""The long study: what fine-tuning on one speaker is worth, and what the article's traps cost.

    python -m lipsync_utils.evaluation.study                   two to three hours; continues where it was stopped
    python -m lipsync_utils.evaluation.study --size tiny       minutes: to see that it runs; its numbers say nothing
    python -m lipsync_utils.evaluation.study --size article    GPU, days: published weights, your own data (notebook 04)
    python -m lipsync_utils.evaluation.study --publish         what the README shows, from the last run of notebook 09

Every result is a row in data/study/study.csv with its settings and seed; films, data and weights that are made on the
way lie in outputs/study/ and may be deleted.
"""

import argparse
import logging
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .. import __version__, checkpoints, media, plots, talkshow
from ..audio import COLUMNS_PER_S, FRAME_RATE, MEL_LIMIT, load_wav, melspectrogram
from ..config import STUDY_SIZES, EvaluationConfig, StudyConfig, WindowsConfig, override, preset, settings_hash
from ..errors import DataError
from ..metrics import MEASURES
from ..parallel import Failure, map_items
from ..project import (
    atomic_file,
    content_hash,
    data_set,
    home,
    lock,
    made_from,
    run_folder,
    setup_logging,
    write_bytes,
    write_text,
)
from ..records import read_csv, write_csv
from ..training import train
from ..windows import ClipFaces, load_clips
from .clips import SIZE_PX, TestClip, held_out, short_sentence
from .measure import find_speaker, judge_file, look_at_clip
from .results import by_clip, differences, means, shown
from .stage import VERSION, Score, base_weights, evaluate

log = logging.getLogger(__name__)

COLUMNS_PER_FRAME = COLUMNS_PER_S / FRAME_RATE
CLIP_S = 10.0  # of the rendered videos to tune on
ANY_DRIFT_S = 1e6  # the study trains on purpose on clips that the course refuses
REAL_VIDEO = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "man_kitchen_1080x1920_hevc.mp4"
#: Seeds of actors: "near" is one of those that the embedded generator learnt from, the others nobody has seen.
NEAR, NEW, OTHERS = 100_000, 800_000, 810_000
#: What the README and notebook 09 show, on dubbed clips unless a true picture is needed.
SHOWN = {
    "other": ("mouth_correlation", "judge_distance", "sharpness_ratio", "identity_distance"),
    "own": ("l1",),
    "silence": ("leakage",),
}


# ---- the traps of the published trainer, as something done to the data or to the settings


def delayed(clips: Sequence[ClipFaces], frames: float = 3) -> list[ClipFaces]:
    """The clips with their sound later by so many frames of 40 ms, silence before it."""
    n = round(frames * COLUMNS_PER_FRAME)
    return [replace(c, mel=fitted(np.pad(c.mel, ((0, 0), (n, 0)), constant_values=-MEL_LIMIT), c.mel)) for c in clips]


def kept_fps(clips: Sequence[ClipFaces], fps: float = 30) -> list[ClipFaces]:
    """The clips as if filmed at `fps` and never converted: frame i shows the moment i / fps, is taken for i / 25."""
    spoiled = []
    for clip in clips:
        n = int(len(clip.present) * fps / FRAME_RATE)
        shown = np.minimum((np.arange(n) * FRAME_RATE / fps).astype(int), len(clip.present) - 1)
        mel = fitted(clip.mel, np.empty((80, int(n * COLUMNS_PER_FRAME) + 1)))
        spoiled.append(replace(clip, faces=clip.faces[shown], present=clip.present[shown], mel=mel))
    return spoiled


def mismatched(clips: Sequence[ClipFaces], every: int = 4, piece_frames: int = 75) -> list[ClipFaces]:
    """The clips cut into pieces of 3 s, every fourth with the sound of another piece: bad data that nobody saw."""
    pieces = [piece for clip in clips for piece in _pieces(clip, piece_frames)]
    bad = list(range(0, len(pieces), every))
    sounds = {at: pieces[other].mel for at, other in zip(bad, [*bad[1:], *bad[:1]])}
    return [replace(p, mel=fitted(sounds[at], p.mel)) if at in sounds else p for at, p in enumerate(pieces)]


def _pieces(clip: ClipFaces, frames: int) -> Iterator[ClipFaces]:
    """A clip in pieces of so many frames, a short last one left out unless it is the only one."""
    for number, start in enumerate(range(0, max(1, len(clip.present) - frames + 1), frames)):
        yield span(replace(clip, clip_id=f"{clip.clip_id}.{number}"), start, min(start + frames, len(clip.present)))


def span(clip: ClipFaces, start: int, end: int) -> ClipFaces:
    """The frames start .. end - 1 of a clip, and their sound."""
    first, last = (round(frame * COLUMNS_PER_FRAME) for frame in (start, end))
    faces, present = clip.faces[start:end], clip.present[start:end]
    return replace(clip, faces=faces, present=present, mel=clip.mel[:, first : last + 1])


def fitted(mel: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A mel (80, n) cut, or filled up with silence, to as many columns as another one has."""
    missing = max(0, like.shape[1] - mel.shape[1])
    return np.pad(mel[:, : like.shape[1]], ((0, 0), (0, missing)), constant_values=-MEL_LIMIT)


@dataclass(frozen=True)
class Trap:
    """One thing done wrong in a fine-tuning that is right otherwise. changed: settings; spoil: changes the data.

    alignment: of the mel windows in training, None: the generator's own, which inference uses.
    """

    title: str
    changed: tuple[tuple[str, object], ...] = ()
    alignment: str | None = None
    spoil: Callable[[Sequence[ClipFaces]], list[ClipFaces]] = list


SAFE = Trap("nothing wrong: the course's way")
TRAPS = {
    "no_sync_loss": Trap("1: a resumed run without sync loss", (("sync_weight", 0.0),)),
    "drifting_expert": Trap("2: the expert not in eval mode", (("expert_mode", "train"),)),
    "early_mels": Trap("3: sound windows one frame earlier in training than in use", alignment="reference"),
    "unseen_bad_data": Trap("4: a quarter of the clips with another's sound", spoil=mismatched),
    "kept_30_fps": Trap("5: 30 fps taken for 25", spoil=kept_fps),
    "late_sound": Trap("a constant delay of 120 ms, never measured", spoil=delayed),
}


def fine_tune(
    clips: Sequence[ClipFaces], trap: Trap, settings: StudyConfig, seed: int, output: Path, *, start: Path | None = None
) -> Path:
    """Tune the base of the study's preset as notebook 06 does, with one trap switched on; writes weights to `output`.

    start: other weights to begin with.  What the run leaves lies in a folder beside `output`; a run that was stopped
    continues.  The same arguments give the same weights.
    """
    start = start or base_weights(preset(settings.preset))
    spoiled, first = trap.spoil(clips), checkpoints.load(start, "generator")
    own = checkpoints.metadata(start).mel_alignment
    how = override(
        preset(settings.preset).generator,
        start=str(start),
        width=first.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
        evaluate_every=settings.steps,
        sample_every=settings.steps,
        save_every=50,
        keep=1,
        **{"sync_weight": settings.sync_weight, **dict(trap.changed)},
    )
    windows = WindowsConfig(alignment=trap.alignment or own, max_drift_s=ANY_DRIFT_S, val_windows=8, seed=seed)
    unused = replace(spoiled[-1], split="val")  # the loop wants to evaluate; the study measures on other clips
    done = train(how, [*spoiled, unused], output.with_suffix(""), windows=windows, live=False, check=False)
    if done.stopped:
        raise KeyboardInterrupt
    tuned = checkpoints.load(done.weights, "generator")
    return checkpoints.export(output, tuned, mel_alignment=own, seed=seed, steps=done.step)


# ---- who is tuned on, and who is measured


def actors_of(speaker: str, data: str) -> list[talkshow.Actor]:
    """The rendered people whose data a case is tuned on ("own", "own, English", "others, Dutch", "others, English")."""
    whose, _, language = data.partition(", ")
    code = {"Dutch": "nl", "English": "en"}.get(language)
    if whose == "others":
        return [talkshow.random_actor(OTHERS + k, code) for k in range(9)]
    actor = talkshow.host() if speaker == "host" else talkshow.random_actor({"near": NEAR, "new": NEW}[speaker], "en")
    voice = f"{code or actor.voice.language}{actor.voice.name[2:]}"
    return [replace(actor, voice=replace(actor.voice, name=voice))]


def film(folder: Path, actors: Sequence[talkshow.Actor], n: int, seconds: float | None, seed: int) -> list[TestClip]:
    """n one-person videos of actors in turn who say made-up sentences, rendered if need be.

    seconds: of each video, filled with sentences; None: as long as a single one takes.
    """
    clips, rng = [], np.random.default_rng((seed, 41))
    for number in range(n):
        actor, path = actors[number % len(actors)], folder / f"{seed}_{number:03d}.mp4"
        lines = [(0, short_sentence(actor.voice.language, rng, 60)) for _ in range(1 if seconds is None else 5)]
        if not path.with_suffix(".truth.csv").exists():
            talkshow.render_clip(path, [actor], lines, size=SIZE_PX, seconds=seconds, seed=1000 * seed + number)
        clips.append(TestClip(path.stem, path.stem, "speaker", path, actor.name))
    return clips


def real_pieces(folder: Path) -> list[TestClip]:
    """The real video in four pieces; the last one is to be tested, the first one is what it shall say instead."""
    pieces, length_s = [], media.probe(REAL_VIDEO).duration_s / 4
    for number in range(4):
        path = folder / f"piece{number}.mp4"
        if not path.exists():
            how = ["-ss", number * length_s, "-t", length_s, "-i", media.tools.file_url(REAL_VIDEO), "-r", 25]
            with atomic_file(path) as temporary:
                media.ffmpeg([*how, "-vf", "scale=540:-2", "-crf", 14, media.tools.file_url(temporary)])
        pieces.append(TestClip(path.stem, path.stem, "speaker" if number == 3 else "said", path))
    return pieces


def tests_of(speaker: str, settings: StudyConfig, folder: Path) -> list[TestClip]:
    """The held-out clips of a speaker; their sentences are in no training data."""
    if speaker == "own data":
        chosen = EvaluationConfig(max_clips=settings.test_clips, guest_clips=0)
        return held_out(data_set(preset(settings.preset).data), chosen)
    if speaker == "real":
        return real_pieces(folder / speaker)[::-3]
    return film(folder / speaker, actors_of(speaker, "own"), settings.test_clips, None, seed=2)


def data_of(case: "StudyCase", settings: StudyConfig, folder: Path, scheduler: str) -> list[ClipFaces]:
    """The clips that a case is tuned on: the first ones that have so many seconds."""
    if case.speaker == "own data":
        found = [clip for clip in load_clips(data_set(preset(settings.preset).data)) if clip.split == "train"]
    elif case.speaker == "real":
        found = [faces_of(piece) for piece in real_pieces(folder / "real")[:3]]
    else:
        each = min(case.seconds, CLIP_S)
        place = folder / f"{case.speaker}, {case.data}, {each:g} s"
        clips = film(place, actors_of(case.speaker, case.data), math.ceil(case.seconds / each), each, seed=1)
        made = dict(map_items(faces_of, clips, scheduler=scheduler, desc="faces", unit="clip"))
        if failed := [result for result in made.values() if isinstance(result, Failure)]:
            raise DataError(f"{place}: {failed[0].error}")
        found = [made[clip] for clip in clips]
    ends = np.cumsum([len(clip.present) for clip in found])
    return found[: 1 + np.searchsorted(ends, case.seconds * FRAME_RATE - 1)]


def faces_of(clip: TestClip) -> ClipFaces:
    """A clip as training sees it, with faces and sound; kept beside the video."""
    packed = clip.path.with_suffix(".npz")
    if not packed.exists():
        faces, boxes = look_at_clip(clip, None).faces_bgr, find_speaker(clip.path, None)[1]
        with atomic_file(packed) as temporary:
            mel = melspectrogram(load_wav(clip.path))
            np.savez_compressed(temporary, faces=faces, present=~np.isnan(boxes[: len(faces), 0]), mel=mel)
    return ClipFaces(clip.clip_id, clip.video_id, "train", **np.load(packed))


# ---- the cases


@dataclass(frozen=True)
class StudyCase:
    """One fine-tuning: who is measured, whose data it is tuned on ("none": the base as it is), how many seconds."""

    speaker: str
    data: str = "own"
    seconds: float = 0.0
    trap: str = ""
    seed: int = 1


@dataclass(frozen=True)
class StudyRow(Score):
    """A row of study.csv: one film of a Score, and what was tuned how. model: the case without its seed.

    base: the beginning of the sha256 of the weights that all began with.  key: of everything that decides the numbers.
    """

    speaker: str = ""
    data: str = ""
    seconds: float = 0.0
    trap: str = ""
    seed: int = 1
    size: str = ""
    steps: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    sync_weight: float = 0.0
    minutes: float = 0.0
    base: str = ""
    key: str = ""
    machine: str = ""
    version: str = ""


def study_cases(settings: StudyConfig) -> list[StudyCase]:
    """All cases, those of the first seed first; the traps have one seed only."""
    if settings.preset != "sample":
        curves, others = {"own data": settings.curve_s}, {}
    else:
        curves = {"host": settings.curve_s, "near": settings.curve_s, "new": (settings.speaker_s,)}
        curves |= {"real": (15.0,)} if REAL_VIDEO.is_file() else {}
        others = {"host": ("own, English", "others, Dutch", "others, English")}
    found = [StudyCase(speaker, "none") for speaker in curves]
    for seed in settings.seeds:
        found += [StudyCase(who, "own", seconds, "", seed) for who in curves for seconds in curves[who]]
        found += [StudyCase(who, data, settings.speaker_s, "", seed) for who in others for data in others[who]]
        if seed == settings.seeds[0] and settings.traps:
            found += [StudyCase(next(iter(curves)), "own", settings.speaker_s, trap, seed) for trap in TRAPS]
    return found


def run(
    settings: StudyConfig, output: Path | None = None, folder: Path | None = None, *, scheduler: str = "processes"
) -> pd.DataFrame:
    """Do what is missing in study.csv of `output` (default data/study/), a case at a time; returns the table."""
    output = (output or home() / "data" / "study") / "study.csv"
    folder = folder or run_folder("study") / settings.size
    table = read_csv(output, StudyRow) if output.is_file() else pd.DataFrame(columns=list(StudyRow.__annotations__))
    base = base_weights(preset(settings.preset))
    with lock(folder, what="the study"):
        for case in study_cases(settings):
            tests = tests_of(case.speaker, settings, folder)
            key = key_of(case, settings, base)
            done = set(table.clip_id[table.key == key]) if len(table) else set()
            if {clip.clip_id for clip in tests} <= done:
                log.info("%s: done before", case)
                continue
            log.info("%s", case)
            rows = run_case(case, settings, tests, base, folder, scheduler).assign(key=key)
            if len(table):
                old = (table[["size", *asdict(case)]] == rows.iloc[0][["size", *asdict(case)]]).all(axis=1)
                rows = pd.concat([table[~old], rows])
            made_from([output], [clip.path for clip in tests])
            table = write_csv(output, rows, StudyRow)
    return table


def key_of(case: StudyCase, settings: StudyConfig, base: Path) -> str:
    """What decides the numbers of a case: its settings, the weights, the judge and the version of the measures."""
    which = {k: v for k, v in asdict(settings).items() if k not in ("seeds", "curve_s", "speaker_s", "traps")}
    return settings_hash(case, which, content_hash(base), content_hash(judge_file(EvaluationConfig())), VERSION)


def run_case(
    case: StudyCase, settings: StudyConfig, tests: Sequence[TestClip], base: Path, folder: Path, scheduler: str
) -> pd.DataFrame:
    """Tune as the case says and measure the result on the test clips; rows of the study without their key."""
    began, began_with, model = time.perf_counter(), content_hash(base)[:12], "untuned"
    models = {"truth": None, model: base}
    if tuned := case.data != "none":
        model = f"{case.data} {case.seconds:g} s {case.trap}".strip()
        file = folder / "weights" / f"{settings_hash(case, settings)}-{began_with}.safetensors"
        clips, trap = data_of(case, settings, folder, scheduler), TRAPS.get(case.trap, SAFE)
        models = {f"{model} {case.seed}": fine_tune(clips, trap, settings, case.seed, file, start=base)}
    minutes = round((time.perf_counter() - began) / 60, 2)
    chosen = EvaluationConfig(guest_clips=0)
    rows = evaluate(models, tests, folder / case.speaker, settings=chosen, scheduler=scheduler)
    how = {name: getattr(settings, name) for name in ("size", "batch_size", "learning_rate", "sync_weight")}
    how |= {"steps": settings.steps * tuned, "minutes": minutes, "base": began_with, "machine": platform.machine()}
    return rows.assign(
        **asdict(case), **how, version=__version__, model=rows.model.replace(f"{model} {case.seed}", model)
    )


# ---- what the rows say


def read_study(folder: Path | None = None) -> pd.DataFrame:
    """The rows of study.csv at the largest size that is there; no rows where nothing was run."""
    path = (folder or home() / "data" / "study") / "study.csv"
    table = read_csv(path, StudyRow) if path.is_file() else pd.DataFrame(columns=["size"])
    size = next((size for size in STUDY_SIZES if size in set(table["size"])), None)
    return table[table["size"] == size]


def gains(table: pd.DataFrame, measures: Sequence[str] = ("mouth_correlation", "l1")) -> pd.DataFrame:
    """What each case changes against the untuned base on the same clips, beside how far its speaker is from the base.

    distance: L1 of the untuned base on the speaker's own sentences.  Columns of evaluation.differences, and speaker,
    data, seconds, trap, distance.
    """
    found = []
    for speaker, rows in table.groupby("speaker", sort=False):
        about = rows.drop_duplicates("model")[["model", "data", "seconds", "trap"]]
        for measure in measures:
            speech = "own" if measure in SHOWN["own"] else "other"
            change = differences(rows, "untuned", [measure], speech=speech).merge(about, on="model")
            found.append(
                change.assign(speaker=speaker, distance=by_clip(rows, "l1").get("untuned", pd.Series()).mean())
            )
    return pd.concat([rows for rows in found if len(rows)], ignore_index=True)


def trap_costs(table: pd.DataFrame, measures: Sequence[str] = ("judge_distance", "offset_frames", "mouth_correlation")):
    """What each trap changes against the same fine-tuning without it, dubbed; columns of evaluation.differences."""
    spoiled = table[table.trap != ""].iloc[0]
    same = (table[["speaker", "data", "seconds", "seed"]] == spoiled[["speaker", "data", "seconds", "seed"]]).all(
        axis=1
    )
    rows = table[same]
    return differences(rows.assign(model=rows.trap.replace("", "safe")), "safe", measures, speech="other")


def study_figure(table: pd.DataFrame) -> plt.Figure:
    """What fine-tuning on a speaker's own data gains, against how far that speaker is from what the base knows."""
    found = gains(table[table.data.isin(["none", "own"]) & (table.trap == "")]).assign(case=lambda rows: rows.speaker)
    if found.distance.nunique() < 2:
        title = "How much of the speaker is needed"
        return plots.gains(found, "seconds", "seconds of the speaker", title, log=True)
    longest = found[found.seconds == found.groupby("speaker").seconds.transform("max")]
    return plots.gains(longest, "distance", "L1 of the untuned base on this speaker (of 255)", "When fine-tuning pays")


def publish(run: Path, root: Path) -> pd.DataFrame:
    """Bring a run of notebook 09 into the README: its table, and the figures. Returns what data/study/course.csv says.

    The sentences around the table are written by hand; a test compares their numbers with the tables.
    """
    scores, tables = read_csv(run / "results.csv", Score), []
    for speech, measures in SHOWN.items():
        found, change = (make(scores, measures=measures, speech=speech) for make in (means, differences))
        change = change.drop(columns=["clips", "videos"]).rename(columns={"low": "less", "high": "more"})
        tables.append(found.merge(change, "left", on=["measure", "model"]).assign(speech=speech))
    table = pd.concat(tables)
    write_text(root / "data" / "study" / "course.csv", table.to_csv(index=False, float_format="%.5g"))
    before, begin, rest = (root / "README.md").read_text(encoding="utf-8").partition("<!-- results: begin -->\n")
    _, end, after = rest.partition("<!-- results: end -->")
    write_text(root / "README.md", "".join((before, begin, readme_table(table), end, after)))
    for figure in run.glob("results_*"):
        write_bytes(root / "docs" / figure.name, figure.read_bytes())
    return table


def readme_table(table: pd.DataFrame) -> str:
    """course.csv as the README shows it."""
    speech = table.speech.map({"other": "dubbed", "own": "own sentence", "silence": "hearing silence"})
    cells = shown(table).assign(sentence=dict(zip([MEASURES[name].label for name in table.measure], speech)))
    rows = [["measure", *cells], ["---"] * (1 + cells.shape[1]), *cells.reset_index().to_numpy()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.evaluation.study", description=__doc__)
    parser.add_argument("--size", choices=STUDY_SIZES, default="full")
    parser.add_argument("--publish", action="store_true", help="the last run of notebook 09 into the README")
    given = parser.parse_args(arguments)
    setup_logging()
    if given.publish:
        publish(run_folder("evaluation"), Path(__file__).resolve().parents[2])
        return
    try:
        run(STUDY_SIZES[given.size])
    except KeyboardInterrupt:
        sys.exit("stopped: what was measured is kept, the same command goes on from here")


if __name__ == "__main__":
    main()
