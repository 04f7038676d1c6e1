"""Show what a detector is: data, figures with intervals, known failures, use and misuse.

Of the bundled detector the whole model card; of another what its file says of itself.
"""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepfake_detect.models.checkpoint import DetectorConfig

_LONGEST_VALUE = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", type=Path, metavar="PATH", help="(default: the bundled one)")
    parser.add_argument("--plain", action="store_true", help="the Markdown text as it is")


def run(arguments: argparse.Namespace) -> int:
    text = _bundled_card() if arguments.detector is None else detector_card(arguments.detector)
    if arguments.plain or not sys.stdout.isatty():
        print(text)
        return 0
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
    return 0


def _bundled_card() -> str:
    return (resources.files("deepfake_detect.weights") / "README.md").read_text("utf-8")


def detector_card(path: Path) -> str:
    """Return a card of what a detector file says, as Markdown.

    Args:
        path: The file.

    Raises:
        CheckpointError: It is no detector.
    """
    from deepfake_detect.io.files import sha256_of_file
    from deepfake_detect.models.checkpoint import read_detector

    model, config = read_detector(path)
    facts = {
        "file": f"{path.name}, {path.stat().st_size:,} bytes",
        "SHA-256": sha256_of_file(path),
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        **_facts(config),
    }
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in facts.items())
    return (
        f"# {config.name} {config.version}\n\n| | |\n|---|---|\n{rows}\n\n"
        "A file tells how its detector was made and where its words change, not how good it is: "
        "measure it with `deepfake-detect evaluate` on data it has not seen.\n"
    )


def _facts(config: DetectorConfig) -> dict[str, Any]:
    from deepfake_detect.data.video_digests import PREFIXES_KEY

    preprocessing = config.model.preprocessing
    facts: dict[str, Any] = {
        "network": config.model.backbone,
        "input": f"RGB, {preprocessing.image_size} x {preprocessing.image_size} pixels, "
        f"mean {preprocessing.mean}, std {preprocessing.std}",
        "crop": f"{config.geometry.margin:g} times the longer side of the face box"
        + (", turned level" if config.geometry.aligned else ""),
        "from faces to clip": config.aggregation_rule,
        "temperature": config.temperature,
        "threshold": config.threshold,
        "uncertain between": f"{config.uncertain_low:g} and {config.uncertain_high:g}",
    }
    # Digests of thousands of videos serve evaluation, not a reader.
    told = {name: value for name, value in config.training.items() if name != PREFIXES_KEY}
    return facts | {f"training: {name.replace('_', ' ')}": value for name, value in told.items()}


def _shown(value: Any) -> str:
    text = " ".join(str(value).replace("|", "\\|").split())
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
