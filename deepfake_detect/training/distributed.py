"""Several processes that train one model: how they start, and what the main one does first."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast, broadcast_object_list
from torch import distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from deepfake_detect.device import choose_device, fast_precision, keep_freed_memory
from deepfake_detect.errors import DeepfakeDetectError

if TYPE_CHECKING:
    from deepfake_detect.training.config import TrainingConfig

_Result = TypeVar("_Result")
# The others wait for the main process while it compares splits and looks for faces.
_LONGEST_WAIT = timedelta(hours=12)


def start_accelerator(config: TrainingConfig) -> Accelerator:
    """Return the accelerator of a run, in its precision, with the other processes of the run joined."""
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    precision = fast_precision(device) if config.precision == "auto" else config.precision
    if config.sam and precision == "fp16":
        precision = "no"  # it needs two exact gradients per step
    # accelerate keeps the precision of the first run for the life of the process and rejects another one;
    # it has no public way to forget it, and its own tests use this one.
    AcceleratorState._reset_state()
    join_restarted_group(device, timeout=_LONGEST_WAIT)
    patience = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
    return Accelerator(mixed_precision=precision, cpu=device.type == "cpu", kwargs_handlers=[patience])


def on_main(accelerator: Accelerator, function: Callable[[], _Result]) -> _Result:
    """Call a function in the main process while the others wait; all return its result or raise its error."""
    outcome: Any = None  # the result, or the error
    if accelerator.is_main_process:
        try:
            outcome = function()
        except DeepfakeDetectError as error:
            outcome = error
    (outcome,) = broadcast_object_list([outcome])
    if isinstance(outcome, DeepfakeDetectError):
        raise outcome
    result: _Result = outcome
    return result


@torch.no_grad()
def broadcast_buffers(*models: nn.Module | None) -> None:
    """Copy the main process's batch-norm statistics, which are those that are kept, to the others."""
    for model in models:
        for buffer in () if model is None else model.buffers():
            buffer.copy_(broadcast(buffer))


def join_restarted_group(device: torch.device, *, timeout: timedelta) -> None:
    """Join a group of processes that torchrun has restarted; leave all other groups to accelerate.

    torchrun keeps one store of addresses over all restarts, and a process that looks there early finds
    the address of a dead one. So each restart uses its own prefix.
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
