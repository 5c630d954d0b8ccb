"""Stages 03 and 04 lose nothing: killed, run twice at once, given rubbish, on a full disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from face_data import contents, copy

from lipsync_utils import faces, media, preprocess, project, speaker
from lipsync_utils.errors import DiskFullError
from lipsync_utils.project import DataSet
from lipsync_utils.records import Clip, FaceClip, Reason, SpeakerCheck, read_rows, write_csv

BOTH = """
import sys
from pathlib import Path
from lipsync_utils import preprocess, speaker
from lipsync_utils.project import DataSet
if __name__ == "__main__":
    data = DataSet("show", Path(sys.argv[1]))
    print("ready", flush=True)
    speaker.filter_speaker(data, [data.root / "references" / "host.png"], scheduler=sys.argv[2], workers=2)
    preprocess.preprocess_clips(data, scheduler=sys.argv[2], workers=2)
"""


def run_both(data: DataSet) -> None:
    speaker.filter_speaker(data, [data.root / "references" / "host.png"], scheduler="inline")
    preprocess.preprocess_clips(data, scheduler="inline")


@pytest.fixture(scope="module")
def show(show_clips, tmp_path_factory):
    """(data before stage 03, contents after both stages undisturbed, how long they took)"""
    data = DataSet("show", show_clips / "before")
    finished = copy(data, tmp_path_factory.mktemp("nothing_lost") / "after")
    start = time.perf_counter()
    run_both(finished)
    return data, contents(finished.root), time.perf_counter() - start


def start(script: Path, data: DataSet, scheduler: str) -> subprocess.Popen:
    script.write_text(BOTH)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(data.root), scheduler],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout.readline().strip() == b"ready"
    return process


@pytest.fixture
def found(show_clips, tmp_path):
    """The data before stage 03, but with its faces in the cache: where the search itself is not disturbed."""
    data = copy(DataSet("show", show_clips / "before"), tmp_path / "data")
    shutil.copytree(show_clips / "filtered" / "cache", data.cache)
    return data


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX systems")
@pytest.mark.parametrize(
    "scheduler, seed",
    [("inline", 1), *(pytest.param(*one, marks=pytest.mark.nightly) for one in (("inline", 2), ("processes", 3)))],
)
def test_killed_and_run_again_ends_the_same(show, tmp_path, scheduler, seed):
    before, wanted, took_s = show
    data, rng = copy(before, tmp_path / "data"), random.Random(seed)
    for _ in range(1 if seed == 1 else 2):
        process = start(tmp_path / "both.py", data, scheduler)
        time.sleep(rng.uniform(0.1, 0.9) * took_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert all((data.root / c.file).exists() for c in read_rows(data.path("clips.csv"), Clip))
    run_both(data)
    assert contents(data.root) == wanted
    assert not list(data.faces.rglob(f"{project.TEMPORARY}*"))


@pytest.mark.slow
def test_two_runs_at_once_do_not_disturb_each_other(show, tmp_path):
    before, wanted, _ = show
    data = copy(before, tmp_path / "data")
    runs = [start(tmp_path / "both.py", data, "inline") for _ in range(2)]
    assert [run.wait(timeout=500) for run in runs] == [0, 0]
    assert contents(data.root) == wanted


def test_bad_clips_are_rows_and_the_others_go_on(show, found):
    _, wanted, _ = show
    data = found
    good = data.clips / "talk" / "host_0.mp4"
    bad = data.clips / "bad"
    bad.mkdir()
    (bad / "empty.mp4").write_bytes(b"")
    (bad / "truncated.mp4").write_bytes(good.read_bytes()[:3000])
    (bad / "text.mp4").write_text("this is not a video")
    (bad / "folder.mp4").mkdir()
    media.ffmpeg(["-v", "error", "-i", str(good), "-an", "-c", "copy", str(bad / "silent.mp4")])
    media.ffmpeg(["-v", "error", "-i", str(good), "-vn", str(bad / "sound_only.mp4")])
    media.ffmpeg(["-v", "error", "-i", str(good), "-t", "0.04", str(bad / "one_frame.mp4")])
    odd = bad / "-a 'b' \"c\" ü 🙂.mp4"
    odd.write_bytes(good.read_bytes())
    names = [*sorted(p.name for p in bad.iterdir()), "missing.mp4"]
    ids = {name: f"bad_{k}" for k, name in enumerate(names)}
    rows = [Clip(ids[n], "bad", 0.0, 1.0, 0.0, 1.0, f"clips/bad/{n}", 25, None, None, None) for n in names]
    write_csv(data.path("clips.csv"), [*read_rows(data.path("clips.csv"), Clip), *rows], Clip)
    run_both(data)
    checks = {c.clip_id: c for c in read_rows(data.path("speaker.csv"), SpeakerCheck)}
    for name in ("empty.mp4", "truncated.mp4", "text.mp4", "folder.mp4", "sound_only.mp4", "missing.mp4"):
        check = checks[ids[name]]
        assert not check.kept and check.reason in (Reason.UNREADABLE, Reason.FAILED) and check.note, name
    faces_rows = {r.clip_id: r for r in read_rows(data.path("faces.csv"), FaceClip)}
    assert faces_rows[ids["silent.mp4"]].reason is Reason.UNREADABLE
    assert faces_rows[ids[odd.name]].faces == 30
    assert faces_rows[ids["one_frame.mp4"]].faces == 1
    for name, digest in contents(data.root).items():
        if name.startswith(("clips/talk", "clips/group", "faces/talk", "faces/group")):
            assert wanted[name] == digest


def test_full_disk_stops_clearly_and_resumes(show, found, monkeypatch):
    _, wanted, _ = show
    data = found
    real, left = project.sync, [12]

    def sync(path):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(project, "sync", sync)
        with pytest.raises(DiskFullError, match="full"):
            run_both(data)
    run_both(data)
    assert contents(data.root) == wanted


def test_half_written_cache_cannot_be_seen(show, tmp_path, monkeypatch):
    video = show[0].clips / "talk" / "host_0.mp4"
    monkeypatch.setattr(project.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        faces.find_faces(video, cache_dir=tmp_path / "cache")
    monkeypatch.undo()
    assert not list((tmp_path / "cache").glob("*.csv"))
    assert not faces.find_faces(video, cache_dir=tmp_path / "cache").from_cache
