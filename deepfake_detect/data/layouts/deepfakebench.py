"""DeepfakeBench's rearranged form (SCLBD/DeepfakeBench, preprocessing/rearrange.py): lists of frames.

    <dataset>.json    {dataset: {word: {split: {compression: {video: {"label": word,
                                                                     "frames": [path, ...]}}}}}}
    FaceForensics++/{original,manipulated}_sequences/<source>/<compression>/frames/<video>/*.png
    Celeb-DF-v2/Celeb-real/frames/<video>/*.png, UADFV/fake/frames/<video>/*.png, ...

The compression is left out where a dataset has one only. A row is a video: the folder of its frames.
``masks`` in an entry are frames of the forged region. The words, such as FF-DF and CelebDFv2_real, are
those of its ``label_dict``; others must end in real or fake, as DFDCP_FakeA does. Lists may be one file,
or a folder of them. Paths of frames are absolute, or relative to the list, to a folder above it, or to
``datasets/rgb`` in one of those; backslashes are slashes.

The lists that come with it put test videos of Celeb-DF into train too, and every video of some datasets
into each split: such a video is in the test split here, else in val. :func:`data.exported.export_index`
writes this form, with further keys (``method``, ``video_id``, ...) that DeepfakeBench does not read.

A tree of frames without lists is read for FaceForensics++ (official split), Celeb-DF and UADFV.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    in_order,
    is_plain_path,
    list_files,
    make_video_id,
    new_video,
    subfolders,
)
from deepfake_detect.data.layouts.ffpp import official_split_of_identity
from deepfake_detect.data.layouts.lists import read_json_list
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, REAL, DatasetVideo

FFPP = "FaceForensics++"
# Word of a list -> dataset, method, label; a dataset of "" is that of the list.
WORDS: Mapping[str, tuple[str, str, int]] = {
    "FF-real": (FFPP, "original", REAL),
    "FF-DF": (FFPP, "Deepfakes", FAKE),
    "FF-F2F": (FFPP, "Face2Face", FAKE),
    "FF-FS": (FFPP, "FaceSwap", FAKE),
    "FF-NT": (FFPP, "NeuralTextures", FAKE),
    "FF-FH": (FFPP, "FaceShifter", FAKE),
    "DFD_real": (FFPP, "actors", REAL),
    "DFD_fake": (FFPP, "DeepFakeDetection", FAKE),
}
_SAME_WORDS = {"FF-SH": "FF-FH"}
# Further keys of a video, which export_index writes and DeepfakeBench does not read.
NULLABLE_KEYS = ("compression", "target_id", "source_id")
OWN_KEYS = ("dataset", "method", "video_id", *NULLABLE_KEYS)
# Key of a split, in the order in which a video that is in several is assigned.
SPLITS = ("test", "val", "train")
NO_SPLIT = "unassigned"
_PREFIXES = ("", "datasets/rgb", "datasets", "rgb")
_FAKE_WORD = re.compile(r"(?i)fake[a-z]?$")
_REAL_WORD = re.compile(r"(?i)real$")
_FFPP_NAME = re.compile(r"(?P<target>\d{3})(?:_(?P<source>\d{3}))?")
_CELEB_NAME = re.compile(r"(?P<target>id\d+)(?:_(?P<source>id\d+))?_\d+")
_DFD_NAME = re.compile(r"(?P<target>\d+)(?:_(?P<source>\d+))?__.+")
_REMEDY = "write it again with DeepfakeBench's rearrange.py, or with export_index"
_DATASETS = (FFPP, "Celeb-DF-v1", "Celeb-DF-v2", "UADFV")
_SOURCES = (
    *("original_sequences/*/*", "manipulated_sequences/*/*"),
    *("Celeb-real", "YouTube-real", "Celeb-synthesis", "real", "fake"),
)
_TREE = re.compile(
    r"(?:.*/)?(?:original_sequences/(?P<pristine>youtube|actors)/(?P<level>[^/]+)"
    r"|manipulated_sequences/(?P<method>[^/]+)/(?P<forged_level>[^/]+)"
    r"|(?P<celeb>Celeb-DF-v[12])/(?P<folder>Celeb-real|YouTube-real|Celeb-synthesis)"
    r"|UADFV/(?P<uadfv>real|fake))/frames/(?P<name>[^/]+)"
)


@dataclass(frozen=True)
class _Entry:
    """One video of a list, with the keys that lead to it."""

    source: Path
    dataset: str
    word: str
    split: str
    compression: str | None
    name: str
    fields: Mapping[str, Any]

    def error(self, cause: str) -> DatasetLayoutError:
        """Return an error that names the video."""
        place = "/".join(filter(None, (self.dataset, self.word, self.split, self.compression, self.name)))
        return DatasetLayoutError(self.source, f"{place} {cause}", _REMEDY)


def _list(root: Path, selection: Selection) -> VideoListing:
    lists = [root] if root.is_file() else _lists_in(root)
    return _list_entries(root, lists) if lists else _list_tree(root)


def _list_entries(root: Path, lists: Sequence[Path]) -> VideoListing:
    entries = [entry for path in lists for entry in _entries(path)]
    videos: dict[str, DatasetVideo] = {}
    missing: dict[str, DatasetVideo] = {}
    num_several = 0
    # By rank of the split, so that the first one found counts.
    for entry in sorted(entries, key=lambda one: (*SPLITS, NO_SPLIT).index(one.split)):
        video = _video(entry)
        found = videos if video.path.exists() else missing
        first = found.setdefault(video.video_id, video)
        if (first.label, first.path) != (video.label, video.path):
            raise entry.error(f"has the id {video.video_id} of other frames or of another label")
        num_several += first.split != video.split
    if not videos:
        cause = f"none of the frames of its {counted(len(missing), 'video')} exists"
        raise DatasetLayoutError(root, cause, f"put the frames next to it, or into {_PREFIXES[1]}")
    notes = [f"in several splits, of which the most held out counts: {num_several:,}"] if num_several else []
    return VideoListing(in_order(videos.values()), in_order(missing.values()), notes=tuple(notes))


def _lists_in(folder: Path) -> list[Path]:
    """Return the lists in a folder, or in its ``dataset_json``."""
    homes = (folder, folder / "dataset_json", folder / "preprocessing" / "dataset_json")
    found = [[path for path in list_files(home, {".json"}) if _is_list(path)] for home in homes]
    return next((paths for paths in found if paths), [])


def _is_list(path: Path) -> bool:
    """Return whether a JSON file begins like a list of this form: nested objects with a known split."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(2**16)
    pattern = r'\s*\{\s*"[^"]+"\s*:\s*\{\s*"[^"]+"\s*:\s*\{\s*"(train|val|test|unassigned)"\s*:\s*\{'
    return re.match(pattern, head) is not None


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the videos of a list."""
    for dataset, words in _objects(path, "it", read_json_list(path)):
        for word, splits in _objects(path, dataset, words):
            for split, levels in _objects(path, word, splits):
                if split not in (*SPLITS, NO_SPLIT):
                    raise DatasetLayoutError(path, f"has the split {split!r} of {word}", _REMEDY)
                for name, fields, level in _videos_of(path, split, levels):
                    yield _Entry(path, dataset, word, split, level, name, fields)


def _videos_of(path: Path, split: str, levels: Mapping[str, Any]) -> Iterator[tuple[str, Any, str | None]]:
    """Yield name, fields and compression of the videos of a split."""
    if "frames" in levels:
        return  # rearrange.py leaves the last video of DFDC, without its name, in val
    for name, inner in _objects(path, split, levels):
        if "frames" in inner:
            yield name, inner, None
        else:
            yield from ((video, fields, name) for video, fields in _objects(path, name, inner))


def _objects(path: Path, key: str, value: Any) -> Iterator[tuple[str, Any]]:  # of JSON
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise DatasetLayoutError(path, f"{key} does not hold objects", _REMEDY)
    yield from value.items()


def _video(entry: _Entry) -> DatasetVideo:
    word = _SAME_WORDS.get(entry.word, entry.word)
    dataset, method, label = WORDS.get(word) or ("", word, _label_of(entry))
    if entry.fields.get("label") not in (entry.word, None):
        raise entry.error(f"has the label {entry.fields['label']!r}, but is listed under {entry.word!r}")
    dataset = dataset or entry.dataset
    people = _people(dataset, method, entry.name)
    fields = {"dataset": dataset, "method": method, "compression": entry.compression} | people | _own(entry)
    dataset, method, compression = (fields[name] for name in ("dataset", "method", "compression"))
    video_id = fields.get("video_id") or make_video_id(dataset, method, compression, entry.name)
    if not is_plain_path(video_id):
        raise entry.error(f"has the video_id {video_id!r}")
    return DatasetVideo(
        dataset=dataset,
        video_id=video_id,
        method=method,
        label=label,
        split=None if entry.split == NO_SPLIT else entry.split,
        compression=compression,
        target_id=fields.get("target_id"),
        source_id=fields.get("source_id") if label == FAKE else None,
        path=_folder_of(entry, "path", "frames"),
        mask_path=_folder_of(entry, "mask_path", "masks") if entry.fields.get("masks") else None,
        fake_segments=_segments(entry),
    )


def _label_of(entry: _Entry) -> int:
    if _FAKE_WORD.search(entry.word):
        return FAKE
    if _REAL_WORD.search(entry.word):
        return REAL
    raise entry.error(
        f"has the word {entry.word!r}, which is none of {', '.join(WORDS)} and ends in neither real nor fake"
    )


def _own(entry: _Entry) -> dict[str, Any]:
    """Return the further keys that export_index writes."""
    found = {name: entry.fields[name] for name in OWN_KEYS if name in entry.fields}
    for name, value in found.items():
        if not (isinstance(value, str) or (value is None and name in NULLABLE_KEYS)):
            raise entry.error(f"has the {name} {value!r}")
    return found


def _segments(entry: _Entry) -> tuple[tuple[float, float], ...] | None:
    value = entry.fields.get("fake_segments")
    try:
        return None if value is None else tuple((float(start), float(end)) for start, end in value)
    except (TypeError, ValueError) as error:
        raise entry.error(f"has the fake_segments {value!r}") from error


def _people(dataset: str, method: str, name: str) -> dict[str, str]:
    """Return target and source that a name tells, as the layouts of the dataset name them."""
    actors = method in ("actors", "DeepFakeDetection")
    pattern = _DFD_NAME if actors else _FFPP_NAME if dataset == FFPP else _CELEB_NAME
    match = pattern.fullmatch(name)
    prefix = "actor" if actors else ""
    return {
        f"{role}_id": prefix + value for role, value in (match.groupdict() if match else {}).items() if value
    }


def _folder_of(entry: _Entry, own_key: str, key: str) -> Path:
    """Return what a key of ours names, or else the folder of the frames that a key lists."""
    own, frames = entry.fields.get(own_key), entry.fields[key]
    if own is not None:
        if not isinstance(own, str):
            raise entry.error(f"has the {own_key} {own!r}")
        return _resolved(entry.source, own)
    if not (isinstance(frames, list) and frames and all(isinstance(name, str) for name in frames)):
        raise entry.error("has no frames")
    names = [name.replace("\\", "/") for name in frames]
    folders = {name.rpartition("/")[0] for name in names}
    if len(folders) > 1:
        raise entry.error(f"has frames in several folders, {' and '.join(sorted(folders)[:2])}")
    return _resolved(entry.source, folders.pop())


def _resolved(source: Path, name: str) -> Path:
    """Return a path of a list; of those it may be relative to, the first that exists."""
    path = Path(name)
    if path.is_absolute():
        return path
    homes = [source.absolute().parent, *source.absolute().parent.parents][:4]
    candidates = [home / prefix / path for home in homes for prefix in _PREFIXES]
    return next((one for one in candidates if one.exists()), candidates[0])


def _list_tree(root: Path) -> VideoListing:
    videos = [video for folder in _frame_folders(root) for video in _videos_in(folder)]
    if not videos:
        cause = "contains neither a list of DeepfakeBench nor frames of FaceForensics++, Celeb-DF or UADFV"
        raise DatasetLayoutError(root, cause, "pass a <dataset>.json, or the folder of its datasets")
    return VideoListing(in_order(videos))


def _frame_folders(root: Path) -> list[Path]:
    """Return the folders called ``frames`` of datasets in or at a folder, without videos next to them."""
    found: list[Path] = []
    for top in (root, root / "rgb", root / "datasets" / "rgb"):
        for home in (top, *(top / name for name in _DATASETS)):
            found += (folder / "frames" for source in _SOURCES for folder in home.glob(source))
    return sorted({one for one in found if one.is_dir() and not (one.parent / "videos").is_dir()})


def _videos_in(frames: Path) -> Iterator[DatasetVideo]:
    for folder in subfolders(frames):
        # With the names above, so that the root may be any of them.
        match = _TREE.fullmatch(folder.absolute().as_posix())
        if match is not None:
            yield _video_of_tree(folder, match)


def _video_of_tree(folder: Path, match: re.Match[str]) -> DatasetVideo:
    found, name = match.groupdict(), match["name"]
    if found["celeb"]:
        label = FAKE if found["folder"] == "Celeb-synthesis" else REAL
        return _new(found["celeb"], found["folder"], name, folder, label, _celeb_split(folder), None)
    if found["uadfv"]:
        label = FAKE if found["uadfv"] == "fake" else REAL
        return _new("UADFV", found["uadfv"], name, folder, label, None, None)
    method = found["method"] or {"youtube": "original", "actors": "actors"}[found["pristine"]]
    people = _people(FFPP, method, name)
    splits = {official_split_of_identity().get(person) for person in people.values()}
    split = splits.pop() if len(splits) == 1 else None
    label, level = FAKE if found["method"] else REAL, found["level"] or found["forged_level"]
    return _new(FFPP, method, name, folder, label, split, level)


def _celeb_split(folder: Path) -> str | None:
    """Return ``"test"`` for a video of the official list, which is next to its folders."""
    path = folder.parents[2] / "List_of_testing_videos.txt"
    if not path.is_file():
        return None
    name = f"{folder.parents[1].name}/{folder.name}.mp4"
    return "test" if any(line.split()[-1:] == [name] for line in path.read_text().splitlines()) else None


def _new(
    dataset: str, method: str, name: str, path: Path, label: int, split: str | None, compression: str | None
) -> DatasetVideo:
    people = _people(dataset, method, name)
    masks = path.parents[1] / "masks" / name
    return new_video(
        dataset,
        method,
        name,
        path,
        label=label,
        split=split,
        compression=compression,
        target_id=people.get("target_id"),
        source_id=people.get("source_id") if label == FAKE else None,
        mask_path=masks if label == FAKE and masks.is_dir() else None,
    )


def _recognize(root: Path) -> str | None:
    if root.is_file():
        return f"list {root.name}" if root.suffix.lower() == ".json" and _is_list(root) else None
    if lists := _lists_in(root):
        return f"lists {', '.join(path.name for path in lists)}"
    found = (folder for folder in _frame_folders(root) if next(_videos_in(folder), None))
    return next((folder.relative_to(root).as_posix() for folder in found), None)


LAYOUT = Layout(
    name="deepfakebench",
    dataset="(that of its lists)",
    summary="<dataset>.json, or …/<method>/[<compression>/]frames/<video>/*.png",
    label_source="lists: words such as FF-DF and CelebDFv2_real, or words that end in real or fake",
    split_source="lists: test before val before train; of a tree of FaceForensics++ the official pairs",
    published="-",
    source="SCLBD/DeepfakeBench, README and preprocessing/rearrange.py",
    recognize=_recognize,
    list_videos=_list,
    takes_file=True,
)
