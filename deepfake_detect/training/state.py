"""The state that a run resumes from: model, optimizer, history, and progress within the epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from accelerate.utils import gather_object

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE
from deepfake_detect.training.history import EpochRecord
from deepfake_detect.training.kept_epochs import epoch_file
from deepfake_detect.training.prepare import Run
from deepfake_detect.training.stages import Stage

_VERSION = 4


@dataclass
class EpochProgress:
    """What a process has done of the current epoch.

    Attributes:
        num_batches: Batches, unreadable ones included.
        num_images, num_correct, num_fake: Crops (sequences), those correct at 0.5, and fakes.
        unreadable: Rows of crops that could not be read.
        seconds, loading_seconds: Time spent, and of this, waiting for crops.
    """

    losses: list[float] = field(default_factory=list)
    num_batches: int = 0
    num_images: int = 0
    num_correct: int = 0
    num_fake: int = 0
    unreadable: set[int] = field(default_factory=set)
    seconds: float = 0.0
    loading_seconds: float = 0.0

    def add(self, group: Sequence[CropBatch], step: tuple[float, int] | None, *, seconds: float) -> None:
        """Count the batches of a step with its loss and number of correct crops."""
        if step is not None:
            self.losses.append(step[0])
            self.num_correct += step[1]
        self.num_batches += len(group)
        self.num_images += sum(len(batch.rows) for batch in group)
        self.num_fake += sum(int((batch.labels == FAKE).sum()) for batch in group)
        self.unreadable.update(row for batch in group for row in batch.unreadable_rows.tolist())
        self.seconds = seconds

    def timed_groups(self, batches: Iterator[CropBatch], size: int) -> Iterator[list[CropBatch]]:
        """Yield the batches of each step, and count the time waited for them."""
        while True:
            started = time.perf_counter()
            group = list(islice(batches, size))
            self.loading_seconds += time.perf_counter() - started
            if not group:
                return
            yield group

    def totals(self) -> tuple[int, int, int]:
        """Return how many crops were correct, were fake, and were seen, over all processes."""
        counts = gather_object([(self.num_correct, self.num_fake, self.num_images)])
        num_correct, num_fake, num_images = (sum(of_processes) for of_processes in zip(*counts, strict=True))
        return num_correct, num_fake, num_images


@dataclass(frozen=True, eq=False)
class RunState:
    """Where a run is.

    Attributes:
        epoch: The current epoch, from 1.
        stage: Name of its stage; empty for a new run.
        progress: Within the epoch.
        history: Records of the finished epochs.
        optimizer, scaler: Their states; ``None`` for a new run, or without a scaler.
    """

    epoch: int = 1
    stage: str = ""
    progress: EpochProgress = field(default_factory=EpochProgress)
    history: list[EpochRecord] = field(default_factory=list)
    optimizer: dict[str, Any] | None = None  # Any: torch's own
    scaler: dict[str, Any] | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing was trained yet."""
        return not self.stage

    def restore(self, optimizer: Any, scaler: Any | None) -> None:
        """Load the states of the optimizer and of the gradient scaler, where there is one."""
        optimizer.load_state_dict(self.optimizer)
        if scaler is not None:
            scaler.load_state_dict(self.scaler)


def read_state(run: Run) -> RunState:
    """Load model and average as the run left them, and return the rest of its state.

    Raises:
        CheckpointError: The state is damaged, or of another version.
        OptionError: It is of another number of processes, or past an epoch that is to be kept.
    """
    state = run.folder.read_state(version=_VERSION)
    if state is None:
        return RunState()
    num_processes = run.accelerator.num_processes
    if state["num_processes"] != num_processes:
        cause = f"was started by {state['num_processes']} processes, now there are {num_processes}"
        raise OptionError(run.config.out, cause, "resume with the same number, or pass another `out`")
    for epoch in run.config.save_epochs:
        if epoch < state["epoch"] and not epoch_file(run.config.out, epoch).is_file():
            cause = f"names epoch {epoch}, and the run in {run.config.out} is past it"
            raise OptionError("save_epochs", cause, "omit it, or pass another `out`")
    run.model.load_state_dict(state["model"])
    if run.average is not None:
        run.average.load_state_dict(state["average"])
    return RunState(
        epoch=state["epoch"],
        stage=state["stage"],
        progress=EpochProgress(**state["progress"][run.accelerator.process_index]),
        history=[EpochRecord(**record) for record in state["history"]],
        optimizer=state["optimizer"],
        scaler=state["scaler"],
    )


def save_state(
    run: Run,
    stage: Stage,
    epoch: int,
    optimizer: Any,
    progress: EpochProgress,
    history: Sequence[EpochRecord],
) -> None:
    """Write the state that the run resumes from; all processes call it."""
    scaler = run.accelerator.scaler
    state = {
        "epoch": epoch,
        "stage": stage.name,
        "num_processes": run.accelerator.num_processes,
        "progress": gather_object([asdict(progress)]),  # of each process
        "model": run.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "history": [asdict(record) for record in history],
    }
    run.folder.write_state(state, version=_VERSION)
    run.accelerator.wait_for_everyone()
