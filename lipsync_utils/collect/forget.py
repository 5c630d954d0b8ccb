"""Consent withdrawn: remove a video and everything that was made of it, and say which checkpoints have seen it."""

import csv
import io
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ManifestError
from ..project import DataSet, content_hash, home, lock, write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forgotten:
    """What forget() did. removed: files and folders; rows: how many went from which table; saw_it: training runs."""

    video_id: str
    removed: list[Path]
    rows: dict[str, int]
    saw_it: list[Path]

    def __str__(self):
        rows = ", ".join(f"{number} from {name}" for name, number in self.rows.items()) or "none"
        seen = ", ".join(p.as_posix() for p in self.saw_it) or "none"
        return (
            f"{self.video_id}: {len(self.removed)} files and folders removed; rows removed: {rows}; "
            f"checkpoints that saw it (delete or retrain them): {seen}"
        )


def forget(data: DataSet, video_id: str, outputs: Path | None = None) -> Forgotten:
    """Remove a video, its clips, faces, cached boxes, journal entries and rows from a data set.

    outputs: the folder of the training runs (default outputs/); a run names the videos it saw in its data.json, and
    its checkpoints are named in the answer, not deleted: what a network has learnt cannot be taken out of it.
    Raises ManifestError where nothing of this video is known.
    """
    made_from = re.compile(rf"{re.escape(video_id)}(_\d+_\d+)?")
    with lock(data.root / ".journal", what="forgetting a video"):
        raw = [p for p in data.raw.glob("*") if p.name.split(".")[0] == video_id or p.stem == video_id]
        folders = [folder / video_id for folder in (data.clips, data.faces, data.path(".downloads"))]
        found = [*raw, *(f for f in folders if f.exists())]
        hashes = [content_hash(p)[:16] for p in media_of(found)]
        found += [p for p in data.cache.rglob("*") if p.is_file() and any(h in p.name for h in hashes)]
        found += [p for p in data.root.glob(".journal/*/*.json") if made_from.fullmatch(p.stem)]
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        rows = {}
        for table in sorted(data.root.glob("*.csv")):
            rows[table.name] = without(table, lambda text: csv_without(text, video_id))
        for table in sorted(data.root.glob("filelists/*.txt")):
            rows[table.relative_to(data.root).as_posix()] = without(table, lambda text: list_without(text, video_id))
    rows = {name: number for name, number in rows.items() if number}
    if not found and not rows:
        raise ManifestError(f"{data.root}: nothing is known of a video {video_id!r}; see column video_id of videos.csv")
    result = Forgotten(video_id, found, rows, runs_that_saw(video_id, outputs or home() / "outputs"))
    log.info("%s", result)
    return result


def media_of(paths: list[Path]) -> list[Path]:
    """The video files in these files and folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return [file for file in files if file.is_file() and file.suffix in (".mp4", ".mkv", ".webm")]


def without(path: Path, change: Callable[[str], tuple[str, int]]) -> int:
    """Rewrite a table without some rows; returns how many went."""
    text, removed = change(path.read_text(encoding="utf-8-sig"))
    if removed:
        write_text(path, text)
    return removed


def csv_without(text: str, video_id: str) -> tuple[str, int]:
    """A CSV without the rows of a video, and how many they were; a table without a column video_id stays."""
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or "video_id" not in rows[0]:
        return text, 0
    column = rows[0].index("video_id")
    kept = [row for row in rows if len(row) <= column or row[column] != video_id]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(kept)
    return out.getvalue(), len(rows) - len(kept)


def list_without(text: str, video_id: str) -> tuple[str, int]:
    """A list of folders without those of a video, and how many they were."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if line.split("/")[0].strip() != video_id]
    return "".join(kept), len(lines) - len(kept)


def runs_that_saw(video_id: str, outputs: Path) -> list[Path]:
    """The checkpoints (or, without any, the folder) of every run whose data.json names the video."""
    seen = []
    for path in sorted(outputs.glob("*/data.json")):
        try:
            if video_id not in json.loads(path.read_text(encoding="utf-8"))["video_ids"]:
                continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s: cannot be read (%s); look yourself whether this run saw the video", path, error)
            continue
        files = sorted(p for p in path.parent.glob("checkpoints/**/*") if p.is_file())
        seen += files or [path.parent]
    return seen
