"""Fixtures that several test files share."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, a core each; read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import filelock
import hypothesis  # noqa: F401  its plugin would import it at the very end, where Python 3.11 may fail to compile it
import pytest
from face_data import copy, show_data

from lipsync_utils import records, speaker, talkshow
from lipsync_utils.faces import FaceTable, find_faces

# What begins first where tests run side by side, longest first; every other file follows in the usual order.
LONG = (
    "test_notebooks.py",
    "test_notebooks_alone.py",
    "test_inference_rendered.py",
    "test_speaker.py",
    "test_talkshow_faces.py",
    "test_app_browser.py",
    "test_training.py",
    "test_evaluation_stage.py",
    "test_evaluation.py",
    "test_nothing_lost.py",
    "test_nothing_lost_faces.py",
    "test_training_recipe.py",
    "test_training_processes.py",
    "test_inference.py",
    "test_course.py",
)


def pytest_collection_modifyitems(items):
    """Begin with the long files; --dist loadfile keeps the tests of a file together, so that fixtures are made once."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def once(tmp_path_factory, name: str, make) -> Path:
    """A folder that `make(folder)` fills once for all tests, those of the other processes of pytest-xdist included."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            working = folder.with_name(f"{name}.part")
            working.mkdir()
            make(working)
            working.rename(folder)
    return folder


@dataclass(frozen=True)
class SampleShow:
    """Three short videos of the talk show with their truth: "talk" (host, title card, guest), "group", "inset"."""

    folder: Path

    def video(self, name: str) -> Path:
        """The mp4."""
        return self.folder / f"{name}.mp4"

    def faces(self, name: str) -> FaceTable:
        """What find_faces finds in it, searched once for all tests."""
        return find_faces(self.video(name), None, self.folder / "cache")

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

    def render(folder):
        for script in sample_scripts():
            talkshow.render_video(script, folder)

    return SampleShow(once(tmp_path_factory, "sample_show", render))


@pytest.fixture(scope="session")
def show_clips(sample_show, tmp_path_factory) -> Path:
    """Two data sets of the clips of show_data, made once: before/ and filtered/ (stage 03 is done); copy them."""

    def cut_and_filter(folder):
        data, references = show_data(sample_show, folder / "before")
        speaker.filter_speaker(copy(data, folder / "filtered"), references, scheduler="inline")

    return once(tmp_path_factory, "show_clips", cut_and_filter)


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """The folder of talkshow.make_material, rendered once; nobody changes it."""
    return once(tmp_path_factory, "material", talkshow.make_material)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder with clips of real people that lies beside the checkout on some machines."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "real"
    if not folder.is_dir():
        pytest.skip("the clips of real people are not here (../shared/real)")
    return folder
