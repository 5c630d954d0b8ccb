"""Papermill's engine with two things added: it knows which cell is running, and it reports without a terminal."""

import time
from collections.abc import Callable

from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

ENGINE = "lipsync"


class Progress:
    """Which cell of how many is running. say: gets a line when a cell starts, at most every `every_s` seconds."""

    def __init__(self, notebook: str, say: Callable[[str], None] | None, every_s: float):
        self.notebook, self.say, self.every_s = notebook, say, every_s
        self.started = self.said = time.monotonic()
        self.number, self.source = 0, ""

    def cell(self, number: int, total: int, source: str) -> None:
        """Cell `number` (from 1) of `total` begins."""
        self.number, self.source = number, source
        now = time.monotonic()
        if self.say and now - self.said >= self.every_s:
            self.said = now
            self.say(f"    cell {number} of {total}, {now - self.started:.0f} s")


class CourseEngine(NBClientEngine):
    """The usual engine, telling a Progress when a cell starts."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, progress: Progress, **options):
        start, total = nb_man.cell_start, len(nb_man.nb.cells)

        def cell_start(cell, cell_index=None, **more):
            progress.cell((cell_index or 0) + 1, total, cell.source)
            return start(cell, cell_index=cell_index, **more)

        nb_man.cell_start = cell_start
        quiet = ["--IPKernelApp.log_level=ERROR"]  # no words about the connection inside this machine
        return super().execute_managed_notebook(nb_man, kernel_name, extra_arguments=quiet, **options)


def describe(failure: Exception, progress: Progress) -> str:
    """A failure in words: notebook, cell (its number, its execution count and first line), error."""
    if isinstance(failure, PapermillExecutionError):
        place, source = f"cell {failure.cell_index + 1}, In [{failure.exec_count}]", failure.source
        words = f"{failure.ename}: {failure.evalue}"
    else:
        place, source, words = f"cell {progress.number}", progress.source, f"{type(failure).__name__}: {failure}"
    first = next((line for line in source.splitlines() if line.strip() and not line.startswith("#")), "")
    return f"{progress.notebook}, {place} (`{first.strip()[:80]}`): {words}"


papermill_engines.register(ENGINE, CourseEngine)
