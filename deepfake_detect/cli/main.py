"""``deepfake-detect COMMAND ...``: find the command's module, run it, turn errors into a line."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deepfake_detect._version import __version__
from deepfake_detect.clips.missing import missing_library
from deepfake_detect.errors import DeepfakeDetectError

# Command to module; imported only when its command is asked for, so that --help is quick.
COMMANDS = {
    "score-video": "deepfake_detect.cli.score_video",
    "app": "deepfake_detect.cli.app",
    "datasets": "deepfake_detect.cli.datasets",
    "index": "deepfake_detect.cli.index",
    "extract-faces": "deepfake_detect.cli.extract_faces",
    "import-crops": "deepfake_detect.cli.import_crops",
    "merge": "deepfake_detect.cli.merge",
    "pack": "deepfake_detect.cli.pack",
    "audit": "deepfake_detect.cli.audit",
    "show-batch": "deepfake_detect.cli.show_batch",
    "models": "deepfake_detect.cli.models",
    "average": "deepfake_detect.cli.average",
    "card": "deepfake_detect.cli.card",
    "train": "deepfake_detect.cli.train",
    "train-classifier": "deepfake_detect.cli.train_classifier",
    "compare-backbones": "deepfake_detect.cli.compare_backbones",
    "train-gan": "deepfake_detect.cli.train_gan",
    "blend": "deepfake_detect.cli.blend",
    "calibrate": "deepfake_detect.cli.calibrate",
    "evaluate": "deepfake_detect.cli.evaluate",
    "compare": "deepfake_detect.cli.compare",
    "protocols": "deepfake_detect.cli.protocols",
    "submission": "deepfake_detect.cli.submission",
    "explain": "deepfake_detect.cli.explain",
    "filters": "deepfake_detect.cli.filters",
    "dream": "deepfake_detect.cli.dream",
    "extract-features": "deepfake_detect.cli.extract_features",
    "train-features": "deepfake_detect.cli.train_features",
    "neighbours": "deepfake_detect.cli.neighbours",
    "clusters": "deepfake_detect.cli.clusters",
    "export": "deepfake_detect.cli.export",
    "export-weights": "deepfake_detect.cli.export_weights",
}
SUMMARIES = {
    "score-video": "tell whether the faces in clips were forged",
    "app": "serve a page on this computer that judges clips",
    "datasets": "list the dataset layouts that can be read",
    "index": "list a dataset's videos with labels, identities and splits",
    "extract-faces": "cut faces out of a dataset's videos, with a manifest",
    "import-crops": "take in published face crops with a list of labels",
    "merge": "merge, filter and sample manifests or indexes",
    "pack": "copy a manifest's crops into numbered tar shards",
    "audit": "look for what the splits of a manifest share and should not",
    "show-batch": "draw crops as training would see them",
    "models": "list backbones with their size, input and weights",
    "average": "average the weights of detectors fine-tuned from the same ones",
    "card": "show a detector's data, figures, failures and use",
    "train": "train a detector on a manifest",
    "train-classifier": "train a network to name the class of small images",
    "compare-backbones": "train several backbones by one protocol, and rank them",
    "blend": "make a fake of each real crop by blending",
    "train-gan": "train a GAN and write its samples as a labelled fake set",
    "calibrate": "fit a detector's probabilities and threshold on validation",
    "evaluate": "measure a detector on a manifest, or the scores of any tool",
    "compare": "put several detectors side by side",
    "protocols": "list the protocols that a manifest can serve",
    "submission": "answer the pictures of the FaceForensics++ benchmark",
    "explain": "show where in a face a detector finds its evidence",
    "filters": "draw a network's filters, or its answers to a picture",
    "dream": "change a picture until layers answer more strongly",
    "extract-features": "keep what a network makes of crops in an HDF5 file",
    "train-features": "train an SVM, forest or the like on features, as a detector",
    "neighbours": "find the faces that are most like a face",
    "clusters": "group like faces and draw them on a map to zoom into",
    "export": "write a detector as ONNX, OpenVINO or torch.export, without PyTorch to run",
    "export-weights": "write the weights of a detector as HDF5",
}
EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process when ``None``.

    Returns:
        The exit code; argparse's own errors and ``--help`` raise SystemExit.

    Example:
        >>> main(["score-video", "absent.mp4"])
        2
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no text
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0].replace("_", "-") if arguments else ""
    if command not in COMMANDS:
        return _overview(arguments)
    try:
        with _plain_warnings():
            return _run(command, arguments[1:])
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ModuleNotFoundError as error:
        if (error.name or "deepfake_detect").startswith("deepfake_detect"):
            raise
        print(f"error: {missing_library(command, error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read standard output is gone; Python must not write to it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE


def _run(command: str, arguments: Sequence[str]) -> int:
    module = importlib.import_module(COMMANDS[command])
    parser = argparse.ArgumentParser(
        prog=f"deepfake-detect {command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(arguments)))


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show the library's warnings as a line each, without the code that gave them."""
    original = warnings.formatwarning

    def one_line(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> str:
        return (
            f"warning: {message}\n" if category is UserWarning else original(message, category, *rest, **more)
        )

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = original


def _overview(arguments: list[str]) -> int:
    """Answer a call without a known command."""
    lines = "\n".join(f"  {name:<17} {summary}" for name, summary in SUMMARIES.items())
    parser = argparse.ArgumentParser(
        prog="deepfake-detect",
        description="Tell whether the face in a video was forged.",
        epilog=f"commands:\n{lines}\n\n'deepfake-detect COMMAND --help' tells a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deepfake_detect {__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND")
    parser.parse_args(arguments)
    raise AssertionError("unreachable: a known command was dispatched before")
