"""Pieces of a page that needs no other file: style, tables and pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from deepfake_detect.io.files import atomic_path

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem;
       margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p.small, caption, figcaption { color: #555; font-size: .86rem; }
.red { background: #b3261e; color: #fff; padding: .7rem 1rem; border-radius: .3rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #e6e6e6; }
th { background: #f5f6f8; }
th:first-child, td:first-child { text-align: left; min-width: 6rem; max-width: 18rem;
       overflow-wrap: break-word; }
img { max-width: 100%; height: auto; }
figure { margin: 0; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .8rem; }
.sheet img { width: 100%; border-radius: .25rem; background: #eee; }
.sheet figcaption { overflow-wrap: anywhere; line-height: 1.3; }
"""


def page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        parts: HTML.
        style: Rules of this page beside those that all pages share.
    """
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading with what belongs to it."""
    return "\n".join([f"<section><h2>{escape(title)}</h2>", *parts, "</section>"])


def paragraph(text: str, *, kind: str = "") -> str:
    """Return plain text as a paragraph of a class of the style: ``small``, ``red``."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Return a table of plain text; the first column is set to the left, numbers to the right."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(row)) + "</tr>" for row in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{named}<tr>{head}</tr>\n{body}\n</table></div>'


def _cells(row: Sequence[str]) -> list[str]:
    """Return a row's text as HTML; a number is broken in front of its interval alone."""
    first, *numbers = map(escape, row)
    return [first, *(text.replace(" ", "&nbsp;").replace("&nbsp;[", " [") for text in numbers)]


def picture(data: bytes, *, words: str, kind: str = "png") -> str:
    """Return a picture that stands in the page itself; ``words`` tell what it shows."""
    encoded = base64.b64encode(data).decode()
    return f'<figure><img alt="{escape(words)}" src="data:image/{kind};base64,{encoded}"></figure>'


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of plain text.

    Example:
        >>> print(markdown_table(["method", "AUC"], [["<a>|b", "0.9"]]))
        | method | AUC |
        |---|---:|
        | &lt;a&gt;\\|b | 0.9 |
    """
    lines = [list(header), *(list(row) for row in rows)]
    text = ["| " + " | ".join(map(_markdown_cell, line)) + " |" for line in lines]
    return "\n".join([text[0], "|---|" + "---:|" * (len(header) - 1), *text[1:]])


def _markdown_cell(text: str) -> str:
    # Markdown takes tags as they are, and a line's end for that of the row.
    return " ".join(escape(text, quote=False).replace("|", "\\|").splitlines())


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        # A file name may hold bytes that are no text: shown as an escape, never an error.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
