"""Cut the faces out of a dataset's videos and write a manifest.

Leaves the crops, manifest.parquet (a row per crop), failures.csv (videos that gave none) and
missing.csv (videos of the dataset that are not in ROOT) in the output folder. Running it again
does only what is missing. Exit code 2 when videos could not be read; the others are done.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

from deepfake_detect.data.ffpp import COMPRESSIONS, FORGERY_METHODS, FfppListing, read_ffpp
from deepfake_detect.errors import OptionError
from deepfake_detect.files import atomic_path
from deepfake_detect.records import CropGeometry

_MAX_NAMED_FAILURES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, help="the dataset as downloaded")
    parser.add_argument("--dataset", choices=["ffpp"], required=True, help="layout of ROOT")
    parser.add_argument("--out", type=Path, required=True, help="folder for crops and manifest")
    parser.add_argument("--frames", type=int, default=32, help="evenly spaced frames a video (default 32)")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="c23", help="(default c23)")
    parser.add_argument(
        "--methods",
        nargs="+",
        type=_split_commas,
        metavar="METHOD",
        help=f"forgery methods, of {', '.join(FORGERY_METHODS)} (default: all); their reals come along",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="processes (default: cores, at most 8)",
    )
    parser.add_argument("--margin", type=float, default=1.3, help="crop side over face box (default 1.3)")
    parser.add_argument("--align", action="store_true", help="turn each face upright by its landmarks")
    parser.add_argument(
        "--min-face", type=float, help="smallest face looked for, in pixels (default: a twelfth of the frame)"
    )
    parser.add_argument(
        "--tracks",
        choices=["main", "all"],
        default="main",
        help="main: the person seen largest and longest, whom the label is about (default); all: everybody",
    )
    parser.add_argument("--allow-truncated", action="store_true", help="use what is left of truncated videos")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def _split_commas(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.device import choose_device
    from deepfake_detect.extraction import ExtractionConfig, extract_dataset

    methods = None
    if arguments.methods is not None:
        methods = [name for names in arguments.methods for name in names]
        if not methods:
            raise OptionError("methods", "names none", "name at least one, or leave it out")
    listing = read_ffpp(arguments.root, compression=arguments.compression, methods=methods)
    _print_listing(listing, arguments.compression)
    config = ExtractionConfig(
        num_frames=arguments.frames,
        geometry=CropGeometry(margin=arguments.margin, aligned=arguments.align),
        min_face=arguments.min_face,
        tracks=arguments.tracks,
        allow_truncated=arguments.allow_truncated,
    )
    report = extract_dataset(
        listing.videos,
        arguments.out,
        config,
        num_workers=arguments.workers,
        device=str(choose_device(arguments.device)),
    )
    _write_missing(listing, arguments.out / "missing.csv")
    print(
        f"{report.num_extracted} videos extracted, {report.num_done_before} done before, "
        f"{report.num_without_face} without a face, {report.num_failed} failed; "
        f"{report.num_crops} crops in {arguments.out / 'manifest.parquet'}"
    )
    for path, message in report.failures[:_MAX_NAMED_FAILURES]:
        print(f"error: {path}: {message}", file=sys.stderr)
    if report.num_failed > _MAX_NAMED_FAILURES:
        print(f"... all {report.num_failed} are in {arguments.out / 'failures.csv'}", file=sys.stderr)
    return 2 if report.num_failed else 0


def _print_listing(listing: FfppListing, compression: str) -> None:
    for source, (found, expected) in listing.counts().items():
        print(f"{source} {compression}: found {found} of {expected:,} videos")
    for path in listing.ignored:
        print(f"ignored, no part of FaceForensics++: {path}")


def _write_missing(listing: FfppListing, path: Path) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "split", "path"])
        writer.writerows((video.video_id, video.split, video.path) for video in listing.missing)
    if listing.missing:
        print(f"{len(listing.missing):,} videos of the dataset are not there: listed in {path}")
