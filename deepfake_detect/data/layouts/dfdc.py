"""The Deepfake Detection Challenge dataset (arXiv:2006.07397), as its owners and Kaggle ship it.

    dfdc_train_part_N/metadata.json   {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}}
    validation/labels.csv             filename,label
    test/metadata.json                {"a.mp4": {"is_fake": 1}}
    test_videos/ and labels.csv       the list next to the folder of videos, or inside it

A folder with such a list is read down to two levels below the root, as the archives unpack
(``train/dfdc_train_part_0``, ``dfdc_train_part_00/dfdc_train_part_0``); the root may be one such
folder itself. In all of the lists FAKE and 1 mean fake. A CSV may have a header or not. The split is
that of the metadata, else that of the folder's name, else test.

A fake's target is the real video it was made from; its source is not published, and for test neither
is the target. People recur within a part, so each part is a group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    SPLIT_NAMES,
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    group_name,
    in_order,
    list_files,
    new_video,
    subfolders,
)
from deepfake_detect.data.layouts.lists import (
    LABEL_NUMBERS,
    LABEL_WORDS,
    read_cells,
    read_label,
    read_video_table,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "DFDC"
METADATA_NAME = "metadata.json"
LABELS_NAME = "labels.csv"
NUM_PARTS = 50
_PART = re.compile(r"dfdc_train_part_\d+")
# The challenge's videos have names of ten letters, which distinguish its lists from others.
_VIDEO_NAME = re.compile(r"[a-z]{10}\.mp4")
_METHODS = {REAL: "real", FAKE: "fake"}
_MAX_DEPTH = 2


@dataclass(frozen=True)
class _Entry:
    """A line of a list; ``original`` is the name of the real a fake was made from, if known."""

    name: str
    label: int
    split: str | None
    original: str | None = None


@dataclass(frozen=True)
class _Row:
    """A listed video, and whether its file is present."""

    video: DatasetVideo
    is_present: bool


def _recognize(root: Path) -> str | None:
    children = subfolders(root)
    marks = [f"{p.name}/" for p in (root, *children, *subfolders(root / "train")) if _PART.fullmatch(p.name)]
    if not marks:
        marks = [
            f"{path.relative_to(root).as_posix()} with videos with names of ten letters"
            for folder in (root, *children)
            for path in _lists(folder)
            if any(_VIDEO_NAME.fullmatch(video.name) for video in list_files(_home(folder)))
        ]
    if len(marks) > 3:
        marks = [*marks[:3], f"{len(marks) - 3} more"]
    return ", ".join(marks) or None


def _lists(folder: Path) -> list[Path]:
    return [folder / name for name in (METADATA_NAME, LABELS_NAME) if (folder / name).is_file()]


def _home(folder: Path) -> Path:
    """Return the folder with the videos of a list in this folder."""
    return next((folder / name for name in ("test_videos", "videos") if (folder / name).is_dir()), folder)


def _walk(folder: Path, visited: set[Path], depth: int = 0) -> Iterator[Path]:
    """Yield the folders that may have a list; none inside another that has one, except the root.

    ``visited`` holds resolved folders, into which no link is followed.
    """
    real = folder.resolve()
    if real in visited:
        return
    visited.add(real)
    yield folder
    if depth < _MAX_DEPTH and (depth == 0 or not _lists(folder)):
        for child in subfolders(folder):
            yield from _walk(child, visited, depth + 1)


def _list(root: Path, _: Selection) -> VideoListing:
    _check_folders(root)
    folders = list(_walk(root, {*root.resolve().parents}))
    lists = [path for folder in folders for path in _lists(folder)]
    homes = {_home(path.parent) for path in lists}
    bare = [f for f in folders if f not in homes and list_files(f)]
    rows = [row for path in lists for row in _rows_of_list(path)]
    unique = _unique(rows)
    videos = [row.video for row in unique if row.is_present]
    if not videos:
        raise DatasetLayoutError(
            root,
            "contains no video with a label",
            f"each folder of videos needs its {METADATA_NAME} or {LABELS_NAME}",
        )
    listed = {row.video.path for row in rows}
    strays = [path for home in sorted(homes) for path in list_files(home) if path not in listed]
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(row.video for row in unique if not row.is_present),
        num_expected=Counter(group_name(row.video) for row in unique),
        ignored=(*bare, *strays),
        notes=tuple(_notes(lists, bare, unique, num_repeated=len(rows) - len(unique))),
    )


def _check_folders(root: Path) -> None:
    """Raise if the name of a part or of the validation folder is misspelled."""
    for folder in (root, root / "train"):
        numbers = [match[0] for path in subfolders(folder) if (match := re.search(r"\d+$", path.name))]
        check_folder_names(
            folder, {"validation", *(f"dfdc_train_part_{n}" for n in numbers)}, dataset=DATASET
        )


def _rows_of_list(path: Path) -> Iterator[_Row]:
    folder, home = path.parent, _home(path.parent)
    present = {file.name for file in list_files(home)}
    for entry in _json_entries(path) if path.name == METADATA_NAME else _csv_entries(path):
        stem = Path(entry.name).stem
        video = new_video(
            DATASET,
            _METHODS[entry.label],
            stem,
            home / entry.name,
            label=entry.label,
            split=entry.split,
            target_id=stem if entry.label == REAL else entry.original,
            group_id=folder.name if _PART.fullmatch(folder.name) else None,
        )
        yield _Row(video, entry.name in present)


def _folder_split(folder: Path) -> str | None:
    """Return the split in the name of a list's folder, or of its videos' folder."""
    for name in (_home(folder).name, folder.resolve().name):
        for prefix, split in (("val", "val"), ("test", "test"), ("train", "train"), ("dfdc_train", "train")):
            if name.lower().startswith(prefix):
                return split
    return None


def _json_entries(path: Path) -> Iterator[_Entry]:
    """Yield the videos of a metadata.json; train has words as labels, test has numbers."""
    from_folder = _folder_split(path.parent)
    for name, fields in read_video_table(path).items():
        if "is_fake" in fields:
            label = read_label(fields["is_fake"], LABEL_NUMBERS, source=path, position=name)
            yield _Entry(name, label, from_folder or "test")
        else:
            label = read_label(fields.get("label"), LABEL_WORDS, source=path, position=name)
            split = SPLIT_NAMES.get(str(fields.get("split")).lower())
            if split is None and fields.get("split") is not None:
                cause = f"{name} is in the split {fields['split']!r}"
                raise DatasetLayoutError(path, cause, "download it again")
            original = fields.get("original")  # absent or null for a real; NaN in copies written from a table
            target = Path(original).stem if isinstance(original, str) else None
            yield _Entry(name, label, split or from_folder, target)


def _csv_entries(path: Path) -> Iterator[_Entry]:
    """Yield the videos of a labels.csv, whose first line may be a header."""
    split = _folder_split(path.parent) or "test"
    for index, (number, cells) in enumerate(read_cells(path)):
        if index == 0 and [cell.lower() for cell in cells[:2]] == ["filename", "label"]:
            continue
        if len(cells) < 2:
            raise DatasetLayoutError(path, f"line {number} has no label", "lines are like: aaaaaaaaaa.mp4,1")
        label = read_label(cells[1], LABEL_NUMBERS, source=path, position=f"line {number}")
        yield _Entry(cells[0], label, split)


def _unique(rows: Sequence[_Row]) -> list[_Row]:
    """Return each video once, a present one if any; raise if lists contradict each other.

    Kaggle's sample of the train videos, for example, repeats some of the parts.
    """
    unique: dict[str, _Row] = {}
    for row in rows:
        first = unique.setdefault(row.video.path.stem, row)
        if (first.video.label, first.video.split) != (row.video.label, row.video.split):
            raise DatasetLayoutError(
                row.video.path,
                f"is {row.video.method}, {row.video.split} in its list, "
                f"but {first.video.method}, {first.video.split} in {first.video.path.parent}",
                "remove the wrong list",
            )
        if row.is_present and not first.is_present:
            unique[row.video.path.stem] = row
    return list(unique.values())


def _notes(
    lists: Sequence[Path], bare: Sequence[Path], rows: Sequence[_Row], *, num_repeated: int
) -> Iterator[str]:
    num_parts = len({path.parent.name for path in lists if _PART.fullmatch(path.parent.name)})
    if 0 < num_parts < NUM_PARTS:
        yield f"{num_parts} of {NUM_PARTS} train parts are present"
    for folder in bare:
        yield f"{folder.name}: left out, its videos have no {METADATA_NAME} or {LABELS_NAME} and so no labels"
    if num_repeated:
        yield f"videos listed more than once and counted once: {num_repeated:,}"
    unknown = sum(1 for row in rows if row.video.split == "train" and row.video.target_id is None)
    if unknown:
        yield f"train fakes without an original in their list, so that their identity is unknown: {unknown:,}"


LAYOUT = Layout(
    name="dfdc",
    dataset=DATASET,
    summary="dfdc_train_part_N/ with metadata.json; validation/ and test/ with labels.csv or metadata.json",
    label_source="metadata.json: FAKE/REAL, or is_fake 1/0; labels.csv: 1 = fake",
    split_source="metadata.json; by folder if there is none",
    published="train 19,154 real + 100,000 fake in 50 parts, validation 4,000, test 5,000",
    source="arXiv:2006.07397",
    recognize=_recognize,
    list_videos=_list,
)
