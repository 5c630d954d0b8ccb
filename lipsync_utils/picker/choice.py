"""FaceChoice: who was found, who was chosen, and what each of them says. Plain data, no widgets; JSON in and out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import FaceError, ManifestError, SettingError
from ..faces import FaceBox, FaceTable, find_faces
from ..inference import Person, find_person, people_in
from ..project import content_hash, home, write_json

FORMAT = 3  # of the JSON
SAME_PLACE = 0.3  # overlap of a remembered box with one found again


@dataclass
class FaceChoice:
    """The people of one picture or video, and the chosen ones with their speech (None: the one given to lip_sync)."""

    media_name: str
    media_sha256: str
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
        ways = {name: value for name, value in ways.items() if value not in (None, "")}
        if len(ways) > 1:
            raise SettingError(f"choose in one way: {' and '.join(ways)} were given")
        media = Path(media)
        table = faces or find_faces(media, None, cache_dir or home() / "outputs" / "cache")
        made = cls(media.name, content_hash(media), people_in(table))
        if "choice" in ways:
            for track_id, own in cls.load(choice).resolve(table, media).items():
                made.pick(track_id, own or speech)
        for way in ways.keys() - {"choice"}:
            made.pick(find_person(table, ways[way], media), speech)
        return made

    @property
    def chosen(self) -> list[int]:
        """The chosen tracks."""
        return list(self.speech)

    def pick(self, track_id: int, speech=None) -> None:
        """Choose somebody, or give somebody who is chosen another speech. Raises FaceError for an unknown track."""
        if track_id not in (tracks := [person.track_id for person in self.people]):
            raise FaceError(f"no person with track id {track_id}; there are {tracks}")
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
        found, people = {}, {person.track_id: person for person in self.people}
        for track_id, speech in self.speech.items():
            person = people[track_id]
            overlap = {box.iou(person.box): track for track, box in table.at(person.frame).items()}
            if (best := max(overlap, default=0)) < SAME_PLACE:
                raise FaceError(f"person {person.number} of the choice is not found again in frame {person.frame}")
            found[overlap[best]] = speech
        return found

    def save(self, path) -> Path:
        """Write as JSON; speech beside or below the file is noted relative to it. Returns the path."""
        folder = Path(path).parent.resolve()
        files = {track_id: speech and speech.resolve() for track_id, speech in self.speech.items()}
        for track_id, file in files.items():
            if file and file.is_relative_to(folder):
                files[track_id] = file.relative_to(folder).as_posix()
        write_json(path, {"format": FORMAT, **asdict(self), "speech": files})
        return Path(path)

    @classmethod
    def load(cls, path) -> FaceChoice:
        """Read what save() wrote. Raises ManifestError for anything else."""
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            people = [Person(**person | {"box": FaceBox(**person["box"])}) for person in data["people"]]
            made = cls(**data | {"people": people, "speech": {}})
            for track_id, speech in data["speech"].items():
                made.pick(int(track_id), speech and path.parent / speech)
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror}); FaceChoice.save writes it") from error
        except (ValueError, KeyError, TypeError, AttributeError, FaceError) as error:
            raise ManifestError(f"{path}: not a choice that FaceChoice.save wrote ({error})") from error
        return made
