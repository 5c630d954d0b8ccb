"""Folders, safe writing, locks, progress and results: the ground that all stages stand on. No torch, no ffmpeg.

Every file appears under its own name only when it is complete: it is written under a temporary name in the same
folder, synced, and renamed. A run that is killed leaves at most a temporary file, which the next run removes.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import filelock
from tqdm.auto import tqdm

from .errors import DiskFullError, SettingError

log = logging.getLogger(__name__)

TEMPORARY = ".part-"  # every temporary name begins so; leftovers are safe to delete


def home() -> Path:
    """The project's folder: LIPSYNC_HOME, else the first upward with notebooks/ and data/, else the checkout."""
    if os.environ.get("LIPSYNC_HOME"):
        return Path(os.environ["LIPSYNC_HOME"]).expanduser().resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks").is_dir() and (folder / "data").is_dir():
            return folder
    return here


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The folder data/<name>/ of one data set, and where things lie in it."""

    name: str
    root: Path

    @property
    def raw(self) -> Path:
        """Collected videos: raw/<video_id>.mp4."""
        return self.root / "raw"

    @property
    def clips(self) -> Path:
        """Cut clips: clips/<video_id>/<clip_id>.mp4."""
        return self.root / "clips"

    @property
    def faces(self) -> Path:
        """Face crops: faces/<video_id>/<clip_id>/{0.jpg.., audio.wav, mel.npy}."""
        return self.root / "faces"

    @property
    def cache(self) -> Path:
        """Detected faces of whole media files, one CSV each."""
        return self.root / "cache"

    def path(self, *parts: str) -> Path:
        """A file of the data set, for example path("clips.csv")."""
        return self.root.joinpath(*parts)

    def journal(self, stage: str) -> Path:
        """Where a stage notes what it has done, one small file per item."""
        return self.root / ".journal" / stage


def data_set(name: str, root: Path | None = None) -> DataSet:
    """The data set called `name`, its folder made if need be. root: another place than data/<name>/."""
    data = DataSet(name, root or named_folder("data", name))
    data.root.mkdir(parents=True, exist_ok=True)
    made_from([], data.raw.glob("*.mp4"))
    return data


def run_folder(name: str) -> Path:
    """outputs/<name>/, made if need be: what one run leaves behind."""
    return named_folder("outputs", name)


def named_folder(kind: str, name: str) -> Path:
    """A folder of data/ or outputs/, made if need be. Raises SettingError where the name cannot be a folder's."""
    if safe_name(name) != name:
        raise SettingError(
            f"{name!r} cannot be a folder in {kind}/: use letters, digits, '-' and '_', such as {safe_name(name)!r}"
        )
    folder = home() / kind / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def resolve(path: Path | str, parameter: str = "") -> Path:
    """A path as a reader writes it: relative ones count from home(), wherever the notebook or runner was started.

    parameter: what gave the path; then something must be there, else SettingError.
    """
    full = (home() / Path(path).expanduser()).resolve()
    if parameter and not full.exists():
        raise SettingError(f"{parameter}={str(path)!r}: there is no {full}; relative paths count from {home()}")
    return full


def made_from(made: Iterable[Path], sources: Iterable[Path]) -> None:
    """Note which files or folders are about to be made from which: collect.forget follows these notes.

    A notebook that the course runs shows what it reads and makes, so it counts as made from the same.
    """
    note = [list(map(from_home, paths)) for paths in ([*made, *running_notebook()], sources)]
    if all(note):
        with notes() as path, path.open("a+", encoding="utf-8") as stream:
            stream.seek(0)
            if (line := json.dumps(note)) not in stream.read().splitlines():
                stream.write(f"\n{line}")  # the line end first: half a line of a killed run spoils no other


def from_home(path: Path) -> str:
    """A path for resolve() to read: from home() where it is inside, so that a project may move."""
    full = Path(path).absolute().resolve()
    return str(full.relative_to(home()) if full.is_relative_to(home()) else full)


def running_notebook() -> list[Path]:
    """The executed notebook that this process writes for the course, its page and summary; else []."""
    name = Path(os.environ.get("PAPERMILL_OUTPUT_PATH", ""))
    return [name, name.with_suffix(".html"), name.with_name("summary.json")] if name.name else []


@contextlib.contextmanager
def notes() -> Iterator[Path]:
    """The file of made_from()'s notes, held for this process: JSON lines [[made, ..], [source, ..]], from home()."""
    path = home() / "outputs" / ".made_from.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"):
        yield path


def safe_name(text: str, longest: int = 80) -> str:
    """A file name that is safe on every system, made of any title: ASCII letters, digits, '-', '_' and '.'.

    Never empty, never hidden, no leading dash, no device name of Windows.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")[:longest].rstrip("._-")
    if not plain:
        plain = "x" + hashlib.sha256(text.encode()).hexdigest()[:8]
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain):
        plain = "x" + plain
    return plain


def spread(n_items: int, most: int) -> list[int]:
    """The places of at most `most` of `n_items` things, evenly spread from the first to the last."""
    n = min(n_items, most)
    return [round(i * (n_items - 1) / max(n - 1, 1)) for i in range(n)]


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder (same suffix); on success it is synced and takes the name `path`.

    Raises DiskFullError where the disk is full, leaving nothing half-written behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.parent / f"{TEMPORARY}{os.urandom(4).hex()}{path.suffix}" for _ in range(2))
    try:
        yield temporary
        for file in (*temporary.rglob("*"), temporary):
            sync(file)
        if path.is_dir():  # a folder cannot be replaced in one step; a kill in between costs one item, no more
            path.replace(old)
        temporary.replace(path)
        sync(path.parent)
    except BaseException as error:
        raise_if_full(error, path)
        raise
    finally:
        remove(temporary)
        remove(old)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder with all that is in it: yields an empty one."""
    with atomic_file(path) as temporary:
        temporary.mkdir()
        yield temporary


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it, where it is there and can be deleted."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def sync(path: Path) -> None:
    """Ask the system to bring a file or folder to the disk; Windows cannot be asked this way."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network folders cannot
            raise
    finally:
        os.close(descriptor)


def raise_if_full(error: BaseException, path: Path) -> None:
    """Turn the system's 'disk full' into an error that says what to do."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFullError(f"{path}: the disk is full; free some space and run again: what is done stays") from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders that a killed run left in `folder` and one level below."""
    for leftover in [*Path(folder).glob(f"{TEMPORARY}*"), *Path(folder).glob(f"*/{TEMPORARY}*")]:
        remove(leftover)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, line ends as given."""
    write_bytes(path, text.encode())


def write_json(path: Path, value) -> None:
    """Write JSON atomically: keys sorted, so that equal content is equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n")


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes, as hex. Raises OSError where there is no file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def kept(maxsize: int) -> Callable:
    """functools.lru_cache for functions of files, or of clips: what lies there with another content is read anew."""

    def decorate(function):
        @functools.lru_cache(maxsize)
        def known(_contents, *given, **named):
            return function(*given, **named)

        @functools.wraps(function)
        def asked(*given, **named):
            paths = (Path(one) for one in (getattr(one, "path", one) for one in given) if isinstance(one, (str, Path)))
            return known(tuple(content_hash(path) for path in paths if path.is_file()), *given, **named)

        return asked

    return decorate


@contextlib.contextmanager
def lock(folder: Path, what: str = "this folder") -> Iterator[None]:
    """Hold `folder` for one process; a second one says so, and waits. A killed process holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(folder / ".lock")
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        log.warning("%s: another process is busy with %s; waiting until it ends", folder, what)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def progress(items: Iterable | None = None, **options) -> tqdm:
    """A progress bar; where nobody watches a terminal or notebook, a line every 30 s. options: of tqdm."""
    batch = os.environ.get("PAPERMILL_OUTPUT_PATH") or os.environ.get("CI")
    watched = not batch and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(items, mininterval=0.2 if watched else 30, ascii=not watched, dynamic_ncols=watched, **options)


def setup_logging() -> None:
    """Show the package's log lines: time, level, text. In a notebook they are output like any other, not errors."""
    stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=stream)
    logging.getLogger("lipsync_utils").setLevel(logging.INFO)


def record_results(notebook: str, **numbers: float | int | str | bool) -> dict:
    """Keep a notebook's key numbers: outputs/results/<notebook>.json, which the runner shows in its table."""
    write_json(home() / "outputs" / "results" / f"{safe_name(notebook)}.json", numbers)
    return numbers
