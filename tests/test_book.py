"""book: a site whose links lead somewhere, with outputs where the course has run, and nothing from the network."""

import re

import nbformat
import pytest

from lipsync_utils import book


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A small checkout with two notebooks, one of them executed, built into a site."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("notebooks", "executed", "docs"):
        (folder / name).mkdir()
    for name in ("00_tour_the_course", "01_collect_videos"):
        cells = [nbformat.v4.new_markdown_cell(f"# {name[3:]} & more\n\nYou will do."), nbformat.v4.new_code_cell("6")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebooks" / f"{name}.ipynb")
    cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "forty-two"})]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "executed" / "01_collect_videos.ipynb")
    (folder / "docs" / "a.png").write_bytes(b"picture")
    (folder / "docs" / "guide.md").write_text("# Guide\n")
    table = "| a |\n|---|\n| [01](notebooks/01_collect_videos.ipynb) |\n"
    (folder / "README.md").write_text(f"# Course, see the [guide](docs/guide.md)\n\n![faces](docs/a.png)\n\n{table}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "CHECKOUT", folder)
        plain = book.build(folder / "notebooks", folder / "executed", folder / "site")
    assert plain == ["00_tour_the_course"]
    return {path.name: path.read_text() for path in (folder / "site").iterdir()}


def test_outputs_are_shown_where_the_course_has_run(site):
    assert "forty-two" in site["01_collect_videos.html"]


def test_every_link_leads_somewhere_and_pictures_are_inside(site):
    assert set(site) == {f"{name}.html" for name in ("index", "00_tour_the_course", "01_collect_videos", "guide")}
    for page, text in site.items():
        links = re.findall(r'href="([^"#]+)"', text)
        assert {"index.html", "01_collect_videos.html", "guide.html"} <= set(links)
        assert not [link for link in links if link not in site], page
    assert 'src="data:image/png;base64,' in site["index.html"]


def test_nothing_is_asked_of_the_network(site):
    for text in site.values():
        assert "<script" not in text and not re.search(r"(src|@import|url)\W{1,3}https?:", text)
