"""Every notebook runs from top to bottom, in order, at a size that fits a push. Found by discovery."""

import contextlib
import json
import re
from pathlib import Path

import pytest

from lipsync_utils import colab, course

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))  # the numbered ones in order, then the app
SIZES = json.loads((Path(__file__).parent / "notebook_sizes.json").read_text())

ALONE = [path for path in NOTEBOOKS if path.stem[:2] in ("00", "08", "10", "ap")]  # these bring their own data
CHAIN = [path for path in NOTEBOOKS if path not in ALONE]  # each begins where the last ended

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def home(folder):
    """An empty place for data/ and outputs/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIPSYNC_HOME", str(folder))
        colab.keep_in(folder, ROOT)
        yield folder


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A home for all notebooks of the chain."""
    with home(tmp_path_factory.mktemp("course")) as folder:
        yield folder


def check(path, folder):
    """Run a notebook in a home, at its small size: it passes its own checks, records numbers and warns of nothing."""
    (outcome,) = course.run(path, SIZES.get(path.stem, {}), folder / "executed")
    assert outcome.ok and (outcome.numbers or path.stem == "app"), "its last cell records the key numbers"
    page = (folder / "executed" / f"{path.stem}.html").read_text()
    assert "<script" not in page and not re.search(r"<link[^>]*https?:", page), "it asks the network"
    cells = json.loads((folder / "executed" / path.name).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"]


def test_sizes_are_of_notebooks_that_exist():
    assert set(SIZES) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", CHAIN, ids=lambda path: path.stem)
def test_notebook_runs_after_those_before_it(path, house):
    check(path, house)
