"""What goes into a result and what it says about itself: frames in any order, the mix of the sound, the label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from .. import __version__, media
from ..config import InferenceConfig
from ..errors import MediaError, SettingError
from ..media.tools import ONLY_FILES, file_url, open_media

PIECE_BYTES = 48 << 20  # held at once while a video runs backwards
RATE_HZ = 48_000  # of the sound of every result
FONT = cv2.FONT_HERSHEY_SIMPLEX
WORDS = "AI-generated"
TOOL = "lipsync_utils"
# IPTC's word for a real picture in which a trained model drew something
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class Source:
    """A picture or a video as frames. size: (width, height); fps: of the video, or as given for a picture.

    image_bgr: the only frame, of a picture or where the settings are static, else None.
    Raises MediaError for a file without picture, SettingError for a static frame past the end.
    """

    def __init__(self, path: Path, settings: InferenceConfig | None = None):
        self.path, self.settings = Path(path), settings or InferenceConfig()
        info = media.probe(self.path)
        if not info.has_picture:
            raise MediaError(f"{self.path.name}: has no picture; give a picture or video as media, sound as speech")
        self.fps, self.has_sound, self.image_bgr = info.fps or self.settings.picture_fps, info.has_sound, None
        self.piece = int(np.clip(PIECE_BYTES // (info.width_px * info.height_px * 3), 4, 64))
        if info.is_picture:
            first = media.read_picture(self.path)
        else:
            first = next(self.pictures([self.settings.static_frame * self.settings.static]))
        if info.is_picture or self.settings.static:
            self.image_bgr = first
        self.size = first.shape[1::-1]

    def pictures(self, order: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield the frames of these numbers: uint8 (h, w, 3) BGR, a copy each.

        Forward runs are streamed; a backward run is read in short pieces, each found by seeking.  Raises SettingError
        where the video ends before.
        """
        if self.image_bgr is not None:
            yield from (self.image_bgr.copy() for _ in order)
            return
        shots, coming, times_s, kept = media.frames(self.path), 0, {}, {}
        for k in order:
            if k not in kept:
                first = k
                if k < coming:  # backwards
                    coming = first = max(0, k - self.piece + 1)
                    shots = media.frames(self.path, start_s=times_s[first] - 1e-4)
                kept = {}
                for shot in islice(shots, k + 1 - coming):
                    times_s.setdefault(coming, shot.time_s)
                    if coming >= first:
                        kept[coming] = shaped(shot.image_bgr, self.settings)
                    coming += 1
            if not kept:
                raise SettingError(f"{self.path.name}: has no frame {k}; choose a smaller static_frame")
            yield kept[min(k, max(kept))].copy()  # a damaged file gives less at the second reading


def shaped(frame_bgr: np.ndarray, settings: InferenceConfig) -> np.ndarray:
    """Shrink, turn, crop: what the published code does to every frame of a video (not to a picture)."""
    height, width = frame_bgr.shape[:2]
    if settings.shrink > 1:
        frame_bgr = cv2.resize(frame_bgr, (width // settings.shrink, height // settings.shrink))
    if settings.turn_clockwise:
        frame_bgr = cv2.rotate(frame_bgr, cv2.ROTATE_90_CLOCKWISE)
    top, bottom, left, right = settings.crop_px
    height, width = frame_bgr.shape[:2]
    frame_bgr = frame_bgr[top : height if bottom == -1 else bottom, left : width if right == -1 else right]
    if not frame_bgr.size:
        raise SettingError(f"crop_px {settings.crop_px} (top, bottom, left, right) leaves nothing of {width}x{height}")
    return np.ascontiguousarray(frame_bgr)


@contextmanager
def mixed(voices: list[tuple[Path, str]], duration_s: float):
    """Mix sounds into one of exactly this length, at 48 kHz; yields float32 (n, channels), mapped from a file.

    voices: (path, what ffmpeg's filter does to it).  Several are added at their own loudness, peaks are limited softly;
    one voice stays as it is.
    """
    n, channels = len(voices), min(2, max(media.probe(path).audio_channels or 1 for path, _ in voices))
    form = f"aresample={RATE_HZ}:async=1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts={channels}c"
    steps = [f"[{i}:a:0]{form},{change}[v{i}]" for i, (_, change) in enumerate(voices)]
    both = f"amix=inputs={n}:duration=longest:normalize=0,alimiter=limit=0.97:level=false:attack=2:release=50,"
    names = "".join(f"[v{i}]" for i in range(n))
    steps.append(f"{names}{both if n > 1 else ''}apad,atrim=end={duration_s:.6f}[out]")
    inputs = [word for path, _ in voices for word in ("-protocol_whitelist", ONLY_FILES, "-i", file_url(path))]
    wanted = round(duration_s * RATE_HZ)
    most = 4 * channels * (wanted + RATE_HZ)  # bytes: once in a while atrim does not end apad, and the disk was filled
    graph = ["-filter_complex", ";".join(steps), "-map", "[out]", "-f", "f32le", "-fs", str(most)]
    with TemporaryDirectory() as place:
        raw = Path(place) / "mix.f32"
        media.ffmpeg(["-v", "error", *inputs, *graph, file_url(raw)])
        samples = np.memmap(raw, np.float32, "r").reshape(-1, channels)[:wanted]
        yield samples
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


def label_tags(media_sha256: str, speech_sha256: dict[str, str]) -> dict[str, str]:
    """The label of a result made from these files, as tags of the container: readable words, and a Label as JSON."""
    label = Label(True, TOOL, __version__, media_sha256, speech_sha256, SOURCE_TYPE)
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
    with open_media(path) as container:
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
    text_px, margin = max(10, 0.032 * min(height, 0.75 * width)), round(0.015 * height)
    scale, thick, pad = text_px / 22, max(1, round(text_px / 14)), round(text_px * 0.4)
    (wide, tall), base = cv2.getTextSize(WORDS, FONT, scale, thick)
    high = tall + base + 2 * pad
    x = margin if "left" in place else max(width - margin - wide - 2 * pad, 0)
    y = margin if "top" in place else max(height - margin - high, 0)
    frame_bgr[y : y + high, x : x + wide + 2 * pad] //= 2
    cv2.putText(frame_bgr, WORDS, (x + pad, y + pad + tall), FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)


def jpeg(image_bgr: np.ndarray, longest_px: int = 1280) -> bytes:
    """A picture as JPEG bytes, shrunk to a size that a browser shows quickly."""
    scale = min(1, longest_px / max(image_bgr.shape))
    small = cv2.resize(image_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small)[1].tobytes()
