"""The folder of a training run: lock, options, state and log, for everything that trains.

with open_run_folder(out) as folder:
    folder.check_options(wanted, free_to_change={"device"})
    state = folder.read_state(version=1)  # None: a new run
    folder.write_options(wanted)
    ...
    folder.log("epoch 1: ...")
    folder.write_state({...}, version=1)
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deepfake_detect.errors import CheckpointError, OptionError, OutputError
from deepfake_detect.io.files import atomic_path, file_lock, make_folder, read_json, write_json

_log = logging.getLogger(__name__)

STATE_NAME = "state.pt"
OPTIONS_NAME = "config.json"
HISTORY_NAME = "history.csv"
LOG_NAME = "log.txt"


@contextmanager
def open_run_folder(
    path: Path, *, log: Callable[[str], None] | None = None, is_main_process: bool = True
) -> Iterator[RunFolder]:
    """Create and lock the folder of a run; ``log`` is called with each line of the log, as ``print``.

    Only the main process locks the folder and writes to it.

    Raises:
        OutputError: Another process trains in the folder, or it cannot be written to.
    """
    with file_lock(make_folder(path), what="training") if is_main_process else nullcontext():
        yield RunFolder(path, log, is_main_process)


@dataclass(frozen=True)
class RunFolder:
    """The files of a run; see :func:`open_run_folder`, whose arguments are the attributes."""

    path: Path
    echo: Callable[[str], None] | None = None
    is_main_process: bool = True

    def log(self, line: str) -> None:
        """Append a line to ``log.txt``, and pass it on."""
        if not self.is_main_process:
            return
        make_folder(self.path)
        with open(self.path / LOG_NAME, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        _log.info("%s", line)
        if self.echo is not None:
            self.echo(line)

    def check_options(self, wanted: Mapping[str, str], *, free_to_change: Collection[str]) -> None:
        """Check that the folder is empty or holds a run with the same options and hashes of its data.

        A resumed run may change ``free_to_change``, which do not affect what is learned.

        Raises:
            OptionError: It holds a run with other options.
            OutputError: The stored options are damaged.
        """
        path = self.path / OPTIONS_NAME
        stored = read_json(path) if path.exists() else {}
        if not isinstance(stored, dict):
            raise OutputError(
                path, "is damaged (it contains no options)", "delete it, or choose another folder"
            )
        compared = wanted.keys() - set(free_to_change)
        if changed := sorted(key for key in compared if stored.get(key, wanted[key]) != wanted[key]):
            cause = f"contains a run with other values of {', '.join(changed)}"
            raise OptionError(self.path, cause, "pass another `out`, or the same options to resume it")

    def write_options(self, wanted: Mapping[str, str]) -> None:
        """Write ``config.json``."""
        if self.is_main_process:
            write_json(self.path / OPTIONS_NAME, dict(wanted))

    def read_state(self, *, version: int) -> dict[str, Any] | None:  # Any: tensors, numbers and lists
        """Return the state that :meth:`write_state` wrote, onto the CPU; ``None`` for a new run.

        Raises:
            CheckpointError: It is damaged, or of another version.
        """
        import torch

        path = self.path / STATE_NAME
        if not path.exists():
            return None
        try:
            # Onto the CPU: several processes call it "cpu:0" there, which torch cannot load onto.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            stored_version = state.pop("state_version")
        except Exception as error:  # torch.load raises many unrelated kinds for a damaged file
            remedy = "delete the folder of the run, or pass another"
            raise CheckpointError(path, "is damaged", remedy) from error
        if stored_version != version:
            remedy = "finish the run with that version, or pass another folder"
            raise CheckpointError(path, "was written by another version", remedy)
        return state

    def write_state(self, state: Mapping[str, Any], *, version: int) -> None:
        """Write the state that a run resumes from, atomically."""
        import torch

        if not self.is_main_process:
            return
        # Serialized in memory: torch hides the reason when a write to a full disk fails.
        written = io.BytesIO()
        torch.save({"state_version": version, **state}, written)
        with atomic_path(self.path / STATE_NAME) as temporary:
            temporary.write_bytes(written.getbuffer())

    def write_history(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write ``history.csv``, one line per epoch or step."""
        if not self.is_main_process:
            return
        with (
            atomic_path(self.path / HISTORY_NAME) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
