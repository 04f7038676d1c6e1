"""Where networks run, and in which precision."""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from deepfake_detect.errors import DeviceError, OptionError
from deepfake_detect.records import INFERENCE_PRECISIONS

if TYPE_CHECKING:
    import torch

DeviceChoice = Literal["auto", "cpu", "cuda"]
# Numbers of glibc's mallopt, from its malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
# Read by OpenMP, OpenBLAS, MKL and OpenCV when they are loaded.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device for a name.

    Args:
        name: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``,
            or a torch device.

    Raises:
        DeviceError: CUDA was requested, and this machine or this build of torch has none.
        OptionError: Any other name.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    import torch  # here and below: processes that need no device start without it

    name = str(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise OptionError("device", f"is {name!r}", "must be auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("cuda", "torch finds no CUDA device", "set `device` to cpu or auto")
    if number and kind == "cuda" and int(number) >= torch.cuda.device_count():
        raise DeviceError(name, f"there are {torch.cuda.device_count()} CUDA devices", "pass a lower number")
    return torch.device(name)


def has_gpu() -> bool:
    """Return whether PyTorch finds a CUDA device; where there is no driver, it is not imported."""
    try:
        ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def fast_precision(device: torch.device) -> Literal["no", "bf16", "fp16"]:
    """Return the fastest autocast type: bf16 where the hardware has it, fp16 on older GPUs, else none."""
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    supported = (
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )
    return "bf16" if supported else "no"


def check_inference_precision(precision: str, device: torch.device) -> None:
    """Check that a precision is known and that the device computes in it.

    Raises:
        DeviceError: The device has no such arithmetic; emulating it would be slower than fp32.
        OptionError: The name is none of ``records.INFERENCE_PRECISIONS``.

    Example:
        >>> import torch
        >>> check_inference_precision("fp32", torch.device("cpu"))
    """
    if precision not in INFERENCE_PRECISIONS:
        raise OptionError(
            "precision", f"is {precision!r}", f"must be one of {', '.join(INFERENCE_PRECISIONS)}"
        )
    if precision == "bf16" and fast_precision(device) != "bf16":
        raise DeviceError(str(device), "does not support bf16", "set `precision` to fp32")


@functools.cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next tensor instead of returning it to the system.

    PyTorch on a CPU frees and allocates each activation again; the resulting page faults were measured
    at half the CPU time of training. Does nothing where the C library is not glibc.
    """
    mallopt = _glibc_function("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 256 * 2**20)


def return_freed_memory() -> None:
    """Return freed memory to the system, in spite of :func:`keep_freed_memory`: around huge arrays.

    Closed decoders are freed first: they are part of reference cycles.
    """
    gc.collect()
    malloc_trim = _glibc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _glibc_function(name: str) -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None  # another C library


def limit_threads(num_threads: int) -> None:
    """Let numeric libraries use this many threads in this process, those loaded later included."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(num_threads)
    if torch_module := sys.modules.get("torch"):
        torch_module.set_num_threads(num_threads)
    if cv2_module := sys.modules.get("cv2"):
        cv2_module.setNumThreads(num_threads)
