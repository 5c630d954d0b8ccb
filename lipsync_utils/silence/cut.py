"""Cutting: one pass over a video writes all its clips, exact to the frame in picture and sound."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import SAMPLE_RATE_HZ
from ..config import SplitConfig
from ..errors import MediaError
from ..media import VideoReader, VideoWriter, constant_rate
from .parts import Span


@dataclass(frozen=True)
class CutReport:
    """What cutting a video came to."""

    files: list[Path]
    damaged: int  # pieces of the video that could not be decoded
    repeated: int  # frames that stand in for those missing at the end


def clip_name(video_id: str, span: Span) -> str:
    """The id of a span: the video's id and the span in milliseconds, so that no two ids are the same."""
    return f"{video_id}_{round(span.start_s * 1000):07d}_{round(span.end_s * 1000):07d}"


def cut_clips(
    video: Path, wav: np.ndarray, clips: list[Span], folder: Path, video_id: str, settings: SplitConfig, crop=None
) -> CutReport:
    """Write each clip as folder/<clip name>.mp4: constant fps, 16 kHz mono, picture and sound of one length.

    wav: float32 (n,), the video's sound from its start.  clips: in order of time; the video is decoded once.
    crop: (left, top, right, bottom) of the upright picture, or None.
    """
    files = [folder / f"{clip_name(video_id, clip)}.mp4" for clip in clips]
    if not clips:
        return CutReport([], 0, 0)
    waiting = sorted(zip(clips, files), key=lambda pair: pair[0].first_frame)
    end, per_frame = max(clip.end_frame for clip in clips), SAMPLE_RATE_HZ / settings.fps
    with VideoReader(video, crop, pixel_format="yuv420p") as reader, contextlib.ExitStack() as stack:
        seen = LastTime(reader.decoded())
        writing: list[tuple[Span, VideoWriter]] = []
        for number, frame in enumerate(constant_rate(seen, settings.fps, end)):
            while waiting and waiting[0][0].first_frame <= number:
                clip, file = waiting.pop(0)
                sound = wav[round(clip.first_frame * per_frame) : round(clip.end_frame * per_frame)]
                writer = VideoWriter(
                    file, fps=settings.fps, size=reader.size, sound=sound, crf=settings.crf, repeatable=True
                )
                writing.append((clip, stack.enter_context(writer)))
            if writing:
                picture = reader.convert(frame)
                for _, writer in writing:
                    writer.write_frame(picture)
            for clip, writer in [pair for pair in writing if pair[0].end_frame == number + 1]:
                writer.close()
                writing.remove((clip, writer))
        if waiting or writing:
            raise MediaError(f"{video}: not a single picture can be decoded")
        repeated = max(0, end - round((seen.time_s + 1 / (reader.info.fps or settings.fps)) * settings.fps))
        return CutReport(files, reader.damaged, repeated)


class LastTime:
    """Passes (time_s, frame) pairs on and remembers the last time."""

    def __init__(self, pairs):
        self.pairs, self.time_s = pairs, 0.0

    def __iter__(self):
        for time_s, frame in self.pairs:
            self.time_s = time_s
            yield time_s, frame
