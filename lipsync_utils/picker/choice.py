"""FaceChoice: who was found, who was chosen, and what each of them says. Plain data, no widgets; JSON in and out."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..errors import FaceError, ManifestError, SettingError
from ..faces import FaceBox, FaceTable, find_faces
from ..inference import Source, find_person, people_in
from ..project import content_hash, home, write_json

FORMAT = 1
THUMBNAIL_PX = 96
SAME_PLACE = 0.3  # overlap of a remembered box with one found again


@dataclass(frozen=True)
class Candidate:
    """Somebody who can be chosen. number: 1, 2, .. from left to right; frame, box: where they are seen best."""

    number: int
    track_id: int
    frame: int
    box: FaceBox
    frames_seen: int
    thumbnail_jpeg: bytes = field(default=b"", repr=False)


@dataclass
class FaceChoice:
    """The people of one picture or video, and the chosen ones with their speech (None: the one given to lip_sync)."""

    media_name: str
    media_sha256: str
    size: tuple[int, int]
    n_frames: int
    fps: float
    people: list[Candidate]
    speech: dict[int, Path | None] = field(default_factory=dict)  # chosen tracks, in the order of choosing

    @classmethod
    def of(
        cls,
        media,
        *,
        person: int | str | None = None,
        reference=None,
        speech=None,
        choice=None,
        faces: FaceTable | None = None,
        cache_dir: Path | None = None,
    ) -> FaceChoice:
        """Find everybody in a picture or video, and choose as told; without being told, nobody is chosen.

        person: a number from left to right, "left", "middle", "right", "largest" or a place "x,y".  reference: a
        picture of the person.  choice: a JSON file that save() wrote.  speech: what the chosen person says.  faces: a
        FaceTable from elsewhere.  Raises FaceError where that person is not there, or the file is of other content.
        """
        given = [
            name
            for name, value in (("person", person), ("reference", reference), ("choice", choice))
            if value not in (None, "")
        ]
        if len(given) > 1:
            raise SettingError(f"choose in one way: {' and '.join(given)} were given")
        media = Path(media)
        table = faces or find_faces(media, None, cache_dir or home() / "outputs" / "cache")
        made = cls(media.name, content_hash(media), table.size, table.n_frames, table.fps, _candidates(media, table))
        if "choice" in given:
            for track_id, own in cls.load(choice).resolve(table, media).items():
                made.pick(track_id, own or speech)
        elif given:
            made.pick(find_person(table, person if "person" in given else str(reference), media), speech)
        return made

    @property
    def chosen(self) -> list[int]:
        """The chosen tracks."""
        return list(self.speech)

    def candidate(self, track_id: int) -> Candidate:
        """One of the people. Raises FaceError for a track that is not there."""
        for person in self.people:
            if person.track_id == track_id:
                return person
        raise FaceError(f"no person with track id {track_id}; there are {[p.track_id for p in self.people]}")

    def pick(self, track_id: int, speech=None) -> None:
        """Choose somebody, or give somebody who is chosen another speech."""
        self.candidate(track_id)
        self.speech[track_id] = Path(speech) if speech else self.speech.get(track_id)

    def drop(self, track_id: int) -> None:
        """Choose somebody no longer."""
        self.speech.pop(track_id, None)

    def toggle(self, track_id: int) -> bool:
        """Choose, or no longer; returns whether they are chosen now."""
        if track_id in self.speech:
            self.drop(track_id)
            return False
        self.pick(track_id)
        return True

    def resolve(self, table: FaceTable, media) -> dict[int, Path | None]:
        """The chosen tracks in a table of the same content, with their speech.

        Raises FaceError for other content, or where a chosen person is not found again.
        """
        if content_hash(Path(media)) != self.media_sha256:
            raise FaceError(
                f"the choice was made in {self.media_name!r}, and {Path(media).name!r} has other content: "
                "choose again in this file, or give the file that the choice belongs to"
            )
        return {self._found_again(table, t): speech for t, speech in self.speech.items()}

    def _found_again(self, table: FaceTable, track_id: int) -> int:
        person = self.candidate(track_id)
        there = table.at(person.frame)
        overlap = {t: box.iou(person.box) for t, box in there.items()}
        if overlap and max(overlap.values()) >= SAME_PLACE:
            return max(overlap, key=overlap.get)
        raise FaceError(f"person {person.number} of the choice is not found again in frame {person.frame}")

    def save(self, path) -> Path:
        """Write as JSON; speech beside or below the file is noted relative to it. Returns the path."""
        path = Path(path)
        chosen = [{"track_id": t, "speech": _relative(s, path.parent)} for t, s in self.speech.items()]
        people = [
            {
                "number": p.number,
                "track_id": p.track_id,
                "frame": p.frame,
                "frames_seen": p.frames_seen,
                "box": asdict(p.box),
                "thumbnail_jpeg": base64.b64encode(p.thumbnail_jpeg).decode(),
            }
            for p in self.people
        ]
        write_json(
            path,
            {
                "format": FORMAT,
                "media": {
                    "name": self.media_name,
                    "sha256": self.media_sha256,
                    "size": list(self.size),
                    "n_frames": self.n_frames,
                    "fps": self.fps,
                },
                "people": people,
                "chosen": chosen,
            },
        )
        return path

    @classmethod
    def load(cls, path) -> FaceChoice:
        """Read what save() wrote. Raises ManifestError for anything else."""
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} is not {FORMAT}")
            media = data["media"]
            people = [
                Candidate(
                    int(p["number"]),
                    int(p["track_id"]),
                    int(p["frame"]),
                    FaceBox(**p["box"]),
                    int(p["frames_seen"]),
                    base64.b64decode(p["thumbnail_jpeg"]),
                )
                for p in data["people"]
            ]
            made = cls(
                str(media["name"]),
                str(media["sha256"]),
                tuple(media["size"]),
                int(media["n_frames"]),
                float(media["fps"]),
                people,
            )
            for row in data["chosen"]:
                made.pick(int(row["track_id"]), path.parent / row["speech"] if row["speech"] else None)
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror}); FaceChoice.save writes it") from error
        except (ValueError, KeyError, TypeError, AttributeError, FaceError) as error:
            raise ManifestError(f"{path}: not a choice that FaceChoice.save wrote ({error})") from error
        return made


def _relative(speech: Path | None, folder: Path) -> str | None:
    if speech is None:
        return None
    speech, folder = Path(speech).resolve(), Path(folder).resolve()
    return speech.relative_to(folder).as_posix() if speech.is_relative_to(folder) else str(speech)


def _candidates(media: Path, table: FaceTable) -> list[Candidate]:
    """Everybody with a small picture, read in one pass over the medium."""
    people = sorted(people_in(table), key=lambda p: p.frame)
    pictures = Source(media).pictures([p.frame for p in people])
    made = [
        Candidate(p.number, p.track_id, p.frame, p.box, p.frames_seen, thumbnail(image, p.box))
        for p, image in zip(people, pictures)
    ]
    return sorted(made, key=lambda c: c.number)


def thumbnail(image_bgr: np.ndarray, box: FaceBox) -> bytes:
    """The face and a little around it as a square JPEG."""
    margin = 0.15 * box.height
    face = box.padded(margin, margin, margin, margin).crop(image_bgr)
    small = cv2.resize(face, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small)[1].tobytes()
