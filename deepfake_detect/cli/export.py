"""Export a detector for a runtime without PyTorch: ONNX Runtime, OpenVINO, or torch.export.

The whole detector goes into one file (OpenVINO: .xml and .bin): preprocessing, network, calibration, and the
metadata that scoring needs. It is written only if its probabilities on real crops agree with PyTorch: within
0.001 for fp32, 0.01 for fp16, 0.05 for bf16 and 0.1 for int8, or within --tolerance. If there are real and
fake crops, the AUC must agree within the same tolerance.

  deepfake-detect export --detector run/detector.safetensors --format onnx
  deepfake-detect score-video clip.mp4 --detector run/detector.onnx
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.errors import OptionError
from deepfake_detect.runtimes.options import ExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ExportOptions, is_from_file=True)  # --format is not needed with --faces
    parser.add_argument(
        "--faces",
        metavar="DIR",
        help=("export the face detector's networks to this folder, in the format that the package ships"),
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.runtimes.export import export
    from deepfake_detect.runtimes.mtcnn import export_face_networks

    if hasattr(arguments, "format") == (arguments.faces is not None):
        raise OptionError("format", "or `faces` is required, but not both", "set what to export")
    if arguments.faces is not None:
        for path in export_face_networks(arguments.faces):
            note(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
        return 0
    report = export(**asdict(options_of(ExportOptions, arguments)))
    note(f"wrote {report.path} ({report.num_bytes / 1e6:.1f} MB)")
    print(f"{report.agreement.line()} (allowed: {report.tolerance:g})")
    return 0
