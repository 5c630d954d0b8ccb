"""Reference pictures: who the speaker is. Candidates come from the clips; a human being chooses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import media
from ..config import FacesConfig
from ..errors import FaceError, SettingError
from ..faces import FaceBox, encode, find_faces
from ..project import DataSet
from ..records import Clip

AROUND = 0.6  # of the face's size, kept around it in a reference picture
SAME = 0.5  # distance below which two candidates are one person


@dataclass(frozen=True)
class Candidate:
    """Somebody who is seen in the clips. number: 0 is the person seen most often; share: of the clips looked at."""

    number: int
    clip_id: str
    frame: int
    share: float
    picture_bgr: np.ndarray
    encoding: np.ndarray


def find_candidates(
    data: DataSet, clips: list[Clip], n_clips: int = 8, faces: FacesConfig | None = None
) -> list[Candidate]:
    """The people in `n_clips` of the clips, evenly chosen, who is seen in most clips first."""
    chosen = [c for c in clips if c.file]
    chosen = [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, min(n_clips, len(chosen))).astype(int))]
    people: list[dict] = []
    for clip in chosen:
        for track_face in best_faces(data.root / clip.file, faces, data.cache):
            seen = next((p for p in people if np.linalg.norm(p["encoding"] - track_face["encoding"]) < SAME), None)
            if seen is None:
                people.append(seen := {**track_face, "clip_id": clip.clip_id, "clips": set()})
            seen["clips"].add(clip.clip_id)
    people.sort(key=lambda p: -len(p["clips"]))
    return [
        Candidate(n, p["clip_id"], p["frame"], len(p["clips"]) / len(chosen), p["picture"], p["encoding"])
        for n, p in enumerate(people)
    ]


def best_faces(clip: Path, faces: FacesConfig | None, cache: Path) -> list[dict]:
    """One good picture of every track of a clip, with its encoding."""
    table = find_faces(clip, faces, cache)
    wanted = {table.best_frame(track): track for track in table.track_ids}
    found = []
    for frame in media.frames(clip) if wanted else ():
        if frame.index in wanted:
            track = wanted[frame.index]
            box = table.box_of(track, frame.index)
            found.append(
                {
                    "track": track,
                    "frame": frame.index,
                    "picture": cut_out(frame.image_bgr, box),
                    "encoding": encode(np.ascontiguousarray(frame.image_bgr[..., ::-1]), box),
                }
            )
    return sorted(found, key=lambda f: f["track"])


def cut_out(frame_bgr: np.ndarray, box: FaceBox) -> np.ndarray:
    """A face with some space around it."""
    around = box.padded(*(AROUND * box.height,) * 2, *(AROUND * box.width,) * 2)
    return around.crop(frame_bgr).copy()


def choose(data: DataSet, candidates: list[Candidate], numbers: str) -> list[Path]:
    """Keep the chosen candidates' pictures in references/ of the data set; numbers: such as "0" or "0, 3"."""
    try:
        by_number = {person.number: person for person in candidates}
        chosen = [by_number[int(n)] for n in numbers.split(",")]
    except (ValueError, KeyError):
        raise SettingError(
            f"candidates {numbers!r}: give numbers from 0 to {len(candidates) - 1}, for example '0' "
            "or '0, 3' for two pictures of the same person"
        ) from None
    return [media.write_picture(data.path("references", f"{c.clip_id}-{c.frame}.png"), c.picture_bgr) for c in chosen]


def encode_references(pictures: list[Path], faces: FacesConfig | None = None) -> np.ndarray:
    """Encodings (n, 128) of the largest face of each picture. Raises FaceError for a picture without one."""
    if not pictures:
        raise SettingError("no reference picture: choose at least one picture of the speaker")
    encodings = []
    for path in pictures:
        boxes = list(find_faces(path, faces).at(0).values())
        if not boxes:
            raise FaceError(f"{path}: no face found; take a picture that shows the speaker from the front")
        rgb = np.ascontiguousarray(media.read_picture(path)[..., ::-1])
        encodings.append(encode(rgb, max(boxes, key=lambda b: b.area)))
    return np.stack(encodings)
