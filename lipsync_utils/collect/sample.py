"""The embedded sample as a data set: its videos.csv, its held-out videos and its pictures."""

from pathlib import Path

from .. import talkshow
from ..config import TalkshowConfig
from ..project import DataSet
from ..records import Source
from .sources import write_sources


def sample(data: DataSet, settings: TalkshowConfig | None = None) -> list[Source]:
    """Write the talk show's videos.csv into a data set (in place of what is there); returns its rows."""
    settings = settings or TalkshowConfig()
    sources = [
        Source(
            video_id=script.video_id,
            source=f"talkshow:{number}",
            title=script.title,
            language="nl",
            speaker=talkshow.host().name,
            licence="MIT, rendered by this project",
            consent="not needed: no real person",
            crop=None,
            note=None,
        )
        for number, script in enumerate(talkshow.course_scripts(settings), 1)
    ]
    write_sources(data, sources)
    return sources


def held_out_videos(data: DataSet, settings: TalkshowConfig | None = None, workers: int | None = None) -> list[Path]:
    """The videos kept for evaluation, rendered into held_out/ where they are not yet there; no stage reads them."""
    scripts = talkshow.held_out_scripts(settings or TalkshowConfig())
    return talkshow.render_scripts(scripts, data.path("held_out"), workers=workers)
