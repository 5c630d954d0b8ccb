"""Stage 03: a verdict on every clip. No file moves, nothing is deleted; what is kept is a column in speaker.csv."""

import functools
from dataclasses import dataclass
from pathlib import Path

from ..config import FacesConfig, SpeakerConfig
from ..parallel import Failure, Item, run_stage
from ..project import DataSet
from ..records import Clip, Reason, SpeakerCheck, read_rows, write_csv
from .measure import SpeakerFace, measure_clip
from .references import encode_references
from .verdict import judge

VERSION = 1


@dataclass(frozen=True)
class SpeakerResult:
    """What the filter found: a verdict per clip, and every looked-at face."""

    checks: list[SpeakerCheck]
    faces: list[SpeakerFace]

    @property
    def kept(self) -> list[SpeakerCheck]:
        return [c for c in self.checks if c.kept]

    @property
    def distances(self) -> list[float]:
        """Of all looked-at faces to the nearest reference picture."""
        return [f.distance for f in self.faces if f.distance is not None]


def filter_speaker(
    data: DataSet,
    references: list[Path],
    settings: SpeakerConfig | None = None,
    faces: FacesConfig | None = None,
    *,
    scheduler: str = "processes",
    workers: int | None = None,
    clips: list[Clip] | None = None,
) -> SpeakerResult:
    """Give every clip of clips.csv a verdict; writes speaker.csv and speaker_faces.csv.

    references: pictures of the speaker. clips: only these. Looking is done once: other tolerances, shares and verdicts
    to keep need no new look; other pictures do, but no face is searched again.
    """
    result = judge_clips(data, references, settings, faces, scheduler=scheduler, workers=workers, clips=clips)
    write_csv(data.path("speaker_faces.csv"), result.faces, SpeakerFace)
    write_csv(data.path("speaker.csv"), result.checks, SpeakerCheck)
    return result


def judge_clips(
    data: DataSet,
    references: list[Path],
    settings: SpeakerConfig | None = None,
    faces: FacesConfig | None = None,
    *,
    scheduler: str = "processes",
    workers: int | None = None,
    clips: list[Clip] | None = None,
) -> SpeakerResult:
    """The same without writing speaker.csv: what another rule would say."""
    settings, faces = settings or SpeakerConfig(), faces or FacesConfig()
    clips = clips if clips is not None else read_rows(data.path("clips.csv"), Clip)
    references = [Path(p) for p in references]
    encodings = encode_references(references, faces).tolist()
    items = [Item(c.clip_id, (data.root / c.file, *references), {"video_id": c.video_id}) for c in clips if c.file]
    work = functools.partial(measure_clip, references=encodings, settings=settings, faces=faces, cache=data.cache)
    looks = {"faces": faces, "rule": settings.rule, "samples_per_s": settings.samples_per_s}
    stage = "speaker" if settings.rule == "course" else f"speaker-{settings.rule}"
    rows = run_stage(
        stage,
        items,
        work,
        row_type=SpeakerFace,
        journal=data.journal(stage),
        output=data.journal(stage),
        settings={name: str(value) for name, value in looks.items()},
        version=VERSION,
        failed=failed_rows,
        scheduler=scheduler,
        workers=workers,
        unit="clip",
    )
    by_clip: dict[str, list[SpeakerFace]] = {}
    for row in rows:
        by_clip.setdefault(row.clip_id, []).append(row)
    return SpeakerResult([judge(by_clip[item.id], settings) for item in items], rows)


def failed_rows(item: Item, failure: Failure) -> list[SpeakerFace]:
    """A clip that could not be looked at."""
    reason = Reason.UNREADABLE if failure.expected else Reason.FAILED
    return [SpeakerFace(item.id, item.arguments["video_id"], *(None,) * 8, reason, failure.error[:300])]
