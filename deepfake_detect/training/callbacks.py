"""What happens in a run, for those who want to follow it: a CSV, TensorBoard, W&B, MLflow, your own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.history import EpochRecord, StepRecord, TrainingResult
from deepfake_detect.training.run_folder import RunFolder

_PROJECT = "deepfake_detect"


class Callback:
    """Follows a run; override the methods you need. The main process alone calls them.

    An exception ends the run, which resumes from its last state when it is started again.

    Example:
        >>> class Losses(Callback):
        ...     def __init__(self) -> None:
        ...         self.losses: list[float] = []
        ...
        ...     def on_step(self, step: StepRecord) -> None:
        ...         self.losses.append(step.loss)
    """

    def on_step(self, step: StepRecord) -> None:
        """Do something after each step."""

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        """Do something after each epoch, the last of the history, before the run's state is saved."""

    def on_end(self, result: TrainingResult) -> None:
        """Do something at the end of the run, when all files are written."""


class CsvHistory(Callback):
    """Writes ``history.csv``, one line per epoch."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        """Write the whole history."""
        columns = [field.name for field in fields(EpochRecord)]
        self._folder.write_history(columns, map(astuple, history))


class TensorBoardLog(Callback):
    """Writes TensorBoard's event files into ``tensorboard/``."""

    def __init__(self, folder: Path) -> None:
        writer = _installed("torch.utils.tensorboard.writer", "tensorboard")
        self._writer = writer.SummaryWriter(str(folder / "tensorboard"))

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        """Log the figures of the last epoch."""
        for name, value in _figures(history[-1]).items():
            self._writer.add_scalar(name, value, history[-1].epoch)
        self._writer.flush()

    def on_end(self, result: TrainingResult) -> None:
        """Close the event file."""
        self._writer.close()


class WandbLog(Callback):
    """Logs to Weights & Biases."""

    def __init__(self, config: TrainingConfig) -> None:
        self._run = _installed("wandb", "wandb").init(
            project=_PROJECT, name=config.out.name, dir=str(config.out), config=config.to_text()
        )

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        """Log the figures of the last epoch."""
        self._run.log(dict(_figures(history[-1])), step=history[-1].epoch)

    def on_end(self, result: TrainingResult) -> None:
        """Finish the run."""
        self._run.finish()


class MlflowLog(Callback):
    """Logs to MLflow."""

    def __init__(self, config: TrainingConfig) -> None:
        self._mlflow = _installed("mlflow", "mlflow")
        self._mlflow.set_experiment(_PROJECT)
        self._mlflow.start_run(run_name=config.out.name)
        self._mlflow.log_params(config.to_text())

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        """Log the figures of the last epoch."""
        self._mlflow.log_metrics(dict(_figures(history[-1])), step=history[-1].epoch)

    def on_end(self, result: TrainingResult) -> None:
        """Finish the run."""
        self._mlflow.end_run()


def make_callbacks(
    config: TrainingConfig, folder: RunFolder, own: Sequence[Callback]
) -> tuple[Callback, ...]:
    """Return the callbacks of a run: the CSV, those that the options name, and the caller's own.

    Raises:
        OptionError: A library is not installed.
    """
    if not folder.is_main_process:
        return ()
    callbacks: list[Callback] = [CsvHistory(folder)]
    if config.tensorboard:
        callbacks.append(TensorBoardLog(folder.path))
    if config.wandb:
        callbacks.append(WandbLog(config))
    if config.mlflow:
        callbacks.append(MlflowLog(config))
    return (*callbacks, *own)


def _figures(record: EpochRecord) -> Mapping[str, float]:
    return {name: value for name, value in asdict(record).items() if isinstance(value, (int, float))}


def _installed(module: str, library: str) -> Any:  # Any: none of them need be installed, nor has types
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionError(
            library, "is not installed", f"install it (pip install {library}), or leave out `{library}`"
        ) from error
