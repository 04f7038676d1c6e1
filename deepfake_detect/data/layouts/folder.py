"""A plain folder of your own: ``real/`` and ``fake/``, or ``train/real`` and so on.

    real/a.mp4, real/day1/b.mp4     a video: one item
    fake/c.png                      an image directly in a class folder: one item
    fake/clip7/0001.png, ...        the images of a folder further down: the frames of one item

The label is that of the folder: ``real`` or ``reals``, ``fake`` or ``fakes``, in any case. A folder
of images is ambiguous; a note states how it was read, with counts. Folders ``train``, ``val`` (also
``valid``, ``validation``) and ``test`` above the class folders are the splits. The dataset has the
name of the root folder; identities are not known. A broken link is ignored, one that leads back is
not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    SPLIT_NAMES,
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    in_order,
    new_video,
    note_absent,
    short_names,
    subfolders,
    walk,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_LABELS = {"real": REAL, "reals": REAL, "fake": FAKE, "fakes": FAKE}
_METHODS = {REAL: "real", FAKE: "fake"}
_NOTES = {
    "image": "images directly in a class folder, read as one item each",
    "sequence": "folders of images, read as the frames of one item each",
}


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of one class; ``split_name`` is the folder above it, empty if that is the root."""

    path: Path
    label: int
    split_name: str


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


def _list(root: Path, _: Selection) -> VideoListing:
    splits = _split_folders(root)
    ignored = _check_names(root, splits=splits)
    for parent in splits:
        ignored += _check_names(parent)
    videos: list[DatasetVideo] = []
    counts: Counter[str] = Counter()
    known: dict[Path, Path] = {}
    for folder in _class_folders(root):
        first = known.setdefault(folder.path.resolve(), folder.path)
        if first != folder.path:
            raise DatasetLayoutError(folder.path, f"is the same folder as {first}", "remove the link")
        found = list(_find(folder.path))
        counts.update(kind for kind, _ in found)
        ignored += [path for kind, path in found if kind == "stray"]
        videos += _videos(root.resolve().name, folder, [path for kind, path in found if kind != "stray"])
    if not videos:
        raise DatasetLayoutError(
            root,
            "contains no video or image in a real/ or fake/ folder",
            "put them there, or list them in a CSV",
        )
    notes = [f"{text}: {counts[kind]:,}" for kind, text in _NOTES.items() if counts[kind]]
    notes += note_absent(_METHODS.values(), videos)
    return VideoListing(in_order(videos), ignored=tuple(ignored), notes=tuple(notes))


def _check_names(parent: Path, *, splits: Iterable[Path] = ()) -> list[Path]:
    """Raise for a misspelled folder or a second one of a class; return folders that are not read."""
    names: dict[int, str] = {}
    for path in subfolders(parent):
        label = _LABELS.get(path.name.lower())
        if label in names:
            raise DatasetLayoutError(
                path, f"contains the same class as {names[label]} next to it", "merge them"
            )
        if label is not None:
            names[label] = path.name
    known = {names.get(label, method) for label, method in _METHODS.items()}
    if splits:
        known |= {"train", "val", "test", *(path.name for path in splits)}
    return check_folder_names(parent, known, dataset="a real/ fake/ tree")


def _find(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is in a class folder, with its kind: video, image, sequence or stray."""
    for inner, names, broken_links in walk(folder):
        has_frames = False
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix in VIDEO_SUFFIXES:
                yield "video", inner / name
            elif suffix not in IMAGE_SUFFIXES:
                yield "stray", inner / name
            elif inner == folder:
                yield "image", inner / name
            else:
                has_frames = True
        if has_frames:
            yield "sequence", inner
        yield from (("stray", inner / name) for name in broken_links)


def _videos(dataset: str, folder: _ClassFolder, paths: Iterable[Path]) -> Iterator[DatasetVideo]:
    by_name = {path.relative_to(folder.path).as_posix(): path for path in paths}
    method = _METHODS[folder.label]
    for name, short in short_names(by_name).items():
        unique, split = f"{folder.split_name}/{short}".lstrip("/"), SPLIT_NAMES.get(folder.split_name.lower())
        yield new_video(dataset, method, unique, by_name[name], label=folder.label, split=split)


LAYOUT = Layout(
    name="folder",
    dataset="(name of the folder)",
    summary="real/ and fake/ of videos, images or folders of frames; train/, val/, test/ above them or not",
    label_source="folders",
    split_source="folders train, val, test, if there are any",
    published="-",
    recognize=_recognize,
    list_videos=_list,
    is_generic=True,
)
