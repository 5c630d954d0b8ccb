"""evaluation with networks of random numbers: every case is a row, nothing is measured twice, the study resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipsync_utils import checkpoints, evaluation, metrics, models, talkshow
from lipsync_utils.audio import load_wav, melspectrogram
from lipsync_utils.config import EvaluationConfig, StudyConfig
from lipsync_utils.errors import CheckpointError, DataError
from lipsync_utils.evaluation import judge, look, stage, study, study_tables, traps, tuning
from lipsync_utils.evaluation.clips import TestClip, held_out, rendered_clips, validation_clips
from lipsync_utils.parallel import Done
from lipsync_utils.project import DataSet
from lipsync_utils.records import FaceClip, Reason, read_rows, write_csv
from lipsync_utils.windows import ClipFaces

QUICK = EvaluationConfig(bootstrap=200, guest_clips=0, identity_frames=1)
TINY = 1 / 32


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two rendered clips of the host, about two seconds each."""
    folder = tmp_path_factory.mktemp("held_out")
    host = talkshow.host()
    for number, text in enumerate(("Dag allemaal.", "Tot morgen.")):
        talkshow.render_clip(folder / f"held{number}.mp4", [host], [(0, text)], size=(256, 256), seed=number)
    return rendered_clips(folder)


@pytest.fixture(scope="module")
def faceless(tmp_path_factory):
    """A clip without a face."""
    from lipsync_utils.media import VideoWriter

    path = tmp_path_factory.mktemp("faceless") / "empty.mp4"
    with VideoWriter(path, size=(256, 256), sound=np.zeros(32000, np.float32)) as writer:
        for _ in range(50):
            writer.write(np.full((256, 256, 3), 90, np.uint8))
    return TestClip("empty", "empty", "guest", path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Networks of random numbers by the names of the embedded ones."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, network in (
            ("generator", models.Wav2Lip(TINY)),
            ("expert", models.SyncNet(TINY)),
            ("judge", models.SyncNet(TINY)),
        ):
            made[name] = checkpoints.export(folder / f"{name}.safetensors", network, mel_alignment="inference")
    return made


@pytest.fixture(autouse=True)
def embedded(monkeypatch, weights):
    """The random networks stand in for the embedded ones."""
    load_judge = judge.load_judge
    monkeypatch.setattr(checkpoints, "embedded", weights.__getitem__)
    load_judge.cache_clear()
    yield
    load_judge.cache_clear()


@pytest.fixture(scope="module")
def run_of_all(tmp_path_factory, clips, faceless, weights):
    """One evaluation of truth and base: (folder, rows)."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "embedded", weights.__getitem__)
        judge.load_judge.cache_clear()
        rows = evaluation.evaluate(
            {"truth": None, "base": weights["generator"]},
            [*clips, faceless],
            folder,
            settings=QUICK,
            scheduler="inline",
        )
    return folder, rows


def test_every_model_and_clip_is_a_row_with_its_numbers(run_of_all, clips):
    folder, rows = run_of_all
    assert rows == read_rows(folder / "results.csv", evaluation.Score)
    by = {(r.model, r.clip_id, r.speech): r for r in rows}
    assert len(by) == len(rows) == 2 + 2 * 2 + 2
    truth, own, other = (by[m, "held0", said] for m, said in (("truth", "own"), ("base", "own"), ("base", "other")))
    assert truth.mouth_correlation == pytest.approx(1) and truth.mouth_truth_correlation > 0.6
    assert truth.sharpness_ratio == 1 and truth.flicker == 0 and truth.identity_distance == 0
    assert truth.l1 is None and truth.lse_d is None and 0 <= truth.judge_distance < 1.5
    assert own.l1 > 3 and 5 < own.psnr_db < 40 and 0 < own.ssim < 1 and own.sharpness_ratio < 1
    assert own.identity_distance > 0 and own.lmd_percent > 0
    assert other.speech_id == "held1" and other.l1 is None and other.judge_distance is not None
    assert (folder / "films" / "base-held0-own.mp4").is_file()


def test_a_clip_that_cannot_be_measured_is_a_row_with_a_reason(run_of_all):
    _, rows = run_of_all
    bad = [r for r in rows if r.clip_id == "empty"]
    assert len(bad) == 2 and {r.reason for r in bad} == {Reason.FAILED}
    assert all("no face was found" in r.note and r.frames is None for r in bad)


def test_what_was_measured_is_not_measured_again_new_weights_are(
    run_of_all, clips, faceless, weights, monkeypatch, tmp_path
):
    folder, rows = run_of_all
    calls, measure = [], stage.measure_case
    monkeypatch.setattr(stage, "measure_case", lambda case, *rest: calls.append(case.id) or measure(case, *rest))
    models_ = {"truth": None, "base": weights["generator"]}
    again = evaluation.evaluate(models_, [*clips, faceless], folder, settings=QUICK, scheduler="inline")
    assert again == rows and not calls
    other = checkpoints.export(tmp_path / "other.safetensors", models.Wav2Lip(TINY))
    changed = evaluation.evaluate(
        {**models_, "base": other}, clips[:1], folder, scheduler="inline", settings=replace(QUICK, speech=("own",))
    )
    assert calls == ["base-held0-own"] and changed[1].l1 != rows[1].l1


def test_fid_compares_crowds_of_faces_where_inception_is_given(run_of_all, clips, monkeypatch):
    folder, rows = run_of_all
    assert evaluation.fid_by_model(rows, clips, folder, QUICK) == {}
    monkeypatch.setattr(metrics, "load_inception", lambda path: lambda rgb: rgb.float().mean((2, 3)))
    found = evaluation.fid_by_model(rows, clips, folder, replace(QUICK, inception_weights="inception.pth"))
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
    from lipsync_utils.audio import mel_window, sync_window_start
    from lipsync_utils.media import VideoWriter

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
    knowing = judge.Judge("a judge that knows", Shouting().eval(), False)
    monkeypatch.setattr(judge, "load_judge", lambda settings: knowing)
    whole = np.tile(np.float32([0, 0, 64, 64]), (120, 1))
    monkeypatch.setattr(judge, "find_speaker", lambda path, cache: (0, whole))
    rows = evaluation.cross_check(wanted, QUICK)
    for row in rows:
        assert row.mismatched_distance > 2 * row.matched_distance
        assert row.mismatched_confidence < row.matched_confidence
        assert row.shifts_right == len(row.found) == 4
    assert rows[0].offset == rows[1].offset and rows[2].offset - rows[0].offset == 3  # a late picture: early sound


def test_the_published_judge_is_named_and_its_numbers_are_called_lse(tmp_path, clips):
    path = checkpoints.save(tmp_path / "syncnet.pt", models.EvaluationSyncNet())
    found = judge.load_judge(replace(QUICK, syncnet_weights=str(path)))
    assert found.published and found.name == "syncnet.pt"
    faces = np.zeros((7, 96, 96, 3), np.uint8)
    numbers = found.numbers(*found.features(faces, np.zeros(7 * 640, np.float32)))
    assert set(numbers) == {"lse_d", "lse_c", "offset_frames"}
    judge.load_judge.cache_clear()


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
    path.unlink()
    with pytest.raises(DataError, match="v2_0-3.mp4 is missing"):
        validation_clips(data)
    write_csv(data.path("faces.csv"), rows[:1], FaceClip)
    with pytest.raises(DataError, match="no clip of at least"):
        held_out(data)


def test_rendered_clips_know_their_truth(clips):
    assert [c.actor for c in clips] == [talkshow.host().name] * 2
    opening = clips[0].true_opening()
    assert len(opening) > 20 and np.nanmax(opening) > 0.1


def test_rendered_clips_without_truth_are_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.truth\.csv is missing"):
        rendered_clips(tmp_path)
    with pytest.raises(DataError, match="no held-out clip"):
        rendered_clips(tmp_path / "none")


# ---- the traps and the study


@pytest.fixture(scope="module")
def faces_of(clips):
    """The clips as training data."""
    made = []
    for clip in clips:
        _, boxes = look.find_speaker(clip.path, None)
        crops = look.look_at(clip.path, boxes, 0).faces_bgr
        made.append(
            ClipFaces(
                clip.clip_id,
                clip.video_id,
                "train",
                crops,
                np.ones(len(crops), bool),
                melspectrogram(load_wav(clip.path)),
            )
        )
    return made


def numbered(frames=100):
    """A clip whose frame i is painted i and whose mel column j is j."""
    faces = np.tile(np.arange(frames, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 3))
    columns = int(frames * 3.2) + 1
    mel = np.tile(np.arange(columns, dtype=np.float32), (80, 1))
    return ClipFaces("n", "n", "train", faces, np.ones(frames, bool), mel)


def test_each_trap_does_to_the_data_what_it_says():
    clip = numbered()
    late = traps.delayed([clip], 3)[0]
    assert (late.mel[:, :10] == -4).all() and late.mel[0, 10] == 0 and late.mel.shape == clip.mel.shape
    kept = traps.kept_fps([clip], 30)[0]
    assert len(kept.faces) == len(kept.present) == 120 and kept.faces[60, 0, 0, 0] == 50  # 2 s at 30 fps
    assert kept.mel.shape[1] == 385 and np.array_equal(kept.mel[:, :321], clip.mel)
    pieces = traps.mismatched([clip, clip, clip], 0.25, 20)
    wrong = [p for number, p in enumerate(pieces) if p.mel[0, 0] != round(p.faces[0, 0, 0, 0] * 3.2)]
    assert len(pieces) == 15 and len(wrong) == 4 and all(p.mel.shape[1] == 65 for p in pieces)


def test_fine_tuning_changes_the_weights_and_is_repeatable(faces_of, tmp_path, weights):
    quick = StudyConfig(steps=2, batch_size=2)
    one, two, other = (
        tuning.fine_tune(faces_of, traps.TRAPS[name], quick, 1, tmp_path / f"{k}.safetensors")
        for k, name in enumerate(("safe", "safe", "no_sync_loss"))
    )
    states = [checkpoints.load(path, "generator").state_dict() for path in (one, two, other, weights["generator"])]

    def equal(a, b):
        return all(torch.equal(states[a][key], states[b][key]) for key in states[a])

    assert equal(0, 1) and not equal(0, 2) and not equal(0, 3)


@pytest.mark.parametrize("name", traps.TRAPS)
def test_every_trap_trains(name, faces_of, tmp_path):
    quick = StudyConfig(steps=1, batch_size=2)
    path = tuning.fine_tune(faces_of, traps.TRAPS[name], quick, 1, tmp_path / "w.safetensors")
    assert checkpoints.load(path, "generator").mel_alignment == "inference"


def test_the_study_writes_rows_with_settings_and_continues_where_it_was(tmp_path, clips, faces_of, monkeypatch):
    quick = StudyConfig(size="small", steps=1, batch_size=2, speaker_s=5, curve_s=(5, 6), seeds=(1,), test_clips=2)
    monkeypatch.setattr(study, "test_clips", lambda settings, folder: clips[: settings.test_clips])
    monkeypatch.setattr(study, "speaker_faces", lambda folder, seconds: faces_of)
    monkeypatch.setattr(study, "TRAPS", {name: traps.TRAPS[name] for name in ("safe", "late_sound")})
    calls, numbers = [], {"judge_distance": 0.5, "offset_frames": 1.0}
    monkeypatch.setattr(study, "fine_tune", lambda *args: calls.append(args[1].name) or clips[0].path)
    monkeypatch.setattr(study, "measure_case", lambda case, *rest: Done([stage.score_of(case, "j", **numbers)]))

    def stopped(case, *rest):
        if case.name == "6 s":
            raise KeyboardInterrupt
        return study_run_case(case, *rest)

    study_run_case = study.run_case
    monkeypatch.setattr(study, "run_case", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.run(quick, output=tmp_path / "out", folder=tmp_path / "work")
    assert calls == ["safe", "late_sound", "safe"]
    monkeypatch.setattr(study, "run_case", study_run_case)
    study.run(quick, output=tmp_path / "out", folder=tmp_path / "work")
    assert calls == ["safe", "late_sound", "safe", "safe"]
    rows, size = study_tables.read_study("traps.csv", tmp_path / "out")
    assert size == "small" and [r.case for r in rows] == ["base"] * 2 + ["safe"] * 2 + ["late_sound"] * 2
    assert {(r.seed, r.batch_size) for r in rows} == {(1, 2)} and rows[0].steps == 0 and rows[2].steps == 1
    assert all(r.judge_distance is not None and r.version for r in rows)
    assert [r.case for r in study_tables.read_study("curve.csv", tmp_path / "out")[0]][::2] == ["base", "5 s", "6 s"]


def test_the_first_seconds_are_exactly_so_many():
    chosen = study.first_seconds([numbered(100), numbered(100), numbered(100)], 6)
    assert [len(c.faces) for c in chosen] == [100, 50] and chosen[1].mel.shape[1] == 161
    assert sum(len(c.faces) for c in study.first_seconds([numbered(100)] * 3, 100)) == 300


def study_row(case, seed, video, **values):
    """A row of the study."""
    empty = dict.fromkeys(("judge_distance", "judge_confidence", "offset_frames", "mouth_correlation"))
    given = {**empty, **values}
    return study.StudyRow(
        case=case,
        title=f"title of {case}",
        size="small",
        seed=seed,
        steps=10,
        batch_size=8,
        learning_rate=1e-4,
        sync_weight=0.03,
        speaker_s=10.0,
        clip_id=video,
        video_id=video,
        mouth_truth_correlation=None,
        minutes=1.0,
        base="b",
        machine="m",
        version="0",
        **given,
    )


def test_what_a_trap_costs_is_told_from_its_rows():
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        hard = rng.normal()
        for case, cost in (("base", 0.3), ("safe", 0.0), ("late_sound", 0.5), ("early_mels", 0.0)):
            rows.append(
                study_row(
                    case,
                    1,
                    f"v{number}",
                    judge_distance=hard + cost + 0.01 * rng.normal(),
                    offset_frames=-3.0 if case == "late_sound" else 0.0,
                )
            )
    found = {d.model: d for d in study_tables.costs(rows, "judge_distance")}
    assert found["late_sound"].verdict == "worse" and found["late_sound"].mean == pytest.approx(0.5, abs=0.02)
    assert found["early_mels"].verdict == "unclear"
    text = study_tables.trap_paragraph(rows)
    assert "more than chance: title of late_sound (+0.5" in text
    assert "No difference is shown for: title of early_mels" in text
    assert "10 steps of 8 windows, 8 held-out videos" in text
    header, table = study_tables.trap_table(rows)
    assert header[0] == "what was wrong" and [line[0] for line in table][2] == "title of late_sound"
    assert "not run" in study_tables.trap_paragraph([]) and "not run" in study_tables.curve_paragraph([])
    assert study_tables.offsets_by_case(rows)["late_sound"].tolist() == [-3.0] * 8


def test_the_learning_curve_is_told_from_its_rows():
    rows = [
        study_row(case, 1, f"v{k}", mouth_correlation=value + 0.01 * np.sin(k + value))
        for k in range(6)
        for case, value in (("base", 0.5), ("10 s", 0.6), ("20 s", 0.7))
    ]
    text = study_tables.curve_paragraph(rows)
    assert "with 10 s of the speaker to" in text and "best with 20 s" in text and "more than chance: 20 s" in text
    assert metrics.MEASURES["mouth_correlation"].title in text
