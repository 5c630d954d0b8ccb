"""The setup cell and colab.set_up, in a clean interpreter with stand-ins for google.colab and pip: no network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import packaging
import pytest

from lipsync_utils import colab
from lipsync_utils.errors import LipsyncError

ROOT = Path(__file__).resolve().parents[1]
CELLS = nbformat.read(ROOT / "notebooks" / "00_tour_the_course.ipynb", 4).cells
SETUP_CELL = next(cell.source for cell in CELLS if cell.cell_type == "code")  # test_house: the same in all notebooks
COLAB = {
    "google/__init__.py": "",
    "google/colab/__init__.py": "",
    "google/colab/drive.py": "def mount(place):\n    print('mounted', place)\n",
    "google/colab/output.py": "def enable_custom_widget_manager():\n    print('widgets on')\n",
}
PIP = """
import json, os, sys
words = sys.argv[1:]
if "--constraint" in words:
    at = words.index("--constraint")
    words[at + 1] = open(words[at + 1]).read()
with open(os.environ["PIP_LOG"], "a") as file:
    file.write(json.dumps(words) + "\\n")
sys.exit(int(os.environ.get("PIP_STATUS", 0)))
"""


AFTER = """
import json, os, sys
print(json.dumps({"home": os.environ.get("LIPSYNC_HOME"), "path": sys.path[0], "torch": "torch" in sys.modules,
                  "children": os.environ["PYTHONPATH"]}))
"""


def write(folder, files):
    """Files with their text below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def has(folder, **versions):
    """Make `folder` look as if these distributions were installed in it."""
    for name, version in versions.items():
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        write(folder, {f"{name}-{version}.dist-info/METADATA": metadata})


@pytest.fixture
def machine(tmp_path):
    """A clean machine like Colab's: stand-in modules, a torch of its own, no network; returns (run, folder)."""
    site = tmp_path / "site"
    write(site, COLAB | {"pip/__init__.py": "", "pip/__main__.py": PIP})
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")
    has(site, torch="2.9.0+cu128", numpy="2.0.2", tqdm="4.67.1", pillow="99.0")
    work = tmp_path / "content"
    work.mkdir()

    def run(code=SETUP_CELL, **variables):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LIPSYNC", "COV"))}
        clean |= {"PYTHONPATH": str(site), "PIP_LOG": str(tmp_path / "pip.log"), **variables}
        command = [sys.executable, "-S", "-c", code + AFTER]
        return subprocess.run(command, cwd=work, env=clean, capture_output=True, text=True)

    return run, tmp_path


def pip_calls(folder):
    """What pip was asked for, call by call."""
    log = folder / "pip.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_nothing_happens_outside_colab(tmp_path):
    done = subprocess.run([sys.executable, "-c", SETUP_CELL], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr, list(tmp_path.iterdir())) == (0, "", "", [])


def test_the_setup_cell_is_short():
    lines = SETUP_CELL.splitlines()
    assert len(lines) <= 20 and max(map(len, lines)) <= 120


def test_colab_gets_the_project_and_only_what_it_lacks(machine):
    run, folder = machine
    repository = folder / "repository"
    shutil.copytree(ROOT / "lipsync_utils", repository / "lipsync_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements-face.txt"):
        shutil.copy(ROOT / name, repository)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=repository, check=True)

    done = run(LIPSYNC_SOURCE=repository.as_uri())
    assert done.returncode == 0, done.stderr
    assert "mounted" not in done.stdout and "widgets on" in done.stdout
    assert "torch 2.9.0+cu128" in done.stdout
    state = json.loads(done.stdout.splitlines()[-1])
    clone = str(folder / "content" / "lipsync-course")
    assert state["path"] == clone and clone in state["children"].split(os.pathsep) and not state["torch"]
    first, second = pip_calls(folder)
    at = first.index("--constraint")
    kept, wanted = first[at + 1].split(), first[at + 2 :]
    assert kept == ["numpy==2.0.2", "torch==2.9.0+cu128", "tqdm==4.67.1"]
    names = {word.split(">")[0].split("<")[0].split("=")[0] for word in wanted}
    assert {"dlib-bin", "papermill", "pillow"} <= names
    assert not {"torch", "numpy", "tqdm", "voila", "jupyterlab"} & names
    assert second[-3:-1] == ["--no-deps", "-r"] and second[-1].endswith("requirements-face.txt")

    # the same cell again, after the kernel was restarted: the clone is there, it is not fetched twice
    shutil.rmtree(repository)
    assert run(LIPSYNC_SOURCE=repository.as_uri()).returncode == 0


def test_data_and_outputs_go_to_drive_when_asked_and_survive(machine):
    run, folder = machine
    kept = folder / "drive" / "MyDrive" / "lipsync"
    write(kept, {"outputs/README.md": "mine"})
    done = run(LIPSYNC_SOURCE=str(ROOT), LIPSYNC_HOME=str(kept))
    assert done.returncode == 0, done.stderr
    assert "mounted /content/drive" in done.stdout and json.loads(done.stdout.splitlines()[-1])["home"] == str(kept)
    assert (kept / "data" / "videos.example.csv").exists() and (kept / "outputs" / "README.md").read_text() == "mine"
    again = run(LIPSYNC_SOURCE=str(ROOT), LIPSYNC_HOME=str(kept))
    assert again.returncode == 0 and sorted(p.name for p in kept.iterdir()) == ["data", "outputs"]


def test_pip_failing_is_an_error_that_says_what_to_do(machine):
    run, _ = machine
    done = run(LIPSYNC_SOURCE=str(ROOT), PIP_STATUS="1")
    assert done.returncode and "pip could not install" in done.stderr and "Run the setup cell again" in done.stderr


def test_a_torch_outside_the_range_is_kept_all_the_same(tmp_path, monkeypatch):
    asked = '["torch>=2.6,<3", "numpy>=2", "there-is-no-such>=1"]'
    write(tmp_path, {"pyproject.toml": f"[project]\ndependencies = {asked}\n"})
    versions = {"torch": "1.13.0", "numpy": "1.26.0"}
    monkeypatch.setattr(colab, "installed_version", versions.get)
    assert colab.compare(tmp_path) == (["numpy>=2", "there-is-no-such>=1"], ["torch==1.13.0"])


def test_pip_words_are_in_the_error(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "No matching distribution")
    monkeypatch.setattr(colab.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(LipsyncError, match="No matching distribution"):
        colab.pip("x")
