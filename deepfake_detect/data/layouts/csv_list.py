"""Any CSV with a path and a label: comma, semicolon or tab between columns, the first line their names.

Columns, by the first of these names that is present, in any case:

    path         path, file_path, filepath, filename, file, video, video_path; relative to the CSV's folder
    label        label, class, target, is_fake, label_str: the words real and fake, or 1 = fake and
                 0 = real; for other values the option ``fake_label`` names the one that means fake
    label_str    also label_name, class_name: the word for a number next to it, which tells its meaning
    optional: dataset, method, split (train, val, valid, validation, test), compression, target_id,
    source_id, video_id

Many published lists use 1 for real. A label must therefore agree with the word next to it, and with the
words real and fake in folders and the file's name, where there are any: a contradiction is an error.

Without those, the dataset has the name of the CSV's folder and the methods are ``real`` and ``fake``. A
``video_id`` that does not begin with the dataset's name gets dataset, method and compression as a
prefix, as everywhere. A video without one is named by its path: relative to the CSV's folder if all
paths are below it, otherwise relative to the folder that all of them have in common.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    SPLIT_NAMES,
    Layout,
    Selection,
    VideoListing,
    group_name,
    in_order,
    is_plain_path,
    list_files,
    make_video_id,
    short_names,
)
from deepfake_detect.data.layouts.lists import (
    LABEL_NUMBERS,
    LABEL_WORDS,
    label_in_path,
    read_cells,
    read_label,
)
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.io.tables import decode_text
from deepfake_detect.records import FAKE, REAL, DatasetVideo

_PATH_NAMES = ("path", "file_path", "filepath", "filename", "file", "video", "video_path")
_LABEL_NAMES = ("label", "class", "target", "is_fake", "label_str")
_WORD_NAMES = ("label_str", "label_name", "class_name")
_DELIMITERS = ",;\t"
_HEADER_BYTES = 2**16
# Columns that make the id of a video, which is also a path below a folder of results.
_ID_NAMES = ("dataset", "method", "compression", "video_id")
_METHODS = {REAL: "real", FAKE: "fake"}


@dataclass(frozen=True)
class _Line:
    """One line of the CSV."""

    number: int  # in the file, from 1
    name: str  # path as the CSV has it, normalized
    label: int
    written: str  # label as the CSV has it
    cells: Mapping[str, str]  # by column in lower case; empty text for an empty cell

    @property
    def split(self) -> str | None:
        """``"train"``, ``"val"``, ``"test"`` or ``None``."""
        return SPLIT_NAMES.get(self.cells.get("split", "").lower())


def _recognize(root: Path) -> str | None:
    if root.is_file():
        return f"CSV file {root.name}" if root.suffix.lower() == ".csv" else None
    fitting = _fitting_csvs(root)
    return f"{fitting[0].name} with a path and a label column" if len(fitting) == 1 else None


def _fitting_csvs(root: Path) -> list[Path]:
    return [path for path in list_files(root, {".csv"}) if _columns(path) is not None]


def _columns(path: Path) -> tuple[str, str, str] | None:
    """Return (path column, label column, delimiter) of a CSV, or ``None`` when it lacks a column."""
    with open(path, "rb") as file:
        header = (decode_text(file.read(_HEADER_BYTES), errors="replace").splitlines() or [""])[0]
    for delimiter in _DELIMITERS:
        names = [name.strip(' "\n').lower() for name in header.split(delimiter)]
        path_column = next((name for name in _PATH_NAMES if name in names), None)
        label_column = next((name for name in _LABEL_NAMES if name in names), None)
        if path_column and label_column:
            return path_column, label_column, delimiter
    return None


def _list(root: Path, selection: Selection) -> VideoListing:
    fitting = [root] if root.is_file() else _fitting_csvs(root)
    if len(fitting) != 1:
        raise DatasetLayoutError(
            root, f"contains {len(fitting)} CSV files with a path and a label column", "pass the one to read"
        )
    path = fitting[0]
    lines, notes = _read_lines(path, selection.fake_label)
    unique = _unique(path, lines)
    rows = _videos(path, unique)
    videos = [video for video in rows if video.path.exists()]
    if not videos:
        raise DatasetLayoutError(
            path, f"none of its {len(rows):,} files exists", "paths are relative to the CSV's folder"
        )
    present = {video.path for video in videos}
    if num_repeated := len(lines) - len(unique):
        notes.append(f"lines left out because they repeat a path: {num_repeated:,}")
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in rows if video.path not in present),
        num_expected=Counter(group_name(video) for video in rows),
        notes=tuple(notes),
    )


def _read_lines(path: Path, fake_label: str | None) -> tuple[list[_Line], list[str]]:
    """Return the lines of a CSV, and notes on their labels."""
    columns = _columns(path)
    if columns is None:
        raise DatasetLayoutError(
            path, "lacks a column of paths or of labels", "name them in its first line, such as path,label"
        )
    path_column, label_column, delimiter = columns
    (_, header), *lines = read_cells(path, delimiter=delimiter)
    names = [name.lower() for name in header]
    rows = [(number, dict(zip_longest(names, cells[: len(names)], fillvalue=""))) for number, cells in lines]
    words = next((name for name in _WORD_NAMES if name in names and name != label_column), None)
    meanings = _meanings(path, rows, label_column, words) if words else {}
    if fake_label is None and meanings:
        known = {label: LABEL_WORDS.get(label, meaning) for label, meaning in meanings.items()}
    else:
        known = _known_labels(path, {cells[label_column].lower() for _, cells in rows}, fake_label)
    lines_read = [
        _parse_line(path, number, cells, cells[path_column], cells[label_column], known)
        for number, cells in rows
    ]
    for line in lines_read:
        if meanings and meanings[line.written.lower()] != line.label:
            _raise_contradiction(path, line, f"its {words} is {line.cells[str(words)]!r}")
    inverted = sorted(value for value, label in known.items() if LABEL_NUMBERS.get(value, label) != label)
    notes = [f"label {value} means {_METHODS[known[value]]} here, as {words} says" for value in inverted]
    return lines_read, notes if words and fake_label is None else []


def _meanings(
    path: Path, rows: Iterable[tuple[int, Mapping[str, str]]], label_column: str, words: str
) -> dict[str, int]:
    """Return label, in lower case -> its meaning by the column of words; empty if those are other words."""
    found: dict[str, tuple[int, int]] = {}
    for number, cells in rows:
        label, word = cells[label_column].lower(), cells[words].lower()
        if word not in LABEL_WORDS:
            return {}
        first, meaning = found.setdefault(label, (number, LABEL_WORDS[word]))
        if meaning != LABEL_WORDS[word]:
            cause = f"lines {first} and {number} have the label {cells[label_column]!r}, but {words} is "
            cause += f"{_METHODS[meaning]!r} in one and {_METHODS[LABEL_WORDS[word]]!r} in the other"
            raise DatasetLayoutError(path, cause, "correct the wrong one")
    return {label: meaning for label, (_, meaning) in found.items()}


def _raise_contradiction(path: Path, line: _Line, evidence: str) -> None:
    """Raise for a label that something else in its line contradicts."""
    cause = (
        f"line {line.number} has the label {line.written!r}, read as {_METHODS[line.label]}, but {evidence}"
    )
    remedy = "set `fake_label` to the label that means fake, or correct the wrong one"
    raise DatasetLayoutError(path, cause, remedy)


def _known_labels(path: Path, values: set[str], fake_label: str | None) -> dict[str, int]:
    """Return label as written, in lower case -> its meaning."""
    if fake_label is None:
        return LABEL_WORDS | LABEL_NUMBERS
    fake = fake_label.strip().lower()
    if fake not in values:
        raise OptionError(
            "fake_label",
            f"no line of {path} has the label {fake_label!r}",
            f"labels are: {', '.join(sorted(values))}",
        )
    others = values - {fake}
    if len(others) > 1:
        raise OptionError(
            "fake_label",
            f"{path} has more than one label other than {fake_label!r}: {', '.join(sorted(others))}",
            "keep only one label that means real",
        )
    return {fake: FAKE, **dict.fromkeys(others, REAL)}


def _parse_line(
    path: Path, number: int, cells: Mapping[str, str], name: str, label: str, known: Mapping[str, int]
) -> _Line:
    if not name:
        raise DatasetLayoutError(path, f"line {number} has no path", "write one, or remove the line")
    remedy = "write fake or real, 1 or 0, or set `fake_label` to the label that means fake"
    meaning = read_label(label, known, source=path, position=f"line {number}", remedy=remedy)
    line = _Line(number, posixpath.normpath(name.replace("\\", "/")), meaning, label, cells)
    for column in _ID_NAMES:
        if cells.get(column) and not is_plain_path(cells[column]):
            raise DatasetLayoutError(
                path,
                f"line {number} has the {column} {cells[column]!r}",
                "remove parts that are empty, . or ..",
            )
    if cells.get("split") and line.split is None:
        raise DatasetLayoutError(
            path, f"line {number} is in the split {cells['split']!r}", f"splits are {', '.join(SPLIT_NAMES)}"
        )
    return line


def _unique(path: Path, lines: Iterable[_Line]) -> dict[str, _Line]:
    """Return absolute path -> its first line; raise if lines contradict each other."""
    unique: dict[str, _Line] = {}
    for line in lines:
        first = unique.setdefault(_absolute(path.parent, line.name), line)
        if (first.label, first.split) != (line.label, line.split):
            raise DatasetLayoutError(
                path,
                f"lines {first.number} and {line.number} give {line.name} different labels or splits",
                "remove the wrong one",
            )
    return unique


def _absolute(folder: Path, name: str) -> str:
    """Return a name relative to a folder as an absolute path without ``..``; links are not resolved."""
    path = posixpath.normpath(posixpath.join(folder.absolute().as_posix(), name))
    return "/" + path.lstrip("/")  # POSIX keeps two leading slashes


def _names(path: Path, files: Iterable[str]) -> dict[str, str]:
    """Return absolute path -> the name of its video, see the module's docstring."""
    home = _absolute(path.parent, ".")
    if not all(file.startswith(f"{home}/") for file in files):
        home = posixpath.commonpath([posixpath.dirname(file) for file in files])
    name_of = {file: posixpath.relpath(file, home) for file in files}
    short = short_names(name_of.values())
    return {file: short[name] for file, name in name_of.items()}


def _videos(path: Path, lines: Mapping[str, _Line]) -> list[DatasetVideo]:
    folder_name = path.resolve().parent.name
    names = _names(path, lines)
    first: dict[str, int] = {}
    videos = []
    for file, line in lines.items():
        if label_in_path(names[file]) == 1 - line.label:
            _raise_contradiction(path, line, f"its path is {line.name}")
        video = _video(path.parent, folder_name, line, names[file])
        if first.setdefault(video.video_id, line.number) != line.number:
            raise DatasetLayoutError(
                path,
                f"lines {first[video.video_id]} and {line.number} have the video_id {video.video_id!r}",
                "give each video a different one",
            )
        videos.append(video)
    return videos


def _video(folder: Path, folder_name: str, line: _Line, name: str) -> DatasetVideo:
    cells = {column: value for column, value in line.cells.items() if value}
    dataset = cells.get("dataset", folder_name)
    method = cells.get("method", _METHODS[line.label])
    compression = cells.get("compression")
    video_id = cells.get("video_id", name)
    if "video_id" not in cells or not video_id.startswith(f"{dataset}/"):
        video_id = make_video_id(dataset, method, compression, video_id)
    return DatasetVideo(
        dataset=dataset,
        video_id=video_id,
        method=method,
        label=line.label,
        split=line.split,
        compression=compression,
        target_id=cells.get("target_id"),
        source_id=cells.get("source_id") if line.label == FAKE else None,
        path=folder / line.name,
    )


LAYOUT = Layout(
    name="csv",
    dataset="(column dataset, or name of the folder)",
    summary="a CSV with a path and a label column, or a folder with one such CSV",
    label_source="CSV: fake/real, label_str, or 1 = fake; other values by the option fake_label; "
    "folders and file names must agree",
    split_source="column split, if there is one",
    published="-",
    recognize=_recognize,
    list_videos=_list,
    takes_file=True,
    takes_fake_label=True,
    is_generic=True,
)
