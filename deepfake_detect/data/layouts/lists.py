"""Read the lists that datasets ship with their videos: text, CSV and JSON, and their labels.

Every fault is a DatasetLayoutError that names the list and the line or entry; no label is guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.io.tables import decode_text
from deepfake_detect.records import FAKE, REAL

# Fake is 1, as everywhere; lists of another polarity have their own table.
LABEL_WORDS = {"real": REAL, "fake": FAKE}
LABEL_NUMBERS = {"0": REAL, "1": FAKE}


_CLASS_FOLDER = re.compile(r"(?:[01]_)?(real|fake)s?")


def label_in_path(path: str) -> int | None:
    """Return the label that the words real and fake in a path tell, ``None`` without any or with both.

    A folder counts if it is named so, also as ``0_real``; a file's name if one of its words is.

    Example:
        >>> [label_in_path(path) for path in ("train/Real/7.jpg", "id0_fake.mp4", "real/fake_7.png", "a.mp4")]
        [0, 1, None, None]
    """
    *folders, name = path.lower().split("/")
    named = [match[1] for match in map(_CLASS_FOLDER.fullmatch, folders) if match]
    named += [word.rstrip("s") for word in re.findall("[a-z]+", name.rpartition(".")[0] or name)]
    found = {LABEL_WORDS[word] for word in named if word in LABEL_WORDS}
    return found.pop() if len(found) == 1 else None


def read_text(path: Path) -> str:
    """Return the content of a text file in UTF-8 or UTF-16."""
    if not path.is_file():
        raise DatasetLayoutError(path, "does not exist", "download it again: it comes with the dataset")
    try:
        return decode_text(path.read_bytes())
    except UnicodeDecodeError as error:
        raise DatasetLayoutError(
            path, f"is not UTF-8 text (byte {error.start})", "download it again, or save it as UTF-8"
        ) from error
    except OSError as error:
        raise DatasetLayoutError(path, f"cannot be read ({error.strerror})", "make it readable") from error


def read_cells(path: Path, *, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return (number from 1, cells without surrounding spaces) of each line of a CSV that is not blank."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DatasetLayoutError(
            path, f"line {reader.line_num} cannot be read ({error})", "download it again"
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)]


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, cells by column) of a CSV whose first line names its columns.

    A cell that a line lacks is empty text. Without one of ``columns``, the file is an error.
    """
    (_, header), *lines = read_cells(path) or [(1, [])]
    if lacking := [name for name in columns if name not in header]:
        raise DatasetLayoutError(
            path, f"lacks the columns {', '.join(lacking)}", f"it needs {', '.join(columns)}"
        )
    return [
        (number, dict(zip_longest(header, cells[: len(header)], fillvalue=""))) for number, cells in lines
    ]


def read_json_list(path: Path) -> Any:  # noqa: ANN401 - whatever the JSON holds; callers check it
    """Return the content of a JSON file."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        cause = f"is damaged ({error})"
        if isinstance(error, json.JSONDecodeError):
            cause = f"is damaged (line {error.lineno}: {error.msg})"
        raise DatasetLayoutError(path, cause, "download it again") from error


def read_video_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return the content of a JSON file with one object for each video, by its name or path."""
    table = read_json_list(path)
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise DatasetLayoutError(path, "does not hold one object for each video", "download it again")
    return table


def read_label(
    value: object, known: Mapping[str, int], *, source: Path, position: str, remedy: str | None = None
) -> int:
    """Return the label that a list's value means; its case and surrounding spaces are ignored.

    Args:
        value: Value in the list.
        known: Label as written, in lower case -> ``FAKE`` or ``REAL``.
        source, position: The list, and the line or entry of it, for the message.
        remedy: What to do about an unknown label; lists the known ones when ``None``.
    """
    label = known.get(str(value).strip().lower())
    if label is None:
        raise DatasetLayoutError(
            source,
            f"{position} has the label {value!r}",
            remedy or f"it must be one of: {', '.join(sorted(known))}",
        )
    return label
