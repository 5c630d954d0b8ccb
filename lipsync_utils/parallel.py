"""One function over many items: here, in local processes, or on a Dask cluster; and the resumable stage on top of it.

A work function gets one item and writes its files atomically, so it may run twice (a lost worker's item does).
Workers of a cluster must see the same folders under the same paths, and have this package installed.
"""

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import records
from .config import settings_hash
from .errors import DiskFullError, LipsyncError, SettingError
from .project import content_hash, lock, progress, remove_leftovers, write_json
from .records import Reason

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What a work function raised. expected: an error of this package, which would come again with the same input."""

    error: str
    expected: bool
    reason: Reason = Reason.FAILED  # for the row of the item


class LeftOut(Exception):
    """Raised by a work function to leave an item out this time; the next run tries it again."""

    def __init__(self, reason: Reason, words: str):
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True)
class Item:
    """One thing for a stage to do. inputs: the files whose content decides the result; arguments: everything else.

    row: of the stage's table, as far as it is known before; with reason and note it is what a failure leaves.
    """

    id: str
    inputs: tuple[Path, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    row: Any = None


@dataclass(frozen=True)
class Done:
    """What became of an item: the rows for the manifest and the files that were written."""

    rows: list
    files: list[Path] = field(default_factory=list)


def worker_count(workers: int | None = None) -> int:
    """The number of processes to use: as asked, else the cores that this process may run on."""
    from dask.system import CPU_COUNT

    return workers or CPU_COUNT


def map_items(
    work: Callable,
    items: Iterable,
    *,
    scheduler: str = "processes",
    workers: int | None = None,
    together: Callable = id,
    desc="",
    unit="item",
) -> Iterator[tuple[Any, Any]]:
    """Yield (item, result) for every item, in the order of completion; result is a `Failure` where work raised.

    scheduler: "inline" (this process), "processes" (local Dask workers) or the address of a running Dask scheduler,
    "tcp://host:8786". together: items with the same key are one worker's, one after the other, so that it may keep what
    they share. A full disk is not an item's failure: DiskFullError is raised.
    """
    if scheduler not in ("inline", "processes") and "://" not in scheduler:
        raise SettingError(f"scheduler {scheduler!r}: 'inline', 'processes' or an address such as 'tcp://host:8786'")
    if not (items := list(items)):
        return
    batches = {}
    for item in items:
        batches.setdefault(together(item), []).append(item)
    batches = list(batches.values())
    count = min(worker_count(workers), len(batches))
    inline = scheduler == "inline" or (scheduler == "processes" and count == 1)
    one_by_one = ((item, guarded(work, item)) for batch in batches for item in batch)
    results = one_by_one if inline else on_dask(work, batches, scheduler, count)
    with contextlib.closing(results), progress(total=len(items), desc=desc, unit=unit) as bar:
        for item, result in results:
            if isinstance(result, DiskFullError):
                raise result
            bar.update()
            yield item, result


def guarded(work: Callable, item: Any) -> Any:
    """work(item), or a Failure with the error's words; a DiskFullError is returned as it is."""
    try:
        return work(item)
    except DiskFullError as error:
        return error
    except LipsyncError as error:
        return Failure(str(error), True, Reason.UNREADABLE)
    except LeftOut as error:
        return Failure(str(error), False, error.reason)
    except Exception as error:  # one bad item never stops a stage; it becomes a row with these words
        log.debug("item failed", exc_info=True)
        return Failure(f"{type(error).__name__}: {error}", False)


def all_guarded(work: Callable, items: list) -> list:
    """guarded(work, item) for every item."""
    return [guarded(work, item) for item in items]


def on_dask(work: Callable, batches: list[list], scheduler: str, workers: int) -> Iterator[tuple[Any, Any]]:
    """The same on Dask workers."""
    import dask
    from distributed import Client, as_completed

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    quiet = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(names, "1"),
        "distributed.logging.distributed": "critical",  # a failing item says so itself
        "distributed.admin.system-monitor.disk": False,
    }
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # importing it made it talk
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with dask.config.set(quiet):
        try:
            client = Client(**local) if scheduler == "processes" else Client(scheduler, timeout=5)
        except (OSError, TimeoutError) as error:
            raise SettingError(f"no Dask scheduler answers at {scheduler}: start `dask scheduler`") from error
        with client:
            futures = client.map(functools.partial(all_guarded, work), batches, pure=False)
            batch_of = dict(zip(futures, batches))
            for future in as_completed(futures):
                lost = future.exception()  # the worker died with this item again and again
                words = f"worker lost: {type(lost).__name__}: {lost}"
                batch = batch_of[future]
                yield from zip(batch, [Failure(words, False)] * len(batch) if lost else future.result())


def run_stage(
    stage: str,
    items: list[Item],
    work: Callable[[Item], Done],
    *,
    row_type: type,
    journal: Path,
    output: Path,
    settings: Any,
    version: int,
    **how: Any,
) -> list:
    """Do what is not done yet of `items`; returns all rows (of `row_type`) in the order of the items.

    An item is done when its journal entry has the key made of the contents of its inputs, its arguments, `settings` and
    the stage's `version`, and the files it wrote are still there. An item that raised gets one row, with the reason; an
    error of this package is remembered, any other is tried again in the next run. how: scheduler, workers, together and
    unit, as for map_items. Only one process works in `journal` at a time. Killed and run again, it ends with the same
    rows.
    """
    keys, cells = {}, {}
    with lock(journal, what=f"stage {stage}"):
        remove_leftovers(output)
        remove_leftovers(journal)
        for item in items:  # what is not there or not readable is done, and then says what is wrong
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                contents = [content_hash(path) for path in item.inputs]
                keys[item.id] = settings_hash(stage, version, settings, item.arguments, contents)
                entry = json.loads((journal / f"{item.id}.json").read_text())
                there = all((output / name).exists() for name in entry["files"])
                if there and entry["key"] == keys[item.id]:
                    cells[item.id] = entry["rows"]
        log.info("%s: %d of %d done before", stage, len(cells), len(items))
        for item, result in map_items(work, [item for item in items if item.id not in cells], desc=stage, **how):
            keep = item.id in keys
            if isinstance(result, Failure):
                log.warning("%s: %s left out: %s", stage, item.id, result.error)
                words = result.error.replace(f"{output.parent}{os.sep}", "")  # a table may travel with its data set
                keep = keep and result.expected
                result = Done([replace(item.row, reason=result.reason, note=words)])
            cells[item.id] = records.to_cells(result.rows, row_type)
            if keep:
                files = [file.relative_to(output).as_posix() for file in result.files]
                write_json(journal / f"{item.id}.json", {"key": keys[item.id], "files": files, "rows": cells[item.id]})
    # Through cells, as a manifest would give the rows back, so that a resumed run equals an undisturbed one.
    lines = [line for item in items for line in cells[item.id]]
    return records.rows(records.from_cells(lines, row_type, stage), row_type)
