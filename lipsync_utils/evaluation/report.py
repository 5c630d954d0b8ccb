"""One HTML file that holds everything: text, tables, figures and films, so that it can be sent by mail."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import SettingError
from ..project import write_text

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
figure { margin: 1.5rem 0; } img, video { max-width: 100%; background: white; }
figcaption { font-size: .9rem; opacity: .8; } .small { font-size: .85rem; opacity: .8; }
"""
VIDEO_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}


class Report:
    """A page that grows from top to bottom and is written at the end; all text is escaped."""

    def __init__(self, title: str, subtitle: str = ""):
        self.title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        if subtitle:
            self._parts.append(f'<p class="small">{html.escape(subtitle)}</p>')

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs of plain text."""
        self._parts += [f"<p>{html.escape(p)}</p>" for p in paragraphs]

    def table(self, header: Sequence[str], rows: Iterable[Sequence], caption: str = "") -> None:
        """Add a table; its first column is text, the others numbers."""
        self._parts.append(table_html(header, rows, caption))

    def figure(self, figure, caption: str) -> None:
        """Add a matplotlib figure as a PNG. caption: what it shows, also for those who cannot see it."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        words = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{_base64(buffer.getvalue())}">'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def video(self, path: Path, caption: str) -> None:
        """Add a film (mp4 or webm) that plays in the page."""
        path = Path(path)
        kind = VIDEO_TYPES.get(path.suffix.lower())
        if kind is None:
            raise SettingError(f"{path.name}: a report plays {', '.join(VIDEO_TYPES)}")
        words = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><video controls preload="metadata" title="{words}" '
            f'src="data:{kind};base64,{_base64(path.read_bytes())}"></video>'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def html(self) -> str:
        """The page as it stands."""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><title>{html.escape(self.title)}</title>'
            f"<style>{STYLE}</style></head><body>\n" + "\n".join(self._parts) + "\n</body></html>\n"
        )

    def save(self, path: Path) -> Path:
        """Write the page atomically; returns its path."""
        write_text(Path(path), self.html())
        return Path(path)


def table_html(header: Sequence[str], rows: Iterable[Sequence], caption: str = "") -> str:
    """A table as HTML with escaped cells; None becomes a dash."""

    def cells(values, tag):
        shown = ("–" if value is None else str(value) for value in values)
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in shown) + "</tr>"

    body = "".join(cells(row, "td") for row in rows)
    words = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{words}<thead>{cells(header, 'th')}</thead><tbody>{body}</tbody></table>"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
