"""Stage 01: every row of videos.csv becomes raw/<video_id>.mp4 and a row in collected.csv, or a row with the reason."""

import contextlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.request import url2pathname

import pandas as pd

from .. import talkshow
from ..config import CollectConfig, TalkshowConfig
from ..errors import ManifestError, MediaError
from ..media import probe
from ..parallel import Done, Item, LeftOut, run_stage, worker_count
from ..project import DataSet, content_hash, made_from, safe_name
from ..records import Reason, Source, Video, blank, read_rows, write_csv
from ..talkshow.video import VERSION as TALKSHOW_VERSION
from .fetch import ask, fetch, fetch_file

VERSION = 1
NOT_GIVEN = {"", "-", "?", "no", "none", "unknown", "n/a", "na", "nee", "todo"}

# Per minute of video. Where nothing else is said they are rules of thumb.
TALKSHOW_MB_PER_MIN = 2.0  # measured
STREAM_MB_PER_MIN = 15.0  # 1080p h264, where a site does not say
CLIPS_PER_RAW = 3.2  # size of the clips (crf 16) by size of the raw video; measured on the sample
FACES_MB_PER_MIN = 24.0  # jpeg crops, sound and mel; measured on the sample
CORE_MIN_PER_MIN = 1.2  # split, speaker filter, preprocessing on one core at 1080p; 640x360 was measured: 0.5
DOWNLOAD_MB_PER_S = 3.0


def read_sources(data: DataSet) -> list[Source]:
    """The rows of videos.csv, checked. Raises ManifestError naming row and column."""
    path, known = data.path("videos.csv"), set()
    for number, source in enumerate(rows := read_rows(path, Source), 1):
        name, where = source.video_id, f"{path}, row {number}, column"
        if safe_name(name) != name:
            raise ManifestError(f"{where} video_id: {name!r} cannot be a file name everywhere; use {safe_name(name)!r}")
        if name.lower() in known:
            raise ManifestError(f"{where} video_id: {name!r} appears more than once")
        if not source.source.strip():
            raise ManifestError(f"{where} source: is empty; write an address or a path")
        source.crop_box  # noqa: B018 (raises where it is not a box)
        known.add(name.lower())
    return rows


def write_sources(data: DataSet, sources: Iterable[Source]) -> None:
    """Write videos.csv."""
    write_csv(data.path("videos.csv"), sources, Source)


def source_from(
    source: str | Path, title: str, *, licence: str, consent: str, language: str = "nl", speaker: str = "host"
) -> Source:
    """A row for videos.csv; the id is made of the title, whatever characters it has."""
    return Source(safe_name(title).lower(), str(source), title, language, speaker, licence, consent)


def refusal(source: Source) -> tuple[Reason, str] | None:
    """Why this video must not be collected, or None: there is no video without a licence and a consent."""
    for reason, column, value in (
        (Reason.NO_LICENCE, "licence", source.licence),
        (Reason.NO_CONSENT, "consent", source.consent),
    ):
        if value.strip().lower() in NOT_GIVEN:
            words = f"videos.csv says {value!r} in column {column}: write what allows its use, or leave the video out"
            return reason, words
    return None


def local_path(source: str, data: DataSet) -> Path:
    """The local file that a row's source names: relative paths count from the folder of videos.csv."""
    text = source.strip()
    if text.lower().startswith("file://"):
        text = url2pathname(text[len("file://") :])
    return data.root / Path(text).expanduser()


def sample(data: DataSet, settings: TalkshowConfig) -> list[Source]:
    """Write the talk show's videos.csv into a data set (in place of what is there); returns its rows."""
    rights = "nl", talkshow.host().name, "MIT, rendered by this project", "not needed: no real person"
    scripts = enumerate(talkshow.course_scripts(settings), 1)
    write_sources(data, [Source(s.video_id, f"talkshow:{n}", s.title, *rights) for n, s in scripts])
    return read_sources(data)


def collect_videos(
    data: DataSet,
    settings: CollectConfig | None = None,
    *,
    show: TalkshowConfig | None = None,
    scheduler: str = "processes",
    workers: int | None = None,
) -> pd.DataFrame:
    """Collect what videos.csv lists; writes collected.csv and returns it, a row per video in the same order.

    What was collected before stays as it is; what failed is tried again. Talk show and local files on all cores,
    addresses one after the other with polite pauses. Raises ManifestError for a wrong videos.csv.
    """
    settings, rows = settings or CollectConfig(), {}
    items = [item_of(source, data, show or TalkshowConfig()) for source in read_sources(data)]
    for far in (False, True):
        done = run_stage(
            "collect",
            [item for item in items if ("url" in item.arguments) == far],
            partial(collect_one, data=data, settings=settings),
            row_type=Video,
            journal=data.journal("collect"),
            output=data.raw,
            settings={"max_height_px": settings.max_height_px} if far else {},
            version=VERSION,
            scheduler="inline" if far else scheduler,
            workers=workers,
            unit="video",
        )
        rows |= {row.video_id: row for row in done}
    made_from([], data.raw.glob("*.mp4"))
    return write_csv(data.path("collected.csv"), [rows[item.id] for item in items], Video)


def item_of(source: Source, data: DataSet, show: TalkshowConfig) -> Item:
    """What the stage works on: the content of a local file, a script, or an address decides whether it is done."""
    text, make = source.source.strip(), partial(Item, source.video_id, row=blank(Video, video_id=source.video_id))
    if refused := refusal(source):
        return make(arguments={"refused": refused})
    if found := re.fullmatch(r"talkshow:([1-9]\d*)", text):
        script = talkshow.course_scripts(replace(show, n_videos=int(found[1])))[-1]
        script = replace(script, video_id=source.video_id)
        return make(arguments={"script": script, "version": TALKSHOW_VERSION})
    if text.lower().startswith(("http://", "https://")):
        return make(arguments={"url": text})
    path = local_path(source.source, data)
    return make((path,) if path.is_file() else (), {"path": source.source})


def collect_one(item: Item, data: DataSet, settings: CollectConfig) -> Done:
    """Render a video of the talk show, download one, or copy a local file; a video without sound gets a reason."""
    target, files, reason, note = data.raw / f"{item.id}.mp4", [], None, None
    match item.arguments:
        case {"refused": (why, words)}:
            there = f"; what was collected before is still there: collect.forget(data, {item.id!r}) removes it"
            raise LeftOut(why, words + there * target.exists())
        case {"script": script}:
            talkshow.render_video(script, data.raw)
            files = [target.with_suffix(suffix) for suffix in (".truth.csv", ".truth.json")]
        case {"url": url}:
            fetch(url, target, data.path(".downloads", item.id), settings)
        case {"path": source} if target.is_file() and not local_path(source, data).exists():
            note = "the source is gone; the copy made before is kept"
        case {"path": source}:
            fetch_file(local_path(source, data), target)
    info = probe(target)
    if not info.has_sound:
        reason, note = Reason.NO_SOUND, "a video without sound cannot teach a mouth to speak"
    facts = info.width_px, info.height_px, info.fps, info.duration_s, info.video_codec, info.audio_codec, info.audio_hz
    row = Video(item.id, f"raw/{target.name}", content_hash(target), *facts, target.stat().st_size, reason, note)
    return Done([row], [target, *files])


def estimate(data: DataSet, settings: CollectConfig | None = None, *, show: TalkshowConfig | None = None) -> pd.Series:
    """How much disk and time stages 01 to 04 will take for videos.csv. Asks sites for lengths; downloads nothing.

    What has no licence or consent is not collected, so it does not count.
    """
    settings, show = settings or CollectConfig(), show or TalkshowConfig()
    arguments = [item_of(source, data, show).arguments for source in read_sources(data) if not refusal(source)]
    minutes, download_min, raw_mb = [], 0.0, 0.0
    for wanted in arguments:
        with contextlib.suppress(LeftOut, MediaError, KeyError, TypeError):  # no or None duration: counts as unknown
            match wanted:
                case {"script": _}:
                    minutes.append(show.seconds / 60)
                    raw_mb += minutes[-1] * TALKSHOW_MB_PER_MIN
                case {"url": url}:
                    minutes.append(ask(url, settings)["duration"] / 60)
                    download_min += minutes[-1]
                case {"path": source}:
                    minutes.append(probe(path := local_path(source, data)).duration_s / 60)
                    raw_mb += path.stat().st_size / 1e6
    return cost(data, len(arguments), sum(minutes), download_min, raw_mb, len(arguments) - len(minutes))


def cost(
    data: DataSet, videos: int, media_min: float, download_min: float, raw_mb: float = 0.0, unknown: int = 0
) -> pd.Series:
    """What videos cost on the disk and in time.

    download_min: minutes of them that must be downloaded; raw_mb: size of the others.  unknown: how many of the
    videos have a length that could not be found out.
    """
    download_mb = download_min * STREAM_MB_PER_MIN
    known = {"videos": videos, "unknown_length": unknown, "media_min": media_min, "download_mb": download_mb}
    known["disk_mb"] = (raw_mb + download_mb) * (1 + CLIPS_PER_RAW) + media_min * FACES_MB_PER_MIN
    known["free_mb"] = shutil.disk_usage(data.root).free / 1e6
    known["work_min"] = download_mb / DOWNLOAD_MB_PER_S / 60 + media_min * CORE_MIN_PER_MIN / worker_count()
    return pd.Series(known).round(2)
