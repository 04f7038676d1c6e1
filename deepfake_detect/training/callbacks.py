"""What happens in a run, for those who want to follow it: a CSV, TensorBoard, W&B, MLflow, your own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, fields
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.history import EpochRecord, StepRecord, TrainingResult
from deepfake_detect.training.run_folder import RunFolder

_PROJECT = "deepfake_detect"


class Callback:
    """Base class for callbacks of a training run; override the methods you need. Only the main process
    calls them.

    An exception ends the run; started again, it resumes from its last saved state.

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
        """Do something after each epoch (the last one of the history), before the run's state is saved."""

    def on_end(self, result: TrainingResult) -> None:
        """Do something at the end of the run, after all files are written."""


class _CsvHistory(Callback):
    """Writes ``history.csv``, one line per epoch."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        self._folder.write_history([field.name for field in fields(EpochRecord)], map(astuple, history))


class _FigureLog(Callback):
    """Passes the figures of each epoch on: ``log(figures, epoch)``, and at the end ``close()``."""

    def __init__(self, log: Callable[[dict[str, float], int], Any], close: Callable[[], Any]) -> None:
        self._log, self._close = log, close

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        figures = asdict(history[-1])
        self._log({k: v for k, v in figures.items() if isinstance(v, (int, float))}, history[-1].epoch)

    def on_end(self, result: TrainingResult) -> None:
        self._close()


def make_callbacks(
    config: TrainingConfig, folder: RunFolder, own: Sequence[Callback]
) -> tuple[Callback, ...]:
    """Return the callbacks of a run: the CSV, those that the options name, and the caller's own.

    Raises:
        OptionError: A library is not installed.
    """
    if not folder.is_main_process:
        return ()
    named = [start(config) for option, start in _SERVICES.items() if getattr(config, option)]
    return (_CsvHistory(folder), *named, *own)


def _tensorboard(config: TrainingConfig) -> Callback:
    module = _installed("torch.utils.tensorboard.writer", "tensorboard")
    writer = module.SummaryWriter(str(config.out / "tensorboard"))

    def log(figures: dict[str, float], epoch: int) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    return _FigureLog(log, writer.close)


def _wandb(config: TrainingConfig) -> Callback:
    run = _installed("wandb", "wandb").init(
        project=_PROJECT, name=config.out.name, dir=str(config.out), config=config.to_text()
    )
    return _FigureLog(lambda figures, epoch: run.log(figures, step=epoch), run.finish)


def _mlflow(config: TrainingConfig) -> Callback:
    mlflow = _installed("mlflow", "mlflow")
    mlflow.set_experiment(_PROJECT)
    mlflow.start_run(run_name=config.out.name)
    mlflow.log_params(config.to_text())
    return _FigureLog(lambda figures, epoch: mlflow.log_metrics(figures, step=epoch), mlflow.end_run)


_SERVICES = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _installed(module: str, library: str) -> Any:  # Any: none of them need be installed, nor has types
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"install it (pip install {library}), or omit `{library}`"
        raise OptionError(library, "is not installed", remedy) from error
