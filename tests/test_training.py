import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lipsync_utils import checkpoints, config, losses, training
from lipsync_utils.errors import CheckpointError, DataError, SettingError
from lipsync_utils.training import checks, trainer
from lipsync_utils.training.trainer import differences
from tests.toys import toy_clip, toy_clips

WINDOWS = config.WindowsConfig(val_windows=4)
EXPERT = config.TrainConfig(
    network="expert",
    start="scratch",
    width=1 / 32,
    steps=4,
    batch_size=4,
    sync_weight=0.0,
    precision="fp32",
    evaluate_every=2,
    save_every=2,
)


def run(settings, folder, clips=None, **kwargs):
    return training.train(settings, clips or toy_clips(), folder, windows=WINDOWS, live=False, **kwargs)


@pytest.fixture(scope="module")
def expert_file(tmp_path_factory):
    """A little expert, not a good one."""
    path = tmp_path_factory.mktemp("expert") / "expert.safetensors"
    torch.manual_seed(3)
    return checkpoints.export(path, checkpoints.KINDS["expert"](1 / 32))


@pytest.fixture
def generator_settings(expert_file):
    return config.TrainConfig(
        start="scratch",
        expert=str(expert_file),
        discriminator="scratch",
        width=1 / 32,
        steps=4,
        batch_size=2,
        disc_weight=0.07,
        precision="fp32",
        evaluate_every=2,
        save_every=2,
        min_expert_accuracy=0.0,
    )


def weights(path):
    payload = torch.load(path, weights_only=True)
    return payload["state_dict"], payload["optimizer"], payload["state"]


def same(a, b):
    if torch.is_tensor(a):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path, generator_settings):
    whole = run(generator_settings, tmp_path / "whole")
    half = run(dataclasses.replace(generator_settings, steps=2), tmp_path / "half")
    assert half.step == 2
    rest = run(generator_settings, tmp_path / "half")
    assert rest.step == whole.step == 4
    assert same(weights(whole.weights), weights(rest.weights))
    histories = [pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in ("whole", "half")]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_a_run_leaves_history_samples_curves_settings_and_its_videos(tmp_path, generator_settings):
    result = run(generator_settings, tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run/history.csv")
    assert list(rows.step[rows.phase == "val"]) == [0, 2, 4] and (rows.sync_weight == 0.03).all()
    assert list(rows.step[rows.phase == "train"]) == [1, 2, 3, 4] and rows.sync.notna().all()
    assert rows.learning_rate[rows.phase == "train"].tolist() == [1e-4] * 4
    assert json.loads((tmp_path / "run/data.json").read_text())["video_ids"] == ["video0", "video1", "video2"]
    assert json.loads((tmp_path / "run/settings.json").read_text())["settings"]["disc_weight"] == 0.07
    assert (tmp_path / "run/samples/step_000000004.png").is_file() and list((tmp_path / "run/tensorboard").iterdir())
    kept = checkpoints.read(result.weights, "generator")
    assert kept.mel_alignment == "inference" and kept.videos == ("video0", "video1", "video2") and kept.step == 4
    assert checkpoints.load(result.best, "generator").width == 1 / 32


@pytest.mark.parametrize("frames, batch_size", [(5, 2), (1, 10)])
def test_training_overfits_one_toy_clip(tmp_path, frames, batch_size):
    settings = config.TrainConfig(
        start="scratch",
        sync_weight=0.0,
        width=1 / 16,
        steps=45,
        frames=frames,
        batch_size=batch_size,
        learning_rate=1e-2,
        precision="fp32",
        evaluate_every=45,
        save_every=45,
    )
    result = run(settings, tmp_path / "run", [toy_clip(0), toy_clip(1, 1, "val")])
    seen = result.history.query("phase == 'train'").l1
    assert seen[-5:].mean() < 0.5 * seen.iloc[0]


def test_contrastive_expert_learns_the_toy(tmp_path):
    settings = dataclasses.replace(
        EXPERT,
        expert_loss="contrastive",
        windows_per_clip=8,
        batch_size=16,
        steps=30,
        width=1 / 16,
        learning_rate=3e-3,
        evaluate_every=30,
        save_every=30,
    )
    result = run(settings, tmp_path / "run")
    seen = result.history.query("phase == 'train'").contrastive
    assert seen[-3:].mean() < seen[:3].mean() - 0.3


def test_other_settings_never_overwrite_a_run(tmp_path):
    run(dataclasses.replace(EXPERT, steps=2), tmp_path / "run")
    with pytest.raises(SettingError, match="learning_rate=0.0001, now 0.01.*another run name"):
        run(dataclasses.replace(EXPERT, learning_rate=0.01), tmp_path / "run")
    run(dataclasses.replace(EXPERT, learning_rate=0.01), tmp_path / "run", resume=False)
    assert (tmp_path / "run-before-1/checkpoints/expert_000000002.pt").is_file()


def test_a_run_that_began_with_other_weights_of_that_name_is_not_continued(tmp_path, generator_settings):
    first = checkpoints.export(tmp_path / "first.safetensors", checkpoints.KINDS["generator"](1 / 32))
    settings = dataclasses.replace(generator_settings, start=str(first))
    done = run(settings, tmp_path / "run")
    assert run(settings, tmp_path / "run").weights == done.weights
    checkpoints.export(first, checkpoints.KINDS["generator"](1 / 32))
    with pytest.raises(SettingError, match="first weights of main=.*resume=False"):
        run(settings, tmp_path / "run")


def test_a_longer_run_is_no_other_run():
    facts = {"settings": dataclasses.asdict(EXPERT), "windows": {}, "how": {"data": "x"}}
    longer = {**facts, "settings": {**facts["settings"], "steps": 99, "workers": 2}}
    assert differences(json.loads(json.dumps(facts)), longer) == []
    decays = {**facts, "settings": {**facts["settings"], "steps": 99, "decay": True}, "how": {"data": "y"}}
    found = differences(json.loads(json.dumps(facts)), decays)
    assert found == ["steps=4, now 99", "decay=False, now True", "data='x', now 'y'"]


def test_stop_button_saves_and_returns(tmp_path):
    script = (
        "import dataclasses, os, signal, sys, threading, time; from pathlib import Path\n"
        "from tests.test_training import EXPERT, run\n"
        "settings = dataclasses.replace(EXPERT, steps=100_000, evaluate_every=100_000, save_every=100_000)\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "def press():\n"
        "    while signal.getsignal(signal.SIGINT) is before: time.sleep(0.05)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        "result = run(settings, Path(sys.argv[1]))\n"
        "print(result.stopped, result.step, result.weights, sep='\\t')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stopped, step, path = done.stdout.splitlines()[-1].split("\t")
    assert stopped == "True" and 0 < int(step) < 100_000
    assert checkpoints.read(path, "expert").step == int(step)


def test_nan_stops_with_the_clips_and_a_second_try_does_not_repeat_the_first_row(tmp_path):
    clips = toy_clips()
    clips[1].mel[:] = np.nan
    for _ in range(2):
        with pytest.raises(DataError, match=r"is NaN.*clip1 @ \d+"):
            run(dataclasses.replace(EXPERT, batch_size=16), tmp_path / "run", clips)
    assert pd.read_csv(tmp_path / "run/history.csv").step.tolist() == [0]


def test_out_of_memory_says_what_to_change(tmp_path, monkeypatch):
    def hungry(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.steps, "expert_step", hungry)
    with pytest.raises(SettingError, match="out of memory with 4 windows at once: lower batch_size"):
        run(EXPERT, tmp_path / "run")


def test_bad_input_is_refused_before_any_work(tmp_path, expert_file, generator_settings):
    with pytest.raises(DataError, match="empty"):
        training.train(EXPERT, [], tmp_path / "a")
    with pytest.raises(SettingError, match="learning_rate must be positive"):
        dataclasses.replace(EXPERT, learning_rate=0.0)
    with pytest.raises(SettingError, match=r"batch of 500 windows is larger than the data, \d+ windows"):
        run(dataclasses.replace(EXPERT, batch_size=500), tmp_path / "b")
    with pytest.raises(CheckpointError, match="width"):
        run(dataclasses.replace(generator_settings, width=1 / 16), tmp_path / "c")
    with pytest.raises(CheckpointError, match="no weights 'nowhere.pt'"):
        run(dataclasses.replace(generator_settings, expert="nowhere.pt"), tmp_path / "d")
    with pytest.raises(SettingError, match="fp16 needs a GPU"):
        run(dataclasses.replace(EXPERT, precision="fp16"), tmp_path / "e")
    assert not list(tmp_path.rglob("*.pt"))


def test_preflight_refuses_videos_in_both_splits_and_a_judge_that_guesses(generator_settings):
    both = [toy_clip(0), toy_clip(1, 2, "val")]
    both[1] = dataclasses.replace(both[1], video_id="video0")
    report = training.look(EXPERT, both, WINDOWS)
    assert "both splits: video0" in report.problems[0]
    strict = dataclasses.replace(generator_settings, min_expert_accuracy=0.99)
    (problem,) = training.look(strict, toy_clips(4, 3.2), WINDOWS).problems
    assert "expert is right in" in problem and "teach nothing" in problem


def test_preflight_reports_windows_and_speed(generator_settings):
    report = training.look(generator_settings, toy_clips(), WINDOWS)
    assert report.problems == [] and report.s_per_step > 0
    words = str(report)
    assert "126 windows in 3 clips" in words and "42 windows in 1 clips" in words and "one step" in words


def seen(real, fake):
    return [{"phase": "train", "disc_real_seen": real, "disc_fake_seen": fake}] * 50


@pytest.mark.parametrize(
    "rows, words",
    [
        ([{"phase": "val", "sync": 0.70}] * 3, "sits at 0.69"),
        (seen(1.0, 0.99), "discriminator wins"),
        (seen(0.5, 0.5), "discriminator is blind"),
    ],
)
def test_early_warnings(rows, words):
    table, settings = pd.DataFrame(rows, columns=trainer.COLUMNS), config.TrainConfig()
    assert words in " ".join(trainer.warnings(table, settings, 0.03))
    assert trainer.warnings(table[:2], settings, 0.03) == []


def test_warns_when_the_sync_term_is_off():
    settings = config.TrainConfig(sync_schedule="reference")
    assert "weight 0" in trainer.warnings(pd.DataFrame(columns=trainer.COLUMNS), settings, 0.0)[0]


def test_reference_schedule_switches_on_after_an_evaluation_and_is_stored(tmp_path, generator_settings, monkeypatch):
    settings = dataclasses.replace(generator_settings, sync_schedule="reference", disc_weight=0.0)
    monkeypatch.setattr(losses, "sync_loss", lambda *a: torch.tensor(0.5, requires_grad=False))
    result = run(dataclasses.replace(settings, steps=2), tmp_path / "run")
    assert weights(result.weights)[2]["sync_is_on"] is True
    result = run(settings, tmp_path / "run")
    assert result.history.query("phase == 'train'").sync_weight.tolist() == [0.03] * 4


def test_expert_in_train_mode_drifts_and_its_state_is_saved(tmp_path, generator_settings, expert_file):
    frozen, drifting = (
        run(dataclasses.replace(generator_settings, expert_mode=mode), tmp_path / mode) for mode in ("eval", "train")
    )
    assert "expert" not in weights(frozen.weights)[2]["networks"]
    state = weights(drifting.weights)[2]["networks"]["expert"]
    before = checkpoints.read(expert_file, "expert").weights
    key = "face_encoder.0.conv_block.1.running_mean"
    assert not torch.allclose(state[key], before[key])


def test_learning_rate_warms_up_and_decays():
    settings = dataclasses.replace(EXPERT, steps=100, warmup_steps=10, decay=True)
    factors = [trainer.learning_rate_factor(settings, s) for s in (0, 9, 50, 99)]
    assert factors == pytest.approx([0.1 * 0.99999, 0.98, 0.5, 0.0], abs=0.02)


def test_judge_finds_the_shift_of_the_sound():
    class Ideal(torch.nn.Module):
        """Compares loudness with brightness of the mouth, both normalised over the window."""

        weight = torch.nn.Parameter(torch.zeros(1))

        def parameters(self, recurse=True):
            return iter([self.weight])

        def embed_face(self, faces):
            return self.pattern(faces.unflatten(1, (5, 3)).mean((2, 3, 4)))

        def embed_audio(self, mel):
            return self.pattern((mel[:, 0].clamp(min=-3.5) + 4).mean(1)[:, [1, 4, 7, 11, 14]])

        def pattern(self, x):
            return torch.nn.functional.normalize(x - x.mean(1, keepdim=True), dim=1)

    for shift in (0, 3, -4):
        clip = toy_clip(0, 4.0, shift=shift)
        assert training.judge_clip(Ideal(), clip).offset == -shift  # late sound: negative


def test_gains_pair_the_clips_of_two_models():
    rows = [
        (model, clip, video, x, x, x, x)
        for model, shift in (("base", 0), ("tuned", 1))
        for clip, video, x in (("a", "v1", 1.0 + shift), ("b", "v2", 3.0 + shift), ("c", "v2", 8.0 + shift))
    ]
    scores = pd.DataFrame(rows, columns=["model", "clip_id", "video_id", *checks.MEASURES])
    found = training.gains(scores, "tuned", "base")
    assert found["mean"].tolist() == [1.0] * 4 and found.videos.tolist() == [2] * 4
