"""The course as a web site in docs/_site/: README as the front page, a page per notebook, the guide.

    python -m lipsync_utils.book

Executed notebooks of outputs/executed/ where there are any, else the notebooks without outputs. Plain nbconvert: the
pages work from a folder, without a network or a server.
"""

import re
import sys
from pathlib import Path

import nbformat

from . import course, project

CHECKOUT = Path(__file__).resolve().parents[1]


def build(notebooks: Path, executed: Path, site: Path) -> list[str]:
    """Write the site; returns the names of the notebooks that are shown without outputs, as they were not run yet."""
    paths = {path.stem: path for path in course.discover(notebooks)}
    plain = [name for name in paths if not (executed / f"{name}.ipynb").exists()]
    pages = {name: nbformat.read(path if name in plain else executed / path.name, 4) for name, path in paths.items()}
    menu = " · ".join(f"[{name.replace('_', ' ')}]({name}.html)" for name in ["index", *pages, "guide"])
    texts = {"index": CHECKOUT / "README.md", "guide": CHECKOUT / "docs" / "guide.md"}
    cell = nbformat.v4.new_markdown_cell
    for name, path in texts.items():
        pages[name] = nbformat.v4.new_notebook(cells=[cell(path.read_text(encoding="utf-8"))])
    for name, book in pages.items():
        book.cells.insert(0, cell(menu))
        body = course.as_html(book, CHECKOUT / name)
        body = re.sub(r'href="(?:notebooks|docs)/([\w.-]+)\.(?:ipynb|md)"', r'href="\1.html"', body)
        project.made_from([site / f"{name}.html"], [executed / f"{name}.ipynb"])
        project.write_text(site / f"{name}.html", body)
    return plain


if __name__ == "__main__":
    where = CHECKOUT / "docs" / "_site"
    left = build(CHECKOUT / "notebooks", project.home() / "outputs" / "executed", where)
    sys.stdout.write(f"{where / 'index.html'}\n")
    if left:
        sys.stdout.write(f"without outputs, as `make course` has not run them yet: {', '.join(left)}\n")
