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
    nearly_named,
    new_video,
    note_absent,
    videos_folder,
)
from deepfake_detect.data.layouts.lists import read_label, read_text
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.plurals import counted
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


# A video: its folder relative to the root, and its name without suffix.
_Item = tuple[str, str]


def _match(folder: str, name: str) -> re.Match[str] | None:
    """Match the people in a video's name; ``None`` when it is not a name of the dataset."""
    return _NAMES.get(folder, _PP_FAKE).fullmatch(name)


def _label(folder: str) -> int:
    return FAKE if folder.startswith(_SYNTHESIS) else REAL


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
        raise DatasetLayoutError(
            root, f"contains no video of {release.dataset}", f"expected {release.summary}"
        )
    num_expected = dict(release.num_expected)
    if release is _PP:
        later = (root / _SYNTHESIS / "FaceSwap" / "Celeb-DF-v2").is_dir()
        num_expected["Celeb-DF-v2" if later else "Celeb-DF"] = _V2.num_expected[_SYNTHESIS]
    present = {video.video_id for video in videos}
    wanted = [
        _video(release, folder, videos_folder(root / folder) / f"{name}.mp4", "test")
        for folder, name in listed
    ]
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in wanted if video.video_id not in present),
        num_expected=num_expected,
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
                f"contains videos itself; those of {_PP.dataset} are in folders of methods",
                f"pass {_V2.name} or {_V1.name} as `dataset`",
            )
        unknown += check_folder_names(root / _SYNTHESIS, SCENARIOS, dataset=release.dataset)
        for scenario, methods in SCENARIOS.items():
            unknown += check_folder_names(root / _SYNTHESIS / scenario, methods, dataset=release.dataset)
    return unknown


def _folders(release: _Release) -> tuple[str, ...]:
    """Return the folders of videos, relative to the root; their last part is the method."""
    if release is not _PP:
        return *_REALS, _SYNTHESIS
    methods = [(scenario, method) for scenario, some in SCENARIOS.items() for method in some]
    return *_REALS, *(f"{_SYNTHESIS}/{scenario}/{method}" for scenario, method in methods)


def _fake_methods(release: _Release) -> tuple[str, ...]:
    return tuple(PurePosixPath(folder).name for folder in _folders(release) if _label(folder) == FAKE)


def _scan(root: Path, release: _Release, listed: Container[_Item]) -> tuple[list[DatasetVideo], list[Path]]:
    """Return the videos that are present, and video files that are not of the dataset."""
    videos, strays = [], []
    for folder in _folders(release):
        home = videos_folder(root / folder)
        if home != root / folder:
            strays += list_files(root / folder)
        for path in list_files(home):
            if path.suffix.lower() == ".mp4" and _match(folder, path.stem):
                split = "test" if (folder, path.stem) in listed else None
                videos.append(_video(release, folder, path, split))
            else:
                strays.append(path)
    return videos, strays


def _video(release: _Release, folder: str, path: Path, split: str | None) -> DatasetVideo:
    match = _match(folder, path.stem)
    people = match.groupdict() if match else {}
    return new_video(
        release.dataset,
        PurePosixPath(folder).name,
        path.stem,
        path,
        label=_label(folder),
        split=split,
        target_id=people.get("target", f"{folder}/{path.stem}"),
        source_id=people.get("source"),
    )


def _read_list(root: Path, release: _Release) -> tuple[dict[_Item, None], int | None]:
    """Return the listed videos in order, and the number of lines (``None`` without a list)."""
    path = root / LIST_NAME
    if not path.is_file():
        return {}, None
    folders = _folders(release)
    lines = enumerate(read_text(path).splitlines(), start=1)
    items = [_parse_line(path, number, line, folders) for number, line in lines if line.strip()]
    return dict.fromkeys(items), len(items)


def _parse_line(path: Path, number: int, line: str, folders: tuple[str, ...]) -> _Item:
    label, _, file = " ".join(line.split()).partition(" ")
    file_path = PurePosixPath(file.replace("\\", "/"))
    folder = str(file_path.parent)
    if folder not in folders or not _match(folder, file_path.stem):
        raise DatasetLayoutError(
            path,
            f"line {number} does not name a video: {line.strip()!r}",
            'lines are like "1 Celeb-real/id1_0007.mp4"',
        )
    if read_label(label, _LIST_LABELS, source=path, position=f"line {number}") != _label(folder):
        raise DatasetLayoutError(
            path,
            f"line {number} gives the label {label} to a video of {folder}, but 1 means real in the list",
            "download the list again",
        )
    return folder, file_path.stem


def _notes(root: Path, release: _Release, num_lines: int | None, videos: list[DatasetVideo]) -> Iterator[str]:
    if release is _V2 and not (_release_by_content(root) or _release_by_name(root)):
        yield "neither the list nor the folder's name distinguishes v1 from v2: assumed to be v2"
    if num_lines is None:
        yield f"{LIST_NAME} is missing: no video has a split"
    elif num_lines != release.num_listed:
        yield (
            f"{LIST_NAME} has {counted(num_lines, 'video')}; the official list of {release.dataset} has "
            f"{release.num_listed:,}"
        )
    yield from note_absent((*_REALS, *((_SYNTHESIS,) if release is not _PP else ())), videos)
    if release is _PP:
        present = {video.method for video in videos}
        absent = [m for m in _fake_methods(release) if m not in present and not m.startswith("Celeb-DF")]
        if absent:
            yield f"no videos of these methods were found: {', '.join(absent)}"


LAYOUTS: tuple[Layout, ...] = tuple(
    Layout(
        name=release.name,
        dataset=release.dataset,
        summary=release.summary,
        label_source=f"folders; {LIST_NAME} must agree with them (in it 1 means real)",
        split_source=f"{LIST_NAME} is test; there is no train or val",
        published=release.published,
        source="yuezunli/celeb-deepfakeforensics; arXiv:1909.12962; arXiv:2507.18015 (++)",
        recognize=partial(_recognize, release),
        list_videos=partial(_list, release),
        methods=_fake_methods(release),
    )
    for release in _RELEASES
)
