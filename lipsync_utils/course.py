"""Run the notebooks in order with papermill, strictly: a wrong parameter stops the run before anything has started.

    python -m lipsync_utils.course --preset sample --only 02 -p max_clips=20

Each notebook is executed from the top; the stages inside skip what they have done before. Executed notebooks, HTML
and summary.json go to outputs/executed/. This module imports none of the stages.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import __version__, config, project
from .errors import LipsyncError, NotebookError, SettingError
from .notebooks import check, discover, execute, write_first_code_cells

# Where the course is cloned from; `python -m lipsync_utils.course --write-setup-cells` brings it into the notebooks.
REPOSITORY = "https://github.com/your-name/lipsync-course"

SETUP_CELL = f'''\
# Setup: nothing happens here outside Colab. In Colab it gets the course and installs only what Colab lacks.
try:
    from google.colab import drive
except ImportError:
    drive = None
if drive:
    import os, subprocess, sys
    source = os.environ.get("LIPSYNC_SOURCE", "{REPOSITORY}")  # or its folder on Drive
    keep = os.environ.get("LIPSYNC_HOME", "")  # "/content/drive/MyDrive/lipsync" survives a disconnect
    if "/drive/" in source + keep:
        drive.mount("/content/drive")
    course = os.path.abspath("lipsync-course") if "://" in source else source
    if not os.path.exists(course):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", source, course], check=True)
    sys.path.insert(0, course)
    from lipsync_utils import colab
    print(colab.set_up(course, keep))'''


@dataclasses.dataclass
class Outcome:
    """What became of one notebook. ok is None where it was not run because an earlier one failed."""

    notebook: str
    parameters: dict[str, Any]
    ok: bool | None = None
    minutes: float = 0.0
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""
    finished: str = ""


def say(text: str) -> None:
    """A line for the person at the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for the kernels that are started inside, as before afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run(
    notebooks: Path | str | Iterable[Path | str],
    parameters: Mapping[str, Any] | None = None,
    output_dir: Path | str | None = None,
) -> list[Outcome]:
    """Execute notebooks in the given order (a folder: all of the course in it) and return what became of each.

    parameters: a value for every notebook that declares the name; SettingError before anything runs where none does
    or a type is wrong.  output_dir: for executed notebooks, HTML and summary.json (default outputs/executed/).
    Stops at the first notebook that fails and raises NotebookError, after the summary has been written.
    """
    if isinstance(notebooks, (str, Path)):
        notebooks = discover(Path(notebooks)) if Path(notebooks).is_dir() else [notebooks]
    return run_plan(check([Path(n).resolve() for n in notebooks], parameters or {}), output_dir)


def run_plan(plan: Mapping[Path, Mapping[str, Any]], output_dir: Path | str | None = None) -> list[Outcome]:
    """Execute checked notebooks with their parameters; see `run`."""
    home = project.home()
    folder = Path(output_dir) if output_dir else home / "outputs" / "executed"
    outcomes = [Outcome(notebook.stem, dict(given)) for notebook, given in plan.items()]
    with project.lock(folder, what="the course"), environment(LIPSYNC_HOME=str(home)):
        earlier = read_summary(folder)
        for number, (notebook, outcome) in enumerate(zip(plan, outcomes, strict=True), 1):
            say(f"[{number}/{len(outcomes)}] {outcome.notebook}{already(earlier.get(outcome.notebook), outcome)}")
            run_one(notebook, outcome, folder / notebook.name)
            earlier[outcome.notebook] = dataclasses.asdict(outcome)
            write_summary(folder, earlier)
            if not outcome.ok:
                break
    say(table(outcomes))
    if any(outcome.error for outcome in outcomes):
        raise NotebookError(next(outcome.error for outcome in outcomes if outcome.error), outcomes)
    return outcomes


def read_summary(folder: Path) -> dict[str, dict]:
    """What earlier runs left in summary.json, by notebook; nothing where there is none or it is damaged."""
    try:
        rows = json.loads((folder / "summary.json").read_text())["notebooks"]
        return {row["notebook"]: row for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_summary(folder: Path, rows: Mapping[str, dict]) -> None:
    """Write summary.json: one entry per notebook, the newest run of each."""
    notebooks = [rows[name] for name in sorted(rows)]
    everything = {"version": __version__, "cores": os.cpu_count(), "notebooks": notebooks}
    project.write_json(folder / "summary.json", everything | {"ok": all(row["ok"] for row in notebooks)})


def already(row: dict | None, outcome: Outcome) -> str:
    """What to say of a notebook that an earlier run has executed."""
    if not row or not row.get("ok"):
        return ""
    same = "" if row["parameters"] == outcome.parameters else " with other parameters"
    when = f"{row['finished']}, {row['minutes']:.1f} min"
    return f": done before{same} ({when}); runs again, its stages keep what is done"


def run_one(notebook: Path, outcome: Outcome, output: Path) -> None:
    """Run one notebook in its own folder; fills in `outcome` and writes `output` and the HTML beside it."""
    start, since = time.perf_counter(), time.time()
    with environment(PAPERMILL_OUTPUT_PATH=str(output)):
        outcome.error = execute(notebook, output, outcome.parameters, sys.stderr.isatty(), say)
    outcome.minutes = round((time.perf_counter() - start) / 60, 2)
    outcome.ok, outcome.finished = not outcome.error, time.strftime("%Y-%m-%d %H:%M")
    outcome.numbers = recorded(notebook.stem, since)
    say(f"    {'ok' if outcome.ok else 'FAILED'} after {outcome.minutes:.1f} min")


def recorded(notebook: str, since: float) -> dict[str, Any]:
    """The key numbers that a notebook gave to project.record_results after `since` (seconds of the clock)."""
    number = re.match(r"\d\d_", notebook)
    files = (project.home() / "outputs" / "results").glob(f"{number[0] if number else notebook}*.json")
    fresh = [file for file in files if file.stat().st_mtime >= since - 1]
    return {name: value for file in sorted(fresh) for name, value in json.loads(file.read_text()).items()}


def table(outcomes: Iterable[Outcome], longest: int = 90) -> str:
    """The outcomes as lines of text: notebook, minutes, ok, key numbers."""
    lines = [f"{'notebook':34}{'minutes':>8}  {'ok':9}key numbers"]
    for outcome in outcomes:
        words = {True: "ok", False: "FAILED", None: "not run"}[outcome.ok]
        plain = {name: value for name, value in outcome.numbers.items() if not isinstance(value, (list, dict))}
        shown = (f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in plain.items())
        numbers = outcome.error.splitlines()[0] if outcome.error else " ".join(shown)
        numbers = numbers if len(numbers) <= longest else numbers[: longest - 3] + "..."
        lines.append(f"{outcome.notebook:34}{outcome.minutes:8.1f}  {words:9}{numbers}".rstrip())
    return "\n".join([*lines, f"{'all':34}{sum(o.minutes for o in outcomes):8.1f}"])


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status: 0 all ok, 1 a notebook failed, 2 a wrong parameter."""
    home, checkout = project.home(), Path(__file__).resolve().parents[1]
    folder = next(f for f in (home / "notebooks", checkout / "notebooks") if f.is_dir() or f.parent == checkout)
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.course", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", help=f"settings of all stages: {' or '.join(config.PRESETS)}")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="these notebooks: numbers or names")
    parser.add_argument("--notebooks", type=Path, default=folder, help="folder of the notebooks")
    parser.add_argument("--output", type=Path, help="for executed notebooks and HTML (default outputs/executed)")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    parser.add_argument("--write-setup-cells", action="store_true", help="bring the setup cell into the notebooks")
    options = parser.parse_args(arguments)
    try:
        if options.write_setup_cells:
            changed = write_first_code_cells(sorted(options.notebooks.glob("*.ipynb")), SETUP_CELL)
            say(f"changed: {', '.join(changed) or 'nothing'}")
            return 0
        given = {"preset": options.preset} if options.preset else {}
        for pair in options.parameters:
            name, equals, value = pair.partition("=")
            if not equals:
                raise SettingError(f"-p {pair}: write NAME=VALUE")
            given[name.strip()] = value
        chosen = [path.resolve() for path in discover(options.notebooks, options.only)]
        run_plan(check(chosen, given, text=True), options.output)
    except SettingError as error:
        say(f"nothing was run: {error}")
        return 2
    except LipsyncError as error:
        say(f"\n{error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
