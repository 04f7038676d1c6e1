"""FaceForensics++ (arXiv:1901.08971) as its own script downloads it, with its official split.

    original_sequences/{youtube,actors}/{raw,c0,c23,c40}/videos/*.mp4      label 0
    manipulated_sequences/<method>/{raw,c0,c23,c40}/videos/*.mp4           label 1

Reals of ``youtube`` are ``NNN.mp4``; a fake ``<target>_<source>.mp4`` shows the scene of target
with the face of source. A pair (a, b) of the official split puts reals a and b and fakes a_b and
b_a of every method into its part. DeepFakeDetection (``actors`` and its fakes) has no official
split: its rows have none.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "FaceForensics++"
COMPRESSIONS = ("raw", "c0", "c23", "c40")
FORGERY_METHODS = (
    "Deepfakes",
    "Face2Face",
    "FaceSwap",
    "NeuralTextures",
    "FaceShifter",
    "DeepFakeDetection",
)
_DFD = "DeepFakeDetection"
# Published sizes of DeepFakeDetection, whose names are not listed anywhere.
_NUM_DFD = {"actors": 363, _DFD: 3068}


@dataclass(frozen=True)
class FfppListing:
    """What a FaceForensics++ tree holds of what the dataset has.

    Attributes:
        videos: Videos that are there, reals first, then method by method, sorted by name.
        missing: Videos of the asked methods that are not there (``path`` is where they belong).
        num_expected: Per method and pristine source, how many videos the dataset has.
        ignored: Files and folders that are no part of the dataset.
    """

    videos: tuple[DatasetVideo, ...]
    missing: tuple[DatasetVideo, ...]
    num_expected: dict[str, int]
    ignored: tuple[Path, ...]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return per method and pristine source: (videos there, videos expected)."""
        found = dict.fromkeys(self.num_expected, 0)
        for video in self.videos:
            found[video.method] += 1
        return {method: (found[method], expected) for method, expected in self.num_expected.items()}


@cache
def official_split_pairs() -> tuple[tuple[str, str, str], ...]:
    """Return the official split: (split, identity, identity), 360 + 70 + 70 pairs.

    Example:
        >>> len(official_split_pairs())
        500
    """
    text = resources.files("deepfake_detect.data").joinpath("ffpp_split_pairs.csv").read_text("utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple((split, first, second) for split, first, second in rows)


@cache
def _split_of_identity() -> dict[str, str]:
    return {name: split for split, *pair in official_split_pairs() for name in pair}


def read_ffpp(root: Path, *, compression: str = "c23", methods: Sequence[str] | None = None) -> FfppListing:
    """List the videos of a FaceForensics++ tree, complete or partial.

    Args:
        root: Folder with ``original_sequences`` and ``manipulated_sequences``.
        compression: ``"raw"``, ``"c0"``, ``"c23"`` or ``"c40"``.
        methods: Forgery methods wanted; ``None`` takes the five with an official split, and
            DeepFakeDetection where it is there. Their pristine sources always come along.

    Returns:
        Videos found and missing, with labels, split and identities.

    Raises:
        DatasetLayoutError: The tree is none of FaceForensics++, a folder is misspelt, or it
            holds no video of that compression.
        OptionError: Unknown compression or method.
    """
    if compression not in COMPRESSIONS:
        raise OptionError("compression", f"{compression!r} is unknown", f"choose {', '.join(COMPRESSIONS)}")
    for method in methods or ():
        if method not in FORGERY_METHODS:
            raise OptionError(
                "methods", f"{method!r} is unknown", f"choose from {', '.join(FORGERY_METHODS)}"
            )
    unknown = _check_tree(root)
    sources = _wanted_sources(root, compression, methods)
    expected = [video for source in sources for video in _expected_videos(root, compression, source)]
    by_path = {video.path: video for video in expected}
    present = {path for source in sources for path in _mp4_files(_folder(root, source, compression))}
    if not present:
        _refuse_empty(root, compression, sources)
    num_expected = {
        source: _NUM_DFD.get(source, sum(video.method == source for video in expected)) for source in sources
    }
    return FfppListing(
        videos=tuple(video for video in expected if video.path in present),
        missing=tuple(video for video in expected if video.path not in present),
        num_expected=num_expected,
        ignored=(*unknown, *sorted(present - by_path.keys())),
    )


def _folder(root: Path, source: str, compression: str) -> Path:
    top = "manipulated_sequences" if source in FORGERY_METHODS else "original_sequences"
    # The pristine videos are called by their origin in the tree, "original" in the manifest.
    name = {"original": "youtube"}.get(source, source)
    return root / top / name / compression / "videos"


def _mp4_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))


def _wanted_sources(root: Path, compression: str, methods: Sequence[str] | None) -> list[str]:
    if methods is None:
        has_dfd = any(_mp4_files(_folder(root, source, compression)) for source in ("actors", _DFD))
        methods = [method for method in FORGERY_METHODS if method != _DFD or has_dfd]
    wanted = [method for method in FORGERY_METHODS if method in methods]
    pristine = ["original"] if any(method != _DFD for method in wanted) else []
    if _DFD in wanted:
        pristine.append("actors")
    return pristine + wanted


def _check_tree(root: Path) -> list[Path]:
    """Refuse a tree of another kind or with misspelt folders; return folders of no meaning here."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", "pass the root of the FaceForensics++ download")
    known = {
        "original_sequences": ("youtube", "actors"),
        "manipulated_sequences": FORGERY_METHODS,
    }
    tops = {path.name for path in root.iterdir() if path.is_dir()}
    if not tops & known.keys():
        raise DatasetLayoutError(
            root,
            "holds neither original_sequences nor manipulated_sequences",
            "pass the folder that the FaceForensics++ download script wrote to",
        )
    unknown = []
    for folder, names in [(root, tuple(known)), *((root / top, known[top]) for top in known)]:
        present = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        absent = set(names) - {path.name for path in present}
        for path in present:
            if path.name in names:
                continue
            meant = difflib.get_close_matches(path.name.lower(), [n.lower() for n in absent], n=1, cutoff=0.8)
            if meant:
                right = next(name for name in absent if name.lower() == meant[0])
                raise DatasetLayoutError(path, "is no folder of FaceForensics++", f"rename it to {right}")
            unknown.append(path)
    return [path for path in unknown if path.parent != root]


def _expected_videos(root: Path, compression: str, source: str) -> Iterator[DatasetVideo]:
    folder = _folder(root, source, compression)
    if source in _NUM_DFD:
        for path in _mp4_files(folder):
            yield _dfd_video(path, compression, source)
        return
    for name in sorted(_split_of_identity()) if source == "original" else _fake_names():
        target, _, origin = name.partition("_")
        yield DatasetVideo(
            dataset=DATASET,
            video_id=f"{DATASET}/{source}/{compression}/{name}",
            method=source,
            label=REAL if source == "original" else FAKE,
            split=_split_of_identity()[target],
            compression=compression,
            target_id=target,
            source_id=origin or None,
            path=folder / f"{name}.mp4",
        )


@cache
def _fake_names() -> tuple[str, ...]:
    pairs = ((first, second) for _, first, second in official_split_pairs())
    return tuple(sorted(name for a, b in pairs for name in (f"{a}_{b}", f"{b}_{a}")))


def _dfd_video(path: Path, compression: str, source: str) -> DatasetVideo:
    """Reals are ``<actor>__<scene>``, fakes ``<target>_<source>__<scene>__<8 characters>``."""
    actors = path.stem.split("__")[0]
    target, _, origin = actors.partition("_")
    is_fake = source == _DFD
    return DatasetVideo(
        dataset=DATASET,
        video_id=f"{DATASET}/{source}/{compression}/{path.stem}",
        method=source,
        label=FAKE if is_fake else REAL,
        split=None,
        compression=compression,
        target_id=f"actor{target}",  # actors are other people than the numbered videos
        source_id=f"actor{origin}" if is_fake and origin else None,
        path=path,
    )


def _refuse_empty(root: Path, compression: str, sources: Sequence[str]) -> None:
    others = [
        other for other in COMPRESSIONS if any(_mp4_files(_folder(root, source, other)) for source in sources)
    ]
    remedy = (
        f"pass --compression {others[0]}" if others else f"expected {_folder(root, sources[0], compression)}"
    )
    raise DatasetLayoutError(root, f"holds no {compression} video of {', '.join(sources)}", remedy)
