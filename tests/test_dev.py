"""dev: installs once, visibly, and clean never touches data/ or outputs/."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_utils import dev


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A stand-in for the checkout, its environment made by a stand-in for venv and pip; yields (folder, commands)."""
    root, commands = tmp_path / "checkout", []
    root.mkdir()
    for name in ("requirements.txt", "requirements-face.txt", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(dev.ROOT / name, root)
    monkeypatch.setattr(dev, "ROOT", root)
    monkeypatch.delenv("LIPSYNC_VENV", raising=False)

    def run(command, **_):
        commands.append(" ".join(map(str, command)))
        if "venv" in command:
            python = dev.python_of(Path(command[-1]))
            python.parent.mkdir(parents=True)
            python.touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(dev.subprocess, "run", run)
    return root, commands


def test_the_second_time_installs_nothing(checkout, capsys):
    root, commands = checkout
    python = dev.install(dev=True)
    steps = [command.split(" install ")[1] for command in commands if " install " in command]
    assert steps == [
        "-r requirements.txt",
        "--no-deps -r requirements-face.txt",
        "-r requirements-dev.txt",
        "--no-deps --no-build-isolation -e .",
    ]
    said = capsys.readouterr().out
    assert "[1/4] pip install -r requirements.txt" in said and "installed" in said
    commands.clear()
    assert dev.install(dev=True) == dev.install(dev=False) == python and not commands and not capsys.readouterr().out
    assert python == dev.python_of(root / ".venv")


def test_a_changed_list_installs_again(checkout):
    root, commands = checkout
    dev.install(dev=False)
    commands.clear()
    (root / "requirements-dev.txt").write_text("x==1\n")
    dev.install(dev=False)
    assert not commands
    (root / "requirements.txt").write_text("x==1\n")
    dev.install(dev=False)
    assert len([command for command in commands if " install " in command]) == 3


def test_an_interrupted_installation_goes_on(checkout, monkeypatch):
    root, commands = checkout
    working = dev.subprocess.run

    def fails(command, **options):
        done = working(command, **options)
        return subprocess.CompletedProcess(command, 1) if "--no-deps" in command else done

    monkeypatch.setattr(dev.subprocess, "run", fails)
    with pytest.raises(SystemExit):
        dev.install(dev=False)
    monkeypatch.setattr(dev.subprocess, "run", working)
    commands.clear()
    dev.install(dev=False)
    assert not any(" venv " in command for command in commands) and (root / ".venv" / ".installed").exists()


def test_clean_keeps_data_and_outputs(checkout, capsys):
    root, _ = checkout
    for name in (
        ".venv/bin/python",
        "data/sample/raw/a.mp4",
        "data/x/__pycache__/a",
        "outputs/run/a.pt",
        "docs/_site/index.html",
        "notebooks/.ipynb_checkpoints/a",
        "lipsync_utils/__pycache__/a.pyc",
        "lipsync_utils/faces/__pycache__/a.pyc",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "outputs" / "link").symlink_to(root / "data")
    dev.main(["clean"])
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {"data/sample/raw/a.mp4", "data/x/__pycache__/a", "outputs/run/a.pt", "requirements.txt"} <= left
    assert not [name for name in left if name.startswith((".venv", "docs", "lipsync_utils", "notebooks"))]
    assert "removed .venv" in capsys.readouterr().out


def test_targets_run_in_the_environment_with_their_options(checkout, capsys):
    _, commands = checkout
    dev.install(dev=True)
    commands.clear()
    (dev.ROOT / "lipsync_utils").mkdir()
    (dev.ROOT / "lipsync_utils" / "course.py").touch()
    dev.main(["course", "--only", "02"])
    assert commands == [f"{dev.python_of(dev.environment())} -m lipsync_utils.course --preset sample --only 02"]
    with pytest.raises(SystemExit):
        dev.main(["corse"])
    assert "make TARGET" in capsys.readouterr().out


def test_it_needs_nothing_but_python(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(dev.ROOT)!r}); from lipsync_utils import dev; dev.main([])",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode in (0, None) and "make TARGET" in done.stdout, done.stderr
