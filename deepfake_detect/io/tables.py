"""CSV files that people open: in any Unicode encoding, and with no cell that a spreadsheet would run."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Iterable
from typing import TypeVar

from deepfake_detect.io.files import atomic_path

T = TypeVar("T")
# A spreadsheet takes such a cell for a formula; an apostrophe before it makes it text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # it begins as the mark of UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def escape_cell(value: T) -> T | str:
    """Return text that a spreadsheet would run with an apostrophe before it; numbers are unchanged.

    Example:
        >>> [escape_cell(value) for value in ("=1+1", "'-a", "a=b", -1.5)]
        ["'=1+1", "''-a", 'a=b', -1.5]
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unescape_cell(text: str) -> str:
    """Return the text that :func:`escape_cell` was given.

    Example:
        >>> [unescape_cell(text) for text in ("'=1+1", "''-a", "'quoted'")]
        ['=1+1', "'-a", "'quoted'"]
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(path: str | os.PathLike[str], header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV in UTF-8, atomically, its cells escaped.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(map(escape_cell, row) for row in rows)


def text_encoding(head: bytes) -> str:
    r"""Return the Unicode encoding of text by its first bytes: by their mark, or by zeros among letters.

    Example:
        >>> [text_encoding(head) for head in (b"path", b"p\0a\0", b"\0p\0a", b"\xff\xfep\0")]
        ['utf-8', 'utf-16-le', 'utf-16-be', 'utf-16']
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if marked is not None:
        return marked
    by_zeros = {(False, True): "utf-16-le", (True, False): "utf-16-be"}
    return by_zeros.get((head[:1] == b"\0", head[1:2] == b"\0"), "utf-8") if len(head) > 1 else "utf-8"


def decode_text(data: bytes, *, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, without its mark.

    Raises:
        UnicodeDecodeError: It is in none of them.
    """
    return data.decode(text_encoding(data), errors)
