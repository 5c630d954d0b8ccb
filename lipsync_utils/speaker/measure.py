"""Who is seen in a clip: the distance of every face in some of its frames to the speaker's reference pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import media
from ..config import FacesConfig, SpeakerConfig
from ..errors import MediaError
from ..faces import FaceTable, distances, encode, find_faces
from ..parallel import Done, Item
from ..records import Reason

ARTICLE_STEP = 16  # frames between two looks in the article's rule


@dataclass(frozen=True)
class SpeakerFace:
    """A row of speaker_faces.csv: a face in a looked-at frame of a clip, or (without a distance) a frame without one.

    Boxes in pixels of the clip. distance: face_recognition's, to the nearest reference picture. order: 0 for the face
    that the detector was surest of. A clip that could not be looked at has one row with a reason.
    """

    clip_id: str
    video_id: str
    frame: int | None
    track_id: int | None
    order: int | None
    left: float | None
    top: float | None
    right: float | None
    bottom: float | None
    distance: float | None
    reason: Reason | None
    note: str | None


def frames_to_look_at(n_frames: int, fps: float, settings: SpeakerConfig) -> list[int]:
    """The looked-at frames of a clip: evenly spread, at least one; in the article's rule 0, 16, 32 .."""
    if settings.rule == "article":
        return list(range(0, n_frames, ARTICLE_STEP))
    count = max(1, round(n_frames / fps * settings.samples_per_s))
    return [int((i + 0.5) * n_frames / count) for i in range(min(count, n_frames))]


def measure_clip(item: Item, *, references: list, settings: SpeakerConfig, faces: FacesConfig, cache: Path) -> Done:
    """Look at one clip. item: inputs = (clip, reference pictures..); references: encodings, lists of 128 numbers."""
    clip = item.inputs[0]
    table = find_faces(clip, faces, cache)
    if not table.n_frames:
        raise MediaError(f"{clip}: no picture can be decoded; cut the clip again")
    ids = item.id, item.arguments["video_id"]
    looked = frames_to_look_at(table.n_frames, table.fps, settings)
    rows, wanted = [], set(looked) & set(table.frame[table.seen].tolist())
    for frame in media.frames(clip) if wanted else ():
        if frame.index in wanted:
            rows += faces_of_frame(ids, table, frame, np.array(references))
    rows += [SpeakerFace(*ids, f, *(None,) * 9) for f in looked if f not in wanted]
    return Done(sorted(rows, key=lambda r: (r.frame, r.order or 0)))


def faces_of_frame(
    ids: tuple[str, str], table: FaceTable, frame: media.Frame, references: np.ndarray
) -> list[SpeakerFace]:
    """The rows of one frame, surest face first."""
    rows = np.flatnonzero((table.frame == frame.index) & table.seen)
    rgb = np.ascontiguousarray(frame.image_bgr[..., ::-1])
    found = []
    for order, i in enumerate(sorted(rows, key=lambda i: -table.score[i])):
        row = table.row(i)
        near = float(distances(references, encode(rgb, row.box)).min())
        box = (round(v, 1) for v in (row.box.left, row.box.top, row.box.right, row.box.bottom))
        found.append(SpeakerFace(*ids, frame.index, row.track_id, order, *box, near, None, None))
    return found
