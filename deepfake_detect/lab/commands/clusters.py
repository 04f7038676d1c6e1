"""Group like faces, and draw all of them on a map to zoom into.

    deepfake-detect clusters --features features.h5 --out map.html

The page needs no other file and no network: thumbnails are in it. It is colored by cluster, label,
split, method or person. Of t-SNE and UMAP only nearness means something, no distance between groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from deepfake_detect.features.feature_file import FeatureTable

_MOST_LISTED = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features", nargs="+", type=Path, required=True, metavar="FILE", help="of extract-features, alike"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="HTML", help="page to write")
    parser.add_argument("--split", help="rows to take (default: all)")
    parser.add_argument("--method", help="of the rows to take (default: all)")
    parser.add_argument(
        "--cluster", default="kmeans", help="kmeans, or hdbscan, which leaves faces out (default kmeans)"
    )
    parser.add_argument("--num-clusters", type=int, default=8, help="of kmeans (default 8)")
    parser.add_argument("--min-size", type=int, default=5, help="fewest faces of one of hdbscan (default 5)")
    parser.add_argument("--projection", default="tsne", help="pca, tsne or umap (default tsne)")
    parser.add_argument("--most", type=int, default=5000, help="faces drawn by lot of more (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default 0)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.io.files import make_folder
    from deepfake_detect.lab.clusters import cluster_faces, project_faces
    from deepfake_detect.lab.face_map import read_thumbnails, write_face_map

    make_folder(arguments.out.parent)
    table = _rows(arguments)
    clusters = cluster_faces(
        table.features,
        method=arguments.cluster,
        num_clusters=arguments.num_clusters,
        min_size=arguments.min_size,
        seed=arguments.seed,
    )
    for line in _cluster_lines(table, clusters):
        print(line)
    places = project_faces(table.features, method=arguments.projection, seed=arguments.seed)
    columns = {
        "cluster": ["none" if one < 0 else str(one) for one in clusters],
        "label": ["fake" if label else "real" for label in table.labels],
        "split": table.splits.tolist(),
        "method": table.methods.tolist(),
        "person": table.identities.tolist(),
        "video": table.video_ids.tolist(),
    }
    note = f"{arguments.projection} of features, clusters by {arguments.cluster}; seed {arguments.seed}"
    thumbnails = read_thumbnails(Path("."), table.paths.tolist())
    write_face_map(arguments.out, places, thumbnails, columns, title=f"{len(table):,} faces", note=note)
    print(f"wrote {arguments.out}")
    return 0


def _rows(arguments: argparse.Namespace) -> FeatureTable:
    """Return the rows of all files, at most so many, with paths that are no longer relative to the files."""
    from dataclasses import replace

    import numpy as np

    from deepfake_detect.features.feature_file import FeatureFile, concatenate
    from deepfake_detect.lab.face_map import MAX_FACES

    files = [FeatureFile(path) for path in arguments.features]
    kinds = {
        (one.source["weights_sha256"], one.source["layer"], one.feature_shape)
        for one in (file.info for file in files)
    }
    if len(kinds) > 1 or len(files[0].info.feature_shape) != 1:
        raise OptionError(
            "features", "are of several networks or layers, or maps", "pass pooled files of one network"
        )
    if not 3 <= arguments.most <= MAX_FACES:
        raise OptionError("most", f"is {arguments.most}", f"pass 3 to {MAX_FACES:,}")
    chosen = (arguments.split, arguments.method)
    num_rows = sum(group.num_rows for file in files for group in file.choose(*chosen))
    drawn = np.arange(num_rows)
    if num_rows > arguments.most:
        lot = np.random.default_rng(arguments.seed)
        drawn = np.sort(lot.choice(num_rows, arguments.most, replace=False))
    # Part by part: a file may be larger than memory, what is drawn is not.
    tables, first = [], 0
    for file in files:
        for batch in file.batches(*chosen):
            taken = batch.take(drawn[(drawn >= first) & (drawn < first + len(batch))] - first)
            paths = np.array([str(file.root / path) for path in taken.paths], dtype=object)
            tables.append(replace(taken, paths=paths))
            first += len(batch)
    return concatenate(tables)


def _cluster_lines(table: FeatureTable, clusters: np.ndarray) -> list[str]:
    """Return a line for each of the largest clusters."""
    import numpy as np

    lines = []
    numbers = np.unique(clusters)
    for number in numbers[:_MOST_LISTED]:
        rows = clusters == number
        methods, counts = np.unique(table.methods[rows].astype(str), return_counts=True)
        num_people = len(set(table.identities[rows]) - {""})
        people = f"{num_people:,} known people" if num_people else "nobody known"
        name = "in no cluster" if number < 0 else f"cluster {number}"
        lines.append(
            f"{name}: {rows.sum():,} faces of {people}, {table.labels[rows].mean():.0%} fake, "
            f"mostly {methods[counts.argmax()]}"
        )
    if len(numbers) > _MOST_LISTED:
        lines.append(f"and {len(numbers) - _MOST_LISTED:,} clusters more")
    return lines
