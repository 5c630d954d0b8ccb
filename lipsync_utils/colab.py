"""Make a Colab machine ready for the course: install what it lacks, keep what it has, put the data where it survives.

The first code cell of every notebook brings the project and calls `set_up`; nothing here runs elsewhere.
"""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from .errors import LipsyncError


def installed_version(name: str) -> str | None:
    """The version of an installed distribution, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def compare(course: Path) -> tuple[list[str], list[str]]:
    """What the course's pyproject.toml asks for: (requirements to install, "name==version" of what stays as it is).

    An installed torch stays whatever its version: Colab's fits Colab's driver.
    """
    missing, kept = [], []
    for line in tomllib.loads((course / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(line)
        version = installed_version(wanted.name)
        if version and (wanted.name == "torch" or wanted.specifier.contains(version, prereleases=True)):
            kept.append(f"{wanted.name}=={version}")
        else:
            missing.append(str(wanted))
    return missing, kept


def install(course: Path) -> list[str]:
    """Install what is missing, with what is there held fast; returns what was installed. Raises LipsyncError."""
    missing, kept = compare(course)
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder, "keep.txt")
            constraints.write_text("\n".join(kept))
            pip("--constraint", str(constraints), *missing)
    if not installed_version("face-recognition"):  # asks for a dlib that compiles; we have it as a wheel
        pip("--no-deps", "-r", str(course / "requirements-face.txt"))
        missing.append("face-recognition")
    importlib.invalidate_caches()
    return missing


def pip(*arguments: str) -> None:
    """pip install, quietly; its own words in our error."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LipsyncError(
            f"pip could not install {' '.join(arguments)}: {done.stderr[-800:]}\nRun the setup cell "
            "again; if that does not help: Runtime > Disconnect and delete runtime, and start afresh."
        )


def keep_in(folder: Path, course: Path) -> None:
    """Put data/ and outputs/ into `folder` (on Drive) for this session and all it starts; what is there stays.

    The committed files of both (read-me files, examples, the long study) are copied; data sets and runs are not.
    """
    (folder / "outputs").mkdir(parents=True, exist_ok=True)
    for source in (path for pattern in ("data/*.*", "data/study/*.*", "outputs/*.*") for path in course.glob(pattern)):
        target = folder / source.relative_to(course)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file() and not target.exists():
            shutil.copyfile(source, target)
    os.environ["LIPSYNC_HOME"] = str(folder)


def set_up(course: str, keep: str = "") -> str:
    """Make this Colab session ready; returns one line that says what was done.

    course: the project's folder.  keep: a folder for data/ and outputs/, usually on Drive ("" leaves them in the
    project's folder, which Colab forgets).  Safe to run again after a disconnect: what is done is not done twice.
    """
    from google.colab import output  # exists in Colab only

    root = Path(course).resolve()
    done = ", ".join(install(root)) or "nothing, all was there"
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # for the processes that the stages start
    if keep:
        keep_in(Path(keep), root)
    output.enable_custom_widget_manager()
    place = keep or f"{root} (forgotten when Colab disconnects: name a folder on Drive to keep them)"
    return f"Ready. Installed: {done}. torch {installed_version('torch')}. data/ and outputs/ in {place}."
