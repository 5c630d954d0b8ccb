"""Run the notebooks in order with papermill, strictly: a wrong parameter stops the run before anything has started.

    python -m lipsync_utils.course --preset sample --only 02 -p max_clips=20

Each notebook is executed from the top; the stages inside skip what they have done before. Executed notebooks, HTML
and summary.json go to outputs/executed/. This module imports none of the stages.
"""

import argparse
import ast
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from . import __version__, config, project
from .errors import LipsyncError, NotebookError, SettingError

#: Minutes of notebooks 00, 01 .. on two idle cores, for the time to go; later runs know their own.
MINUTES = (0.6, 1.4, 0.6, 1.3, 0.3, 0.9, 2.0, 2.0, 0.9, 3.5, 1.1)
STATE = {True: "ok", False: "FAILED", None: "not run"}
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


@dataclass
class Outcome:
    """What became of one notebook. ok is None where it was not run because an earlier one failed."""

    notebook: str
    parameters: dict
    ok: bool | None = None
    minutes: float = 0.0
    numbers: dict = field(default_factory=dict)
    error: str = ""


def say(text: str) -> None:
    """A line for the person at the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def discover(folder: Path | str, only: Iterable[str] = ()) -> list[Path]:
    """The course's notebooks NN_*.ipynb in order; `only`: their numbers ("02") or names. Raises SettingError."""
    found = sorted(Path(folder).glob("*.ipynb"))
    known = {name: path for path in found for name in (path.name, path.stem, path.stem.split("_")[0])}
    wanted = list(only) or [path.stem for path in found if path.stem[:2].isdigit()] or ["NN_*.ipynb"]
    if unknown := [name for name in wanted if name not in known]:
        raise SettingError(f"no notebook {unknown[0]!r} in {folder}; there are {[path.stem for path in found]}")
    return sorted({known[name] for name in wanted})


def declared(notebook: Path) -> dict[str, type]:
    """The parameters of a notebook and their types, from the annotated literals of its cell tagged `parameters`.

    Raises SettingError for anything else in that cell: `name: type = literal` is all there may be.
    """
    try:
        cells = nbformat.read(notebook, 4).cells
        source = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        types = {}
        for line in ast.parse(source).body:
            types[line.target.id] = TYPES[line.annotation.id]
            fitting(line.target.id, ast.literal_eval(line.value), types[line.target.id])
        return types
    except (OSError, AttributeError, KeyError, ValueError, SyntaxError) as error:
        raise SettingError(
            f"{notebook}: parameters are `name: type = literal`, of {', '.join(TYPES)}: {error}"
        ) from error


def fitting(name: str, value: Any, kind: type, text: bool = False) -> Any:
    """`value` if it fits the parameter's type (None always does, a whole number fits float), else SettingError.

    text: it was typed in a terminal: None, true or false, a number, a literal list or dict, or plain text.
    """
    read = value
    if text and (kind is not str or value == "None"):
        with contextlib.suppress(ValueError, SyntaxError):
            read = ast.literal_eval(value.capitalize() if kind is bool else value)
    if read is None or type(read) is kind or (kind is float and type(read) is int):
        return read
    raise SettingError(f"parameter {name} wants {kind.__name__}, got {value!r}")


def check(notebooks: Iterable[Path], parameters: dict, text: bool = False) -> dict[Path, dict]:
    """What each notebook will be given: the parameters that it declares. Raises SettingError before anything runs.

    A name that no notebook declares and a value of a wrong type are errors. text: values are words from a terminal.
    """
    known = {notebook: declared(notebook) for notebook in notebooks}
    there = set().union(*known.values())
    if unknown := parameters.keys() - there:
        raise SettingError(f"no notebook of this run has a parameter {min(unknown)!r}; there are: {sorted(there)}")
    if "preset" in parameters:
        config.preset(fitting("preset", parameters["preset"], str, text))
    return {
        notebook: {name: fitting(name, parameters[name], types[name], text) for name in types if name in parameters}
        for notebook, types in known.items()
    }


def run(
    notebooks: Path | str | Iterable[Path | str],
    parameters: dict | None = None,
    output_dir: Path | str | None = None,
    text: bool = False,
) -> list[Outcome]:
    """Execute notebooks in the given order (a folder: all of the course in it) and return what became of each.

    parameters: a value for every notebook that declares the name; SettingError before anything runs where none does
    or a type is wrong.  output_dir: for executed notebooks, HTML and summary.json (default outputs/executed/).
    text: values are words from a terminal.  Stops at the first notebook that fails and raises NotebookError, after
    the summary has been written.
    """
    if isinstance(notebooks, (str, Path)):
        notebooks = discover(notebooks) if Path(notebooks).is_dir() else [notebooks]
    plan = check([Path(notebook).resolve() for notebook in notebooks], parameters or {}, text)
    os.environ["LIPSYNC_HOME"] = str(project.home())  # the kernels start in other folders
    folder = Path(output_dir or project.home() / "outputs" / "executed").resolve()
    outcomes, summary = [Outcome(notebook.stem, given) for notebook, given in plan.items()], folder / "summary.json"
    with project.lock(folder, what="the course"):
        known = json.loads(summary.read_text())["notebooks"] if summary.exists() else []
        rows = {row["notebook"]: row for row in known}
        minutes = {f"{n:02}": taken for n, taken in enumerate(MINUTES)} | {
            name[:2]: row["minutes"] for name, row in rows.items()
        }
        for number, (notebook, outcome) in enumerate(zip(plan, outcomes)):
            left = sum(minutes.get(one.notebook[:2], 0) for one in outcomes[number:])
            say(f"[{number + 1}/{len(outcomes)}] {outcome.notebook}, about {left:.0f} min to go")
            execute(notebook, outcome, folder / notebook.name)
            say(f"    {STATE[outcome.ok]} after {outcome.minutes:.1f} min")
            rows[outcome.notebook] = vars(outcome)
            newest, about = [rows[name] for name in sorted(rows)], {"version": __version__, "cores": os.cpu_count()}
            project.write_json(summary, {**about, "ok": all(row["ok"] for row in newest), "notebooks": newest})
            if not outcome.ok:
                break
    for one in outcomes:
        words = (f"{name}={n:.4g}" if isinstance(n, float) else f"{name}={n}" for name, n in one.numbers.items())
        say(f"{one.notebook:<32}{one.minutes:5.1f} min  {STATE[one.ok]:8}{one.error or ' '.join(words):.90}")
    if not outcome.ok:
        raise NotebookError(outcome.error)
    return outcomes


def execute(notebook: Path, outcome: Outcome, output: Path) -> None:
    """Run one notebook in its own folder; fills in `outcome` and writes `output` and the HTML beside it."""
    import papermill  # a second to import, and not needed to check parameters

    log_file = {"mininterval": 20, "delay": 20, "bar_format": "    cell {n_fmt} of {total_fmt}, {elapsed}\n"}
    start = time.time()
    output.parent.mkdir(parents=True, exist_ok=True)
    os.environ["PAPERMILL_OUTPUT_PATH"] = str(output)  # tells the stages that nobody watches their bars
    try:
        papermill.execute_notebook(
            notebook,
            output,
            outcome.parameters,
            cwd=notebook.parent,
            kernel_name="python3",
            progress_bar={"leave": False} if sys.stderr.isatty() else log_file,
            start_timeout=180,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # errors of cells stand in the notebook
        )
        files = (project.home() / "outputs" / "results").glob(f"{notebook.stem[:3]}*.json")
        outcome.ok, outcome.numbers = True, {k: v for file in files for k, v in json.loads(file.read_text()).items()}
    except Exception as error:  # whatever it is, it becomes this notebook's row and ends the run
        outcome.ok, outcome.error = False, describe(error, output)
    finally:
        del os.environ["PAPERMILL_OUTPUT_PATH"]
    if output.exists():
        project.write_text(output.with_suffix(".html"), as_html(nbformat.read(output, 4), output))
    outcome.minutes = (time.time() - start) / 60


def describe(error: Exception, output: Path) -> str:
    """A failure in words: notebook, cell (its number and first line), error. output: the notebook as far as it ran."""
    cells = nbformat.read(output, 4).cells if output.exists() else []
    started = [cell for cell in cells if cell.metadata.get("papermill", {}).get("status", "pending") != "pending"]
    lines = re.findall(r"^[^#\s].*", started[-1].source, re.M) if started else []
    words = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
    return f"{output.stem}, cell {len(started)} (`{''.join(lines[:1])[:80]}`): {words}"


def as_html(book: nbformat.NotebookNode, path: Path) -> str:
    """A notebook as one HTML page that looks the same without a network: pictures and videos inside, no scripts.

    path: its title is the file's name, its links to pictures begin in the file's folder.
    """
    from nbconvert import HTMLExporter

    for data in (output.get("data", {}) for cell in book.cells for output in cell.get("outputs", [])):
        if data.pop("application/vnd.jupyter.widget-view+json", None):
            data["text/plain"] = "" if "%|" in data["text/plain"] else "(a widget: it works in the open notebook)"
    about = {"metadata": {"name": path.stem, "path": str(path.parent)}}
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(book, about)
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status: 0 all ok, 1 a notebook failed, 2 a wrong parameter."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.course", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", help=f"settings of all stages: {' or '.join(config.PRESETS)}")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="these notebooks: numbers or names")
    parser.add_argument(
        "--notebooks", type=Path, default=Path(__file__).parents[1] / "notebooks", help="folder of the notebooks"
    )
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    options = parser.parse_args(arguments)
    try:
        if not all("=" in pair for pair in options.parameters):
            raise SettingError("write -p NAME=VALUE")
        given = dict(pair.split("=", 1) for pair in options.parameters)
        if options.preset:
            given["preset"] = options.preset
        run(discover(options.notebooks, options.only), given, text=True)
    except LipsyncError as error:
        wrong = isinstance(error, SettingError)
        say(f"nothing was run: {error}" if wrong else f"\n{error}")
        return 2 if wrong else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
