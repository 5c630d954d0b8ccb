"""Stage 01: every row of videos.csv becomes raw/<video_id>.mp4 and a row in collected.csv, or a row with the reason."""

import os
from dataclasses import replace
from functools import partial

import pandas as pd

from .. import talkshow
from ..config import CollectConfig, TalkshowConfig
from ..media import probe
from ..parallel import Done, Failure, Item, run_stage
from ..project import DataSet, content_hash, made_from
from ..records import Reason, Source, Video, write_csv
from ..talkshow.render import VERSION as TALKSHOW_VERSION
from .fetch import Downloader, FetchError, fetch_file
from .sources import is_address, local_path, read_sources, refusal, talkshow_number

VERSION = 1


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
    settings, sources = settings or CollectConfig(), read_sources(data)
    rows = {s.video_id: not_allowed(s, data) for s in sources if refusal(s)}
    allowed = [s for s in sources if s.video_id not in rows]
    scripts = talkshow_scripts(allowed, show or TalkshowConfig())
    for far in (False, True):
        done = run_stage(
            "collect",
            [item_of(s, data, scripts) for s in allowed if is_address(s) == far],
            partial(collect_one, data=data, link=settings.link_local_files, downloader=Downloader(settings)),
            row_type=Video,
            journal=data.journal("collect"),
            output=data.raw,
            settings={"max_height_px": settings.max_height_px} if far else {},
            version=VERSION,
            failed=partial(failed, data=data),
            scheduler="inline" if far else scheduler,
            workers=workers,
            unit="video",
        )
        rows |= {row.video_id: row for row in done}
    made_from([], data.raw.glob("*.mp4"))
    return write_csv(data.path("collected.csv"), [rows[s.video_id] for s in sources], Video)


def talkshow_scripts(sources: list[Source], settings: TalkshowConfig) -> dict:
    """The scripts of the talk show's videos that are asked for, by video id."""
    numbers = {s.video_id: number for s in sources if (number := talkshow_number(s))}
    scripts = talkshow.course_scripts(replace(settings, n_videos=max(numbers.values()))) if numbers else []
    return {video_id: replace(scripts[n - 1], video_id=video_id) for video_id, n in numbers.items()}


def item_of(source: Source, data: DataSet, scripts: dict) -> Item:
    """What the stage works on: the content of a local file, a script, or an address decides whether it is done."""
    if source.video_id in scripts:
        return Item(source.video_id, (), {"script": scripts[source.video_id], "version": TALKSHOW_VERSION})
    if is_address(source):
        return Item(source.video_id, (), {"url": source.source.strip()})
    path = local_path(source.source, data)
    readable = path.is_file() and os.access(path, os.R_OK)
    return Item(source.video_id, (path,) if readable else (), {"path": source.source})


def collect_one(item: Item, data: DataSet, link: bool, downloader: Downloader) -> Done:
    """Render a video of the talk show, download one, or copy a local file."""
    target, files, note = data.raw / f"{item.id}.mp4", [], None
    if "script" in item.arguments:
        talkshow.render_video(item.arguments["script"], data.raw)
        files = [target.with_suffix(suffix) for suffix in (".truth.csv", ".truth.json")]
    elif "url" in item.arguments:
        downloader.fetch(item.arguments["url"], target, data.path(".downloads", item.id))
    else:
        path = local_path(item.arguments["path"], data)
        if target.is_file() and not path.exists():
            note = "the source is gone; the copy made before is kept"
        else:
            fetch_file(path, target, link)
    return Done([described(item.id, data, note)], [target, *files])


def described(video_id: str, data: DataSet, note: str | None) -> Video:
    """The row of a collected video; one without sound gets a reason."""
    path = data.raw / f"{video_id}.mp4"
    info, reason = probe(path), None
    if not info.has_sound:
        reason, note = Reason.NO_SOUND, "a video without sound cannot teach a mouth to speak"
    names = ("width_px", "height_px", "fps", "duration_s", "video_codec", "audio_codec", "audio_hz")
    facts = {name: getattr(info, name) for name in names} | {"size_bytes": path.stat().st_size}
    return Video(video_id, f"raw/{path.name}", content_hash(path), **facts, reason=reason, note=note)


def not_there(video_id: str, reason: Reason, note: str) -> Video:
    """The row of a video that was not collected."""
    return Video(video_id, *(None,) * 10, reason, note)


def not_allowed(source: Source, data: DataSet) -> Video:
    """The row of a video without licence or consent."""
    reason, note = refusal(source)
    if (data.raw / f"{source.video_id}.mp4").exists():
        note += f"; what was collected before is still there: collect.forget(data, {source.video_id!r}) removes it"
    return not_there(source.video_id, reason, note)


def failed(item: Item, failure: Failure, data: DataSet) -> list[Video]:
    """The row of a video that could not be collected."""
    words = failure.error.replace(f"{data.root}{os.sep}", "")
    kind, _, rest = words.partition(": ")
    if kind == FetchError.__name__:
        name, _, note = rest.partition(": ")
        return [not_there(item.id, Reason(name), note)]
    return [not_there(item.id, failure.reason, words)]
