"""Datasets of two folders, one of reals and one of fakes, whose videos belong together by name.

UADFV (Yang, Li and Lyu, ICASSP 2019)::

    real/NNNN.mp4          label 0
    fake/NNNN_fake.mp4     label 1, made from the real of that number

Its file names distinguish it from a plain ``real/ fake/`` folder. A video whose name contradicts its
folder is an error. There is no official split.

FFIW-10K, Face Forensics in the Wild (CVPR 2021): scenes of several people, one of them forged::

    source/{train,val,test}/<name>.mp4              label 0
    target/{train,val,test}/<name>.mp4              label 1: the same scene, with faces swapped in
    target_mask/{train,val,test}/<name>_mask.mp4    the forged region

The owners ship two archives, which unpack to ``FFIW10K-v1-release`` (train and val) and
``FFIW10K-v1-release-test``; either, or the folder that holds both, can be read.

In both, videos may also be in a folder ``videos`` one level below. The identity of a video is what its
name shares with its partner's; whose face was put in is not published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
    subfolders,
    videos_folder,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo


@dataclass(frozen=True)
class FolderPair:
    """A dataset of two folders with videos that belong together by name."""

    dataset: str
    labels: Mapping[str, int]  # by folder; the folders are also the methods
    # Pattern of a file name without suffix; its group is the key that a real, its fake and its mask share.
    names: Mapping[str, re.Pattern[str]]
    file_names: Mapping[str, str]  # folder -> file name of a key, without suffix
    num_each: int  # published number of videos in each folder
    splits: tuple[str, ...] = ()  # folders of the official splits, in each folder
    masks: str = ""  # folder of masks, if there are any
    archives: tuple[str, ...] = ()  # folders that archives unpack to, each with the whole tree
    example: str = ""  # paths of a pair, for messages

    def key_of(self, folder: str, path: Path) -> str | None:
        """Return the key in a file's name, or ``None``; raise if it is a name of the other folder."""
        match = self.names[folder].fullmatch(path.stem)
        if match is not None:
            return match[1]
        if folder in self.labels and any(self.names[other].fullmatch(path.stem) for other in self.labels):
            raise DatasetLayoutError(
                path, f"has a name that does not fit the folder {folder}", f"names are: {self.example}"
            )
        return None


_UADFV = FolderPair(
    dataset="UADFV",
    labels={"real": REAL, "fake": FAKE},
    names={"real": re.compile(r"(\d{4})"), "fake": re.compile(r"(\d{4})_fake")},
    file_names={"real": "{}", "fake": "{}_fake"},
    num_each=49,
    example="real/0000.mp4, fake/0000_fake.mp4",
)
_FFIW = FolderPair(
    dataset="FFIW-10K",
    labels={"source": REAL, "target": FAKE},
    names={
        "source": re.compile("(.+)"),
        "target": re.compile("(.+)"),
        "target_mask": re.compile("(.+)_mask"),
    },
    file_names={"source": "{}", "target": "{}"},
    num_each=8000 + 250 + 1738,
    splits=("train", "val", "test"),
    masks="target_mask",
    archives=("FFIW10K-v1-release", "FFIW10K-v1-release-test"),
    example="source/train/NAME.mp4, target/train/NAME.mp4",
)


def _list(pair: FolderPair, root: Path, _: Selection) -> VideoListing:
    """List the videos of a dataset of two folders; the partner of each is known to belong to it."""
    trees = _trees(pair, root)
    ignored = [path for tree in trees for path in _check_tree(pair, tree)]
    videos: list[DatasetVideo] = []
    missing: list[DatasetVideo] = []
    for tree in trees:
        for split in pair.splits or (None,):
            files = {}
            for folder in pair.names:
                files[folder], strays = _files(pair, tree, folder, split)
                ignored += strays
            for video, is_present in _pairs(pair, tree, split, files):
                (videos if is_present else missing).append(video)
    if not videos:
        raise DatasetLayoutError(root, f"contains no video of {pair.dataset}", f"expected {pair.example}")
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(missing),
        num_expected=dict.fromkeys(pair.labels, pair.num_each),
        ignored=tuple(ignored),
        notes=tuple(note_absent(pair.labels, videos)),
    )


def _trees(pair: FolderPair, root: Path) -> list[Path]:
    """Return the folders that hold the two folders: the root, or archives unpacked in it."""
    if not pair.archives or nearly_named(root, pair.labels):
        return [root]
    check_folder_names(root, pair.archives, dataset=pair.dataset)
    trees = [root / name for name in pair.archives if (root / name).is_dir()]
    if not trees:
        cause = f"contains neither {' and '.join(pair.labels)} nor an unpacked archive"
        raise DatasetLayoutError(root, cause, f"pass the folder that {pair.dataset} was unpacked in")
    return trees


def _check_tree(pair: FolderPair, tree: Path) -> list[Path]:
    ignored = check_folder_names(tree, pair.names, dataset=pair.dataset)
    for folder in pair.names if pair.splits else ():
        ignored += check_folder_names(tree / folder, pair.splits, dataset=pair.dataset)
        for split in pair.splits:
            ignored += check_folder_names(tree / folder / split, ["videos"], dataset=pair.dataset)
    return ignored


def _files(
    pair: FolderPair, tree: Path, folder: str, split: str | None
) -> tuple[dict[str, Path], list[Path]]:
    """Return the videos of a folder by key, and video files that are not of the dataset."""
    outer = tree / folder / (split or "")
    home = videos_folder(outer)
    strays = list_files(outer) if home != outer else []
    files = {}
    for path in list_files(home):
        key = pair.key_of(folder, path) if path.suffix.lower() == ".mp4" else None
        if key is None:
            strays.append(path)
        else:
            files[key] = path
    return files, strays


def _pairs(
    pair: FolderPair, tree: Path, split: str | None, files: Mapping[str, Mapping[str, Path]]
) -> Iterator[tuple[DatasetVideo, bool]]:
    """Yield a real and a fake for each key, and whether each is present: at least one of them is."""
    prefix = f"{split}/" if split else ""
    for key in sorted({key for folder in pair.labels for key in files[folder]}):
        for folder, label in pair.labels.items():
            home = videos_folder(tree / folder / (split or ""))
            path = files[folder].get(key, home / f"{pair.file_names[folder].format(key)}.mp4")
            mask = files[pair.masks].get(key) if pair.masks and label == FAKE else None
            video = new_video(
                pair.dataset,
                folder,
                f"{prefix}{path.stem}",
                path,
                label=label,
                split=split,
                target_id=f"{prefix}{key}",
                mask_path=mask,
            )
            yield video, key in files[folder]


def _recognize_uadfv(root: Path) -> str | None:
    marks = folder_marks(root, _UADFV.labels)
    files = [path for folder in subfolders(root) for path in list_files(folder, {".mp4"})] if marks else []
    names = _UADFV.names.values()
    named = [path for path in files if any(name.fullmatch(path.stem) for name in names)]
    example = next((path.name for path in named if path.stem.endswith("_fake")), None)
    # Half of the names: a few foreign files do not hide the dataset, a few numbers do not make it.
    if example is not None and 2 * len(named) >= len(files):
        return ", ".join([*marks, example])
    folder = root.resolve().name
    if marks and _UADFV.dataset.lower() in folder.lower():
        return ", ".join([*marks, f"in a folder named {folder}"])
    return None


def _recognize_ffiw(root: Path) -> str | None:
    archives = nearly_named(root, _FFIW.archives)
    if archives:
        return f"unpacked archives {', '.join(archives)}"
    found = [name for name in nearly_named(root, _FFIW.labels) if nearly_named(root / name, _FFIW.splits)]
    # A misspelled folder is recognized by its splits.
    split = [path.name for path in subfolders(root) if nearly_named(path, _FFIW.splits)]
    return f"folders {', '.join(split)} with {'/'.join(_FFIW.splits)}" if found else None


UADFV = Layout(
    name="uadfv",
    dataset=_UADFV.dataset,
    summary="real/NNNN.mp4, fake/NNNN_fake.mp4",
    label_source="folders, with which the names must agree",
    split_source="none",
    published="49 real, 49 fake",
    source="ICASSP 2019, Yang, Li and Lyu",
    recognize=_recognize_uadfv,
    list_videos=partial(_list, _UADFV),
    methods=("fake",),
    is_selecting=True,
)
FFIW = Layout(
    name="ffiw",
    dataset=_FFIW.dataset,
    summary="{source,target,target_mask}/{train,val,test}/*.mp4, or the same in videos/ one level below",
    label_source="folders: source is 0, target 1",
    split_source="folders train, val and test",
    published="8,000/250/1,738 reals and as many fakes",
    source="tfzhou/FFIW; CVPR 2021",
    recognize=_recognize_ffiw,
    list_videos=partial(_list, _FFIW),
    methods=("target",),
    is_selecting=True,
)
