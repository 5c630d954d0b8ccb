"""The long study: what fine-tuning on one speaker is worth, and what the article's traps cost.

    python -m lipsync_utils.evaluation.study                   hours; continues where it was stopped
    python -m lipsync_utils.evaluation.study --size tiny       minutes: to see that it runs; its numbers say nothing
    python -m lipsync_utils.evaluation.study --size article    GPU, days: published weights, your own data (notebook 04)
    python -m lipsync_utils.evaluation.study --base generator.safetensors --expert expert.safetensors    other weights
    python -m lipsync_utils.evaluation.study --publish         what the README shows, from the last run of notebook 09

Every result is a row in data/study/study.csv with its settings and seed; films, data and weights lie in outputs/study/,
and what is there is not made again.  By its parts, measured on one core (a training step 1.0 s, a film of 4 s 2.2 s, a
second of rendered data with its faces 0.9 s), the full size, 32 fine-tunings and 942 films, takes about 1 h 40 min on
two idle cores.
"""

import argparse
import functools
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from .. import __version__, checkpoints, config, media, plots, project, talkshow
from ..audio import COLUMNS_PER_S, FRAME_RATE, MEL_LIMIT, load_wav, melspectrogram
from ..config import EvaluationConfig, StudyConfig, TrainConfig, WindowsConfig
from ..metrics import MEASURES
from ..records import read_csv, write_csv
from ..silence import Span, cut_clips
from ..training import train
from ..training.actors import TRAIN_SEED
from ..windows import ClipFaces, load_clips
from .measure import TestClip, find_speaker, frames_of, held_out, look_at, made_up_clips, results_of
from .results import by_clip, differences, means, shown
from .stage import Score, evaluate

COLUMNS_PER_FRAME = COLUMNS_PER_S / FRAME_RATE
CLIP_S = 10.0  # of the rendered videos to tune on
ANY_DRIFT_S = 1e6  # the study trains on purpose on clips that the course refuses
ROOT = Path(__file__).resolve().parents[2]
REAL_VIDEO = next(ROOT.parent.glob("shared/real/man_kitchen_*"), None)  # lies beside some checkouts
#: Seeds of actors: "near" is the first one that the embedded generator learnt from, the others nobody has seen.
ACTORS = {"near": TRAIN_SEED, "new": 700_000, "others": 710_000}
LANGUAGES = {"Dutch": "nl", "English": "en"}
#: What the README and notebook 09 show, on dubbed clips unless a true picture is needed.
SHOWN = {
    "other": ("mouth_correlation", "judge_distance", "sharpness_ratio", "identity_distance"),
    "own": ("l1",),
    "silence": ("leakage",),
}
TABLE = "(?s)(?<=<!-- results: begin -->\n).*(?=<!-- results: end -->)"  # in README.md


# ---- the traps of the published trainer, as something done to the data or to the settings


def delayed(clips: Sequence[ClipFaces], frames: float = 3) -> list[ClipFaces]:
    """The clips with their sound later by so many frames of 40 ms, silence before it."""
    late = round(frames * COLUMNS_PER_FRAME)
    return [replace(clip, mel=fitted(clip.mel, clip.mel.shape[1], late)) for clip in clips]


def kept_fps(clips: Sequence[ClipFaces], fps: float = 30) -> list[ClipFaces]:
    """The clips as if filmed at `fps` and never converted: frame i shows the moment i / fps, is taken for i / 25."""
    spoiled = []
    for clip in clips:
        n = int(len(clip.present) * fps / FRAME_RATE)
        at = (np.arange(n) * FRAME_RATE / fps).astype(int)
        spoiled.append(part(clip, at, fitted(clip.mel, int(n * COLUMNS_PER_FRAME) + 1)))
    return spoiled


def mismatched(clips: Sequence[ClipFaces], every: int = 4, frames: int = 75) -> list[ClipFaces]:
    """The clips cut into pieces of 3 s, every fourth with the sound of another piece: bad data that nobody saw."""
    pieces = []
    for clip in clips:
        for start in range(0, max(1, len(clip.present) // frames) * frames, frames):
            first, last = (round(frame * COLUMNS_PER_FRAME) for frame in (start, start + frames))
            piece = part(clip, slice(start, start + frames), clip.mel[:, first : last + 1])
            pieces.append(replace(piece, clip_id=f"{clip.clip_id}.{start}"))
    bad = pieces[::every]
    pieces[::every] = [replace(a, mel=fitted(b.mel, a.mel.shape[1])) for a, b in zip(bad, [*bad[1:], *bad[:1]])]
    return pieces


def part(clip: ClipFaces, frames, mel: np.ndarray) -> ClipFaces:
    """Some frames of a clip (a slice, or their numbers) with another sound."""
    return replace(clip, faces=clip.faces[frames], present=clip.present[frames], mel=mel)


def fitted(mel: np.ndarray, columns: int, late: int = 0) -> np.ndarray:
    """A mel (80, n) moved `late` columns back, and cut or filled up with silence to so many columns."""
    return np.pad(mel, ((0, 0), (late, columns)), constant_values=-MEL_LIMIT)[:, :columns]


@dataclass(frozen=True)
class Trap:
    """One thing done wrong in a fine-tuning that is right otherwise. changed: settings; spoil: changes the data.

    alignment: of the mel windows in training, None: the generator's own, which inference uses.
    """

    title: str
    changed: dict = field(default_factory=dict)
    alignment: str | None = None
    spoil: Callable[[Sequence[ClipFaces]], list[ClipFaces]] = list


TRAPS = {
    "no_sync_loss": Trap("1: a resumed run without sync loss", {"sync_weight": 0.0}),
    "drifting_expert": Trap("2: the expert not in eval mode", {"expert_mode": "train"}),
    "early_mels": Trap("3: sound windows one frame earlier in training than in use", alignment="reference"),
    "unseen_bad_data": Trap("4: a quarter of the clips with another's sound", spoil=mismatched),
    "kept_30_fps": Trap("5: 30 fps taken for 25", spoil=kept_fps),
    "late_sound": Trap("a constant delay of 120 ms, never measured", spoil=delayed),
}


def fine_tune(clips: Sequence[ClipFaces], trap: Trap, training: TrainConfig, seed: int, output: Path) -> Path:
    """Tune as notebook 06 does, with one trap switched on; writes weights to `output`.

    What the run leaves lies in a folder beside `output`; a run that was stopped continues.  The same arguments give the
    same weights.
    """
    spoiled, start = trap.spoil(clips), checkpoints.locate(training.start, "generator")
    first = checkpoints.metadata(start)
    rare = {"evaluate_every": training.steps, "save_every": 50}
    how = config.override(training, start=str(start), width=first.width, seed=seed, **rare, **trap.changed)
    own = first.mel_alignment
    windows = WindowsConfig(alignment=trap.alignment or own, max_drift_s=ANY_DRIFT_S, val_windows=8, seed=seed)
    unused = replace(spoiled[-1], split="val")  # the loop wants to evaluate; the study measures on other clips
    done = train(how, [*spoiled, unused], output.with_suffix(""), windows=windows, live=False)
    if done.stopped:
        raise KeyboardInterrupt
    tuned = checkpoints.load(done.weights, "generator")
    return checkpoints.export(output, tuned, mel_alignment=own, seed=seed, steps=done.step)


# ---- who is tuned on, and who is measured


def actors_of(speaker: str, data: str) -> list[talkshow.Actor]:
    """The rendered people whose data a case is tuned on ("own", "own, English", "others, Dutch", "others, English")."""
    whose, _, language = data.partition(", ")
    if whose == "others":
        return [talkshow.random_actor(ACTORS["others"] + k, LANGUAGES[language]) for k in range(9)]
    actor = talkshow.host() if speaker == "host" else talkshow.random_actor(ACTORS[speaker], "en")
    voice = LANGUAGES.get(language, actor.voice.language) + actor.voice.name[2:]
    return [replace(actor, voice=replace(actor.voice, name=voice))]


def real_pieces(folder: Path) -> list[TestClip]:
    """The real video in four pieces: two to tune on, two to be tested, each with the other's sentence."""
    n = int(media.probe(REAL_VIDEO).duration_s * FRAME_RATE / 4)
    spans = [Span(k / FRAME_RATE, (k + n) / FRAME_RATE, k, k + n) for k in range(0, 4 * n, n)]
    files = [folder / f"{span.clip_id('real')}.mp4" for span in spans]
    if not all(map(Path.is_file, files)):
        cut_clips(REAL_VIDEO, load_wav(REAL_VIDEO), spans, folder, "real", config.SplitConfig())
    return [TestClip(file.stem, file.stem, "speaker", file) for file in files]


def tests_of(speaker: str, settings: StudyConfig, folder: Path) -> list[TestClip]:
    """The held-out clips of a speaker; their sentences are in no training data."""
    if settings.data:
        chosen = EvaluationConfig(max_clips=settings.test_clips, guest_clips=0)
        return held_out(project.data_set(settings.data), chosen)
    if speaker == "real":
        return real_pieces(folder / speaker)[2:]
    return made_up_clips(folder / speaker, actors_of(speaker, "own"), settings.test_clips, seed=10_000)


def data_of(case, settings: StudyConfig, folder: Path, scheduler: str) -> list[ClipFaces]:
    """The clips that a case (a row of study_cases) is tuned on: the first ones that have so many seconds."""
    if settings.data:
        clips = load_clips(project.data_set(settings.data), scheduler=scheduler)
        found = [clip for clip in clips if clip.split == "train"]
    else:
        each = min(case.seconds, CLIP_S)
        place, n = folder / f"{case.speaker}, {case.data}, {each:g} s", math.ceil(case.seconds / each)
        if case.speaker == "real":
            clips = real_pieces(folder / "real")[:2]
        else:
            clips = made_up_clips(place, actors_of(case.speaker, case.data), n, seconds=each)
        found = results_of(faces_of, clips, scheduler=scheduler, desc=f"faces of {case.speaker}", unit="clip")
    ends = np.cumsum([len(clip.present) for clip in found])
    return found[: 1 + np.searchsorted(ends, case.seconds * FRAME_RATE - 1)]


def faces_of(clip: TestClip) -> ClipFaces:
    """A clip as training sees it, with faces and sound."""
    boxes = find_speaker(clip.path, clip.path.parent / "cache")[1]
    faces = look_at(frames_of(clip.path), boxes, rendered=True, marks=False).faces_bgr
    present, mel = ~np.isnan(boxes[: len(faces), 0]), melspectrogram(load_wav(clip.path))
    return ClipFaces(clip.clip_id, clip.video_id, "train", faces, present, mel)


# ---- the cases


@dataclass(frozen=True)
class StudyRow(Score):
    """A row of study.csv: one film of a Score, and what was tuned how. model: the case without its seed.

    data: what the model was tuned on, "none": the base as it is.  base: the beginning of the sha256 of its weights.
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
    base: str = ""
    version: str = ""


def study_cases(settings: StudyConfig) -> pd.DataFrame:
    """All cases, a row each, those of the first seed first; the traps have one seed only.

    Columns: speaker (who is measured), data (whose data, in which language), seconds, trap, seed, model (its name).
    """
    curves, others = {"own data": settings.curve_s}, {}
    if not settings.data:
        curves = {"host": settings.curve_s, "near": settings.curve_s, "new": (settings.speaker_s,)}
        curves |= {"real": (10.0,)} if REAL_VIDEO else {}
        others = {"host": ("own, English", "others, Dutch", "others, English")}
    found = []
    for seed in settings.seeds:
        for who, curve in curves.items():
            if seed == settings.seeds[0]:
                found += [(who, "none", 0.0, "", seed, model) for model in ("truth", "untuned")]
            tuned = [("own", seconds, "") for seconds in curve]
            tuned += [(data, settings.speaker_s, "") for data in others.get(who, ())]
            if settings.traps and (who, seed) == (next(iter(curves)), settings.seeds[0]):
                tuned += [("own", settings.speaker_s, trap) for trap in TRAPS]
            found += [(who, *case, seed, "{} {:g} s {}".format(*case).strip()) for case in tuned]
    return pd.DataFrame(found, columns=["speaker", "data", "seconds", "trap", "seed", "model"])


def run(
    settings: StudyConfig, output: Path | None = None, folder: Path | None = None, *, scheduler: str = "processes"
) -> pd.DataFrame:
    """Do what is missing, a speaker at a time, and write study.csv into `output` (default data/study/); returns it.

    Rows of the same size by an earlier run are replaced.
    """
    output = (output or project.home() / "data" / "study") / "study.csv"
    folder, training = folder or project.run_folder("study") / settings.size, settings.training
    base, expert = checkpoints.locate(training.start, "generator"), checkpoints.locate(training.expert, "expert")
    known = [config.settings_hash(training), project.content_hash(base), project.content_hash(expert)]
    how = {name: getattr(training, name) for name in ("batch_size", "learning_rate", "sync_weight")}
    how |= {"size": settings.size, "base": known[1][:12], "version": __version__}
    chosen = EvaluationConfig(guest_clips=0, judge_weights=settings.judge)
    tune = functools.partial(_tune, settings=settings, folder=folder)
    side_by_side = "inline" if torch.cuda.is_available() else scheduler
    with project.lock(folder, what="the study"):
        table = all_rows(output)
        done = [table[table["size"] != settings.size]]
        for (seed, speaker), cases in study_cases(settings).groupby(["seed", "speaker"], sort=False):
            fixed, missing, models = {"truth": None, "untuned": base}, [], {}
            for case in cases.itertuples(index=False):
                tuned = folder / "weights" / f"{config.settings_hash(case, known)}.safetensors"
                models[f"{case.model} {seed}"] = weights = fixed.get(case.model, tuned)
                if weights and not weights.is_file():
                    missing.append((case, weights))
            for case in {(case.data, case.seconds): case for case, _ in missing}.values():
                data_of(case, settings, folder, scheduler)  # rendered and looked at by all cores
            results_of(tune, missing, scheduler=side_by_side, desc=speaker, unit="tuning")
            tests = tests_of(speaker, settings, folder)
            rows = evaluate(models, tests, folder / speaker, settings=chosen, scheduler=scheduler)
            rows = rows.assign(model=rows.model.map(dict(zip(models, cases.model)))).merge(cases, on="model")
            done.append(rows.assign(steps=training.steps * (rows.data != "none"), **how))
            project.made_from([output], [clip.path for clip in tests])
            table = write_csv(output, pd.concat(done), StudyRow)
    return table


def _tune(item, settings, folder):
    """One fine-tuning of run: a case and where its weights go."""
    case, weights = item
    clips = data_of(case, settings, folder, "inline")
    return fine_tune(clips, TRAPS.get(case.trap, Trap("none")), settings.training, case.seed, weights)


# ---- what the rows say


def all_rows(path: Path) -> pd.DataFrame:
    """The rows of a study.csv; none where nothing was run."""
    return read_csv(path, StudyRow) if path.is_file() else pd.DataFrame(columns=["size"])


def read_study(folder: Path | None = None) -> pd.DataFrame:
    """The rows of study.csv at the largest size that is there; no rows where nothing was run."""
    table = all_rows((folder or project.home() / "data" / "study") / "study.csv")
    sizes = [table[table["size"] == size] for size in config.STUDY_SIZES]
    return next(filter(len, sizes), table)


def gains(table: pd.DataFrame, measures: Sequence[str] = ("judge_distance", "mouth_correlation", "l1")) -> pd.DataFrame:
    """What each case changes against the untuned base on the same clips, beside how far its speaker is from the base.

    distance: LMD of the untuned base on the speaker's own sentences (L1 does not tell a real person from a near one, as
    most pixels of a face are not painted).  Columns of evaluation.differences, and speaker, data, seconds, trap and
    distance.
    """
    found, speech_of = [], {name: speech for speech, names in SHOWN.items() for name in names}
    for _, rows in table.groupby("speaker", sort=False):
        about = rows.drop_duplicates("model")[["model", "speaker", "data", "seconds", "trap"]]
        far = by_clip(rows, "lmd_percent").get("untuned", pd.Series()).mean()
        for measure in measures:
            change = differences(rows, "untuned", [measure], speech=speech_of.get(measure, "other"))
            found.append(change.merge(about, on="model").assign(distance=far))
    return pd.concat([rows for rows in found if len(rows)], ignore_index=True)


def trap_costs(table: pd.DataFrame, measures: Sequence[str] = ("judge_distance", "offset_frames", "mouth_correlation")):
    """What each trap changes against the same fine-tuning without it, dubbed; columns of evaluation.differences."""
    same = ["speaker", "data", "seconds", "seed"]
    rows = table[(table[same] == table[table.trap != ""].iloc[0][same]).all(axis=1)]
    return differences(rows.assign(model=rows.trap.replace("", "safe")), "safe", measures, speech="other")


def study_figure(table: pd.DataFrame) -> plt.Figure:
    """What fine-tuning gains: by how far the speaker is from the base, by whose data, by seconds of the speaker."""
    found = gains(table[table.trap == ""]).assign(case=lambda rows: rows.speaker)
    own, common = found[found.data == "own"], found.seconds[found.data != "own"].max()
    near_and_far = own[(own.seconds == common) | (own.speaker == "real")]
    whose = found[(found.speaker == "host") & (found.seconds == common)]
    curve = own[own.duplicated(["speaker", "measure"], keep=False)]
    questions = {
        "LMD of the untuned base (%)": (near_and_far.replace({"case": {"real": "real, 10 s only"}}), "distance"),
        "whose data, for the host": (whose.replace({"data": {"own": "own, Dutch"}}), "data"),
        "seconds of the speaker": (curve.assign(seconds=curve.seconds.map("{:g}".format)), "seconds"),
    }
    return plots.gains({label: rows for label, rows in questions.items() if len(rows[0])}, "When fine-tuning pays")


# ---- the README


def publish(run: Path, root: Path) -> pd.DataFrame:
    """Bring a run of notebook 09 into the README: its table, and the figures. Returns what data/study/course.csv says.

    The sentences around the table are written by hand; a test compares their numbers with the tables.
    """
    scores = read_csv(run / "results.csv", Score)
    table = pd.concat(means(scores, names, speech=speech).assign(speech=speech) for speech, names in SHOWN.items())
    project.write_text(root / "data" / "study" / "course.csv", table.to_csv(index=False, float_format="%.5g"))
    readme = root / "README.md"
    text = re.sub(TABLE, readme_table(table), readme.read_text(encoding="utf-8"))
    project.write_text(readme, text)
    for figure in run.glob("results_*"):
        project.write_bytes(root / "docs" / figure.name, figure.read_bytes())
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
    parser.add_argument("--size", choices=config.STUDY_SIZES, default="full")
    parser.add_argument("--base", help="weights of the generator to begin with")
    parser.add_argument("--expert", help="weights of the expert in the loss")
    parser.add_argument("--judge", help="weights of another judge")
    parser.add_argument("--publish", action="store_true", help="the last run of notebook 09 into the README")
    given = parser.parse_args(arguments)
    project.setup_logging()
    if given.publish:
        publish(project.run_folder("evaluation"), ROOT)
        return
    settings = config.STUDY_SIZES[given.size]
    training = config.override(settings.training, start=given.base, expert=given.expert)
    try:
        run(config.override(settings, training=training, judge=given.judge))
    except KeyboardInterrupt:
        sys.exit("stopped: what was made is kept, the same command goes on from here")


if __name__ == "__main__":
    main()
