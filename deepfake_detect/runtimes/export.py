"""detector.safetensors -> a file for another runtime, written only when it judges as the original does.

==============  ======================  ======================================================
format          precisions              file
==============  ======================  ======================================================
onnx            fp32, fp16, int8        ``.onnx``
openvino        fp32, fp16, bf16, int8  ``.xml`` with ``.bin`` beside it; fp16 halves the stored
                                        weights, bf16 is what the network computes in
torch-export    fp32, fp16, bf16        ``.pt2`` of ``torch.export``
==============  ======================  ======================================================

Each takes RGB uint8 crops (N, S, S, 3), S being the detector's own input size to which crops are
resized by area (``data.transforms.resize_square``), and gives calibrated fake probabilities float32
(N,), and beside them the raw logits. In its metadata are the facts of ``sessions.METADATA_KEYS``.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, OptionError, OutputError
from deepfake_detect.io.files import make_folder, sha256_of_file
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.runtimes.agreement import (
    Agreement,
    LabeledCrops,
    compare,
    crops_of_demo,
    crops_of_manifest,
)
from deepfake_detect.runtimes.graph import DetectorGraph
from deepfake_detect.runtimes.onnx_files import add_metadata, quantize, write_onnx
from deepfake_detect.runtimes.sessions import (
    METADATA_NAME,
    PRECISION_KEY,
    SOURCE_KEY,
    default_num_threads,
    open_session,
)

PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "torch-export": ("fp32", "fp16", "bf16"),
}
"""What each format can be exported in."""
FORMATS = tuple(PRECISIONS)
TOLERANCES = {"fp32": 0.001, "fp16": 0.01, "bf16": 0.05, "int8": 0.1}
"""Largest difference, of a probability and of the AUC, with which an export is written by default."""
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
_WHY_NOT = {
    ("onnx", "bf16"): "ONNX Runtime has no bf16 convolution on a CPU",
    ("torch-export", "int8"): "int8 is made by ONNX Runtime, whose files torch does not read",
}
_MOST_CROPS = 512  # to verify with, and to calibrate with


@dataclass(frozen=True)
class ExportReport:
    """What came of an export.

    Attributes:
        path: The file; of an OpenVINO model the ``.xml``.
        num_bytes: Of it, and of what belongs to it.
        agreement: How far it is from the original.
        tolerance: How far it was allowed to be.
    """

    path: Path
    num_bytes: int
    agreement: Agreement
    tolerance: float


def export_detector(
    detector: str | os.PathLike[str] | None = None,
    *,
    format: str,
    precision: str = "fp32",
    out: str | os.PathLike[str] | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    verify: str | os.PathLike[str] | None = None,
    tolerance: float | None = None,
) -> ExportReport:
    """Export a detector and make sure that it judges as before.

    Args:
        detector: ``detector.safetensors``; the bundled one when ``None``.
        format: A name of ``FORMATS``.
        precision: One of ``PRECISIONS[format]``.
        out: File to write; beside the detector (the bundled one's: here) under its name when ``None``.
        calibrate: Manifest of crops that show which numbers occur; for int8, and needed there.
        verify: Manifest of crops that both must judge alike; the demonstration clip when ``None``.
        tolerance: Largest difference of a probability, and of the AUC where crops of both kinds are
            there; by default as ``TOLERANCES`` has it.

    Returns:
        What was written.

    Raises:
        OptionError: Options that do not go together, or a detector that judges sequences.
        CheckpointError: The detector cannot be read, or the export judges otherwise: nothing is written.
        ManifestError: A manifest cannot be read.
        OutputError: The place cannot be written to.
    """
    _check(format, precision, calibrate, tolerance)
    with bundled_detector() if detector is None else nullcontext(Path(detector)) as source:
        model, config = read_detector(source)
        original = TorchDetector(read_detector(source)[0], config, device=torch.device("cpu"))
        facts = _facts(source, config, precision)
        place = _place(
            Path(_default_name(detector, source, format, precision) if out is None else out), format
        )
    if config.model.classical is not None:
        raise OptionError(
            "detector",
            "has a classical classifier, which is computed in float64 and not exported",
            "export a detector of `train`",
        )
    if config.model.sequence is not None:
        raise OptionError(
            "detector", "judges sequences, which are not exported", "export one of single crops"
        )
    crops = crops_of_demo(config) if verify is None else crops_of_manifest(verify, config, most=_MOST_CROPS)
    allowed = TOLERANCES[precision] if tolerance is None else tolerance
    with tempfile.TemporaryDirectory(prefix=".export_", dir=place.parent) as scratch:
        # OpenVINO is told apart from the network what to store it in and what to compute in.
        numbers = "fp32" if format == "openvino" else precision
        built = _BUILDERS[format](DetectorGraph(model, config, precision=numbers), config, precision)
        built.build(Path(scratch), _calibration_crops(calibrate, config))
        agreement = _verified(built, Path(scratch), facts, original, crops)
        _refuse(place, agreement, allowed)
        finished = make_folder(Path(scratch) / "finished") / place.name
        built.save(finished, {**facts, "agreement": json.dumps(asdict(agreement))})
        num_bytes = _move(finished, place)
    return ExportReport(place, num_bytes, agreement, allowed)


def _check(format: str, precision: str, calibrate: object, tolerance: float | None) -> None:
    """Refuse options that are unknown or do not go together."""
    if format not in FORMATS:
        raise OptionError("format", f"{format!r} is unknown", f"choose {', '.join(FORMATS)}")
    if precision not in PRECISIONS[format]:
        why = _WHY_NOT.get((format, precision), "it is unknown")
        raise OptionError(
            "precision",
            f"{precision!r} cannot be had as {format} ({why})",
            f"choose {', '.join(PRECISIONS[format])}",
        )
    if (precision == "int8") != (calibrate is not None):
        cause = "is needed for int8" if calibrate is None else f"is for int8, and this is {precision}"
        raise OptionError("--calibrate", cause, "name a manifest of crops with int8, none without")
    if tolerance is not None and not 0 <= tolerance <= 1:
        raise OptionError("tolerance", f"is {tolerance}", "pass a difference of probabilities, 0 to 1")


def _default_name(detector: object, source: Path, format: str, precision: str) -> Path:
    suffix = f"{'' if precision == 'fp32' else '.' + precision}{SUFFIXES[format]}"
    folder = Path() if detector is None else source.parent
    return folder / f"{source.stem}{suffix}"


def _place(path: Path, format: str) -> Path:
    if path.suffix != SUFFIXES[format]:
        raise OptionError("--out", f"{path} does not end in {SUFFIXES[format]}", "give it this ending")
    if path.exists() and not path.is_file():
        raise OutputError(path, "is no regular file", "name a file to write")
    make_folder(path.parent)
    return path


def _facts(source: Path, config: DetectorConfig, precision: str) -> dict[str, str]:
    return {
        **config.to_metadata(),
        SOURCE_KEY: sha256_of_file(source),
        PRECISION_KEY: precision,
        "exported_by": f"deepfake_detect {__version__}",
    }


def _calibration_crops(manifest: str | os.PathLike[str] | None, config: DetectorConfig) -> np.ndarray | None:
    return None if manifest is None else crops_of_manifest(manifest, config, most=_MOST_CROPS).images


def _verified(
    built: _Built, scratch: Path, facts: Mapping[str, str], original: TorchDetector, crops: LabeledCrops
) -> Agreement:
    """Compare what would be written, read back from disk."""
    file = scratch / f"verified{built.suffix}"
    built.save(file, facts)
    return compare(lambda batch: original.score_crops(list(batch)), built.judge(file), crops)


def _refuse(place: Path, agreement: Agreement, allowed: float) -> None:
    differences = (agreement.largest_difference, agreement.auc_difference or 0.0)
    if not max(differences) <= allowed:
        raise CheckpointError(
            place,
            f"is not written, as it would judge otherwise: {agreement.line()}; allowed is {allowed:g}",
            "choose another precision or calibrate with more crops, or raise --tolerance",
        )


def _move(finished: Path, place: Path) -> int:
    """Put finished files in their places, weights before the file that refers to them."""
    files = sorted(finished.parent.iterdir(), key=lambda file: file == finished)
    try:
        num_bytes = sum(file.stat().st_size for file in files)
        for file in files:
            os.replace(file, place.with_suffix(file.suffix))
    except OSError as error:
        raise OutputError(place, f"cannot be written ({error.strerror})", "choose another place") from error
    return num_bytes


class _Built(ABC):
    """A network in one format.

    Attributes:
        suffix: Of its files.
        runtime: That runs them.

    Args:
        graph: The detector, in the numbers it shall compute in.
        config: Of the detector.
        precision: As the caller chose.
    """

    suffix: str
    runtime = "onnx"

    def __init__(self, graph: DetectorGraph, config: DetectorConfig, precision: str) -> None:
        size = config.model.preprocessing.image_size
        self.graph = graph.eval()
        self.example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        self.precision = precision

    @abstractmethod
    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        """Translate the network; files may be left in ``scratch``."""

    @abstractmethod
    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write it with its facts."""

    def judge(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        """Return what a written file makes of crops: fake probabilities."""
        session = open_session(path, self.runtime, num_threads=default_num_threads())
        return lambda crops: session.run(crops)[0]


class _Onnx(_Built):
    suffix = SUFFIXES["onnx"]

    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        self.raw = scratch / "raw.onnx"
        names = ("crops", "fake_probability", "logit")
        with torch.no_grad():
            write_onnx(
                self.graph,
                (self.example,),
                self.raw,
                names=names,
                free_axes={name: {0: "faces"} for name in names},
            )
        if calibration is not None:
            quantized = scratch / "quantized.onnx"
            logging.disable(logging.WARNING)  # it recommends a preparation that the exporter has done
            try:
                quantize(self.raw, quantized, list(calibration))
            finally:
                logging.disable(logging.NOTSET)
            self.raw = quantized

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        path.write_bytes(self.raw.read_bytes())
        add_metadata(path, metadata)


class _OpenVino(_Onnx):
    suffix = SUFFIXES["openvino"]
    runtime = "openvino"

    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        import openvino

        super().build(scratch, calibration)
        # Not by convert_model, which reports its use to the network.
        self.model: Any = openvino.Core().read_model(str(self.raw))

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        import openvino

        for name, value in metadata.items():
            self.model.set_rt_info(value, [METADATA_NAME, name])
        openvino.save_model(self.model, str(path), compress_to_fp16=self.precision == "fp16")


class _TorchExport(_Built):
    suffix = SUFFIXES["torch-export"]

    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        faces = torch.export.Dim("faces")
        with torch.no_grad():
            self.program = torch.export.export(
                self.graph, (self.example,), dynamic_shapes={"crops": {0: faces}}
            )

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        torch.export.save(self.program, str(path), extra_files=dict(metadata))

    def judge(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        network = torch.export.load(str(path)).module()

        @torch.inference_mode()
        def probabilities(crops: np.ndarray) -> np.ndarray:
            found: np.ndarray = network(torch.from_numpy(crops))[0].numpy()
            return found

        return probabilities


_BUILDERS: dict[str, type[_Built]] = {
    "onnx": _Onnx,
    "openvino": _OpenVino,
    "torch-export": _TorchExport,
}
