"""Every notebook runs from top to bottom, in order, at a size that fits a push. Found by discovery."""

import json
import re
from pathlib import Path

import pytest

from lipsync_utils import colab, course

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))  # the numbered ones in order, then the app
SIZES = json.loads((Path(__file__).parent / "notebook_sizes.json").read_text())

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebooks")]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An empty place for data/ and outputs/, shared by all notebooks: each begins where the last ended."""
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIPSYNC_HOME", str(folder))
        colab.keep_in(folder, ROOT)
        yield folder


def test_sizes_are_of_notebooks_that_exist():
    assert set(SIZES) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, house):
    if path.stem in SIZES and SIZES[path.stem] is None:
        pytest.skip("trains four networks, which takes too long for every push; make course runs it")
    (outcome,) = course.run(path, SIZES.get(path.stem, {}), house / "outputs" / "executed")
    assert outcome.ok
    page = (house / "outputs" / "executed" / f"{path.stem}.html").read_text()
    assert "<script" not in page and not re.search(r"(src|href)=.https?:[^>]*(stylesheet|\.js)", page), (
        "asks the network"
    )
    if path.stem[:2].isdigit():
        assert outcome.numbers, "its last cell records the key numbers"


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[:2].isdigit()], ids=lambda path: path.stem)
def test_nothing_is_printed_as_a_warning_or_error(path, house):
    executed = house / "outputs" / "executed" / path.name
    if not executed.exists():
        pytest.skip("it has not run")
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    said = ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"]
    assert not said
