"""The pictures of a video, streamed: decoded on all cores, turned upright, cropped, tone-mapped, one at a time."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.filter
import numpy as np

from ..errors import MediaError, SettingError
from .hdr import lut_file
from .probe import HDR_TRANSFERS, clockwise, probe, video_stream
from .tools import open_media

log = logging.getLogger(__name__)

BT709, LIMITED_RANGE, FULL_RANGE = 1, 1, 2  # ITU-T H.273
SEEK_AHEAD_S = 4.0  # frames_at() seeks rather than decodes where the next wanted frame is further away
UNINDEXED = ("mpeg", "mpegts")  # containers without an index (GRID's are such)
TURNS = {90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}


@dataclass(frozen=True)
class Frame:
    """One picture of a video. image_bgr: uint8 (height, width, 3).  time_s: from the start of the file."""

    index: int
    time_s: float
    image_bgr: np.ndarray


class VideoReader:
    """An open video. Use as a context manager; `info` is what probe() says.

    crop: (left, top, right, bottom) in pixels of the upright picture.  size: (width, height) to scale to.
    pixel_format: of the frames that `convert` returns, ffmpeg's name; with "yuv420p" an odd last row or column is cut.
    """

    def __init__(self, path: Path, crop=None, size: tuple[int, int] | None = None, pixel_format: str = "bgr24"):
        self.path, self.info = Path(path), probe(path)
        left, top, right, bottom = self._checked_crop(crop)
        if pixel_format == "yuv420p":
            right, bottom = right - (right - left) % 2, bottom - (bottom - top) % 2
        self.crop = left, top, right, bottom
        self.size = size or (self.crop[2] - self.crop[0], self.crop[3] - self.crop[1])
        self.pixel_format, self.damaged = pixel_format, 0
        self.container = open_media(path)
        self.stream = video_stream(self.container)
        self.stream.thread_type = "AUTO"
        self.origin_s = (self.container.start_time or 0) / av.time_base
        self._graph, self._graph_for = None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._graph = None
        self.container.close()

    def _checked_crop(self, crop):
        width, height = self.info.size
        if crop is None:
            return 0, 0, width, height
        left, top, right, bottom = (int(v) for v in crop)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise SettingError(
                f"{self.path.name}: the crop {left},{top},{right},{bottom} (left,top,right,bottom) is "
                f"not inside the picture of {width}x{height} pixels"
            )
        return left, top, right, bottom

    def decoded(self, start_s: float = 0.0) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield (time_s, decoded frame) from `start_s` on, in order. Damaged pieces are skipped and counted."""
        # the frame on screen at start_s may begin before it: seek a little earlier
        place_s = max(0.0, start_s + self.origin_s)
        if self.container.format.name in UNINDEXED:  # a seek there lands on the next key frame, not the one before
            place_s -= 1.0
        self.container.seek(int(place_s * av.time_base), backward=True)
        step = 1 / (self.info.fps or 25)
        time_s = -step
        try:
            for packet in self.container.demux(self.stream):
                try:
                    decoded = packet.decode()
                except av.error.FFmpegError:
                    self.damaged += 1
                    continue
                for frame in decoded:
                    time_s = time_s + step if frame.time is None else frame.time - self.origin_s
                    if time_s > start_s - 1e-6:
                        yield time_s, frame
        except av.error.FFmpegError as error:  # the file ends in the middle
            self.damaged += 1
            log.debug("%s: reading ended: %s", self.path, error)
        if self.damaged:
            log.warning("%s: %d damaged pieces skipped", self.path, self.damaged)

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Turn a decoded frame upright, crop and scale it, map high dynamic range to normal; in pixel_format."""
        key = (frame.width, frame.height, frame.format.name, clockwise(frame))
        if self._graph_for != key:
            steps = self._steps(frame)
            self._graph, self._graph_for = self._build(frame, steps) if steps else None, key
        if self._graph is None:  # a copy would cost a little of the picture each time
            return frame
        frame.pts = None
        self._graph.push(frame)
        converted = self._graph.pull()
        if self.pixel_format == "yuv420p":
            mapped = int(frame.color_trc) in HDR_TRANSFERS
            for name in ("colorspace", "color_primaries", "color_trc"):
                setattr(converted, name, BT709 if mapped else getattr(frame, name))
            converted.color_range = LIMITED_RANGE
        return converted

    def to_bgr(self, frame: av.VideoFrame) -> np.ndarray:
        """A decoded frame as uint8 (height, width, 3) BGR, upright."""
        return self.convert(frame).to_ndarray()

    def _steps(self, frame: av.VideoFrame) -> list[str]:
        """The filters between a decoded frame and what is asked for; none where it is that already."""
        aspect = self.stream.sample_aspect_ratio or 1
        steps = list(TURNS.get(clockwise(frame), []))
        transfer = HDR_TRANSFERS.get(int(frame.color_trc))
        if transfer:
            table = str(lut_file(transfer)).replace("\\", "/").replace(":", "\\:")
            steps += [
                "scale=in_color_matrix=bt2020:flags=accurate_rnd",
                "format=gbrp12",
                f"lut3d=file={table}:interp=tetrahedral",
            ]
        width, height = self.info.size
        if aspect != 1:
            steps += [f"scale={width}:{height}", "setsar=1"]
        left, top, right, bottom = self.crop
        if self.crop != (0, 0, width, height):
            steps += [f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1"]
        full_range = int(frame.color_range) == FULL_RANGE
        wanted = f"scale={self.size[0]}:{self.size[1]}:flags=bicubic"
        if self.pixel_format != "yuv420p":
            steps += [f"{wanted}:out_range=pc", f"format={self.pixel_format}"]
        elif transfer or full_range or frame.format.name != "yuv420p" or self.size != (right - left, bottom - top):
            matrix = ":out_color_matrix=bt709" if transfer else ""
            steps += [f"{wanted}+accurate_rnd:out_range=tv{matrix}", "format=yuv420p"]
        return steps

    def _build(self, frame: av.VideoFrame, steps: list[str]) -> av.filter.Graph:
        graph = av.filter.Graph()
        last = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self.stream.time_base
        )
        for step in steps:
            name, _, arguments = step.partition("=")
            node = graph.add(name, arguments or None)
            last.link_to(node)
            last = node
        last.link_to(graph.add("buffersink"))
        graph.configure()
        return graph


def frames(
    path: Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    every: int = 1,
    crop=None,
    size: tuple[int, int] | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a video in order, upright, one at a time in memory.

    start_s, end_s: only frames that begin in [start_s, end_s).  every: only each n-th of them (the others are decoded
    but not converted).  crop: (left, top, right, bottom) of the upright picture.  size: (width, height) to scale to.
    Frame.index counts the file's frames from 0 (after a seek: by the average rate).  A picture file yields one frame.
    Raises MediaError where the file has no picture.
    """
    with VideoReader(path, crop, size) as reader:
        first = round(start_s * (reader.info.fps or 0)) if start_s > 0 else 0
        for number, (time_s, frame) in enumerate(reader.decoded(start_s)):
            if end_s is not None and time_s >= end_s - 1e-6:
                return
            if number % every == 0:
                yield Frame(first + number, time_s, reader.to_bgr(frame))


def frames_at(
    path: Path, times_s: Iterable[float], *, crop=None, size: tuple[int, int] | None = None
) -> Iterator[Frame]:
    """Yield the frame that is nearest to each time (ascending), seeking over long gaps. One Frame per time.

    Frame.index counts the times. Times past the end give the last frame. Raises MediaError where there is no picture.
    """
    with VideoReader(path, crop, size) as reader:
        decoded, before, after = reader.decoded(), None, None
        for number, wanted in enumerate(times_s):
            if before is not None and wanted < before[0] - 1e-6:
                raise SettingError("frames_at wants its times in ascending order")
            if wanted - (before[0] if before else 0.0) > SEEK_AHEAD_S:
                decoded, after = reader.decoded(max(0.0, wanted - 1.0)), None
                found = next(decoded, None)
                if found is None:  # past the end: go on from here instead
                    decoded = reader.decoded(before[0] if before else 0.0)
                before = found or before
            if after is None:
                after = next(decoded, None)
            while after is not None and (before is None or after[0] <= wanted):
                before, after = after, next(decoded, None)
            if before is None:
                raise MediaError(f"{reader.path}: no picture can be decoded")
            nearest = after if after is not None and after[0] - wanted < wanted - before[0] else before
            yield Frame(number, nearest[0], reader.to_bgr(nearest[1]))


def constant_rate(decoded: Iterable[tuple[float, object]], fps: float, n_frames: int) -> Iterator[object]:
    """Yield exactly n_frames items, item k being the one whose time is nearest to k / fps (the last one is repeated).

    decoded: (time_s, item) in ascending order. Yields nothing where there are no items.
    """
    source = iter(decoded)
    before = next(source, None)
    if before is None:
        return
    after = next(source, None)
    for k in range(n_frames):
        wanted = k / fps
        while after is not None and after[0] <= wanted + 1e-9:
            before, after = after, next(source, None)
        yield after[1] if after is not None and after[0] - wanted < wanted - before[0] else before[1]
