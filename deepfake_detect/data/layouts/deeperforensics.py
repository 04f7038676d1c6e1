"""DeeperForensics-1.0 (arXiv:2001.03024), unpacked as its script does.

    source_videos/<actor>/…/<actor>_….mp4             label 0: recordings of 100 actors
    manipulated_videos/<version>/<target>_<actor>.mp4  label 1: 1,000 swaps in eleven versions
    lists/splits/{train,val,test}.txt                 one file name of a swap per line: 703/96/201

``<target>`` is the number of a FaceForensics++ original, whose scene is seen with the actor's
face. The owners compare the swaps with those originals, compressed as c23; they are not in the
download, so the only reals here are the actors' recordings. ``BlendShape_extra`` recordings exceed the
published number and are counted separately, as in the owners' lists.

The lists divide the actors (71/9/20). A recording has the split of its actor's swaps, so that no actor
is in two splits; an actor of no list has none. Identities are ``FaceForensics++:<number>`` for the
target and the actor for the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    list_files,
    nearly_named,
    new_video,
    walk,
)
from deepfake_detect.data.layouts.lists import read_text
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "DeeperForensics-1.0"
VERSIONS = (
    "end_to_end",
    *(f"end_to_end_level_{level}" for level in range(1, 6)),
    "end_to_end_random_level",
    *(f"end_to_end_mix_{number}_distortions" for number in range(2, 5)),
    "reenact_postprocess",
)
_TOP_FOLDERS = ("source_videos", "manipulated_videos", "lists")
_SOURCE, _EXTRA = "source_videos", "source_videos_extra"
_NUM_SWAPS, _NUM_SOURCE = 1000, 48475
_SPLITS = ("train", "val", "test")
_SWAP_NAME = re.compile(r"(\d{3})_([MW]\d{3})")
_SOURCE_NAME = re.compile(r"([MW]\d{3})_.+\.(?i:mp4)")


def _list(root: Path, selection: Selection) -> VideoListing:
    """List the videos; methods are the versions of the swaps, read with the actors' recordings."""
    ignored = _check_tree(root)
    versions = [version for version in VERSIONS if version in (selection.methods or VERSIONS)]
    split_of = _read_splits(root / "lists" / "splits")
    sources, strays = _source_videos(root / _SOURCE, _split_of_actor(split_of))
    swaps = [swap for version in versions for swap in _swaps(root, version, split_of)]
    present = {path for version in versions for path in list_files(_version(root, version), {".mp4"})}
    if not sources and not present:
        raise DatasetLayoutError(
            root, f"contains no video of {DATASET}", f"put videos into {_version(root, versions[0])}"
        )
    strays += sorted(present - {swap.path for swap in swaps})
    return VideoListing(
        videos=(*sources, *(swap for swap in swaps if swap.path in present)),
        missing=tuple(swap for swap in swaps if swap.path not in present),
        num_expected={_SOURCE: _NUM_SOURCE, **dict.fromkeys(versions, _NUM_SWAPS)},
        ignored=(*ignored, *strays),
        notes=tuple(_notes(split_of)),
    )


def _check_tree(root: Path) -> list[Path]:
    check_folder_names(root, _TOP_FOLDERS, dataset=DATASET)
    if not any((root / top).is_dir() for top in _TOP_FOLDERS[:2]):
        cause = "contains neither source_videos nor manipulated_videos"
        raise DatasetLayoutError(root, cause, f"pass the folder that {DATASET} was unpacked in")
    check_folder_names(root / "lists", ["splits"], dataset=DATASET)
    return check_folder_names(root / "manipulated_videos", VERSIONS, dataset=DATASET)


def _version(root: Path, version: str) -> Path:
    return root / "manipulated_videos" / version


def _read_splits(folder: Path) -> dict[str, str]:
    """Return the split of each listed swap, by its name such as ``000_W101``."""
    found: dict[str, str] = {}
    for split in _SPLITS:
        path = folder / f"{split}.txt"
        lines = read_text(path).split() if path.is_file() else []
        for line in lines:
            name = line.removesuffix(".mp4")
            if not _SWAP_NAME.fullmatch(name):
                cause = f"contains {line!r} instead of a name such as 000_W101.mp4"
                raise DatasetLayoutError(path, cause, "download it again")
            if found.setdefault(name, split) != split:
                cause = f"names {name}, as {found[name]}.txt does"
                raise DatasetLayoutError(path, cause, "put each video into one split")
    return found


def _split_of_actor(split_of: Mapping[str, str]) -> dict[str, str | None]:
    """Return the split of each actor's swaps; ``None`` if they are in several."""
    splits: dict[str, set[str]] = {}
    for name, split in split_of.items():
        splits.setdefault(name.partition("_")[2], set()).add(split)
    return {actor: found.pop() if len(found) == 1 else None for actor, found in splits.items()}


def _source_videos(
    folder: Path, split_of_actor: Mapping[str, str | None]
) -> tuple[list[DatasetVideo], list[Path]]:
    """Return the actors' recordings, and files that are not recordings or repeat one."""
    videos: dict[str, DatasetVideo] = {}
    found = list(walk(folder))
    strays = [inner / name for inner, _, broken_links in found for name in broken_links]
    for path in [inner / name for inner, names, _ in found for name in names]:
        match = _SOURCE_NAME.fullmatch(path.name)
        if match is None or path.stem in videos:
            strays.append(path)
            continue
        method, split = _EXTRA if "_BlendShape_extra_" in path.stem else _SOURCE, split_of_actor.get(match[1])
        videos[path.stem] = new_video(
            DATASET, method, path.stem, path, label=REAL, split=split, target_id=match[1]
        )
    # Those beyond the published number come last.
    return sorted(videos.values(), key=lambda video: video.method), strays


def _swaps(root: Path, version: str, split_of: Mapping[str, str]) -> Iterator[DatasetVideo]:
    """Yield the swaps that are present or listed, sorted by name."""
    present = {path.stem: path for path in list_files(_version(root, version), {".mp4"})}
    for name in sorted(present.keys() | split_of.keys()):
        match = _SWAP_NAME.fullmatch(name)
        if match is None:
            continue
        yield new_video(
            DATASET,
            version,
            name,
            present.get(name, _version(root, version) / f"{name}.mp4"),
            label=FAKE,
            split=split_of.get(name),
            target_id=f"FaceForensics++:{match[1]}",
            source_id=match[2],
        )


def _notes(split_of: Mapping[str, str]) -> Iterator[str]:
    yield "the owners compare the swaps with the FaceForensics++ c23 originals, which are not included"
    if not split_of:
        yield "lists/splits is missing: no official split"
    divided = sorted(actor for actor, split in _split_of_actor(split_of).items() if split is None)
    if divided:
        yield (
            f"the lists put the swaps of {len(divided)} actors, such as {divided[0]}, into several splits: "
            "their recordings have none"
        )


def _recognize(root: Path) -> str | None:
    tops = nearly_named(root, _TOP_FOLDERS)
    return f"folders {', '.join(tops)}" if set(tops) - {"lists"} else None


LAYOUT = Layout(
    name="deeperforensics",
    dataset=DATASET,
    summary="source_videos/<actor>/…, manipulated_videos/<version>/<target>_<actor>.mp4, lists/splits/*.txt",
    label_source="folders: source_videos are 0, manipulated_videos 1",
    split_source="lists/splits/{train,val,test}.txt; recordings have the split of their actor's swaps",
    published="48,475 recordings of 100 actors, 11 x 1,000 swaps, 703/96/201 each",
    source="EndlessSora/DeeperForensics-1.0; arXiv:2001.03024",
    recognize=_recognize,
    list_videos=_list,
    methods=VERSIONS,
    is_selecting=True,
)
