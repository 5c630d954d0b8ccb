"""One function over many items: here, in local processes, or on a Dask cluster; and the resumable stage on top of it.

A work function gets one item and writes its files atomically, so it may run twice (a lost worker's item does).
Workers of a cluster must see the same folders under the same paths, and have this package installed.
"""

import contextlib
import functools
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import records
from .config import settings_hash
from .errors import DiskFullError, LipsyncError, ManifestError, SettingError
from .project import content_hash, lock, progress, remove_leftovers, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What a work function raised. expected: an error of this package, which would come again with the same input."""

    error: str
    expected: bool

    @property
    def reason(self) -> records.Reason:
        """For the row of the item."""
        return records.Reason.UNREADABLE if self.expected else records.Reason.FAILED


@dataclass(frozen=True)
class Item:
    """One thing for a stage to do. inputs: the files whose content decides the result; arguments: everything else."""

    id: str
    inputs: tuple[Path, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What became of an item: the rows for the manifest and the files that were written."""

    rows: list
    files: list[Path] = field(default_factory=list)


def worker_count(workers: int | None = None) -> int:
    """The number of processes to use: as asked, else the cores that this process may run on."""
    if workers is not None and workers < 1:
        raise SettingError(f"workers must be at least 1, got {workers}")
    affinity = getattr(os, "sched_getaffinity", None)
    return workers or (len(affinity(0)) if affinity else os.cpu_count() or 1)


def map_items(
    work: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    scheduler: str = "processes",
    workers: int | None = None,
    desc: str = "",
    unit: str = "item",
) -> Iterator[tuple[Any, Any]]:
    """Yield (item, result) for every item, in the order of completion; result is a `Failure` where work raised.

    scheduler: "inline" (this process), "processes" (local Dask workers) or the address of a running Dask scheduler,
    "tcp://host:8786". A full disk is not an item's failure: DiskFullError is raised.
    """
    items = list(items)
    if scheduler not in ("inline", "processes") and "://" not in scheduler:
        raise SettingError(f"scheduler {scheduler!r}: 'inline', 'processes' or an address such as 'tcp://host:8786'")
    count = min(worker_count(workers), max(len(items), 1))
    inline = scheduler == "inline" or (scheduler == "processes" and count == 1)
    results = ((item, guarded(work, item)) for item in items) if inline else on_dask(work, items, scheduler, count)
    with contextlib.closing(results), progress(total=len(items), desc=desc, unit=unit) as bar:
        for item, result in results:
            if isinstance(result, DiskFullError):
                raise result
            bar.update()
            yield item, result


def guarded(work: Callable[[Any], Any], item: Any) -> Any:
    """work(item), or a Failure with the error's words; a DiskFullError is returned as it is."""
    try:
        return work(item)
    except DiskFullError as error:
        return error
    except LipsyncError as error:
        return Failure(str(error), expected=True)
    except Exception as error:  # one bad item never stops a stage; it becomes a row with these words
        log.debug("item failed", exc_info=True)
        return Failure(f"{type(error).__name__}: {error}", expected=False)


def on_dask(work: Callable[[Any], Any], items: list, scheduler: str, workers: int) -> Iterator[tuple[Any, Any]]:
    """The same on Dask workers."""
    import dask
    from distributed import Client, as_completed

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    quiet = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(names, "1"),
        "distributed.logging.distributed": "error",
        "distributed.admin.system-monitor.disk": False,
    }
    logging.getLogger("distributed").setLevel(logging.ERROR)  # importing it made it talk
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.ERROR}
    with dask.config.set(quiet):
        try:
            client = Client(**local) if scheduler == "processes" else Client(scheduler, timeout=5)
        except (OSError, TimeoutError) as error:
            raise SettingError(f"no Dask scheduler answers at {scheduler}: start `dask scheduler`") from error
        with client:
            futures = client.map(functools.partial(guarded, work), items, pure=False)
            item_of = {future.key: item for future, item in zip(futures, items)}
            for future in as_completed(futures):
                lost = future.exception()  # the worker died with this item again and again
                words = f"worker lost: {type(lost).__name__}: {lost}"
                yield item_of[future.key], Failure(words, expected=False) if lost else future.result()


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
    failed: Callable[[Item, Failure], list],
    **how: Any,
) -> list:
    """Do what is not done yet of `items`; returns all rows (of `row_type`) in the order of the items.

    An item is done when its journal entry has the key made of the contents of its inputs, its arguments, `settings` and
    the stage's `version`, and the files it wrote are still there. `failed` makes the rows of an item that raised; an
    error of this package is remembered, any other is tried again in the next run. how: scheduler, workers and unit, as
    for map_items. Only one process works in `journal` at a time. Killed and run again, it ends with the same rows.
    """
    repeated = sorted(name for name, times in Counter(item.id for item in items).items() if times > 1)
    if repeated:
        raise SettingError(f"{stage}: these ids appear more than once: {', '.join(repeated[:10])}")
    rows, keys = {}, {}
    with lock(journal, what=f"stage {stage}"):
        remove_leftovers(output)
        remove_leftovers(journal)
        for item in items:
            try:
                contents = [content_hash(path) for path in item.inputs]
            except OSError as error:
                rows[item.id] = failed(item, Failure(f"{error.filename}: {error.strerror}", expected=False))
                continue
            keys[item.id] = settings_hash(stage, version, settings, item.arguments, contents)
            known = read_entry(journal / f"{item.id}.json", keys[item.id], row_type, output)
            if known is not None:
                rows[item.id] = known
        to_do = [item for item in items if item.id not in rows]
        if len(to_do) < len(items):
            log.info("%s: %d of %d done before", stage, len(items) - len(to_do), len(items))
        for item, result in map_items(work, to_do, desc=stage, **how) if to_do else ():
            again = isinstance(result, Failure) and not result.expected
            if isinstance(result, Failure):
                log.warning("%s: %s left out: %s", stage, item.id, result.error)
                result = Done(failed(item, result))
            cells = records.to_cells(result.rows, row_type)
            sizes = {f.relative_to(output).as_posix(): -1 if f.is_dir() else f.stat().st_size for f in result.files}
            if not again:
                write_json(journal / f"{item.id}.json", {"key": keys[item.id], "files": sizes, "rows": cells})
            rows[item.id] = parse_rows(cells, row_type)
    return [row for item in items for row in rows[item.id]]


def parse_rows(cells: list[list[str]], row_type: type) -> list:
    """Rows from formatted cells: what a manifest would give back, so a resumed run equals an undisturbed one."""
    return records.rows(records.from_cells(cells, row_type, "journal"), row_type)


def read_entry(path: Path, key: str, row_type: type, output: Path) -> list | None:
    """The rows of a journal entry with this key whose files are all there; else None."""
    try:
        entry = json.loads(path.read_text())
        there = ((output / name, size) for name, size in entry["files"].items())
        if entry["key"] == key and all(f.is_dir() if n < 0 else f.stat().st_size == n for f, n in there):
            return parse_rows(entry["rows"], row_type)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ManifestError):
        pass  # no such entry, or not one of ours: the item is done again
    return None
