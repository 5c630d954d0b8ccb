"""The notebooks that bring their own data: each runs in an empty home, beside the chain of the others."""

import shutil

import pytest
from test_notebooks import ALONE, SIZES, check, home

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.stem)
def test_notebook_runs_alone(path, material, tmp_path):
    if path.stem in SIZES and SIZES[path.stem] is None:
        pytest.skip("trains four networks, which takes too long for every push; make course runs it")
    with home(tmp_path):
        if path.stem.startswith("08"):  # renders what is not there; here it was rendered for other tests too
            shutil.copytree(material, tmp_path / "outputs" / "choose" / "material")
        check(path, tmp_path)
