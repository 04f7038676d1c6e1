"""Find the faces that are most like a face, by the features of a file.

    deepfake-detect neighbors --features features.h5 --crops face.png --sheet found.png
    deepfake-detect neighbors --features features.h5 --video DFDC/original/aagfhgtpmv
    deepfake-detect neighbors --features features.h5 --precision
    deepfake-detect neighbors --features features.h5 --across-splits 0.95

Features of a network trained on identities find a person again, those of a detector faces with the
same traces. --precision tells how often a person is found again, --across-splits lists faces that look
alike in two splits, and then ends with exit code 1. With faiss installed the search is quicker; the
answers are the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from deepfake_detect.features.feature_file import FeatureFile, FeatureTable

EXIT_ALIKE = 1
_MOST_LISTED = 20
_COUNT = 5
# What has no meaning for a question, and would be passed over without a word.
_NOT_OF = {
    "across_splits": ("split", "method", "count", "weights"),
    "precision": ("sheet", "weights"),
    "video": ("weights",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", type=Path, required=True, metavar="FILE", help="of extract-features")
    parser.add_argument(
        "--weights", metavar="PATH", help="file of the features' network, where it lies elsewhere by now"
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--crops", nargs="+", type=Path, metavar="FILE", help="pictures that are face crops")
    asked.add_argument("--video", metavar="ID", help="video of the file whose faces are looked up")
    asked.add_argument("--precision", action="store_true", help="measure how often a person is found again")
    asked.add_argument(
        "--across-splits", type=float, metavar="COSINE", help="list faces this alike in two splits"
    )
    parser.add_argument("--split", help="rows to search in (default: all)")
    parser.add_argument("--method", help="of the rows to search in (default: all)")
    parser.add_argument("--count", type=int, help=f"nearest faces (default {_COUNT})")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw each face beside those found")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.features.feature_file import FeatureFile

    _refuse_what_is_not_asked(arguments)
    file = FeatureFile(arguments.features)
    if arguments.across_splits is not None:
        return _across(file, arguments)
    table = file.read(arguments.split, arguments.method)
    if table.features.ndim != 2:
        raise OptionError("features", f"{file.path} holds maps, no vectors", "extract without --spatial")
    if arguments.precision:
        return _precision(table, arguments)
    return _look_up(file, table, arguments)


def _refuse_what_is_not_asked(arguments: argparse.Namespace) -> None:
    for question, options in _NOT_OF.items():
        if getattr(arguments, question) in (None, False):
            continue
        for option in options:
            if getattr(arguments, option) is not None:
                cause = f"has no meaning with --{question.replace('_', '-')}"
                raise OptionError(f"--{option}", cause, "leave it out")
    if arguments.count is None:
        arguments.count = _COUNT


def _across(file: FeatureFile, arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from deepfake_detect.features.across import similar_across_splits
    from deepfake_detect.io.files import write_json
    from deepfake_detect.report.duplicates import save_duplicate_sheet

    found = similar_across_splits(file, min_similarity=arguments.across_splits)
    if not found.overlaps:
        print(f"there are not two splits to compare in {file.path}")
    for overlap in found.overlaps:
        print(overlap.sentence() if overlap.count else f"{overlap.first} and {overlap.second}: nothing alike")
    for pair in found.pairs[:_MOST_LISTED]:
        first, second = f"{pair.first_split} {pair.first_path}", f"{pair.second_split} {pair.second_path}"
        print(f"  {pair.likeness:.3f} {first} {second}")
    if arguments.sheet is not None and found.pairs:
        save_duplicate_sheet(found.pairs, file.root, arguments.sheet)
        print(f"wrote {arguments.sheet}")
    if arguments.json is not None:
        write_json(arguments.json, asdict(found))
    return EXIT_ALIKE if found.pairs else 0


def _precision(table: FeatureTable, arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from deepfake_detect.features.neighbors import retrieval_precision
    from deepfake_detect.io.files import write_json

    found = retrieval_precision(table.features, table.identities, count=arguments.count)
    print(
        f"same person within the {found.count} nearest of {len(table):,} faces: {found.hit.text()} of "
        f"{found.num_queries:,} faces whose person has another (by chance {found.chance:.3f}); "
        f"precision {found.precision:.3f}"
    )
    if arguments.json is not None:
        write_json(arguments.json, asdict(found))
    return 0


def _look_up(file: FeatureFile, table: FeatureTable, arguments: argparse.Namespace) -> int:
    from deepfake_detect.features.neighbors import FaceIndex
    from deepfake_detect.io.files import write_json

    names, queries, pictures, own = _queries(file, table, arguments)
    rows, cosines = FaceIndex(table.features).nearest(queries, count=arguments.count, without=own)
    found: list[dict[str, Any]] = []
    for name, nearest, likenesses in zip(names, rows.tolist(), cosines.tolist(), strict=True):
        print(name)
        for row, cosine in zip(nearest, likenesses, strict=True):
            kind = "fake" if table.labels[row] else "real"
            print(f"  {cosine:.3f} {table.video_ids[row]} frame {table.frame_indices[row]} {kind}")
            facts = {"video_id": table.video_ids[row], "path": table.paths[row], "cosine": cosine}
            found.append({"query": name, **facts, "frame_index": int(table.frame_indices[row])})
    if arguments.json is not None:
        write_json(arguments.json, found)
    if arguments.sheet is not None:
        _draw(file, table, pictures, rows, cosines, arguments.sheet)
        print(f"wrote {arguments.sheet}")
    return 0


def _queries(
    file: FeatureFile, table: FeatureTable, arguments: argparse.Namespace
) -> tuple[list[str], np.ndarray, list[Path], np.ndarray | None]:
    """Return names, features and files of the faces asked for, and which rows they are themselves."""
    import numpy as np

    if arguments.crops is not None:
        from deepfake_detect.features.extract import picture_features
        from deepfake_detect.features.extractor import rebuild_extractor

        features = picture_features(
            rebuild_extractor(file.info.source, path=arguments.weights), arguments.crops
        )
        return [str(path) for path in arguments.crops], features, arguments.crops, None
    own = np.flatnonzero(table.video_ids == arguments.video)
    if len(own) == 0:
        raise OptionError("video", f"{file.path} has no row of {arguments.video!r}", "see its video_ids")
    names = [f"{arguments.video} frame {table.frame_indices[row]}" for row in own]
    return names, table.features[own], [file.root / table.paths[row] for row in own], own


def _draw(
    file: FeatureFile,
    table: FeatureTable,
    pictures: list[Path],
    rows: np.ndarray,
    cosines: np.ndarray,
    path: Path,
) -> None:
    """Draw a line for each face: itself, then those found."""
    from deepfake_detect.data.crops import read_crop
    from deepfake_detect.data.sheets import contact_sheet, save_image

    images, captions = [], []
    for picture, nearest, likenesses in zip(pictures, rows, cosines, strict=True):
        images += [read_crop(picture), *(read_crop(file.root / table.paths[row]) for row in nearest)]
        captions += ["asked", *(f"{likeness:.3f}" for likeness in likenesses)]
    save_image(path, contact_sheet(images, captions, num_columns=rows.shape[1] + 1))
