"""A plain folder of somebody's own: ``real/`` and ``fake/``, or ``train/real`` and so on.

    real/a.mp4, real/day1/b.mp4     a video: one item
    fake/c.png                      an image directly in a class folder: one item
    fake/clip7/0001.png, ...        the images of a folder further down: the frames of one item

The label is that of the folder: ``real`` or ``reals``, ``fake`` or ``fakes``, in any case. A folder
of images is ambiguous; which way it was read is told in a note, with counts. Folders ``train``,
``val`` (also ``valid``, ``validation``) and ``test`` above the class folders are the splits. The
dataset is called as the root folder is; who is seen is not known. A link that leads nowhere is
ignored, one that leads back is not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    VIDEO_SUFFIXES,
    Layout,
    ReadOptions,
    VideoListing,
    check_folder_names,
    filter_listing,
    in_order,
    make_video_id,
    short_names,
    subfolders,
    walk,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

_LABELS = {"real": REAL, "reals": REAL, "fake": FAKE, "fakes": FAKE}
_METHODS = {REAL: "real", FAKE: "fake"}


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of one class; ``split_name`` is the folder above it, empty where that is the root."""

    path: Path
    label: int
    split_name: str


@dataclass(frozen=True)
class _Found:
    """Something in a class folder: a "video", "image", "sequence" or "stray" (none of these)."""

    kind: str
    path: Path


def _recognize(root: Path) -> str | None:
    marks = [folder.path.relative_to(root).as_posix() for folder in _class_folders(root)]
    return ", ".join(f"{mark}/" for mark in marks) or None


def _class_folders(root: Path) -> list[_ClassFolder]:
    return [
        _ClassFolder(path, _LABELS[path.name.lower()], "" if parent == root else parent.name)
        for parent in (root, *_split_folders(root))
        for path in subfolders(parent)
        if path.name.lower() in _LABELS
    ]


def _split_folders(root: Path) -> list[Path]:
    return [path for path in subfolders(root) if path.name.lower() in SPLIT_NAMES]


def _read(root: Path, options: ReadOptions) -> VideoListing:
    """List the items of a plain folder."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", "pass a folder with real/ and fake/ in it")
    splits = _split_folders(root)
    ignored = _check_names(root, splits=splits)
    for parent in splits:
        ignored += _check_names(parent)
    folders = _class_folders(root)
    _refuse_links_to_one_folder(folders)
    videos: list[DatasetVideo] = []
    counts: Counter[str] = Counter()
    for folder in folders:
        found = list(_find(folder.path))
        counts.update(one.kind for one in found)
        ignored += [one.path for one in found if one.kind == "stray"]
        videos += _videos(root.resolve().name, folder, [one.path for one in found if one.kind != "stray"])
    if not videos:
        raise DatasetLayoutError(
            root,
            "holds no video or image in a real/ or fake/ folder",
            "put them there, or list them in a CSV",
        )
    listing = VideoListing(
        videos=in_order(videos),
        ignored=tuple(ignored),
        notes=tuple(_notes(counts, {video.label for video in videos})),
    )
    return filter_listing(listing, options)


def _check_names(parent: Path, *, splits: Iterable[Path] = ()) -> list[Path]:
    """Refuse a folder that is misspelled, or a second one of a class; return those of no meaning here."""
    names: dict[int, str] = {}
    for path in subfolders(parent):
        label = _LABELS.get(path.name.lower())
        if label in names:
            raise DatasetLayoutError(
                path, f"holds the same class as {names[label]} beside it", "make them one"
            )
        if label is not None:
            names[label] = path.name
    known = {names.get(label, method) for label, method in _METHODS.items()}
    if splits:
        known |= {"train", "val", "test", *(path.name for path in splits)}
    return check_folder_names(parent, known, dataset="a real/ fake/ tree")


def _refuse_links_to_one_folder(folders: Iterable[_ClassFolder]) -> None:
    """Refuse class folders that are one and the same, of two splits or classes."""
    places: dict[Path, Path] = {}
    for folder in folders:
        first = places.setdefault(folder.path.resolve(), folder.path)
        if first != folder.path:
            raise DatasetLayoutError(folder.path, f"is the same folder as {first}", "remove the link")


def _find(folder: Path) -> Iterator[_Found]:
    for place, names, dead_links in walk(folder):
        has_frames = False
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in VIDEO_SUFFIXES:
                yield _Found("video", place / name)
            elif suffix not in IMAGE_SUFFIXES:
                yield _Found("stray", place / name)
            elif place == folder:
                yield _Found("image", place / name)
            else:
                has_frames = True
        if has_frames:
            yield _Found("sequence", place)
        yield from (_Found("stray", place / name) for name in dead_links)


def _videos(dataset: str, folder: _ClassFolder, paths: Iterable[Path]) -> Iterator[DatasetVideo]:
    by_name = {path.relative_to(folder.path).as_posix(): path for path in paths}
    method = _METHODS[folder.label]
    for name, short in short_names(by_name).items():
        yield DatasetVideo(
            dataset=dataset,
            video_id=make_video_id(dataset, method, None, f"{folder.split_name}/{short}".lstrip("/")),
            method=method,
            label=folder.label,
            split=SPLIT_NAMES.get(folder.split_name.lower()),
            compression=None,
            target_id=None,
            source_id=None,
            path=by_name[name],
        )


def _notes(counts: Mapping[str, int], labels: set[int]) -> Iterator[str]:
    if counts["image"]:
        yield f"images directly in a class folder, each an item of its own: {counts['image']:,}"
    if counts["sequence"]:
        yield f"folders of images, each one item whose frames they are: {counts['sequence']:,}"
    for label, method in _METHODS.items():
        if label not in labels:
            yield f"nothing of the class {method} is there"


LAYOUT = Layout(
    kind="folder",
    dataset="(name of the folder)",
    summary="real/ and fake/ of videos, images or folders of frames; train/, val/, test/ above them or not",
    label_source="folders",
    split_source="folders train, val, test, where there are any",
    published="-",
    recognize=_recognize,
    read=_read,
)
