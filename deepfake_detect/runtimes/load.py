"""The one reader of detectors: picks the runtime by the file's kind, the device and what is installed."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detect.data.transforms import resize_crop
from deepfake_detect.device import has_gpu
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.bundled import BUNDLED, BUNDLED_ONNX, bundled_detector
from deepfake_detect.models.config import DetectorConfig, parse_config
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.metadata import SOURCE_KEY, read_bytes
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.records import InferencePrecision
from deepfake_detect.runtimes.options import Runtime
from deepfake_detect.runtimes.sessions import RUNTIMES, Session, default_num_threads, open_session

if TYPE_CHECKING:
    import torch

    from deepfake_detect.models.classifier import ForgeryClassifier
    from deepfake_detect.models.inference import TorchDetector

DEFAULT_DETECTOR = "default"
"""Name of the bundled detector."""
_RUNTIME_OF_SUFFIX: dict[str, Runtime] = {".onnx": "onnx", ".xml": "openvino"}
EXPORT_SUFFIXES = tuple(_RUNTIME_OF_SUFFIX)
"""Suffixes of exported detectors."""
_SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx")}


class RuntimeDetector(BaseDetector):
    """A detector in ONNX Runtime or OpenVINO.

    Args:
        session: The loaded network: crops uint8 (N, S, S, 3) in, probabilities and logits out.
        config: The detector's configuration.
        runtime: A name of ``RUNTIMES``.
        num_threads: Threads for finding faces.
        original: The ``detector.safetensors`` it was exported from, where that is known.
    """

    def __init__(
        self,
        session: Session,
        config: DetectorConfig,
        *,
        runtime: str,
        num_threads: int,
        original: Path | None = None,
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.num_threads = num_threads
        self.original = original
        self._session = session

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata: config, hash of the source detector, precision, agreement."""
        return dict(self._session.metadata)

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw logits (N,), float64, of RGB uint8 crops (H, W, 3), few enough to run together.

        Raises:
            CheckpointError: The network takes or returns something else.
        """
        images = np.stack([resize_crop(crop, self.config.model.preprocessing) for crop in crops])
        try:
            _, logits = self._session.run(images)
            if logits.shape != (len(crops),):
                raise ValueError(f"it returns the shape {logits.shape} for {len(crops)} crops")
            return logits.astype(np.float64)
        except Exception as error:  # the runtimes' exceptions have no common base class
            name = f"detector {self.config.name} {self.config.version}"
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            cause = f"its network does not match its description ({reason})"
            raise CheckpointError(name, cause, "export the detector again") from error

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Raise OptionError: exported detectors score single crops."""
        raise OptionError("detector", "scores single crops", "call score_crops")


@dataclass(frozen=True)
class DetectorFile:
    """A detector that was found, not yet loaded.

    Attributes:
        path: Its file; ``None`` for the bundled detector.
        runtime: The runtime to load it into; not ``"auto"``.
        export: What that runtime opens, where it is an export of ``path`` in the cache folder.
    """

    path: Path | None
    runtime: Runtime
    export: Path | None = None

    @property
    def source(self) -> Path:
        """The file that was named; of the bundled detector its ``.safetensors``."""
        with self._opened(BUNDLED) as path:
            return path

    @property
    def original(self) -> Path | None:
        """The ``detector.safetensors`` behind an export; ``None`` where only the export is known."""
        if self.path is not None and self.export is None:
            return None
        return self.source

    def read_torch(self) -> tuple[ForgeryClassifier, DetectorConfig]:
        """Return the network in evaluation mode on the CPU, and its config.

        Raises:
            CheckpointError: The file is missing, damaged or of another library.
        """
        from deepfake_detect.models.checkpoint import read_detector

        with self._opened(BUNDLED) as path:
            return read_detector(path)

    def open_export(self, *, num_threads: int) -> tuple[Session, DetectorConfig]:
        """Return the loaded export, and its config.

        Raises:
            CheckpointError: The file is missing, damaged, was not exported by this library, or belongs to
                another detector than the one next to it.
            OptionError: The runtime is not installed.
        """
        with nullcontext(self.export) if self.export else self._opened(BUNDLED_ONNX) as path:
            kind = "ONNX" if self.runtime == "onnx" else "ONNX or OpenVINO"
            found = read_bytes(path, kind=kind)
            config = parse_config(path, found.metadata)
            found.check_weights()
            # An export that was chosen for a detector, not named itself, must be that detector's.
            if self.original is not None and found.metadata.get(SOURCE_KEY) != self.sha256:
                cause = f"was exported from another detector than {self.original}"
                raise CheckpointError(path, cause, "delete it, or install the package again")
            return open_session(path, self.runtime, num_threads=num_threads), config

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of the file that was named; of the bundled detector the same for every runtime."""
        return sha256_of_file(self.source)

    def _opened(self, bundled: str) -> nullcontext[Path]:
        return bundled_detector(bundled) if self.path is None else nullcontext(self.path)  # type: ignore[return-value]


def find_detector(
    detector: str | os.PathLike[str] | None = None,
    *,
    runtime: Runtime = "auto",
    device: str | torch.device = "auto",
    precision: InferencePrecision = "fp32",
) -> DetectorFile:
    """Return a detector's file and the runtime to load it into, without loading it.

    Args:
        detector, runtime, device, precision: See :func:`load_crop_detector`.

    Raises:
        CheckpointError: The path is a folder, or not a file of the runtime, or a detector of the zoo was
            not fetched.
        FetchError: A detector on the hub cannot be fetched.
        OptionError: The runtime is unknown or not installed, or lacks the device or the precision.
    """
    path = None if detector is None or str(detector) == DEFAULT_DETECTOR else local_detector(detector)
    if path is not None and path.is_dir():
        raise CheckpointError(path, "is a folder", "pass the detector file in it")
    if runtime not in ("auto", "torch", *RUNTIMES):
        raise OptionError("runtime", f"is {runtime!r}", f"must be one of auto, torch, {', '.join(RUNTIMES)}")
    exported = None if path is None else _RUNTIME_OF_SUFFIX.get(path.suffix)
    export = None
    if runtime == "auto" and exported is None and _is_for_torch(device, precision):
        runtime = "torch"
    elif runtime == "auto" and exported is None and path is not None:
        from deepfake_detect.runtimes.cache import cached_export

        export = cached_export(path)
        runtime = "torch" if export is None else "onnx"
    elif runtime == "auto":
        runtime = exported or "onnx"
    if runtime == "torch":
        _check_torch(path, exported)
    elif export is None:
        _check_export(path, runtime, str(device), precision)
    return DetectorFile(path, runtime, export)


def read_config(detector: str | os.PathLike[str] | None = None) -> DetectorConfig:
    """Return the metadata of a detector's file, without loading its weights.

    Args:
        detector: A detector of any kind, or of the zoo; the bundled one when ``None``.

    Raises:
        CheckpointError: The file is missing, damaged or of another library.

    Example:
        >>> read_config().geometry.aligned
        False
    """
    found = DetectorFile(None if detector is None else local_detector(detector), "torch")
    with found._opened(BUNDLED) as path:
        return parse_config(path, read_bytes(path, kind="detector").metadata)


def load_crop_detector(
    detector: str | os.PathLike[str] | None = None,
    *,
    runtime: Runtime = "auto",
    device: str | torch.device = "auto",
    precision: InferencePrecision = "fp32",
    num_threads: int | None = None,
) -> BaseDetector:
    """Load a detector of any kind, to score face crops.

    Args, Raises:
        As for :func:`scoring.load_detector`, whose detector also scores clips.

    Example:
        >>> load_crop_detector(runtime="onnx").score_crops([np.zeros((120, 90, 3), np.uint8)]).shape
        (1,)
    """
    file = find_detector(detector, runtime=runtime, device=device, precision=precision)
    if file.runtime == "torch":
        from deepfake_detect.device import choose_device
        from deepfake_detect.models.inference import TorchDetector

        in_torch = TorchDetector(*file.read_torch(), device=choose_device(device), precision=precision)
        in_torch.source = file.source
        return in_torch
    threads = default_num_threads() if num_threads is None else num_threads
    session, config = file.open_export(num_threads=threads)
    loaded = RuntimeDetector(
        session, config, runtime=file.runtime, num_threads=threads, original=file.original
    )
    loaded.source = file.source
    return loaded


def torch_detector(detector: BaseDetector, *, purpose: str) -> TorchDetector:
    """Return a detector in PyTorch for what needs its network; it is loaded there where its file is known.

    Args:
        detector: Of any runtime.
        purpose: What needs it, in the plural, for the error: ``"heat maps"``.

    Raises:
        OptionError: PyTorch is not installed, or the detector is an export, without gradients or layers.
    """
    if not is_installed("torch"):
        raise missing_library("detector", "torch")
    from deepfake_detect.models.inference import TorchDetector

    if isinstance(detector, TorchDetector):
        return detector
    if isinstance(detector, RuntimeDetector) and detector.original is not None:
        return _in_torch(detector.original)
    raise OptionError(
        "detector",
        f"is an export, which has no {purpose}",
        "load the detector.safetensors that it was exported from, with PyTorch",
    )


@functools.lru_cache(maxsize=2)
def _in_torch(path: Path) -> TorchDetector:
    found: TorchDetector = load_crop_detector(path, runtime="torch", device="cpu")  # type: ignore[assignment]
    return found


def _check_torch(path: Path | None, exported: Runtime | None) -> None:
    if exported is not None:
        remedy = f"set `runtime` to auto or {exported}"
        raise OptionError("runtime", f"is torch, and {path} is an exported detector", remedy)
    if not is_installed("torch"):
        remedy = "install the extra 'train' (docs/install.md), or use onnx"
        raise OptionError("runtime", "is torch, which is not installed", remedy)


def _check_export(path: Path | None, runtime: Runtime, device: str, precision: str) -> None:
    if precision != "fp32":
        raise OptionError(
            "precision",
            f"is {precision}, and exported detectors have their own precision",
            "set it when exporting, or set `runtime` to torch",
        )
    if device not in ("auto", "cpu"):
        raise OptionError("device", f"is {device}, and {runtime} runs on the CPU", "set `runtime` to torch")
    suffixes = _SUFFIXES[runtime]
    if path is not None and path.suffix not in suffixes:
        raise CheckpointError(
            path,
            f"is not a file of {runtime} ({', '.join(suffixes)})",
            f"export the detector: export(path, format={runtime!r})",
        )
    if path is not None and not path.is_file():
        raise CheckpointError(path, "there is no such file", f"pass a {' or '.join(suffixes)} file")


def _is_for_torch(device: str | torch.device, precision: str) -> bool:
    """Return whether PyTorch fits: for a GPU, for bf16, and where there is no ONNX Runtime."""
    if precision != "fp32" or str(device) not in ("auto", "cpu") or not is_installed("onnxruntime"):
        return True
    return str(device) == "auto" and is_installed("torch") and has_gpu()
