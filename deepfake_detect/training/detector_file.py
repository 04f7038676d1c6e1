"""The detectors that a run writes, with the facts of the training."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake_detect._version import __version__
from deepfake_detect.data.video_digests import seen_by_all, video_digests
from deepfake_detect.models.checkpoint import save_detector
from deepfake_detect.models.config import DetectorConfig, TrainingFacts
from deepfake_detect.models.lora import merge_updates
from deepfake_detect.training.finetune import parse_finetune
from deepfake_detect.training.history import EpochRecord
from deepfake_detect.training.kept_epochs import epoch_file
from deepfake_detect.training.prepare import Run

DETECTOR_NAME = "detector.safetensors"


def detector_path(run: Run) -> Path:
    """Return where a run writes the detector of the selected epoch."""
    return run.config.out / DETECTOR_NAME


def keep_selected(run: Run, record: EpochRecord) -> None:
    """Write the model after the best epoch so far as the run's detector."""
    facts = replace(_facts(run), selected_epoch=record.epoch, val_video_auc=record.val_video_auc)
    _save(run, detector_path(run), run.validated, facts)


def keep_epoch(run: Run, epoch: int, model: Any) -> None:
    """Write the detector of an epoch that the options ask to keep; 0 is before the first step."""
    if epoch in run.config.save_epochs:
        _save(run, epoch_file(run.config.out, epoch), model, replace(_facts(run), kept_epoch=epoch))


def _save(run: Run, path: Path, model: Any, facts: TrainingFacts) -> None:
    if not run.is_main_process:
        return
    if {"lora", "svd"} & set(parse_finetune(run.config.finetune)):
        model = copy.deepcopy(model)
        merge_updates(model)
    detector = DetectorConfig(
        name=run.config.name,
        version=run.config.version,
        model=run.model.spec,
        geometry=run.train_rows.geometry,
        training=facts,
        plugins=run.plugins,
    )
    save_detector(path, model, detector)


def _facts(run: Run) -> TrainingFacts:
    config, teachers = run.config, run.teachers
    datasets = run.train_rows.query("select distinct dataset from rows order by dataset")
    seen = {"train": video_digests(run.train_rows), "val": video_digests(run.val_rows)}
    trainings = [] if teachers is None else teachers.trainings
    return TrainingFacts(
        library_version=__version__,
        finetune=config.finetune,
        forgery=config.forgery,
        forgery_share=config.forgery_share if config.forgery else 0.0,
        num_blended_reals=0 if run.blender is None else len(run.blender.rows),
        datasets=tuple(datasets["dataset"].to_pylist()),
        where=config.where,
        allow_leak=tuple(sorted(config.allow_leak)),
        train_videos_sha256=run.train_rows.video_ids_sha256(),
        val_videos_sha256=run.val_rows.video_ids_sha256(),
        teachers=None if teachers is None else tuple(teachers.facts),
        video_sha256_prefixes=seen_by_all([seen, *(one.video_sha256_prefixes or {} for one in trainings)]),
        num_train_crops=run.train_rows.num_rows,
        num_val_crops=run.val_rows.num_rows,
    )
