"""FFIW-10K, Face Forensics in the Wild (CVPR 2021): scenes of several people, one of them forged.

    source/{train,val,test}/<name>.mp4              label 0
    target/{train,val,test}/<name>.mp4              label 1: the same scene, with faces swapped in
    target_mask/{train,val,test}/<name>_mask.mp4    the forged region

Files may also lie one folder deeper, in ``videos``. The owners ship two archives, which unpack to
``FFIW10K-v1-release`` (train and val) and ``FFIW10K-v1-release-test``; either, or the folder that
holds both, can be read. No identities are published: a real and the fake of the same name show the
same scene, which is their target; who lent the face is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    VIDEO_SUFFIXES,
    Layout,
    ReadOptions,
    VideoListing,
    check_folder_names,
    check_options,
    in_order,
    list_files,
    make_video_id,
    nearly_named,
    subfolders,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "FFIW-10K"
_LABELS = {"source": REAL, "target": FAKE}
_MASKS = "target_mask"
_SPLITS = ("train", "val", "test")
_ARCHIVES = ("FFIW10K-v1-release", "FFIW10K-v1-release-test")
_NUM_EACH = 8000 + 250 + 1738


def read(root: Path, options: ReadOptions) -> VideoListing:
    """List the videos of FFIW-10K, complete or partial.

    Args:
        root: Folder with ``source`` and ``target``, or with the two unpacked archives.
        options: The only method is ``target``.

    Returns:
        Videos found, with labels (fake = 1), split and masks. Of videos that are not there those
        are known by name whose partner, the fake or the real, is there.

    Raises:
        DatasetLayoutError: The tree is of another kind, a folder is misspelled, or it holds no video.
        OptionError: An option that does not fit.
    """
    check_options(options, dataset=DATASET, methods=("target",))
    releases = _releases(root)
    ignored = [path for release in releases for path in _check_tree(release)]
    pairs = [pair for release in releases for split in _SPLITS for pair in _pairs(release, split)]
    if not pairs:
        place = releases[0] / "source" / "train"
        raise DatasetLayoutError(root, "holds no video of it", f"put videos into {place} and its like")
    return VideoListing(
        videos=in_order(video for video, is_there in pairs if is_there),
        missing=in_order(video for video, is_there in pairs if not is_there),
        num_expected=dict.fromkeys(_LABELS, _NUM_EACH),
        ignored=tuple(ignored),
    )


def _releases(root: Path) -> list[Path]:
    """Return the folders that hold ``source`` and ``target``: the root, or archives unpacked in it."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", f"pass the root of the {DATASET} download")
    if nearly_named(root, _LABELS):
        return [root]
    check_folder_names(root, _ARCHIVES, dataset=DATASET)
    releases = [root / name for name in _ARCHIVES if (root / name).is_dir()]
    if not releases:
        cause = "holds neither source and target nor an unpacked archive"
        raise DatasetLayoutError(root, cause, f"pass the folder that {DATASET} was unpacked in")
    return releases


def _check_tree(release: Path) -> list[Path]:
    ignored = check_folder_names(release, (*_LABELS, _MASKS), dataset=DATASET)
    for method in (*_LABELS, _MASKS):
        ignored += check_folder_names(release / method, _SPLITS, dataset=DATASET)
        for split in _SPLITS:
            ignored += check_folder_names(release / method / split, ["videos"], dataset=DATASET)
            ignored += _strays(release / method / split)
    return ignored


def _strays(split: Path) -> list[Path]:
    """Return the videos of a split that are not read: of another format, or beside ``videos``."""
    home = _folder_of(split)
    beside = list_files(split, VIDEO_SUFFIXES) if home != split else []
    return beside + [path for path in list_files(home, VIDEO_SUFFIXES) if path.suffix.lower() != ".mp4"]


def _pairs(release: Path, split: str) -> Iterator[tuple[DatasetVideo, bool]]:
    """Yield a real and a fake for each name of a split, and whether each is there: one of them is."""
    folders = {method: _folder_of(release / method / split) for method in (*_LABELS, _MASKS)}
    files = {
        method: {path.stem: path for path in list_files(folders[method], {".mp4"})} for method in folders
    }
    for name in sorted(files["source"].keys() | files["target"].keys()):
        for method, label in _LABELS.items():
            video = DatasetVideo(
                dataset=DATASET,
                video_id=make_video_id(DATASET, method, None, f"{split}/{name}"),
                method=method,
                label=label,
                split=split,
                compression=None,
                target_id=f"{split}/{name}",
                source_id=None,
                path=files[method].get(name, folders[method] / f"{name}.mp4"),
                mask_path=files[_MASKS].get(f"{name}_mask") if label == FAKE else None,
            )
            yield video, name in files[method]


def _folder_of(split: Path) -> Path:
    return split / "videos" if (split / "videos").is_dir() else split


def _recognize(root: Path) -> str | None:
    archives = nearly_named(root, _ARCHIVES)
    if archives:
        return f"unpacked archives {', '.join(archives)}"
    found = [name for name in nearly_named(root, _LABELS) if nearly_named(root / name, _SPLITS)]
    # A misspelled folder is known by its splits.
    split = [path.name for path in subfolders(root) if nearly_named(path, _SPLITS)]
    return f"folders {', '.join(split)} with {'/'.join(_SPLITS)}" if found else None


LAYOUT = Layout(
    kind="ffiw",
    dataset=DATASET,
    summary="{source,target,target_mask}/{train,val,test}/*.mp4, or the same one folder deeper in videos/",
    label_source="folders: source is 0, target 1",
    split_source="folders train, val and test",
    published="8,000/250/1,738 reals and as many fakes",
    recognize=_recognize,
    read=read,
)
