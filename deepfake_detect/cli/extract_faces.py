"""Cut the faces out of a dataset's videos and write a manifest.

Leaves the crops, manifest.parquet (a row per crop), failures.csv (videos that gave none) and
missing.csv (videos of the dataset that are not in ROOT) in the output folder. Running it again
does only what is missing. Exit code 2 when videos could not be read; the others are done.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.engine import add_engine_arguments, cluster_of, device_of
from deepfake_detect.cli.places import listed_below, local_places, place
from deepfake_detect.data.datasets import read_dataset
from deepfake_detect.data.failures import missing_path, read_failures, write_failures
from deepfake_detect.data.index import read_index
from deepfake_detect.data.layouts import recognize_layout
from deepfake_detect.data.manifest import MANIFEST_NAME
from deepfake_detect.data.options import ReadingOptions
from deepfake_detect.errors import OptionError
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.io.files import make_folder
from deepfake_detect.options import option_fields
from deepfake_detect.records import DatasetVideo

if TYPE_CHECKING:
    from deepfake_detect.extraction.remote import Remote

_MAX_NAMED_FAILURES = 10
# Datasets that come in several compressions of the same videos: the one most papers train on.
_COMPRESSED_KINDS = ("ffpp", "dfd")
_DEFAULT_COMPRESSION = "c23"
_PERSON_OF_TRACKS = {"main": "largest", "all": "all"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root",
        type=place,
        help="the dataset as downloaded, its URL, a CSV file, or an index of videos (.parquet)",
    )
    parser.add_argument("--out", type=place, required=True, help="folder for crops and manifest, or its URL")
    add_options(parser, ReadingOptions)
    parser.add_argument("--where", metavar="EXPR", help="of an index: condition that videos fulfil")
    parser.add_argument(
        "--workers",
        dest="num_workers",
        type=int,
        help="videos at the same time: processes, or threads on a GPU (default: cores, at most 8); "
        "on Ray: workers in all (default: as many as there is room for)",
    )
    add_engine_arguments(parser)
    person = parser.add_mutually_exclusive_group()
    others = {field.name for field in option_fields(ExtractionConfig)} - {"person"}
    add_options(person, ExtractionConfig, leave_out=others)
    person.add_argument(
        "--tracks", choices=list(_PERSON_OF_TRACKS), help="main: as --person largest; all: as --person all"
    )
    add_options(parser, ExtractionConfig, leave_out={"person"})
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    with local_places(arguments) as remote:
        return _run(arguments, remote)


def _run(arguments: argparse.Namespace, remote: Remote) -> int:
    from deepfake_detect.extraction import extract_dataset

    if arguments.tracks is not None:
        arguments.person = _PERSON_OF_TRACKS[arguments.tracks]
    config = options_of(ExtractionConfig, arguments)
    videos = listed_below(_videos(arguments), arguments.root, remote)
    report = extract_dataset(
        videos,
        arguments.out,
        config,
        num_workers=_num_workers(arguments),
        device=device_of(arguments),
        cluster=cluster_of(arguments, arguments.num_workers),
        remote=remote,
    )
    out = arguments.out if remote.out is None else remote.out.url
    print(
        f"{report.num_extracted} videos extracted, {report.num_done_before} done before, "
        f"{report.num_without_face} without a face, {report.num_failed} failed; "
        f"{report.num_crops} crops in {out}/{MANIFEST_NAME}"
    )
    if report.num_without_mask:
        print(
            f"the masks of {report.num_without_mask} videos could not be used, so the largest person was "
            "kept (person_choice in the manifest)"
        )
    for path, message in report.failures[:_MAX_NAMED_FAILURES]:
        print(f"error: {path}: {message}", file=sys.stderr)
    if report.num_failed > _MAX_NAMED_FAILURES:
        print(f"... all {report.num_failed} are in {out}/failures.csv", file=sys.stderr)
    return 2 if report.num_failed else 0


def _num_workers(arguments: argparse.Namespace) -> int:
    given: int | None = arguments.num_workers
    return min(8, os.cpu_count() or 1) if given is None else given


def _videos(arguments: argparse.Namespace) -> Sequence[DatasetVideo]:
    """Return the videos of an index or of a dataset, and print what of the dataset is present."""
    if arguments.root.suffix == ".parquet":
        for field in option_fields(ReadingOptions):
            if hasattr(arguments, field.name):
                raise OptionError(field.name, "is for a dataset's folder, not for an index", "leave it out")
        index = read_index(arguments.root)
        chosen = index if arguments.where is None else index.where(arguments.where)
        make_folder(arguments.out)
        # What the dataset lacks counts against coverage, whichever way its videos came here.
        write_failures(missing_path(arguments.out / MANIFEST_NAME), read_failures(chosen))
        return chosen.videos()
    if arguments.where is not None:
        raise OptionError("where", "is for an index of videos", "write one first with index_dataset")
    options = options_of(ReadingOptions, arguments)
    layout = options.dataset or recognize_layout(arguments.root)[0].name
    if options.compression is None and layout in _COMPRESSED_KINDS:
        options = replace(options, compression=(_DEFAULT_COMPRESSION,))
    report = read_dataset(arguments.root, options, missing=missing_path(arguments.out / MANIFEST_NAME))
    make_folder(arguments.out)
    print("\n".join(report.lines()))
    return report.videos
