"""What goes into a result and what it says about itself: frames in any order, the mix of the sound, the label."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from .. import __version__
from ..errors import MediaError, SettingError
from ..media import VideoReader, ffmpeg, is_picture, probe, read_picture
from ..media.tools import ONLY_FILES, file_url, open_media

PIECE_BYTES = 48 << 20  # held at once while a video runs backwards
AAC_RATES_HZ = np.array([8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
WORDS = "AI-generated"
TOOL = "lipsync_utils"
# IPTC's word for a real picture in which a trained model drew something
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class Source:
    """A picture or a video as frames. size: (width, height); fps: of the video, or as given for a picture.

    static_frame: show only this frame of a video (the article's "static video").  shaped: what is done to every frame
    of a video (not to a picture).  image_bgr: the only frame, of a picture or static video, else None.
    shrunk_from: (width, height) of a picture that was too large to work with, else None.
    Raises MediaError for a file without picture, SettingError for a static frame past the end.
    """

    def __init__(
        self,
        path: Path,
        picture_fps: float = 25.0,
        static_frame: int | None = None,
        shaped: Callable = lambda frame: frame,
    ):
        self.path, self.shaped, self.image_bgr, self.shrunk_from = Path(path), shaped, None, None
        if is_picture(self.path):
            self.image_bgr, self.fps, self.has_sound = read_picture(self.path), picture_fps, False
            with Image.open(self.path) as given:
                self.shrunk_from = given.size if max(given.size) > max(self.image_bgr.shape) else None
        else:
            info = probe(self.path)
            if not info.has_picture:
                raise MediaError(f"{self.path.name}: has no picture; give a picture or video as media, sound as speech")
            self.fps, self.has_sound = info.fps or picture_fps, info.has_sound
            self.size = shaped(np.zeros((*info.size[::-1], 1), np.uint8)).shape[1::-1]
            if static_frame is not None:
                self.image_bgr = next(self.pictures([static_frame]))
        if self.image_bgr is not None:
            self.size = self.image_bgr.shape[1::-1]

    def pictures(self, order: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield the frames of these numbers: uint8 (h, w, 3) BGR, a copy each.

        Forward runs are streamed; a backward run is read in short pieces, each found by seeking.  Raises SettingError
        where the video ends before.
        """
        if self.image_bgr is not None:
            yield from (self.image_bgr.copy() for _ in order)
            return
        piece = int(np.clip(PIECE_BYTES // (self.size[0] * self.size[1] * 3), 4, 64))
        with VideoReader(self.path) as reader:
            decoded, coming, times_s, kept, last = reader.decoded(), 0, [], {}, None
            for index in order:
                if index not in kept:
                    first, kept = index, {}
                    if index < coming:  # backwards
                        coming = first = max(0, index - piece + 1)
                        decoded = reader.decoded(max(0.0, times_s[first] - 1e-4))
                while index not in kept:
                    time_s, frame = next(decoded, (None, None))
                    if frame is None and index >= len(times_s):
                        raise SettingError(f"{self.path.name}: has no frame {index}; choose a smaller static_frame")
                    if coming == len(times_s):
                        times_s.append(time_s)
                    if coming >= first:  # a damaged file gives less at the second reading
                        kept[coming] = last if frame is None else self.shaped(reader.to_bgr(frame))
                    coming += 1
                last = kept[index]
                yield last.copy()


@contextmanager
def mixed(voices: list[tuple[Path, float, float]], duration_s: float, folder: Path):
    """Mix sounds into one of exactly this length; yields what VideoWriter takes: sound, sample_rate_hz, audio_bit_rate.

    voices: (path, gain in dB, silent before this time in s; its clock keeps running).  The samples (n, channels) lie in
    a temporary file in `folder`.  Rate and channels are the best of what was given (48 kHz stereo at most).  Several
    voices are added at their own loudness, peaks are limited softly; one voice stays as it is.
    """
    infos = [probe(path) for path, *_ in voices]
    given_hz = max(info.audio_hz or 16000 for info in infos)
    rate_hz = int(AAC_RATES_HZ[min(np.searchsorted(AAC_RATES_HZ, given_hz), len(AAC_RATES_HZ) - 1)])
    channels = min(2, max(info.audio_channels or 1 for info in infos))
    layout = ("mono", "stereo")[channels - 1]
    form = f"aresample={rate_hz}:async=1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts={layout}"
    steps = [
        f"[{n}:a:0]{form},volume={gain_db}dB,volume=0:enable='lt(t,{from_s:.6f})'[v{n}]"
        for n, (_, gain_db, from_s) in enumerate(voices)
    ]
    both = f"amix=inputs={len(voices)}:duration=longest:normalize=0,"
    both += "alimiter=limit=0.97:level=false:attack=2:release=50,"
    names = "".join(f"[v{n}]" for n in range(len(voices)))
    steps.append(f"{names}{both if len(voices) > 1 else ''}apad,atrim=end={duration_s:.6f}[out]")
    with TemporaryDirectory(prefix=".part-sound-", dir=folder) as place:
        raw = Path(place) / "mix.f32"
        inputs = [a for path, *_ in voices for a in ("-protocol_whitelist", ONLY_FILES, "-i", file_url(path))]
        steps = ["-filter_complex", ";".join(steps), "-map", "[out]", "-f", "f32le", file_url(raw)]
        ffmpeg(["-v", "error", *inputs, *steps])
        samples = np.memmap(raw, np.float32, "r").reshape(-1, channels)
        bit_rate = (96_000 if rate_hz >= 32000 else 64_000) * channels
        yield {"sound": samples, "sample_rate_hz": rate_hz, "audio_bit_rate": bit_rate}
        del samples  # Windows deletes no file that is still mapped


@dataclass(frozen=True)
class Label:
    """What a result says about itself. sha256 of the files that it was made from; empty where it says nothing."""

    synthetic: bool
    tool: str = ""
    version: str = ""
    media_sha256: str = ""
    speech_sha256: dict[str, str] = field(default_factory=dict)  # by track
    source_type: str = ""


def label_tags(media_sha256: str, speech_sha256: dict[int, str]) -> dict[str, str]:
    """The label of a result made from these files, as tags of the container: readable words, and a Label as JSON."""
    spoken = {str(track): sha256 for track, sha256 in speech_sha256.items()}
    label = Label(True, TOOL, __version__, media_sha256, spoken, SOURCE_TYPE)
    return {
        "title": f"{WORDS} video",
        "description": f"{WORDS}: the mouth was drawn by {TOOL} {__version__}",
        "comment": json.dumps(asdict(label), sort_keys=True),
    }


def verify(path: Path) -> Label:
    """Read what a video says about itself; Label(synthetic=False) where it carries no such label.

    The label is a declaration, not proof: whoever re-encodes a video can drop it. Raises MediaError for a file that
    is not a video.
    """
    with open_media(Path(path)) as container:
        comment = container.metadata.get("comment", "")
    try:
        label = Label(**json.loads(comment))
    except (ValueError, TypeError):
        return Label(False)
    return label if label.tool == TOOL else Label(False)


def draw_label(frame_bgr: np.ndarray, place: str) -> None:
    """Write "AI-generated" into a corner of a frame, in place. place: "bottom-left" .. "top-right", or "none"."""
    if place == "none":
        return
    height, width = frame_bgr.shape[:2]
    text_px, margin = max(10, round(0.032 * min(height, round(width * 0.75)))), max(2, round(0.015 * height))
    font, scale, thick = cv2.FONT_HERSHEY_SIMPLEX, text_px / 22, max(1, round(text_px / 14))
    (wide, tall), base = cv2.getTextSize(WORDS, font, scale, thick)
    pad = max(3, round(text_px * 0.4))
    badge = np.zeros((tall + base + 2 * pad, wide + 2 * pad, 3), np.uint8)
    cv2.putText(badge, WORDS, (pad, pad + tall), font, scale, (255, 255, 255), thick, cv2.LINE_AA)
    top = margin if place.startswith("top") else max(height - margin - badge.shape[0], 0)
    left = margin if place.endswith("left") else max(width - margin - badge.shape[1], 0)
    part = frame_bgr[top : top + badge.shape[0], left : left + badge.shape[1]]
    badge = badge[: part.shape[0], : part.shape[1]].astype(np.float32)
    weight = np.maximum(0.55, badge / 255.0)
    part[:] = np.clip(np.rint(part + weight * (badge - part)), 0, 255)


def jpeg(image_bgr: np.ndarray, longest_px: int = 1280, quality: int = 88) -> bytes:
    """A picture as JPEG bytes, shrunk to a size that a browser shows quickly."""
    scale = longest_px / max(image_bgr.shape[:2])
    if scale < 1:
        image_bgr = cv2.resize(image_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
