"""Read the lists that datasets ship with their videos: text, CSV and JSON, and their labels.

Every fault is a DatasetLayoutError that names the list and the line or entry; no label is guessed.
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

# Fake is 1, as everywhere; lists of another polarity have their own table.
LABEL_WORDS = {"real": REAL, "fake": FAKE}
LABEL_NUMBERS = {"0": REAL, "1": FAKE}


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text file, without its byte-order mark if it has one.

    Raises:
        DatasetLayoutError: The file is absent, or not text.
    """
    if not path.is_file():
        raise DatasetLayoutError(path, "does not exist", "download it again: it comes with the dataset")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            path, f"is not UTF-8 text (byte {error.start})", "download it again, or save it as UTF-8"
        ) from error


def read_cells(path: Path, *, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return (number from 1, cells without surrounding spaces) of each line of a CSV that is not blank.

    Raises:
        DatasetLayoutError: The file is absent, or not a CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DatasetLayoutError(
            path, f"line {reader.line_num} cannot be read ({error})", "download it again"
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)]


def read_json_list(path: Path) -> Any:  # noqa: ANN401 - whatever the JSON holds; callers check it
    """Return the content of a JSON file.

    Raises:
        DatasetLayoutError: The file is absent or damaged.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetLayoutError(
            path, f"is damaged (line {error.lineno}: {error.msg})", "download it again"
        ) from error


def read_video_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return the content of a JSON file with one object for each video, by its name or path.

    Raises:
        DatasetLayoutError: The file is absent, damaged, or holds something else.
    """
    table = read_json_list(path)
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise DatasetLayoutError(path, "does not hold one object for each video", "download it again")
    return table


def read_label(
    value: object, known: Mapping[str, int], *, source: Path, position: str, remedy: str | None = None
) -> int:
    """Return the label that a list's value means.

    Args:
        value: Value in the list; case and surrounding spaces are ignored.
        known: Label as written, in lower case -> ``FAKE`` or ``REAL``.
        source: The list, for the message.
        position: Line or entry of the list, for the message, such as ``"line 3"``.
        remedy: What to do about an unknown label; lists the known ones when ``None``.

    Raises:
        DatasetLayoutError: The label is not known.

    Example:
        >>> read_label("FAKE", LABEL_WORDS, source=Path("metadata.json"), position="a.mp4")
        1
    """
    label = known.get(str(value).strip().lower())
    if label is None:
        raise DatasetLayoutError(
            source,
            f"{position} has the label {value!r}",
            remedy or f"it must be one of: {', '.join(sorted(known))}",
        )
    return label
