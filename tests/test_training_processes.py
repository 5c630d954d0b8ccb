"""Two processes that share every batch must equal one process with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toys import toy_clips

from lipsync_utils import config, training

ROOT = Path(__file__).parents[1]


def train(folder, batch_size):
    """Train for two steps."""
    settings = config.TrainConfig(
        start="scratch",
        width=1 / 32,
        steps=2,
        batch_size=int(batch_size),
        sync_weight=0.0,
        precision="fp32",
        evaluate_every=2,
        save_every=2,
        freeze_norm=True,
    )
    training.train(settings, toy_clips(), Path(folder), windows=config.WindowsConfig(val_windows=6), live=False)


def result(folder, processes):
    """(last checkpoint, loss) of a run by so many processes."""
    assert json.loads((folder / "settings.json").read_text())["how"]["processes"] == processes
    loss = float((folder / "history.csv").read_text().splitlines()[-1].split(",")[2])
    return torch.load(folder / "checkpoints" / "generator_000000002.pt", weights_only=True), loss


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    """Gradients are compared by Adam's first moment: the weights themselves move as far for a rounding error."""
    train(tmp_path / "one", 4)
    script = tmp_path / "script.py"
    script.write_text("import sys; from test_training_processes import train; train(*sys.argv[1:])")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "two"), "2"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (one, loss), (two, its_loss) = result(tmp_path / "one", 1), result(tmp_path / "two", 2)
    gradients = [torch.cat([s["exp_avg"].flatten() for s in run["optimizer"]["state"].values()]) for run in (one, two)]
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[0].norm()
    for name, value in one["state_dict"].items():
        assert torch.allclose(value.float(), two["state_dict"][name].float(), atol=5e-4), name
    assert loss == pytest.approx(its_loss, abs=1e-3)
