"""What a run says of itself: a log file, and TensorBoard's events where asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import make_folder

LOG_NAME = "log.txt"


class Journal:
    """Lines and figures of a run, kept in its folder.

    Args:
        folder: Of the run.
        echo: Called with each line too, such as ``print``; ``None`` keeps them in the file alone.
        is_silent: In processes other than the main one nothing is written.
        tensorboard: Whether figures become TensorBoard's events.

    Raises:
        OptionError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, folder: Path, *, echo: Callable[[str], None] | None, is_silent: bool, tensorboard: bool
    ) -> None:
        self._path = folder / LOG_NAME
        self._echo = echo
        self._is_silent = is_silent
        self._writer = _event_writer(folder) if tensorboard and not is_silent else None

    def say(self, line: str) -> None:
        """Add a line to the log."""
        if self._is_silent:
            return
        make_folder(self._path.parent)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        if self._echo is not None:
            self._echo(line)

    def record(self, figures: Mapping[str, float], *, step: int) -> None:
        """Add figures of an epoch or step to TensorBoard's events."""
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()


def _event_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise OptionError(
            "tensorboard", "is not installed", "pip install tensorboard, or leave the option out"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
