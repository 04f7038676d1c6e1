"""UADFV (Yang, Li and Lyu, ICASSP 2019), as its owners send it.

    real/NNNN.mp4          label 0
    fake/NNNN_fake.mp4     label 1, made from the real of that number

It differs from a plain ``real/ fake/`` folder by these names, which tell the person seen: the
number. A video whose name contradicts its folder is an error. There is no official split.
"""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    VIDEO_SUFFIXES,
    Layout,
    ReadOptions,
    VideoListing,
    check_folder_names,
    filter_listing,
    in_order,
    list_files,
    make_video_id,
    nearly_named,
    subfolders,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "UADFV"
_LABELS = {"real": REAL, "fake": FAKE}
_NUM_EACH = 49
_NAME = re.compile(r"(?P<number>\d{4})(?P<fake>_fake)?")


def _recognize(root: Path) -> str | None:
    near = nearly_named(root, _LABELS)
    files = [path for folder in subfolders(root) for path in list_files(folder, {".mp4"})] if near else []
    named = [path for path in files if _NAME.fullmatch(path.stem)]
    example = next((path.name for path in named if path.stem.endswith("_fake")), None)
    # Half of the names: a few strangers do not hide the dataset, a few numbers do not make it.
    if example is not None and 2 * len(named) >= len(files):
        return ", ".join([*(f"{name}/" for name in near), example])
    if near and DATASET.lower() in root.resolve().name.lower():
        return ", ".join([*(f"{name}/" for name in near), f"in a folder named {root.resolve().name}"])
    return None


def _read(root: Path, options: ReadOptions) -> VideoListing:
    """List the videos of a UADFV tree, complete or partial."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", f"pass the folder of {DATASET}")
    ignored = check_folder_names(root, _LABELS, dataset=DATASET)
    videos: dict[str, DatasetVideo] = {}
    for method in _LABELS:
        for path in list_files(root / method, VIDEO_SUFFIXES):
            number = _number(method, path) if path.suffix.lower() == ".mp4" else None
            if number is None:
                ignored.append(path)
            else:
                video = _video(method, number, path)
                videos[video.video_id] = video
    if not videos:
        raise DatasetLayoutError(
            root, f"holds no video of {DATASET}", "expected real/0000.mp4, fake/0000_fake.mp4"
        )
    numbers = sorted({video.target_id for video in videos.values() if video.target_id})
    partners = [
        _video(method, number, root / method / f"{number}{'_fake' if label else ''}.mp4")
        for method, label in _LABELS.items()
        for number in numbers
    ]
    listing = VideoListing(
        videos=in_order(videos.values()),
        missing=in_order(video for video in partners if video.video_id not in videos),
        num_expected=dict.fromkeys(_LABELS, _NUM_EACH),
        ignored=tuple(ignored),
        notes=tuple(
            f"nothing of {method} is there"
            for method in _LABELS
            if not any(video.method == method for video in videos.values())
        ),
    )
    return filter_listing(listing, options, fake_methods=("fake",))


def _number(method: str, path: Path) -> str | None:
    """Return the number in a video's name, or ``None`` when it is no name of the dataset."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    if bool(match["fake"]) != (method == "fake"):
        raise DatasetLayoutError(
            path, f"has a name that does not fit the folder {method}", "fakes are fake/NNNN_fake.mp4"
        )
    return match["number"]


def _video(method: str, number: str, path: Path) -> DatasetVideo:
    return DatasetVideo(
        dataset=DATASET,
        video_id=make_video_id(DATASET, method, None, path.stem),
        method=method,
        label=_LABELS[method],
        split=None,
        compression=None,
        target_id=number,
        source_id=None,
        path=path,
    )


LAYOUT = Layout(
    kind="uadfv",
    dataset=DATASET,
    summary="real/NNNN.mp4, fake/NNNN_fake.mp4",
    label_source="folders, with which the names must agree",
    split_source="none",
    published="49 real, 49 fake",
    recognize=_recognize,
    read=_read,
)
