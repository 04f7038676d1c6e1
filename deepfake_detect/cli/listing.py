"""What the commands that read a dataset share: their options, and words about what is there."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deepfake_detect.data.failures import write_missing
from deepfake_detect.data.layouts import LAYOUTS, ReadOptions, VideoListing, read_dataset
from deepfake_detect.data.layouts.base import group_name
from deepfake_detect.data.splits import (
    DEFAULT_SHARES,
    SPLIT_POLICIES,
    SplitAssignment,
    assign_splits,
)
from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE, DatasetVideo

_MAX_NAMED = 5
_READING_DEFAULTS = {
    "kind": None,
    "methods": None,
    "compression": None,
    "fake_label": None,
    "split": "auto",
    "shares": DEFAULT_SHARES,
    "val_fraction": 0.0,
    "split_seed": 0,
}


def add_reading_arguments(parser: argparse.ArgumentParser, *, kind_flags: Sequence[str]) -> None:
    """Add the options of what to read of a tree and how to split it."""
    parser.add_argument(
        *kind_flags,
        dest="kind",
        choices=list(LAYOUTS),
        metavar="KIND",
        help=f"layout of ROOT, one of: {', '.join(LAYOUTS)} (default: recognized from the tree)",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        type=_split_commas,
        metavar="METHOD",
        help="forgery methods (default: all); their reals come along",
    )
    parser.add_argument(
        "--compression",
        nargs="+",
        type=_split_commas,
        metavar="LEVEL",
        help="compression levels, such as c23 (default: all that are there)",
    )
    parser.add_argument("--fake-label", help="for a CSV: the value that means fake, if not 'fake' or 1")
    parser.add_argument(
        "--split",
        choices=SPLIT_POLICIES,
        default=_READING_DEFAULTS["split"],
        help="auto: official splits, and videos without one divided so that no person is in two (default); "
        "official: nothing but official ones; identity: everything divided anew",
    )
    parser.add_argument(
        "--shares",
        nargs=3,
        type=float,
        default=DEFAULT_SHARES,
        metavar=("TRAIN", "VAL", "TEST"),
        help=f"of what is divided here (default {' '.join(map(str, DEFAULT_SHARES))})",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        help="share of an official train split to set apart as val, where there is no val (default 0)",
    )
    parser.add_argument("--split-seed", type=int, default=0, help="of the division (default 0)")


def refuse_reading_arguments(arguments: argparse.Namespace) -> None:
    """Refuse the options of :func:`add_reading_arguments` where an index has settled them already.

    Raises:
        OptionError: One of them was given.
    """
    for name, default in _READING_DEFAULTS.items():
        if getattr(arguments, name) != default:
            option = f"--{name.replace('_', '-')}".replace("--kind", "--dataset")
            raise OptionError(option, "is for a dataset's folder, not for an index", "leave it out")


def read_listing(arguments: argparse.Namespace) -> tuple[str, VideoListing, SplitAssignment]:
    """Read the tree the arguments name and split it; return its kind, the listing and the videos."""
    options = ReadOptions(
        methods=_flat(arguments.methods, "methods"),
        compressions=_flat(arguments.compression, "compression"),
        fake_label=arguments.fake_label,
    )
    layout, evidence, listing = read_dataset(arguments.root, kind=arguments.kind, options=options)
    print(f"{layout.dataset} (--kind {layout.kind}): {evidence}")
    assignment = assign_splits(
        listing.videos,
        policy=arguments.split,
        shares=arguments.shares,
        val_fraction=arguments.val_fraction,
        seed=arguments.split_seed,
    )
    return layout.kind, listing, assignment


def print_listing(listing: VideoListing, missing_path: Path) -> None:
    """Tell what is there of what the dataset has; write the list of what is not."""
    _write_missing(listing.missing, missing_path)
    missing = Counter(group_name(video) for video in listing.missing)
    for group, (found, expected) in listing.counts().items():
        where = f"; missing list in {missing_path}" if missing[group] else ""
        of = "" if expected is None else f" of {expected:,}"
        print(f"found {found:,}{of} {group} videos{where}")
    named = ", ".join(str(path) for path in listing.ignored[:_MAX_NAMED])
    if listing.ignored:
        more = ", ..." if len(listing.ignored) > _MAX_NAMED else ""
        print(f"ignored, no part of the dataset: {len(listing.ignored):,} ({named}{more})")
    for note in listing.notes:
        print(note)


def print_splits(assignment: SplitAssignment) -> None:
    """Tell how the videos are divided."""
    counts = Counter((video.split or "no split", video.label) for video in assignment.videos)
    for split in ("train", "val", "test", "no split"):
        fakes = counts[split, FAKE]
        reals = sum(n for (name, _), n in counts.items() if name == split) - fakes
        if fakes or reals:
            print(f"{split}: {reals:,} real, {fakes:,} fake")
    for note in assignment.notes:
        print(note)
    print(f"splits sha256 {assignment.sha256}")


def _write_missing(videos: Sequence[DatasetVideo], path: Path) -> None:
    if not videos:
        path.unlink(missing_ok=True)  # of an earlier, less complete tree
        return
    write_missing(path, videos)


def _split_commas(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _flat(values: list[list[str]] | None, option: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    names = tuple(name for group in values for name in group)
    if not names:
        raise OptionError(option, "names none", "name at least one, or leave it out")
    return names
