"""A detector on the crops of a manifest: what :func:`evaluate_scores` needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence

import numpy as np
from torch.utils.data import DataLoader

from deepfake_detect.data.audit import LeakKind, splits_of
from deepfake_detect.data.crops import CropDataset, collate_readable, reading_worker
from deepfake_detect.data.failures import NO_FACE, read_failures
from deepfake_detect.data.leaks import require_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.evaluate import Coverage, ScoreTable
from deepfake_detect.models.inference import CropScorer
from deepfake_detect.progress import progress_bar

_BATCH_SIZE = 64
_UNREADABLE = "no readable crop"
_MAX_NAMED = 20
# What a detector's file says of its videos, and what they were to it.
_SEEN = {"train_videos_sha256": "trained", "val_videos_sha256": "selected"}


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
        that cannot be read are left out and warned about, the first 20 by name.

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
        warnings.warn(_sentence_on_unreadable(manifest, unreadable), stacklevel=2)
    if not rows:
        raise ManifestError(manifest.root, "not one of its crops can be read", "extract the videos again")
    return np.concatenate(rows), np.concatenate(logits)


def _sentence_on_unreadable(manifest: Manifest, rows: Sequence[int]) -> str:
    paths = manifest.columns(["path"])["path"].take(rows[:_MAX_NAMED]).to_pylist()
    named = ", ".join(str(manifest.root / path) for path in paths)
    more = f", ... and {len(rows) - _MAX_NAMED:,} more" if len(rows) > _MAX_NAMED else ""
    return f"{len(rows):,} crops cannot be read and are left out: {named}{more}"


def score_held_out(
    scorer: CropScorer,
    manifest: Manifest,
    *,
    split: str,
    allow_leak: Collection[LeakKind] = (),
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest, after making sure that no other split of it leaks into it.

    All rows of the other splits are compared, whatever the manifest's filters leave out. A warning
    tells where the measured videos are those that the detector was trained or selected on. Of these
    a detector keeps a hash alone, so they are known again only as the whole set: where the measured
    rows, or a split of the file that they belong to, hold exactly those videos. Some of them among
    others are not noticed.

    Args:
        scorer, split, num_workers, show_progress: As for :func:`score_manifest`.
        manifest: Rows to choose the split from, filtered as wanted.
        allow_leak: Kinds of leak that are let pass, of ``data.audit.LEAK_KINDS``.

    Returns:
        As :func:`score_manifest`.

    Raises:
        ManifestError: Another split leaks into this one, or not one crop can be read.
        OptionError: As for :func:`score_manifest`, or an unknown kind of leak.
    """
    notes = require_no_leak(manifest, allowed=allow_leak, evaluated=split, show_progress=show_progress)
    for note in (*_what_was_seen(scorer, manifest.split(split)), *notes):
        warnings.warn(note, stacklevel=2)
    return score_manifest(scorer, manifest, split=split, num_workers=num_workers, show_progress=show_progress)


def _what_was_seen(scorer: CropScorer, measured: Manifest) -> list[str]:
    """Return a line for each part of the measured videos that the detector's file tells of."""
    facts = scorer.config.training
    uses = {facts[key]: use for key, use in _SEEN.items() if key in facts}
    if not uses:
        return []
    whole = read_manifest(measured.path)
    parts = {"the measured rows": measured}
    parts |= {f"split {name}": whole.split(name) for name in splits_of(measured)}
    told: dict[str, str] = {}
    for words, part in parts.items():
        use = uses.get(part.video_ids_sha256())
        if use is not None:
            told.setdefault(use, words)  # the rows themselves come before their split
    return [
        f"{measured.path}: the detector was {use} on the videos of {words}: "
        "these figures do not tell how it does on new ones"
        for use, words in told.items()
    ]


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
