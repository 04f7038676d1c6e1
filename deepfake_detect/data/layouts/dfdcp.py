"""The preview of the Deepfake Detection Challenge dataset (arXiv:1910.08854), as its owners ship it.

    original_videos/<target>/<target>_<take>_<clip>.mp4                                  label 0
    method_A/<target>/<target>_<take>/<source>_<target>_<take>_<clip>.mp4                label 1
    method_B/...                                                                         label 1
    dataset.json   {"method_A/.../x.mp4": {"label": "fake", "set": "train", "target_id": "643049",
                    "swapped_id": "1030166", "augmentations": []}}

The list is what is read: label words real and fake, set train or test (there is no val). In a fake
``target_id`` is whose video it is and ``swapped_id`` whose face was put in. A label that
contradicts the folder is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detect.data.layouts.base import (
    VIDEO_SUFFIXES,
    Layout,
    ReadOptions,
    VideoListing,
    check_folder_names,
    filter_listing,
    in_order,
    make_video_id,
    nearly_named,
    walk,
)
from deepfake_detect.data.layouts.lists import LABEL_WORDS, read_label, read_video_table
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "DFDCP"
LIST_NAME = "dataset.json"
_LABELS = {"original_videos": REAL, "method_A": FAKE, "method_B": FAKE}
_NUM_PUBLISHED = {REAL: 1131, FAKE: 4119}
_SETS = ("train", "test")


def _recognize(root: Path) -> str | None:
    marks = [f"{name}/" for name in nearly_named(root, _LABELS)]
    if (root / LIST_NAME).is_file():
        marks.append(LIST_NAME)
    # dataset.json alone is a name that many others use.
    return ", ".join(marks) if len(marks) > 1 else None


def _read(root: Path, options: ReadOptions) -> VideoListing:
    """List the videos of a DFDC preview tree, complete or partial."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", "pass the folder of the DFDC preview")
    unknown = check_folder_names(root, _LABELS, dataset="the DFDC preview")
    listed = [_video(root, name, fields) for name, fields in read_video_table(root / LIST_NAME).items()]
    present = _files(root)
    videos = [video for video in listed if video.path in present]
    if not videos:
        raise DatasetLayoutError(
            root,
            f"holds none of the {len(listed):,} videos of {LIST_NAME}",
            f"it must lie beside {', '.join(_LABELS)}",
        )
    listing = VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in listed if video.path not in present),
        num_expected={**dict.fromkeys(_LABELS, 0), **Counter(video.method for video in listed)},
        ignored=(*unknown, *sorted(present - {video.path for video in listed})),
        notes=tuple(_notes(listed, {video.method for video in videos})),
    )
    return filter_listing(listing, options)


def _files(root: Path) -> set[Path]:
    return {
        place / name
        for folder in _LABELS
        for place, names, _ in walk(root / folder)
        for name in names
        if Path(name).suffix.lower() in VIDEO_SUFFIXES
    }


def _video(root: Path, name: str, fields: dict[str, Any]) -> DatasetVideo:
    source = root / LIST_NAME
    path = PurePosixPath(name)
    method = path.parts[0] if path.parts else name
    inner = PurePosixPath(*path.parts[1:])
    label = read_label(fields.get("label"), LABEL_WORDS, source=source, place=name)
    if _LABELS.get(method) != label:
        raise DatasetLayoutError(
            source,
            f"{name} has the label {fields['label']!r}, which does not fit its folder",
            "original_videos holds the reals, method_A and method_B the fakes",
        )
    if fields.get("set") not in _SETS:
        raise DatasetLayoutError(
            source, f"{name} is in the set {fields.get('set')!r}", "sets are train and test"
        )
    return DatasetVideo(
        dataset=DATASET,
        video_id=make_video_id(DATASET, method, None, str(inner.parent / inner.stem)),
        method=method,
        label=label,
        split=fields["set"],
        compression=None,
        target_id=_identity(fields, "target_id"),
        source_id=_identity(fields, "swapped_id") if label == FAKE else None,
        path=root / path,
    )


def _identity(fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return None if value is None else str(value)


def _notes(listed: Sequence[DatasetVideo], methods: set[str]) -> Iterator[str]:
    counts = Counter(video.label for video in listed)
    if counts != _NUM_PUBLISHED:
        yield (
            f"{LIST_NAME} lists {counts[REAL]:,} reals and {counts[FAKE]:,} fakes; "
            f"published are {_NUM_PUBLISHED[REAL]:,} and {_NUM_PUBLISHED[FAKE]:,}"
        )
    for name in _LABELS:
        if name not in methods:
            yield f"nothing of {name} is there"


LAYOUT = Layout(
    kind="dfdcp",
    dataset=DATASET,
    summary="original_videos/, method_A/, method_B/, dataset.json",
    label_source="dataset.json: real/fake, which must agree with the folders",
    split_source="dataset.json: train and test, no val",
    published="1,131 real (276 test), 4,119 fake (501 test)",
    recognize=_recognize,
    read=_read,
)
