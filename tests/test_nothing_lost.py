"""Stages that are killed, run out of disk or run twice at once end with the files and tables of an undisturbed run."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lipsync_utils import collect, media, silence
from lipsync_utils.errors import DiskFullError
from lipsync_utils.project import TEMPORARY, data_set
from lipsync_utils.records import Source, write_csv

STAGE = """
import sys
from pathlib import Path
from lipsync_utils import collect, silence
from lipsync_utils.project import data_set

data = data_set("test", Path(sys.argv[2]))
if sys.argv[1] == "collect":
    collect.collect_videos(data, workers=1)
else:
    silence.split_videos(data, workers=1)
"""


def talking(path, seed):
    """Four seconds of a moving picture with two spoken parts."""
    rng = np.random.default_rng(seed)
    wav = (rng.standard_normal(4 * 16000) * 0.1).astype(np.float32)
    wav[:8000] = wav[26000:36000] = wav[60000:] = 0
    with media.VideoWriter(path, size=(320, 240), sound=wav) as writer:
        for k in range(100):
            picture = np.full((240, 320, 3), 2 * k, np.uint8)
            picture[60:180, 80:240] = rng.integers(0, 255, (120, 160, 3))
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with source files, and what the stages make of them when nobody disturbs them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sources = folder / "sources"
    sources.mkdir()
    for k in range(3):
        talking(sources / f"v{k}.mp4", k)
    new_data(folder / "data", sources)
    for stage in ("collect", "split"):
        run(stage, folder / "data")
    return folder


def new_data(folder, sources):
    """An empty data set that lists the sources."""
    rows = [Source(p.stem, str(p), p.stem, "nl", "host", "MIT", "given") for p in sorted(sources.iterdir())]
    write_csv(data_set("test", folder).path("videos.csv"), rows, Source)


def start(stage, folder):
    """A stage in a process of its own, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, stage, str(folder)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def run(stage, folder):
    """A stage to its end, in this process."""
    stages = {"collect": collect.collect_videos, "split": silence.split_videos}
    stages[stage](data_set("test", folder), workers=1)


def contents(folder):
    """Every file that counts, by its hash: tables, videos and clips, not the journal."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and ".journal" not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def kill_and_rerun(stage, folder, seconds, rng, began_file, kills):
    """Kill the stage at random moments after it began to write, then let it finish."""
    for _ in range(kills):
        process = start(stage, folder)
        deadline = time.monotonic() + 60
        while not began_file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    run(stage, folder)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="SIGKILL is not on this system")
@pytest.mark.parametrize("kills, seed", [(1, 0), *(pytest.param(3, s, marks=pytest.mark.nightly) for s in (1, 2, 3))])
def test_killed_stages_end_like_undisturbed_ones(tmp_path, undisturbed, kills, seed):
    rng = random.Random(seed)
    data = tmp_path / "data"
    new_data(data, undisturbed / "sources")
    kill_and_rerun("collect", data, 0.15, rng, data / "raw", kills)
    kill_and_rerun("split", data, 1.0, rng, data / "clips", kills)
    assert contents(data) == contents(undisturbed / "data")
    assert not list(data.rglob(f"{TEMPORARY}*")), "nothing half-written is left"


@pytest.mark.slow
@pytest.mark.nightly  # stages 03 and 04 are run twice at once on a push
def test_two_runs_at_once_break_nothing(tmp_path, undisturbed):
    data = tmp_path / "data"
    new_data(data, undisturbed / "sources")
    for stage in ("collect", "split"):
        processes = [start(stage, data) for _ in range(2)]
        words = [p.communicate(timeout=120)[1].decode() for p in processes]
        assert [p.returncode for p in processes] == [0, 0], words
    assert contents(data) == contents(undisturbed / "data")


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """A tmpfs of this size in `folder`; skips where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip("cannot mount a small disk here: not root, or not Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
def test_a_full_disk_stops_clearly_and_resumes(tmp_path, undisturbed):
    clips_mb = sum(p.stat().st_size for p in (undisturbed / "data" / "clips").rglob("*.mp4")) / 1e6
    raw_mb = sum(p.stat().st_size for p in (undisturbed / "data" / "raw").rglob("*.mp4")) / 1e6
    with small_disk(tmp_path / "disk", int(raw_mb + 0.6 * clips_mb) + 1) as disk:
        data = data_set("test", disk / "data")
        new_data(disk / "data", undisturbed / "sources")
        run("collect", disk / "data")
        with pytest.raises(DiskFullError, match="disk is full"):
            silence.split_videos(data, workers=1)
        assert not list(disk.rglob("*.csv.*")) and not (data.path("clips.csv")).exists()
        subprocess.run(["mount", "-o", f"remount,size={int(raw_mb + 3 * clips_mb) + 4}m", str(disk)], check=True)
        silence.split_videos(data, workers=1)
        assert contents(disk / "data") == contents(undisturbed / "data")


def test_a_full_disk_is_clear_where_none_can_be_mounted(tmp_path, undisturbed, monkeypatch):
    data = data_set("test", tmp_path / "data")
    new_data(data.root, undisturbed / "sources")
    run("collect", data.root)
    real, written = media.VideoWriter.write_frame, []

    def full(self, frame):
        written.append(frame)
        if len(written) > 60:
            raise OSError(28, "No space left on device")
        real(self, frame)

    with monkeypatch.context() as patch:
        patch.setattr(media.VideoWriter, "write_frame", full)
        with pytest.raises(DiskFullError, match="disk is full"):
            silence.split_videos(data, workers=1)
    silence.split_videos(data, workers=1)
    assert contents(data.root) == contents(undisturbed / "data")
