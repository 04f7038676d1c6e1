"""Tables in Markdown files, written between markers."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Return text with each part between ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises:
        ValueError: If there is not one place for a part.
    """
    for name, part in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"holds {count} places for {name}, not one")
    return text


def replace_between(target: Path, name: str, text: str) -> bool:
    """Put text between the markers of a file; return whether there was one place for it."""
    try:
        new = filled(target.read_text("utf-8"), {name: text})
    except ValueError as error:
        print(f"{target}: {error}", file=sys.stderr)
        return False
    target.write_text(new, "utf-8")
    return True


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)
