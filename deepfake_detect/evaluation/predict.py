"""A detector on the crops of a manifest: what :func:`evaluate_scores` needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection

import numpy as np
from torch.utils.data import DataLoader

from deepfake_detect.data.audit import LeakKind, require_no_leak
from deepfake_detect.data.crops import CropDataset, collate_readable, reading_worker
from deepfake_detect.data.failures import NO_FACE, read_failures
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.evaluate import Coverage, ScoreTable
from deepfake_detect.models.inference import CropScorer
from deepfake_detect.progress import progress_bar

_BATCH_SIZE = 64
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
        first = manifest.root / manifest.columns(["path"])["path"][unreadable[0]].as_py()
        warnings.warn(f"{len(unreadable)} crops cannot be read and are left out, first {first}", stacklevel=2)
    if not rows:
        raise ManifestError(manifest.root, "not one of its crops can be read", "extract the videos again")
    return np.concatenate(rows), np.concatenate(logits)


def score_held_out(
    scorer: CropScorer,
    manifest: Manifest,
    *,
    split: str,
    allow_leak: Collection[LeakKind] = (),
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest, after making sure that no other split leaks into it.

    Args:
        scorer, manifest, split, num_workers, show_progress: As for :func:`score_manifest`.
        allow_leak: Kinds of leak that are let pass, of ``data.audit.LEAK_KINDS``.

    Returns:
        As :func:`score_manifest`.

    Raises:
        ManifestError: Another split leaks into this one, or not one crop can be read.
        OptionError: As for :func:`score_manifest`, or an unknown kind of leak.
    """
    notes = require_no_leak(manifest, allowed=allow_leak, evaluated=split, show_progress=show_progress)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return score_manifest(scorer, manifest, split=split, num_workers=num_workers, show_progress=show_progress)


def score_manifest(
    scorer: CropScorer,
    manifest: Manifest,
    *,
    split: str,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest, whatever its other splits hold.

    Videos of the split that gave no crops are known from the CSV beside the manifest (see
    :mod:`data.failures`) and count in the coverage; they are never given a score.

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
    columns = part.columns(["video_id", "method", "label", "track_id", "frame_index"]).take(rows)
    values = {name: columns[name].to_numpy() for name in columns.column_names}
    values["label"] = values["label"].astype(np.int64)
    table = ScoreTable(**values, fake_probability=scorer.probabilities(logits))
    return table, _coverage(part, set(table.video_id.tolist()))


def _coverage(part: Manifest, scored: set[str]) -> Coverage:
    listed = set(part.query("select distinct video_id from rows")["video_id"].to_pylist())
    failures = {failure["video_id"]: failure["reason"] for failure in read_failures(part)}
    unscored = {video: reason for video, reason in failures.items() if video not in listed}
    unscored.update(dict.fromkeys(listed - scored, _UNREADABLE))
    num_without_face = sum(reason == NO_FACE for reason in unscored.values())
    return Coverage(
        videos_expected=len(scored) + len(unscored),
        videos_scored=len(scored),
        videos_without_face=num_without_face,
        videos_failed=len(unscored) - num_without_face,
        unscored=tuple(sorted(unscored.items())),
    )
