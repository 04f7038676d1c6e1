"""Extract the faces of a dataset's videos and write a manifest of the crops.

Writes the crops, manifest.parquet (one row per crop), failures.csv (videos without crops) and
missing.csv (videos of the dataset that are not in ROOT) into the output folder. Running it again
processes only what is missing. The exit code is 2 if videos could not be read; the others are
still processed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.engine import add_engine_arguments, cluster_of
from deepfake_detect.data.options import ReadingOptions
from deepfake_detect.extraction.config import ExtractionConfig, RunOptions
from deepfake_detect.options import option_fields
from deepfake_detect.video.limits import DecodingLimits

if TYPE_CHECKING:
    from deepfake_detect.extraction import ExtractionReport

# The options that --help shows.
_SHOWN = {
    "split",
    "dataset",
    "methods",
    "num_workers",
    "device",
    "person",
    "num_frames",
    "margin",
}
_PERSON_OF_TRACKS = {"main": "largest", "all": "all"}


def _place(text: str) -> Path | str:
    from deepfake_detect.io.fetch import path_or_url  # which loads more than --help needs

    return path_or_url(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root",
        type=_place,
        help=("folder of the dataset, a URL, a CSV file, or an index of videos (.parquet)"),
    )
    parser.add_argument(
        "--out", type=_place, required=True, help="folder or URL for the crops and the manifest"
    )
    add_options(parser, ReadingOptions, shown=_SHOWN)
    add_options(parser, RunOptions, shown=_SHOWN)
    add_engine_arguments(parser)
    person = parser.add_mutually_exclusive_group()
    others = {field.name for field in option_fields(ExtractionConfig)} - {"person"}
    add_options(person, ExtractionConfig, leave_out=others)
    person.add_argument(
        "--tracks", choices=list(_PERSON_OF_TRACKS), help="main: same as --person largest; all: --person all"
    )
    add_options(parser, ExtractionConfig, leave_out={"person"}, shown=_SHOWN)
    add_options(parser, DecodingLimits, shown=set())


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.extraction import extract_faces

    report = extract_faces(
        arguments.root,
        arguments.out,
        options_of(ExtractionConfig, arguments, **_person(arguments)),
        reading=options_of(ReadingOptions, arguments),
        **vars(options_of(RunOptions, arguments)),
        limits=options_of(DecodingLimits, arguments),
        cluster=cluster_of(arguments, None),
        on_dataset=lambda dataset: print("\n".join(dataset.lines())),
    )
    return _print_report(report)


def _person(arguments: argparse.Namespace) -> dict[str, str]:
    return {} if arguments.tracks is None else {"person": _PERSON_OF_TRACKS[arguments.tracks]}


def _print_report(report: ExtractionReport) -> int:
    print("\n".join(report.lines()))
    sys.stderr.writelines(f"{line}\n" for line in report.failure_lines())
    return 2 if report.num_failed else 0
