"""Keep what a network makes of a manifest's crops in an HDF5 file.

    deepfake-detect extract-features --manifest M --backbone facenet --weights vggface2 --out features.h5
    deepfake-detect extract-features --manifest M --detector D --layer blocks.5 --out features.h5

Features of a split and method are under /SPLIT/METHOD: features, labels (1 = fake), video_ids,
frame_indices, track_ids, identities and paths. Run again, on the same manifest or a longer one, it
adds the rows that are missing; a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.engine import add_engine_arguments, cluster_of, device_of
from deepfake_detect.errors import OptionError
from deepfake_detect.io.fetch import path_or_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=path_or_url, required=True, help="manifest.parquet, path or URL")
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--backbone", help="name of a network, see 'deepfake-detect models'")
    network.add_argument("--detector", metavar="PATH", help="detector.safetensors, whose network is taken")
    parser.add_argument("--weights", help="of the backbone: a file or a published name (default: random)")
    parser.add_argument("--layer", metavar="NAME", help="layer to take (default: the encoder's output)")
    parser.add_argument(
        "--spatial", action="store_true", help="keep maps as they are (default: their mean over all places)"
    )
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="HDF5 file to write or extend"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="crops at a time (default 32)")
    parser.add_argument("--num-workers", type=int, help="processes that read crops (default: cores)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--workers", type=int, help="on Ray: workers in all (default: as many as have room)")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.data.fetched import local_manifest
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.features.extract import extract_features
    from deepfake_detect.features.extractor import FeatureSource, build_extractor
    from deepfake_detect.features.feature_file import FeatureFile

    cluster = cluster_of(arguments, arguments.workers)
    if cluster is None and arguments.workers is not None:
        raise OptionError(
            "--workers", "is for --engine ray", "pass --num-workers for processes that read crops"
        )
    rows = read_manifest(local_manifest(arguments.manifest))
    rows = rows if arguments.where is None else rows.where(arguments.where)
    fields = ("backbone", "weights", "detector", "layer")
    source = FeatureSource(
        **{name: getattr(arguments, name) for name in fields}, is_spatial=arguments.spatial
    )
    done = extract_features(
        rows,
        build_extractor(source),
        arguments.out,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        device=device_of(arguments),
        cluster=cluster,
    )
    for split, method, num_rows in FeatureFile(arguments.out).groups:
        print(f"{split} {method}: {num_rows:,} rows")
    print(f"added {done.num_new:,} rows to {arguments.out}, {done.num_known:,} were there")
    return 0
