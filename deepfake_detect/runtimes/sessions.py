"""ONNX Runtime and OpenVINO behind one face: a file in, a function of arrays and its facts out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deepfake_detect.errors import CheckpointError, OptionError

RUNTIMES = ("onnx", "openvino")
"""What runs exported detectors: ONNX Runtime, OpenVINO."""
METADATA_NAME = "deepfake_detect"
"""Under which an OpenVINO model keeps its facts; in ONNX they are the metadata themselves."""
PRECISION_KEY, SOURCE_KEY = "precision", "source_sha256"
METADATA_KEYS = ("format", "format_version", "config", SOURCE_KEY, PRECISION_KEY, "exported_by", "agreement")
"""What an exported file says of itself: format and config as in a detector's file, the SHA-256 of that
file, the numbers it computes in, the library that wrote it, and how far it was from PyTorch (JSON)."""


class Session(Protocol):
    """A network that is loaded; several threads may run it at once.

    Attributes:
        metadata: What its file says of it.
    """

    metadata: Mapping[str, str]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Return the network's outputs, in order, for its inputs, in order."""
        ...


def default_num_threads() -> int:
    """Return the number of cores this process may use, or less where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(told))) if told.isdigit() else cores


def open_session(path: Path, runtime: str, *, num_threads: int, num_callers: int = 1) -> Session:
    """Load an exported network.

    Args:
        path: ``.onnx``, or for OpenVINO also the ``.xml`` of its own format.
        runtime: A name of ``RUNTIMES``.
        num_threads: That it computes with, in all.
        num_callers: Threads that will run it at once, which share those.

    Raises:
        OptionError: The runtime is unknown or not installed.
        CheckpointError: The file is none that it reads.
    """
    if runtime not in RUNTIMES:
        raise OptionError("runtime", f"{runtime!r} is unknown", f"choose torch, {', '.join(RUNTIMES)}")
    kind = _OnnxSession if runtime == "onnx" else _OpenVinoSession
    try:
        return kind(path, num_threads, num_callers)
    except ModuleNotFoundError as error:
        raise OptionError("runtime", f"{error.name} is not installed", f"pip install {error.name}") from error


class _OnnxSession:
    """A network in ONNX Runtime."""

    def __init__(self, path: Path, num_threads: int, num_callers: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, num_threads // num_callers)
        options.log_severity_level = 4  # its errors come as exceptions too
        # Else its threads keep the cores busy while faces are found for the next crops.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no base of their own
            raise _not_a_model(path, "ONNX", error) from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._names = [one.name for one in self._session.get_inputs()]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return outputs


class _OpenVinoSession:
    """A network in OpenVINO; each thread has a request of its own."""

    def __init__(self, path: Path, num_threads: int, num_callers: int) -> None:
        import openvino

        core = openvino.Core()
        try:
            model = core.read_model(str(path))
        except RuntimeError as error:
            raise _not_a_model(path, "ONNX or OpenVINO", error) from error
        section = METADATA_NAME if path.suffix == ".xml" else "framework"  # as OpenVINO calls ONNX's
        self.metadata: Mapping[str, str] = _openvino_metadata(model, section)
        # Its own choice would be bfloat16 where the processor has it, which moves boxes by pixels.
        precision = "bf16" if self.metadata.get(PRECISION_KEY) == "bf16" else "f32"
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": num_callers,
        }
        self._compiled = core.compile_model(model, "CPU", settings)
        self._of_thread = threading.local()

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        request = self._of_thread.request
        request.infer(list(inputs))
        return [np.array(request.get_output_tensor(n).data) for n in range(len(self._compiled.outputs))]


def _openvino_metadata(model: Any, section: str) -> dict[str, str]:
    found = [name for name in METADATA_KEYS if model.has_rt_info([section, name])]
    return {name: str(model.get_rt_info([section, name]).value) for name in found}


def _not_a_model(path: Path, kind: str, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
    return CheckpointError(path, f"is no whole {kind} file ({reason})", "export the detector again")
