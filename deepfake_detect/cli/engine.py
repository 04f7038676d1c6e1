"""The engine of a long run: this machine or a Ray cluster."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from deepfake_detect.cli.arguments import IS_RARE, add_options, options_of
from deepfake_detect.errors import OptionError
from deepfake_detect.work.ray_engine import RayOptions

_OF_RAY = ("ray_address", "cpus_per_worker", "gpus_per_worker")
_EXIT_TERMINATED = 143


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and the options of a Ray cluster; the command has ``--workers`` and ``--device``."""
    group = parser.add_argument_group("cluster")
    engine = group.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="local: this machine (default); ray: a Ray cluster whose workers share the folders",
    )
    vars(engine)[IS_RARE] = True
    add_options(group, RayOptions, shown=())


def cluster_of(arguments: argparse.Namespace, num_workers: int | None) -> RayOptions | None:
    """Return the cluster's options; ``None`` for this machine."""
    if arguments.engine == "local":
        given = [name for name in _OF_RAY if hasattr(arguments, name)]
        if given:
            raise OptionError(given[0], "works only with `engine` ray", "set that too, or omit it")
        return None
    return replace(options_of(RayOptions, arguments), num_workers=num_workers)


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit, so that temporary files are removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_EXIT_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
