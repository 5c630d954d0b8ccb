"""How fast stage 08 is, how exact, how much memory it takes, and whether the chosen mouth follows the speech.

Speed is measured as a ratio within one run, best of several rounds that alternate, so that a busy machine matters less.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import filler
from rendered import around_mouth, crowd, difference, encoded, follow, landmarks_of, pictures_of

from lipsync_utils import checkpoints
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import find_faces
from lipsync_utils.inference import lip_sync, make_engine, people_in
from lipsync_utils.models import Wav2Lip
from lipsync_utils.talkshow import make_material

BATCH, ROUNDS = 16, 5


@pytest.fixture(scope="module")
def network():
    return filler.load_into(Wav2Lip(1.0), tame=True).eval()


def bench_engines_at_full_width(network, record_property):
    """Eager float32 against OpenVINO's float32 and bfloat16: time a frame, and the error on golden-filled weights."""
    rng = np.random.default_rng(1234)
    mels = rng.uniform(-4, 4, (BATCH, 80, 16)).astype(np.float32)
    images = rng.integers(0, 256, (BATCH, 96, 96, 3), np.uint8)
    engines = {"eager": make_engine(network, InferenceConfig(engine="torch", precision="float32"))}
    for precision in ("float32", "bfloat16"):
        engines[precision] = make_engine(network, InferenceConfig(engine="openvino", precision=precision))
    drawn = {name: engine.draw(mels, images) for name, engine in engines.items()}
    best = dict.fromkeys(engines, np.inf)
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.draw(mels, images)
            best[name] = min(best[name], (time.perf_counter() - start) / BATCH * 1000)
    for name, ms in best.items():
        record_property(f"{name}_ms_per_frame", ms)
    for name in ("float32", "bfloat16"):
        error = np.abs(drawn[name] - drawn["eager"])
        record_property(f"{name}_times_faster", best["eager"] / best[name])
        record_property(f"{name}_largest_error", float(error.max()))
        record_property(f"{name}_mean_error_of_255", float(error.mean() * 255))
    assert np.abs(drawn["float32"] - drawn["eager"]).max() <= 1e-4
    assert np.abs(drawn["bfloat16"] - drawn["eager"]).mean() <= 1 / 255


def bench_where_a_second_call_spends_its_time(network, record_property, tmp_path):
    """The whole call at full width on the sample's group video, the second time."""
    material = make_material(tmp_path / "material")
    for _ in range(2):
        table = find_faces(material.video, None, tmp_path / "cache")
        result = lip_sync(
            material.video,
            {people_in(table)[1].track_id: material.speech[1]},
            tmp_path / "out.mp4",
            generator=network,
            cache_dir=tmp_path / "cache",
        )
    assert result.faces_from_cache
    for name, seconds in result.seconds.items():
        record_property(f"{name}_s", seconds)
    record_property("frames", result.n_frames)
    record_property("engine", result.engine)
    steps = {k: v for k, v in result.seconds.items() if k != "total"}
    record_property("largest", max(steps, key=steps.get))


CHILD = """
import sys
from lipsync_utils.faces import FaceBox, FaceTable
from lipsync_utils.inference import lip_sync
from lipsync_utils.models import Wav2Lip
media, speech, output = sys.argv[1:]
table = FaceTable.from_boxes([FaceBox(200, 120, 360, 330)] * 50, (640, 480))
lip_sync(media, speech, output, generator=Wav2Lip(0.25), faces=table, on_progress=lambda *_: None)
status = open("/proc/self/status").read()  # ru_maxrss would begin with the peak of the process that started this one
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def bench_memory_does_not_grow_with_length(record_property, tmp_path):
    """Peak memory of a process that makes 10 s, and of one that makes 100 s."""
    from mouths import video, wav

    video(tmp_path / "v.mp4", 50, size=(640, 480))
    peaks = {}
    for seconds in (10, 100):
        wav(tmp_path / f"{seconds}.wav", seconds)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                CHILD,
                str(tmp_path / "v.mp4"),
                str(tmp_path / f"{seconds}.wav"),
                str(tmp_path / "o.mp4"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[seconds] = float(done.stdout.split()[-1])
        record_property(f"peak_mb_{seconds}_s", peaks[seconds])
    record_property("growth_mb", peaks[100] - peaks[10])
    assert peaks[100] - peaks[10] < 50


@pytest.mark.parametrize("name", ["picture", "video", "overlapping"])
def bench_the_chosen_mouth_follows_and_no_other(name, record_property, tmp_path):
    """Everybody in turn: what the meter reads on ours as a share of the true rendering's; the others' mouths."""
    material = crowd(tmp_path) if name == "overlapping" else make_material(tmp_path / "m")
    media = material.picture if name == "picture" else material.video
    generator = checkpoints.load(checkpoints.embedded("generator"), "generator")
    table = find_faces(media)
    people = people_in(table)
    for place, person in enumerate(people):
        result = lip_sync(
            media,
            {person.track_id: material.speech[place]},
            tmp_path / "o.mp4",
            generator=generator,
            faces=table,
            settings=InferenceConfig(label="none"),
            on_progress=lambda *_: None,
        )
        film, source = (pictures_of(path, result.n_frames) for path in (result.output, media))
        copy, key = encoded(source, tmp_path / "copy.mp4"), f"person_{person.number}"
        followed = follow(film, table, person.track_id, material.true[place], place)
        for what, value in (
            ("r", followed.r),
            ("r_of_true", followed.true_r),
            ("share", followed.share),
            ("range_share", followed.size),
        ):
            record_property(f"{key}_{what}", value)
        for other in (p for p in people if p is not person):
            mouth = around_mouth(landmarks_of(source, table, other.track_id))
            noise = difference(copy, source, mouth)
            record_property(f"{key}_speaks_{other.number}_changes_levels", difference(film, source, mouth))
            record_property(f"{key}_speaks_{other.number}_noise_levels", noise)
            assert difference(film, source, mouth) <= 1.1 * noise


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def bench_engine_on_a_gpu(network, record_property):
    """Half precision on the GPU against float32 there."""
    rng = np.random.default_rng(1234)
    mels = rng.uniform(-4, 4, (128, 80, 16)).astype(np.float32)
    images = rng.integers(0, 256, (128, 96, 96, 3), np.uint8)
    for precision in ("float32", "auto"):
        engine = make_engine(network, InferenceConfig(device="cuda", precision=precision, batch_size=128))
        engine.draw(mels, images)
        start = time.perf_counter()
        engine.draw(mels, images)
        record_property(f"{engine.name}: ms per frame", (time.perf_counter() - start) / 128 * 1000)
