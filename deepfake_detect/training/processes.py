"""The group of processes that torchrun starts."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous


def join_restarted_group(device: torch.device, *, timeout: timedelta) -> None:
    """Meet the other processes of a group that torchrun has started again; else leave it to accelerate.

    torchrun keeps one store of addresses over all restarts, and a process that looks there early finds
    where a dead one listened. So each restart meets under a name of its own.

    Args:
        device: Of this process.
        timeout: How long a process waits for another.
    """
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restarts == "0" or distributed.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    store, rank, num_processes = next(iter(rendezvous("env://", timeout=timeout)))
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(f"restart {restarts}", store),
        rank=rank,
        world_size=num_processes,
        timeout=timeout,
    )
