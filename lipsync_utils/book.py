"""The course as a web site in docs/_site/: README as the front page, a page per notebook, the guide, the public API.

    python -m lipsync_utils.book

Executed notebooks of outputs/executed/ where there are any, else the notebooks without outputs. Plain nbconvert: the
pages work from a folder, without a network or a server.
"""

import html
import inspect
import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path

import nbformat

from . import __path__, __version__, course, project

CHECKOUT = Path(__file__).resolve().parents[1]


def package_page() -> str:
    """The public functions and classes of every module, as Markdown: signature and the docstring's first paragraph."""
    lines = [f"# The package, module by module\n\nVersion {__version__}. Importing a module does nothing else."]
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__, "lipsync_utils.")):
        module = import_module(name)
        lines.append(f"\n## {name}\n\n{inspect.getdoc(module).splitlines()[0]}\n")
        for item, value in sorted(vars(module).items()):
            if getattr(value, "__module__", "").startswith(name) and not item.startswith("_") and callable(value):
                first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
                brackets = inspect.signature(value) if inspect.isfunction(value) else ""
                lines.append(f"- `{item}{brackets}`: {html.escape(first)}")
    return "\n".join(lines)


def build(notebooks: Path, executed: Path, site: Path) -> list[str]:
    """Write the site; returns the names of the notebooks that are shown without outputs, as they were not run yet."""
    paths = {path.stem: path for path in course.discover(notebooks)}
    plain = [name for name in paths if not (executed / f"{name}.ipynb").exists()]
    pages = {name: nbformat.read(path if name in plain else executed / path.name, 4) for name, path in paths.items()}
    menu = " · ".join(f"[{name.replace('_', ' ')}]({name}.html)" for name in ["index", *pages, "guide", "package"])
    texts = {"index": CHECKOUT / "README.md", "guide": CHECKOUT / "docs" / "guide.md"}
    texts = {name: path.read_text(encoding="utf-8") for name, path in texts.items()} | {"package": package_page()}
    cell = nbformat.v4.new_markdown_cell
    pages |= {name: nbformat.v4.new_notebook(cells=[cell(text)]) for name, text in texts.items()}
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
