"""Helpers of the tests of stages 03 and 04: a data set of clips cut from the rendered show."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

from lipsync_utils import media, talkshow
from lipsync_utils.project import DataSet
from lipsync_utils.records import Clip, write_csv


def cut(video: Path, first: int, last: int, output: Path) -> Path:
    """Frames first..last of a 25 fps video as a clip of its own, exactly, with their sound."""
    output.parent.mkdir(parents=True, exist_ok=True)
    media.ffmpeg(
        [
            "-v",
            "error",
            "-y",
            "-ss",
            f"{first / 25}",
            "-t",
            f"{(last - first) / 25}",
            "-i",
            str(video),
            "-r",
            "25",
            "-ar",
            "16000",
            "-ac",
            "1",
            "-crf",
            "18",
            f"file:{output}",
        ]
    )
    return output


def join(first: Path, second: Path, output: Path) -> Path:
    """Two videos of one size, one after the other."""
    media.ffmpeg(
        [
            "-v",
            "error",
            "-y",
            "-i",
            str(first),
            "-i",
            str(second),
            "-filter_complex",
            "[0:v][0:a][1:v][1:a]concat=n=2:v=1:a=1[v][a]",
            "-map",
            "[v]",
            "-map",
            "[a]",
            str(output),
        ]
    )
    return output


def show_data(sample_show, root: Path) -> tuple[DataSet, list[Path]]:
    """Six clips of three videos with their truth, a kind of verdict each and one more; a reference picture of the host.

    host_0, host_1: the host alone; other: a guest; card: a title card; half: host, then guest; three: a group.
    """
    shots = {
        name: (round(s["start_s"] * 25), round(s["end_s"] * 25))
        for s in sample_show.info("talk")["shots"]
        for name in [s["kind"] + "-" + "".join(s["people"])]
    }
    host, guest = talkshow.host().name, talkshow.guests()[0].name
    (a, b), (c, _), (e, _) = shots[f"single-{host}"], shots["title-"], shots[f"single-{guest}"]
    talk, group = sample_show.video("talk"), sample_show.video("group")
    data = DataSet("show", root)
    half = cut(talk, b - 15, b, root / "half_a.mp4"), cut(talk, e, e + 15, root / "half_b.mp4")
    half = join(*half, root / "half.mp4")
    spans = [
        ("talk", "host_0", talk, a, a + 30),
        ("talk", "host_1", talk, b - 26, b),
        ("talk", "other", talk, e, e + 26),
        ("talk", "card", talk, c, c + 26),
        ("cuts", "half", half, 0, 30),
        ("group", "three", group, 0, 26),
    ]
    rows = []
    for video, name, source, first, last in spans:
        file = cut(source, first, last, data.clips / video / f"{name}.mp4").relative_to(root).as_posix()
        times = (first / 25, last / 25) * 2
        rows.append(Clip(name, video, *times, file, last - first, None, None, None))
    truths = {name: sample_show.rows(name) for name in ("talk", "group")}
    joined = [*range(b - 15, b), *range(e, e + 15)]
    truths["cuts"] = [
        dataclasses.replace(row, frame=k, time_s=k / 25)
        for k, frame in enumerate(joined)
        for row in truths["talk"]
        if row.frame == frame
    ]
    for video, truth in truths.items():
        write_csv(data.raw / f"{video}.truth.csv", truth, talkshow.FaceTruth)
    write_csv(root / "clips.csv", rows, Clip)
    reference = talkshow.portrait(root / "references" / "host.png", talkshow.host(), seed=3)
    return data, [reference]


def contents(root: Path) -> dict[str, str]:
    """sha256 of every file of a data set but journals, locks and cache, by name."""
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
    }


def copy(data: DataSet, root: Path) -> DataSet:
    """The same data set in another place."""
    shutil.copytree(data.root, root)
    return DataSet(data.name, root)
