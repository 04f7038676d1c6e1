"""Trees whose paths say everything: a reader of declarations, which are in :mod:`trees`.

A declaration lists places: patterns of a file's path below the root, each with the label of what is
there. Named groups of a pattern are ``method``, ``split``, ``compression``, ``target`` and ``source``. The
first pattern that fits a file counts; a video or image that none fits is not part of the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    SPLIT_NAMES,
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    in_order,
    nearly_named,
    new_video,
    short_names,
    subfolders,
    walk,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_ANY = "*"


@dataclass(frozen=True)
class Place:
    """Files of one label: a pattern of their paths (any case, "/" between folders, without suffix)."""

    pattern: str
    label: int
    method: str = ""  # where the pattern has no group of that name

    def match(self, path: str) -> re.Match[str] | None:
        """Return the match of a path, whole."""
        return re.fullmatch(self.pattern, path, flags=re.IGNORECASE)


@dataclass(frozen=True)
class DeclaredTree:
    """A dataset that its folders and file names describe.

    Attributes:
        name, dataset, summary, label_source, split_source, published, source: See :class:`base.Layout`.
        places: Where its files are.
        marks: Folders, with ``*`` for any name, one of which identifies the tree.
        wrappers: Folders that archives unpack to, in which the tree may be.
        levels: Names of the folders at the top, of those in them, and so on, whose spelling is checked; a
            level whose names vary ends the list.
        methods: Names of the forgery methods, as written here whatever their case on disk.
        num_expected: Published number of files by group, see :func:`base.group_name`.
        people_of: Dataset whose people these are, if it is another one.
        suffixes: Of its files.
        no_real: Where the reals are, if the dataset has none.
    """

    name: str
    dataset: str
    summary: str
    label_source: str
    split_source: str
    published: str
    source: str
    places: tuple[Place, ...]
    marks: tuple[str, ...]
    wrappers: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    methods: tuple[str, ...] = ()
    num_expected: Mapping[str, int] = field(default_factory=dict)
    people_of: str = ""
    suffixes: frozenset[str] = VIDEO_SUFFIXES
    no_real: str = ""

    def layout(self) -> Layout:
        """Return the layout that reads it."""
        return Layout(
            name=self.name,
            dataset=self.dataset,
            summary=self.summary,
            label_source=self.label_source,
            split_source=self.split_source,
            published=self.published,
            source=self.source,
            recognize=partial(_recognize, self),
            list_videos=partial(_list, self),
        )


def _recognize(tree: DeclaredTree, root: Path) -> str | None:
    for top in dict.fromkeys((root, _top(tree, root))):
        found = [mark for mark in tree.marks if _has(top, mark)]
        if not found and tree.levels:
            found = nearly_named(top, set(tree.levels[0]) & set(tree.marks))
        if found:
            return f"{found[0]}/"
    return None


def _top(tree: DeclaredTree, root: Path) -> Path:
    """Return the folder that holds the tree: a wrapper in the root, or the root."""
    return next((root / wrapper for wrapper in tree.wrappers if (root / wrapper).is_dir()), root)


def _has(folder: Path, mark: str) -> bool:
    """Return whether a folder holds another one; see :attr:`DeclaredTree.marks`."""
    first, _, rest = mark.partition("/")
    if first == _ANY:
        return any(_has(one, rest) for one in subfolders(folder))
    return _has(folder / first, rest) if rest else (folder / first).is_dir()


def _list(tree: DeclaredTree, root: Path, _: Selection) -> VideoListing:
    top = _top(tree, root)
    ignored = _check_spelling(tree, top)
    paths = _files(tree, top, skipped=ignored)
    videos: list[DatasetVideo] = []
    for name, short in short_names(paths).items():
        video = _video(tree, paths[name], short)
        if video is None:
            ignored.append(paths[name])
        else:
            videos.append(video)
    if not videos:
        raise DatasetLayoutError(root, f"contains no file of {tree.dataset}", f"expected {tree.summary}")
    present = {video.label for video in videos}
    notes = [tree.no_real] if tree.no_real and REAL not in present else []
    return VideoListing(
        in_order(videos), num_expected=tree.num_expected, ignored=tuple(ignored), notes=tuple(notes)
    )


def _check_spelling(tree: DeclaredTree, top: Path) -> list[Path]:
    """Raise for a misspelled folder; return those that are not of the dataset."""
    ignored: list[Path] = []
    folders = [top]
    for names in tree.levels:
        ignored += [path for one in folders for path in check_folder_names(one, names, dataset=tree.dataset)]
        folders = [one / name for one in folders for name in names if (one / name).is_dir()]
    return ignored


def _files(tree: DeclaredTree, top: Path, *, skipped: Iterable[Path]) -> dict[str, Path]:
    """Return the videos or images below a folder, by their path from it."""
    return {
        path.relative_to(top).as_posix(): path
        for folder, names, _ in walk(top, skipped=set(skipped))
        for path in (folder / name for name in names)
        if path.suffix.lower() in tree.suffixes
    }


def _video(tree: DeclaredTree, path: Path, name: str) -> DatasetVideo | None:
    stem = name.removesuffix(path.suffix)
    found = next(((place, match) for place in tree.places if (match := place.match(stem))), None)
    if found is None:
        return None
    place, match = found
    parts = {group: value for group, value in match.groupdict().items() if value}
    method = parts.get("method", place.method)
    method = next((one for one in tree.methods if one.lower() == method.lower()), method)
    people = {
        role: f"{tree.people_of}:{parts[role]}" if tree.people_of else parts[role]
        for role in ("target", "source")
        if role in parts
    }
    return new_video(
        tree.dataset,
        method,
        name,
        path,
        label=place.label,
        split=SPLIT_NAMES.get(parts.get("split", "").lower()),
        compression=parts["compression"].lower() if "compression" in parts else None,
        target_id=people.get("target"),
        source_id=people.get("source") if place.label == FAKE else None,
    )


IMAGES = IMAGE_SUFFIXES
