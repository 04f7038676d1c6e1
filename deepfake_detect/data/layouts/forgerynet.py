"""ForgeryNet (yinanhe/ForgeryNet, arXiv:2103.05630): images and videos by fifteen methods, with lists.

    {Training,Validation,Test}/{image,video}/…
    {Training,Validation,Test}/image_list.txt    <name> <binary> <three-way> <sixteen-way label>
    {Training,Validation,Test}/video_list.txt    <n> <name> n x (<first frame> <frames> <1 = forged>)
                                                 <binary> <three-way> <sixteen-way label>

The sixteen-way label is 0 for real and names the method otherwise; the binary one, 1 for fake, must
agree with it. Of a video that is forged in part, the stretches become seconds by the frame rate of its
file, so those files are opened while the list is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    in_order,
    is_plain_path,
    list_files,
    new_video,
)
from deepfake_detect.data.layouts.lists import read_text
from deepfake_detect.errors import DatasetLayoutError, VideoError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "ForgeryNet"
# By the sixteen-way label.
METHODS = (
    *("real", "FaceShifter", "FSGAN", "DeepFakes", "BlendFace", "MMReplacement", "DeepFakes-StarGAN-Stack"),
    *("Talking-Head-Video", "ATVG-Net", "StarGAN-BlendFace-Stack", "First-Order-Motion", "StyleGAN2"),
    *("MaskGAN", "StarGAN2", "SC-FEGAN", "DiscoFaceGAN"),
)
_SPLITS = {"Training": "train", "Validation": "val", "Test": "test"}
_KINDS = ("image", "video")
_NUM_LABELS = 3
_DOWNLOAD = "download the lists again"


def _lists(root: Path) -> list[tuple[str, str, Path]]:
    """Return (part, kind, list) of the lists that are present."""
    return [
        (part, kind, path)
        for part in _SPLITS
        for path in list_files(root / part, {".txt"})
        for kind in _KINDS
        if kind in path.stem and "list" in path.stem
    ]


def _list(root: Path, _: Selection) -> VideoListing:
    rows: dict[str, DatasetVideo] = {}
    missing: dict[str, DatasetVideo] = {}
    unreadable: list[Path] = []
    for part, kind, path in _lists(root):
        for number, cells in _lines(path):
            video = _video(root / part, part, kind, path, number, cells)
            if not video.path.exists():
                missing.setdefault(video.video_id, video)
            elif video.fake_segments != ():
                rows.setdefault(video.video_id, video)
            else:
                unreadable.append(video.path)
    if not rows:
        cause = f"contains none of the {len(missing):,} files listed for {DATASET}"
        raise DatasetLayoutError(root, cause, "pass the folder of Training and Validation, with their lists")
    return VideoListing(
        videos=in_order(rows.values()),
        missing=in_order(missing.values()),
        num_expected=Counter(video.method for video in (*rows.values(), *missing.values())),
        ignored=tuple(unreadable),
        notes=(f"forged in part and not readable: {len(unreadable):,}",) if unreadable else (),
    )


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            yield number, line.split()


def _video(home: Path, part: str, kind: str, source: Path, number: int, cells: Sequence[str]) -> DatasetVideo:
    """Return the row of a line; ``fake_segments`` is empty if they are needed and the file is unreadable."""
    position = f"line {number}"
    try:
        stretches = int(cells[0]) if kind == "video" else 0
        first = 1 if kind == "video" else 0
        name, *frames = cells[first : first + 1 + 3 * stretches]
        binary, _, method = (int(cell) for cell in cells[first + 1 + 3 * stretches :])
        parts = [tuple(int(cell) for cell in frames[n : n + 3]) for n in range(0, len(frames), 3)]
    except (IndexError, ValueError) as error:
        cause = f"{position} is not a name with {_NUM_LABELS} labels ({error})"
        raise DatasetLayoutError(source, cause, _DOWNLOAD) from error
    if not is_plain_path(name) or not 0 <= method < len(METHODS) or len(parts) != stretches:
        raise DatasetLayoutError(source, f"{position} has {name!r} and the label {method}", _DOWNLOAD)
    label = FAKE if method else REAL
    if binary != label:
        cause = (
            f"{position} has the binary label {binary}, but the sixteen-way label {method}, {METHODS[method]}"
        )
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    if parts and any(is_forged for *_, is_forged in parts) != bool(label):
        cause = f"{position} has the label {method}, {METHODS[method]}, but the stretches {' '.join(frames)}"
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    paths = (home / kind / name, home / f"{kind}s" / name, home / name)
    path = next((one for one in paths if one.exists()), paths[0])
    inner = str(PurePosixPath(name).with_suffix(""))
    segments = _seconds(path, parts) if label == FAKE else None
    return new_video(
        DATASET,
        METHODS[method],
        f"{part}/{kind}/{inner}",
        path,
        label=label,
        split=_SPLITS[part],
        fake_segments=segments,
    )


def _seconds(path: Path, parts: Sequence[tuple[int, ...]]) -> tuple[tuple[float, float], ...] | None:
    """Return the forged stretches; ``None`` if all is forged, empty if the file cannot be opened."""
    if all(is_forged for *_, is_forged in parts) or not path.exists():
        return None
    from deepfake_detect.video.metadata import read_metadata  # here: the other readers open no video

    try:
        rate = read_metadata(path).frames_per_second
    except VideoError:
        return ()
    if rate <= 0:
        return ()
    # Half a frame more on both sides, since times of frames are rounded.
    return tuple(
        (max(0.0, (first - 0.5) / rate), (first + count - 0.5) / rate)
        for first, count, is_forged in parts
        if is_forged
    )


def _recognize(root: Path) -> str | None:
    found = [f"{part}/{path.name}" for part, _, path in _lists(root)]
    return ", ".join(found) or None


LAYOUT = Layout(
    name="forgerynet",
    dataset=DATASET,
    summary="{Training,Validation}/{image,video}/…, {Training,Validation}/{image,video}_list.txt",
    label_source="lists: sixteen-way label, 0 is real; the binary one must agree; stretches of videos",
    split_source="folders Training, Validation and Test",
    published="1,438,201 real and 1,457,861 fake images, 99,630 real and 121,617 fake videos",
    source="yinanhe/ForgeryNet, Readme.txt; arXiv:2103.05630",
    recognize=_recognize,
    list_videos=_list,
)
