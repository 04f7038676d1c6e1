"""OpenForensics (ltnghia/openforensics, Zenodo 5528418, ICCV 2021): photos of several faces, some forged.

    Images/{Train,Val,Test-Dev,Test-Challenge}/*.jpg
    {Train,Val,Test-Dev,Test-Challenge}_poly.json     in MS-COCO's form, also in a folder annotations

Each annotation is a face whose category is Real or Fake; which number means which is read from the
file's categories. A photo is real or fake if all of its faces are; one with both has no single label and
is left out, since a label here is about one person.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    in_order,
    is_plain_path,
    new_video,
)
from deepfake_detect.data.layouts.lists import LABEL_WORDS, read_json_list, read_label
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, DatasetVideo

DATASET = "OpenForensics"
_SPLITS = {"Train": "train", "Val": "val", "Test-Dev": "test", "Test-Challenge": "test"}
_HOMES = ("", "annotations", "Images/annotations", "Images")
_DOWNLOAD = "download it again"


def _lists(root: Path) -> dict[str, Path]:
    """Return the JSON of each part that is present."""
    found = {}
    for part in _SPLITS:
        homes = (*_HOMES, part, f"Images/{part}")
        paths = [path for home in homes if (path := root / home / f"{part}_poly.json").is_file()]
        if paths:
            found[part] = paths[0]
    return found


def _list(root: Path, _: Selection) -> VideoListing:
    mixed: list[str] = []
    rows = [video for part, path in _lists(root).items() for video in _read(root, part, path, mixed)]
    videos = [video for video in rows if video.path.exists()]
    if not videos:
        cause = f"contains none of the {len(rows):,} listed images of {DATASET}"
        raise DatasetLayoutError(root, cause, "pass the folder of Images and the …_poly.json files")
    present = {video.path for video in videos}
    note = f"left out because they show both real and forged faces: {len(mixed):,}"
    return VideoListing(
        videos=in_order(videos),
        missing=in_order(video for video in rows if video.path not in present),
        num_expected={name: sum(video.method == name for video in rows) for name in ("real", "fake")},
        notes=(note,) if mixed else (),
    )


def _read(root: Path, part: str, path: Path, mixed: list[str]) -> Iterator[DatasetVideo]:
    """Yield the images of a part; append the names of those with faces of both kinds to ``mixed``."""
    content = read_json_list(path)
    try:
        words = {one["id"]: one["name"] for one in content["categories"]}
        labels: dict[Any, set[int]] = {}
        for face in content["annotations"]:
            label = read_label(
                words.get(face["category_id"]), LABEL_WORDS, source=path, position=f"image {face['image_id']}"
            )
            labels.setdefault(face["image_id"], set()).add(label)
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    except (KeyError, TypeError) as error:
        cause = f"is not in MS-COCO's form ({type(error).__name__}: {error})"
        raise DatasetLayoutError(path, cause, _DOWNLOAD) from error
    for number, name in names.items():
        if len(labels.get(number, ())) > 1:
            mixed.append(name)
        elif number in labels:
            yield _image(root, part, path, name, labels[number])


def _image(root: Path, part: str, source: Path, name: str, labels: set[int]) -> DatasetVideo:
    if not is_plain_path(name):
        raise DatasetLayoutError(source, f"has the file_name {name!r}", _DOWNLOAD)
    (label,) = labels
    file = PurePosixPath(name)
    paths = (root / name, root / "Images" / part / file.name, root / part / file.name)
    path = next((one for one in paths if one.exists()), paths[0])
    word = "fake" if label == FAKE else "real"
    return new_video(DATASET, word, f"{part}/{file.stem}", path, label=label, split=_SPLITS[part])


def _recognize(root: Path) -> str | None:
    return ", ".join(path.name for path in _lists(root).values()) or None


LAYOUT = Layout(
    name="openforensics",
    dataset=DATASET,
    summary="Images/{Train,Val,Test-Dev,Test-Challenge}/*.jpg, …_poly.json",
    label_source="…_poly.json: the category of each face by its name; images with both are left out",
    split_source="Train, Val, and Test-Dev and Test-Challenge as test",
    published="115,325 images (44,122/7,308/18,895/45,000) with 160,670 real and 173,660 forged faces",
    source="ltnghia/openforensics; Zenodo 5528418; ICCV 2021",
    recognize=_recognize,
    list_videos=_list,
)
