"""The same person under two names, found by the faces of a manifest's reals.

FaceForensics++, for example, numbers its videos, and some people have two numbers: a split by number
then has them on both sides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.audit_report import SamePeople
from deepfake_detect.data.crops import CropDataset, collate_readable
from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.options import MIN_PERSON_SIMILARITY
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.features.neighbors import unit_vectors
from deepfake_detect.models.backbones import inner_network
from deepfake_detect.models.classifier import create_model
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import REAL, CropGeometry

_GEOMETRY = CropGeometry(margin=1.2)
_FACES_PER_PERSON = 6
_BATCH_SIZE = 32


def find_same_people(
    manifest: Manifest,
    *,
    weights: str,
    min_similarity: float = MIN_PERSON_SIMILARITY,
    show_progress: bool = True,
) -> tuple[SamePeople, ...]:
    """Find identities of a manifest that look like one person.

    Up to six real crops of each identity, spread over its videos, are embedded with FaceNet (Schroff
    et al. 2015, arXiv:1503.03832), and the means of the embeddings are compared.

    Args:
        manifest: Crops with a margin of 1.2 or more.
        weights: Of FaceNet: a file of ``convert_checkpoint``, or ``"vggface2"`` or ``"casia-webface"``,
            which are downloaded once.
        min_similarity: Cosine from which two identities look like one person, above -1, to 1.
        show_progress: Whether to show a progress bar.

    Returns:
        The pairs, most similar first.

    Raises:
        OptionError: ``min_similarity`` is out of range, or the crops have a smaller margin.
        ManifestError: Fewer than two identities have a readable real crop.
        WeightsError: The weights cannot be read, or are of another network.

    Example:
        >>> manifest = read_manifest("crops/manifest.parquet")  # doctest: +SKIP
        >>> find_same_people(manifest, weights="vggface2")[0].second  # doctest: +SKIP
        'FaceForensics++:986'
    """
    if not -1 < min_similarity <= 1:
        raise OptionError("min_similarity", f"is {min_similarity}", "must be above -1 and at most 1")
    model = create_model("facenet", weights=weights).eval()
    # The published network has no ReLU behind its embedding, the forgery backbone has.
    network = inner_network(model.encoder)
    columns = manifest.columns(["dataset", "target_id", "video_id", "label", "split"]).to_pydict()
    chosen = _chosen_rows(columns)
    crops = CropDataset(manifest, model.spec.preprocessing, geometry=_GEOMETRY)
    order = [row for rows in chosen.values() for row in rows]
    faces: dict[int, np.ndarray] = {}
    with progress_bar(enabled=show_progress) as progress, torch.inference_mode():
        task = progress.add_task("people", total=len(order), note="")
        for rows in _batches(order):
            batch = collate_readable([crops[row] for row in rows])
            if len(batch.rows):
                embedded = network(batch.images).float().numpy()
                faces |= dict(zip(batch.rows.tolist(), unit_vectors(embedded), strict=True))
            progress.advance(task, len(rows))
    means = {name: np.mean(found, axis=0) for name, rows in chosen.items() if (found := _of(faces, rows))}
    if len(means) < 2:
        raise ManifestError(
            manifest.path, "has fewer than two people with readable reals", "audit without people"
        )
    splits = {name: sorted({columns["split"][row] or "" for row in rows}) for name, rows in chosen.items()}
    return _similar(means, splits, min_similarity)


def _chosen_rows(columns: dict[str, list[Any]]) -> dict[str, list[int]]:
    """Return up to six rows of real crops per identity, evenly spaced."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (dataset, target, label) in enumerate(
        zip(columns["dataset"], columns["target_id"], columns["label"], strict=True)
    ):
        if label == REAL and target:
            rows[identity_key(dataset, target)].append(row)
    return {name: found[:: -(-len(found) // _FACES_PER_PERSON)] for name, found in sorted(rows.items())}


def _batches(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _BATCH_SIZE] for start in range(0, len(rows), _BATCH_SIZE))


def _of(faces: dict[int, np.ndarray], rows: Sequence[int]) -> list[np.ndarray]:
    return [faces[row] for row in rows if row in faces]


def _similar(
    means: dict[str, np.ndarray], splits: dict[str, list[str]], min_similarity: float
) -> tuple[SamePeople, ...]:
    names, units = list(means), unit_vectors(np.stack(list(means.values())))
    cosines = np.triu(units @ units.T, k=1)
    found = [
        SamePeople(
            names[first],
            names[second],
            round(float(cosines[first, second]), 4),
            tuple(splits[names[first]]),
            tuple(splits[names[second]]),
        )
        for first, second in np.argwhere(cosines >= min_similarity).tolist()
        if first < second
    ]
    return tuple(sorted(found, key=lambda pair: -pair.similarity))
