"""parallel: one function over many items, resumable."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lipsync_utils import parallel
from lipsync_utils.errors import DiskFullError, MediaError, SettingError
from lipsync_utils.parallel import Done, Failure, Item
from lipsync_utils.records import Reason


@dataclass(frozen=True)
class Row:
    name: str
    length: int | None = None
    note: str | None = None
    reason: Reason | None = None


def square(x: int) -> int:
    if x == 3:
        raise MediaError("three is broken")
    if x == 4:
        raise ZeroDivisionError("a bug")
    return x * x


def copy_upper(item: Item) -> Done:
    source, target = item.inputs[0], Path(item.arguments["target"])
    with Path(item.arguments["calls"]).open("a") as calls:
        calls.write(item.id + "\n")
    text = source.read_text()
    if "bad" in text:
        raise MediaError("bad text")
    if "full" in text:
        raise DiskFullError("no space")
    target.write_text(text.upper())
    return Done([Row(item.id, len(text), None)], [target])


def stage(tmp_path: Path, **extra) -> list[Row]:
    items = [
        Item(p.stem, (p,), {"target": str(tmp_path / "out" / p.name), "calls": str(tmp_path / "calls")}, Row(p.stem))
        for p in sorted((tmp_path / "in").glob("*.txt"))
    ]
    (tmp_path / "out").mkdir(exist_ok=True)
    return parallel.run_stage(
        "copy",
        items,
        copy_upper,
        row_type=Row,
        journal=tmp_path / "journal",
        output=tmp_path / "out",
        **{"settings": {}, "version": 1, "scheduler": "inline", **extra},
    )


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "in").mkdir()
    for name, text in {"a": "one", "b": "bad", "c": "three"}.items():
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    return tmp_path


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


@pytest.mark.parametrize("scheduler", ["inline", "processes"])
def test_every_item_gives_its_result_or_its_failure(scheduler):
    results = dict(parallel.map_items(square, range(6), scheduler=scheduler, workers=2))
    assert [results[i] for i in (0, 1, 2, 5)] == [0, 1, 4, 25]
    assert results[3] == Failure("three is broken", True, Reason.UNREADABLE)
    assert results[4] == Failure("ZeroDivisionError: a bug", expected=False)


def test_unknown_scheduler_is_a_setting_error():
    with pytest.raises(SettingError, match="tcp://"):
        list(parallel.map_items(square, [1], scheduler="cluster"))


def test_a_second_run_does_nothing_and_returns_the_same_rows(texts):
    first = stage(texts)
    assert first == [Row("a", 3, None), Row("b", None, "bad text", Reason.UNREADABLE), Row("c", 5, None)]
    assert stage(texts) == first
    assert calls(texts) == ["a", "b", "c"]


def test_only_what_changed_is_done_again(texts):
    stage(texts)
    (texts / "in" / "a.txt").write_text("other")
    (texts / "out" / "c.txt").unlink()
    assert stage(texts)[0].length == 5
    assert calls(texts) == ["a", "b", "c", "a", "c"]
    stage(texts, settings={"loud": True})
    stage(texts, version=2)
    assert len(calls(texts)) == 11


def test_a_full_disk_stops_the_stage_and_what_is_done_stays(texts):
    (texts / "in" / "b.txt").write_text("full")
    with pytest.raises(DiskFullError):
        stage(texts)
    (texts / "in" / "b.txt").write_text("room")
    assert [row.length for row in stage(texts)] == [3, 4, 5]
    assert calls(texts) == ["a", "b", "b", "c"]


def test_missing_inputs_are_named(texts):
    def run(items):
        return parallel.run_stage(
            "s",
            items,
            copy_upper,
            row_type=Row,
            journal=texts / "j",
            output=texts,
            settings=None,
            version=1,
        )

    rows = run(
        [Item("gone", (texts / "gone.txt",), {"target": str(texts / "x"), "calls": str(texts / "calls")}, Row("gone"))]
    )
    assert "gone.txt" in rows[0].note


def slow_square(x: int) -> int:
    time.sleep(0.2)
    return x * x


@pytest.fixture
def cluster(tmp_path):
    """A really started scheduler with two workers; yields (address, worker processes)."""
    file = tmp_path / "scheduler.json"
    env = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{Path(__file__).parent}"}

    def start(program: str, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"distributed.cli.{program}",
                "--scheduler-file",
                str(file),
                "--no-dashboard",
                *arguments,
            ],
            env=env,
            stderr=subprocess.DEVNULL,
        )

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    workers = []
    try:
        deadline = time.time() + 30
        while not file.exists() and time.time() < deadline:
            time.sleep(0.1)
        workers = [
            start("dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)) for _ in range(2)
        ]
        time.sleep(0.2)
        yield json.loads(file.read_text())["address"], workers
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_worker_killed_half_way_changes_nothing(cluster):
    address, workers = cluster
    results = {}
    for item, result in parallel.map_items(slow_square, range(24), scheduler=address):
        results[item] = result
        if len(results) == 6:
            workers[0].kill()
    assert results == {i: i * i for i in range(24)}


def test_a_silent_address_is_a_clear_error():
    with pytest.raises(SettingError, match="dask scheduler"):
        list(parallel.map_items(square, [1, 2], scheduler="tcp://127.0.0.1:9"))
