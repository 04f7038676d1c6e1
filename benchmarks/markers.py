"""Tables in Markdown files, written between markers."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path


def replace_between(target: Path, name: str, text: str) -> bool:
    """Put text between ``<!-- name -->`` and ``<!-- end of name -->``; tell whether there was one place."""
    old = target.read_text("utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    new, count = re.subn(pattern, lambda match: f"{match[1]}{text}\n{match[2]}", old, flags=re.DOTALL)
    if count != 1:
        print(f"{target}: holds {count} places for {name}, not one", file=sys.stderr)
        return False
    target.write_text(new, "utf-8")
    return True


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)
