"""Fixtures that several test files share."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lipsync_utils import records, talkshow


@dataclass(frozen=True)
class SampleShow:
    """Three short videos of the talk show with their truth: "talk" (host, title card, guest), "group", "inset"."""

    folder: Path

    def video(self, name: str) -> Path:
        """The mp4."""
        return self.folder / f"{name}.mp4"

    def rows(self, name: str) -> list[talkshow.FaceTruth]:
        """The truth per frame and face."""
        return records.read_rows(self.folder / f"{name}.truth.csv", talkshow.FaceTruth)

    def info(self, name: str) -> dict:
        """The truth per video: shots, spoken lines, phonemes."""
        return json.loads((self.folder / f"{name}.truth.json").read_text(encoding="utf-8"))


def sample_scripts() -> list[talkshow.Script]:
    """The three short videos: 480x360, 3 to 8 s."""
    host, guest, other = talkshow.host(), talkshow.guests()[0], talkshow.guests()[2]
    line, scene = talkshow.Line, talkshow.Scene
    talk = (
        scene("single", (host,), (line(host, "Goedenavond en welkom bij de praatshow."),), seed=1),
        scene("title", (), (line(host, "We praten over de zee.", 0.8),), title="De Praatshow", seed=1),
        scene("single", (guest,), (line(guest, "Thank you for having me.", 0.8),), seed=3),
    )
    group = scene("group", (host, guest, other), (line(host, "Wij zitten aan tafel."),), seed=2)
    inset = scene("inset", (host, guest), (line(host, "Achter mij is een scherm."), line(host, "Ja.", 0.7)), seed=4)
    films = {"talk": talk, "group": (group,), "inset": (inset,)}
    return [talkshow.Script(name, scenes, size=(480, 360), seed=k) for k, (name, scenes) in enumerate(films.items())]


@pytest.fixture(scope="session")
def sample_show(tmp_path_factory) -> SampleShow:
    """Three short rendered videos with their truth, made once; nobody changes them."""
    folder = tmp_path_factory.mktemp("sample_show")
    for script in sample_scripts():
        talkshow.render_video(script, folder)
    return SampleShow(folder)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder with clips of real people that lies beside the checkout on some machines."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "real"
    if not folder.is_dir():
        pytest.skip("the clips of real people are not here (../shared/real)")
    return folder
