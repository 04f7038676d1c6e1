"""Scores of a detector on the crops of a manifest."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch.utils.data import DataLoader

from deepfake_detect.data.audit_report import LeakKind
from deepfake_detect.data.clips import ClipDataset, collate_clips
from deepfake_detect.data.crops import CropDataset, collate_readable, reading_worker
from deepfake_detect.data.failures import read_failures
from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import LATER_COLUMNS, MANIFEST_SCHEMA, Manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.predictor import Predictor, StoredCrops, collate_stored
from deepfake_detect.evaluation.score_files import as_array, plain_columns
from deepfake_detect.evaluation.score_table import CROP_LABEL, Coverage, ScoreTable, UnscoredFace
from deepfake_detect.evaluation.seen import seen_notes
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL

_BATCH_SIZE = 64
_UNREADABLE = "no readable crop"
_MAX_NAMED = 20
_COLUMNS = ("video_id", "method", "label", "track_id", "frame_index")
_SEGMENTS = "fake_segments"


def manifest_logits(
    scorer: BaseDetector,
    manifest: Manifest,
    *,
    num_workers: int | None = None,
    show_progress: bool = True,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Run a detector over a manifest.

    Args:
        scorer: Detector of any kind.
        manifest: Crops, cut at least as wide as the detector needs.
        num_workers: Processes that read crops; the number of cores, at most 8, when ``None``.
        show_progress: Whether to show a progress bar.
        change: Function applied to each crop first, RGB uint8 to RGB uint8; ``None`` for none.

    Returns:
        Rows that could be read, int64 (N,) rising, and their raw logits, float64 (N,). For a detector
        of sequences, each row is the first of a track and represents it. Crops that cannot be read are
        left out with a warning that names the first 20.

    Raises:
        OptionError: The crops are narrower than the detector needs, or differ in alignment.
        ManifestError: None of the crops can be read.
    """
    dataset, collate = _items(scorer, manifest, change)
    workers = min(8, os.cpu_count() or 1) if num_workers is None else num_workers
    batches = DataLoader(
        dataset,
        batch_size=_BATCH_SIZE,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=reading_worker,
        pin_memory=isinstance(scorer, TorchDetector) and scorer.device.type == "cuda",
    )
    rows, logits = [], []
    unreadable: list[int] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("batches", total=len(batches), note="")
        for batch in batches:
            unreadable += batch.unreadable_rows.tolist()
            if len(batch.rows):
                rows.append(batch.rows.numpy())
                logits.append(_batch_logits(scorer, batch))
            progress.advance(task)
    if unreadable:
        paths = manifest.columns(["path"])["path"].take(unreadable[:_MAX_NAMED]).to_pylist()
        named = ", ".join(str(manifest.root / path) for path in paths)
        more = f", ... and {len(unreadable) - _MAX_NAMED:,} more" if len(unreadable) > _MAX_NAMED else ""
        warnings.warn(
            f"skipped {counted(len(unreadable), 'crop')} that cannot be read: {named}{more}", stacklevel=2
        )
    if not rows:
        raise ManifestError(manifest.root, "none of its crops can be read", "extract the videos again")
    read, found = np.concatenate(rows), np.concatenate(logits)
    if isinstance(scorer, Predictor):
        found = scorer.as_logits(found)
    in_order = np.argsort(read)
    return read[in_order], found[in_order]


def _batch_logits(scorer: BaseDetector, batch: Any) -> np.ndarray:
    """Return the raw logits of a batch of the collating function, float64 (N,); of a function its outputs."""
    if isinstance(scorer, Predictor):
        return scorer.chunk_logits(batch.images)
    if isinstance(scorer, TorchDetector):
        return scorer.batch_logits(batch.images, batch.lengths)
    # Exported networks normalize by themselves: give them the resized pixels.
    preprocessing = scorer.config.model.preprocessing
    images = batch.images.permute(0, 2, 3, 1).numpy()  # (N, S, S, 3)
    pixels = (
        images * np.asarray(preprocessing.std, np.float32) + np.asarray(preprocessing.mean, np.float32)
    ) * 255
    return scorer.chunk_logits(list(pixels.round().clip(0, 255).astype(np.uint8)))


def _items(
    scorer: BaseDetector, manifest: Manifest, change: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[CropDataset | ClipDataset, Callable[..., Any]]:
    """Return the inputs of a detector, crops or sequences of them, and the function that batches them."""
    geometry, preprocessing = scorer.config.geometry, scorer.config.model.preprocessing
    augment: Any = change  # without a seed, an augmentation is a plain function of the crop
    if isinstance(scorer, Predictor):
        stored = StoredCrops(manifest, preprocessing, geometry=geometry, augment=augment)
        return stored, collate_stored
    sequence = scorer.config.model.sequence
    if sequence is None:
        return CropDataset(manifest, preprocessing, geometry=geometry, augment=augment), collate_readable
    count = sequence.num_frames
    clips = ClipDataset(manifest, preprocessing, geometry=geometry, num_frames=count, augment=augment)
    return clips, collate_clips


def score_held_out(
    scorer: BaseDetector,
    manifest: Manifest,
    *,
    split: str,
    allow_leak: Collection[LeakKind] = (),
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest, after checking that no other split leaks into it.

    All rows of the other splits are compared, also those that the manifest's filters leave out. Videos
    that the detector was trained or selected on are a warning, see :func:`seen.seen_notes`.

    Args, Returns:
        As for :func:`score_manifest`; ``allow_leak`` names allowed kinds of leaks, of ``LEAK_KINDS``.

    Raises:
        ManifestError: Another split leaks into this one, or none of the crops can be read.
        OptionError: As for :func:`score_manifest`, or an unknown kind of leak.
    """
    check_held_out(scorer, manifest, split=split, allow_leak=allow_leak, show_progress=show_progress)
    return score_manifest(scorer, manifest, split=split, num_workers=num_workers, show_progress=show_progress)


def check_held_out(
    scorer: BaseDetector,
    manifest: Manifest,
    *,
    split: str,
    allow_leak: Collection[LeakKind] = (),
    show_progress: bool = True,
) -> tuple[str, ...]:
    """Check that no other split of a manifest leaks into one, and warn about videos that were seen.

    Args, Raises:
        As for :func:`score_held_out`.

    Returns:
        The warnings about videos that the detector was trained or selected on.
    """
    notes = check_no_leak(manifest, allowed=allow_leak, evaluated=split, show_progress=show_progress)
    # What a function was trained on is known to its user only.
    is_function = isinstance(scorer, Predictor)
    seen = () if is_function else seen_notes(scorer.config.training, manifest.split(split))
    for note in (*seen, *notes):
        warnings.warn(note, stacklevel=3)
    return seen


def score_manifest(
    scorer: BaseDetector,
    manifest: Manifest,
    *,
    split: str,
    num_workers: int | None = None,
    show_progress: bool = True,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[ScoreTable, Coverage]:
    """Score one split of a manifest, without checking its other splits.

    Videos of the split without crops are listed in the CSV next to the manifest (see
    :mod:`data.failures`) and count in the coverage; they never get a score.

    Args:
        scorer: Detector of any kind.
        manifest: Crops of any splits.
        split: Which to score.
        num_workers, show_progress, change: As for :func:`manifest_logits`.

    Returns:
        The scored faces, with details (``identity``: the person in the crop; ``logit``: before
        calibration; ``crop_label`` where it is not always the label of the video; every column of the
        manifest with one value per row), and the coverage.

    Raises:
        OptionError: There is no such split, or the detector cannot use the crops.
        ManifestError: None of the crops can be read.
    """
    part = manifest.split(split)
    rows, logits = manifest_logits(
        scorer, part, num_workers=num_workers, show_progress=show_progress, change=change
    )
    columns = part.columns([*_plain_columns(part), _SEGMENTS]).take(rows)
    details = {name: as_array(columns[name]) for name in columns.column_names if name != _SEGMENTS}
    values: dict[str, Any] = {name: details.pop(name) for name in _COLUMNS}
    crop_labels = values["label"].astype(np.int64)
    values["label"] = _labels_of_videos(columns)
    is_of_crops = scorer.config.model.sequence is None  # a sequence has the label of its video
    if is_of_crops and (crop_labels != values["label"]).any():
        details[CROP_LABEL] = crop_labels
    people = zip(details["dataset"], details["target_id"], strict=True)
    names = [identity_key(dataset, person) if person else None for dataset, person in people]
    details["identity"] = np.array(names, dtype=object)
    details["logit"] = logits
    table = ScoreTable(**values, fake_probability=scorer.probabilities(logits), details=details)
    return table, _coverage(part, set(table.video_id.tolist()))


def known_segments(manifest: Manifest) -> dict[str, tuple[tuple[float, float], ...]] | None:
    """Return the forged segments (start, end) in seconds by video id; ``None`` if no video has known ones.

    A real video has none. A fake video without known segments is left out.
    """
    rows = manifest.query(
        "select video_id, max(label) as label, any_value(fake_segments) as segments from rows group by all"
    ).to_pylist()
    segments = {
        row["video_id"]: tuple((float(start), float(end)) for start, end in row["segments"] or ())
        for row in rows
        if row["segments"] is not None or row["label"] == REAL
    }
    return segments if any(segments.values()) else None


def score_columns(manifest: Manifest) -> tuple[str, ...]:
    """Return the columns that the scores of a manifest will have."""
    return tuple(dict.fromkeys((*_plain_columns(manifest), "fake_probability", "identity", "logit")))


def _plain_columns(manifest: Manifest) -> list[str]:
    own = ("fake_probability", "identity", "logit", CROP_LABEL)
    names = plain_columns(pq.read_schema(manifest.path))
    later = plain_columns(pa.schema([MANIFEST_SCHEMA.field(name) for name in LATER_COLUMNS]))
    return [name for name in dict.fromkeys((*names, *later)) if name not in own]


def _labels_of_videos(columns: pa.Table) -> np.ndarray:
    """Return the label of each crop's video, int64 (N,): fake if a crop or a stretch of it is forged."""
    has_stretches = pc.greater(pc.fill_null(pc.list_value_length(columns[_SEGMENTS]), 0), 0)
    is_fake = pc.or_(pc.equal(columns["label"], FAKE), has_stretches)
    _, video = np.unique(columns["video_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    of_video = np.bincount(video, weights=is_fake.to_numpy()) > 0
    labels: np.ndarray = of_video[video].astype(np.int64)
    return labels


def _coverage(part: Manifest, scored: set[str]) -> Coverage:
    listed = part.query("select distinct video_id, dataset, method, label from rows order by all").to_pylist()
    known = {video["video_id"]: {**video, "reason": _UNREADABLE} for video in listed}
    videos = {**{failure["video_id"]: failure for failure in read_failures(part)}, **known}
    unscored = {name: video for name, video in videos.items() if name not in scored}
    fields = ("video_id", "dataset", "method", "label")
    rows = [
        UnscoredFace(**{name: video[name] for name in fields}, frame_index=None, reason=video["reason"])
        for video in unscored.values()
        if None not in (video[name] for name in fields)  # older lists only name the video
    ]
    return Coverage.of(len(scored), {name: one["reason"] for name, one in unscored.items()}, rows=rows)
