"""Who says what: from the caller's words to a mel, a box and a strength for every frame of the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..audio import COLUMNS_PER_S, MEL_LIMIT, SAMPLE_RATE_HZ, load_wav, melspectrogram
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceTable
from .people import people_in
from .timeline import strengths
from .voice import STEP_S, speaking, speaking_frames


@dataclass
class Talker:
    """One person and their speech, laid out over the frames of the result."""

    track_id: int
    speech: Path
    duration_s: float
    boxes: np.ndarray  # (n_source, 4) float32 left, top, right, bottom; NaN where the face is not seen
    mel: np.ndarray  # (80, n) float32
    spoken_share: float  # of the speech that is not silence
    drawn: np.ndarray | None = None  # (n_output,) bool: frames whose mouth is drawn
    strength: np.ndarray | None = None  # (n_output,) float32: how far it is blended in
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last frame of the result without the face


def assign(speech, choice, table: FaceTable, media: Path) -> dict[int, Path]:
    """Which track says which file. Raises FaceError where that is not clear, naming who there is.

    speech: a path, or {track_id: path}.  choice: a FaceChoice (anything with `resolve(table, media)`), or None.
    """
    people = people_in(table)
    if not people:
        raise FaceError(
            f"{Path(media).name}: no face was found; use a picture or video in which a face looks towards "
            "the camera, well lit, and at least 40 px wide"
        )
    known = {p.track_id for p in people}
    if isinstance(speech, dict):
        wanted = {track_number(track): Path(path) for track, path in speech.items()}
    else:
        chosen = choice.resolve(table, media) if choice is not None else {}
        if speech is None and not any(chosen.values()):
            raise SettingError("no speech was given: a sound file, or one for each person as {track_id: path}")
        if not chosen and len(people) > 1:
            raise FaceError(
                f"there are {len(people)} people in {Path(media).name}: choose who speaks, for example "
                "with choice=FaceChoice.of(media, person='left') or speech={track_id: path}; "
                f"the tracks are {sorted(known)}"
            )
        chosen = chosen or {people[0].track_id: None}
        mute = [track for track, own in chosen.items() if not (own or speech)]
        if mute:
            raise SettingError(
                f"track {', '.join(map(str, mute))} was chosen and has nothing to say: give speech for "
                "all who are chosen, or choose fewer"
            )
        wanted = {track: Path(own or speech) for track, own in chosen.items()}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise FaceError(
            f"no person with track id {', '.join(map(str, unknown))} in {Path(media).name}; "
            f"the tracks are {sorted(known)}"
        )
    if not wanted:
        raise SettingError("nobody was chosen to speak: choose at least one person")
    return wanted


def track_number(key) -> int:
    """A key of {track_id: path} as a track. Raises SettingError for anything but a whole number."""
    try:
        return int(key)
    except (TypeError, ValueError):
        raise SettingError(
            f"speech={{{key!r}: ..}}: give track ids, whole numbers; FaceChoice.of(media, "
            f"person={key!r}) finds the track of a person"
        ) from None


def make_talker(track_id: int, speech: Path, boxes: np.ndarray, settings: InferenceConfig) -> Talker:
    """Read one speech. In its pauses the mel is silence, so that the mouth closes whatever the noise."""
    wav = load_wav(speech)
    if not len(wav):
        raise SettingError(f"{speech.name}: the speech is empty (0 s); give a sound file with speech in it")
    mel = melspectrogram(wav)
    voiced = speaking(wav)
    if settings.close_mouth and settings.paste == "blend":
        place = np.minimum((np.arange(mel.shape[1]) / COLUMNS_PER_S / STEP_S).astype(int), len(voiced) - 1)
        mel[:, ~voiced[place]] = -MEL_LIMIT
    return Talker(track_id, speech, len(wav) / SAMPLE_RATE_HZ, boxes, mel, float(voiced.mean()))


def lay_out(talker: Talker, order: np.ndarray, n_spoken: int, fps: float, settings: InferenceConfig) -> None:
    """Decide for every frame of the result whether this mouth is drawn, and note the gaps.

    order: (n_output,) source frame of each output frame.  n_spoken: frames until the last speech ends; the rest of
    the video stays as it is.
    """
    seen = ~np.isnan(talker.boxes[order, 0])
    active = seen.copy()
    active[n_spoken:] = False
    if not settings.close_mouth:
        active &= speaking_frames(load_wav(talker.speech), len(order), fps)
    talker.drawn, talker.strength = active, strengths(active)
    talker.gaps = runs(~seen)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The stretches in which a mask is true, as (first, last) frame."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2])]
