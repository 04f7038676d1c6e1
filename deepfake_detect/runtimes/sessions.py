"""ONNX Runtime and OpenVINO behind one interface: file -> function of arrays, and the file's metadata."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.metadata import PRECISION_KEY, read_bytes

_log = logging.getLogger(__name__)

RUNTIMES = ("onnx", "openvino")
"""The runtimes of exported detectors: ONNX Runtime, OpenVINO."""


class Session(Protocol):
    """A loaded network; several threads may run it at once.

    Attributes:
        metadata: Of its file.
    """

    metadata: Mapping[str, str]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Return the outputs, in order, for the inputs, in order."""
        ...


def default_num_threads() -> int:
    """Return the number of cores this process may use, or OMP_NUM_THREADS if that is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(limit))) if limit.isdigit() else cores


def open_session(path: Path, runtime: str, *, num_threads: int, num_callers: int = 1) -> Session:
    """Load an exported network.

    Args:
        path: ``.onnx``, or for OpenVINO also the ``.xml`` of its own format.
        runtime: A name of ``RUNTIMES``.
        num_threads: Threads it computes with, in all.
        num_callers: Threads that will call it at once and share those.

    Raises:
        OptionError: The runtime is unknown or not installed.
        CheckpointError: The runtime cannot read the file.
    """
    if runtime not in RUNTIMES:
        raise OptionError("runtime", f"is {runtime!r}", f"must be one of {', '.join(RUNTIMES)}")
    _log.debug("opening %s in %s with %d threads", path, runtime, num_threads)
    kind = _OnnxSession if runtime == "onnx" else _OpenVinoSession
    try:
        return kind(path, num_threads, num_callers)
    except ModuleNotFoundError as error:
        cause = f"is {runtime}, which is not installed"
        raise OptionError("runtime", cause, "install the extra 'openvino' (docs/install.md)") from error


def import_onnxruntime() -> Any:
    """Return the module ``onnxruntime``, whose reports of usage to its makers are off."""
    # From release 1.29 on it stores and sends them, and opens its files as it is imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # in case it was imported before
    return onnxruntime


def import_openvino() -> Any:
    """Return the module ``openvino``, whose reports of usage to its makers are off."""
    # It reports its own import, unless the library that sends reports cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class _OnnxSession:
    """A network in ONNX Runtime."""

    def __init__(self, path: Path, num_threads: int, num_callers: int) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, num_threads // num_callers)
        options.log_severity_level = 4  # errors also come as exceptions
        # Otherwise its threads keep the cores busy while faces are detected for the next crops.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base class
            raise _not_a_model(path, "ONNX", error) from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._names = [one.name for one in self._session.get_inputs()]
        self._reopen = functools.partial(
            open_session, path, "onnx", num_threads=num_threads, num_callers=num_callers
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen, ()

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return outputs


class _OpenVinoSession:
    """A network in OpenVINO; each calling thread has its own inference request."""

    def __init__(self, path: Path, num_threads: int, num_callers: int) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise _not_a_model(path, "ONNX or OpenVINO", error) from error
        self.metadata: Mapping[str, str] = read_bytes(path, kind="ONNX or OpenVINO").metadata
        # By default it would use bfloat16 where the processor has it, which moves boxes by pixels.
        precision = "bf16" if self.metadata.get(PRECISION_KEY) == "bf16" else "f32"
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": num_callers,
        }
        self._compiled = core.compile_model(model, "CPU", settings)
        self._of_thread = threading.local()
        self._reopen = functools.partial(
            open_session, path, "openvino", num_threads=num_threads, num_callers=num_callers
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reopen, ()

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        request = self._of_thread.request
        request.infer(list(inputs))
        return [np.array(request.get_output_tensor(n).data) for n in range(len(self._compiled.outputs))]


def _not_a_model(path: Path, kind: str, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
    return CheckpointError(path, f"is not a complete {kind} file ({reason})", "export the detector again")
