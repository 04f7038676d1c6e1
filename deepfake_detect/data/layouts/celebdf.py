"""Celeb-DF v1 and v2 (arXiv:1909.12962) and Celeb-DF++ (arXiv:2507.18015).

    Celeb-real/<target>_<recording>.mp4                      label 0
    YouTube-real/<number>.mp4                                label 0
    Celeb-synthesis/<target>_<source>_<recording>.mp4        label 1, in v1 and v2
    Celeb-synthesis/<scenario>/<method>/<target>_*.mp4       label 1, in ++
    List_of_testing_videos.txt                               "1 Celeb-real/id1_0007.mp4" a line

**In the list 1 means real**, the opposite of this library. The label of a video is that of its
folder; a line that contradicts the folder is an error, so the list cannot be read with the wrong
polarity. The listed videos, first line included, are the test split; there is no official train or
val. Benchmarks often move the videos to ``Celeb-real/videos`` and so on; that is read too.

A YouTube-real video shows an unnamed person: the video is its own identity. v2 is an extension of v1,
and ++ has the people of v2: a name means the same person in all three (``data.identities``).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    folder_marks,
    in_order,
    list_files,
    make_video_id,
    nearly_named,
    note_absent,
    videos_folder,
)
from deepfake_detect.data.layouts.lists import read_label, read_text
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

LIST_NAME = "List_of_testing_videos.txt"
_LIST_LABELS = {"1": REAL, "0": FAKE}
_REALS = ("Celeb-real", "YouTube-real")
_SYNTHESIS = "Celeb-synthesis"
# Celeb-DF++: scenario -> methods. The forgeries of v2 are in Celeb-DF or, in later copies, Celeb-DF-v2.
SCENARIOS = {
    "FaceSwap": (
        *("Celeb-DF", "Celeb-DF-v2", "BlendFace", "GHOST", "HifiFace", "InSwapper"),
        *("MobileFaceSwap", "SimSwap", "UniFace"),
    ),
    "FaceReenact": ("DaGAN", "FSRT", "HyperReenact", "LIA", "LivePortrait", "MCNET", "TPSMM"),
    "TalkingFace": ("AniTalker", "EchoMimic", "EDTalk", "FLOAT", "IP_LAP", "Real3DPortrait", "SadTalker"),
}
_NAMES = {
    "Celeb-real": re.compile(r"(?P<target>id\d+)_\d+"),
    "YouTube-real": re.compile(r"\d+"),
    _SYNTHESIS: re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_\d+"),
}
# A talking face is driven by sound: its name has no second person.
_PP_FAKE = re.compile(r"(?P<target>id\d+)_(?:(?P<source>id\d+)_)?.+")


@dataclass(frozen=True)
class _Release:
    """A release: its published figures, and the pattern by which a folder's name identifies it."""

    name: str
    dataset: str
    num_listed: int
    num_expected: Mapping[str, int]
    published: str
    name_mark: str
    summary: str


_V1 = _Release(
    "celebdf-v1",
    "Celeb-DF-v1",
    100,
    {"Celeb-real": 158, "YouTube-real": 250, _SYNTHESIS: 795},
    "158 + 250 real, 795 fake, 100 of them test",
    "v1",
    "Celeb-real/, YouTube-real/, Celeb-synthesis/, List_of_testing_videos.txt (100 videos)",
)
_V2 = _Release(
    "celebdf-v2",
    "Celeb-DF-v2",
    518,
    {"Celeb-real": 590, "YouTube-real": 300, _SYNTHESIS: 5639},
    "590 + 300 real, 5,639 fake, 518 of them test",
    "v2",
    "Celeb-real/, YouTube-real/, Celeb-synthesis/, List_of_testing_videos.txt (518 videos)",
)
_PP = _Release(
    "celebdf-pp",
    "Celeb-DF++",
    5418,
    {"Celeb-real": 590, "YouTube-real": 300},
    "590 + 300 real, 53,196 fake by 22 methods, 5,418 of them test",
    r"\+\+|[-_ ]pp$|v3",
    "Celeb-real/, YouTube-real/, Celeb-synthesis/{FaceSwap,FaceReenact,TalkingFace}/<method>/, "
    "List_of_testing_videos.txt (5,418 videos)",
)
_RELEASES = (_V2, _V1, _PP)


@dataclass(frozen=True)
class _Item:
    """A video: its folder relative to the root, its name without suffix, and the people in it."""

    folder: str
    name: str
    target: str
    source: str | None

    @property
    def label(self) -> int:
        """``FAKE`` or ``REAL``, by its folder."""
        return FAKE if self.folder.startswith(_SYNTHESIS) else REAL


def _item(folder: str, name: str) -> _Item | None:
    """Return the video of that name, or ``None`` when it is not a name of the dataset."""
    match = _NAMES.get(folder, _PP_FAKE).fullmatch(name)
    if match is None:
        return None
    people = match.groupdict()
    return _Item(folder, name, people.get("target", f"{folder}/{name}"), people.get("source"))


def _recognize(release: _Release, root: Path) -> str | None:
    marks = folder_marks(root, (*_REALS, _SYNTHESIS))
    num_listed = _num_listed(root)
    # One misspelled folder alone is too little evidence.
    if not any((root / mark).is_dir() for mark in marks) and len(marks) + (num_listed is not None) < 2:
        return None
    if (_release_by_content(root) or _release_by_name(root) or _V2) is not release:
        return None
    if num_listed is not None:
        marks.append(f"{LIST_NAME} ({num_listed} lines)")
    return ", ".join(marks)


def _num_listed(root: Path) -> int | None:
    path = root / LIST_NAME
    if not path.is_file():
        return None
    return sum(1 for line in path.read_bytes().splitlines() if line.strip())


def _release_by_content(root: Path) -> _Release | None:
    """Return the release by the folders inside Celeb-synthesis, or by the length of the list."""
    if nearly_named(root / _SYNTHESIS, SCENARIOS):
        return _PP
    num_listed = _num_listed(root)
    return next((release for release in _RELEASES if release.num_listed == num_listed), None)


def _release_by_name(root: Path) -> _Release | None:
    name = root.resolve().name.lower()
    return next((release for release in _RELEASES if re.search(release.name_mark, name)), None)


def _list(release: _Release, root: Path, _: Selection) -> VideoListing:
    unknown = _check_folders(root, release)
    listed, num_lines = _read_list(root, release)
    videos, strays = _scan(root, release, listed)
    if not videos:
        raise DatasetLayoutError(root, f"holds no video of {release.dataset}", f"expected {release.summary}")
    present = {video.video_id for video in videos}
    wanted = [
        _video(release, item, videos_folder(root / item.folder) / f"{item.name}.mp4", "test")
        for item in listed
    ]
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in wanted if video.video_id not in present),
        num_expected=_num_expected(root, release),
        ignored=(*unknown, *strays),
        notes=tuple(_notes(root, release, num_lines, videos)),
    )


def _check_folders(root: Path, release: _Release) -> list[Path]:
    """Raise for other releases and misspelled folders; return folders that are not of the dataset."""
    actual = _release_by_content(root)
    if actual is not None and actual is not release:
        raise DatasetLayoutError(
            root,
            f"is {actual.dataset} by its folders and list, not {release.dataset}",
            f"pass {actual.name} as `dataset`",
        )
    unknown = check_folder_names(root, (*_REALS, _SYNTHESIS), dataset=release.dataset)
    if release is _PP:
        if list_files(root / _SYNTHESIS):
            raise DatasetLayoutError(
                root / _SYNTHESIS,
                f"holds videos itself; those of {_PP.dataset} are in folders of methods",
                f"pass {_V2.name} or {_V1.name} as `dataset`",
            )
        unknown += check_folder_names(root / _SYNTHESIS, SCENARIOS, dataset=release.dataset)
        for scenario, methods in SCENARIOS.items():
            unknown += check_folder_names(root / _SYNTHESIS / scenario, methods, dataset=release.dataset)
    return unknown


def _fake_methods(release: _Release) -> tuple[str, ...]:
    if release is not _PP:
        return (_SYNTHESIS,)
    return tuple(method for methods in SCENARIOS.values() for method in methods)


def _folders(release: _Release) -> Iterator[str]:
    """Yield the folders of videos, relative to the root; their last part is the method."""
    yield from _REALS
    if release is not _PP:
        yield _SYNTHESIS
        return
    for scenario, methods in SCENARIOS.items():
        yield from (f"{_SYNTHESIS}/{scenario}/{method}" for method in methods)


def _scan(root: Path, release: _Release, listed: Container[_Item]) -> tuple[list[DatasetVideo], list[Path]]:
    """Return the videos that are present, and video files that are not of the dataset."""
    videos, strays = [], []
    for folder in _folders(release):
        home = videos_folder(root / folder)
        if home != root / folder:
            strays += list_files(root / folder)
        for path in list_files(home):
            item = _item(folder, path.stem)
            if item is None or path.suffix.lower() != ".mp4":
                strays.append(path)
            else:
                videos.append(_video(release, item, path, "test" if item in listed else None))
    return videos, strays


def _video(release: _Release, item: _Item, path: Path, split: str | None) -> DatasetVideo:
    method = PurePosixPath(item.folder).name
    return DatasetVideo(
        dataset=release.dataset,
        video_id=make_video_id(release.dataset, method, None, item.name),
        method=method,
        label=item.label,
        split=split,
        compression=None,
        target_id=item.target,
        source_id=item.source,
        path=path,
    )


def _read_list(root: Path, release: _Release) -> tuple[dict[_Item, None], int | None]:
    """Return the listed videos in order, and the number of lines (``None`` without a list)."""
    path = root / LIST_NAME
    if not path.is_file():
        return {}, None
    folders = tuple(_folders(release))
    lines = enumerate(read_text(path).splitlines(), start=1)
    items = [_parse_line(path, number, line, folders) for number, line in lines if line.strip()]
    return dict.fromkeys(items), len(items)


def _parse_line(path: Path, number: int, line: str, folders: tuple[str, ...]) -> _Item:
    label, _, file = " ".join(line.split()).partition(" ")
    file_path = PurePosixPath(file.replace("\\", "/"))
    folder = str(file_path.parent)
    item = _item(folder, file_path.stem) if folder in folders else None
    if item is None:
        raise DatasetLayoutError(
            path,
            f"line {number} names no video: {line.strip()!r}",
            'lines are like "1 Celeb-real/id1_0007.mp4"',
        )
    if read_label(label, _LIST_LABELS, source=path, position=f"line {number}") != item.label:
        raise DatasetLayoutError(
            path,
            f"line {number} gives the label {label} to a video of {folder}, but 1 means real in the list",
            "download the list again",
        )
    return item


def _num_expected(root: Path, release: _Release) -> dict[str, int]:
    if release is not _PP:
        return dict(release.num_expected)
    later = (root / _SYNTHESIS / "FaceSwap" / "Celeb-DF-v2").is_dir()
    return {**release.num_expected, "Celeb-DF-v2" if later else "Celeb-DF": _V2.num_expected[_SYNTHESIS]}


def _notes(root: Path, release: _Release, num_lines: int | None, videos: list[DatasetVideo]) -> Iterator[str]:
    if release is _V2 and not (_release_by_content(root) or _release_by_name(root)):
        yield "neither the list nor the folder's name distinguishes v1 from v2: assumed to be v2"
    if num_lines is None:
        yield f"{LIST_NAME} is absent: no video has a split"
    elif num_lines != release.num_listed:
        yield f"{LIST_NAME} has {num_lines:,} videos, that of {release.dataset} has {release.num_listed:,}"
    yield from note_absent((*_REALS, *((_SYNTHESIS,) if release is not _PP else ())), videos)
    if release is _PP:
        present = {video.method for video in videos}
        absent = [m for m in _fake_methods(release) if m not in present and not m.startswith("Celeb-DF")]
        if absent:
            yield f"no video of these methods is present: {', '.join(absent)}"


def _layout(release: _Release) -> Layout:
    return Layout(
        name=release.name,
        dataset=release.dataset,
        summary=release.summary,
        label_source=f"folders; {LIST_NAME} must agree with them (in it 1 means real)",
        split_source=f"{LIST_NAME} is test; there is no train or val",
        published=release.published,
        recognize=partial(_recognize, release),
        list_videos=partial(_list, release),
        methods=_fake_methods(release),
    )


LAYOUTS: tuple[Layout, ...] = tuple(_layout(release) for release in _RELEASES)
