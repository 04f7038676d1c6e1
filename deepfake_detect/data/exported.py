"""An index, or a manifest of crops, in the form of another tool."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detect.data.index import VideoIndex, read_rows
from deepfake_detect.data.layouts.deepfakebench import FFPP, NO_SPLIT, NULLABLE_KEYS, SPLITS, WORDS
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.options import ExportFormat, IndexExportOptions
from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import atomic_path, make_folder
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, DatasetVideo
from deepfake_detect.video.files import VIDEO_SUFFIXES
from deepfake_detect.video.sequence import find_sequence

# Dataset -> what DeepfakeBench's label_dict calls its real and fake videos; others are <dataset>_Real.
_WORDS = {
    "Celeb-DF-v1": ("CelebDFv1_real", "CelebDFv1_fake"),
    "Celeb-DF-v2": ("CelebDFv2_real", "CelebDFv2_fake"),
    "DFDC": ("DFDC_Real", "DFDC_Fake"),
    "DFDCP": ("DFDCP_Real", "DFDCP_FakeA"),
    "DeeperForensics-1.0": ("DF_real", "DF_fake"),
    "UADFV": ("UADFV_Real", "UADFV_Fake"),
}
_WORD_OF_METHOD = {(dataset, method): word for word, (dataset, method, _) in WORDS.items()}
_WORD_OF_METHOD["DFDCP", "method_B"] = "DFDCP_FakeB"
_SHIFTER = "FaceShifter"
# Methods of FaceForensics++ that the tool keeps in lists of their own.
_OWN_LISTS = {
    (FFPP, _SHIFTER): _SHIFTER,
    (FFPP, "actors"): "DeepFakeDetection",
    (FFPP, "DeepFakeDetection"): "DeepFakeDetection",
}
# Level of the videos of FaceForensics++ whose compression is not known: the one that is read by default.
_DEFAULT_LEVEL = "c23"


@dataclass(frozen=True)
class IndexExport:
    """What :func:`export_index` wrote.

    Attributes:
        paths: The files, one for each dataset unless a file was asked for.
        num_videos: Videos in them.
        num_video_files: Rows that are video files, which the tool cannot read as frames.
    """

    paths: tuple[Path, ...]
    num_videos: int
    num_video_files: int

    def lines(self) -> list[str]:
        """Return the report as text."""
        lines = [f"wrote {counted(self.num_videos, 'video')} to {', '.join(map(str, self.paths))}"]
        if self.num_video_files:
            lines.append(
                f"{self.num_video_files:,} of them are video files, and DeepfakeBench reads frames only: "
                "run extract-faces and export its manifest"
            )
        return lines


def export_index(
    index: str | os.PathLike[str] | VideoIndex | Manifest,
    out: str | os.PathLike[str],
    *,
    format: ExportFormat = IndexExportOptions.format,
) -> IndexExport:
    """Write an index of videos or a manifest of crops in the format of another tool.

    ``"deepfakebench"`` writes the JSON lists of DeepfakeBench: frames by dataset, label, split, compression
    and video. Indexing such a list again gives the same rows. For a manifest, each video lists its crops.

    Args:
        index: The Parquet file, or its rows with any filters.
        out: Folder for one ``<dataset>.json`` per dataset, or a ``.json`` file for all datasets.
        format: Name of the format.

    Returns:
        The files, and how many videos are in them.

    Raises:
        OptionError: The format is unknown, or crops are in tars.
        ManifestError: The file is missing, damaged, or neither an index nor a manifest.
        VideoError: A folder of frames holds no image.
        OutputError: ``out`` cannot be written.

    Example:
        >>> export_index("videos.parquet", "dataset_json").num_videos  # doctest: +SKIP
        6000
    """
    IndexExportOptions(format)
    rows = index if isinstance(index, VideoIndex | Manifest) else read_rows(index)
    entries = list(_of_crops(rows) if isinstance(rows, Manifest) else _of_videos(rows))
    lists = _lists(entries)
    target = Path(out)
    if target.suffix.lower() == ".json":
        paths = [_write(target, lists)]
    else:
        folder = make_folder(target)
        paths = [_write(folder / f"{name.replace('/', '_')}.json", {name: lists[name]}) for name in lists]
    num_files = sum(video.path.suffix.lower() in VIDEO_SUFFIXES for video, _, _ in entries)
    return IndexExport(tuple(paths), len(entries), num_files)


def _lists(entries: Iterable[tuple[DatasetVideo, list[str], list[str]]]) -> dict[str, dict[str, Any]]:
    """Return the content of each list, by the name that the tool has for it."""
    lists: dict[str, dict[str, Any]] = {}
    for video, frames, masks in entries:
        name = _OWN_LISTS.get((video.dataset, video.method), video.dataset)
        _add(lists.setdefault(name, {}), video, frames, masks)
    reals = lists.get(FFPP, {}).get("FF-real")
    if reals and _SHIFTER in lists:  # a list of its own, with the same reals
        lists[_SHIFTER]["FF-real"] = reals
    return lists


def _of_videos(index: VideoIndex) -> Iterator[tuple[DatasetVideo, list[str], list[str]]]:
    """Yield the videos of an index, with the paths of their frames and masks."""
    for video in index.videos():
        masks = [] if video.mask_path is None else _frames(video.mask_path)
        yield video, _frames(video.path), masks


def _frames(path: Path) -> list[str]:
    sequence = find_sequence(path) if path.is_dir() else None
    return [path.as_posix()] if sequence is None else [Path(name).as_posix() for name in sequence.names]


def _of_crops(manifest: Manifest) -> Iterator[tuple[DatasetVideo, list[str], list[str]]]:
    """Yield the videos of a manifest, with the paths of their crops in order."""
    names = ["dataset", "video_id", "method", "split", "compression", "target_id", "source_id"]
    crops: dict[str, list[tuple[int, int, str]]] = {}
    videos: dict[str, dict[str, Any]] = {}
    for row in manifest.columns(
        [*names, "label", "fake_segments", "frame_index", "track_id", "path"]
    ).to_pylist():
        path = (manifest.root / row["path"]).absolute()
        if not path.is_file():
            cause = f"{path} is not a file, and DeepfakeBench reads no tars"
            raise OptionError("index", cause, "extract with `store` files")
        crops.setdefault(row["video_id"], []).append((row["frame_index"], row["track_id"], path.as_posix()))
        video = videos.setdefault(row["video_id"], {name: row[name] for name in names} | {"label": 0})
        segments = row["fake_segments"]
        video["label"] = max(video["label"], row["label"], int(bool(segments)))
        video["fake_segments"] = None if segments is None else tuple((a, b) for a, b in segments)
    for video_id, fields in videos.items():
        frames = [path for *_, path in sorted(crops[video_id])]
        yield DatasetVideo(**fields, path=Path(frames[0]).parent), frames, []


def _add(words: dict[str, Any], video: DatasetVideo, frames: list[str], masks: list[str]) -> None:
    """Add a video to the lists of its dataset."""
    word = _WORD_OF_METHOD.get((video.dataset, video.method)) or _word(video)
    # The tool looks for every split, and for the level of FaceForensics++, below each word.
    level = [video.compression or _DEFAULT_LEVEL] if video.dataset == FFPP else []
    splits = words.setdefault(word, {split: {one: {} for one in level} for split in reversed(SPLITS)})
    videos = splits.setdefault(video.split or NO_SPLIT, {})
    for one in level:
        for split in splits.values():
            split.setdefault(one, {})
        videos = splits[video.split or NO_SPLIT][one]
    prefix = "/".join(filter(None, (video.dataset, video.method, video.compression)))
    name = video.video_id.removeprefix(f"{prefix}/").replace("/", "_")
    key = name if name not in videos else video.video_id
    videos[key] = _entry(word, video, frames, masks)


def _word(video: DatasetVideo) -> str:
    real, fake = _WORDS.get(video.dataset, (f"{video.dataset}_Real", f"{video.dataset}_Fake"))
    return fake if video.label == FAKE else real


def _entry(word: str, video: DatasetVideo, frames: list[str], masks: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": word, "frames": frames}
    if masks:
        entry |= {"masks": masks, "mask_path": str(video.mask_path)}
    own = {name: getattr(video, name) for name in ("method", "video_id", *NULLABLE_KEYS)}
    segments = video.fake_segments
    return {**entry, **own, "path": str(video.path), "fake_segments": segments}


def _write(path: Path, lists: Mapping[str, Any]) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(lists, indent=1), "utf-8")
    return path
