"""Two processes that share every batch must equal one process with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lipsync_utils import config, training
from tests.toys import toy_clips
settings = config.TrainConfig(start="scratch", width=1 / 32, steps=2, batch_size=int(sys.argv[2]), sync_weight=0.0,
    precision="fp32", evaluate_every=2, save_every=2, freeze_norm=True)
training.train(settings, toy_clips(), Path(sys.argv[1]), windows=config.WindowsConfig(val_windows=6), live=False)
"""


def launch(folder, batch_size, processes):
    script = folder / "script.py"
    folder.mkdir()
    script.write_text(SCRIPT)
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    if processes == 1:
        command = [sys.executable]
    environment = {
        **os.environ,
        "PYTHONPATH": root,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    done = subprocess.run(
        [*command, str(script), str(folder / "run"), str(batch_size)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((folder / "run" / "settings.json").read_text())["how"]["processes"] == processes
    return torch.load(folder / "run" / "checkpoints" / "generator_000000002.pt", weights_only=True)


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    """Gradients are compared by Adam's first moment: the weights themselves move as far for a rounding error."""
    one, two = launch(tmp_path / "one", 4, 1), launch(tmp_path / "two", 2, 2)
    gradients = [torch.cat([s["exp_avg"].flatten() for s in run["optimizer"]["state"].values()]) for run in (one, two)]
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[0].norm()
    for name, value in one["state_dict"].items():
        assert torch.allclose(value.float(), two["state_dict"][name].float(), atol=5e-4), name
    history = [
        (tmp_path / which / "run" / "history.csv").read_text().splitlines()[-1].split(",")[2]
        for which in ("one", "two")
    ]
    assert float(history[0]) == pytest.approx(float(history[1]), abs=1e-3)
