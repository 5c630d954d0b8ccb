"""What goes into a result and what it says about itself: frames in any order, the mix of the sound, the label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from .. import __version__
from ..errors import MediaError, SettingError
from ..media import VideoReader, ffmpeg, file_url, is_picture, open_media, probe, read_picture
from ..media.tools import ONLY_FILES

PIECE_BYTES = 48 << 20  # held at once while a video runs backwards
AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
WORDS = "AI-generated"
TOOL = "lipsync_utils"
# IPTC's word for a real picture in which a trained model drew something
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
