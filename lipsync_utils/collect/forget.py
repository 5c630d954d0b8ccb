"""Consent withdrawn: remove a video and everything that was made of it, and say what only a person can remove."""

import contextlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import ManifestError
from ..project import DataSet, content_hash, from_home, home, lock, notes, remove, resolve, running_notebook, write_text
from .stage import local_path, read_sources

log = logging.getLogger(__name__)

IDS = ["video_id", "clip_id", "speech_id"]  # the columns that name a video or one of its clips


@dataclass(frozen=True)
class Forgotten:
    """What forget() did. removed: files and folders; rows: how many went from which table.

    saw_it: checkpoints trained or chosen with it.  yours: what is left for you to delete: the file that was collected,
    exported films, pictures that you gave, files that could not be deleted, and every notebook with outputs that the
    course did not run itself: it may show the video.
    """

    video_id: str
    removed: list[Path]
    rows: dict[str, int]
    saw_it: list[Path]
    yours: list[Path]

    def __str__(self):
        lines = [f"{self.video_id}: {len(self.removed)} files and folders removed; rows removed: {self.rows}"]
        lines += [f"delete or retrain, it saw the video: {path}" for path in self.saw_it]
        lines += [f"look at it yourself: {path}" for path in self.yours]
        return "\n".join([*lines, "look also at what you copied or ran outside the project's folder"])


def forget(data: DataSet, video_id: str) -> Forgotten:
    """Remove a video and all that the course made of it: in the data set, and wherever project.made_from noted it.

    A training run names the videos it saw in its data.json, and its checkpoints are named in the answer, not deleted:
    what a network has learnt cannot be taken out of it. Raises ManifestError where nothing of this video is known.
    """
    root, outputs = data.root.resolve(), home() / "outputs"
    ids = re.compile(rf"{re.escape(video_id)}(_\d{{7,}}_\d{{7,}})?")  # of the video and its clips
    with lock(root / ".journal", what="forgetting a video"), notes() as notes_file:
        made = read_notes(notes_file)
        sources = read_sources(data) if data.path("videos.csv").exists() else []
        given = {local_path(s.source, data).resolve() for s in sources if s.video_id == video_id}
        own = {root / "raw" / f"{video_id}{suffix}" for suffix in (".mp4", ".truth.csv", ".truth.json")}
        own |= {root / folder / video_id for folder in ("clips", "faces", "cache/crops", ".downloads")}
        found, new = set(), own | given
        while new:  # what was made from these or from files in them, what was made from that, and so on
            found |= new
            new = {p for results, used in made if any(found & {s, *s.parents} for s in used) for p in results} - found
        archives = {p for results, used in made if given.intersection(results) for p in used}
        if archives:  # what was given is the archive; what lies in archive/ was unpacked by us
            own, given = own | given, set()
        places = root, outputs, home() / "docs" / "_site"
        now = {p.resolve() for p in running_notebook()}  # is written again when it ends, so its notes stay
        ours = {p for p in found - given - now if any(p.is_relative_to(place) for place in places)}
        tables = {p for p in ours - own if p.suffix == ".csv"}
        runs = [p.parent for p in outputs.rglob("data.json") if f'"{video_id}"'.encode() in p.read_bytes()]
        journal = {p for p in root.glob(".journal/*/*.json") if ids.fullmatch(p.stem)}
        doomed = {p for p in (ours - tables | journal | {run / "samples" for run in runs}) if p.exists()}
        hashes = {content_hash(p)[:16] for path in doomed for p in (path, *path.rglob("*")) if p.is_file()}
        caches = (p for place in (root, outputs) for p in place.rglob("faces-*.csv"))
        doomed |= {p for p in caches if p.name.split("-")[1] in hashes}  # the faces of a file, by its content
        for path in sorted(doomed, key=own.__contains__):  # last goes what the rest was found by
            remove(path)
        tables |= {*root.glob("*.csv"), *root.glob("filelists/*.txt")}
        rows = {path.name: gone for path in sorted(tables) if path.is_file() and (gone := drop_rows(path, ids))}
        if not doomed and not rows:
            raise ManifestError(f"{root}: nothing is known of a video {video_id!r}; see column video_id of videos.csv")
        pictures = {p for results, used in made if root / "speaker.csv" in results for p in used}
        pictures -= {p for results, _ in made for p in results}
        keep = [[[from_home(p) for p in paths if p not in found - now] for paths in note] for note in made]
        write_text(notes_file, "".join(f"\n{json.dumps(note)}" for note in keep if all(note)))
    left = found | doomed | pictures | archives | notebooks({p for results, _ in made for p in results})
    result = Forgotten(
        video_id,
        removed=sorted(p for p in doomed if not p.exists()),
        rows=rows,
        saw_it=[p for run in sorted(runs) for p in sorted(run.glob("checkpoints/*")) or [run]],
        yours=sorted(p for p in left - tables if p.exists()),
    )
    log.info("%s", result)
    return result


def read_notes(path: Path) -> list[list[list[Path]]]:
    """The notes [[made, ..], [source, ..]] as full paths; half a line of a killed run is passed over."""
    made = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            made.append([[resolve(p) for p in paths] for paths in json.loads(line)])
    return made


def notebooks(noted: set[Path]) -> set[Path]:
    """Notebooks with outputs in the project's folder, and their pages, that are not among those noted."""
    found = {p.resolve() for p in home().rglob("*.ipynb") if b'"output_type"' in p.read_bytes()}
    return {p for path in found for p in (path, path.with_suffix(".html")) if "site-packages" not in p.parts} - noted


def drop_rows(path: Path, ids: re.Pattern) -> int:
    """Rewrite a table, or a list of folders, without a video's rows; returns how many went."""
    header = None if path.suffix == ".txt" else 0
    try:
        table = pd.read_csv(path, header=header, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        return 0
    named = table if header is None else table.filter(IDS)
    gone = named.map(lambda cell: ids.fullmatch(cell.split("/")[0]) is not None).any(axis=1)
    if gone.any():
        write_text(path, table[~gone].to_csv(index=False, header=header == 0))
    return int(gone.sum())
