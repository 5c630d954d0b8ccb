"""How fast stage 08 is, how exact, how much memory it takes, and whether the chosen mouth follows the speech.

Speed is measured as a ratio within one run, best of several rounds that alternate, so that a busy machine matters less.
"""
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from golden import filler

from lipsync_utils import checkpoints, metrics
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import find_faces
from lipsync_utils.inference import lip_sync, make_engine, people_in
from lipsync_utils.media import VideoWriter, frames
from lipsync_utils.models import Wav2Lip
from lipsync_utils.picker.sample import make_material

BATCH, ROUNDS = 16, 5


@pytest.fixture(scope="module")
def network():
    return filler.load_into(Wav2Lip(1.0), tame=True).eval()


def bench_engines_at_full_width(network, record_property):
    """Eager float32 against OpenVINO's float32 and bfloat16: time a frame, and the error on golden-filled weights."""
    rng = np.random.default_rng(1234)
    mels = rng.uniform(-4, 4, (BATCH, 80, 16)).astype(np.float32)
    images = rng.integers(0, 256, (BATCH, 96, 96, 3), np.uint8)
    engines = {"eager": make_engine(network, engine="torch", precision="float32")}
    for precision in ("float32", "bfloat16"):
        engines[precision] = make_engine(network, engine="openvino", precision=precision)
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
        result = lip_sync(material.video, {people_in(table)[1].track_id: material.speech[1]}, tmp_path / "out.mp4",
                          generator=network, cache_dir=tmp_path / "cache")
    assert result.faces_from_cache
    for name, seconds in result.seconds.items():
        record_property(f"{name}_s", seconds)
    record_property("frames", result.n_frames)
    record_property("engine", result.engine)
    steps = {k: v for k, v in result.seconds.items() if k != "total"}
    record_property("largest", max(steps, key=steps.get))


CHILD = """
import resource, sys
from lipsync_utils.faces import FaceBox, FaceTable
from lipsync_utils.inference import lip_sync
from lipsync_utils.models import Wav2Lip
media, speech, output = sys.argv[1:]
table = FaceTable.from_boxes([FaceBox(200, 120, 360, 330)] * 50, (640, 480))
lip_sync(media, speech, output, generator=Wav2Lip(0.25), faces=table, on_progress=lambda *_: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def bench_memory_does_not_grow_with_length(record_property, tmp_path):
    """Peak memory of a process that makes 10 s, and of one that makes 100 s."""
    from mouths import video, wav

    video(tmp_path / "v.mp4", 50, size=(640, 480))
    peaks = {}
    for seconds in (10, 100):
        wav(tmp_path / f"{seconds}.wav", seconds)
        done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "v.mp4"), str(tmp_path / f"{seconds}.wav"),
                               str(tmp_path / "o.mp4")], capture_output=True, text=True, check=True)
        peaks[seconds] = float(done.stdout.split()[-1])
        record_property(f"peak_mb_{seconds}_s", peaks[seconds])
    record_property("growth_mb", peaks[100] - peaks[10])
    assert peaks[100] - peaks[10] < 50


def openings(path, table, track, n_frames):
    """Mouth opening of a track in every frame."""
    points = metrics.landmark_track((f.image_bgr for f in frames(path)), table.track_boxes(track)[:n_frames])
    return metrics.mouth_opening(points)[:n_frames]


def bench_the_chosen_mouth_follows_and_no_other(record_property, tmp_path):
    """Everybody of the sample's group in turn: r with the true rendering, the others against a second encoding."""
    material = make_material(tmp_path / "m")
    generator = checkpoints.load(checkpoints.embedded("generator"), "generator")
    table = find_faces(material.video)
    people, still = people_in(table), InferenceConfig(label="none")
    again = tmp_path / "again.mp4"
    with VideoWriter(again, size=table.size) as writer:
        for frame in frames(material.video):
            writer.write(frame.image_bgr)
    for place, person in enumerate(people):
        result = lip_sync(material.video, {person.track_id: material.speech[place]}, tmp_path / "o.mp4",
                          generator=generator, faces=table, settings=still)
        n = min(result.n_frames, table.n_frames)
        true_table = find_faces(material.true[place])
        true = openings(material.true[place], true_table, people_in(true_table)[place].track_id, n)
        ours = openings(result.output, table, person.track_id, n)
        record_property(f"person_{place + 1}_follows_r", metrics.correlation(ours, true))
        record_property(f"person_{place + 1}_range_share_of_true", float(np.ptp(ours) / np.ptp(true)))
        for other in people:
            if other is not person:
                source = openings(material.video, table, other.track_id, n)
                noise = np.abs(openings(again, table, other.track_id, n) - source).mean()
                change = np.abs(openings(result.output, table, other.track_id, n) - source).mean()
                record_property(f"person_{place + 1}_speaks_{other.number}_moves", float(change))
                record_property(f"person_{place + 1}_speaks_{other.number}_noise", float(noise))
                assert change <= 1.5 * noise + 0.005


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def bench_engine_on_a_gpu(network, record_property):
    """Half precision on the GPU against float32 there."""
    rng = np.random.default_rng(1234)
    mels = rng.uniform(-4, 4, (128, 80, 16)).astype(np.float32)
    images = rng.integers(0, 256, (128, 96, 96, 3), np.uint8)
    for precision in ("float32", "auto"):
        engine = make_engine(network, device="cuda", precision=precision, batch_size=128)
        engine.draw(mels, images)
        start = time.perf_counter()
        engine.draw(mels, images)
        record_property(f"{engine.precision}_ms_per_frame", (time.perf_counter() - start) / 128 * 1000)
