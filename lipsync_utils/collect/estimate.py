"""What a data set will cost, before anything is downloaded."""

import shutil
from dataclasses import dataclass

from ..config import CollectConfig, TalkshowConfig
from ..errors import MediaError
from ..media import probe
from ..parallel import worker_count
from ..project import DataSet
from .fetch import Downloader, FetchError
from .sources import is_address, local_path, read_sources, refusal, talkshow_number

# Per minute of video. Where nothing else is said they are rules of thumb.
TALKSHOW_MB_PER_MIN = 2.0  # measured
STREAM_MB_PER_MIN = 15.0  # 1080p h264, where a site does not say
CLIPS_PER_RAW = 3.2  # size of the clips (crf 16) by size of the raw video; measured on the sample
FACES_MB_PER_MIN = 24.0  # jpeg crops, sound and mel; measured on the sample
CORE_MIN_PER_MIN = 1.2  # split, speaker filter, preprocessing on one core at 1080p; 640x360 was measured: 0.5
DOWNLOAD_MB_PER_S = 3.0


@dataclass(frozen=True)
class Estimate:
    """Sums over all videos that may be collected. unknown: videos whose length could not be found out."""

    videos: int
    unknown: int
    refused: int
    media_min: float
    download_mb: float
    disk_mb: float
    free_mb: float
    minutes: float

    def __str__(self):
        fits = "fits" if self.disk_mb < 0.9 * self.free_mb else "DOES NOT FIT"
        return (
            f"{self.videos} videos ({self.unknown} of unknown length, {self.refused} refused), "
            f"{self.media_min:.1f} min of video: {self.download_mb:.0f} MB to download, "
            f"{self.disk_mb:.0f} MB on disk with all that is made of them ({self.free_mb:.0f} MB free: {fits}), "
            f"about {self.minutes:.0f} min of work for stages 01 to 04"
        )


def estimate(
    data: DataSet,
    settings: CollectConfig | None = None,
    *,
    show: TalkshowConfig | None = None,
    workers: int | None = None,
) -> Estimate:
    """How much disk and time stages 01 to 04 will take for videos.csv. Asks sites for lengths; downloads nothing."""
    downloader, show = Downloader(settings or CollectConfig()), show or TalkshowConfig()
    videos = unknown = refused = 0
    minutes = raw_mb = download_mb = 0.0
    for source in read_sources(data):
        if refusal(source):
            refused += 1
            continue
        videos += 1
        try:
            if talkshow_number(source):
                length, size = show.seconds / 60, show.seconds / 60 * TALKSHOW_MB_PER_MIN
            elif is_address(source):
                length, size = asked(downloader.info(source.source.strip()))
                download_mb += size
            else:
                path = local_path(source.source, data)
                length, size = probe(path).duration_s / 60, path.stat().st_size / 1e6
        except (FetchError, MediaError, OSError):
            unknown += 1
            continue
        unknown += length == 0
        minutes, raw_mb = minutes + length, raw_mb + size
    return total(data, videos, minutes, raw_mb, download_mb, unknown=unknown, refused=refused, workers=workers)


def guess(data: DataSet, videos: int, minutes_each: float, *, workers: int | None = None) -> Estimate:
    """The same for videos that are only an intention: all to be downloaded, all of one length."""
    minutes = videos * minutes_each
    return total(data, videos, minutes, minutes * STREAM_MB_PER_MIN, minutes * STREAM_MB_PER_MIN, workers=workers)


def total(
    data: DataSet,
    videos: int,
    minutes: float,
    raw_mb: float,
    download_mb: float,
    *,
    unknown: int = 0,
    refused: int = 0,
    workers: int | None = None,
) -> Estimate:
    """Disk and time for so many minutes of video, from the rates above."""
    return Estimate(
        videos=videos,
        unknown=unknown,
        refused=refused,
        media_min=minutes,
        download_mb=download_mb,
        disk_mb=raw_mb * (1 + CLIPS_PER_RAW) + minutes * FACES_MB_PER_MIN,
        free_mb=shutil.disk_usage(data.root).free / 1e6,
        minutes=download_mb / DOWNLOAD_MB_PER_S / 60 + minutes * CORE_MIN_PER_MIN / worker_count(workers),
    )


def asked(info: dict) -> tuple[float, float]:
    """(minutes, megabytes) of a video from what its site says; 0 minutes where it does not say."""
    parts = info.get("requested_formats") or [info]
    minutes = (info.get("duration") or 0) / 60
    size = sum(part.get("filesize") or part.get("filesize_approx") or 0 for part in parts) / 1e6
    return minutes, size or minutes * STREAM_MB_PER_MIN
