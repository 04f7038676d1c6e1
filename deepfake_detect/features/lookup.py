"""``find_neighbors`` and ``measure_retrieval``: questions to a feature file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.errors import OptionError
from deepfake_detect.features.extract import image_features
from deepfake_detect.features.extractor import rebuild_extractor
from deepfake_detect.features.feature_file import FeatureFile, FeatureTable
from deepfake_detect.features.neighbors import FaceIndex, RetrievalPrecision, retrieval_precision
from deepfake_detect.features.options import NeighborOptions


@dataclass(frozen=True)
class Neighbor:
    """A face of a feature file that is similar to a query.

    Attributes:
        query: The crop, or video and frame, that was looked up.
        video_id, frame_index, path: The face, its path relative to the file.
        label: 1 for fake, 0 for real.
        cosine: Similarity, -1 to 1.
    """

    query: str
    video_id: str
    frame_index: int
    path: str
    label: int
    cosine: float


def find_neighbors(
    features: str | os.PathLike[str],
    *,
    crops: Sequence[str | os.PathLike[str]] | None = None,
    video: str | None = None,
    split: str | None = NeighborOptions.split,
    method: str | None = NeighborOptions.method,
    count: int = NeighborOptions.count,
    weights: str | None = None,
    sheet: str | os.PathLike[str] | None = None,
) -> list[Neighbor]:
    """Find the faces most similar to crops, or to the faces of a video of the file.

    Args:
        features: Feature file, of :func:`extract_features`.
        crops: Images that are face crops.
        video: Id of a video of the file; a face is not its own neighbor.
        split, method, count: See :class:`features.options.NeighborOptions`.
        weights: Where the weights, or the detector, of the features' network are now, if moved.
        sheet: PNG to write: each query next to the faces found.

    Returns:
        ``count`` per query, in order, nearest first.

    Raises:
        OptionError: Neither or both of ``crops`` and ``video``; the file holds maps, or no face of the
            video; ``count`` is out of range.
        ManifestError, CheckpointError, WeightsError: A file cannot be read.
    """
    options = NeighborOptions(split, method, count)
    if (crops is None) == (video is None):
        raise OptionError("crops", "and `video` cannot be combined", "pass exactly one of them")
    file, table = _searched(features, options)
    own = None if video is None else np.flatnonzero(table.video_ids == video)
    if own is None:
        paths = [Path(path) for path in crops or ()]
        names = [str(path) for path in paths]
        vectors = image_features(rebuild_extractor(file.info.source, path=weights), paths)
    elif len(own) == 0:
        raise OptionError("video", f"{file.path} has no row of {video!r}", "see its video_ids")
    else:
        paths = [file.root / table.paths[row] for row in own]
        names = [f"{video} frame {table.frame_indices[row]}" for row in own]
        vectors = table.features[own]
    rows, cosines = FaceIndex(table.features).nearest(vectors, count=count, without=own)
    if sheet is not None:
        images, captions = [], []
        for query, nearest, similar in zip(paths, rows, cosines, strict=True):
            images += [read_crop(query), *(read_crop(file.root / table.paths[row]) for row in nearest)]
            captions += ["query", *(f"{cosine:.3f}" for cosine in similar)]
        save_image(Path(sheet), contact_sheet(images, captions, num_columns=rows.shape[1] + 1))
    return [
        Neighbor(
            query=query,
            video_id=str(table.video_ids[row]),
            frame_index=int(table.frame_indices[row]),
            path=str(table.paths[row]),
            label=int(table.labels[row]),
            cosine=cosine,
        )
        for query, nearest, similar in zip(names, rows.tolist(), cosines.tolist(), strict=True)
        for row, cosine in zip(nearest, similar, strict=True)
    ]


def measure_retrieval(
    features: str | os.PathLike[str],
    *,
    split: str | None = NeighborOptions.split,
    method: str | None = NeighborOptions.method,
    count: int = NeighborOptions.count,
) -> RetrievalPrecision:
    """Measure how often the nearest faces of a face show the same person.

    Args:
        features: Feature file, of :func:`extract_features`.
        split, method, count: See :class:`features.options.NeighborOptions`.

    Raises:
        OptionError: The file holds maps, no person has two faces, or ``count`` is out of range.
        ManifestError: The file cannot be read.
    """
    _, table = _searched(features, NeighborOptions(split, method, count))
    return retrieval_precision(table.features, table.identities, count=count)


def _searched(features: str | os.PathLike[str], options: NeighborOptions) -> tuple[FeatureFile, FeatureTable]:
    file = FeatureFile(Path(features))
    table = file.read(options.split, options.method)
    if table.features.ndim != 2:
        cause = f"{file.path} contains maps, not vectors"
        raise OptionError("features", cause, "extract them with `is_spatial` off")
    return file, table
