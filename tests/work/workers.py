"""What the workers of the tests do, in a module that they can import."""

from __future__ import annotations

import os
import time
from pathlib import Path

from deepfake_detect.errors import DeviceError, OutputError


class Squarer:
    """Squares numbers; leaves its process's number beside each task it began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, task: str) -> tuple[str, int]:
        begun = self._folder / f"{task}.begun"
        with begun.open("a") as file:
            file.write(f"{os.getpid()}\n")
        attempts = len(begun.read_text().splitlines())
        if task == "poison" or (task == "once" and attempts == 1):
            os._exit(3)
        if task == "full":
            raise OutputError(self._folder, "is full", "make room")
        if task == "bug":
            raise ZeroDivisionError("by accident")
        if task.startswith("slow"):
            time.sleep(2)
        return task * 2, os.getpid()


def die_at_birth() -> Squarer:
    os._exit(4)


def find_no_device() -> Squarer:
    raise DeviceError("cuda", "torch sees no CUDA device here", "pass --device cpu or auto")
