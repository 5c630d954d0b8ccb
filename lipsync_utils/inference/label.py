"""Saying that a video was made: words in the picture, facts in the file, and a function that reads them back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .. import __version__
from ..media.tools import open_media

WORDS = "AI-generated"
TOOL = "lipsync_utils"
# IPTC's word for a real picture in which a trained model drew something
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True)
class Label:
    """What a result says about itself. sha256 of the files that it was made from; empty where it says nothing."""

    synthetic: bool
    tool: str = ""
    version: str = ""
    media_sha256: str = ""
    speech_sha256: dict[str, str] = field(default_factory=dict)  # by track
    source_type: str = ""

    def metadata(self) -> dict[str, str]:
        """The tags for the container: readable words and the same as JSON."""
        return {
            "title": f"{WORDS} video",
            "description": f"{WORDS}: the mouth was drawn by {self.tool} {self.version}",
            "comment": json.dumps(asdict(self), sort_keys=True),
        }


def make_label(media_sha256: str, speech_sha256: dict[int, str]) -> Label:
    """The label of a result made from these files."""
    return Label(True, TOOL, __version__, media_sha256, {str(k): v for k, v in speech_sha256.items()}, SOURCE_TYPE)


def verify(path: Path) -> Label:
    """Read what a video says about itself; Label(synthetic=False) where it carries no such label.

    The label is a declaration, not proof: whoever re-encodes a video can drop it. Raises MediaError for a file that
    is not a video.
    """
    with open_media(Path(path)) as container:
        comment = container.metadata.get("comment", "")
    try:
        facts = json.loads(comment)
        if not isinstance(facts, dict) or facts.get("tool") != TOOL:
            return Label(False)
        return Label(**{k: v for k, v in facts.items() if k in Label.__dataclass_fields__})
    except (ValueError, TypeError):
        return Label(False)


@lru_cache(maxsize=8)
def _badge(height: int) -> tuple[np.ndarray, np.ndarray]:
    """The words as a picture: colour (h, w, 3) uint8 and weight (h, w, 1) float32, for frames of this height."""
    text_px = max(10, round(0.032 * height))
    scale = text_px / 22
    (width, tall), base = cv2.getTextSize(WORDS, cv2.FONT_HERSHEY_SIMPLEX, scale, max(1, round(scale * 1.6)))
    pad = max(3, round(text_px * 0.4))
    shape = (tall + base + 2 * pad, width + 2 * pad)
    colour = np.zeros((*shape, 3), np.uint8)
    cv2.putText(
        colour,
        WORDS,
        (pad, pad + tall),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (255, 255, 255),
        max(1, round(scale * 1.6)),
        cv2.LINE_AA,
    )
    weight = np.maximum(0.55, colour[..., :1] / 255.0).astype(np.float32)
    return colour, weight


def draw_label(frame_bgr: np.ndarray, place: str) -> None:
    """Write "AI-generated" into a corner of a frame, in place. place: "bottom-left" .. "top-right", or "none"."""
    if place == "none":
        return
    height, width = frame_bgr.shape[:2]
    colour, weight = _badge(min(height, round(width * 0.75)))
    margin = max(2, round(0.015 * height))
    tall, wide = min(colour.shape[0], height), min(colour.shape[1], width)
    top = margin if place.startswith("top") else height - margin - tall
    left = margin if place.endswith("left") else width - margin - wide
    top, left = max(top, 0), max(left, 0)
    part = frame_bgr[top : top + tall, left : left + wide]
    tall, wide = part.shape[:2]
    mixed = part + weight[:tall, :wide] * (colour[:tall, :wide].astype(np.float32) - part)
    part[:] = np.clip(np.rint(mixed), 0, 255)
