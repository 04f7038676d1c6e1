"""Writing PyTorch networks as ONNX files; their metadata and quantization."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import CheckpointError
from deepfake_detect.runtimes.sessions import import_onnxruntime

_OPSET = 17  # of 2022: read by every ONNX Runtime from 1.12 and OpenVINO from 2022.3
_CALIBRATION_BATCH = 8
_SMALLEST_REFERENCE = 64  # bytes; constants of the graph itself are smaller


def write_onnx(
    network: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    *,
    names: Sequence[str],
    free_axes: Mapping[str, Mapping[int, str]],
    keeps_weights: bool = False,
) -> None:
    """Write a network as ONNX.

    Args:
        network: In evaluation mode.
        inputs: Example inputs.
        path: File to write.
        names: Of the inputs, then of the outputs.
        free_axes: For inputs and outputs by name, the axes whose length may differ from the example.
        keeps_weights: Whether the weights are written as the network has them, with batch norm as
            layers of its own, which runtimes fold themselves.
    """
    with warnings.catch_warnings():
        # The TorchScript exporter warns that there is a newer one. That one takes ten times as long, and
        # ONNX Runtime's quantization does not support its graphs.
        warnings.simplefilter("ignore", DeprecationWarning)
        # The tracer warns of the check of the size of images, which is constant where features are flattened.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Constants of the graph are folded; that none of the weights is among them is checked later.
        warnings.filterwarnings("ignore", "It is recommended that constant folding", UserWarning)
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)  # of paddings
        torch.onnx.export(
            network,
            inputs,
            str(path),
            input_names=list(names[: len(inputs)]),
            output_names=list(names[len(inputs) :]),
            dynamic_axes={name: dict(axes) for name, axes in free_axes.items()},
            opset_version=_OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE if keeps_weights else torch.onnx.TrainingMode.EVAL,
        )


def add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Write metadata into an ONNX file."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(model, dict(metadata))
    path.write_bytes(model.SerializeToString())


def refer_to_weights(path: Path, weights: Path) -> None:
    """Replace the weights in an ONNX file by references to the same bytes of a safetensors file.

    A reference names a file in the same folder, an offset and a length (ONNX's external data).

    Args:
        path: The file, written with ``keeps_weights``; it is changed.
        weights: The safetensors file; it has the name it will have next to the other.

    Raises:
        CheckpointError: Some weights are not in it.
    """
    import onnx

    content = weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    spans = [values["data_offsets"] for name, values in header.items() if name != "__metadata__"]
    offsets = {content[start + first : start + last]: start + first for first, last in spans}
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(values) < _SMALLEST_REFERENCE:
            continue
        if values not in offsets:
            raise CheckpointError(weights, f"does not hold the weights {tensor.name}", "export it as ONNX")
        kept = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        kept.data_location = onnx.TensorProto.EXTERNAL
        for key, value in ("location", weights.name), ("offset", offsets[values]), ("length", len(values)):
            kept.external_data.add(key=key, value=str(value))
        tensor.CopyFrom(kept)
    path.write_bytes(model.SerializeToString())


def quantize(path: Path, out: Path, crops: Sequence[np.ndarray]) -> None:
    """Write an ONNX network with 8-bit weights and activations (static quantization).

    Convolutions and matrix products are quantized, weights per channel; the ranges of the activations
    are measured on the given crops.

    Args:
        path: The float32 network, whose input is named ``crops``.
        out: File to write.
        crops: Example inputs, uint8 (S, S, 3) each.
    """
    import_onnxruntime()
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Returns the crops in batches."""

        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = (
                np.stack(crops[start : start + _CALIBRATION_BATCH])
                for start in range(0, len(crops), _CALIBRATION_BATCH)
            )

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"crops": batch}

    quantization.quantize_static(
        str(path),
        str(out),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        per_channel=True,
        # Without it, products of 8-bit numbers overflow on processors without VNNI.
        reduce_range=True,
    )
