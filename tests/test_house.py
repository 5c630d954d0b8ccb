"""The project as a whole: dependency lists in step, layout, layers, and notebooks that look as they should."""

import ast
import importlib.metadata
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lipsync_utils import course

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lipsync_utils"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NUMBERED = [path for path in NOTEBOOKS if re.match(r"\d\d_", path.name)]

# Who may import whom: a line from the lines above it, and on its own line from names to its left.
LAYERS = """
errors
config project records weights
media audio parallel
talkshow
faces
collect silence speaker
preprocess windows
models checkpoints losses
metrics plots
training
inference
evaluation
picker
course colab book
"""
ORDER = {name: (row, column) for row, line in enumerate(LAYERS.split("\n")) for column, name in enumerate(line.split())}
UPWARD = {("faces", "models"), ("faces", "checkpoints")}  # the S3FD detector is a network with published weights
TOP_LEVEL = {
    "notebooks",
    "lipsync_utils",
    "data",
    "outputs",
    "tests",
    "environment.yml",
    "README.md",
    "pyproject.toml",
    "requirements.txt",
    "requirements-face.txt",
    "requirements-dev.txt",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    ".gitignore",
    ".ci",
    ".github",
    "docs",
    ".pre-commit-config.yaml",
}


def pins(name):
    """{distribution: version} of a requirements file; every line must be a pin."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(pairs), f"{name}: only name==version lines, got {lines}"
    assert len({pair[1] for pair in pairs}) == len(pairs), f"{name}: something is listed twice"
    return {pair[1]: pair[2] for pair in pairs}


def tracked():
    """Every file that git tracks, or would."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# ---- dependencies


def test_requirements_pin_what_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["app"]]
    pinned = pins("requirements.txt")
    assert sorted(r.name for r in asked) == sorted(pinned)
    for requirement in asked:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
    assert list(pinned) == sorted(pinned), "keep requirements.txt sorted"


def test_the_known_traps_are_avoided():
    pinned = {name: tuple(map(int, re.findall(r"\d+", text)[:2])) for name, text in pins("requirements.txt").items()}
    assert (77, 0) <= pinned["setuptools"] < (81, 0)  # pkg_resources for face_recognition_models; torch
    assert pinned["pillow"] < (12, 0)  # moviepy
    assert pinned["opencv-python-headless"] < (5, 0)  # trackers, cascades
    assert not {"dlib", "face-recognition"} & set(pinned)  # the one compiles, the other asks for it
    assert list(pins("requirements-face.txt")) == ["face-recognition"]


def test_conda_users_get_the_same_versions_and_a_reason_for_each():
    text = (ROOT / "environment.yml").read_text()
    listed = yaml.safe_load(text)["dependencies"]
    from_pip = dict(line.split("==") for line in listed[-1]["pip"])
    assert from_pip == pins("requirements.txt") | pins("requirements-dev.txt")
    for line in text.split("\ndependencies:\n")[1].splitlines():
        assert line.strip() == "- pip:" or re.search(r"  # \w", line), f"say where it is used: {line}"
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert Requirement(f"python{python}").specifier.contains(listed[0].removeprefix("python="))


def test_what_is_imported_is_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    asked = {canonicalize_name(Requirement(line).name) for line in lines} | {"face-recognition"}
    owners = importlib.metadata.packages_distributions()
    missing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            others = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
            for module in others - {"lipsync_utils", "google"}:  # google.colab is Colab's own
                found = {canonicalize_name(owner) for owner in owners.get(module, [f"{module}-bin", module])}
                missing |= set() if found & asked else {(str(path.relative_to(ROOT)), module)}
    assert not missing, "give them a line in pyproject.toml, requirements.txt and environment.yml"


# ---- layout


def test_nothing_else_lies_at_the_top():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP_LEVEL


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine():
    hosts = ["py" + "pi.org", "python" + "hosted.org", "download." + "pytorch.org", "conda." + "anaconda.org"]
    options, places = ["--" + "index-url", "--extra-" + "index-url"], ["/ro" + "ot/", "/wo" + "rk/"]
    words = re.compile("|".join(map(re.escape, [*hosts, "npm" + "js.org", *options, *places])))
    for path in tracked():
        if path.suffix in (".md", ".txt", ".toml", ".yml", ".yaml", ".py", ".ipynb", ".csv", ".json", ""):
            found = words.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} names {found[0]}"


def test_ci_runs_the_command_of_the_readme():
    script, workflow = (ROOT / ".ci" / "run"), (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert script.stat().st_mode & 0o100 and script.read_text().rstrip().endswith("make test")
    assert "bash .ci/run" in workflow and "make lint" in workflow


# ---- the package


def imports(path):
    """The package's own top-level names that a module imports, anywhere in it."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    depth = len(parts) - 1  # of the folder: from here so many dots more lead to the package
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] == "lipsync_utils":
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("lipsync_utils.")}
    return {name for name in found if not name.startswith("__")}


def test_imports_go_downward_only():
    wrong = []
    for path in MODULES:
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        used = {other for other in imports(path) - {name} if (name, other) not in UPWARD}
        if name == "__init__":
            assert not used, "importing the package does nothing"
            continue
        assert name in ORDER, f"a new module: give {name} its place in LAYERS"
        for other in used:
            assert other in ORDER, f"{path}: no module {other}"
            (row, column), (its_row, its_column) = ORDER[name], ORDER[other]
            if not (its_row < row or (its_row == row and its_column < column)):
                wrong.append(f"{path.relative_to(PACKAGE)} must not import {other}")
    assert not wrong, "see LAYERS"


def test_the_drawing_of_the_layers_is_true():
    drawing = (ROOT / "CONTRIBUTING.md").read_text().split("───\n")[1].split("```")[0]
    drawn = [re.split(r"\s{2,}", line.strip())[0].split()[::-1] for line in drawing.strip().splitlines()]
    assert drawn[::-1] == [line.split() for line in LAYERS.strip().splitlines()]
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert modules <= {name for line in drawn for name in line} <= {*modules, "weights"}


def test_the_runner_imports_none_of_the_stages():
    used = set().union(*(imports(PACKAGE / f"{name}.py") for name in ("course", "colab")))
    assert used <= {"errors", "config", "project", "records"}


def test_the_core_is_light_and_importing_it_does_nothing(tmp_path):
    code = (
        "import sys; from lipsync_utils import config, course, project, records\n"
        "heavy = {'torch', 'cv2', 'av', 'dlib', 'matplotlib', 'dask', 'papermill'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr, list(tmp_path.iterdir())) == (0, "", "", [])


def test_modules_say_what_they_are():
    silent = [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent, "a module begins with a docstring"


# ---- the notebooks


def code(book):
    """The code cells' sources."""
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path):
    book = nbformat.read(path, 4)
    assert not {"papermill", "widgets"} & set(book.metadata)
    assert book.metadata.kernelspec.name == "python3"
    for cell in book.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None and "papermill" not in cell.metadata
    assert [cell.id.removeprefix("cell-") for cell in book.cells] == [str(n) for n in range(len(book.cells))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_begin_with_the_setup_cell(path):
    assert code(nbformat.read(path, 4))[0] == code(nbformat.read(NOTEBOOKS[0], 4))[0], "the same in all of them"


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_parameters_are_annotated_and_papermill_sees_them_all(path):
    book = nbformat.read(path, 4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert "parameters" in cells[1].metadata.get("tags", []), "setup, then parameters"
    types = course.declared(path)
    assert next(iter(types)) == "preset" and all(name == name.lower() for name in types)
    assert list(papermill.inspect_notebook(str(path))) == list(types), "one line each, no second = in its comment"


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_notebooks_keep_to_the_style(path):
    book = nbformat.read(path, 4)
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    words, cells = sum(len(text.split()) for text in texts), code(book)[1:]  # the setup cell is everybody's
    lines = [len([line for line in cell.splitlines() if line.strip()]) for cell in cells]
    assert re.match(r"\d\d_[a-z]+(_[a-z]+)+$", path.stem)
    assert texts[0].startswith("# ") and all(word in texts[0].lower() for word in ("do", "learn", "need"))
    assert 20 <= len(book.cells) <= 55 and 500 <= words <= 1800, (len(book.cells), words)
    assert sum(lines) <= 165 and max(lines) <= 22 and statistics.median(lines) <= 7, (sum(lines), max(lines))
    assert sum(cell.count("\ndef ") + cell.startswith("def ") for cell in cells) <= 2
    checks = [cell for cell in cells if re.search(r"^\s*assert .*,", cell, re.M | re.S)]
    assert len(checks) >= 3, "three check cells with advice"
    assert "record_results(" in cells[-1], "the last code cell records the key numbers"
    headings = re.findall(r"^#+ (.+)$", "\n".join(texts), re.M)
    for wanted in ("What went wrong and why", "Check yourself", "Exercises", "Next"):
        assert any(wanted.lower() in heading.lower() for heading in headings), f"a section '{wanted}'"
