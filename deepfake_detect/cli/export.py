"""Export a detector for a runtime without PyTorch: ONNX Runtime, OpenVINO, or torch.export.

The whole detector goes into one file (OpenVINO: .xml and .bin): preprocessing, network, calibration,
and in the metadata everything scoring must agree on. It is written only when its probabilities on
real crops are those of PyTorch: within 0.001 for fp32, 0.01 for fp16, 0.05 for bf16 and 0.1 for
int8, or within --tolerance; where both classes are there, the AUC within the same number.

  tools/export.py --detector run/detector.safetensors --format onnx
  tools/score_video.py clip.mp4 --runtime onnx --detector run/detector.onnx
"""

from __future__ import annotations

import argparse

from deepfake_detect.errors import OptionError

_FORMATS = ("onnx", "openvino", "torch-export")  # of runtimes.export, which loads PyTorch
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--format", choices=_FORMATS)
    parser.add_argument(
        "--precision",
        choices=_PRECISIONS,
        default="fp32",
        help="what it computes in (default fp32); no bf16 as onnx, no int8 as torch-export",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to (default: beside the detector, under its name)"
    )
    parser.add_argument(
        "--calibrate", metavar="MANIFEST", help="for int8: crops like those that will be judged"
    )
    parser.add_argument(
        "--verify", metavar="MANIFEST", help="crops to compare with PyTorch on (default: examples/demo.mp4)"
    )
    parser.add_argument(
        "--tolerance", type=float, help="largest difference of a probability (default: above)"
    )
    parser.add_argument(
        "--faces", metavar="DIR", help="write the networks that find faces there, as the package has them"
    )


def run(arguments: argparse.Namespace) -> int:
    if (arguments.format is None) == (arguments.faces is None):
        raise OptionError("--format", "or --faces must be given, and not both", "name what to export")
    if arguments.faces is not None:
        from deepfake_detect.runtimes import export_face_networks

        for path in export_face_networks(arguments.faces):
            print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
        return 0
    from deepfake_detect.runtimes import export_detector

    report = export_detector(
        arguments.detector,
        format=arguments.format,
        precision=arguments.precision,
        out=arguments.out,
        calibrate=arguments.calibrate,
        verify=arguments.verify,
        tolerance=arguments.tolerance,
    )
    print(f"wrote {report.path} ({report.num_bytes / 1e6:.1f} MB)")
    print(f"{report.agreement.line()} (allowed: {report.tolerance:g})")
    return 0
