"""What the workers of the tests do, in a module that they can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepfake_detect.errors import DeviceError, OutputError
from deepfake_detect.work import TaskCancelledError, report


class Squarer:
    """Doubles text; writes its process's id next to each task it began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, task: str) -> tuple[str, int]:
        begun = self._folder / f"{task}.begun"
        with begun.open("a") as file:
            file.write(f"{os.getpid()}\n")
        attempts = len(begun.read_text().splitlines())
        if task == "poison" or (task == "once" and attempts == 1):
            os._exit(3)
        if task == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "full":
            raise OutputError(self._folder, "is full", "free some space")
        if task == "bug":
            raise ZeroDivisionError("by accident")
        if task == "own error":
            raise OwnError(1, 2)
        if task.startswith("slow"):
            time.sleep(2)
        if task.startswith("late"):
            time.sleep(0.5)
        return task * 2, os.getpid()


class OwnError(Exception):
    """Cannot be unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


def crash_at_the_start() -> Squarer:
    os._exit(4)


def find_no_device() -> Squarer:
    raise DeviceError("cuda", "torch finds no CUDA device", "set `device` to cpu or auto")


def make_reporter() -> Callable[[int], str]:
    def count(task: int) -> str:
        try:
            for number in range(task):
                report(number)
                time.sleep(0.01)
        except TaskCancelledError:
            return "cancelled"
        return "counted"

    return count


def make_thread_counter() -> Callable[[Any], tuple[int, int, int]]:
    import cv2
    import torch

    return lambda task: (torch.get_num_threads(), cv2.getNumThreads(), int(os.environ["OMP_NUM_THREADS"]))


def make_lambda_returner() -> Callable[[Any], Any]:
    return lambda task: lambda: task
