"""evaluation with networks of random numbers: every case is a row, nothing is measured twice, the study resumes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lipsync_utils import checkpoints, evaluation, metrics, models, talkshow
from lipsync_utils.audio import load_wav, mel_window, melspectrogram, sync_window_start
from lipsync_utils.config import STUDY_SIZES, EvaluationConfig, StudyConfig, override, preset
from lipsync_utils.errors import CheckpointError, DataError, ManifestError
from lipsync_utils.evaluation import TestClip, held_out, measure, stage, study
from lipsync_utils.evaluation.measure import rendered_clips, validation_clips
from lipsync_utils.media import VideoWriter
from lipsync_utils.parallel import Done
from lipsync_utils.project import DataSet
from lipsync_utils.records import FaceClip, Reason, read_csv, write_csv
from lipsync_utils.windows import ClipFaces

QUICK = EvaluationConfig(bootstrap=200, guest_clips=0, identity_frames=1, silent_clips=1)
TINY = 1 / 32


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two rendered clips of the host, about one second each."""
    folder = tmp_path_factory.mktemp("held_out")
    for number, text in enumerate(("Dag allemaal.", "Tot morgen.")):
        path = folder / f"held{number}.mp4"
        talkshow.render_clip(path, [talkshow.host()], [(0, text)], size=(256, 256), seed=number)
    return rendered_clips(folder)


@pytest.fixture(scope="module")
def faceless(tmp_path_factory):
    """A video with nobody in it."""
    path = tmp_path_factory.mktemp("faceless") / "empty.mp4"
    with VideoWriter(path, size=(256, 256), sound=np.zeros(16000, np.float32)) as writer:
        for _ in range(25):
            writer.write(np.full((256, 256, 3), 90, np.uint8))
    return TestClip("empty", "empty", "guest", path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Networks of random numbers by the names of the embedded ones."""
    folder = tmp_path_factory.mktemp("weights")
    kinds = {"generator": models.Wav2Lip, "expert": models.SyncNet, "judge": models.SyncNet}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return {
            name: checkpoints.export(folder / f"{name}.safetensors", network(TINY), mel_alignment="inference")
            for name, network in kinds.items()
        }


@pytest.fixture(scope="module", autouse=True)
def embedded(weights):
    """The random networks stand in for the embedded ones; mouths are read by the embedded reader."""
    known = weights | {"reader": checkpoints.embedded("reader"), "english": weights["generator"]}
    path = known.__getitem__

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "embedded", path)
        yield


@pytest.fixture(scope="module")
def run_of_all(tmp_path_factory, clips, faceless, weights, embedded):
    """One evaluation of truth and base: (folder, rows)."""
    folder, all_of_them = tmp_path_factory.mktemp("run"), {"truth": None, "base": weights["generator"]}
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        rows = evaluation.evaluate(all_of_them, [*clips, faceless], folder, settings=QUICK, scheduler="inline")
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2), "measuring sets the process's threads"
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return folder, rows


def test_every_model_and_clip_is_a_row_with_its_numbers(run_of_all, clips, weights):
    folder, rows = run_of_all
    pd.testing.assert_frame_equal(rows, read_csv(folder / "results.csv", evaluation.Score))
    assert len(rows) == 2 + 2 * 2 + 1 + 2
    by = rows.set_index(["model", "clip_id", "speech"])
    truth, own, other, silent = (
        by.loc[m, "held0", speech]
        for m, speech in (("truth", "own"), ("base", "own"), ("base", "other"), ("base", "silence"))
    )
    assert truth.mouth_correlation == pytest.approx(1) and truth.mouth_truth_correlation > 0.6
    assert truth.sharpness_ratio == 1 and truth.identity_distance == 0
    assert np.isnan(truth.l1) and np.isnan(truth.lse_d) and 0 <= truth.judge_distance < 1.5
    boxes, known = measure.find_speaker(clips[0].path, folder / "cache")[1], {c.clip_id: c for c in clips}
    models = {"truth": None, "base": weights["generator"]}
    pairs = [rows[(rows.clip_id == "held0") & (rows.speech == "own") & (rows.model == model)] for model in models]
    filmed, drawn = (
        measure.look_at(film, boxes, rendered=True, marks=False).faces_bgr.astype(float)
        for ((_, film),) in (evaluation.films(row, models, known.values(), folder) for row in pairs)
    )
    assert own.l1 == pytest.approx(np.abs(drawn - filmed).mean(), abs=1e-4) and own.l1 > 1
    assert 5 < own.psnr_db < 40 and 0 < own.ssim < 1 and own.sharpness_ratio < 1
    assert own.identity_distance > 0 and own.lmd_percent > 0
    assert other.speech_id == "held1" and np.isnan(other.l1) and other.judge_distance >= 0
    assert silent.speech_id == "held0" and 0 <= silent.leakage <= 1 and np.isnan(silent.judge_distance)


def test_what_is_kept_of_a_file_is_not_kept_for_another_under_its_name(clips, tmp_path):
    clip = replace(clips[0], path=tmp_path / "clip.mp4")
    clip.path.write_bytes(clips[0].path.read_bytes())
    looks = [measure.look_at_clip(clip, tmp_path / "cache") for _ in range(2)]
    sound = measure.sound_of(clip.path)
    assert looks[0] is looks[1]
    clip.path.write_bytes(clips[1].path.read_bytes())
    assert len(measure.look_at_clip(clip, tmp_path / "cache")) != len(looks[0])
    assert len(measure.sound_of(clip.path)) != len(sound)


def test_a_clip_that_cannot_be_measured_is_a_row_with_a_reason(run_of_all):
    _, rows = run_of_all
    bad = rows[rows.clip_id == "empty"]
    assert len(bad) == 2 and set(bad.reason) == {Reason.UNREADABLE} and bad.frames.isna().all()
    assert bad.note.str.contains("no face was found").all()


def test_what_was_measured_is_not_measured_again_new_weights_in_the_same_file_are(
    run_of_all, clips, faceless, weights, monkeypatch, tmp_path
):
    folder, rows = run_of_all
    calls, measured = [], stage._measure
    monkeypatch.setattr(stage, "_measure", lambda item, **known: calls.append(item.id) or measured(item, **known))
    file = tmp_path / "generator.safetensors"
    file.write_bytes(weights["generator"].read_bytes())
    again = evaluation.evaluate(
        {"truth": None, "base": file}, [*clips, faceless], folder, settings=QUICK, scheduler="inline"
    )
    assert not calls
    pd.testing.assert_frame_equal(again, rows)
    shipped = Path(checkpoints.__file__).parents[1] / "weights" / "generator.safetensors"
    file.write_bytes(shipped.read_bytes())  # random networks all draw the same grey
    own = replace(QUICK, speech=("own",))
    changed = evaluation.evaluate({"base": file}, clips[:1], folder, settings=own, scheduler="inline")
    assert calls == ["base-held0-own-held0"] and changed.l1[0] != rows.l1[rows.model == "base"].iloc[0]


def test_a_new_judge_in_the_same_file_judges_again(clips, tmp_path):
    settings, distances = replace(QUICK, judge_weights=str(tmp_path / "judge.safetensors")), []
    for _ in range(2):
        checkpoints.export(tmp_path / "judge.safetensors", models.SyncNet(TINY), mel_alignment="inference")
        found = evaluation.evaluate({"truth": None}, clips[:1], tmp_path, settings=settings, scheduler="inline")
        distances.append(found.judge_distance[0])
    assert distances[0] != distances[1] and set(found.judge) == {"judge.safetensors"}


def test_fid_compares_crowds_of_faces_where_inception_is_given(run_of_all, clips, weights, monkeypatch):
    folder, rows = run_of_all
    known = {"truth": None, "base": weights["generator"]}
    assert evaluation.fid_by_model(rows, known, clips, folder, QUICK) == {}
    monkeypatch.setattr(metrics, "fid", lambda ours, truth, path: np.abs(np.mean(ours) - np.mean(truth)))
    settings = replace(QUICK, inception_weights="inception.pth")
    found = evaluation.fid_by_model(rows, known, clips, folder, settings)
    assert set(found) == {"base"} and found["base"] > 0.1


def test_bad_models_stop_before_any_work(clips, tmp_path, weights):
    with pytest.raises(CheckpointError, match="no weight file"):
        evaluation.evaluate({"base": tmp_path / "gone.pt"}, clips, tmp_path, scheduler="inline")
    with pytest.raises(CheckpointError, match="wrong network"):
        evaluation.evaluate({"base": weights["expert"]}, clips, tmp_path, scheduler="inline")
    with pytest.raises(DataError, match="no clips"):
        evaluation.evaluate({"truth": None}, [], tmp_path)
    assert not (tmp_path / "results.csv").exists()


# ---- the judge


class Shouting(torch.nn.Module):
    """A judge that knows: a window's sound is its loudness, and its face is as bright as that sound is loud."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    @staticmethod
    def _code(level):
        angle = level.clamp(0, 1) * 1.5
        return torch.stack([angle.cos(), angle.sin()], 1)

    def embed_audio(self, mel):
        return self._code((mel.mean((1, 2, 3)) + 4) / 8)

    def embed_face(self, faces):
        return self._code(faces.mean((1, 2, 3)))

    def forward(self, mel, faces):
        return self.embed_audio(mel), self.embed_face(faces)


def shouting_clip(path, seed, shift=0):
    """A video with the loudness of its sound painted onto the picture; shift: frames that the picture is late."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0.0, 0.5, 30), 2560).astype(np.float32)  # a new level every four frames
    wav = (loud * rng.standard_normal(len(loud)) * 0.5).clip(-1, 1)
    with VideoWriter(path.with_suffix(".first.mp4"), size=(64, 64), sound=wav) as writer:
        for _ in range(len(wav) // 640):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    mel = melspectrogram(load_wav(path.with_suffix(".first.mp4")))  # as AAC leaves it
    levels = [(mel_window(mel, sync_window_start(i - shift)).mean() + 4) / 8 for i in range(len(wav) // 640)]
    with VideoWriter(path, size=(64, 64), sound=wav) as writer:
        for level in levels:
            writer.write(np.full((64, 64, 3), np.clip(level * 255, 0, 255), np.uint8))
    return TestClip(path.stem, path.stem, "speaker", path)


def test_mismatched_sound_scores_worse_and_a_moved_sound_gives_its_shift(tmp_path, monkeypatch):
    wanted = [shouting_clip(tmp_path / f"clip{k}.mp4", k, shift) for k, shift in enumerate((0, 0, 3))]
    monkeypatch.setattr(measure, "network", lambda path, kind: Shouting().eval())
    monkeypatch.setattr(measure, "mouth_openings", lambda faces_bgr, rendered: np.zeros(len(faces_bgr)))
    whole = np.tile(np.float32([0, 0, 64, 64]), (120, 1))
    monkeypatch.setattr(measure, "find_speaker", lambda path, cache: (0, whole))
    rows, curves = evaluation.cross_check(wanted, QUICK)
    assert (rows.other_distance > 2 * rows.distance).all() and (rows.other_confidence < rows.confidence).all()
    assert (rows.shifts_found == 1).all()
    assert rows.offset[0] == rows.offset[1] and rows.offset[2] - rows.offset[0] == 3  # a late picture: early sound
    assert curves["own sound"].min() < 0.5 * curves["another clip's sound"].min()


def test_a_clip_without_a_face_cannot_check_the_judge(faceless, clips, tmp_path):
    with pytest.raises(DataError, match="check of the judge: .*no face"):
        evaluation.cross_check([faceless, *clips], QUICK, cache_dir=tmp_path)


def test_the_published_judge_is_named_and_its_numbers_are_called_lse(tmp_path):
    path = checkpoints.save(tmp_path / "syncnet.pt", models.EvaluationSyncNet())
    found = evaluation.Judge(replace(QUICK, syncnet_weights=str(path)))
    assert found.published and found.name == "syncnet.pt"
    numbers = found.numbers(np.zeros((7, 96, 96, 3), np.uint8), np.zeros(7 * 640, np.float32))
    assert set(numbers) == {"lse_d", "lse_c", "offset_frames"}


# ---- which clips


def test_validation_clips_come_from_the_manifest(tmp_path):
    data = DataSet("x", tmp_path)
    path = data.clips / "v2" / "v2_0-3.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    rows = [
        FaceClip("v1_0-3", "v1", "train", "f", 75, 75, 0, 90, 240, None, None),
        FaceClip("v2_0-3", "v2", "val", "f", 75, 75, 0, 90, 240, None, None),
        FaceClip("v2_4-5", "v2", "val", "f", 25, 25, 0, 90, 80, None, None),
        FaceClip("v2_6-9", "v2", None, None, 75, None, None, None, None, Reason.NO_FACE, None),
    ]
    write_csv(data.path("faces.csv"), rows, FaceClip)
    assert [(c.clip_id, c.path, c.actor) for c in validation_clips(data)] == [("v2_0-3", path, None)]
    assert held_out(data)[0].true_opening() is None
    write_csv(data.path("faces.csv"), rows[:1], FaceClip)
    with pytest.raises(DataError, match="no clip of at least"):
        held_out(data)


def test_rendered_clips_know_their_truth(clips):
    assert [c.actor for c in clips] == [talkshow.host().name] * 2
    opening = clips[0].true_opening()
    assert len(opening) > 20 and np.nanmax(opening) > 0.1


def test_rendered_clips_without_truth_are_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ManifestError, match=r"a\.truth\.csv: cannot be read"):
        rendered_clips(tmp_path)
    with pytest.raises(DataError, match="no held-out clip"):
        rendered_clips(tmp_path / "none")


# ---- the study


@pytest.fixture(scope="module")
def faces_of(clips):
    """The clips as training data."""
    made = []
    for clip in clips:
        crops = measure.look_at_clip(clip, None).faces_bgr
        mel = melspectrogram(load_wav(clip.path))
        made.append(ClipFaces(clip.clip_id, clip.video_id, "train", crops, np.ones(len(crops), bool), mel))
    return made


def test_fine_tuning_changes_the_weights_and_is_repeatable(faces_of, tmp_path, weights):
    quick, states = override(StudyConfig().training, steps=2, batch_size=2), []
    for number, trap in enumerate((study.Trap("none"), *map(study.TRAPS.get, ("no_sync_loss", "drifting_expert")))):
        file = study.fine_tune(faces_of, trap, quick, 1, tmp_path / f"{number}.safetensors")
        states.append(checkpoints.load(file, "generator").state_dict())
    again = study.fine_tune(faces_of, study.Trap("none"), quick, 1, tmp_path / "again.safetensors")
    states += [checkpoints.load(path, "generator").state_dict() for path in (again, weights["generator"])]

    def equal(a, b):
        return all(torch.equal(states[a][key], states[b][key]) for key in states[a])

    assert equal(0, 3) and not equal(0, 4)
    assert not equal(0, 1) and not equal(0, 2), "the trap has no effect"


def test_training_with_early_windows_is_still_used_with_the_generators_own(faces_of, tmp_path):
    quick, made = override(StudyConfig().training, steps=1, batch_size=2), []
    for trap in (study.Trap("none"), study.TRAPS["early_mels"]):
        made.append(study.fine_tune(faces_of, trap, quick, 1, tmp_path / f"{len(made)}.safetensors"))
    safe, early = (checkpoints.load(path, "generator") for path in made)
    assert {checkpoints.metadata(path).mel_alignment for path in made} == {"inference"}
    assert not all(torch.equal(a, b) for a, b in zip(safe.state_dict().values(), early.state_dict().values()))


def test_the_study_writes_rows_with_settings_and_continues_where_it_was(tmp_path, clips, weights, monkeypatch):
    training = replace(STUDY_SIZES["tiny"].training, learning_rate=2e-5)
    tiny = replace(STUDY_SIZES["tiny"], training=training, curve_s=(4.0, 5.0))
    known = study.study_cases
    monkeypatch.setattr(study, "study_cases", lambda settings: known(settings).query("speaker == 'near'"))
    monkeypatch.setattr(study, "tests_of", lambda *where: clips)
    monkeypatch.setattr(study, "data_of", lambda *where: [])
    calls, measured = [], []

    def fine_tune(clips, trap, training, seed, output):
        calls.append(output)
        if len(calls) == 2:
            raise KeyboardInterrupt
        output.parent.mkdir(exist_ok=True)
        output.write_bytes(weights["generator"].read_bytes())

    def measure_case(item, **known):
        measured.append(item.id)
        return Done([replace(item.row, mouth_correlation=0.5)])

    def run(settings):
        return study.run(settings, tmp_path / "out", tmp_path / "work", scheduler="inline")

    monkeypatch.setattr(study, "fine_tune", fine_tune)
    monkeypatch.setattr(stage, "_measure", measure_case)
    with pytest.raises(KeyboardInterrupt):
        run(tiny)
    table = run(tiny)
    assert len(calls) == 3 and calls[1] == calls[2] != calls[0]
    assert list(table.model.unique()) == ["truth", "untuned", "own 4 s", "own 5 s"]
    assert set(table.learning_rate) == {2e-5} and set(table.steps[table.data == "none"]) == {0}
    assert set(table["size"]) == {"tiny"} and set(table.seed) == {1} and len(table.base[0]) == 12
    pd.testing.assert_frame_equal(study.read_study(tmp_path / "out"), table)
    done = len(measured)
    pd.testing.assert_frame_equal(run(tiny), table)
    assert len(calls) == 3 and len(measured) == done == len(table), "the second time nothing is done"
    base = str(checkpoints.export(tmp_path / "base.safetensors", models.Wav2Lip(TINY), mel_alignment="inference"))
    for other in ({"learning_rate": 1e-5}, {"start": base}, {"expert": str(weights["judge"])}):
        run(replace(tiny, training=replace(training, **other)))
    assert len(calls) == 9 and len(set(calls)) == 8, "other rates and weights are other results"


def test_faces_to_tune_on_are_rendered_once_and_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "SIZE_PX", (256, 256))
    case = pd.Series({"speaker": "host", "data": "others, English", "seconds": 6.0})
    (made,) = study.data_of(case, STUDY_SIZES["tiny"], tmp_path, "inline")
    video = next(tmp_path.rglob("*.mp4"))
    first = video.stat()
    (again,) = study.data_of(case, STUDY_SIZES["tiny"], tmp_path, "inline")
    assert video.stat() == first
    assert len(made.faces) == len(made.present) == 150 and made.faces.shape[1:] == (96, 96, 3)
    assert np.array_equal(made.faces, again.faces) and np.array_equal(made.mel, again.mel)
    assert abs(made.drift_s) < 0.1


@pytest.mark.nightly
def test_the_tiny_study_runs_from_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "SIZE_PX", (256, 256))
    table = study.run(STUDY_SIZES["tiny"], tmp_path / "out", tmp_path / "work", scheduler="inline")
    found = study.gains(table, ["mouth_correlation", "l1"])
    assert set(found.measure) == {"mouth_correlation", "l1"} and set(found.speaker) >= {"host", "near", "new"}
    assert len(study.study_figure(table).axes) == 6


def test_runs_and_relative_weight_files_are_looked_for_in_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path))
    monkeypatch.chdir("/")
    for name in ("mine.pt", "outputs/with/checkpoints/generator_best.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, missing = evaluation.find_models(preset("sample"), {"mine": "mine.pt", "with": "with", "other": "other.pt"})
    assert found["mine"] == tmp_path / "mine.pt" and found["with"].parents[2] == tmp_path / "outputs"
    assert len(missing) == 1 and f"There are no weights of 'other' at {tmp_path / 'other.pt'}" in missing[0]
