"""Everything a training run works with, complete before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.optim.swa_utils import AveragedModel

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.transforms import AUGMENTATIONS
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.forgery.blended_crops import Blender
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.lora import add_lora
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.models.svd import add_svd
from deepfake_detect.plugins import PluginPart, plugin_part
from deepfake_detect.records import REAL
from deepfake_detect.training.callbacks import Callback, make_callbacks
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import Augment, CropDataModule, chosen_rows, training_splits
from deepfake_detect.training.distributed import on_main, start_accelerator
from deepfake_detect.training.finetune import parse_finetune
from deepfake_detect.training.forged import make_blender, prepare_fakes, selects_on_blends, val_blends
from deepfake_detect.training.losses import LOSSES, LossFunction, TrainingLoss, class_weight
from deepfake_detect.training.optimization import averaged
from deepfake_detect.training.run_folder import RunFolder, open_run_folder
from deepfake_detect.training.sphere import SphereLoss
from deepfake_detect.training.teachers import Teachers

# Options that a resumed run may change: they do not affect what is learned.
_FREE_TO_CHANGE = {
    *("manifest", "out", "device", "num_workers", "allow_leak"),
    *("save_every", "save_epochs", "sanity", "tensorboard", "wandb", "mlflow"),
    "teachers",  # compared by their hashes
}


@dataclass(frozen=True, eq=False)
class Run:
    """What a run works with.

    Attributes:
        average: Moving average of the model's weights, where there is one.
        sphere: Losses of the features' directions, where the options ask for them.
        blender: Makes fakes from training reals, where the options ask for it.
        callbacks: Of the main process; empty in others.
        plugins: Loss and augmentation that are not the library's own.
        leak_notes: Findings of the leak check that do not stop the run.
        reported: Unreadable crops that were warned about already.
    """

    config: TrainingConfig
    accelerator: Accelerator
    folder: RunFolder
    train_rows: Manifest
    val_rows: Manifest
    model: Any  # of create_model or create_sequence_model
    average: AveragedModel | None
    data: CropDataModule
    loss: TrainingLoss
    teachers: Teachers | None
    sphere: SphereLoss | None
    blender: Blender | None
    callbacks: tuple[Callback, ...]
    plugins: tuple[PluginPart, ...]
    leak_notes: tuple[str, ...]
    show_progress: bool
    reported: set[Path] = field(default_factory=set)

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def validated(self) -> Any:
        """The network that is validated and kept: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def description(self) -> list[str]:
        """Return what is trained, and what fakes are made from, in lines for the log."""
        num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        lines = [f"{self.config.backbone}, finetune {self.config.finetune}, {num_parameters:,} parameters"]
        if self.blender is not None:
            num_reals = self.train_rows.where(f"label = {REAL}").num_rows
            reals = f"{len(self.blender.rows):,} of {num_reals:,} training reals"
            lines.append(f"fakes ({self.config.forgery}) are made from {reals}")
        return lines

    def to_device(self, batch: CropBatch) -> CropBatch:
        """Return a batch on the run's device."""
        device = self.accelerator.device
        moved = (None if value is None else value.to(device, non_blocking=True) for value in batch)
        return CropBatch(*moved)  # type: ignore[arg-type]

    def forward(self, model: nn.Module, batch: CropBatch) -> torch.Tensor:
        """Return float32 logits (N,) of a batch, computed in the run's precision."""
        with self.accelerator.autocast():
            images = channels_last(batch.images)
            logits: torch.Tensor = model(images) if batch.lengths is None else model(images, batch.lengths)
        return logits.float()


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """Return a batch of images with their channels together in memory; sequences unchanged."""
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


@contextmanager
def open_run(
    config: TrainingConfig,
    *,
    loss: LossFunction | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    show_progress: bool = True,
    log: Callable[[str], None] | None = None,
) -> Iterator[Run]:
    """Make a run from its options, in its locked folder; see :func:`loop.train` for the arguments.

    Whatever makes the options or the data unusable is raised before the folder is created.
    """
    accelerator = start_accelerator(config)
    is_main = bool(accelerator.is_main_process)
    shown = show_progress and is_main
    train_rows, val_rows, leak_notes = _checked_splits(config, accelerator, show_progress=shown)
    set_seed(config.seed)
    model = create_network(config)
    model.to(accelerator.device).to(memory_format=torch.channels_last)
    average = averaged(model, config.ema) if config.ema else None
    plugins = _plugins(config, loss, augment)

    with open_run_folder(config.out, log=log, is_main_process=is_main) as folder:
        teachers = _teachers(config, model, train_rows, val_rows, accelerator)
        wanted = _wanted_options(config, train_rows, val_rows, teachers, plugins)
        folder.check_options(wanted, free_to_change=_FREE_TO_CHANGE)
        on_main(accelerator, lambda: prepare_fakes(config, train_rows, val_rows, show_progress=shown))
        blender = make_blender(config, train_rows)
        if selects_on_blends(config, val_rows):
            val_rows = val_blends(config)
        data = CropDataModule(
            config,
            train_rows,
            val_rows,
            preprocessing=model.spec.preprocessing,
            rank=accelerator.process_index,
            num_processes=accelerator.num_processes,
            pins_memory=accelerator.device.type == "cuda",
            blender=blender,
            augment=augment,
        )
        fake_weight = class_weight(data.train_labels) if config.balance == "weight" else 1.0
        run = Run(
            config=config,
            accelerator=accelerator,
            folder=folder,
            train_rows=train_rows,
            val_rows=val_rows,
            model=model,
            average=average,
            data=data,
            loss=TrainingLoss(config, fake_weight=fake_weight, function=loss),
            teachers=teachers,
            sphere=SphereLoss.of(config, model),
            blender=blender,
            callbacks=make_callbacks(config, folder, callbacks),
            plugins=plugins,
            leak_notes=leak_notes,
            show_progress=shown,
        )
        folder.write_options(wanted)
        accelerator.wait_for_everyone()
        yield run


def create_network(config: TrainingConfig) -> Any:
    """Return the untrained network that the options describe."""
    shared: dict[str, Any] = {
        name: getattr(config, name) for name in ("backbone", "weights", "dropout", "image_size")
    }
    model: Any  # a classifier or a sequence model
    if config.temporal:
        model = create_sequence_model(temporal=config.temporal, num_frames=config.clip_frames, **shared)
    else:
        model = create_model(head=config.head, pooling=config.pooling, stem=config.stem, **shared)
    words = parse_finetune(config.finetune)
    if "lora" in words:
        add_lora(model, rank=config.lora_rank)
    if "svd" in words:
        add_svd(model, rank=config.svd_rank)
    return model


def _checked_splits(
    config: TrainingConfig, accelerator: Accelerator, *, show_progress: bool
) -> tuple[Manifest, Manifest, tuple[str, ...]]:
    """Return the rows to train on and to validate on, and what the leak check let pass."""
    rows = chosen_rows(config)
    train_rows, val_rows = training_splits(rows, config)
    allowed = config.allowed_leaks
    notes = on_main(accelerator, lambda: check_no_leak(rows, allowed=allowed, show_progress=show_progress))
    for note in notes if accelerator.is_main_process else ():
        warnings.warn(note, stacklevel=5)  # at the caller of train
    return train_rows, val_rows, notes


def _plugins(
    config: TrainingConfig, loss: LossFunction | None, augment: Augment | None
) -> tuple[PluginPart, ...]:
    """Return the parts that are not the library's own, for the detector file to name."""
    parts = [
        LOSSES.plugin_part(config.loss) if loss is None else _part("loss", loss),
        AUGMENTATIONS.plugin_part(config.augmentation) if augment is None else _part("augmentation", augment),
    ]
    return tuple(part for part in parts if part is not None)


def _part(kind: str, function: Callable[..., object]) -> PluginPart | None:
    named = function if hasattr(function, "__qualname__") else type(function)
    return plugin_part(kind, named.__qualname__, named.__module__)


def _teachers(
    config: TrainingConfig, model: Any, train_rows: Manifest, val_rows: Manifest, accelerator: Accelerator
) -> Teachers | None:
    if not config.teachers:
        return None
    teachers = Teachers(
        config.teachers,
        preprocessing=model.spec.preprocessing,
        geometry=train_rows.geometry,
        device=accelerator.device,
    )
    teachers.check_unseen(video_digests(val_rows))
    return teachers


def _wanted_options(
    config: TrainingConfig,
    train_rows: Manifest,
    val_rows: Manifest,
    teachers: Teachers | None,
    plugins: Sequence[PluginPart],
) -> dict[str, str]:
    """Return what distinguishes this run from others: its options, and which videos it reads."""
    hashes = [] if teachers is None else [fact.sha256 for fact in teachers.facts]
    return {
        **config.to_text(),
        "plugins": ", ".join(map(str, plugins)),
        "train_videos_sha256": train_rows.video_ids_sha256(),
        "val_videos_sha256": val_rows.video_ids_sha256(),
        "teachers_sha256": str(hashes),
    }
