"""What a media file is, asked once: a typed record instead of ffprobe's text."""

from dataclasses import dataclass
from pathlib import Path

import av
import av.stream

from ..errors import MediaError
from .tools import open_media

HDR_TRANSFERS = {16: "pq", 18: "hlg"}  # of colour: ITU-T H.273, 16 = SMPTE ST 2084, 18 = ARIB STD-B67
VFR_PACKETS = 400  # looked at to tell a variable frame rate


@dataclass(frozen=True)
class MediaInfo:
    """What probe() found. Sizes are upright and with square pixels; what is not there is None."""

    path: Path
    duration_s: float
    width_px: int | None
    height_px: int | None
    fps: float | None  # average
    variable_rate: bool
    rotation_deg: int  # clockwise, what a player does: 0, 90, 180 or 270
    video_codec: str | None
    pixel_format: str | None
    hdr: str | None  # "pq" or "hlg": high dynamic range
    audio_codec: str | None
    audio_hz: int | None
    audio_channels: int | None
    is_picture: bool  # a picture file: one frame, no duration

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
        if self.width_px is None:
            raise MediaError(f"{self.path}: has no picture; give a picture, or a video with a picture track")
        return self.width_px, self.height_px


def video_stream(container) -> av.video.stream.VideoStream | None:
    """The picture track of an open file; a cover picture in a sound file does not count."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def audio_stream(container) -> av.audio.stream.AudioStream | None:
    """The first sound track of an open file that can be decoded."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def clockwise(frame: av.VideoFrame) -> int:
    """How far a player turns this frame clockwise: 0, 90, 180 or 270 degrees."""
    return int(round(-frame.rotation / 90) * 90) % 360


def upright_size(frame: av.VideoFrame, aspect) -> tuple[int, int]:
    """(width, height) of a decoded frame with square pixels, after rotation."""
    width, height = frame.width, frame.height
    if aspect and aspect != 1:
        width = max(1, round(width * float(aspect)))
    return (height, width) if clockwise(frame) in (90, 270) else (width, height)


def first_frame(container, stream, path: Path) -> av.VideoFrame:
    """Decode until the first picture. Raises MediaError where there is none."""
    try:
        for frame in container.decode(stream):
            return frame
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path}: its picture cannot be decoded ({error.strerror}); export it as JPEG, PNG or mp4"
        ) from error
    raise MediaError(f"{path}: has a picture track without a single picture; export or download it again")


def has_variable_rate(container, stream) -> bool:
    """Do the first packets come at uneven times (more than a quarter of a frame off)?"""
    times = sorted(p.pts for p, _ in zip(container.demux(stream), range(VFR_PACKETS)) if p.pts is not None)
    times = times[:-16] if len(times) == VFR_PACKETS else times  # their neighbours may come later in the file
    steps = sorted(b - a for a, b in zip(times, times[1:]))
    if len(steps) < 3:
        return False
    typical = steps[len(steps) // 2]
    return any(abs(step - typical) * stream.time_base > 0.25 * typical * stream.time_base + 0.002 for step in steps)


def probe(path: Path) -> MediaInfo:
    """Look at a media file: sizes, rate, duration, codecs. Decodes one frame, so what it says can be read.

    Raises MediaError for a file that is missing, a folder, empty, unreadable, or has neither picture nor sound.
    """
    path = Path(path)
    with open_media(path) as container:
        video = video_stream(container)
        audio = audio_stream(container)
        if video is None and audio is None:
            raise MediaError(f"{path}: has neither picture nor sound; give a video, picture or sound file")
        picture = (
            video is not None and audio is None and any(word in container.format.name for word in ("image2", "_pipe"))
        )
        duration = (container.duration or 0) / av.time_base
        width = height = fps = None
        rotation, variable, hdr = 0, False, None
        if video is not None:
            frame = first_frame(container, video, path)
            rotation, (width, height) = clockwise(frame), upright_size(frame, video.sample_aspect_ratio)
            hdr = HDR_TRANSFERS.get(int(frame.color_trc))
            if not picture:
                rate = video.average_rate or video.guessed_rate
                fps = float(rate) if rate else None
                container.seek(0)
                variable = has_variable_rate(container, video)
        return MediaInfo(
            path=path,
            duration_s=0.0 if picture else duration,
            width_px=width,
            height_px=height,
            fps=fps,
            variable_rate=variable,
            rotation_deg=rotation,
            is_picture=picture,
            hdr=hdr,
            video_codec=video.codec_context.name if video is not None else None,
            pixel_format=video.codec_context.pix_fmt if video is not None else None,
            audio_codec=audio.codec_context.name if audio is not None else None,
            audio_hz=audio.sample_rate or None if audio is not None else None,
            audio_channels=audio.channels if audio is not None else None,
        )


def picture_end_s(path: Path) -> float:
    """When the last picture that is really in the file ends, in seconds: what is left of a file that was cut off."""
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no picture")
        end, step = None, round(1 / (stream.average_rate or 25) / stream.time_base)
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and packet.size:
                    end = max(end or 0, packet.pts + (packet.duration or step))
        except av.error.FFmpegError:
            pass  # the end of what can be read
        if end is None:
            raise MediaError(f"{path}: has a picture track without a single picture")
        return float(end * stream.time_base) - (container.start_time or 0) / av.time_base
