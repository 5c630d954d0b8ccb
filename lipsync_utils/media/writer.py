"""Writing mp4: h264 and AAC, constant rate, playable everywhere, complete or not there at all."""

import contextlib
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import MediaError, SettingError
from ..project import atomic_file
from .tools import file_url

log = logging.getLogger(__name__)

BT709, LIMITED_RANGE = 1, 1  # ITU-T H.273 code points
EXACT_BICUBIC = 4 | 0x40000  # of libswscale: SWS_BICUBIC | SWS_ACCURATE_RND; without it pictures come a level too dark
# x264's look-ahead gives flat blocks now and then another quantiser for the same pictures, even on one thread (seen in
# one clip of fifty with the build inside PyAV 18): the pictures stay equal, the bytes do not.
NO_LOOKAHEAD = "mbtree=0:rc-lookahead=0:scenecut=0:bframes=0:weightp=0"
AAC_BLOCK = 1024  # samples


class VideoWriter:
    """Writes an mp4 (h264 yuv420p, AAC). Use as a context manager: the file appears under its name when all is well.

    fps: constant.  size: (width, height), made even by cutting the last column or row.  sound: float32 (n,) or
    (n, channels) in [-1, 1] at sample_rate_hz; it is cut, or padded with silence, to the length of the pictures.
    crf: x264 quality, smaller is better.  metadata: tags such as {"comment": "..."}.  threads: 0 all cores.
    repeatable: equal pictures give equal bytes, in a somewhat larger file; for stages that promise equal files.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float = 25.0,
        size: tuple[int, int],
        sound: np.ndarray | None = None,
        sample_rate_hz: int = 16000,
        crf: int = 18,
        speed: str = "veryfast",
        metadata: dict | None = None,
        threads: int = 0,
        repeatable: bool = False,
        audio_bit_rate: int = 96_000,
    ):
        self.path, self.fps = Path(path), Fraction(fps).limit_denominator(1001)
        self.width, self.height = size[0] // 2 * 2, size[1] // 2 * 2
        if self.width < 2 or self.height < 2 or self.fps <= 0:
            raise SettingError(f"a video needs at least 2x2 pixels and fps > 0, got {size}, {fps}")
        self.n_frames, self.metadata = 0, metadata or {}
        self.sample_rate_hz, self._heard = sample_rate_hz, 0
        self._sound = None if sound is None else np.atleast_2d(np.asarray(sound, np.float32).T)  # (channels, n)
        self._options = {"crf": str(crf), "preset": speed} | ({"x264-params": NO_LOOKAHEAD} if repeatable else {})
        self._threads, self._audio_bit_rate = 1 if repeatable else threads, audio_bit_rate
        self._open, self._closed = contextlib.ExitStack(), False

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_file(self.path))
            self._container = stack.enter_context(
                av.open(file_url(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            )
            self._container.metadata.update({k: str(v) for k, v in self.metadata.items()})
            self._video = self._add_video()
            self._audio = None if self._sound is None else self._add_audio()
            self._open = stack.pop_all()
        return self

    def close(self) -> None:
        """Finish the file and give it its name. Raises MediaError where no frame was written. Twice does nothing."""
        with self._open.pop_all():
            if not self._closed:
                self._closed = True
                self._finish()

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.close()
        else:
            self._open.__exit__(kind, error, trace)

    def _add_video(self):
        stream = self._container.add_stream("libx264", rate=self.fps, options=self._options)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        stream.codec_context.time_base = 1 / self.fps
        stream.codec_context.thread_count = self._threads
        return stream

    def _add_audio(self):
        layout = {1: "mono", 2: "stereo"}.get(len(self._sound))
        if layout is None:
            raise SettingError(f"sound wants shape (n,) or (n, 2), got {self._sound.T.shape}")
        stream = self._container.add_stream("aac", rate=self.sample_rate_hz, layout=layout)
        stream.bit_rate = self._audio_bit_rate
        return stream

    def write(self, image_bgr: np.ndarray) -> None:
        """Append one picture: uint8 (height, width, 3) BGR of the size given before."""
        height, width = image_bgr.shape[:2]
        if not (0 <= height - self.height <= 1 and 0 <= width - self.width <= 1 and image_bgr.dtype == np.uint8):
            raise MediaError(
                f"{self.path.name}: a frame of {width}x{height} {image_bgr.dtype} in a video of "
                f"{self.width}x{self.height} uint8"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_bgr[: self.height, : self.width]), format="bgr24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE, interpolation=EXACT_BICUBIC
        )
        frame.colorspace = frame.color_primaries = frame.color_trc = BT709
        self.write_frame(frame)

    def write_frame(self, frame: av.VideoFrame) -> None:
        """Append one yuv420p frame of PyAV, as it is; the first one says in which colours the video is."""
        if self.n_frames == 0:
            context = self._video.codec_context
            context.colorspace, context.color_range = frame.colorspace, frame.color_range or LIMITED_RANGE
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        frame.pts, frame.time_base = self.n_frames, 1 / self.fps
        frame.pict_type = 0
        self._container.mux(self._video.encode(frame))
        self.n_frames += 1
        self._hear(self._samples_until(self.n_frames) // AAC_BLOCK * AAC_BLOCK)

    def _samples_until(self, frame: int) -> int:
        return round(frame * self.sample_rate_hz / self.fps)

    def _hear(self, until: int) -> None:
        """Encode the sound up to this sample, silence where there is none."""
        if self._audio is None:
            return
        while self._heard < until:
            block = self._sound[:, self._heard : min(self._heard + AAC_BLOCK, until)]
            missing = min(AAC_BLOCK, until - self._heard) - block.shape[1]
            block = np.ascontiguousarray(np.pad(np.clip(block, -1, 1), ((0, 0), (0, missing))))
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._audio.layout.name)
            frame.sample_rate, frame.pts = self.sample_rate_hz, self._heard
            frame.time_base = Fraction(1, self.sample_rate_hz)
            self._container.mux(self._audio.encode(frame))
            self._heard += block.shape[1]

    def _finish(self) -> None:
        if not self.n_frames:
            raise MediaError(f"{self.path}: no frame was written; a video needs at least one")
        self._hear(self._samples_until(self.n_frames))
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode(None))
