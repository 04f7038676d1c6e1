"""The training loop: read it from ``train`` downwards."""

from __future__ import annotations

import csv
import math
import time
import warnings
from collections.abc import Sized
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, set_seed
from torch import nn
from torch.utils.data import DataLoader

from deepfake_detect._version import __version__
from deepfake_detect.data.crops import (
    CropBatch,
    CropDataset,
    PairedBatchSampler,
    collate_readable,
    reading_worker,
)
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.leaks import require_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.transforms import TrainingAugmentation
from deepfake_detect.device import choose_device, fast_precision, keep_freed_memory
from deepfake_detect.errors import CheckpointError, DeepfakeDetectError, ManifestError, OptionError
from deepfake_detect.files import atomic_path, read_json, write_json
from deepfake_detect.metrics import roc_auc
from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.training.config import TrainingConfig

DETECTOR_NAME = "detector.safetensors"
_STATE_NAME = "state.pt"
# What a run may go on with in another form: none of it changes what is learned.
_FREE_TO_CHANGE = {"manifest", "out", "device", "num_workers", "allow_leak"}
_WARMUP_SHARE = 0.1
_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1, counted over both stages.
        stage: ``"head"`` (backbone frozen) or ``"full"``.
        train_loss: Mean smoothed cross-entropy of the epoch's batches, in nats.
        val_loss: Cross-entropy on validation crops, in nats.
        val_frame_auc: Area under the ROC curve over validation crops.
        val_video_auc: The same over videos, each the mean of its crops; it selects the epoch.
        seconds: Duration of the epoch.
        images_per_second: Training crops a second, over all processes.
        unreadable: Training crops that could not be read, over all processes, and were left out.
    """

    epoch: int
    stage: str
    train_loss: float
    val_loss: float
    val_frame_auc: float
    val_video_auc: float
    seconds: float
    images_per_second: float
    unreadable: int


@dataclass(frozen=True)
class TrainingResult:
    """What a run left: the detector file of the best epoch and the history of all."""

    detector_path: Path
    history: tuple[EpochRecord, ...]
    is_main_process: bool

    @property
    def best(self) -> EpochRecord:
        """The selected epoch: highest validation video AUC, the earliest among equals."""
        return max(self.history, key=lambda record: (record.val_video_auc, -record.epoch))


def train(config: TrainingConfig, *, show_progress: bool = True) -> TrainingResult:
    """Train a detector and leave it in ``config.out``.

    First the head alone on the frozen backbone, then everything. After each epoch the
    validation AUC over videos is measured; the best epoch's network is kept as
    ``detector.safetensors``. ``history.csv`` and ``config.json`` are written beside it. A run
    that was stopped goes on after its last finished epoch when started again with the same
    config. Runs as one process, or as several under ``torchrun`` or ``accelerate launch``.

    Args:
        config: The run.
        show_progress: Whether to draw progress bars.

    Returns:
        Path of the detector and the history.

    Raises:
        ManifestError: A split lacks a class, or splits of the manifest leak into one another by a
            kind that ``config.allow_leak`` does not name, see :mod:`data.audit`.
        OptionError: The folder holds a run with another config, or ``config.where`` cannot be read.
    """
    return _Run(config, show_progress=show_progress).finish()


class _Run:
    """The state of one run, from the first step to the last."""

    def __init__(self, config: TrainingConfig, *, show_progress: bool) -> None:
        device = choose_device(config.device)
        if device.type == "cpu":
            keep_freed_memory()
        self.config = config
        precision = fast_precision(device) if config.precision == "auto" else config.precision
        self.accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
        self.shows_progress = show_progress and self.accelerator.is_main_process
        rows = read_manifest(config.manifest)
        rows = rows if config.where is None else rows.where(config.where)
        self.train_rows, self.val_rows = _training_splits(rows)
        self._refuse_leaks(rows)
        set_seed(config.seed)
        self.model = create_model(config.backbone, weights=config.weights, dropout=config.dropout)
        self.model.to(self.accelerator.device).to(memory_format=torch.channels_last)
        labels, people = labels_and_people(self.train_rows)
        self.sampler = PairedBatchSampler(labels, people, batch_size=config.batch_size, seed=config.seed)
        self.train_batches, self.val_batches = self.accelerator.prepare(*self._loaders())
        self.history: list[EpochRecord] = []
        self.named_unreadable: set[Path] = set()

    def _refuse_leaks(self, rows: Manifest) -> None:
        """End every process of the run where splits leak; the main process alone looks."""
        answer: Any = None
        if self.accelerator.is_main_process:
            try:
                allowed = self.config.allow_leak
                answer = require_no_leak(rows, allowed=allowed, show_progress=self.shows_progress)
            except DeepfakeDetectError as error:
                answer = error
        (answer,) = broadcast_object_list([answer])
        if isinstance(answer, DeepfakeDetectError):
            raise answer
        if self.accelerator.is_main_process:
            for note in answer:
                warnings.warn(note, stacklevel=2)

    def _loaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        preprocessing, geometry = self.model.spec.preprocessing, self.train_rows.geometry
        augment = TrainingAugmentation(self.config.augmentation, preprocessing.image_size)
        self.train_crops = CropDataset(self.train_rows, preprocessing, geometry=geometry, augment=augment)
        val_crops = CropDataset(self.val_rows, preprocessing, geometry=geometry)
        options: dict[str, Any] = {
            "collate_fn": collate_readable,
            "num_workers": self.config.num_workers,
            "worker_init_fn": reseed_worker,
            "pin_memory": self.accelerator.device.type == "cuda",
        }
        return (
            DataLoader(self.train_crops, batch_sampler=self.sampler, **options),
            DataLoader(val_crops, batch_size=self.config.batch_size, **options),
        )

    def finish(self) -> TrainingResult:
        """Run every epoch that is not done yet."""
        self._open_folder()
        state = self._stored_state()
        if state is None and self.config.recalibrate_batches:
            self._recalibrate_batchnorm()
        epoch = 0
        for stage, num_epochs in (("head", self.config.head_epochs), ("full", self.config.epochs)):
            last = epoch + num_epochs
            if num_epochs and (state is None or state["epoch"] < last):
                self._run_stage(stage, first=epoch + 1, last=last, state=state)
            epoch = last
        return TrainingResult(
            self.config.out / DETECTOR_NAME, tuple(self.history), self.accelerator.is_main_process
        )

    def _open_folder(self) -> None:
        """Write the config, or refuse a folder that holds another run."""
        path = self.config.out / "config.json"
        wanted = {key: str(value) for key, value in asdict(self.config).items()}
        wanted["train_videos_sha256"] = self.train_rows.video_ids_sha256()
        wanted["val_videos_sha256"] = self.val_rows.video_ids_sha256()
        if path.exists():
            stored = read_json(path)
            compared = wanted.keys() - _FREE_TO_CHANGE
            changed = sorted(key for key in compared if stored.get(key, wanted[key]) != wanted[key])
            if changed:
                raise OptionError(
                    self.config.out,
                    f"holds a run with other values of {', '.join(changed)}",
                    "pass another --out, or the same options to go on with it",
                )
        elif self.accelerator.is_main_process:
            write_json(path, wanted)
        self.accelerator.wait_for_everyone()

    def _stored_state(self) -> dict[str, Any] | None:
        """Load the network and history of the last finished epoch, if there is one."""
        path = self.config.out / _STATE_NAME
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        except Exception as error:  # torch.load raises many unrelated kinds for a damaged file
            raise CheckpointError(
                path, "is damaged", "delete the folder of the run, or pass another"
            ) from error
        self.model.load_state_dict(state["model"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        return state

    def _run_stage(self, stage: str, *, first: int, last: int, state: dict[str, Any] | None) -> None:
        """Run the epochs ``first`` to ``last`` of a stage, or those of them that ``state`` lacks."""
        for parameter in self.model.encoder.parameters():
            parameter.requires_grad_(stage == "full")
        optimizer = self.accelerator.prepare(self._optimizer(stage))
        # Wrapped only to share gradients: autocast is entered explicitly around each forward.
        is_shared = self.accelerator.num_processes > 1
        model = self.accelerator.prepare(self.model) if is_shared else self.model
        start = first
        if state is not None and state["epoch"] >= first:
            optimizer.load_state_dict(state["optimizer"])
            start = state["epoch"] + 1
        for epoch in range(start, last + 1):
            done = (epoch - first) / (last - first + 1)
            share_of_stage = (done, done + 1 / (last - first + 1))
            record = self._run_epoch(epoch, stage, model, optimizer, share_of_stage)
            self._keep(record, optimizer)
        # The raw network goes into the next stage without this stage's wrappers.
        self.model = self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        self.accelerator.free_memory(optimizer)

    def _optimizer(self, stage: str) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [
            {"params": list(self.model.head.parameters()), "peak_lr": self.config.head_learning_rate}
        ]
        if stage == "full":
            encoder = list(self.model.encoder.parameters())
            groups.append({"params": encoder, "peak_lr": self.config.learning_rate})
        return torch.optim.AdamW(groups, weight_decay=self.config.weight_decay)

    def _run_epoch(
        self, epoch: int, stage: str, model: nn.Module, optimizer: Any, share_of_stage: tuple[float, float]
    ) -> EpochRecord:
        started = time.perf_counter()
        self._seed_epoch(epoch)
        losses: list[float] = []
        num_images, unreadable = 0, set[int]()
        total = len(self.train_batches)
        with progress_bar(enabled=self.shows_progress) as progress:
            task = progress.add_task(f"epoch {epoch} ({stage})", total=total, note="")
            model.train()
            if stage == "head":
                self.model.encoder.eval()  # frozen layers keep frozen statistics
            for step, batch in enumerate(self.train_batches):
                position = share_of_stage[0] + (share_of_stage[1] - share_of_stage[0]) * step / total
                if len(batch.rows):
                    losses.append(self._step(model, optimizer, batch, position))
                    progress.update(task, note=f"loss {np.mean(losses[-50:]):.3f}")
                elif self.accelerator.num_processes > 1:
                    raise ManifestError(self.config.manifest, "a whole batch cannot be read", "extract again")
                num_images += len(batch.rows)
                unreadable.update(batch.unreadable_rows.tolist())
                progress.advance(task)
        train_seconds = time.perf_counter() - started
        num_unreadable = self._name_unreadable(self.train_rows, unreadable, "training")
        self._require_readable(losses, "training")
        logits, labels_seen, videos = self._validate(model)
        return EpochRecord(
            epoch=epoch,
            stage=stage,
            train_loss=float(np.mean(losses)),
            val_loss=_cross_entropy(logits, labels_seen),
            val_frame_auc=roc_auc(labels_seen, logits),
            val_video_auc=_video_auc(logits, labels_seen, videos),
            seconds=time.perf_counter() - started,
            images_per_second=num_images * self.accelerator.num_processes / train_seconds,
            unreadable=num_unreadable,
        )

    def _seed_epoch(self, epoch: int) -> None:
        """Seed by epoch, so that a resumed run draws what the unbroken one would have drawn."""
        set_seed(self.config.seed + 1_000_003 * epoch, device_specific=True)
        self.train_crops.reseed(int(torch.randint(2**31, ())))  # where no worker process reads
        self.sampler.set_epoch(epoch)
        self.train_batches.set_epoch(epoch)

    def _name_unreadable(self, rows: Manifest, own: set[int], purpose: str) -> int:
        """Warn once a run about each crop that a process could not read; return how many crops."""
        found = sorted(set(gather_object(sorted(own))))
        if found and self.accelerator.is_main_process:
            names = rows.columns(["path"])["path"].take(found).to_pylist()
            paths = [rows.root / name for name in names]
            for path in dict.fromkeys(paths):
                if path not in self.named_unreadable:
                    warnings.warn(f"left out of {purpose}, cannot be read: {path}", stacklevel=2)
            self.named_unreadable.update(paths)
        return len(found)

    def _require_readable(self, done: Sized, purpose: str) -> None:
        if not len(done):
            cause = f"not one of its {purpose} crops can be read"
            raise ManifestError(self.config.manifest, cause, "extract the videos again")

    def _step(self, model: nn.Module, optimizer: Any, batch: CropBatch, position: float) -> float:
        """Take one step at ``position`` (0 to 1) of the stage; return its loss."""
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * _rate_share(position)
        smoothing = self.config.label_smoothing
        logits = self._forward(model, batch.images)  # (N,)
        targets = batch.labels * (1 - smoothing) + 0.5 * smoothing
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        optimizer.step()
        return float(loss.detach())

    def _forward(self, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (N,) of images (N, 3, S, S), computed in the run's precision."""
        with self.accelerator.autocast():
            logits: torch.Tensor = model(images.contiguous(memory_format=torch.channels_last))
        return logits.float()

    def _validate(self, model: nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return logits (N,), labels (N,) and video ids (N,) of the readable validation crops."""
        model.eval()
        found: list[tuple[int, float]] = []
        unreadable = set[int]()
        with torch.inference_mode(), progress_bar(enabled=self.shows_progress) as progress:
            task = progress.add_task("validation", total=len(self.val_batches), note="")
            for batch in self.val_batches:
                unreadable.update(batch.unreadable_rows.tolist())
                if len(batch.rows):
                    logits = self._forward(model, batch.images)
                    found += zip(batch.rows.tolist(), logits.tolist(), strict=True)
                progress.advance(task)
        self._name_unreadable(self.val_rows, unreadable, "validation")
        # Keyed by row: with several processes the last batches repeat rows to be of one size.
        by_row = dict(gather_object(found))
        self._require_readable(by_row, "validation")
        rows = np.array(sorted(by_row), np.int64)
        logits_of_rows = np.array([by_row[row] for row in rows])
        columns = self.val_rows.columns(["label", "video_id"]).take(rows)
        return logits_of_rows, columns["label"].to_numpy(), columns["video_id"].to_numpy()

    def _recalibrate_batchnorm(self) -> None:
        """Measure batch-norm statistics on training crops: faces are not what ImageNet holds."""
        norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        if not norms:
            return
        self._seed_epoch(0)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        self.model.train()
        count = min(self.config.recalibrate_batches, len(self.train_batches))
        with torch.no_grad(), progress_bar(enabled=self.shows_progress) as progress:
            task = progress.add_task("batch-norm statistics", total=count, note="")
            for _, batch in zip(range(count), self.train_batches, strict=False):
                if len(batch.rows):
                    self._forward(self.model, batch.images)
                progress.advance(task)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def _keep(self, record: EpochRecord, optimizer: Any) -> None:
        """Write what the finished epoch left; the detector only when it is the best so far."""
        is_best = all(record.val_video_auc > earlier.val_video_auc for earlier in self.history)
        self.history.append(record)
        if self.accelerator.is_main_process:
            if is_best:
                save_detector(self.config.out / DETECTOR_NAME, self.model, self._detector_config(record))
            state = {
                "epoch": record.epoch,
                "model": self.model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": [asdict(one) for one in self.history],
            }
            with atomic_path(self.config.out / _STATE_NAME) as temporary:
                torch.save(state, temporary)
            _write_history(self.config.out / "history.csv", self.history)
        self.accelerator.wait_for_everyone()

    def _detector_config(self, record: EpochRecord) -> DetectorConfig:
        datasets = self.train_rows.query("select distinct dataset from rows order by dataset")
        return DetectorConfig(
            name=self.config.name,
            version=self.config.version,
            model=self.model.spec,
            geometry=self.train_rows.geometry,
            training={
                "library_version": __version__,
                "datasets": datasets["dataset"].to_pylist(),
                "where": self.config.where,
                "allow_leak": sorted(self.config.allow_leak),
                "train_videos_sha256": self.train_rows.video_ids_sha256(),
                "val_videos_sha256": self.val_rows.video_ids_sha256(),
                "num_train_crops": self.train_rows.num_rows,
                "num_val_crops": self.val_rows.num_rows,
                "selected_epoch": record.epoch,
                "val_video_auc": record.val_video_auc,
            },
        )


def labels_and_people(rows: Manifest) -> tuple[np.ndarray, pa.ChunkedArray]:
    """Return label and target identity of rows, as they stand in the file.

    Identities are those of :mod:`data.identities`: the ``id1`` of two datasets are two people, and
    an empty name is nobody's.

    Returns:
        int8 (N,), and text (N,) with null where the identity is not known.
    """
    columns = rows.query(
        f"select label, {identity_sql('target_id')} as target_id from rows order by file_row_number"
    )
    return columns["label"].to_numpy(), columns["target_id"]


def _training_splits(rows: Manifest) -> tuple[Manifest, Manifest]:
    """Return the train and val rows, refusing a split that lacks a class."""
    splits = {name: rows.split(name) for name in ("train", "val")}
    for name, part in splits.items():
        present = part.query("select distinct label from rows")["label"].to_pylist()
        absent = {REAL: "real", FAKE: "fake"}.keys() - set(present)
        if absent:
            words = " and ".join("fake" if label == FAKE else "real" for label in sorted(absent))
            raise ManifestError(
                rows.path, f"split {name} has no {words} crop", "extract videos of both classes"
            )
    return splits["train"], splits["val"]


def reseed_worker(number: int) -> None:
    """Give each reading process its own augmentation, drawn from torch's seed of the epoch."""
    reading_worker(number)
    info = torch.utils.data.get_worker_info()
    if info is not None:
        info.dataset.reseed(info.seed % 2**32)  # type: ignore[attr-defined]


def _rate_share(position: float) -> float:
    """Linear warm-up, then a half cosine down to 0: the learning rate over its peak."""
    if position < _WARMUP_SHARE:
        return (position + 0.01) / (_WARMUP_SHARE + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (position - _WARMUP_SHARE) / (1 - _WARMUP_SHARE)))


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    signed = np.where(labels == FAKE, logits, -logits)
    return float(np.mean(np.logaddexp(0, -signed)))


def _video_auc(logits: np.ndarray, labels: np.ndarray, videos: np.ndarray) -> float:
    """AUC of the mean crop probability of each video."""
    names, index = np.unique(videos.astype(str), return_inverse=True)
    probabilities = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    means = np.bincount(index, probabilities) / np.bincount(index)
    video_labels = np.zeros(len(names), int)
    video_labels[index] = labels
    return roc_auc(video_labels, means)


def _write_history(path: Path, history: list[EpochRecord]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[one.name for one in fields(EpochRecord)])
        writer.writeheader()
        writer.writerows(asdict(record) for record in history)
