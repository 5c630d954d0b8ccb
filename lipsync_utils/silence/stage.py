"""Stage 02: every collected video becomes clips/<video_id>/<clip_id>.mp4 and rows in clips.csv."""

import logging
import os
from functools import partial
from pathlib import Path

import numpy as np

from ..audio import load_wav
from ..config import SplitConfig
from ..media import MediaInfo, picture_end_s, probe
from ..parallel import Done, Failure, Item, run_stage
from ..project import DataSet, content_hash
from ..records import Clip, Reason, Source, Video, read_rows, write_csv
from .cut import CutReport, clip_name, cut_clips
from .parts import Span, find_parts, loudness_dbfs, plan_clips, threshold_dbfs

log = logging.getLogger(__name__)

VERSION = 1  # of what this stage makes; raised when the same settings give other clips
NOTHING_DBFS = -75.0  # a video that never gets louder than this is silent rather than quiet


def split_videos(
    data: DataSet, settings: SplitConfig | None = None, *, scheduler: str = "processes", workers: int | None = None
) -> list[Clip]:
    """Split all collected videos of a data set; writes clips.csv and returns its rows.

    What is done with these settings stays as it is. A video that cannot be split is a row with the reason.
    Raises ManifestError where collected.csv or videos.csv is missing or wrong.
    """
    settings = settings or SplitConfig()
    videos = [video for video in read_rows(data.path("collected.csv"), Video) if video.reason is None]
    crops = {source.video_id: source.crop_box for source in read_rows(data.path("videos.csv"), Source)}
    items = [Item(video.video_id, (data.path(video.file),), {"crop": crops.get(video.video_id)}) for video in videos]
    rows = run_stage(
        "split",
        items,
        partial(split_one, root=data.root, settings=settings),
        row_type=Clip,
        journal=data.journal("split"),
        output=data.clips,
        settings=settings,
        version=VERSION,
        failed=partial(failed, root=data.root),
        scheduler=scheduler,
        workers=workers,
        unit="video",
    )
    write_csv(data.path("clips.csv"), rows, Clip)
    return rows


def quiet_videos(data: DataSet, settings: SplitConfig) -> list[str]:
    """The ids of collected videos in which something is heard, but nothing above the threshold."""
    quiet = []
    for video in read_rows(data.path("collected.csv"), Video):
        if video.reason is None:
            wav = load_wav(data.path(video.file))
            if not find_parts(wav, settings) and loudness_dbfs(wav) >= NOTHING_DBFS:
                quiet.append(video.video_id)
    return quiet


def split_one(item: Item, root: Path, settings: SplitConfig) -> Done:
    """Split one video of the data set in `root`; the work function of the stage."""
    path, folder = item.inputs[0], root / "clips" / item.id
    info = probe(path)
    if not info.has_picture or info.is_picture:
        return Done([whole(item.id, info.duration_s, Reason.NO_PICTURE, "sound without moving pictures")])
    length_s = round(picture_end_s(path), 4)
    if not info.has_sound:
        return Done([whole(item.id, length_s, Reason.NO_SOUND, "a video without sound cannot teach a mouth to speak")])
    wav = load_wav(path)
    clips, rejected = plan_clips(find_parts(wav, settings), length_s, settings)
    if not clips and all(span.reason is Reason.SILENCE for span in rejected):
        return Done([too_quiet(item.id, length_s, wav, settings)])
    report = cut_clips(path, wav, clips, folder, item.id, settings, crop=item.arguments["crop"])
    note = said(info, report)
    rows = [clip_row(item.id, span, file, root, settings.fps, note) for span, file in zip(clips, report.files)]
    rows += [rejected_row(item.id, span) for span in rejected]
    return Done(sorted(rows, key=lambda row: row.start_s), report.files)


def clip_row(video_id: str, span: Span, file: Path, root: Path, fps: float, note: str | None) -> Clip:
    """The row of a clip that was cut."""
    return Clip(
        clip_id=clip_name(video_id, span),
        video_id=video_id,
        start_s=span.start_s,
        end_s=span.end_s,
        cut_start_s=span.first_frame / fps,
        cut_end_s=span.end_frame / fps,
        file=file.relative_to(root).as_posix(),
        frames=span.end_frame - span.first_frame,
        sha256=content_hash(file),
        reason=None,
        note=note,
    )


def rejected_row(video_id: str, span: Span, note: str | None = None) -> Clip:
    """The row of a silence or a part that did not become a clip."""
    return Clip(
        clip_id=clip_name(video_id, span),
        video_id=video_id,
        start_s=span.start_s,
        end_s=span.end_s,
        cut_start_s=None,
        cut_end_s=None,
        file=None,
        frames=None,
        sha256=None,
        reason=span.reason,
        note=note,
    )


def whole(video_id: str, length_s: float, reason: Reason, note: str | None) -> Clip:
    """One row for a whole video that gave nothing."""
    return rejected_row(video_id, Span(0.0, length_s, reason=reason), note)


def too_quiet(video_id: str, length_s: float, wav: np.ndarray, settings: SplitConfig) -> Clip:
    """The row of a video in which nothing is louder than the threshold."""
    loud = loudness_dbfs(wav)
    if loud < NOTHING_DBFS:
        return whole(video_id, length_s, Reason.SILENCE, "nothing is heard in it")
    return whole(
        video_id,
        length_s,
        Reason.TOO_QUIET,
        f"its loud moments have {loud:.0f} dBFS and {threshold_dbfs(wav, settings):.0f} counts as silence: "
        "use relative_to_loudness, or a lower silence_dbfs",
    )


def said(info: MediaInfo, report: CutReport) -> str | None:
    """What the reader should know about how the clips of a video were made."""
    notes = []
    if info.hdr:
        notes.append(f"tone-mapped from high dynamic range ({info.hdr})")
    if info.rotation_deg:
        notes.append(f"turned {info.rotation_deg} degrees")
    if info.variable_rate:
        notes.append("from a variable frame rate")
    if report.damaged:
        notes.append(f"{report.damaged} damaged pieces left out")
    if report.repeated:
        notes.append(f"last frame repeated {report.repeated} times")
    return "; ".join(notes) or None


def failed(item: Item, failure: Failure, root: Path) -> list[Clip]:
    """The row of a video that raised."""
    reason = Reason.UNREADABLE if failure.expected else Reason.FAILED
    return [whole(item.id, 0.0, reason, failure.error.replace(f"{root}{os.sep}", ""))]
