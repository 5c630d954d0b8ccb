"""book: a site whose links lead somewhere, with outputs where the course has run."""

import re
from html.parser import HTMLParser

import nbformat
import pytest

from lipsync_utils import book


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A small checkout with two notebooks, one of them executed, built into a site."""
    for name in ("notebooks", "executed", "lipsync_utils", "docs"):
        (tmp_path / name).mkdir()
    for name in ("00_tour_the_course", "01_collect_videos"):
        cells = [nbformat.v4.new_markdown_cell(f"# {name[3:]} & more\n\nYou will do.")]
        cells.append(nbformat.v4.new_code_cell("6 * 7"))
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "forty-two"})]
    nbformat.write(notebook, tmp_path / "executed" / "01_collect_videos.ipynb")
    (tmp_path / "docs" / "a.png").write_bytes(b"picture")
    table = "| a |\n|---|\n| [01](notebooks/01_collect_videos.ipynb) |\n"
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n")
    (tmp_path / "README.md").write_text(f"# Course, see the [guide](docs/guide.md)\n\n![faces](docs/a.png)\n\n{table}")
    module = '"""Does x."""\ndef f(a: int = 1):\n    """Say <f>.\n\n    More."""\n'
    (tmp_path / "lipsync_utils" / "x.py").write_text(module)
    monkeypatch.setattr(book, "CHECKOUT", tmp_path)
    plain = book.build(tmp_path / "notebooks", tmp_path / "executed", tmp_path / "site")
    return tmp_path / "site", plain


def test_outputs_are_shown_where_the_course_has_run(site):
    folder, plain = site
    assert plain == ["00_tour_the_course"]
    assert "forty-two" in (folder / "cells" / "01_collect_videos.html").read_text()


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src")]


def test_every_link_leads_somewhere(site):
    folder, _ = site
    for path in folder.glob("*.html"):
        links = Links()
        links.feed(path.read_text())
        assert len(links.found) >= 4
        for link in links.found:
            assert re.match(r"https?:|#", link) or (folder / link).exists(), f"{path.name}: {link}"


def test_the_package_page_has_signatures_and_first_sentences(site):
    text = (site[0] / "package.html").read_text()
    assert "f(a: int=1)" in text and "Say &lt;f&gt;." in text and "More" not in text
