"""Find the faces most similar to a given face, using a feature file.

    deepfake-detect neighbors --features features.h5 --crops face.png --sheet found.png
    deepfake-detect neighbors --features features.h5 --video DFDC/original/aagfhgtpmv
    deepfake-detect neighbors --features features.h5 --precision
    deepfake-detect neighbors --features features.h5 --across-splits 0.95

Features of a face recognition network find other faces of the same person; features of a detector find faces
with similar traces. --precision measures how often the same person is found; --across-splits lists similar
faces in different splits, and the exit code is 1 if there are any. If faiss is installed, the search is
faster, with the same results.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.errors import OptionError
from deepfake_detect.features.options import NeighborOptions

EXIT_SIMILAR = 1
_MOST_LISTED = 20
# Options that have no meaning for a question.
_NOT_OF = {
    "across_splits": ("split", "method", "count", "weights"),
    "precision": ("sheet", "weights"),
    "video": ("weights",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", type=Path, required=True, metavar="FILE", help="feature file")
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--crops", nargs="+", type=Path, metavar="FILE", help="images that are face crops")
    question.add_argument("--video", metavar="ID", help="video whose faces to look up")
    question.add_argument(
        "--precision", action="store_true", help="measure how often the same person is found"
    )
    question.add_argument(
        "--across-splits",
        type=float,
        metavar="COSINE",
        help="list faces at least this similar in different splits",
    )
    add_options(parser, NeighborOptions)
    parser.add_argument(
        "--weights", metavar="PATH", help="file of the network that computed the features, if it was moved"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="PNG", help="write an image that shows each face next to its neighbors"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.io.files import write_json

    given = _given(arguments)
    answer = _across if "across_splits" in given else _precision if "precision" in given else _neighbors
    given.pop("precision", None)
    path = given.pop("json", None)
    found, code = answer(**given)
    if path is not None:
        write_json(path, found)
        note(f"wrote {path}")
    if arguments.sheet is not None and arguments.sheet.is_file():
        note(f"wrote {arguments.sheet}")
    return code


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that were given, by name; those without meaning for the question are errors."""
    keywords = keywords_of(arguments, NeighborOptions)
    given = {name: keywords[name] for name in vars(arguments) if keywords[name] not in (None, False)}
    for question, names in _NOT_OF.items():
        for name in names if question in given else ():
            if name in given:
                raise OptionError(name, f"has no effect with `{question}`", "omit it")
    return given


def _neighbors(**given: Any) -> tuple[Any, int]:
    from deepfake_detect import find_neighbors

    found = find_neighbors(**given)
    query = ""
    for one in found:
        if one.query != query:
            print(query := one.query)
        kind = "fake" if one.label else "real"
        print(f"  {one.cosine:.3f} {one.video_id} frame {one.frame_index} {kind}")
    return [asdict(one) for one in found], 0


def _precision(**given: Any) -> tuple[Any, int]:
    from deepfake_detect import measure_retrieval

    found = measure_retrieval(**given)
    print(
        f"same person within the {found.count} nearest faces: {found.hit.text()} of {found.num_queries:,} "
        f"faces whose person has another (by chance {found.chance:.3f}); precision {found.precision:.3f}"
    )
    return asdict(found), 0


def _across(*, features: Path, across_splits: float, sheet: Path | None = None) -> tuple[Any, int]:
    from deepfake_detect import similar_across_splits

    found = similar_across_splits(features, min_similarity=across_splits, sheet=sheet)
    if not found.overlaps:
        print(f"there are fewer than two splits to compare in {features}")
    for overlap in found.overlaps:
        nothing = f"{overlap.first} and {overlap.second}: no similar faces"
        print(overlap.sentence() if overlap.count else nothing)
    for pair in found.pairs[:_MOST_LISTED]:
        first, second = f"{pair.first_split} {pair.first_path}", f"{pair.second_split} {pair.second_path}"
        print(f"  {pair.likeness:.3f} {first} {second}")
    return asdict(found), EXIT_SIMILAR if found.pairs else 0
