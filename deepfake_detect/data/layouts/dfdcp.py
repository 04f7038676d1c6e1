"""The preview of the Deepfake Detection Challenge dataset (arXiv:1910.08854).

    original_videos/<target>/<target>_<take>_<clip>.mp4                                  label 0
    method_A/<target>/<target>_<take>/<source>_<target>_<take>_<clip>.mp4                label 1
    method_B/...                                                                         label 1
    dataset.json   {"method_A/.../x.mp4": {"label": "fake", "set": "train", "target_id": "643049",
                    "swapped_id": "1030166", "augmentations": []}}

Videos, labels (real or fake) and sets (train or test; there is no val) are those of the list. For a
fake, ``target_id`` is whose video it is and ``swapped_id`` whose face was put in. A label that
contradicts the folder is an error.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    folder_marks,
    in_order,
    new_video,
    note_absent,
    walk,
)
from deepfake_detect.data.layouts.lists import LABEL_WORDS, read_label, read_video_table
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import VIDEO_SUFFIXES

DATASET = "DFDCP"
LIST_NAME = "dataset.json"
_LABELS = {"original_videos": REAL, "method_A": FAKE, "method_B": FAKE}
_NUM_PUBLISHED = {REAL: 1131, FAKE: 4119}


def _recognize(root: Path) -> str | None:
    marks = folder_marks(root, _LABELS)
    if (root / LIST_NAME).is_file():
        marks.append(LIST_NAME)
    # Many other datasets have a dataset.json: it alone is not enough.
    return ", ".join(marks) if len(marks) > 1 else None


def _list(root: Path, _: Selection) -> VideoListing:
    unknown = check_folder_names(root, _LABELS, dataset="the DFDC preview")
    listed = [_video(root, name, fields) for name, fields in read_video_table(root / LIST_NAME).items()]
    files = (folder / name for top in _LABELS for folder, names, _ in walk(root / top) for name in names)
    present = {path for path in files if path.suffix.lower() in VIDEO_SUFFIXES}
    videos = [video for video in listed if video.path in present]
    if not videos:
        cause = f"contains none of the {len(listed):,} videos of {LIST_NAME}"
        raise DatasetLayoutError(root, cause, f"put it next to {', '.join(_LABELS)}")
    counts, notes = Counter(video.label for video in listed), note_absent(_LABELS, videos)
    if counts != _NUM_PUBLISHED:
        note = (
            f"{LIST_NAME} lists {counts[REAL]:,} reals and {counts[FAKE]:,} fakes; "
            f"published are {_NUM_PUBLISHED[REAL]:,} and {_NUM_PUBLISHED[FAKE]:,}"
        )
        notes.insert(0, note)
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in listed if video.path not in present),
        num_expected={**dict.fromkeys(_LABELS, 0), **Counter(video.method for video in listed)},
        ignored=(*unknown, *sorted(present - {video.path for video in listed})),
        notes=tuple(notes),
    )


def _video(root: Path, name: str, fields: dict[str, Any]) -> DatasetVideo:
    source, path = root / LIST_NAME, PurePosixPath(name)
    method = path.parts[0] if path.parts else name
    inner = PurePosixPath(*path.parts[1:])
    label = read_label(fields.get("label"), LABEL_WORDS, source=source, position=name)
    if _LABELS.get(method) != label:
        raise DatasetLayoutError(
            source,
            f"{name} has the label {fields['label']!r}, which does not fit its folder",
            "original_videos contains the reals, method_A and method_B the fakes",
        )
    if (split := fields.get("set")) not in ("train", "test"):
        raise DatasetLayoutError(source, f"{name} is in the set {split!r}", "sets are train and test")
    people = {key: str(fields[key]) for key in ("target_id", "swapped_id") if fields.get(key) is not None}
    return new_video(
        DATASET,
        method,
        str(inner.parent / inner.stem),
        root / path,
        label=label,
        split=split,
        target_id=people.get("target_id"),
        source_id=people.get("swapped_id") if label == FAKE else None,
    )


LAYOUT = Layout(
    name="dfdcp",
    dataset=DATASET,
    summary="original_videos/, method_A/, method_B/, dataset.json",
    label_source="dataset.json: real/fake, which must agree with the folders",
    split_source="dataset.json: train and test, no val",
    published="1,131 real (276 test), 4,119 fake (501 test)",
    source="arXiv:1910.08854",
    recognize=_recognize,
    list_videos=_list,
)
