"""What a model shows when it hears nothing: how much of the answer does it see?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from .. import metrics
from ..audio import SAMPLE_RATE_HZ, load_wav
from ..config import EvaluationConfig, override
from ..inference import lip_sync
from ..project import atomic_file, made_from
from .clips import TestClip
from .judge import FPS, load_judge
from .look import find_speaker, look_at
from .stage import PLAIN, open_generator, quietly


@dataclass(frozen=True)
class SilenceTest:
    """A clip whose speaker was made to say nothing, compared with the sound that the clip really has.

    mouth_correlation: r of the drawn and the true mouth opening.  offset_frames, confidence: what the judge finds
    between the film and the clip's own sound; an offset of 0 is a find, although no mouth heard that sound.
    """

    clip_id: str
    mouth_correlation: float
    confidence: float
    offset_frames: int


def silence_test(
    weights: Path, clips: Sequence[TestClip], folder: Path, settings: EvaluationConfig | None = None
) -> list[SilenceTest]:
    """Let a model say silence on each clip, and look for the clip's own speech in the film.

    In use, the reference frame is the frame itself with its mouth, and the paste leaves chin and cheeks of the source.
    What is found here cannot come from listening, and flatters every result on a clip's own speech.
    """
    judge, generator, found = load_judge(settings or EvaluationConfig()), open_generator(weights), []
    for clip in clips:
        track, boxes = find_speaker(clip.path, folder / "cache")
        silence = folder / "silence" / f"{clip.clip_id}.wav"
        made_from([silence], [clip.path])
        with atomic_file(silence) as temporary:
            wavfile.write(temporary, SAMPLE_RATE_HZ, np.zeros(len(boxes) * SAMPLE_RATE_HZ // FPS, np.int16))
        film = silence.with_suffix(".mp4")
        lip_sync(
            clip.path,
            {track: silence},
            film,
            generator=generator,
            cache_dir=folder / "cache",
            settings=override(PLAIN, alignment=generator.mel_alignment),
            on_progress=quietly,
        )
        drawn, true = (look_at(path, boxes, 0) for path in (film, clip.path))
        said = judge.compare(*judge.features(drawn.faces_bgr, load_wav(clip.path)))
        openings = (metrics.mouth_opening(look.landmarks) for look in (drawn, true))
        found.append(SilenceTest(clip.clip_id, metrics.correlation(*openings), said.confidence, said.offset))
    return found
