"""project: atomic writing, locks, names."""

import multiprocessing
import threading
import time

import pytest

from lipsync_utils import project
from lipsync_utils.errors import DiskFullError, SettingError


def test_an_atomic_file_appears_complete_or_not_at_all(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), project.atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with project.atomic_file(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".csv"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


def test_an_atomic_folder_replaces_the_old_one(tmp_path):
    for content in ("one", "two"):
        with project.atomic_folder(tmp_path / "clip") as temporary:
            (temporary / f"{content}.txt").write_text(content)
    assert [p.name for p in (tmp_path / "clip").iterdir()] == ["two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["clip"]


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(DiskFullError, match="disk is full"), project.atomic_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_leftovers_go_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / ".part-1.mp4", tmp_path / "deep" / ".part-2.jpg", tmp_path / "deep" / "kept.jpg"):
        path.write_text("x")
    project.remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["kept.jpg"]


@pytest.mark.parametrize(
    "title",
    ["a/b\\c", "../../etc/passwd", "-rf", "\"quoted\" 'title'", "smile 😀", "con", ".hidden", "", "ij\u0133sje"],
)
def test_safe_names_are_safe(title):
    name = project.safe_name(title)
    assert name and name[0] not in ".-_" and not set(name) & set("/\\\"' :*?<>|")
    assert name.isascii() and name.lower() != "con"


def test_content_hash_is_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert project.content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def hold(folder, started, seconds=60):
    with project.lock(folder):
        started.set()
        time.sleep(seconds)


def test_a_second_run_says_that_it_waits_and_a_killed_one_holds_nothing(tmp_path, caplog):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=hold, args=(tmp_path, started))
    process.start()
    try:
        assert started.wait(30)
        waiting = threading.Thread(target=hold, args=(tmp_path, held := threading.Event(), 0))
        waiting.start()
        assert not held.wait(0.3) and "another process is busy" in caplog.text
    finally:
        process.kill()
        process.join()
    assert held.wait(5)
    waiting.join()


def test_names_that_are_no_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path))
    with pytest.raises(SettingError, match="letters"):
        project.data_set("../up")
    assert project.data_set("mine").path("clips.csv") == tmp_path / "data" / "mine" / "clips.csv"
