"""FakeAVCeleb, LAV-DF and AV-Deepfake1M: clips in which the video, the audio or both were forged.

The rule for sound: a label is about the picture. A clip of which only the sound was forged shows a real
face, so it is real, and its method says that the sound is not.

FakeAVCeleb v1.2 (DASH-Lab/FakeAVCeleb, arXiv:2108.05080)::

    {RealVideo,FakeVideo}-{RealAudio,FakeAudio}/<race>/<gender>/<person>/*.mp4
    meta_data.csv    source,target1,target2,method,category,type,race,gender,path,<folder>

LAV-DF (ControlNet/LAV-DF, arXiv:2204.06228)::

    {train,dev,test}/*.mp4
    metadata.json or metadata.min.json    [{"file", "split", "original", "modify_video", "modify_audio",
                                            "n_fakes", "fake_periods": [[start, end], ...]}, ...]

AV-Deepfake1M and AV-Deepfake1M++ (ControlNet/AV-Deepfake1M, arXiv:2311.15308, arXiv:2507.20579)::

    {train,val}/<person>/.../*.mp4, test/*.mp4
    {train,val}_metadata.json    [{"file", "original", "modify_type": "real" | "visual_modified" | ...,
                                   "fake_segments", "visual_fake_segments", ...}, ...]

In the last two, ``fake_segments`` of a fake are the seconds in which its picture is forged, and a clip
shares its identity with the original that it was made from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    folder_marks,
    in_order,
    is_plain_path,
    nearly_named,
    new_video,
    walk,
)
from deepfake_detect.data.layouts.lists import read_cells, read_json_list
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import VIDEO_SUFFIXES

# Folder of FakeAVCeleb, and method of clips whose lists have none -> label of the picture.
CATEGORIES = {
    "RealVideo-RealAudio": REAL,
    "RealVideo-FakeAudio": REAL,
    "FakeVideo-RealAudio": FAKE,
    "FakeVideo-FakeAudio": FAKE,
}
_META = "meta_data.csv"
_META_COLUMNS = 10
_LAV_LISTS = ("metadata.json", "metadata.min.json")
_LAV_SPLITS = {"train": "train", "dev": "val", "test": "test"}
_AV1M_SPLITS = ("train", "val")
_AV1M_CATEGORIES = {
    "real": "RealVideo-RealAudio",
    "audio_modified": "RealVideo-FakeAudio",
    "visual_modified": "FakeVideo-RealAudio",
    "both_modified": "FakeVideo-FakeAudio",
}
_AV1M_CORPORA = ("vox_celeb_2", "lrs3", "silent_videos")  # of AV-Deepfake1M++, also outside of val
_SPEAKER = re.compile(r"id\d+|subject_\d+")
_DOWNLOAD = "download it again"


def _list_fakeavceleb(root: Path, _: Selection) -> VideoListing:
    ignored = check_folder_names(root, CATEGORIES, dataset="FakeAVCeleb")
    listed = _read_meta(root / _META) if (root / _META).is_file() else {}
    present = {
        path.relative_to(root).as_posix(): path
        for category in CATEGORIES
        for folder, names, _ in walk(root / category)
        for path in (folder / name for name in names)
        if path.suffix.lower() in VIDEO_SUFFIXES
    }
    if not present:
        raise DatasetLayoutError(
            root, "contains no video of FakeAVCeleb", f"expected {', '.join(CATEGORIES)}"
        )
    rows = {name: _fakeavceleb_video(root, name, listed.get(name, {})) for name in {**listed, **present}}
    return VideoListing(
        videos=in_order(rows[name] for name in present),
        missing=in_order(video for name, video in rows.items() if name not in present),
        num_expected=Counter(video.method for video in rows.values()) if listed else {},
        ignored=tuple(ignored),
        notes=() if listed else (f"without {_META} the method of a fake is its folder",),
    )


def _read_meta(path: Path) -> dict[str, dict[str, str]]:
    """Return the source and method of each clip of the list, by path; the header lacks the last name."""
    found = {}
    for number, cells in read_cells(path)[1:]:
        if len(cells) < _META_COLUMNS:
            cause = f"line {number} has {len(cells)} cells, not {_META_COLUMNS}"
            raise DatasetLayoutError(path, cause, _DOWNLOAD)
        source, kind, name, folder = cells[1], cells[5], cells[8], cells[9]
        inner = folder.replace("\\", "/").strip("/").removeprefix("FakeAVCeleb/")
        if inner.split("/")[0] != kind or kind not in CATEGORIES:
            cause = f"line {number} has the type {kind!r}, but its folder is {folder!r}"
            raise DatasetLayoutError(path, cause, _DOWNLOAD)
        if not is_plain_path(f"{inner}/{name}"):
            raise DatasetLayoutError(path, f"line {number} has the path {folder}/{name}", _DOWNLOAD)
        found[f"{inner}/{name}"] = {"source": source, "method": cells[3]}
    return found


def _fakeavceleb_video(root: Path, name: str, fields: Mapping[str, str]) -> DatasetVideo:
    category, *parents, file = name.split("/")
    label = CATEGORIES[category]
    source = fields.get("source", "")
    method = fields.get("method", category) if label == FAKE else category
    return new_video(
        "FakeAVCeleb",
        method,
        "/".join((category, *parents, PurePosixPath(file).stem)),
        root / name,
        label=label,
        target_id=parents[-1] if parents else None,
        source_id=source if label == FAKE and source.startswith("id") else None,
    )


def _list_lavdf(root: Path, _: Selection) -> VideoListing:
    top = _folder_with(root, "LAV-DF", _LAV_LISTS)
    ignored = check_folder_names(top, _LAV_SPLITS, dataset="LAV-DF")
    path = next((top / name for name in _LAV_LISTS if (top / name).is_file()), top / _LAV_LISTS[0])
    rows = [_lavdf_video(path, entry) for entry in _entries(path)]
    return _listing(root, "LAV-DF", rows, ignored)


def _lavdf_video(source: Path, entry: Mapping[str, Any]) -> DatasetVideo:
    file = entry["file"]
    split = _LAV_SPLITS.get(str(entry.get("split")))
    flags = entry.get("modify_video"), entry.get("modify_audio")
    if split is None or not all(isinstance(flag, bool) for flag in flags):
        cause = f"{file} has split {entry.get('split')!r} and modify_video, modify_audio {flags}"
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    words = "Fake" if flags[0] else "Real", "Fake" if flags[1] else "Real"
    periods = _seconds(source, file, entry.get("fake_periods"))
    if any(flags) != bool(periods):
        cause = f"{file} has modify_video, modify_audio {flags}, but the fake_periods {list(periods)}"
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    method = f"{words[0]}Video-{words[1]}Audio"
    return _clip("LAV-DF", method, source.parent / file, file, split, entry, periods if flags[0] else ())


def _list_av1m(root: Path, _: Selection) -> VideoListing:
    ignored = check_folder_names(root, _av1m_folders(), dataset="AV-Deepfake1M")
    rows: list[DatasetVideo] = []
    for split in _AV1M_SPLITS:
        path = root / f"{split}_metadata.json"
        if path.is_file():
            rows += [_av1m_video(root, path, split, entry) for entry in _entries(path)]
    listing = _listing(root, "AV-Deepfake1M", rows, ignored)
    notes = ("the videos of test have no labels: not read",) if (root / "test").is_dir() else ()
    return replace(listing, notes=notes)


def _av1m_folders() -> tuple[str, ...]:
    metadata = [f"{split}_metadata" for split in _AV1M_SPLITS]
    return (*_AV1M_SPLITS, "test", "testA", "testB", *metadata, *_AV1M_CORPORA, "label")


def _av1m_video(root: Path, source: Path, split: str, entry: Mapping[str, Any]) -> DatasetVideo:
    file, kind = entry["file"], str(entry.get("modify_type")).replace("-", "_")
    method = _AV1M_CATEGORIES.get(kind)
    if method is None:
        cause = f"{file} has the modify_type {entry.get('modify_type')!r}"
        raise DatasetLayoutError(source, cause, f"types are {', '.join(_AV1M_CATEGORIES)}")
    is_forged = CATEGORIES[method] == FAKE
    segments = entry.get("visual_fake_segments", entry.get("fake_segments") if is_forged else [])
    seconds = _seconds(source, file, segments)
    if is_forged != bool(seconds):
        cause = f"{file} has the modify_type {kind}, but the visual fake segments {list(seconds)}"
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    # Some copies hold the videos of a split in its folder, others next to the list.
    path = root / file if (root / file).exists() else root / split / file
    return _clip("AV-Deepfake1M", method, path, f"{split}/{file}", split, entry, seconds)


def _clip(
    dataset: str,
    method: str,
    path: Path,
    name: str,
    split: str,
    entry: Mapping[str, Any],
    segments: tuple[tuple[float, float], ...],
) -> DatasetVideo:
    """Return a clip of a list of segments; its identity is its speaker, or else its original."""
    stem = str(PurePosixPath(name).with_suffix(""))
    original = str(entry.get("original") or entry["file"])
    speaker = next((part for part in PurePosixPath(entry["file"]).parts if _SPEAKER.match(part)), None)
    return new_video(
        dataset,
        method,
        stem,
        path,
        label=CATEGORIES[method],
        split=split,
        target_id=speaker or PurePosixPath(original).stem,
        fake_segments=segments,
    )


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a JSON list, each with a path that stays below its folder."""
    entries = read_json_list(path)
    for number, entry in enumerate(entries if isinstance(entries, list) else [None]):
        file = entry.get("file") if isinstance(entry, dict) else None
        if not (isinstance(file, str) and is_plain_path(file)):
            raise DatasetLayoutError(path, f"entry {number} (from 0) has no file below its folder", _DOWNLOAD)
        yield entry


def _seconds(source: Path, file: str, value: Any) -> tuple[tuple[float, float], ...]:  # of JSON
    """Return stretches of time, sorted."""
    try:
        found = tuple(sorted((float(start), float(end)) for start, end in value))
    except (TypeError, ValueError) as error:
        raise DatasetLayoutError(source, f"{file} has the segments {value!r}", _DOWNLOAD) from error
    if not all(0 <= start < end < float("inf") for start, end in found):
        cause = f"{file} has segments that end before they begin: {list(found)}"
        raise DatasetLayoutError(source, cause, _DOWNLOAD)
    return found


def _listing(root: Path, dataset: str, rows: list[DatasetVideo], ignored: Iterable[Path]) -> VideoListing:
    present = {video.video_id for video in rows if video.path.exists()}
    if not present:
        cause = f"contains none of the {len(rows):,} listed videos of {dataset}"
        raise DatasetLayoutError(
            root, cause, "pass the folder that contains its list and its folders of splits"
        )
    return VideoListing(
        videos=in_order(video for video in rows if video.video_id in present),
        missing=in_order(video for video in rows if video.video_id not in present),
        num_expected=Counter(video.method for video in rows),
        ignored=tuple(ignored),
    )


def _folder_with(root: Path, inner: str, names: Iterable[str]) -> Path:
    """Return the folder that holds one of the files: the root, or a folder in it."""
    return next((one for one in (root, root / inner) if any((one / name).is_file() for name in names)), root)


def _recognize_fakeavceleb(root: Path) -> str | None:
    return ", ".join(folder_marks(root, CATEGORIES)) or None


def _recognize_lavdf(root: Path) -> str | None:
    top = _folder_with(root, "LAV-DF", _LAV_LISTS)
    found = [name for name in _LAV_LISTS if (top / name).is_file()]
    return f"{found[0]} next to {', '.join(marks)}" if found and (marks := _lavdf_marks(top)) else None


def _lavdf_marks(top: Path) -> list[str]:
    # DFDC too has train, test and metadata.json, but no dev.
    marks = nearly_named(top, _LAV_SPLITS)
    return marks if "dev" in marks or (top / _LAV_LISTS[1]).is_file() else []


def _recognize_av1m(root: Path) -> str | None:
    lists = [
        f"{split}_metadata.json" for split in _AV1M_SPLITS if (root / f"{split}_metadata.json").is_file()
    ]
    return ", ".join(lists) or None


LAYOUTS = (
    Layout(
        name="fakeavceleb",
        dataset="FakeAVCeleb",
        summary="{RealVideo,FakeVideo}-{RealAudio,FakeAudio}/<race>/<gender>/<person>/*.mp4, meta_data.csv",
        label_source="folders: FakeVideo-… is 1; RealVideo-FakeAudio shows a real face, so it is 0",
        split_source="none",
        published="500 reals, 500 with only audio forged, 9,709 with only video forged, 10,835 with both",
        source="DASH-Lab/FakeAVCeleb; arXiv:2108.05080",
        recognize=_recognize_fakeavceleb,
        list_videos=_list_fakeavceleb,
    ),
    Layout(
        name="lavdf",
        dataset="LAV-DF",
        summary="{train,dev,test}/*.mp4, metadata.json or metadata.min.json",
        label_source="metadata.json: modify_video is 1, with fake_periods; audio-only forgeries are 0",
        split_source="metadata.json: train, dev (here val) and test",
        published="36,431 reals, 33,170 with only audio forged, 66,703 with forged video",
        source="ControlNet/LAV-DF; arXiv:2204.06228",
        recognize=_recognize_lavdf,
        list_videos=_list_lavdf,
    ),
    Layout(
        name="avdeepfake1m",
        dataset="AV-Deepfake1M",
        summary="{train,val}/…/*.mp4, {train,val}_metadata.json; also AV-Deepfake1M++",
        label_source="…_metadata.json: modify_type, with visual_fake_segments; audio-only forgeries are 0",
        split_source="the list's name: train or val; test has no labels",
        published="286,721 reals and 860,039 with video, audio or both forged",
        source="ControlNet/AV-Deepfake1M, README; arXiv:2311.15308, arXiv:2507.20579",
        recognize=_recognize_av1m,
        list_videos=_list_av1m,
    ),
)
