"""The runtimes, and the options of an export; loads no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option

Runtime = Literal["auto", "torch", "onnx", "openvino"]
"""What runs the networks; ``"auto"`` chooses, see :func:`load_crop_detector`."""
ExportFormat = Literal["onnx", "openvino", "torch-export"]
ExportPrecision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: dict[ExportFormat, tuple[ExportPrecision, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "torch-export": ("fp32", "fp16", "bf16"),
}
"""The precisions of each format."""
FORMATS = tuple(PRECISIONS)
_WHY_NOT = {
    ("onnx", "bf16"): "ONNX Runtime has no bf16 convolution on a CPU",
    ("torch-export", "int8"): "int8 is made by ONNX Runtime, whose files torch does not read",
}


@dataclass(frozen=True)
class ExportOptions:
    """How a detector is exported; see :func:`export`.

    Raises:
        OptionError: An option is unknown, out of range, or does not fit another one.
    """

    format: ExportFormat = option(help="format of the exported file")
    detector: str | None = option(None, help="detector.safetensors (default: the bundled one)")
    precision: ExportPrecision = option(
        "fp32", help="precision of the exported model; onnx has no bf16, torch-export has no int8"
    )
    out: Path | None = option(
        None, metavar="FILE", help="file to write (default: next to the detector, with the same name)"
    )
    calibrate: Path | None = option(
        None, metavar="MANIFEST", help="for int8: sample crops similar to those you will score"
    )
    verify: Path | None = option(
        None,
        metavar="MANIFEST",
        help="crops for comparing the export with PyTorch (default: examples/demo.mp4)",
    )
    tolerance: float | None = option(
        None, low=0, high=1, help="largest allowed difference of a probability (default: see above)"
    )

    def __post_init__(self) -> None:
        check_options(self)
        allowed = PRECISIONS[self.format]
        if self.precision not in allowed:
            why = _WHY_NOT[self.format, self.precision]
            cause = f"is {self.precision}, which {self.format} does not have ({why})"
            raise OptionError("precision", cause, f"must be one of {', '.join(allowed)}")
        if (self.precision == "int8") != (self.calibrate is not None):
            is_missing = self.calibrate is None
            cause = "is missing, and int8 needs it" if is_missing else f"is for int8, not {self.precision}"
            raise OptionError("calibrate", cause, "pass a manifest of crops with int8, and only then")
