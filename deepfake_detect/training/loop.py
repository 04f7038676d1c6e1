"""The training loop: read it from :func:`train` downward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.errors import ManifestError, SanityError
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.batchnorm import recalibrate_batchnorm
from deepfake_detect.training.callbacks import Callback
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import Augment
from deepfake_detect.training.detector_file import detector_path, keep_epoch, keep_selected
from deepfake_detect.training.distributed import broadcast_buffers
from deepfake_detect.training.finetune import clear_gradients, freeze, set_modes
from deepfake_detect.training.history import EpochRecord, StepRecord, TrainingResult
from deepfake_detect.training.losses import LossFunction, mix_batch
from deepfake_detect.training.optimization import (
    SharpnessAware,
    lr_factor,
    make_optimizer,
    num_unfrozen,
    plateau_factor,
)
from deepfake_detect.training.prepare import Run, open_run
from deepfake_detect.training.results import write_results
from deepfake_detect.training.sanity import CheckResult, run_checks
from deepfake_detect.training.stages import Position, Stage, is_out_of_patience, make_stages
from deepfake_detect.training.state import EpochProgress, RunState, read_state, save_state
from deepfake_detect.training.validation import LOWER_RATE, check_readable, validate, warn_unreadable

_SMOOTHED_STEPS = 50  # over which the loss next to the progress bar is averaged


def train(
    config: TrainingConfig,
    *,
    loss: LossFunction | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    calibrate: bool = True,
    show_progress: bool = True,
    log: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train a detector on a manifest, calibrate it, and write it to ``config.out``.

    Sanity checks come first (:mod:`training.sanity`). Then the head is trained on the frozen backbone,
    then what ``config.finetune`` names. After each epoch the AUC over the validation videos is
    measured; the model of the best epoch is kept as ``detector.safetensors``. At the end its
    probabilities, threshold and aggregation rule are fitted on the validation split. The folder also
    receives ``history.csv``, ``history.png``, ``confusion.png``, ``predictions.csv``, ``batch.png``,
    ``config.json`` and ``log.txt``, and in ``epochs`` the detectors of ``config.save_epochs``.

    A stopped run resumes when it is started again with the same options and ends, on a CPU, with exactly
    the weights of an uninterrupted run. On a GPU, the seed also determines order, augmentation and initial
    weights, but sums may differ in their last bits. Runs in one process, or in several
    under ``torchrun`` or ``accelerate launch``.

    Args:
        config: Options of the run.
        loss: Replaces ``config.loss``: takes logits and targets, float32 (N,) each, and returns the
            losses (N,) or their mean.
        augment: Replaces ``config.augmentation``; see :mod:`data.transforms`.
        callbacks: Follow the run, see :class:`training.callbacks.Callback`.
        calibrate: Whether to calibrate at the end and to write figures and predictions.
        show_progress: Whether to show progress bars.
        log: Called with each line of the log, such as ``print``.

    Returns:
        The detector's path and calibrated configuration, the history, and the sanity checks' results.

    Raises:
        ManifestError: A split lacks a class, or splits of the manifest leak into one another by a
            kind that ``config.allow_leak`` does not name, see :mod:`data.audit`.
        SanityError: A sanity check failed, or the loss is not finite.
        OptionError: The folder holds a run with other options, or one that is past an epoch of
            ``config.save_epochs``; ``config.where`` cannot be read; a logger is not installed.
        OutputError: Another process trains in the folder.
    """
    with open_run(
        config, loss=loss, augment=augment, callbacks=callbacks, show_progress=show_progress, log=log
    ) as run:
        stages = make_stages(run.model, config)
        state = read_state(run)
        history = state.history
        checks: tuple[CheckResult, ...] = ()
        if state.is_new:
            for line in run.description():
                run.folder.log(line)
            checks = run_checks(run, stages[-1].parts) if config.sanity else ()
            torch.manual_seed(config.seed)  # the checks used random numbers
            recalibrate_batchnorm(run)
            keep_epoch(run, 0, run.model)
        else:
            run.folder.log(f"resumes in epoch {state.epoch} after {state.progress.num_batches} batches")

        for stage in stages:
            if state.epoch <= stage.last:
                _train_stage(run, stage, state, history)

        result = TrainingResult(detector_path(run), tuple(history), run.is_main_process, checks)
        if calibrate and run.is_main_process:
            result = write_results(run, result)
        for callback in run.callbacks:
            callback.on_end(result)
        return result


def _train_stage(run: Run, stage: Stage, state: RunState, history: list[EpochRecord]) -> None:
    """Train the epochs of a stage, or those that are left of it."""
    freeze(run.model, stage.parts)
    optimizer = run.accelerator.prepare(make_optimizer(stage.parts, run.config))
    # Wrapped only to share gradients: autocast is entered explicitly around each forward pass.
    is_shared = run.accelerator.num_processes > 1
    model = run.accelerator.prepare(run.model) if is_shared else run.model
    first, progress = stage.first, EpochProgress()
    if state.stage == stage.name:
        state.restore(optimizer, run.accelerator.scaler)
        first, progress = state.epoch, state.progress

    for epoch in range(first, stage.last + 1):
        if is_out_of_patience(history, run.config.patience):
            break
        started = time.perf_counter()
        _train_epoch(run, stage, epoch, model, optimizer, progress, history)
        record = _measure_epoch(run, stage, epoch, optimizer, progress, started)
        _keep_epoch(run, stage, record, optimizer, history)
        progress = EpochProgress()

    # The next stage starts from the bare model, without this stage's wrappers.
    run.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    run.accelerator.free_memory(optimizer)


def _train_epoch(
    run: Run,
    stage: Stage,
    epoch: int,
    model: nn.Module,
    optimizer: Any,
    progress: EpochProgress,
    history: Sequence[EpochRecord],
) -> None:
    """Take the steps that are left of an epoch."""
    num_batches, save_every = run.data.num_train_batches, run.config.save_every
    before, started = progress.seconds, time.perf_counter()
    batches = run.data.train_batches(epoch, first=progress.num_batches)
    with progress_bar(enabled=run.show_progress) as bar:
        task = bar.add_task(
            f"epoch {epoch} ({stage.name})", total=num_batches, completed=progress.num_batches, note=""
        )
        for group in progress.timed_groups(batches, run.config.accumulate):
            position = Position(epoch, progress.num_batches, progress.num_batches / num_batches)
            readable = [run.to_device(batch) for batch in group if len(batch.rows)]
            step = _step(run, stage, model, optimizer, readable, position, history)
            if step is None and run.accelerator.num_processes > 1:
                cause = "has a batch in which no crop can be read"
                raise ManifestError(run.config.manifest, cause, "extract the videos again")
            progress.add(group, step, seconds=before + time.perf_counter() - started)
            note = f"loss {np.mean(progress.losses[-_SMOOTHED_STEPS:]):.3f}" if progress.losses else ""
            bar.update(task, completed=progress.num_batches, note=note)

            if step is not None:
                record = StepRecord(epoch, position.batch, step[0], optimizer.param_groups[0]["lr"])
                for callback in run.callbacks:
                    callback.on_step(record)
            is_due = save_every and progress.num_batches % save_every < len(group)
            if is_due and progress.num_batches < num_batches:
                save_state(run, stage, epoch, optimizer, progress, history)


def _step(
    run: Run,
    stage: Stage,
    model: nn.Module,
    optimizer: Any,
    batches: Sequence[CropBatch],
    position: Position,
    history: Sequence[EpochRecord],
) -> tuple[float, int] | None:
    """Take one step; return its loss and the number of correct crops, ``None`` without a crop."""
    # What learns in this step, and how fast.
    config = run.config
    unfrozen = num_unfrozen(len(stage.parts), stage.epochs_done(position), config.unfreeze_epochs)
    has_statistics = all(len(batch.rows) > 1 for batch in batches)  # a single crop has none
    set_modes(run.model, stage.parts[:unfrozen], adapts=config.batchnorm == "adapt" and has_statistics)
    factor = lr_factor(config.schedule, stage.fraction_done(position))
    if config.schedule == "plateau":
        factor = plateau_factor([one.val_video_auc for one in history if one.stage == stage.name])
    for number, group in enumerate(optimizer.param_groups):
        group["lr"] = group["peak_lr"] * factor if number < unfrozen else 0.0
    if not batches:
        return None

    # The gradients at the current weights.
    optimizer.zero_grad()
    loss, num_correct = _backward(run, model, batches, position)
    if not math.isfinite(loss):
        cause = f"the loss is {loss} in epoch {position.epoch}, batch {position.batch + 1}"
        raise SanityError(config.out, cause, LOWER_RATE)
    clear_gradients(stage.parts[unfrozen:])

    # With SAM, those at the nearby weights with the highest loss instead.
    if config.sam:
        sharpness = SharpnessAware((p for one in optimizer.param_groups for p in one["params"]), config.sam)
        sharpness.first_step()
        _backward(run, model, batches, position)
        clear_gradients(stage.parts[unfrozen:])
        sharpness.second_step()

    # A step against them.
    if config.clip_norm:
        run.accelerator.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()

    # The moving average follows.
    if run.average is not None:
        run.average.update_parameters(run.model)
    return loss, num_correct


def _backward(
    run: Run, model: nn.Module, batches: Sequence[CropBatch], position: Position
) -> tuple[float, int]:
    """Add up the gradients of batches; return their mean loss and the number of correct crops.

    Random numbers depend on the run's seed, the process and the position only, so that a resumed run
    uses the same as an uninterrupted one.
    """
    total, num_correct = 0.0, 0
    seeds = [run.config.seed, run.accelerator.process_index, position.epoch, position.batch]
    rng = np.random.default_rng(seeds)
    torch.manual_seed(int(rng.integers(2**62)))
    for number, batch in enumerate(batches):
        images, targets = mix_batch(batch.images, batch.labels, run.config, rng)
        is_last = number == len(batches) - 1
        with nullcontext() if is_last else run.accelerator.no_sync(model):
            logits = run.forward(model, batch._replace(images=images))  # (N,)
            loss = run.loss(logits, targets)
            if run.sphere is not None:
                loss = loss + run.sphere.of_batch(targets)
            if run.teachers is not None:
                with run.accelerator.autocast():
                    teacher_logits = run.teachers.logits(images)
                loss = run.loss.distilled(loss, logits, teacher_logits)
            run.accelerator.backward(loss / len(batches))
        total += float(loss.detach()) / len(batches)
        num_correct += int(((logits.detach() > 0) == (targets > 0.5)).sum())
    return total, num_correct


def _measure_epoch(
    run: Run, stage: Stage, epoch: int, optimizer: Any, progress: EpochProgress, started: float
) -> EpochRecord:
    """Validate the model after an epoch, and return the epoch's figures."""
    check_readable(run, len(progress.losses), "training")
    num_correct, num_fake, num_images = progress.totals()
    for word, count in (("fake", num_fake), ("real", num_images - num_fake)):
        check_readable(run, count, f"{word} training")
    if run.accelerator.num_processes > 1:
        broadcast_buffers(run.model, run.average)
    num_unreadable = warn_unreadable(run, run.train_rows, progress.unreadable, "training")
    scores = validate(run, run.validated)
    return EpochRecord(
        epoch=epoch,
        stage=stage.name,
        train_loss=float(np.mean(gather_object([float(np.mean(progress.losses))]))),
        seconds=time.perf_counter() - started,
        images_per_second=progress.num_images * run.accelerator.num_processes / progress.seconds,
        unreadable=num_unreadable,
        loading_share=progress.loading_seconds / progress.seconds,
        learning_rate=optimizer.param_groups[0]["lr"],
        trained_parameters=sum(p.numel() for part in stage.parts for p in part.parameters),
        train_accuracy=num_correct / num_images,
        **scores.metrics(),
    )


def _keep_epoch(
    run: Run, stage: Stage, record: EpochRecord, optimizer: Any, history: list[EpochRecord]
) -> None:
    """Write what an epoch left; the detector only when it is the best so far."""
    is_best = all(record.val_video_auc > earlier.val_video_auc for earlier in history)
    history.append(record)
    if is_best:
        keep_selected(run, record)
    keep_epoch(run, record.epoch, run.validated)
    for callback in run.callbacks:
        callback.on_epoch(tuple(history))
    save_state(run, stage, record.epoch + 1, optimizer, EpochProgress(), history)
    run.folder.log(f"{record}{', best so far' if is_best else ''}")
