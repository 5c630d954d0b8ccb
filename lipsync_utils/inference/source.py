"""The frames of a picture or a video in any order that the timeline asks for, without holding the video in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import MediaError, SettingError
from ..media import VideoReader, is_picture, probe, read_picture

WINDOW_BYTES = 48 << 20  # held at once while a video runs backwards


class Source:
    """A picture or a video as frames. size: (width, height); fps: of the video, or as given for a picture.

    static_frame: show only this frame of a video (the article's "static video").  shrunk_from: (width, height) of a
    picture that was too large to work with, else None.
    Raises MediaError for a file without picture, SettingError for a static frame past the end.
    """

    def __init__(self, path: Path, picture_fps: float = 25.0, static_frame: int | None = None):
        self.path = Path(path)
        self.still = is_picture(self.path)
        self.image_bgr = self.shrunk_from = None
        if self.still:
            self.image_bgr = read_picture(self.path)
            with Image.open(self.path) as given:
                self.shrunk_from = given.size if max(given.size) > max(self.image_bgr.shape) else None
            self.fps, self.has_sound = picture_fps, False
        else:
            info = probe(self.path)
            if not info.has_picture:
                raise MediaError(f"{self.path.name}: has no picture; give a picture or video as media, sound as speech")
            self.fps, self.has_sound = info.fps or picture_fps, info.has_sound
            if static_frame is not None:
                self.image_bgr = self._frame(static_frame)
                self.still = True
            self._size = info.size
        self.static_frame = static_frame if self.image_bgr is not None and not is_picture(self.path) else 0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames in pixels."""
        if self.image_bgr is not None:
            return self.image_bgr.shape[1], self.image_bgr.shape[0]
        return self._size

    def _frame(self, index: int) -> np.ndarray:
        with VideoReader(self.path) as reader:
            for number, (_, frame) in enumerate(reader.decoded()):
                if number == index:
                    return reader.to_bgr(frame)
        raise SettingError(f"{self.path.name}: has no frame {index}; choose a smaller static_frame, it counts from 0")

    def pictures(self, order: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield the frames of these numbers: uint8 (h, w, 3) BGR, a copy each.

        Forward runs are streamed; a backward run is read in short pieces, each found by seeking.
        """
        if self.still:
            for _ in order:
                yield self.image_bgr.copy()
            return
        with VideoReader(self.path) as reader:
            walk = _Walk(reader)
            for index in order:
                yield walk.to(index).copy()


class _Walk:
    """A place in a video that moves by one frame forward or backward, or jumps."""

    def __init__(self, reader: VideoReader):
        self.reader = reader
        self.times_s: list[float] = []  # of the frames seen so far, to seek by
        self.place, self.image, self.piece = -1, None, {}
        self.stream, self.next_index = reader.decoded(), 0
        width, height = reader.size
        self.piece_length = int(np.clip(WINDOW_BYTES // (width * height * 3), 4, 64))

    def to(self, index: int) -> np.ndarray:
        """The frame of this number; past the end the last one there is."""
        if index == self.place:
            return self.image
        if index in self.piece:
            self.image = self.piece[index]
        elif index == self.place - 1:
            self._load_piece(index)
            self.image = self.piece.get(index, self.image)
        else:
            self.piece = {}
            if index < self.next_index:
                self._seek(index)
            self._forward(index)
        self.place = index
        if self.image is None:
            raise MediaError(f"{self.reader.path.name}: not one frame of it can be decoded")
        return self.image

    def _seek(self, index: int) -> None:
        self.stream = self.reader.decoded(max(0.0, self.times_s[index] - 1e-4) if index else 0.0)
        self.next_index = index

    def _forward(self, index: int) -> None:
        frame = None
        while self.next_index <= index:
            found = next(self.stream, None)
            if found is None:
                break
            if self.next_index == len(self.times_s):
                self.times_s.append(found[0])
            frame = found[1]
            self.next_index += 1
        if frame is not None:
            self.image = self.reader.to_bgr(frame)

    def _load_piece(self, last: int) -> None:
        """Read the frames up to `last` that fit into memory, to be shown backwards."""
        first = max(0, last - self.piece_length + 1)
        self._seek(first)
        self.piece = {}
        for index in range(first, last + 1):
            self._forward(index)
            self.piece[index] = self.image
