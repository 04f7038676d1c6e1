"""Where the videos of a long run are worked through: on this machine, or on a Ray cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    from deepfake_detect.work import RayOptions

_OF_RAY = ("ray_address", "cpus_per_worker", "gpus_per_worker")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and what belongs to it; ``--workers`` and ``--device`` are the tool's own."""
    group = parser.add_argument_group("a cluster")
    group.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="local: this machine (default); ray: workers of a Ray cluster, which share the folders",
    )
    group.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="of the cluster, or auto for this machine's (default: one of this machine alone is started)",
    )
    group.add_argument("--cpus-per-worker", type=int, help="cores and threads of a worker (default 1)")
    group.add_argument("--gpus-per-worker", type=float, help="GPUs of a worker, or a share (default 0)")


def cluster_of(arguments: argparse.Namespace, num_workers: int | None) -> RayOptions | None:
    """Return the cluster's options, or ``None`` for this machine."""
    if arguments.engine == "local":
        given = [name for name in _OF_RAY if getattr(arguments, name) is not None]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise OptionError(flag, "is for --engine ray", "pass that too, or leave it out")
        return None
    from deepfake_detect.work import RayOptions

    return RayOptions(
        ray_address=arguments.ray_address,
        num_workers=num_workers,
        cpus_per_worker=1 if arguments.cpus_per_worker is None else arguments.cpus_per_worker,
        gpus_per_worker=0.0 if arguments.gpus_per_worker is None else arguments.gpus_per_worker,
    )


def device_of(arguments: argparse.Namespace) -> str:
    """Return where networks run: on a cluster each worker chooses, by the GPUs that it was given."""
    from deepfake_detect.device import choose_device

    return str(arguments.device if arguments.engine == "ray" else choose_device(arguments.device))
