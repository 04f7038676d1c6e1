"""Compute a network's features for a manifest's crops and write them to an HDF5 file.

    deepfake-detect extract-features --manifest M --backbone facenet --weights vggface2 --out features.h5
    deepfake-detect extract-features --manifest M --detector D --layer blocks.5 --out features.h5

Features of a split and method are under /SPLIT/METHOD: features, labels (1 = fake), video_ids,
frame_indices, track_ids, identities and paths. Run it again on the same or a longer manifest to add the
missing rows; an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.engine import add_engine_arguments, cluster_of
from deepfake_detect.errors import OptionError
from deepfake_detect.features.options import ExtractionOptions, FeatureSource
from deepfake_detect.io.fetch import path_or_url
from deepfake_detect.plurals import counted

_ENGINE = ("engine", "ray_address", "cpus_per_worker", "gpus_per_worker", "workers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=path_or_url, required=True, help="manifest.parquet, path or URL")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="HDF5 file to extend")
    add_options(parser, FeatureSource)
    add_options(parser, ExtractionOptions)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--workers", type=int, help="on Ray: number of workers (default: as many as fit)")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import extract_features

    cluster = cluster_of(arguments, arguments.workers)
    if cluster is None and arguments.workers is not None:
        raise OptionError("workers", "works only with `engine` ray", "set `num_workers`, which reads crops")
    keywords = keywords_of(arguments, FeatureSource, ExtractionOptions)
    done = extract_features(
        **{name: value for name, value in keywords.items() if name not in _ENGINE}, cluster=cluster
    )
    for split, method, num_rows in done.groups:
        print(f"{split} {method}: {counted(num_rows, 'row')}")
    print(f"added {counted(done.num_new, 'row')} to {arguments.out}, {done.num_known:,} were there")
    return 0
