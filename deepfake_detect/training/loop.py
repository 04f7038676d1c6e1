"""The training loop: read it from ``train`` downwards."""

from __future__ import annotations

import copy
import io
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    InitProcessGroupKwargs,
    broadcast,
    broadcast_object_list,
    gather_object,
    set_seed,
)
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from deepfake_detect._version import __version__
from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.video_digests import seen_by_all, video_digests
from deepfake_detect.device import choose_device, fast_precision, keep_freed_memory
from deepfake_detect.errors import (
    CheckpointError,
    DeepfakeDetectError,
    ManifestError,
    OptionError,
    SanityError,
)
from deepfake_detect.forgery.blended_crops import Blender
from deepfake_detect.io.files import atomic_path, file_lock, make_folder, read_json, write_json
from deepfake_detect.metrics import roc_auc
from deepfake_detect.models.checkpoint import save_detector
from deepfake_detect.models.config import DetectorConfig, TrainingFacts
from deepfake_detect.models.lora import merge_lora
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.training import sanity
from deepfake_detect.training.build import create_network
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import CropDataModule, training_splits
from deepfake_detect.training.finetune import (
    Part,
    freeze,
    head_part,
    parse_finetune,
    set_modes,
    trained_parts,
)
from deepfake_detect.training.forged import make_blender, selects_on_blends, val_blends, write_val_blends
from deepfake_detect.training.history import (
    EpochRecord,
    TrainingResult,
    cross_entropy,
    video_auc,
    write_history,
)
from deepfake_detect.training.journal import Journal
from deepfake_detect.training.kept_epochs import epoch_file
from deepfake_detect.training.losses import class_weight, distillation_loss, loss_from_config, mix_batch
from deepfake_detect.training.optimization import (
    SharpnessAware,
    averaged,
    lr_factor,
    make_optimizer,
    num_joined,
    plateau_factor,
)
from deepfake_detect.training.processes import join_restarted_group
from deepfake_detect.training.teachers import Teachers

DETECTOR_NAME = "detector.safetensors"
_STATE_NAME = "state.pt"
_CONFIG_NAME = "config.json"
_LONGEST_WAIT = timedelta(hours=12)
_STATE_VERSION = 3
# What a run may go on with in another form: none of it changes what is learned.
_FREE_TO_CHANGE = {
    *("manifest", "out", "device", "num_workers", "allow_leak"),
    *("save_every", "save_epochs", "sanity", "tensorboard"),
    "teachers",  # their hashes tell
}
_HEAD = "head"
_SMOOTHING_BATCHES = 50  # over which the loss shown beside the progress bar is averaged


def train(
    config: TrainingConfig, *, show_progress: bool = True, say: Callable[[str], None] | None = None
) -> TrainingResult:
    """Train a detector and leave it in ``config.out``.

    First it is made sure that the run is worth starting (:mod:`training.sanity`). Then the head is
    trained alone on the frozen backbone, then what ``config.finetune`` names. After each epoch the
    validation AUC over videos is measured; the best epoch's network is kept as
    ``detector.safetensors``. ``history.csv``, ``config.json`` and ``log.txt`` are written beside it,
    and in ``epochs`` detectors of the epochs that ``config.save_epochs`` names.

    A run that was stopped, by whatever, goes on when started again with the same config and ends,
    on a CPU, with the weights of the unbroken run bit for bit. On a GPU the seed settles order,
    augmentation and first weights alike, but sums may differ in their last bits. Runs as one process,
    or as several under ``torchrun`` or ``accelerate launch``.

    Args:
        config: The run.
        show_progress: Whether to draw progress bars.
        say: Called with each line of the log, such as ``print``.

    Returns:
        Path of the detector, the history, and what was made sure of.

    Raises:
        ManifestError: A split lacks a class, or splits of the manifest leak into one another by a
            kind that ``config.allow_leak`` does not name, see :mod:`data.audit`.
        SanityError: A gate did not pass.
        OptionError: The folder holds a run with another config, or one that has gone past an epoch
            that is to be kept; ``config.where`` cannot be read.
        OutputError: Another process trains in the folder.
    """
    run = _Run(config, show_progress=show_progress)
    is_main = run.accelerator.is_main_process
    with file_lock(make_folder(config.out), what="training") if is_main else nullcontext():
        run.prepare(say)
        return run.finish()


@dataclass
class _Epoch:
    """What an epoch has gathered so far; written with the run's state, so that it can go on."""

    losses: list[float] = field(default_factory=list)
    num_batches: int = 0
    num_images: int = 0
    num_right: int = 0
    num_fake: int = 0
    unreadable: set[int] = field(default_factory=set)
    seconds: float = 0.0
    loading_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class _Stage:
    """Epochs that share an optimizer.

    Attributes:
        name: ``head`` or the regime.
        first, last: Of its epochs.
        parts: What is trained, the head first, then from the top down.
    """

    name: str
    first: int
    last: int
    parts: Sequence[Part]

    def position(self, epoch: int, share: float) -> float:
        """Return the share of the stage that is done, ``share`` of an epoch being done."""
        return (epoch - self.first + share) / (self.last - self.first + 1)


class _Run:
    """The state of one run, from the first step to the last; making it writes nothing."""

    def __init__(self, config: TrainingConfig, *, show_progress: bool) -> None:
        device = choose_device(config.device)
        if device.type == "cpu":
            keep_freed_memory()
        self.config = config
        precision = fast_precision(device) if config.precision == "auto" else config.precision
        if config.sam and precision == "fp16":
            precision = "no"  # it needs two exact gradients a step
        AcceleratorState._reset_state()  # an earlier run of this program may have had another precision
        join_restarted_group(device, timeout=_LONGEST_WAIT)
        # While the main process looks for leaks and faces, the others wait for it.
        patience = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
        self.accelerator = Accelerator(
            mixed_precision=precision, cpu=device.type == "cpu", kwargs_handlers=[patience]
        )
        is_main = self.accelerator.is_main_process
        self.shows_progress = show_progress and is_main
        rows = read_manifest(config.manifest)
        rows = rows if config.where is None else rows.where(config.where)
        self.train_rows, self.val_rows = training_splits(rows, config)
        self._refuse_leaks(rows)
        set_seed(config.seed)
        self.model = create_network(config)
        self.model.to(self.accelerator.device).to(memory_format=torch.channels_last)
        self.average = averaged(self.model, config.ema) if config.ema else None
        self.history: list[EpochRecord] = []
        self.named_unreadable: set[Path] = set()
        self.num_blended = 0  # reals of which fakes are made

    def prepare(self, say: Callable[[str], None] | None) -> None:
        """Open the folder of the run, and make ready what it reads."""
        config, is_main = self.config, self.accelerator.is_main_process
        self.teachers = self._teachers()
        wanted = self._wanted_config()
        self._refuse_other_run(wanted)
        blender = self._make_fakes()
        self.feed = CropDataModule(
            config,
            self.train_rows,
            self.val_rows,
            preprocessing=self.model.spec.preprocessing,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
            pins_memory=self.accelerator.device.type == "cuda",
            blender=blender,
        )
        self.fake_weight = class_weight(self.feed.train_labels) if config.balance == "weight" else 1.0
        if is_main:
            write_json(config.out / _CONFIG_NAME, wanted)
        self.accelerator.wait_for_everyone()
        self.journal = Journal(config.out, echo=say, is_silent=not is_main, tensorboard=config.tensorboard)
        if blender is not None:
            self.num_blended = len(blender.rows)

    def _teachers(self) -> Teachers | None:
        if not self.config.teachers:
            return None
        teachers = Teachers(
            self.config.teachers,
            preprocessing=self.model.spec.preprocessing,
            geometry=self.train_rows.geometry,
            device=self.accelerator.device,
        )
        teachers.require_unseen(video_digests(self.val_rows))
        return teachers

    def _refuse_leaks(self, rows: Manifest) -> None:
        """End every process of the run where splits leak; the main process alone looks."""
        answer: Any = None
        if self.accelerator.is_main_process:
            try:
                allowed = self.config.allow_leak
                answer = check_no_leak(rows, allowed=allowed, show_progress=self.shows_progress)
            except DeepfakeDetectError as error:
                answer = error
        self.leak_notes: tuple[str, ...] = tuple(self._shared(answer))
        for note in self.leak_notes:
            warnings.warn(note, stacklevel=2)

    def _make_fakes(self) -> Blender | None:
        """Return what makes fakes of the training reals, and see to it that validation has fakes.

        The main process looks for faces and writes; the others read what it leaves."""
        own_fakes = selects_on_blends(self.config, self.val_rows)
        is_main, shown = self.accelerator.is_main_process, self.shows_progress

        def make() -> Blender | None:
            if own_fakes and is_main:
                write_val_blends(self.config, self.val_rows, show_progress=shown)
            return make_blender(self.config, self.train_rows, keep=is_main, show_progress=shown)

        blender: Blender | None = self._first_in_main(make)
        if own_fakes:
            self.val_rows = val_blends(self.config)
        return blender

    def _first_in_main(self, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns here, having let the main process make it first; raise its
        error in every process."""
        made: Any = None
        answer: Any = ()
        if self.accelerator.is_main_process:
            try:
                made = make()
            except DeepfakeDetectError as error:
                answer = error
        self._shared(answer)
        return made if self.accelerator.is_main_process else make()

    def _shared(self, answer: Any) -> Any:
        """Return the main process's answer in it, and nothing in the others; raise it in all when it
        is an error."""
        (answer,) = broadcast_object_list([answer])
        if isinstance(answer, DeepfakeDetectError):
            raise answer
        return answer if self.accelerator.is_main_process else ()

    def finish(self) -> TrainingResult:
        """Run every epoch that is not done yet."""
        stages = self._stages()
        state = self._stored_state()
        gates: tuple[sanity.GateResult, ...] = ()
        if state is None:
            self.journal.say(f"{self.config.backbone}, regime {self.config.finetune}, {_size(self.model)}")
            if self.config.forgery:
                made_of = f"{self.num_blended:,} of {self._num_train_reals():,} training reals"
                self.journal.say(f"fakes ({self.config.forgery}) are made of {made_of}")
            gates = self._check_sanity(stages[-1].parts) if self.config.sanity else ()
            torch.manual_seed(self.config.seed)  # whatever the gates have drawn
            self._recalibrate_batchnorm(self.config.num_recalibration_batches)
            self._keep_epoch(0, self.model)
        else:
            self.journal.say(
                f"goes on in epoch {state['epoch']} after {state['progress'][0]['num_batches']} batches"
            )
        for stage in stages:
            if (state is None or state["epoch"] <= stage.last) and not self._is_stalled():
                self._run_stage(stage, state)
        return TrainingResult(
            self.config.out / DETECTOR_NAME, tuple(self.history), self.accelerator.is_main_process, gates
        )

    def _stages(self) -> list[_Stage]:
        """Return the run's stages: the head's, then the regime's; one alone where they are the same."""
        config = self.config
        parts = trained_parts(self.model, config.finetune, top_blocks=config.top_blocks)
        num_head, num_all = config.head_epochs, config.head_epochs + config.epochs
        if parse_finetune(config.finetune) in (("features",), ("scratch",)):
            num_head = 0
        stages = [
            _Stage(_HEAD, 1, num_head, [head_part(self.model)]),
            _Stage(config.finetune, num_head + 1, num_all, parts),
        ]
        return [stage for stage in stages if stage.first <= stage.last]

    def _check_sanity(self, parts: Sequence[Part]) -> tuple[sanity.GateResult, ...]:
        """Go through the gates in the main process; end every process where one does not pass."""
        answer: Any = ()
        if self.accelerator.is_main_process:
            try:
                answer = sanity.require(self._gates(parts), say=self.journal.say)
            except DeepfakeDetectError as error:
                answer = error
        return tuple(self._shared(answer))

    def _gates(self, parts: Sequence[Part]) -> Iterator[sanity.GateResult]:
        labels = {"train": self.feed.train_labels, "val": self.feed.val_labels}
        yield sanity.check_labels(labels, is_balanced=self.config.balance in ("sampler", "weight"))
        yield sanity.check_splits(self.leak_notes, self.config.allow_leak)
        batch = self._on_device(self.feed.plain_batch("train", self.config.batch_size))
        out = self.config.out
        yield sanity.check_images(batch, self.model.spec.preprocessing, out / sanity.SHEET_NAME)
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            logits = self._forward(self.model, batch)
        yield sanity.check_initial_loss(logits, batch.labels)
        freeze(self.model, parts)
        yield sanity.check_one_batch(self.model, batch, self._forward)
        *train, _ = self._features("train")
        *val, rows = self._features("val")
        videos = self.val_rows.columns(["video_id"])["video_id"].take(rows).to_pylist()
        of_class = {is_fake: set[str]() for is_fake in (False, True)}
        for video, label in zip(videos, val[1], strict=True):
            of_class[label == FAKE].add(video)
        yield sanity.check_signal(
            (train[0], train[1]),
            (val[0], val[1]),
            num_val_videos=(len(of_class[False]), len(of_class[True])),
            seed=self.config.seed,
        )
        self.model.train(was_training)

    def _features(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return features (N, F) of some crops of a split, their labels (N,) and rows (N,)."""
        features, labels, rows = [], [], []
        with torch.no_grad():
            for batch in self.feed.signal_batches(split):
                images = batch.images if batch.lengths is None else batch.images[:, 0]
                with self.accelerator.autocast():
                    found = self.model.features(self._laid_out(images.to(self.accelerator.device)))
                features.append(found.float().flatten(1).cpu().numpy())
                labels.append(batch.labels.numpy().astype(int))
                rows.append(batch.rows.numpy())
        self._require_both_classes(np.concatenate([np.zeros(0, int), *labels]), f"{split} crops looked at")
        return np.concatenate(features), np.concatenate(labels), np.concatenate(rows)

    def _num_train_reals(self) -> int:
        return self.train_rows.where(f"label = {REAL}").num_rows

    def _require_both_classes(self, labels: np.ndarray, of: str) -> None:
        """Refuse to go on where no crop of a class can be read."""
        for label, word in ((REAL, "real"), (FAKE, "fake")):
            if not (labels == label).any():
                cause = f"no {word} one of the {of} can be read"
                raise ManifestError(self.config.manifest, cause, "extract the videos again")

    def _wanted_config(self) -> dict[str, str]:
        """Return what tells this run from others: its options, and which videos it reads."""
        wanted = {key: str(value) for key, value in asdict(self.config).items()}
        wanted["train_videos_sha256"] = self.train_rows.video_ids_sha256()
        wanted["val_videos_sha256"] = self.val_rows.video_ids_sha256()
        wanted["teachers_sha256"] = str(
            [fact.sha256 for fact in (self.teachers.facts if self.teachers else ())]
        )
        return wanted

    def _refuse_other_run(self, wanted: dict[str, str]) -> None:
        """Refuse a folder that holds another run."""
        path = self.config.out / _CONFIG_NAME
        stored = read_json(path) if path.exists() else {}
        compared = wanted.keys() - _FREE_TO_CHANGE
        changed = sorted(key for key in compared if stored.get(key, wanted[key]) != wanted[key])
        if changed:
            raise OptionError(
                self.config.out,
                f"holds a run with other values of {', '.join(changed)}",
                "pass another --out, or the same options to go on with it",
            )

    def _stored_state(self) -> dict[str, Any] | None:
        """Load network and history as the run left them when it was stopped, if it was."""
        path = self.config.out / _STATE_NAME
        if not path.exists():
            return None
        try:
            # Onto the CPU: several processes call it "cpu:0" there, which torch cannot load onto.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            is_known = state["state_version"] == _STATE_VERSION
        except Exception as error:  # torch.load raises many unrelated kinds for a damaged file
            raise CheckpointError(
                path, "is damaged", "delete the folder of the run, or pass another"
            ) from error
        if not is_known:
            raise CheckpointError(
                path, "was written by another version", "finish the run with it, or pass another folder"
            )
        if state["num_processes"] != self.accelerator.num_processes:
            raise OptionError(
                self.config.out,
                f"was begun by {state['num_processes']} processes, now there are "
                f"{self.accelerator.num_processes}",
                "go on with as many, or pass another --out",
            )
        self._refuse_past_epochs(state["epoch"])
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        return state

    def _refuse_past_epochs(self, current: int) -> None:
        """Refuse to keep an epoch that has gone by."""
        for epoch in self.config.save_epochs:
            if epoch < current and not epoch_file(self.config.out, epoch).is_file():
                cause = f"names epoch {epoch}, which the run in {self.config.out} has gone past"
                raise OptionError("save_epochs", cause, "leave it out, or pass another --out")

    def _run_stage(self, stage: _Stage, state: dict[str, Any] | None) -> None:
        """Run the epochs of a stage, or those of them that ``state`` lacks."""
        freeze(self.model, stage.parts)
        optimizer = self.accelerator.prepare(make_optimizer(stage.parts, self.config))
        # Wrapped only to share gradients: autocast is entered explicitly around each forward.
        is_shared = self.accelerator.num_processes > 1
        model = self.accelerator.prepare(self.model) if is_shared else self.model
        first, progress = stage.first, _Epoch()
        if state is not None and state["stage"] == stage.name:
            optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            own = state["progress"][self.accelerator.process_index]
            first, progress = state["epoch"], _Epoch(**own)
        for epoch in range(first, stage.last + 1):
            if self._is_stalled():
                break
            self._run_epoch(epoch, stage, model, optimizer, progress)
            progress = _Epoch()
        # The raw network goes into the next stage without this stage's wrappers.
        self.model = self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        self.accelerator.free_memory(optimizer)

    def _is_stalled(self) -> bool:
        """Tell whether fine-tuning has gone on for too long without a better validation AUC."""
        if not self.config.patience:
            return False
        tuned = [record.val_video_auc for record in self.history if record.stage != _HEAD]
        since_best = len(tuned) - 1 - int(np.argmax(tuned)) if tuned else 0
        return since_best >= self.config.patience

    def _run_epoch(
        self, epoch: int, stage: _Stage, model: nn.Module, optimizer: Any, progress: _Epoch
    ) -> None:
        """Train for an epoch, or what is left of it, validate, and keep what it left."""
        started = time.perf_counter()
        self._train_epoch(epoch, stage, model, optimizer, progress)
        self._require_readable(progress.losses, "training")
        num_right, num_fake, num_images = self._total(progress)
        self._require_both_trained(num_fake, num_images)
        self._share_statistics()
        trained = [p for part in stage.parts for p in part.parameters]
        num_unreadable = self._name_unreadable(self.train_rows, progress.unreadable, "training")
        logits, labels, videos = self._validate(self._validated())
        record = EpochRecord(
            epoch=epoch,
            stage=stage.name,
            train_loss=float(np.mean(gather_object([float(np.mean(progress.losses))]))),
            val_loss=cross_entropy(logits, labels),
            val_frame_auc=roc_auc(labels, logits),
            val_video_auc=video_auc(logits, labels, videos),
            seconds=time.perf_counter() - started,
            images_per_second=progress.num_images * self.accelerator.num_processes / progress.seconds,
            unreadable=num_unreadable,
            loading_share=progress.loading_seconds / progress.seconds,
            learning_rate=optimizer.param_groups[0]["lr"],
            trained_parameters=sum(parameter.numel() for parameter in trained),
            train_accuracy=num_right / num_images,
            val_accuracy=float(np.mean((logits > 0) == (labels == FAKE))),
        )
        self._keep(record, stage, optimizer)

    def _train_epoch(
        self, epoch: int, stage: _Stage, model: nn.Module, optimizer: Any, progress: _Epoch
    ) -> None:
        num_batches = self.feed.num_train_batches
        before, started = progress.seconds, time.perf_counter()
        groups = self._groups(self.feed.train_batches(epoch, first=progress.num_batches), progress)
        with progress_bar(enabled=self.shows_progress) as bar:
            task = bar.add_task(
                f"epoch {epoch} ({stage.name})", total=num_batches, completed=progress.num_batches, note=""
            )
            for batches in groups:
                share = progress.num_batches / num_batches
                readable = [self._on_device(batch) for batch in batches if len(batch.rows)]
                standing = self._prepare_step(epoch, stage, optimizer, share, batches=readable)
                if readable:
                    place = (epoch, progress.num_batches)
                    loss, num_right = self._step(model, optimizer, readable, place, standing)
                    progress.losses.append(loss)
                    progress.num_right += num_right
                elif self.accelerator.num_processes > 1:
                    raise ManifestError(self.config.manifest, "a whole batch cannot be read", "extract again")
                progress.num_batches += len(batches)
                progress.num_images += sum(len(batch.rows) for batch in batches)
                progress.num_fake += sum(int((batch.labels == FAKE).sum()) for batch in batches)
                progress.unreadable.update(row for batch in batches for row in batch.unreadable_rows.tolist())
                progress.seconds = before + time.perf_counter() - started
                note = f"loss {np.mean(progress.losses[-_SMOOTHING_BATCHES:]):.3f}" if progress.losses else ""
                bar.update(task, completed=progress.num_batches, note=note)
                self._save_within(epoch, stage, optimizer, progress, len(batches))

    def _groups(self, batches: Iterator[CropBatch], progress: _Epoch) -> Iterator[list[CropBatch]]:
        """Yield the batches of each step, measuring how long they are waited for."""
        while True:
            started = time.perf_counter()
            group = list(islice(batches, self.config.accumulate))
            progress.loading_seconds += time.perf_counter() - started
            if not group:
                return
            yield group

    def _prepare_step(
        self, epoch: int, stage: _Stage, optimizer: Any, share: float, *, batches: Sequence[CropBatch]
    ) -> Sequence[Part]:
        """Set modes and learning rates for a step, ``share`` of the epoch being done; return the parts
        that have not joined in yet."""
        config = self.config
        epochs_done = epoch - stage.first + share
        joined = num_joined(len(stage.parts), epochs_done, config.unfreeze_epochs)
        has_statistics = all(len(batch.rows) > 1 for batch in batches)  # one crop has none
        adapts = config.batchnorm == "adapt" and has_statistics
        set_modes(self.model, stage.parts[:joined], adapts=adapts)
        rate = lr_factor(config.schedule, stage.position(epoch, share))
        if config.schedule == "plateau":
            rate = plateau_factor([one.val_video_auc for one in self.history if one.stage == stage.name])
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = group["peak_lr"] * rate if number < joined else 0.0
        return stage.parts[joined:]

    def _step(
        self,
        model: nn.Module,
        optimizer: Any,
        batches: Sequence[CropBatch],
        place: tuple[int, int],
        standing: Sequence[Part],
    ) -> tuple[float, int]:
        """Take one step.

        Args:
            model: The network, wrapped where several processes share its gradients.
            optimizer: Of its parameters.
            batches: What the step is taken on.
            place: Epoch, and number of the first batch in it.
            standing: What stands still in this step.

        Returns:
            The loss, and how many crops are named right.
        """
        optimizer.zero_grad()
        loss, num_right = self._backward(model, batches, place)
        if not math.isfinite(loss):
            cause = f"the loss is {loss} in epoch {place[0]}, batch {place[1] + 1}"
            raise SanityError(self.config.out, cause, "pass another --out and a lower --learning-rate")
        _forget_gradients(standing)
        if self.config.sam:
            trained = (p for group in optimizer.param_groups for p in group["params"])
            climber = SharpnessAware(trained, self.config.sam)
            climber.first_step()
            self._backward(model, batches, place)
            _forget_gradients(standing)
            climber.second_step()
        if self.config.clip_norm:
            self.accelerator.clip_grad_norm_(model.parameters(), self.config.clip_norm)
        optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss, num_right

    def _backward(
        self, model: nn.Module, batches: Sequence[CropBatch], place: tuple[int, int]
    ) -> tuple[float, int]:
        """Add up the gradients of batches; return their mean loss and how many crops are named right.

        Chance depends on the run's seed, the process and the place in the run alone, so that a
        resumed run draws what the unbroken one would have drawn.
        """
        config, total, right = self.config, 0.0, 0
        rng = np.random.default_rng([config.seed, self.accelerator.process_index, *place])
        torch.manual_seed(int(rng.integers(2**62)))
        for number, batch in enumerate(batches):
            images, targets = mix_batch(batch.images, batch.labels, config, rng)
            is_last = number == len(batches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                logits = self._forward(model, batch._replace(images=images))
                loss = self._loss(logits, targets, images)
                self.accelerator.backward(loss / len(batches))
            total += float(loss.detach()) / len(batches)
            right += int(((logits.detach() > 0) == (targets > 0.5)).sum())
        return total, right

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return what a batch's step minimizes: of labels alone, or of labels and teachers."""
        share = self.config.distillation
        of_labels = loss_from_config(self.config, logits, targets, fake_weight=self.fake_weight)
        if self.teachers is None:
            return of_labels
        with self.accelerator.autocast():
            taught = self.teachers.logits(images)
        temperature = self.config.distillation_temperature
        of_teachers = distillation_loss(logits, taught, temperature=temperature)
        return (1 - share) * of_labels + share * of_teachers

    def _forward(self, model: nn.Module, batch: CropBatch) -> torch.Tensor:
        """Return float32 logits (N,) of a batch, computed in the run's precision."""
        with self.accelerator.autocast():
            images = self._laid_out(batch.images)
            logits: torch.Tensor = model(images) if batch.lengths is None else model(images, batch.lengths)
        return logits.float()

    def _laid_out(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images

    def _on_device(self, batch: CropBatch) -> CropBatch:
        device = self.accelerator.device
        return CropBatch(
            *(None if value is None else value.to(device, non_blocking=True) for value in batch)  # type: ignore[arg-type]
        )

    def _share_statistics(self) -> None:
        """Give every process the main one's batch-norm statistics, which are those that are kept."""
        if self.accelerator.num_processes > 1:
            for network in (self.model, self.average):
                for buffer in () if network is None else network.buffers():
                    buffer.copy_(broadcast(buffer))

    def _validate(self, model: nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return logits (N,), labels (N,) and video ids (N,) of the readable validation crops."""
        model.eval()
        found: list[tuple[int, float]] = []
        unreadable = set[int]()
        batches = self.feed.val_batches()
        with torch.inference_mode(), progress_bar(enabled=self.shows_progress) as progress:
            task = progress.add_task("validation", total=len(batches), note="")
            for batch in batches:
                unreadable.update(batch.unreadable_rows.tolist())
                if len(batch.rows):
                    logits = self._forward(model, self._on_device(batch))
                    found += zip(batch.rows.tolist(), logits.tolist(), strict=True)
                progress.advance(task)
        self._name_unreadable(self.val_rows, unreadable, "validation")
        by_row = dict(gather_object(found))
        self._require_readable(by_row, "validation")
        rows = np.array(sorted(by_row), np.int64)
        logits_of_rows = np.array([by_row[row] for row in rows])
        columns = self.val_rows.columns(["label", "video_id"]).take(rows)
        self._require_both_classes(columns["label"].to_numpy(), "validation crops")
        if not np.isfinite(logits_of_rows).all():
            cause = "the network answers validation crops with values that are not finite"
            raise SanityError(self.config.out, cause, "pass another --out and a lower --learning-rate")
        return logits_of_rows, columns["label"].to_numpy(), columns["video_id"].to_numpy()

    def _name_unreadable(self, rows: Manifest, own: set[int], purpose: str) -> int:
        """Warn once a run about each crop that a process could not read; return how many crops."""
        found = sorted(set(gather_object(sorted(own))))
        if found and self.accelerator.is_main_process:
            names = rows.columns(["path"])["path"].take(found).to_pylist()
            paths = [rows.root / name for name in names]
            cause = "cannot be read or blended" if self.config.forgery else "cannot be read"
            for path in dict.fromkeys(paths):
                if path not in self.named_unreadable:
                    warnings.warn(f"left out of {purpose}, {cause}: {path}", stacklevel=2)
            self.named_unreadable.update(paths)
        return len(found)

    def _require_readable(self, done: Sized, purpose: str) -> None:
        if not len(done):
            cause = f"not one of its {purpose} crops can be read"
            raise ManifestError(self.config.manifest, cause, "extract the videos again")

    def _total(self, progress: _Epoch) -> tuple[int, int, int]:
        """Return of all processes how many crops were named right, were fake, and were seen."""
        counts = gather_object([(progress.num_right, progress.num_fake, progress.num_images)])
        num_right, num_fake, num_images = (sum(of) for of in zip(*counts, strict=True))
        return num_right, num_fake, num_images

    def _require_both_trained(self, num_fake: int, num_images: int) -> None:
        """Refuse to go on with a network that was shown one class alone."""
        for word, count in (("fake", num_fake), ("real", num_images - num_fake)):
            if not count:
                cause = f"no {word} one of its training crops can be read"
                raise ManifestError(self.config.manifest, cause, "extract the videos again")

    def _recalibrate_batchnorm(self, num_batches: int) -> None:
        """Measure batch-norm statistics on training crops: faces are not what ImageNet holds."""
        norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        if not norms or not num_batches:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        self.model.train()
        count = min(num_batches, self.feed.num_train_batches)
        with torch.no_grad(), progress_bar(enabled=self.shows_progress) as progress:
            task = progress.add_task("batch-norm statistics", total=count, note="")
            for batch in islice(self.feed.train_batches(0), count):
                if len(batch.rows) > 1:  # batch norm needs two
                    self._forward(self.model, self._on_device(batch))
                progress.advance(task)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def _save_within(self, epoch: int, stage: _Stage, optimizer: Any, progress: _Epoch, num_new: int) -> None:
        """Write the run's state when enough steps have passed since the last time."""
        every = self.config.save_every
        if (
            every
            and progress.num_batches % every < num_new
            and progress.num_batches < self.feed.num_train_batches
        ):
            self._save_state(epoch, stage, optimizer, progress)

    def _save_state(self, epoch: int, stage: _Stage, optimizer: Any, progress: _Epoch) -> None:
        scaler = self.accelerator.scaler
        state = {
            "state_version": _STATE_VERSION,
            "epoch": epoch,
            "stage": stage.name,
            "num_processes": self.accelerator.num_processes,
            "progress": gather_object([asdict(progress)]),  # of each process
            "model": self.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": [asdict(one) for one in self.history],
        }
        if self.accelerator.is_main_process:
            # Put together in memory: torch hides from what a write to a full disk failed.
            written = io.BytesIO()
            torch.save(state, written)
            with atomic_path(self.config.out / _STATE_NAME) as temporary:
                temporary.write_bytes(written.getbuffer())
        self.accelerator.wait_for_everyone()

    def _keep(self, record: EpochRecord, stage: _Stage, optimizer: Any) -> None:
        """Write what the finished epoch left; the detector only when it is the best so far."""
        is_best = all(record.val_video_auc > earlier.val_video_auc for earlier in self.history)
        self.history.append(record)
        if self.accelerator.is_main_process:
            if is_best:
                self._save_best(record)
            write_history(self.config.out / "history.csv", self.history)
        self._keep_epoch(record.epoch, self._validated())
        self._save_state(record.epoch + 1, stage, optimizer, _Epoch())
        figures = {key: value for key, value in asdict(record).items() if isinstance(value, (int, float))}
        self.journal.record(figures, step=record.epoch)
        self.journal.say(
            f"epoch {record.epoch} ({record.stage}): train loss {record.train_loss:.3f}, validation loss "
            f"{record.val_loss:.3f}, AUC {record.val_video_auc:.4f}, {record.images_per_second:.0f} crops/s, "
            f"{record.loading_share:.0%} of it waiting for crops" + (", best so far" if is_best else "")
        )

    def _validated(self) -> Any:
        """Return the network that is validated and kept: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def _save_best(self, record: EpochRecord) -> None:
        told = {"selected_epoch": record.epoch, "val_video_auc": record.val_video_auc}
        self._save_detector(self.config.out / DETECTOR_NAME, self._validated(), told)

    def _keep_epoch(self, epoch: int, model: Any) -> None:
        """Write the detector of an epoch that is to be kept; 0 is before the first step."""
        if epoch in self.config.save_epochs and self.accelerator.is_main_process:
            path = epoch_file(self.config.out, epoch)
            self._save_detector(path, model, {"kept_epoch": epoch})

    def _save_detector(self, path: Path, model: Any, told: dict[str, Any]) -> None:
        """Write a network as a detector file, ``told`` being what sets it apart from others of the run."""
        if "lora" in parse_finetune(self.config.finetune):
            model = copy.deepcopy(model)
            merge_lora(model)
        save_detector(path, model, self._detector_config(told))

    def _detector_config(self, told: dict[str, Any]) -> DetectorConfig:
        datasets = self.train_rows.query("select distinct dataset from rows order by dataset")
        return DetectorConfig(
            name=self.config.name,
            version=self.config.version,
            model=self.model.spec,
            geometry=self.train_rows.geometry,
            training=TrainingFacts(
                library_version=__version__,
                finetune=self.config.finetune,
                forgery=self.config.forgery,
                forgery_share=self.config.forgery_share if self.config.forgery else 0.0,
                num_blended_reals=self.num_blended,
                datasets=tuple(datasets["dataset"].to_pylist()),
                where=self.config.where,
                allow_leak=tuple(sorted(self.config.allow_leak)),
                train_videos_sha256=self.train_rows.video_ids_sha256(),
                val_videos_sha256=self.val_rows.video_ids_sha256(),
                teachers=tuple(self.teachers.facts) if self.teachers else None,
                video_sha256_prefixes=self._videos_seen(),
                num_train_crops=self.train_rows.num_rows,
                num_val_crops=self.val_rows.num_rows,
                **told,
            ),
        )

    def _videos_seen(self) -> dict[str, tuple[str, ...]]:
        """Return the digests of what the run was shown, itself or by its teachers."""
        own = {"train": video_digests(self.train_rows), "val": video_digests(self.val_rows)}
        trainings = [] if self.teachers is None else self.teachers.trainings
        return seen_by_all([own, *(one.video_sha256_prefixes or {} for one in trainings)])


def _forget_gradients(parts: Sequence[Part]) -> None:
    """Take the gradients from parts that stand still: they limit no others and move no average."""
    for part in parts:
        for parameter in part.parameters:
            parameter.grad = None


def _size(model: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters"
