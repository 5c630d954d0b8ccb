"""Stage 01: every row of videos.csv becomes raw/<video_id>.mp4 and a row in collected.csv, or a row with the reason."""

import logging
import os
from dataclasses import replace
from functools import partial

from .. import talkshow
from ..config import CollectConfig, TalkshowConfig
from ..media import probe
from ..parallel import Done, Failure, Item, run_stage
from ..project import DataSet, content_hash, made_from
from ..records import Reason, Source, Video, write_csv
from ..talkshow.render import VERSION as TALKSHOW_VERSION
from .fetch import Downloader, FetchError, fetch_file
from .sources import is_address, local_path, read_sources, refusal, talkshow_number

log = logging.getLogger(__name__)

VERSION = 1


def collect_videos(
    data: DataSet,
    settings: CollectConfig | None = None,
    *,
    show: TalkshowConfig | None = None,
    scheduler: str = "processes",
    workers: int | None = None,
) -> list[Video]:
    """Collect what videos.csv lists; writes collected.csv and returns its rows, in the same order.

    What was collected before stays as it is; what failed is tried again. Talk show and local files on all cores,
    addresses one after the other with polite pauses. Raises ManifestError for a wrong videos.csv.
    """
    settings, sources = settings or CollectConfig(), read_sources(data)
    rows = {s.video_id: not_allowed(s, data) for s in sources if refusal(s)}
    allowed = [s for s in sources if s.video_id not in rows]
    scripts = talkshow_scripts(allowed, show or TalkshowConfig())
    near = [item_of(s, data, scripts) for s in allowed if not is_address(s)]
    far = [item_of(s, data, scripts) for s in allowed if is_address(s)]
    stage = partial(
        run_stage,
        "collect",
        row_type=Video,
        journal=data.journal("collect"),
        output=data.raw,
        version=VERSION,
        failed=partial(failed, data=data),
        unit="video",
    )
    done = stage(
        near,
        partial(collect_near, data=data, link=settings.link_local_files),
        settings={},
        scheduler=scheduler,
        workers=workers,
    )
    done += stage(
        far,
        partial(collect_far, data=data, downloader=Downloader(settings)),
        settings={"max_height_px": settings.max_height_px},
        scheduler="inline",
    )
    rows.update({row.video_id: row for row in done})
    ordered = [rows[s.video_id] for s in sources]
    made_from([], data.raw.glob("*.mp4"))
    write_csv(data.path("collected.csv"), ordered, Video)
    return ordered


def talkshow_scripts(sources: list[Source], settings: TalkshowConfig) -> dict:
    """The scripts of the talk show's videos that are asked for, by video id."""
    numbers = {s.video_id: talkshow_number(s) for s in sources if talkshow_number(s)}
    if not numbers:
        return {}
    scripts = talkshow.course_scripts(replace(settings, n_videos=max(numbers.values())))
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


def collect_near(item: Item, data: DataSet, link: bool) -> Done:
    """Render a video of the talk show, or copy a local file."""
    target = data.raw / f"{item.id}.mp4"
    if "script" in item.arguments:
        talkshow.render_video(item.arguments["script"], data.raw)
        truth = [target.with_suffix(suffix) for suffix in (".truth.csv", ".truth.json")]
        return Done([described(item.id, data)], [target, *truth])
    path = local_path(item.arguments["path"], data)
    if not path.exists() and target.is_file():
        row = replace(described(item.id, data), note="the source is gone; the copy made before is kept")
        return Done([row], [target])
    fetch_file(path, target, link)
    return Done([described(item.id, data)], [target])


def collect_far(item: Item, data: DataSet, downloader: Downloader) -> Done:
    """Download a video."""
    target = data.raw / f"{item.id}.mp4"
    downloader.fetch(item.arguments["url"], target, data.path(".downloads", item.id))
    return Done([described(item.id, data)], [target])


def described(video_id: str, data: DataSet) -> Video:
    """The row of a collected video; one without sound gets a reason."""
    path = data.raw / f"{video_id}.mp4"
    info = probe(path)
    reason, note = None, None
    if not info.has_sound:
        reason, note = Reason.NO_SOUND, "a video without sound cannot teach a mouth to speak"
    return Video(
        video_id=video_id,
        file=path.relative_to(data.root).as_posix(),
        sha256=content_hash(path),
        width_px=info.width_px,
        height_px=info.height_px,
        fps=info.fps,
        duration_s=info.duration_s,
        video_codec=info.video_codec,
        audio_codec=info.audio_codec,
        audio_hz=info.audio_hz,
        size_bytes=path.stat().st_size,
        reason=reason,
        note=note,
    )


def not_there(video_id: str, reason: Reason, note: str) -> Video:
    """The row of a video that was not collected."""
    return Video(
        video_id=video_id,
        file=None,
        sha256=None,
        width_px=None,
        height_px=None,
        fps=None,
        duration_s=None,
        video_codec=None,
        audio_codec=None,
        audio_hz=None,
        size_bytes=None,
        reason=reason,
        note=note,
    )


def not_allowed(source: Source, data: DataSet) -> Video:
    """The row of a video without licence or consent."""
    reason, note = refusal(source)
    if any(data.raw.glob(f"{source.video_id}.*")):
        note += f"; what was collected before is still there: collect.forget(data, {source.video_id!r}) removes it"
    return not_there(source.video_id, reason, note)


def failed(item: Item, failure: Failure, data: DataSet) -> list[Video]:
    """The row of a video that could not be collected."""
    words = failure.error.replace(f"{data.root}{os.sep}", "")
    reason, note = (Reason.UNREADABLE if failure.expected else Reason.FAILED), words
    kind, _, rest = words.partition(": ")
    if kind == FetchError.__name__:
        name, _, note = rest.partition(": ")
        reason = Reason(name)
    return [not_there(item.id, reason, note)]
