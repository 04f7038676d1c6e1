"""Deepfake-Eval-2024 (nuriachandra/Deepfake-Eval-2024, arXiv:2503.02857): what circulated in 2024.

    video-data/*    image-data/*    audio-data/*
    video-metadata-publish.csv      Filename, Video Ground Truth, Audio Ground Truth, Finetuning Set, ...
    image-metadata-publish.csv      Filename, Ground Truth, Finetuning Set, ...

A CSV may also end in ``-with-links``. Ground truths are Real, Fake and Unknown, and unknown ones are left
out. Of a video it is that of the picture; sound alone is not read. The finetuning set is Train or Test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    SPLIT_NAMES,
    Layout,
    Selection,
    VideoListing,
    in_order,
    is_plain_path,
    list_files,
    new_video,
)
from deepfake_detect.data.layouts.lists import LABEL_WORDS, read_label, read_rows
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, DatasetVideo

DATASET = "Deepfake-Eval-2024"
# Kind -> column of the label of its images.
_LABELS = {"video": "Video Ground Truth", "image": "Ground Truth"}
_UNKNOWN = "unknown"


def _lists(root: Path) -> dict[str, Path]:
    """Return the CSV of each kind that is present."""
    found = {}
    for kind in _LABELS:
        paths = [path for path in list_files(root, {".csv"}) if path.name.startswith(f"{kind}-metadata")]
        if paths:
            found[kind] = paths[0]
    return found


def _list(root: Path, _: Selection) -> VideoListing:
    unknown: list[str] = []
    rows = [video for kind, path in _lists(root).items() for video in _read(root, kind, path, unknown)]
    videos = [video for video in rows if video.path.exists()]
    if not videos:
        cause = f"contains none of the {len(rows):,} listed videos and images of {DATASET}"
        raise DatasetLayoutError(root, cause, "pass the folder of video-data, image-data and their CSVs")
    present = {video.path for video in videos}
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in rows if video.path not in present),
        num_expected={kind: sum(video.method == kind for video in rows) for kind in _methods(rows)},
        notes=(f"left out because their label is unknown: {len(unknown):,}",) if unknown else (),
    )


def _methods(rows: list[DatasetVideo]) -> list[str]:
    return sorted({video.method for video in rows})


def _read(root: Path, kind: str, path: Path, unknown: list[str]) -> Iterator[DatasetVideo]:
    """Yield the rows of a CSV; append the names of those without a known label to ``unknown``."""
    column = _LABELS[kind]
    for number, cells in read_rows(path, ("Filename", column, "Finetuning Set")):
        name, split = cells["Filename"], SPLIT_NAMES.get(cells["Finetuning Set"].lower())
        if not is_plain_path(name):
            raise DatasetLayoutError(path, f"line {number} has the Filename {name!r}", "download it again")
        if cells[column].lower() == _UNKNOWN:
            unknown.append(name)
            continue
        label = read_label(cells[column], LABEL_WORDS, source=path, position=f"line {number}")
        word = "fake" if label == FAKE else "real"
        yield new_video(
            DATASET, f"{word} {kind}", name, root / f"{kind}-data" / name, label=label, split=split
        )


def _recognize(root: Path) -> str | None:
    found = [path.name for kind, path in _lists(root).items() if (root / f"{kind}-data").is_dir()]
    return ", ".join(found) or None


LAYOUT = Layout(
    name="deepfakeeval2024",
    dataset=DATASET,
    summary="{video,image}-data/*, {video,image}-metadata-publish[-with-links].csv",
    label_source="CSV: Video Ground Truth, or Ground Truth of images; unknown ones are left out",
    split_source="CSV: Finetuning Set, Train or Test",
    published="44 hours of video, 1,975 images (and 56.5 hours of audio only, which is not read)",
    source="nuriachandra/Deepfake-Eval-2024; arXiv:2503.02857",
    recognize=_recognize,
    list_videos=_list,
)
