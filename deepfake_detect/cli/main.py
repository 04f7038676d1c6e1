"""``deepfake-detect COMMAND ...``: find the command's module, run it, turn errors into a line."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from deepfake_detect._version import __version__
from deepfake_detect.cli.arguments import in_flags
from deepfake_detect.cli.parser import CommandParser, output_settings
from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.extras import missing_library


class Command(NamedTuple):
    """One command: the group it is listed in, its module (imported when it is run), one line of help.

    The module has ``add_arguments(parser)``, ``run(arguments) -> exit code`` and a docstring, which
    ``--help`` shows.
    """

    group: str
    module: str
    summary: str


_CLI = "deepfake_detect.cli"
COMMANDS: Mapping[str, Command] = {
    "score-video": Command("score", f"{_CLI}.score_video", "score clips: real, fake or undecided"),
    "explain": Command("score", f"{_CLI}.explain", "show where in a face a detector finds its evidence"),
    "app": Command("score", f"{_CLI}.app", "serve a web page and an HTTP API on this computer"),
    "datasets": Command("data", f"{_CLI}.datasets", "list the dataset layouts that can be read"),
    "index": Command("data", f"{_CLI}.index", "list a dataset's videos with labels, identities and splits"),
    "export-index": Command("data", f"{_CLI}.export_index", "write an index as DeepfakeBench reads it"),
    "extract-faces": Command("data", f"{_CLI}.extract_faces", "cut faces out of a dataset's videos"),
    "import-crops": Command("data", f"{_CLI}.import_crops", "import published face crops with their labels"),
    "merge": Command("data", f"{_CLI}.merge", "merge, filter and sample manifests or indexes"),
    "pack": Command("data", f"{_CLI}.pack", "copy a manifest's crops into numbered tar shards"),
    "audit": Command("data", f"{_CLI}.audit", "find what the splits of a manifest share but should not"),
    "show-batch": Command("data", f"{_CLI}.show_batch", "draw crops as training would see them"),
    "blend": Command("data", f"{_CLI}.blend", "make a fake of each real crop by blending"),
    "train": Command("train", f"{_CLI}.train", "train a detector on a manifest"),
    "compare-backbones": Command(
        "train", f"{_CLI}.compare_backbones", "train several backbones and rank them"
    ),
    "extract-features": Command("train", f"{_CLI}.extract_features", "write a network's features of crops"),
    "train-features": Command("train", f"{_CLI}.train_features", "train an SVM, forest, ... on features"),
    "neighbors": Command("train", f"{_CLI}.neighbors", "find the faces most similar to a face"),
    "calibrate": Command("evaluate", f"{_CLI}.calibrate", "fit probabilities and threshold on validation"),
    "evaluate": Command("evaluate", f"{_CLI}.evaluate", "measure a detector, or the scores of any tool"),
    "evaluate-suite": Command("evaluate", f"{_CLI}.evaluate_suite", "measure on several sets, one threshold"),
    "stress": Command("evaluate", f"{_CLI}.stress", "measure on damaged clips, and count lost faces"),
    "compare": Command("evaluate", f"{_CLI}.compare", "compare several detectors"),
    "combine": Command("evaluate", f"{_CLI}.combine", "learn to fuse detectors into one probability"),
    "protocols": Command("evaluate", f"{_CLI}.protocols", "list the protocols that a manifest can serve"),
    "submission": Command("evaluate", f"{_CLI}.submission", "predict the images of the FF++ benchmark"),
    "zoo": Command("models", f"{_CLI}.zoo", "list, fetch and verify published detectors"),
    "models": Command("models", f"{_CLI}.models", "list backbones with their size, input and weights"),
    "card": Command("models", f"{_CLI}.card", "show a detector's data, figures, failures and use"),
    "convert-checkpoint": Command(
        "models", f"{_CLI}.convert_checkpoint", "convert a checkpoint of another library"
    ),
    "average": Command("models", f"{_CLI}.average", "average the weights of detectors"),
    "export": Command("models", f"{_CLI}.export", "export a detector as ONNX, OpenVINO or torch.export"),
    "completion": Command("shell", f"{_CLI}.completion", "print a script that completes commands in a shell"),
}
_LAB = "deepfake_detect.lab.commands"
LAB_COMMANDS: Mapping[str, Command] = {
    "train-classifier": Command("lab", f"{_LAB}.train_classifier", "train a classifier of small images"),
    "train-gan": Command("lab", f"{_LAB}.train_gan", "train a GAN and write its samples as fakes"),
    "filters": Command("lab", f"{_LAB}.filters", "draw a network's filters, or its activations"),
    "dream": Command("lab", f"{_LAB}.dream", "change an image until layers respond more strongly"),
    "clusters": Command("lab", f"{_LAB}.clusters", "group similar faces and draw them on a map"),
    "verify-pairs": Command("lab", f"{_LAB}.verify_pairs", "tell by faces whether pairs show one person"),
    "export-weights": Command("lab", f"{_LAB}.export_weights", "write the weights of a detector as HDF5"),
}
_GROUPS = {
    "score": "score clips",
    "data": "prepare data",
    "train": "train detectors",
    "evaluate": "evaluate detectors",
    "models": "detectors and backbones",
    "shell": "more",
    "lab": "lab commands",
}
EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141
EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "success, and audit or neighbors --across-splits found something that splits share",
    EXIT_BAD_INPUT: "an error, or some inputs could not be used; standard error says why",
    _EXIT_INTERRUPTED: "interrupted with Ctrl-C",
    _EXIT_BROKEN_PIPE: "the program reading the output closed it",
    143: "terminated by SIGTERM",
}


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
    commands, prefix = COMMANDS, "deepfake-detect"
    if arguments[:1] == ["lab"]:
        commands, prefix, arguments = LAB_COMMANDS, "deepfake-detect lab", arguments[1:]
    name = arguments[0].replace("_", "-") if arguments else ""
    if name not in commands:
        return _overview(arguments, commands, prefix)
    return _run(commands[name], f"{prefix} {name}", arguments[1:])


def _run(command: Command, program: str, arguments: Sequence[str]) -> int:
    """Run a command; turn what goes wrong into a line and an exit code."""
    parser = CommandParser(program, None)
    try:
        parser = parser_of(command, program)
        given = parser.parse_args(arguments)
        with _plain_warnings(), output_settings(given):
            return int(importlib.import_module(command.module).run(given))
    except DeepfakeDetectError as error:
        print(f"error: {in_flags(error, parser)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ModuleNotFoundError as error:
        if (error.name or "deepfake_detect").startswith("deepfake_detect"):
            raise
        print(f"error: {missing_library(program.split()[-1], error.name or '')}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of standard output is gone; Python must not write to it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE


def parser_of(command: Command, program: str) -> CommandParser:
    """Return the parser of a command; loads its module."""
    module = importlib.import_module(command.module)
    parser = CommandParser(program, module.__doc__)
    module.add_arguments(parser)
    parser.add_common_options()
    return parser


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


def _overview(arguments: list[str], commands: Mapping[str, Command], program: str) -> int:
    """Show the commands; end with an error unless help or the version was asked for."""
    groups = dict.fromkeys(command.group for command in commands.values())
    blocks = [
        f"{_GROUPS[group]}:\n"
        + "\n".join(f"  {name:<17} {one.summary}" for name, one in commands.items() if one.group == group)
        for group in groups
    ]
    if commands is COMMANDS:
        blocks[-1] += "\n  lab               GANs, Deep Dream, filters, face maps: 'deepfake-detect lab'"
    codes = "\n".join(f"{code:>5}  {words}" for code, words in EXIT_CODES.items())
    blocks += [f"exit codes:\n{codes}"]
    parser = argparse.ArgumentParser(
        prog=program,
        description="Detect deepfaked faces in videos and images.",
        usage=f"{program} COMMAND [options]",
        epilog="\n\n".join([*blocks, f"'{program} COMMAND --help' shows the options of a command."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"deepfake_detect {__version__}")
    parser.add_argument("command", choices=list(commands), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.parse_args(arguments)
    raise AssertionError("unreachable: a known command was dispatched before")
