"""Pictures, and videos as frames: streamed, decoded on all cores, upright, cropped, in the normal dynamic range.

High dynamic range is mapped by a look-up table that ffmpeg's lut3d filter applies. Sources: SMPTE ST 2084 (PQ),
ARIB STD-B67 / ITU-R BT.2100 (HLG), BT.2087 (BT.2020 to BT.709 primaries); white is 203 cd/m2 (BT.2408).
"""

import atexit
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.filter
import av.stream
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import MediaError, SettingError
from .tools import check_file, open_media

log = logging.getLogger(__name__)

BT709, LIMITED_RANGE, FULL_RANGE = 1, 1, 2  # ITU-T H.273
HDR_TRANSFERS = {16: "pq", 18: "hlg"}  # ITU-T H.273: SMPTE ST 2084, ARIB STD-B67
WHITE_NITS, PEAK_NITS = 203.0, 1000.0  # peak: of the display that HLG is meant for
KNEE = 0.5  # of white, in light
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
GRID = 33  # of the look-up table
UNINDEXED = ("mpeg", "mpegts")  # containers without an index (GRID's are such)
TURNS = {90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}
LONGEST_PX = 4096  # of a picture file; larger ones are shrunk
LARGEST_PX = 400_000_000  # pixels that are decoded at all


@dataclass(frozen=True)
class MediaInfo:
    """What probe() found. Sizes are upright and with square pixels; what is not there is None."""

    path: Path
    is_picture: bool  # a picture file: one frame, no duration
    duration_s: float
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None  # average
    variable_rate: bool = False
    rotation_deg: int = 0  # clockwise, what a player does: 0, 90, 180 or 270
    video_codec: str | None = None
    pixel_format: str | None = None
    hdr: str | None = None  # "pq" or "hlg": high dynamic range
    audio_codec: str | None = None
    audio_hz: int | None = None
    audio_channels: int | None = None

    @property
    def has_picture(self) -> bool:
        """Is there a video (or a picture) in it?"""
        return self.width_px is not None

    @property
    def has_sound(self) -> bool:
        """Is there a sound track?"""
        return self.audio_hz is not None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright. Raises MediaError without picture."""
        if not self.has_picture:
            raise MediaError(f"{self.path}: has no picture; give a picture, or a video with a picture track")
        return self.width_px, self.height_px


def probe(path: Path) -> MediaInfo:
    """Look at a media file: sizes, rate, duration, codecs. Decodes one frame, so what it says can be read.

    Raises MediaError for a file that is missing, a folder, empty, unreadable, or has neither picture nor sound.
    """
    facts, still = {}, False
    with open_media(path) as container:
        video = video_stream(container)
        sound = next((s for s in container.streams.audio if s.codec_context), None)
        if not (video or sound):
            raise MediaError(f"{path}: has neither picture nor sound; give a video, picture or sound file")
        if sound:
            facts |= {"audio_codec": sound.codec_context.name, "audio_channels": sound.channels}
            facts |= {"audio_hz": sound.sample_rate or None}
        if video:
            try:
                frame = next(container.decode(video))
            except (StopIteration, av.error.FFmpegError) as error:
                words = getattr(error, "strerror", None) or "nothing in it"
                raise MediaError(f"{path}: its picture cannot be decoded ({words}); export it as PNG or mp4") from error
            still = not sound and any(word in container.format.name for word in ("image2", "_pipe"))
            size = max(1, round(frame.width * float(video.sample_aspect_ratio or 1))), frame.height
            facts["width_px"], facts["height_px"] = size[::-1] if clockwise(frame) % 180 else size
            facts |= {"rotation_deg": clockwise(frame), "hdr": HDR_TRANSFERS.get(int(frame.color_trc))}
            facts |= {"video_codec": video.codec_context.name, "pixel_format": video.codec_context.pix_fmt}
        if video and not still:
            average, nominal = float(video.average_rate or 0), float(video.guessed_rate or 0)
            # A container that leaves the last frame's time out of its length has a little too high an average.
            steady = abs(nominal - average) <= 0.02 * average or not average
            facts |= {"fps": (nominal if steady else average) or None, "variable_rate": not steady}
        return MediaInfo(Path(path), still, 0.0 if still else (container.duration or 0) / av.time_base, **facts)


def video_stream(container) -> av.video.stream.VideoStream | None:
    """The picture track of an open file; a cover picture in a sound file does not count."""
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if s.codec_context and not s.disposition & cover), None)


def clockwise(frame: av.VideoFrame) -> int:
    """How far a player turns this frame clockwise: 0, 90, 180 or 270 degrees."""
    return int(round(-frame.rotation / 90) * 90) % 360


def picture_end_s(path: Path) -> float:
    """When the last picture that is really in the file ends, in seconds: what is left of a file that was cut off."""
    with VideoReader(path) as reader:
        stream, end = reader.stream, 0
        step = round(1 / (stream.average_rate or 25) / stream.time_base)
        with contextlib.suppress(av.error.FFmpegError):  # the end of what can be read
            for packet in reader.container.demux(stream):
                if packet.pts is not None and packet.size:
                    end = max(end, packet.pts + (packet.duration or step))
        return float(end * stream.time_base) - reader.origin_s


@dataclass(frozen=True)
class Frame:
    """One picture of a video. image_bgr: uint8 (height, width, 3).  time_s: from the start of the file."""

    index: int
    time_s: float
    image_bgr: np.ndarray


class VideoReader:
    """An open video. Use as a context manager; `info` is what probe() says.

    crop: (left, top, right, bottom) in pixels of the upright picture.  size: (width, height) of what is left.
    pixel_format: of the frames that `convert` returns, ffmpeg's name; with "yuv420p" an odd last row or column is cut.
    damaged: pieces that could not be decoded so far; time_s: of the last decoded frame.
    """

    def __init__(self, path: Path, crop=None, pixel_format: str = "yuv420p"):
        self.path, self.info = Path(path), probe(path)
        width, height = self.info.size
        left, top, right, bottom = (0, 0, width, height) if crop is None else (int(v) for v in crop)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise SettingError(
                f"{self.path.name}: the crop {left},{top},{right},{bottom} (left,top,right,bottom) is "
                f"not inside the picture of {width}x{height} pixels"
            )
        if pixel_format == "yuv420p":
            right, bottom = right - (right - left) % 2, bottom - (bottom - top) % 2
        self.crop, self.size = (left, top, right, bottom), (right - left, bottom - top)
        self.pixel_format, self.damaged, self.time_s = pixel_format, 0, 0.0
        self.container = open_media(path)
        self.stream = video_stream(self.container)
        self.stream.thread_type = "AUTO"
        self.origin_s = (self.container.start_time or 0) / av.time_base
        self._graphs: dict = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._graphs.clear()
        self.container.close()

    def decoded(self, start_s: float = 0.0) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield (time_s, decoded frame) from `start_s` on, in order. Damaged pieces are skipped and counted."""
        place_s = max(0.0, start_s + self.origin_s)
        if self.container.format.name in UNINDEXED:  # a seek there lands on the next key frame, not the one before
            place_s -= 1.0
        self.container.seek(int(place_s * av.time_base), backward=True)
        step = 1 / (self.info.fps or 25)
        self.time_s = -step
        try:
            for packet in self.container.demux(self.stream):
                try:
                    frames_ = packet.decode()
                except av.error.FFmpegError:
                    self.damaged += 1
                    continue
                for frame in frames_:
                    self.time_s = self.time_s + step if frame.time is None else frame.time - self.origin_s
                    if self.time_s > start_s - 1e-6:
                        yield self.time_s, frame
        except av.error.FFmpegError as error:  # the file ends in the middle
            self.damaged += 1
            log.debug("%s: reading ended: %s", self.path, error)
        if self.damaged:
            log.warning("%s: %d damaged pieces skipped", self.path, self.damaged)

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Turn a decoded frame upright, crop and scale it, map high dynamic range to normal; in pixel_format."""
        key = (frame.width, frame.height, frame.format.name, clockwise(frame))
        if key not in self._graphs:  # a file may change its size or turn in the middle
            self._graphs = {key: self._graph(frame)}
        graph = self._graphs[key]
        if graph is None:
            return frame
        frame.pts = None
        graph.push(frame)
        converted = graph.pull()
        if self.pixel_format == "yuv420p":
            mapped = int(frame.color_trc) in HDR_TRANSFERS
            for name in ("colorspace", "color_primaries", "color_trc"):
                setattr(converted, name, BT709 if mapped else getattr(frame, name))
            converted.color_range = LIMITED_RANGE
        return converted

    def _graph(self, frame: av.VideoFrame) -> av.filter.Graph | None:
        """The filters from such a frame to what is asked for; None where it is that already: copies lose a little."""
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
        if (self.stream.sample_aspect_ratio or 1) != 1:
            steps += [f"scale={width}:{height}", "setsar=1"]
        left, top, right, bottom = self.crop
        if self.crop != (0, 0, width, height):
            steps += [f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1"]
        full_range = int(frame.color_range) == FULL_RANGE
        wanted = f"scale={self.size[0]}:{self.size[1]}:flags=bicubic"
        if self.pixel_format != "yuv420p":
            steps += [f"{wanted}:out_range=pc", f"format={self.pixel_format}"]
        elif transfer or full_range or frame.format.name != "yuv420p":
            matrix = ":out_color_matrix=bt709" if transfer else ""
            steps += [f"{wanted}+accurate_rnd:out_range=tv{matrix}", "format=yuv420p"]
        if not steps:
            return None
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self.stream.time_base
        )
        pairs = [step.partition("=") for step in steps]
        filters = [graph.add(name, arguments or None) for name, _, arguments in pairs]
        graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
        return graph


def frames(
    path: Path,
    *,
    start_s: float = 0.0,
    only: Iterable[int] | None = None,
    crop=None,
) -> Iterator[Frame]:
    """Yield the frames of a video in order, upright, one at a time in memory.

    start_s: from the first frame on that begins then or later.  only: the frames with these numbers (the others are
    decoded but not converted, which is much faster for large pictures).  crop: (left, top, right, bottom) in pixels.
    Frame.index counts the file's frames from 0 (after a seek: by the average rate).  A picture file yields one frame.
    Raises MediaError where the file has no picture.
    """
    wanted = None if only is None else set(only)
    last = np.inf if wanted is None else max(wanted, default=-1)
    with VideoReader(path, crop, "bgr24") as reader:
        for number, (time_s, frame) in enumerate(reader.decoded(start_s), round(start_s * (reader.info.fps or 0))):
            if number > last:
                return
            if wanted is None or number in wanted:
                yield Frame(number, time_s, reader.convert(frame).to_ndarray())


def constant_rate(decoded: Iterable[tuple[float, object]], fps: float, n_frames: int) -> Iterator[object]:
    """Yield exactly n_frames items, item k being the one whose time is nearest to k / fps (the last one is repeated).

    decoded: (time_s, item) in ascending order. Yields nothing where there are no items.
    """
    source = iter(decoded)
    before = after = next(source, None)
    for wanted in (np.arange(n_frames) / fps).tolist() if before else ():
        while after and after[0] <= wanted + 1e-9:
            before, after = after, next(source, None)
        yield after[1] if after and after[0] - wanted < abs(wanted - before[0]) else before[1]


def to_normal_range(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """BT.2020 signal (..., 3) in [0, 1] -> BT.709 signal in [0, 1]. transfer: "pq" or "hlg".

    Light up to half of white stays as it is; brighter light bends towards white. Hues stay.
    """
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = rgb ** (1 / m2)
        light = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / WHITE_NITS
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(rgb <= 0.5, rgb**2 / 3, (np.exp((rgb - c) / a) + b) / 12)
        luma = scene @ np.array([0.2627, 0.6780, 0.0593])
        light = scene * np.maximum(luma, 1e-9)[..., None] ** 0.2 * PEAK_NITS / WHITE_NITS
    light = np.maximum(light @ TO_BT709.T, 0)  # 1.0: white of the normal range
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    bent = np.where(brightest <= KNEE, brightest, 1 - (1 - KNEE) * np.exp(-(brightest - KNEE) / (1 - KNEE)))
    light = np.clip(light * bent / brightest, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


@lru_cache
def lut_file(transfer: str) -> Path:
    """Path of the table as a .cube file, written once per process to the system's temporary folder."""
    blue, green, red = np.indices((GRID,) * 3) / (GRID - 1)  # red changes fastest in a .cube file
    table = to_normal_range(np.stack([red, green, blue], -1).reshape(-1, 3), transfer)
    folder = tempfile.mkdtemp(prefix="lipsync-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    np.savetxt(path := Path(folder, "table.cube"), table, "%.6f", header=f"LUT_3D_SIZE {GRID}", comments="")
    return path


def is_picture(path: Path) -> bool:
    """Is this a picture file, judged by its content (not by its name)?"""
    with contextlib.suppress(MediaError):
        return probe(path).is_picture
    return False


def read_picture(path: Path) -> np.ndarray:
    """Read a picture file: uint8 (height, width, 3) BGR, turned upright as its EXIF note says.

    CMYK, grey, palette and 16-bit pictures become RGB; transparent parts become white; of an animation the first
    picture is taken; a longer side than LONGEST_PX is shrunk to that. Raises MediaError for anything else.
    """
    path = check_file(path)
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False  # face_recognition lets half a picture pass
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST_PX:
                raise MediaError(f"{path}: {image.width}x{image.height} pixels are too many; shrink the picture first")
            image = ImageOps.exif_transpose(image)
            image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)  # only ever smaller
            if image.mode.startswith("I"):  # 16 bits
                image = Image.fromarray(np.clip(np.asarray(image) / 257, 0, 255).astype(np.uint8))
            white = Image.new("RGBA", image.size, "white")
            flat = Image.alpha_composite(white, image.convert("RGBA"))
            return np.ascontiguousarray(np.asarray(flat)[..., 2::-1])
    except UnidentifiedImageError:
        raise MediaError(f"{path}: not a picture that Pillow can read; save it as JPEG or PNG") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"{path}: the picture is damaged ({error}); export or download it again") from error
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before
