"""The course as a web site in docs/_site/: README as the front page, a page per notebook, the guide, the public API.

    python -m lipsync_utils.book

Takes the executed notebooks of outputs/executed/ where they are, else the notebooks without their outputs. Plain
nbconvert: no tool of its own, no configuration, works from a folder or any web server.
"""

import argparse
import ast
import html
import re
import sys
from pathlib import Path

from . import __version__, project
from .notebooks import discover

CHECKOUT = Path(__file__).resolve().parents[1]
STYLE = """
body { margin: 0; font: 16px/1.6 system-ui, sans-serif; color: #1c2430; background: #fff; display: flex; }
nav { flex: 0 0 17rem; min-height: 100vh; box-sizing: border-box; padding: 1.5rem; background: #f2f4f7; }
nav a { display: block; padding: .15rem 0; color: #1c4f8a; text-decoration: none; }
nav a[aria-current] { font-weight: 600; color: #1c2430; }
main { flex: 1; min-width: 0; max-width: 56rem; padding: 1.5rem 2rem; }
iframe { border: 0; width: 100%; height: 96vh; }
main.wide { max-width: none; padding: 0; }
pre { overflow-x: auto; background: #f2f4f7; padding: .8rem; } code { font-size: .92em; }
img, video { max-width: 100%; }
table { border-collapse: collapse; } td, th { border: 1px solid #ccd3dd; padding: .3rem .6rem; }
@media (max-width: 45rem) { body { display: block; } nav { min-height: 0; } main { padding: 1rem; } }
"""


def page(title: str, body: str, links: list[tuple[str, str]], here: str, wide: bool = False) -> str:
    """One HTML page: navigation with this page marked, and `body` beside it."""
    items = "".join(
        f'<a href="{href}"{" aria-current=page" if href == here else ""}>{html.escape(name)}</a>'
        for name, href in links
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f'<nav aria-label="pages">{items}</nav><main{" class=wide" if wide else ""}>{body}</main></body></html>\n'
    )


def markdown(text: str) -> str:
    """Markdown as HTML, links to notebooks and pages of docs/ turned into links to their pages."""
    import mistune

    body = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])(text)
    return re.sub(r'href="(?:notebooks|docs)/([\w.-]+)\.(?:ipynb|md)"', r'href="\1.html"', body)


def title_of(notebook: Path) -> str:
    """The notebook's number and its first heading."""
    found = re.search(r'"# (.+?)(\\n)?"', notebook.read_text(encoding="utf-8"))
    return f"{notebook.stem[:2]} {found[1]}" if found else notebook.stem


def definitions(path: Path) -> dict[str, ast.AST]:
    """The public functions and classes that a module defines and documents, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and ast.get_docstring(node)
    }


def public(module: Path) -> dict[str, ast.AST]:
    """What a top-level name offers: a module's definitions; of a package also what it imports from inside."""
    if module.is_file():
        return definitions(module)
    offered = definitions(module / "__init__.py")
    for line in ast.parse((module / "__init__.py").read_text(encoding="utf-8")).body:
        inside = module / f"{line.module}.py" if isinstance(line, ast.ImportFrom) and line.level == 1 else None
        if inside and inside.exists():
            known = definitions(inside)
            offered |= {alias.name: known[alias.name] for alias in line.names if alias.name in known}
    return offered


def api(package: Path) -> str:
    """The public functions and classes of every module, as Markdown: signature and the docstring's first sentence."""
    lines = ["# The package, module by module", "", f"Version {__version__}. Importing a module does nothing else."]
    modules = [path for path in sorted(package.iterdir()) if path.suffix == ".py" or (path / "__init__.py").exists()]
    for path in modules:
        offered = public(path)
        if not offered or path.name == "__init__.py":
            continue
        source = path if path.is_file() else path / "__init__.py"
        about = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        lines += ["", f"## {package.name}.{path.stem}", "", about.split("\n")[0], ""]
        for name, node in sorted(offered.items()):
            signature = f"({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else ""
            sentence = ast.get_docstring(node).split("\n\n")[0].replace("\n", " ")
            lines.append(f"- `{name}{signature}`: {html.escape(sentence, quote=False)}")
    return "\n".join(lines) + "\n"


def build(notebooks: Path, executed: Path, site: Path) -> list[str]:
    """Write the site; returns the names of the notebooks that are shown without outputs, as they were not run yet."""
    from nbconvert import HTMLExporter

    sources = discover(notebooks)
    links = [
        ("The course", "index.html"),
        *((title_of(path), f"{path.stem}.html") for path in sources),
        ("Guide", "guide.html"),
        ("The package", "package.html"),
    ]
    plain = []
    for source in sources:
        run = executed / source.name
        if not run.exists():
            plain.append(source.stem)
        body, _ = HTMLExporter(embed_images=True).from_filename(str(run if run.exists() else source))
        project.write_text(site / "cells" / f"{source.stem}.html", body)
        name, title = f"{source.stem}.html", title_of(source)
        frame = f'<iframe src="cells/{name}" title="{html.escape(title)}"></iframe>'
        project.write_text(site / name, page(title, frame, links, name, wide=True))
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    project.write_text(site / "index.html", page("Lip-sync one speaker", markdown(readme), links, "index.html"))
    guide = (CHECKOUT / "docs" / "guide.md").read_text(encoding="utf-8")
    project.write_text(site / "guide.html", page("Guide", markdown(guide), links, "guide.html"))
    package = page("The package", markdown(api(CHECKOUT / "lipsync_utils")), links, "package.html")
    project.write_text(site / "package.html", package)
    for picture in re.findall(r"\]\((docs/[\w./-]+\.(?:png|jpg|gif|mp4|svg))\)", readme):
        project.write_bytes(site / picture, (CHECKOUT / picture).read_bytes())
    return plain


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.book", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=CHECKOUT / "docs" / "_site")
    parser.add_argument("--executed", type=Path, default=project.home() / "outputs" / "executed")
    options = parser.parse_args(arguments)
    plain = build(CHECKOUT / "notebooks", options.executed, options.output)
    sys.stdout.write(f"{options.output / 'index.html'}\n")
    if plain:
        sys.stdout.write(f"without outputs, as `make course` has not run them yet: {', '.join(plain)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
