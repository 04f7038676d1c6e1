"""What all benchmarks share: timing in turn, memory, and the JSON file of a result with date and machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.pages import write_pages
from benchmarks.results import ROOT, result_path
from benchmarks.tables import TABLES
from deepfake_detect import __version__
from deepfake_detect.io.files import make_folder, write_json

_LOAD = os.getloadavg()[0]  # before the work begins
_PACKAGE = ROOT / "deepfake_detect"


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate, one value a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def rounded(self) -> list[float]:
        """Return the seconds of each round to a tenth of a millisecond, for a result."""
        return [round(one, 4) for one in self.seconds]


def time_in_turn(candidates: Mapping[str, Callable[[], object]], *, num_rounds: int) -> dict[str, Timing]:
    """Run each candidate once unmeasured, then once a round, in turn and in alternating order.

    So all of them see the same machine, and ratios of the same round hold on a machine with other work.
    """
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(num_rounds):
        names: Sequence[str] = list(candidates)
        for name in names if number % 2 == 0 else names[::-1]:
            started = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def peak_mb() -> float:
    """Return the largest resident size of this process so far. Linux only."""
    # Not getrusage: a process started by a larger one inherits that one's peak.
    status = Path("/proc/self/status").read_text("ascii")
    return float(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def add_json_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--json``, where the result goes: by default the file that the pages are made from."""
    words = "where the result goes (default: benchmarks/results, and into the pages)"
    parser.add_argument("--json", type=Path, default=result_path(name), metavar="FILE", help=words)


def record(
    name: str,
    arguments: argparse.Namespace,
    figures: object,
    *,
    packages: Sequence[str] = (),
    measured_on: date | None = None,
) -> None:
    """Write the result of a benchmark to ``arguments.json`` and print its table.

    A result in its usual place goes into the pages too. ``measured_on`` is the day of figures that were
    measured before; load and code of then are not known.
    """
    result = {
        "benchmark": name,
        "date": str(measured_on or date.today()),
        "code": _code() if measured_on is None else None,
        "machine": _machine() | ({} if measured_on is None else {"load_before": None}),
        "versions": _versions(packages),
        "arguments": _arguments(arguments),
        "figures": figures,
    }
    make_folder(arguments.json.parent)
    write_json(arguments.json, result)
    print(TABLES[name](result))
    print(f"wrote {arguments.json}")
    if arguments.json == result_path(name):
        write_pages()


def _machine() -> dict[str, Any]:
    import cv2
    import torch

    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = platform.platform()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "os": system,
        "load_before": round(_LOAD, 1),
        "threads": {"torch": torch.get_num_threads(), "OpenCV": cv2.getNumThreads()},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", info.read_text(), flags=re.M) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    python = {"Python": platform.python_version()}
    return python | {name: importlib.metadata.version(name) for name in packages}


def _code() -> dict[str, Any]:
    """Return the library's version, its last commit, and whether it differs from that one."""

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(ROOT), *words, "--", str(_PACKAGE)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    return {
        "version": __version__,
        "commit": git("log", "-1", "--format=%h"),
        "is_changed": bool(git("status", "--porcelain")),
    }


def _arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a script was called with, of files their names."""
    given = {key: value for key, value in vars(arguments).items() if key != "json" and value is not None}
    return {key: _without_folders(value) for key, value in given.items()}


def _without_folders(value: object) -> object:
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return value.name if isinstance(value, Path) else value
