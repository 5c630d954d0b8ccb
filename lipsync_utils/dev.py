"""The make targets as one line of Python each: `python -m lipsync_utils.dev course`. Needs nothing but Python.

A target first sees to it that `.venv` has what requirements*.txt list (a stamp file remembers that, so the second
time costs nothing) and then runs in it. The Makefile only calls this; Windows needs no make.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)
MODULE = "lipsync_utils"
BENCH = ["-q", "-p", "tests.bench_report", "-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"]

# target: (needs requirements-dev.txt, what it does, command after the environment's python)
TARGETS = {
    "course": (False, "run all notebooks in order", ["-m", f"{MODULE}.course", "--preset", "sample"]),
    "test": (True, "everything a push must pass, the notebooks at a small size included", ["-m", "pytest"]),
    "lint": (True, "ruff over the package, the tests and the notebooks", ["-m", "ruff", "check", "."]),
    "lab": (False, "open the notebooks in JupyterLab", ["-m", "jupyterlab", "--notebook-dir=."]),
    "app": (False, "serve the web app on this machine", ["-m", f"{MODULE}.picker.serve"]),
    "book": (False, "the notebooks as a web site in docs/_site/", ["-m", f"{MODULE}.book"]),
    "bench": (True, "the benchmark tables", ["-m", "pytest", *BENCH]),
    "study": (
        False,
        "the long study (an hour or two, resumable); results in data/study/",
        ["-m", f"{MODULE}.evaluation.study"],
    ),
}


def say(text: str) -> None:
    """One line for the person at the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# OMP_WAIT_POLICY: torch's threads wait for each other asleep. Awake, as is usual, they take each other's core as soon
# as anything else runs on the machine, and training is many times slower (bench_training measures it).
def run(command: list[str]) -> None:
    """Run a command in the project's folder with its output shown; stop with its status where it fails."""
    done = subprocess.run(command, cwd=ROOT, env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ})
    if done.returncode:
        say(f"stopped: {' '.join(command)} ended with status {done.returncode}")
        sys.exit(done.returncode if done.returncode > 0 else 1)


def environment() -> Path:
    """The environment's folder: LIPSYNC_VENV, else .venv beside the notebooks."""
    return Path(os.environ.get("LIPSYNC_VENV") or ROOT / ".venv").absolute()


def python_of(folder: Path) -> Path:
    """The interpreter inside an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python() -> str:
    """An interpreter of a supported version: this one, else one on the PATH. Exits with advice where there is none."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in (12, 11, 13):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
            return found
    this = ".".join(map(str, sys.version_info[:2]))
    say(f"This is Python {this}; the course needs 3.11 to 3.13 (Colab has 3.12). Install one and run this again.")
    sys.exit(1)


def fingerprint(files: list[str]) -> str:
    """What an installation depends on: the requirements, the package's metadata and where it lies."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in [*files, "pyproject.toml"]:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def works(python: Path) -> bool:
    """Is there an environment whose interpreter and pip start? (One that was interrupted or moved does not.)"""
    if not python.exists():
        return False
    return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode == 0


def make_environment(folder: Path) -> None:
    """Make a fresh environment in `folder`, in place of what is there."""
    python = find_python()
    say(f"making the environment {folder} with {python}")
    done = subprocess.run([python, "-m", "venv", "--clear", str(folder)])
    if done.returncode:
        say("Python's venv module could not make it; on Debian and Ubuntu it is a package of its own: python3-venv")
        sys.exit(1)


@contextlib.contextmanager
def alone(folder: Path):
    """One installation at a time per environment: a second one waits until the first is done (or was killed)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # tries for ten seconds, then an error
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(dev: bool) -> Path:
    """See to it that the environment has what is needed; returns its interpreter. Does nothing where it already has."""
    with alone(environment()):
        return install_alone(environment(), dev)


def install_alone(folder: Path, dev: bool) -> Path:
    """The work of `install`, in `folder`, which nobody else changes meanwhile."""
    python, stamp = python_of(folder), folder / (".installed-dev" if dev else ".installed")
    lists = ["requirements.txt", "requirements-face.txt", *(["requirements-dev.txt"] if dev else [])]
    wanted = fingerprint(lists)
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return python
    if not works(python):
        make_environment(folder)
    if sys.platform == "linux" and not shutil.which("nvidia-smi"):
        say(
            "note: no NVIDIA GPU seen. If pip begins to fetch packages called nvidia-..., stop it: "
            "the README's section 'Install' has the small way."
        )
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    steps = [
        ["-r", "requirements.txt"],
        ["--no-deps", "-r", "requirements-face.txt"],
        ["--no-deps", "--no-build-isolation", "-e", "."],
    ]
    if dev:
        steps.insert(2, ["-r", "requirements-dev.txt"])
    say("installing: 3 to 10 minutes and about 3 GB of disk the first time")
    for number, step in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] pip install {' '.join(step)}")
        run([*pip, *step])
    if dev:
        (folder / ".installed").write_text(fingerprint(lists[:2]))
    stamp.write_text(wanted)
    say("installed")
    return python


def clean() -> None:
    """Remove the environment, caches and the built site. data/ and outputs/ are never touched."""
    names = (".venv", ".venv.lock", ".pytest_cache", ".ruff_cache", ".hypothesis", "build", "docs/_site")
    found = [ROOT / name for name in names] + list(ROOT.glob("*.egg-info"))
    for part in (MODULE, "tests", "notebooks"):
        for name in ("__pycache__", ".ipynb_checkpoints"):
            found += (ROOT / part).rglob(name)
    for path in found:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            continue
        say(f"removed {path.relative_to(ROOT)}")
    say("data/ and outputs/ are as they were")


def main(arguments: list[str]) -> None:
    """`TARGET [more arguments for its command]`; see TARGETS. `install` and `clean` run nothing afterwards."""
    target, *rest = arguments or ["help"]
    if target == "clean":
        clean()
    elif target == "install":
        install(dev="--dev" in rest)
    elif target in TARGETS:
        dev, _, command = TARGETS[target]
        module = command[1].replace(".", "/")
        if module.startswith(MODULE) and not any((ROOT / f"{module}{end}").exists() for end in (".py", "/__main__.py")):
            say(f"{target}: this version of the course has no {command[1]}")
            sys.exit(2)
        run([str(install(dev)), *command, *rest])
    else:
        say("make TARGET, or python -m lipsync_utils.dev TARGET [options of its command]:")
        for name, (_, meaning, _) in TARGETS.items():
            say(f"  {name:8}{meaning}")
        say(f"  {'clean':8}remove the environment and caches, never data/ or outputs/")
        sys.exit(0 if target == "help" else 2)


if __name__ == "__main__":
    main(sys.argv[1:])
