"""The Makefile: it installs once, goes on where it was interrupted, and clean never touches data/ or outputs/."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"course", "test", "lint", "lab", "app", "book", "bench", "study", "clean"}
# Stands in for Python: notes what it is asked for; `-m venv --clear FOLDER` puts itself there; fails where told to.
PYTHON = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in *"$FAIL"*) test -n "$FAIL" && exit 1;; esac
if [ "$2" = venv ]; then mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; fi
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


@pytest.fixture
def make(tmp_path):
    """A stand-in for the checkout; `make(target)` returns (status, what Python was asked for)."""
    names = ("Makefile", "requirements.txt", "requirements-face.txt", "requirements-dev.txt", "pyproject.toml")
    for name in names:
        shutil.copy(ROOT / name, tmp_path)
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(PYTHON)
    python.chmod(0o755)
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ARGS", "MAKE", "MFLAGS", "LIPSYNC"))
    }

    def run(*words, fail="", **variables):
        log.write_text("")
        known = clean | {"PYTHON": str(python), "LOG": str(log), "FAIL": fail, **variables}
        done = subprocess.run(["make", *words], cwd=tmp_path, env=known, capture_output=True, text=True)
        return done.returncode, log.read_text().splitlines()

    return run


def test_the_second_time_installs_nothing(make, tmp_path):
    status, asked = make("course")
    pip = [line.split(" install --no-compile ")[1] for line in asked if " install " in line]
    assert status == 0 and pip == [
        "-r requirements.txt",
        "--no-deps -r requirements-face.txt",
        "--no-deps --no-build-isolation -e .",
    ]
    assert asked[-1] == "-m lipsync_utils.course --preset sample"
    assert make("course", "ARGS=--only 02") == (0, ["-m lipsync_utils.course --preset sample --only 02"])
    assert "-r requirements.txt -r requirements-dev.txt" in "\n".join(make("test")[1])
    assert len(make("test")[1]) == len(make("course")[1]) == 1
    (tmp_path / "requirements.txt").write_text("x==1\n")
    os.utime(tmp_path / "requirements.txt", (2e9, 2e9))
    assert any(" install " in line for line in make("course")[1])


def test_an_interrupted_installation_goes_on(make, tmp_path):
    status, _ = make("course", fail="--no-deps -r")
    assert status and not (tmp_path / ".venv" / ".run").exists()
    status, asked = make("course")
    assert status == 0 and not any(" venv " in line for line in asked), "the environment itself was good"
    (tmp_path / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / ".venv" / ".run").unlink()
    assert make("course")[0] == 0


def test_another_place_for_the_environment(make, tmp_path):
    assert make("course", LIPSYNC_VENV=str(tmp_path / "a" / "b"))[0] == 0
    assert (tmp_path / "a" / "b" / ".run").exists() and not (tmp_path / ".venv").exists()


def test_too_old_a_python_is_said(make):
    status, asked = make("course", PYTHON="")
    assert status and not asked


def test_clean_keeps_data_and_outputs(make, tmp_path):
    kept = ["data/sample/raw/a.mp4", "data/x/__pycache__/a", "outputs/run/a.pt"]
    gone = [".venv/bin/python", "docs/_site/index.html", "notebooks/.ipynb_checkpoints/a", "tests/__pycache__/a.pyc"]
    for name in [*kept, *gone, "lipsync_utils/faces/__pycache__/a.pyc"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "outputs" / "link").symlink_to(tmp_path / "data")
    assert make("clean")[0] == 0
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in gone)
    assert not list((tmp_path / "lipsync_utils").rglob("*.pyc"))


def test_every_target_is_explained_here_and_in_the_guide_for_machines_without_make():
    makefile, guide = (ROOT / "Makefile").read_text(), (ROOT / "docs" / "guide.md").read_text()
    assert set(re.findall(r"^([a-z]+):.*## .+$", makefile, re.M)) == {*TARGETS, "help"}
    for target in TARGETS - {"clean"}:
        commands = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.M)[1]
        (first, *_) = re.findall(r"\$\(RUN\) ([\w.]+)", commands)
        assert re.search(rf"\| `make {target}` \| .*`python -m {re.escape(first)}\b", guide), target
