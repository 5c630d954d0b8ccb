"""FaceChoice: who was found, who was chosen, and what each of them says. Plain data, no widgets; JSON in and out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import FaceError, ManifestError, SettingError
from ..faces import FaceBox, FaceTable, find_faces
from ..inference import Person, find_person, people_in
from ..project import content_hash, home, write_json

FORMAT = 1
SAME_PLACE = 0.3  # overlap of a remembered box with one found again


@dataclass
class FaceChoice:
    """The people of one picture or video, and the chosen ones with their speech (None: the one given to lip_sync)."""

    media_name: str
    media_sha256: str
    size: tuple[int, int]
    n_frames: int
    fps: float
    people: list[Person]
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
        ways = {"person": person, "reference": reference, "choice": choice}
        given = [name for name, value in ways.items() if value not in (None, "")]
        if len(given) > 1:
            raise SettingError(f"choose in one way: {' and '.join(given)} were given")
        media = Path(media)
        table = faces or find_faces(media, None, cache_dir or home() / "outputs" / "cache")
        made = cls(media.name, content_hash(media), table.size, table.n_frames, table.fps, people_in(table))
        if "choice" in given:
            for track_id, own in cls.load(choice).resolve(table, media).items():
                made.pick(track_id, own or speech)
        elif given:
            made.pick(find_person(table, ways[given[0]], media), speech)
        return made

    @property
    def chosen(self) -> list[int]:
        """The chosen tracks."""
        return list(self.speech)

    def candidate(self, track_id: int) -> Person:
        """One of the people. Raises FaceError for a track that is not there."""
        people = {person.track_id: person for person in self.people}
        if track_id not in people:
            raise FaceError(f"no person with track id {track_id}; there are {list(people)}")
        return people[track_id]

    def pick(self, track_id: int, speech=None) -> None:
        """Choose somebody, or give somebody who is chosen another speech."""
        self.candidate(track_id)
        self.speech[track_id] = Path(speech) if speech else self.speech.get(track_id)

    def drop(self, track_id: int) -> None:
        """Choose somebody no longer."""
        self.speech.pop(track_id, None)

    def resolve(self, table: FaceTable, media) -> dict[int, Path | None]:
        """The chosen tracks in a table of the same content, with their speech.

        Raises FaceError for other content, or where a chosen person is not found again.
        """
        if content_hash(media) != self.media_sha256:
            raise FaceError(
                f"the choice was made in {self.media_name!r}, and {Path(media).name!r} has other content: "
                "choose again in this file, or give the file that the choice belongs to"
            )
        found = {}
        for track_id, speech in self.speech.items():
            person = self.candidate(track_id)
            overlap = {track: box.iou(person.box) for track, box in table.at(person.frame).items()}
            best = max(overlap, key=overlap.get, default=None)
            if best is None or overlap[best] < SAME_PLACE:
                raise FaceError(f"person {person.number} of the choice is not found again in frame {person.frame}")
            found[best] = speech
        return found

    def save(self, path) -> Path:
        """Write as JSON; speech beside or below the file is noted relative to it. Returns the path."""
        folder = Path(path).parent.resolve()
        media = {"name": self.media_name, "sha256": self.media_sha256, "size": self.size}
        media |= {"n_frames": self.n_frames, "fps": self.fps}
        chosen = []
        for track_id, speech in self.speech.items():
            if speech:
                speech = speech.resolve()
                speech = speech.relative_to(folder).as_posix() if speech.is_relative_to(folder) else str(speech)
            chosen.append({"track_id": track_id, "speech": speech})
        people = [asdict(person) for person in self.people]
        write_json(path, {"format": FORMAT, "media": media, "people": people, "chosen": chosen})
        return Path(path)

    @classmethod
    def load(cls, path) -> FaceChoice:
        """Read what save() wrote. Raises ManifestError for anything else."""
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} is not {FORMAT}")
            people = []
            for person in data["people"]:
                box, numbers = FaceBox(**person.pop("box")), {name: int(value) for name, value in person.items()}
                people.append(Person(box=box, **numbers))
            media = data["media"]
            width, height, n_frames = map(int, (*media["size"], media["n_frames"]))
            facts = (width, height), n_frames, float(media["fps"]), people
            made = cls(str(media["name"]), str(media["sha256"]), *facts)
            for row in data["chosen"]:
                made.pick(int(row["track_id"]), row["speech"] and path.parent / row["speech"])
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror}); FaceChoice.save writes it") from error
        except (ValueError, KeyError, TypeError, AttributeError, FaceError) as error:
            raise ManifestError(f"{path}: not a choice that FaceChoice.save wrote ({error})") from error
        return made
