"""Speed of training, as ratios within one run: our step against a plain fp32 loop, loading, time to the first step."""

import os
import statistics
import subprocess
import sys
import time

import pytest
import torch

from lipsync_utils import checkpoints, config, models, training, windows
from lipsync_utils.training import pretrain
from lipsync_utils.training.steps import generator_batch
from lipsync_utils.training.trainer import Trainer
from tests.toys import toy_clips

REPEATS = 5


def seconds(work, repeats=REPEATS):
    """Median time of work() after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        tick = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - tick)
    return statistics.median(times[1:]), times[0]


def items_of(batch_size):
    settings = config.WindowsConfig()
    index = windows.index_windows(toy_clips(), settings, "train")
    data = windows.Windows(index, settings)
    return data, torch.utils.data.default_collate([data[k] for k in range(batch_size)])


def plain_step(width, batch, device):
    """The same step as written by hand: fp32, eager, no accelerator."""
    torch.manual_seed(0)
    generator, expert = models.Wav2Lip(width).to(device), models.freeze(models.SyncNet(width)).to(device)
    optimizer = torch.optim.Adam(generator.parameters(), 1e-4)

    def work():
        optimizer.zero_grad()
        drawn = generator(batch.mels, batch.faces)
        audio, face = expert(batch.sync_mel, models.stack_lower_halves(drawn))
        cosine = torch.nn.functional.cosine_similarity(audio, face).clamp(0, 1)
        sync = torch.nn.functional.binary_cross_entropy(cosine, torch.ones_like(cosine))
        (0.03 * sync + 0.97 * (drawn - batch.truth).abs().mean()).backward()
        optimizer.step()

    return work


def our_step(items, settings):
    trainer = Trainer(settings, toy_clips())
    return lambda: trainer.one_step(items)


def bench_step_against_plain_fp32(record_property):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    width, size = (1.0, 16) if device == "cuda" else (0.25, 8)
    _, items = items_of(size)
    plain, _ = seconds(plain_step(width, generator_batch(items, device), device))
    record_property("plain fp32 eager step, s", plain)
    for name, settings in {
        "fp32": {"precision": "fp32"},
        "auto": {},
        "auto with discriminator": {"disc_weight": 0.07},
    }.items():
        settings = config.TrainConfig(start="scratch", width=width, batch_size=size, **settings)
        each, first = seconds(our_step(items, settings))
        record_property(f"our step {name}, s", each)
        record_property(f"our step {name}, times as fast as plain", plain / each)
        record_property(f"first step {name}, s", first)
        if width == 1.0:
            record_property(f"{name}: 60000 steps of the article, h", each * 60_000 / 3600)


def bench_loading(record_property):
    data, _ = items_of(4)
    keys = [(k % len(data), 0) for k in range(200)]
    each, _ = seconds(lambda: torch.utils.data.default_collate([data[k] for k in keys]), 3)
    record_property("items/s of one worker", 200 / each)
    record_property("times what a T4 takes at 40 items/s", 200 / each / 40)


def bench_time_to_first_step(record_property, tmp_path):
    settings = config.TrainConfig(start="scratch", expert="embedded", steps=1, evaluate_every=1, save_every=1)
    tick = time.perf_counter()
    try:
        training.train(
            settings,
            toy_clips(),
            tmp_path / "run",
            windows=config.WindowsConfig(val_windows=8),
            live=False,
        )
    except Exception as error:  # no embedded weights yet
        pytest.skip(str(error))
    record_property("one-step run with evaluation and saving, s", time.perf_counter() - tick)


TWENTY_STEPS = """
import time, torch
from tests.benchmarks.bench_training import config, generator_batch, items_of, plain_step
work = plain_step(0.25, generator_batch(items_of(4)[1]), "cpu")
work()
tick = time.perf_counter()
for _ in range(20):
    work()
print((time.perf_counter() - tick) / 20)
"""


def bench_beside_another_program(record_property):
    """A training step whose threads wait awake or asleep, on a quiet machine and beside a busy program."""
    for policy in ("ACTIVE", "PASSIVE"):
        for busy in (0, 1):
            others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
            try:
                done = subprocess.run(
                    [sys.executable, "-c", TWENTY_STEPS],
                    env={**os.environ, "OMP_WAIT_POLICY": policy, "PYTHONPATH": os.pathsep.join(sys.path)},
                    capture_output=True,
                    text=True,
                    check=True,
                )
            finally:
                for other in others:
                    other.kill()
            record_property(f"s a step, waiting {policy.lower()}, {busy} busy programs", float(done.stdout))


def bench_expert_losses(record_property, tmp_path):
    """Binary cross-entropy on the cosine against the contrastive loss: as many windows, then people never seen."""
    recipe = pretrain.Pretraining(tmp_path, pretrain.Size(12, 0, 0, 0, test_actors=4, seconds=14.0))
    recipe.render()
    test = [c.faces for c in recipe.actors("test")]
    clips = [c.faces for c in recipe.actors("train")] + test
    gentle = config.override(pretrain.EXPERT, expert_loss="bce", windows_per_clip=1, augment=False, learning_rate=3e-4)
    for settings in (gentle, pretrain.EXPERT):  # with the contrastive loss's rate and variety bce learnt nothing at all
        loss, settings = settings.expert_loss, config.override(settings, steps=600, evaluate_every=600, save_every=600)
        done = training.train(settings, clips, tmp_path / loss, windows=pretrain.WINDOWS, live=False)
        found = training.judge(checkpoints.load(done.weights, "expert"), test)
        record_property(f"{loss}: two-way accuracy after {settings.steps} steps, %", 100 * found.accuracy)
        record_property(f"{loss}: offset exact, % of clips", 100 * found.exact)
        record_property(f"{loss}: s a step", done.s_per_step)
