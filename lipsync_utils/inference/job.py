"""One call of lip_sync between its preparation and its encoding: what is known, and the frames one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..audio import frame_window_start, mel_window
from ..config import InferenceConfig
from ..faces import FaceTable
from .blend import GRID, blend
from .boxes import cut
from .engine import Engine
from .source import Source
from .talkers import Talker


class Stopwatch:
    """Seconds by name."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass
class Job:
    """Everything that is known before the first frame is drawn."""

    source: Source
    table: FaceTable
    talkers: list[Talker]
    engine: Engine
    settings: InferenceConfig
    watch: Stopwatch
    order: np.ndarray  # source frame of each output frame
    size: tuple[int, int]
    notes: list[str] = field(default_factory=list)
    exact: Iterator[np.ndarray] | None = None

    @property
    def n_frames(self) -> int:
        """Frames of the result."""
        return len(self.order)

    def frames(self) -> Iterator[np.ndarray]:
        """The frames of the result before label and encoding: uint8 (h, w, 3) BGR, streamed."""
        return self.exact if self.exact is not None else self._blended()

    def _blended(self) -> Iterator[np.ndarray]:
        batch: list[tuple[int, np.ndarray]] = []
        pictures = self.source.pictures(self.order.tolist())
        for i in range(self.n_frames):
            with self.watch("decode"):
                batch.append((i, next(pictures)))
            if len(batch) == self.engine.batch_size or i == self.n_frames - 1:
                self._draw(batch)
                yield from (frame for _, frame in batch)
                batch = []

    def _draw(self, batch: list[tuple[int, np.ndarray]]) -> None:
        """Draw every mouth of these frames, in place. All crops are taken before anything is changed."""
        with self.watch("blend"):
            todo = [(i, frame, t, box_at(t, self.order[i])) for i, frame in batch for t in self.talkers if t.drawn[i]]
            if not todo:
                return
            faces = np.stack([face_input(frame, box) for _, frame, _, box in todo])
            mels = np.stack([mel_of(t, i, self.source.fps, self.settings) for i, _, t, _ in todo])
        with self.watch("network"):
            drawn = self.engine.draw(mels, faces)
        with self.watch("blend"):
            for (i, frame, talker, box), face in zip(todo, drawn):
                others = [b for track, b in boxes_in(self.table, self.order[i]).items() if track != talker.track_id]
                blend(frame, box, face, float(talker.strength[i]), np.array(others).reshape(-1, 4))


def box_at(talker: Talker, source_frame: int) -> np.ndarray:
    """A talker's box in whole pixels: int64 (4,) left, top, right, bottom; may reach over the frame's edge."""
    return np.rint(talker.boxes[source_frame]).astype(np.int64)


def boxes_in(table: FaceTable, source_frame: int) -> dict[int, np.ndarray]:
    """All faces of one frame by track: float32 (4,)."""
    first, last = np.searchsorted(table.frame, [source_frame, source_frame + 1])
    return {int(table.track[k]): table.box[k] for k in range(first, last) if not np.isnan(table.box[k, 0])}


def face_input(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face as the network sees it: uint8 (96, 96, 3), resized as the training crops were."""
    return cv2.resize(cut(frame_bgr, box), (GRID, GRID), interpolation=cv2.INTER_LINEAR)


def mel_of(talker: Talker, frame: int, fps: float, settings: InferenceConfig) -> np.ndarray:
    """The mel columns that one output frame is drawn from: float32 (80, 16), silence past either end."""
    return mel_window(talker.mel, frame_window_start(frame, settings.alignment, fps))
