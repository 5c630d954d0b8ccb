"""Writing pictures, and mp4: h264 and AAC, constant rate, playable everywhere, complete or not there at all."""

import contextlib
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from ..errors import MediaError
from ..project import atomic_file, write_bytes
from .tools import file_url

BT709, LIMITED_RANGE = 1, 1  # ITU-T H.273 code points
EXACT_BICUBIC = 4 | 0x40000  # of libswscale: SWS_BICUBIC | SWS_ACCURATE_RND; without it pictures come a level too dark
# x264's look-ahead gives flat blocks now and then another quantiser for the same pictures, even on one thread (seen in
# one clip of fifty with the build inside PyAV 18): the pictures stay equal, the bytes do not.
NO_LOOKAHEAD = "mbtree=0:rc-lookahead=0:scenecut=0:bframes=0:weightp=0"


@dataclass
class VideoWriter:
    """Writes an mp4 (h264 yuv420p, AAC). Use as a context manager: the file appears under its name when all is well.

    fps: constant.  size: (width, height), made even by cutting the last column or row.  sound: float32 (n,) or
    (n, channels) in [-1, 1] at sample_rate_hz; it is cut, or padded with silence, to the length of the pictures.
    crf: x264 quality, smaller is better.  metadata: tags such as {"comment": "..."}.  repeatable: equal pictures give
    equal bytes, in a somewhat larger file and on one core; for stages that promise equal files.
    """

    path: Path
    _: KW_ONLY
    size: tuple[int, int]
    fps: float = 25.0
    sound: np.ndarray | None = None
    sample_rate_hz: int = 16000
    crf: int = 18
    metadata: dict = field(default_factory=dict)
    repeatable: bool = False
    n_frames: int = field(default=0, init=False)
    n_heard: int = field(default=0, init=False)  # samples of the sound

    def __post_init__(self):
        self.path, self.fps = Path(self.path), Fraction(self.fps).limit_denominator(1001)
        self.width, self.height = (side // 2 * 2 for side in self.size)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            url = file_url(stack.enter_context(atomic_file(self.path)))
            self._container = stack.enter_context(av.open(url, "w", format="mp4", options={"movflags": "+faststart"}))
            self._container.metadata.update({k: str(v) for k, v in self.metadata.items()})
            options = {"crf": str(self.crf), "preset": "veryfast"}
            options |= {"x264-params": NO_LOOKAHEAD} if self.repeatable else {}
            self._video = self._container.add_stream("libx264", rate=self.fps, options=options)
            self._video.width, self._video.height, self._video.pix_fmt = self.width, self.height, "yuv420p"
            self._video.codec_context.time_base = 1 / self.fps
            self._video.codec_context.thread_count = int(self.repeatable)  # 0: all cores
            if self.sound is not None:
                self.sound = np.atleast_2d(np.asarray(self.sound, np.float32).T)  # (channels, n)
                self._layout = ("mono", "stereo")[len(self.sound) - 1]
                self._audio = self._container.add_stream("aac", rate=self.sample_rate_hz, layout=self._layout)
                self._audio.bit_rate = 96_000
            stack.push(self._finish)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._open.__exit__(*error)

    def close(self) -> None:
        """Finish the file and give it its name. Raises MediaError where no frame was written. Twice does nothing."""
        self._open.close()

    def write(self, image_bgr: np.ndarray) -> None:
        """Append one picture: uint8 (height, width, 3) BGR of the size given before."""
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
        if self.sound is not None:
            self._hear()

    def _hear(self) -> None:
        """Encode the sound up to the last picture's end; silence where there is none. PyAV makes blocks of it."""
        until = round(self.n_frames * self.sample_rate_hz / self.fps)
        heard = self.sound[:, self.n_heard : until].clip(-1, 1)
        samples = np.pad(np.ascontiguousarray(heard), ((0, 0), (0, until - self.n_heard - heard.shape[1])))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self.sample_rate_hz, self.n_heard
        frame.time_base = Fraction(1, self.sample_rate_hz)
        self._container.mux(self._audio.encode(frame))
        self.n_heard = until

    def _finish(self, kind, *_) -> None:
        """What is left to do before the file is closed, unless an error ended the writing."""
        if kind is not None:
            return
        if not self.n_frames:
            raise MediaError(f"{self.path}: no frame was written; a video needs at least one")
        for stream in self._container.streams:
            self._container.mux(stream.encode(None))


def write_picture(path: Path, image_bgr: np.ndarray) -> Path:
    """Write a BGR picture atomically; the suffix says how (.png, or .jpg of quality 95). Returns the path."""
    path = Path(path)
    write_bytes(path, cv2.imencode(path.suffix, image_bgr)[1].tobytes())
    return path
