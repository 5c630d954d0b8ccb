"""The notebooks as files: which there are, what parameters they declare, and how one is executed."""

import ast
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import config, project
from .errors import SettingError

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
LINE_EVERY_S = 20.0  # where there is no terminal: a line of progress this often


def discover(folder: Path, only: Iterable[str] = ()) -> list[Path]:
    """The course's notebooks NN_*.ipynb in order; `only`: their numbers ("02") or names. Raises SettingError."""
    folder = Path(folder)
    found = sorted(p for p in folder.glob("*.ipynb") if re.match(r"\d\d_", p.name))
    if not found:
        raise SettingError(f"{folder}: no notebooks called NN_*.ipynb here")
    chosen = []
    for wanted in only:
        match = [p for p in folder.glob("*.ipynb") if wanted in (p.stem, p.name) or p.name.startswith(f"{wanted}_")]
        if not match:
            raise SettingError(f"no notebook {wanted!r} in {folder}; there are {', '.join(p.stem for p in found)}")
        chosen += match
    return sorted(set(chosen)) if chosen else found


def declared(notebook: Path) -> dict[str, type]:
    """The parameters of a notebook and their types, from the annotated literals of its cell tagged `parameters`.

    Raises SettingError for anything else in that cell: `name: type = literal` is all there may be.
    """
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingError(f"{notebook}: not a notebook ({error})") from error
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) > 1:
        raise SettingError(f"{notebook}: {len(tagged)} cells are tagged parameters; one is allowed")
    source = "".join("".join(cell["source"]) for cell in tagged)
    result = {}
    try:
        for line in ast.parse(source).body:
            if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None):
                raise SettingError(f"{notebook}: parameters are `name: type = literal`, not `{ast.unparse(line)}`")
            kind, name = ast.unparse(line.annotation), line.target.id
            if kind not in TYPES:
                raise SettingError(f"{notebook}: parameter {name} has type {kind!r}; use one of {', '.join(TYPES)}")
            matches(notebook, name, ast.literal_eval(line.value), TYPES[kind])
            result[name] = TYPES[kind]
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"{notebook}: the parameters cell has something that is not a literal: {error}") from error
    return result


def matches(notebook: Path, name: str, value: Any, kind: type) -> Any:
    """`value` where it fits the parameter's type (None always does, a whole number fits float), else SettingError."""
    fits = value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool)))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        fits = True
    if not fits:
        given = f"{value!r} ({type(value).__name__})"
        raise SettingError(f"{Path(notebook).stem}: parameter {name} wants {kind.__name__}, got {given}")
    return value


def from_text(name: str, text: str, kind: type) -> Any:
    """A parameter value as typed in a terminal: None, true/false, a number, a literal list or dict, or plain text."""
    if text == "None":
        return None
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError, SyntaxError):
        value = text if kind is str else kind(text) if kind in (int, float) else ast.literal_eval(text)
        if isinstance(value, kind):
            return value
    raise SettingError(f"parameter {name} wants {kind.__name__}, got {text!r}")


def check(notebooks: Iterable[Path], parameters: Mapping[str, Any], text: bool = False) -> dict[Path, dict[str, Any]]:
    """What each notebook will be given: the parameters that it declares. Raises SettingError before anything runs.

    A name that no notebook declares and a value of a wrong type are errors. text: values are words from a terminal.
    """
    known = {Path(notebook): declared(notebook) for notebook in notebooks}
    everything = sorted(set().union(*known.values())) if known else []
    for name in parameters:
        if name not in everything:
            there = ", ".join(everything) or "none"
            raise SettingError(f"no notebook of this run has a parameter {name!r}; there are: {there}")
    if isinstance(parameters.get("preset"), str):
        config.preset(parameters["preset"])
    plan = {}
    for notebook, types in known.items():
        given = {name: value for name, value in parameters.items() if name in types}
        if text:
            given = {name: from_text(name, value, types[name]) for name, value in given.items()}
        plan[notebook] = {name: matches(notebook, name, value, types[name]) for name, value in given.items()}
    return plan


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any], bar: bool, say: Callable[[str], None]) -> str:
    """Run one notebook in its own folder with papermill; write it to `output`, and the HTML beside it.

    bar: show papermill's progress bar; without it `say` gets a line every 20 s.  Returns "" where all went well, else
    what failed: notebook, cell, error.
    """
    import papermill  # a second to import, and not needed to check parameters

    from .kernel import ENGINE, Progress, describe

    progress = Progress(notebook.stem, say=None if bar else say, every_s=LINE_EVERY_S)
    output.parent.mkdir(parents=True, exist_ok=True)
    error = ""
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            cwd=str(notebook.parent),
            kernel_name="python3",
            engine_name=ENGINE,
            progress_bar=bar,
            start_timeout=180,
            progress=progress,
        )
    except Exception as failure:  # whatever it is, it becomes this notebook's row and ends the run
        error = describe(failure, progress)
    if output.exists():
        write_html(output)
    return error


def write_html(executed: Path) -> Path:
    """Write an executed notebook as one HTML file beside it, pictures and videos inside; returns its path."""
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(embed_images=True).from_filename(str(executed))
    project.write_text(executed.with_suffix(".html"), body)
    return executed.with_suffix(".html")


def write_first_code_cells(notebooks: Iterable[Path], text: str) -> list[str]:
    """Give every notebook `text` as its first code cell; returns the names of those that changed."""
    changed = []
    for path in notebooks:
        content = json.loads(path.read_text(encoding="utf-8"))
        first = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
        if "".join(first["source"]) != text:
            first["source"] = text.splitlines(keepends=True)
            project.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            changed.append(path.stem)
    return changed
