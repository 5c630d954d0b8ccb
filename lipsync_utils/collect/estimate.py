"""What a data set will cost, before anything is downloaded."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    media_min: float
    raw_mb: float
    download_mb: float
    free_mb: float
    cores: int
    unknown: int = 0
    refused: int = 0

    @property
    def disk_mb(self) -> float:
        """Of the videos and all that stages 01 to 04 make of them."""
        return self.raw_mb * (1 + CLIPS_PER_RAW) + self.media_min * FACES_MB_PER_MIN

    @property
    def minutes(self) -> float:
        """Of work for stages 01 to 04."""
        return self.download_mb / DOWNLOAD_MB_PER_S / 60 + self.media_min * CORE_MIN_PER_MIN / self.cores

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
    sources, found = read_sources(data), []
    for source in (source for source in sources if not refusal(source)):
        address, length_s, size_mb = is_address(source), 0.0, 0.0
        try:
            if talkshow_number(source):
                length_s, size_mb = show.seconds, show.seconds / 60 * TALKSHOW_MB_PER_MIN
            elif address:
                info = downloader.ask(source.source.strip(), Path(), download=False)
                length_s = info.get("duration") or 0.0
                parts = info.get("requested_formats") or [info]
                size_mb = sum(part.get("filesize") or part.get("filesize_approx") or 0 for part in parts) / 1e6
                size_mb = size_mb or length_s / 60 * STREAM_MB_PER_MIN
            else:
                path = local_path(source.source, data)
                length_s, size_mb = probe(path).duration_s, path.stat().st_size / 1e6
        except (FetchError, MediaError, OSError):
            pass  # counts as unknown
        found.append((length_s / 60, size_mb, size_mb * address, not length_s))
    minutes, raw_mb, download_mb, unknown = np.reshape(found, (-1, 4)).sum(axis=0).tolist()
    free_mb, cores = shutil.disk_usage(data.root).free / 1e6, worker_count(workers)
    refused = len(sources) - len(found)
    return Estimate(len(found), minutes, raw_mb, download_mb, free_mb, cores, int(unknown), refused)


def guess(data: DataSet, videos: int, minutes_each: float, *, workers: int | None = None) -> Estimate:
    """The same for videos that are only an intention: all to be downloaded, all of one length."""
    minutes = videos * minutes_each
    size_mb, free_mb = minutes * STREAM_MB_PER_MIN, shutil.disk_usage(data.root).free / 1e6
    return Estimate(videos, minutes, size_mb, size_mb, free_mb, worker_count(workers))
