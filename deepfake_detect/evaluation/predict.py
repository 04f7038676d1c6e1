"""A detector on the crops of a manifest: what :func:`evaluate_scores` needs."""

from __future__ import annotations

import csv
import os
import warnings
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from deepfake_detect.data.crops import CropDataset, collate_readable, reading_worker
from deepfake_detect.data.manifest import ALL_SPLITS, Manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.evaluate import Coverage, ScoreTable
from deepfake_detect.models.inference import CropScorer
from deepfake_detect.progress import progress_bar

_BATCH_SIZE = 64
_NO_FACE = "no_face"
_UNREADABLE = "no readable crop"


def manifest_logits(
    scorer: CropScorer, manifest: Manifest, *, num_workers: int | None = None, show_progress: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Run a detector over a manifest.

    Args:
        scorer: Detector on its device.
        manifest: Crops, cut at least as wide as the detector needs.
        num_workers: Processes that read crops; the number of cores, at most 8, when ``None``.
        show_progress: Whether to draw a progress bar.

    Returns:
        Rows that could be read, int64 (N,) rising, and their raw logits, float64 (N,). Crops
        that cannot be read are warned about by name and left out.

    Raises:
        OptionError: The crops are narrower than the detector needs, or aligned otherwise.
        ManifestError: Not one crop can be read.
    """
    dataset = CropDataset(manifest, scorer.config.model.preprocessing, geometry=scorer.config.geometry)
    workers = min(8, os.cpu_count() or 1) if num_workers is None else num_workers
    batches = DataLoader(
        dataset,
        batch_size=_BATCH_SIZE,
        num_workers=workers,
        collate_fn=collate_readable,
        worker_init_fn=reading_worker,
        pin_memory=scorer.device.type == "cuda",
    )
    rows, logits = [], []
    unreadable: list[int] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("crops", total=len(dataset), note="")
        for batch in batches:
            unreadable += batch.unreadable_rows.tolist()
            if len(batch.rows):
                rows.append(batch.rows.numpy())
                logits.append(scorer.batch_logits(batch.images))
            progress.advance(task, len(batch.rows) + len(batch.unreadable_rows))
    if unreadable:
        first = manifest.root / manifest.column("path")[unreadable[0]]
        warnings.warn(f"{len(unreadable)} crops cannot be read and are left out, first {first}", stacklevel=2)
    if not rows:
        raise ManifestError(manifest.root, "not one of its crops can be read", "extract the videos again")
    return np.concatenate(rows), np.concatenate(logits)


def score_manifest(
    scorer: CropScorer,
    manifest: Manifest,
    *,
    split: str,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest.

    Videos of the split that gave no crops are known from ``failures.csv`` beside the manifest
    and count in the coverage; they are never given a score.

    Args:
        scorer: Detector on its device.
        manifest: Crops of any splits.
        split: Which to score.
        num_workers: Processes that read crops; the number of cores, at most 8, when ``None``.
        show_progress: Whether to draw a progress bar.

    Returns:
        The scored faces and the coverage.

    Raises:
        OptionError: No such split, or crops the detector cannot use.
        ManifestError: Not one crop can be read.
    """
    part = manifest.split(split)
    rows, logits = manifest_logits(scorer, part, num_workers=num_workers, show_progress=show_progress)
    table = ScoreTable(
        video_id=part.column("video_id")[rows],
        method=part.column("method")[rows],
        label=part.column("label")[rows].astype(np.int64),
        track_id=part.column("track_id")[rows],
        frame_index=part.column("frame_index")[rows],
        fake_probability=scorer.probabilities(logits),
    )
    return table, _coverage(part, set(table.video_id.tolist()), _failures(manifest.root, split))


def _failures(root: Path, split: str) -> dict[str, str]:
    """Return video_id -> reason of the split's videos that gave no crops."""
    path = root / "failures.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {row["video_id"]: row["reason"] for row in rows if split in (row["split"], ALL_SPLITS)}
    except KeyError as error:
        raise ManifestError(path, f"lacks the column {error}", "extract again") from error


def _coverage(part: Manifest, scored: set[str], failures: dict[str, str]) -> Coverage:
    listed = set(part.column("video_id").tolist())
    unscored = {video: reason for video, reason in failures.items() if video not in listed}
    unscored.update(dict.fromkeys(listed - scored, _UNREADABLE))
    num_without_face = sum(reason == _NO_FACE for reason in unscored.values())
    return Coverage(
        videos_expected=len(scored) + len(unscored),
        videos_scored=len(scored),
        videos_without_face=num_without_face,
        videos_failed=len(unscored) - num_without_face,
        unscored=tuple(sorted(unscored.items())),
    )
