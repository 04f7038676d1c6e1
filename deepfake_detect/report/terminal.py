"""Tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

_MAX_WIDTH = 500  # when measuring how wide a table would like to be


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its header, may contain a line break.
        kind: ``"number"``: right-aligned, never broken; ``"name"``: left-aligned, broken in a narrow
            terminal; ``"id"``: left-aligned, never broken, to be copied.
    """

    name: str
    kind: Literal["number", "name", "id"] = "number"


def print_table(
    title: str,
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[str] | None],
    *,
    caption: str = "",
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print a table of plain text.

    Args:
        title: Line above the table; empty for none.
        columns: Headers. A plain string is a name if it is the first column, a number otherwise.
        rows: One string per column; a row may end early. ``None`` draws a line between two rows.
        caption: Lines below the table.
        file: Where to print; standard output when ``None``.
        width: In characters; that of the terminal when ``None``. Where names cannot shrink enough
            for the numbers to fit, lines get longer.

    Example:
        >>> rows = [["train", "720", "2,880"]]
        >>> print_table("Videos", ["split", "real", "fake"], rows)  # doctest: +NORMALIZE_WHITESPACE
        Videos
        <BLANKLINE>
         split  real   fake
         ──────────────────
         train   720  2,880
        <BLANKLINE>
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, "bold") if title else None,
        title_justify="left",
        caption=Text(caption) if caption else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for number, one in enumerate(columns):
        column = one if isinstance(one, Column) else Column(one, "number" if number else "name")
        table.add_column(
            Text(column.name),
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.kind != "name",
            overflow="fold",
        )
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(Text(_without_controls(cell)) for cell in row))
    console = Console(file=file or sys.stdout, highlight=False, width=width)
    least = console.measure(table, options=console.options.update(max_width=_MAX_WIDTH)).minimum
    console.width = max(console.width, least)  # unbroken columns
    console.print(table)


def print_facts(rows: Iterable[tuple[str, str]], *, file: TextIO | None = None, indent: int = 0) -> None:
    """Print names and values side by side.

    Args:
        rows: Name and value, plain text.
        file: Where to print; standard output when ``None``.
        indent: Spaces before each name.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 1, 0, indent), pad_edge=bool(indent))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))  # a file's name may look like markup
    Console(file=file or sys.stdout, highlight=False).print(table)


def print_markdown(text: str, *, file: TextIO | None = None) -> None:
    """Print Markdown, rendered on a terminal and unchanged otherwise.

    Args:
        text: The document.
        file: Where to print; standard output when ``None``.
    """
    stream = file or sys.stdout
    if not stream.isatty():
        print(text, file=stream)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=stream).print(Markdown(text))


def _without_controls(text: str) -> str:
    """Return text without the characters that control a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
