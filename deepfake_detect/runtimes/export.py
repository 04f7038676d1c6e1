"""detector.safetensors -> a file for another runtime, written only if it agrees with the original.

==============  ======================  ======================================================
format          precisions              file
==============  ======================  ======================================================
onnx            fp32, fp16, int8        ``.onnx``
openvino        fp32, fp16, bf16, int8  ``.xml`` with ``.bin`` next to it; fp16 halves the stored
                                        weights, bf16 is what the network computes in
torch-export    fp32, fp16, bf16        ``.pt2`` of ``torch.export``
==============  ======================  ======================================================

Each takes RGB uint8 crops (N, S, S, 3), S being the detector's input size to which crops are resized
by area (``data.transforms.resize_square``), and returns calibrated fake probabilities and raw logits,
float32 (N,) each. Its metadata has the keys of ``models.metadata``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, OptionError, OutputError
from deepfake_detect.io.files import atomic_path, make_folder, sha256_of_file
from deepfake_detect.io.hub import is_on_hub
from deepfake_detect.io.scratch import scratch_folder
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.models.metadata import METADATA_NAME, PRECISION_KEY, SOURCE_KEY, add_checksum
from deepfake_detect.models.zoo.store import ZOO_PREFIX, local_detector
from deepfake_detect.runtimes.agreement import (
    Agreement,
    LabeledCrops,
    compare,
    crops_of_demo,
    crops_of_manifest,
    generated_crops,
)
from deepfake_detect.runtimes.graph import DetectorGraph
from deepfake_detect.runtimes.onnx_files import add_metadata, quantize, refer_to_weights, write_onnx
from deepfake_detect.runtimes.options import ExportFormat, ExportOptions, ExportPrecision
from deepfake_detect.runtimes.sessions import (
    default_num_threads,
    import_openvino,
    open_session,
)

TOLERANCES = {"fp32": 0.001, "fp16": 0.01, "bf16": 0.05, "int8": 0.1}
"""Largest difference of a probability and of the AUC that is allowed by default."""
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
_MAX_CROPS = 512  # for verification, and for calibration


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes:
        path: The file; of an OpenVINO model the ``.xml``.
        num_bytes: Size of the file, and of the weights next to it.
        agreement: How far it differs from the original.
        tolerance: How far it was allowed to differ.
    """

    path: Path
    num_bytes: int
    agreement: Agreement
    tolerance: float


def export(
    detector: str | os.PathLike[str] | None = None,
    *,
    format: ExportFormat,
    precision: ExportPrecision = ExportOptions.precision,
    out: str | os.PathLike[str] | None = ExportOptions.out,
    calibrate: str | os.PathLike[str] | None = ExportOptions.calibrate,
    verify: str | os.PathLike[str] | None = ExportOptions.verify,
    tolerance: float | None = ExportOptions.tolerance,
) -> ExportReport:
    """Export a detector to another runtime, and verify that it gives the same probabilities.

    Args:
        detector: ``detector.safetensors``, or one on the hub (``"hf://owner/name"``); the bundled one when
            ``None``.
        format: A name of ``FORMATS``.
        precision: One of ``PRECISIONS[format]``.
        out: File to write; ``None`` is next to the detector with its name (of the bundled one and those
            of the zoo and the hub: in the working folder).
        calibrate: Manifest of crops similar to those you will score, to measure activation ranges; required
            for int8.
        verify: Manifest of crops for the comparison with PyTorch; ``None`` uses the demo clip.
        tolerance: Largest allowed difference of a probability, and of the AUC if there are real and
            fake crops; ``None`` is the value in ``TOLERANCES``.

    Returns:
        What was written.

    Raises:
        OptionError: Options do not fit together, or the detector is a sequence model or a classical
            classifier.
        CheckpointError: The detector cannot be read, or the export differs too much and is not written.
        ManifestError: A manifest cannot be read.
        OutputError: The file cannot be written.
    """
    # Also checks the options.
    options = ExportOptions(
        format=format,
        precision=precision,
        calibrate=None if calibrate is None else Path(calibrate),
        tolerance=tolerance,
    )
    with bundled_detector() if detector is None else nullcontext(local_detector(detector)) as source:
        named = Path(_default_name(detector, source, format, precision) if out is None else out)
        return _export(
            source,
            _output_path(named, format),
            _BUILDERS[format],
            precision=precision,
            tolerance=TOLERANCES[precision] if tolerance is None else tolerance,
            crops_of=crops_of_demo if verify is None else partial(_crops_of, verify),
            calibrate=options.calibrate,
        )


def export_with_generated_crops(
    detector: Path, out: Path, *, tolerance: float, refers_to_weights: bool = False
) -> ExportReport:
    """Export to ONNX where there is neither a manifest nor the demonstration clip to compare on.

    Args:
        detector: ``detector.safetensors``.
        out: The ``.onnx`` to write.
        tolerance: Largest allowed difference of a probability.
        refers_to_weights: Whether the file holds no weights, but refers to those in the detector's file,
            which must be next to it.

    Raises:
        OptionError, CheckpointError, OutputError: As for :func:`export`.
    """
    builder = _OnnxGraph if refers_to_weights else _Onnx
    return _export(detector, out, builder, precision="fp32", tolerance=tolerance, crops_of=generated_crops)


def _export(
    source: Path,
    path: Path,
    builder: type[_Built],
    *,
    precision: ExportPrecision,
    tolerance: float,
    crops_of: Callable[[DetectorConfig], LabeledCrops],
    calibrate: Path | None = None,
) -> ExportReport:
    model, config = read_detector(source)
    original = TorchDetector(read_detector(source)[0], config, device=torch.device("cpu"))
    facts = _facts(source, config, precision)
    if config.model.classical is not None:
        raise OptionError(
            "detector",
            "has a classical classifier, which is computed in float64 and not exported",
            "export a detector that was trained with train()",
        )
    if config.model.sequence is not None:
        raise OptionError(
            "detector", "is a sequence model, which cannot be exported", "export one of single crops"
        )
    crops = crops_of(config)
    with scratch_folder() as scratch:  # converters that find a full disk raise errors of any kind
        # OpenVINO sets the precisions of storage and computation itself.
        graph_precision = "fp32" if builder is _OpenVino else precision
        graph = DetectorGraph(model, config, precision=graph_precision)
        built = builder(graph, config, precision, source)
        built.build(scratch, None if calibrate is None else _crops_of(calibrate, config).images)
        agreement = _verified(built, scratch, facts, original, crops)
        _check_agreement(path, agreement, tolerance)
        finished = make_folder(scratch / "finished") / path.name
        built.save(finished, {**facts, "agreement": json.dumps(asdict(agreement))})
        if builder is not _TorchExport:
            add_checksum(finished)
        num_bytes = _publish(finished, path)
    return ExportReport(path, num_bytes, agreement, tolerance)


def _default_name(detector: object, source: Path, format: str, precision: str) -> Path:
    suffix = f"{'' if precision == 'fp32' else '.' + precision}{SUFFIXES[format]}"
    if str(detector).startswith(ZOO_PREFIX):  # its folder is the library's
        return Path(f"{source.parent.name}{suffix}")
    folder = Path() if detector is None or is_on_hub(str(detector)) else source.parent
    return folder / f"{source.stem}{suffix}"


def _output_path(path: Path, format: str) -> Path:
    if path.suffix != SUFFIXES[format]:
        raise OptionError("out", f"is {path}", f"must end in {SUFFIXES[format]}")
    if path.exists() and not path.is_file():
        raise OutputError(path, "is not a regular file", "choose a file to write")
    make_folder(path.parent)
    return path


def _facts(source: Path, config: DetectorConfig, precision: str) -> dict[str, str]:
    return {
        **config.to_metadata(),
        SOURCE_KEY: sha256_of_file(source),
        PRECISION_KEY: precision,
        "exported_by": f"deepfake_detect {__version__}",
    }


def _crops_of(manifest: str | os.PathLike[str], config: DetectorConfig) -> LabeledCrops:
    return crops_of_manifest(manifest, config, max_crops=_MAX_CROPS)


def _verified(
    built: _Built, scratch: Path, facts: Mapping[str, str], original: TorchDetector, crops: LabeledCrops
) -> Agreement:
    """Compare the original with the export as it is read back from disk."""
    file = scratch / f"verified{built.suffix}"
    built.save(file, facts)
    return compare(lambda batch: original.score_crops(list(batch)), built.scorer(file), crops)


def _check_agreement(path: Path, agreement: Agreement, allowed: float) -> None:
    differences = (agreement.largest_difference, agreement.auc_difference or 0.0)
    if not max(differences) <= allowed:
        raise CheckpointError(
            path,
            f"was not written because it differs too much: {agreement.line()}; allowed is {allowed:g}",
            "choose another precision, calibrate with more crops, or increase `tolerance`",
        )


def _publish(finished: Path, path: Path) -> int:
    """Copy finished files to their final paths, weights before the file that refers to them."""
    files = sorted(finished.parent.iterdir(), key=lambda file: file == finished)
    for file in files:
        with atomic_path(path.with_suffix(file.suffix)) as temporary:
            shutil.copyfile(file, temporary)
    return sum(file.stat().st_size for file in files)


class _Built(ABC):
    """A network in one format.

    Attributes:
        suffix: Of its files.
        runtime: The runtime of these files.

    Args:
        graph: The detector, in the precision it computes in.
        config: Of the detector.
        precision: The requested precision.
        source: The detector's file.
    """

    suffix: str
    runtime = "onnx"

    def __init__(self, graph: DetectorGraph, config: DetectorConfig, precision: str, source: Path) -> None:
        size = config.model.preprocessing.image_size
        self.graph = graph.eval()
        self.example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        self.precision = precision
        self.source = source

    @abstractmethod
    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        """Convert the network; ``scratch`` is for temporary files."""

    @abstractmethod
    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with its metadata."""

    def scorer(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function of a written file: from crops to fake probabilities."""
        session = open_session(path, self.runtime, num_threads=default_num_threads())
        return lambda crops: session.run(crops)[0]


class _Onnx(_Built):
    suffix = SUFFIXES["onnx"]
    keeps_weights = False

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
                keeps_weights=self.keeps_weights,
            )
        if calibration is not None:
            quantized = scratch / "quantized.onnx"
            logging.disable(logging.WARNING)  # it recommends a preparation step that the exporter has done
            try:
                quantize(self.raw, quantized, list(calibration))
            finally:
                logging.disable(logging.NOTSET)
            self.raw = quantized

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        path.write_bytes(self.raw.read_bytes())
        add_metadata(path, metadata)


class _OnnxGraph(_Onnx):
    """ONNX without weights of its own: it refers to those in the detector's file, next to it."""

    keeps_weights = True

    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        super().build(scratch, calibration)
        refer_to_weights(self.raw, self.source)

    def scorer(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        shutil.copyfile(self.source, path.with_name(self.source.name))
        return super().scorer(path)


class _OpenVino(_Onnx):
    suffix = SUFFIXES["openvino"]
    runtime = "openvino"

    def build(self, scratch: Path, calibration: np.ndarray | None) -> None:
        super().build(scratch, calibration)
        # Not with convert_model, which sends usage reports.
        self.model: Any = import_openvino().Core().read_model(str(self.raw))

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        for name, value in metadata.items():
            self.model.set_rt_info(value, [METADATA_NAME, name])
        import_openvino().save_model(self.model, str(path), compress_to_fp16=self.precision == "fp16")


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

    def scorer(self, path: Path) -> Callable[[np.ndarray], np.ndarray]:
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
