"""Reading the lists that datasets ship beside their videos: text, CSV and JSON, and their labels.

Every fault is a DatasetLayoutError that names the list and the place in it; no label is guessed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL

# Fake is 1, as everywhere; lists of another polarity have a table of their own.
LABEL_WORDS = {"real": REAL, "fake": FAKE}
LABEL_NUMBERS = {"0": REAL, "1": FAKE}


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text file, without its byte-order mark if it has one.

    Raises:
        DatasetLayoutError: It is not there, or is no text.
    """
    if not path.is_file():
        raise DatasetLayoutError(path, "is not there", "fetch it again: it comes with the dataset")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            path, f"is no UTF-8 text (byte {error.start})", "fetch it again, or save it as UTF-8"
        ) from error


def read_cells(path: Path, *, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return (number from 1, cells without spaces around them) of each line of a CSV, blank ones aside.

    Raises:
        DatasetLayoutError: It is not there, or is no CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DatasetLayoutError(
            path, f"line {reader.line_num} cannot be read ({error})", "fetch it again"
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)]


def read_video_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return a JSON file that holds one object for each video, keyed by its name or path.

    Raises:
        DatasetLayoutError: It is not there, is damaged, or holds something else.
    """
    try:
        table = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetLayoutError(
            path, f"is damaged (line {error.lineno}: {error.msg})", "fetch it again"
        ) from error
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise DatasetLayoutError(path, "does not hold one object for each video", "fetch it again")
    return table


def read_label(
    value: object, known: Mapping[str, int], *, source: Path, place: str, remedy: str | None = None
) -> int:
    """Translate a label as a list writes it.

    Args:
        value: What the list says; letters of any case, spaces around it allowed.
        known: Label as written, in lower case -> ``FAKE`` or ``REAL``.
        source: The list, for the message.
        place: Where in it, for the message, such as ``"line 3"``.
        remedy: What to do about another label; says the known ones when ``None``.

    Raises:
        DatasetLayoutError: The label is none of the known ones.

    Example:
        >>> read_label("FAKE", LABEL_WORDS, source=Path("metadata.json"), place="a.mp4")
        1
    """
    label = known.get(str(value).strip().lower())
    if label is None:
        raise DatasetLayoutError(
            source,
            f"{place} has the label {value!r}",
            remedy or f"it must be one of: {', '.join(sorted(known))}",
        )
    return label
