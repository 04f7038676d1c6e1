"""FaceForensics++ (arXiv:1901.08971), as its own script downloads it, or the Kaggle mirror.

The script's tree, of which a copy may hold any part:

    original_sequences/{youtube,actors}/{raw,c0,c23,c40}/videos/*.mp4      label 0
    manipulated_sequences/<method>/{raw,c0,c23,c40}/videos/*.mp4           label 1
    manipulated_sequences/<method>/masks/videos/*.mp4      the forged region; none for FaceShifter
    splits/{train,val,test}.json                           lists of pairs, also kept elsewhere

The mirror ``xdxd003/ff-c23``, all of it c23, without the actors' originals and without masks:

    FaceForensics++_C23/{original,<method>}/*.mp4, csv/FF++_Metadata.csv

Reals of ``youtube`` are ``NNN.mp4``; a fake ``<target>_<source>.mp4`` shows the scene of target
with the face of source. A pair (a, b) of the official split assigns reals a and b and fakes a_b and
b_a of every method to its split; split files in the copy replace the official split. If only some of
the three files are present, an identity that they do not name stays in its official split if the file
of that split is absent, and has no split otherwise.
DeepFakeDetection (``actors`` and its fakes) has no official split: its rows have none.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    list_files,
    nearly_named,
    new_video,
)
from deepfake_detect.data.layouts.lists import read_json_list, read_rows
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "FaceForensics++"
DFD = "DeepFakeDetection"
COMPRESSIONS = ("raw", "c0", "c23", "c40")
FORGERY_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter", DFD)
# The pristine videos are named by their origin in the tree, "original" in the manifest.
_PRISTINE_FOLDERS = {"original": "youtube", "actors": "actors"}
TOP_FOLDERS: dict[str, tuple[str, ...]] = {
    "original_sequences": tuple(_PRISTINE_FOLDERS.values()),
    "manipulated_sequences": FORGERY_METHODS,
}
# Published sizes of DeepFakeDetection, whose names are not listed anywhere.
NUM_DFD = {"actors": 363, DFD: 3068}
_NUM_DFD_IN_MIRROR = 1000
_MIRROR_FOLDERS = ("original", *FORGERY_METHODS)
_MIRROR_TOP = "FaceForensics++_C23"
_SPLITS = ("train", "val", "test")
_DFD_NAMES = {"actors": re.compile(r"\d+__.+"), DFD: re.compile(r"\d+_\d+__.+__\w{8}")}


@dataclass(frozen=True)
class FfppCopy:
    """The folders of a copy, and what is known about their content."""

    root: Path
    folders: Mapping[tuple[str, str], Path]  # by method or pristine source, and compression
    sizes: Mapping[str, int]  # number of videos of the sources of DeepFakeDetection
    listed: frozenset[str] = frozenset()  # names of DeepFakeDetection videos in a list of the copy
    masks: Mapping[str, Path] = field(default_factory=dict)  # folder by method
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@cache
def official_split_pairs() -> tuple[tuple[str, str, str], ...]:
    """Return the official split: (split, identity, identity), 360 + 70 + 70 pairs."""
    text = resources.files("deepfake_detect.data").joinpath("ffpp_split_pairs.csv").read_text("utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple((split, first, second) for split, first, second in rows)


@cache
def official_split_of_identity() -> Mapping[str, str]:
    """Return the official split of each of the 1,000 identities."""
    return {name: split for split, *pair in official_split_pairs() for name in pair}


def _list(root: Path, selection: Selection) -> VideoListing:
    """List the videos of a copy.

    Selected methods are read with their own pristine source only. Without ``methods``,
    DeepFakeDetection is read if something of it is present; without ``compressions``, every level of
    which a video is present.
    """
    mirror = _mirror_root(root)
    return list_copy(official_copy(root) if mirror is None else _mirror_copy(mirror), selection)


def official_copy(root: Path) -> FfppCopy:
    """Describe a tree of the owners' script."""
    check_folder_names(root, TOP_FOLDERS, dataset=DATASET)
    if not any((root / top).is_dir() for top in TOP_FOLDERS):
        raise DatasetLayoutError(
            root,
            "contains neither original_sequences nor manipulated_sequences",
            f"pass the folder that the {DATASET} download script wrote to",
        )
    ignored: list[Path] = []
    for top, names in TOP_FOLDERS.items():
        ignored += check_folder_names(root / top, names, dataset=DATASET)
        for name in names:
            known = (*COMPRESSIONS, "masks", "models")
            ignored += check_folder_names(root / top / name, known, dataset=DATASET)
            for level in (*COMPRESSIONS, "masks"):
                ignored += check_folder_names(root / top / name / level, ["videos"], dataset=DATASET)
    homes = {source: root / "original_sequences" / name for source, name in _PRISTINE_FOLDERS.items()}
    homes |= {method: root / "manipulated_sequences" / method for method in FORGERY_METHODS}
    return FfppCopy(
        root=root,
        folders={(name, level): homes[name] / level / "videos" for name in homes for level in COMPRESSIONS},
        sizes=NUM_DFD,
        masks={method: homes[method] / "masks" / "videos" for method in FORGERY_METHODS},
        ignored=tuple(ignored),
    )


def _mirror_copy(root: Path) -> FfppCopy:
    check_folder_names(root, (*_MIRROR_FOLDERS, "csv"), dataset=DATASET)
    return FfppCopy(
        root=root,
        folders={(name, "c23"): root / name for name in _MIRROR_FOLDERS},
        sizes={DFD: _NUM_DFD_IN_MIRROR},
        listed=_read_mirror_list(root / "csv" / "FF++_Metadata.csv"),
        notes=(f"the mirror has no masks, and none of the originals that {DFD} was made from",),
    )


def _read_mirror_list(path: Path) -> frozenset[str]:
    """Check the mirror's labels against its folders; return the names of DeepFakeDetection."""
    if not path.is_file():
        return frozenset()
    names = set()
    for _, row in read_rows(path, ("File Path", "Label")):
        folder, _, name = row["File Path"].partition("/")
        word = "REAL" if folder == "original" else "FAKE"
        if row["Label"] != word:
            cause = f"labels {row['File Path']} {row['Label'] or None}, but its folder means {word}"
            raise DatasetLayoutError(path, cause, "download the mirror's csv folder again")
        if folder == DFD:
            names.add(Path(name).stem)
    return frozenset(names)


def list_copy(copy: FfppCopy, selection: Selection) -> VideoListing:
    """List the videos that a copy holds and lacks of the selected methods and levels."""
    found = {source: list_files(folder, {".mp4"}) for source, folder in copy.folders.items()}
    sources = _wanted_sources(found, selection.methods)
    levels = _levels_to_read(copy, found, sources, selection.compressions)
    split_of, split_notes = _split_of_identity(copy.root)
    masks = {
        (method, path.stem): path
        for method, folder in copy.masks.items()
        for path in list_files(folder, {".mp4"})
    }
    videos: list[DatasetVideo] = []
    missing: list[DatasetVideo] = []
    ignored = list(copy.ignored)
    num_expected: dict[str, int] = {}
    for name, level in [(name, level) for name in sources for level in levels if (name, level) in found]:
        present = set(found[name, level])
        path_of = {path.stem: path for path in found[name, level]}
        home = copy.folders[name, level]
        paths = [path_of.get(one, home / f"{one}.mp4") for one in _names_of(copy, name, path_of)]
        expected = [_make_video(name, level, path, split_of, masks) for path in paths]
        videos += (video for video in expected if video.path in present)
        missing += (video for video in expected if video.path not in present)
        ignored += sorted(present - {video.path for video in expected})
        num_expected[f"{name} {level}"] = copy.sizes.get(name, len(expected))
    notes = (*copy.notes, *split_notes)
    return VideoListing(tuple(videos), tuple(missing), num_expected, tuple(ignored), notes)


def _wanted_sources(
    found: Mapping[tuple[str, str], Sequence[Path]], methods: Sequence[str] | None
) -> list[str]:
    """Return the pristine sources and methods to read, reals first."""
    if methods is None:
        has_dfd = any(paths for (source, _), paths in found.items() if source in NUM_DFD)
        methods = [method for method in FORGERY_METHODS if method != DFD or has_dfd]
    pristine = ["original"] if any(method != DFD for method in methods) else []
    if DFD in methods:
        pristine.append("actors")
    return pristine + [method for method in FORGERY_METHODS if method in methods]


def _levels_to_read(
    copy: FfppCopy,
    found: Mapping[tuple[str, str], Sequence[Path]],
    sources: Sequence[str],
    wanted: Sequence[str] | None,
) -> list[str]:
    present = [level for level in COMPRESSIONS if any(found.get((name, level)) for name in sources)]
    if not present:
        folders = ", ".join(str(folder) for (name, _), folder in copy.folders.items() if name == sources[-1])
        raise DatasetLayoutError(
            copy.root, f"contains no video of {', '.join(sources)}", f"put videos into one of {folders}"
        )
    for level in wanted or ():
        if level not in present:
            cause = f"contains no {level} video of {', '.join(sources)}"
            raise DatasetLayoutError(copy.root, cause, f"pass {' or '.join(present)} as `compression`")
    return [level for level in present if wanted is None or level in wanted]


def _names_of(copy: FfppCopy, source: str, present: Iterable[str]) -> list[str]:
    if source == "original":
        return sorted(official_split_of_identity())
    if source not in NUM_DFD:
        return _fake_names()
    names = {*present} | (copy.listed if source == DFD else frozenset())
    return sorted(name for name in names if _DFD_NAMES[source].fullmatch(name))


@cache
def _fake_names() -> list[str]:
    pairs = ((first, second) for _, first, second in official_split_pairs())
    return sorted(name for a, b in pairs for name in (f"{a}_{b}", f"{b}_{a}"))


def _make_video(
    source: str,
    level: str,
    path: Path,
    split_of: Mapping[str, str],
    masks: Mapping[tuple[str, str], Path],
) -> DatasetVideo:
    # NNN, <target>_<source>, <actor>__<scene> or <target>_<source>__<scene>__<key>
    name = path.stem
    target, _, origin = name.partition("__")[0].partition("_")
    # Actors are not the people of the numbered videos, and no list gives them a split.
    prefix = "actor" if source in NUM_DFD else ""
    splits = {split_of.get(identity) for identity in (target, origin or target)}
    return new_video(
        DATASET,
        source,
        name,
        path,
        label=FAKE if source in FORGERY_METHODS else REAL,
        split=None if prefix or len(splits) > 1 else splits.pop(),
        compression=level,
        target_id=prefix + target,
        source_id=prefix + origin if origin else None,
        mask_path=masks.get((source, name)),
    )


def _split_of_identity(root: Path) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the split of each identity, from the copy's own files if it has some, and notes."""
    official = official_split_of_identity()
    for folder in (root / "splits", root, root / "dataset" / "splits"):
        files = {split: folder / f"{split}.json" for split in _SPLITS}
        files = {split: path for split, path in files.items() if path.is_file()}
        if files:
            break
    else:
        return official, ()
    found: dict[str, str] = {}
    for split, path in files.items():
        for name in _read_pairs(path):
            if found.setdefault(name, split) != split:
                cause = f"names {name}, as {found[name]}.json does"
                raise DatasetLayoutError(path, cause, "put each identity into one split")
    # The file of a split names all of its identities.
    kept = {n: split for n, split in official.items() if n not in found and split not in files}
    split_of = found | kept
    changed = sum(split_of.get(name) != official.get(name) for name in split_of.keys() | official.keys())
    remarks = []
    if changed:
        remarks.append(f"they differ from the official ones for {changed:,} identities")
    if kept:
        remarks.append(f"the {len(kept):,} identities that they do not name keep their official split")
    note = f"splits are those of {', '.join(path.name for path in files.values())} in {folder}"
    return split_of, (f"{note}: {'; '.join(remarks)}",) if remarks else ()


def _read_pairs(path: Path) -> Iterator[str]:
    """Yield the identities of a split file, a JSON list of pairs such as ``["071", "054"]``."""
    pairs = read_json_list(path)
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        is_pair = isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        if not is_pair:
            cause = f"contains {json.dumps(pair)[:40]} instead of a pair of identities"
            raise DatasetLayoutError(path, cause, "download it again")
        yield from pair


def _mirror_root(root: Path) -> Path | None:
    """Return the folder of the Kaggle mirror in or at ``root``, or ``None`` if there is none."""
    if nearly_named(root, TOP_FOLDERS):
        return None
    for folder in (root, root / _MIRROR_TOP):
        has_list = (folder / "csv" / "FF++_Metadata.csv").is_file()
        if has_list or len(nearly_named(folder, _MIRROR_FOLDERS)) > 1:
            return folder
    return None


def _recognize(root: Path) -> str | None:
    tops = nearly_named(root, TOP_FOLDERS)
    if tops:
        return f"folders of its download script: {', '.join(tops)}"
    mirror = _mirror_root(root)
    if mirror is None:
        return None
    return f"folders of its Kaggle mirror: {', '.join(nearly_named(mirror, (*_MIRROR_FOLDERS, 'csv')))}"


LAYOUT = Layout(
    name="ffpp",
    dataset=DATASET,
    summary="{original,manipulated}_sequences/<source>/<compression>/videos/, or the flat Kaggle mirror",
    label_source="folders: originals are 0, each method's videos 1; the mirror's CSV must agree",
    split_source="official pairs, or train/val/test.json of the copy; none for DeepFakeDetection",
    published="1,000 reals and 5 x 1,000 fakes, 720/140/140 each; DeepFakeDetection 363 and 3,068",
    source="ondyari/FaceForensics, dataset/README.md; arXiv:1901.08971; Kaggle, xdxd003/ff-c23",
    recognize=_recognize,
    list_videos=_list,
    methods=FORGERY_METHODS,
    compressions=COMPRESSIONS,
    is_selecting=True,
)
