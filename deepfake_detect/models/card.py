"""A detector's card: what it is, from its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.config import (
    DetectorConfig,
    IsotonicCalibration,
    PlattCalibration,
    parse_config,
)
from deepfake_detect.models.metadata import CHECKSUM_KEY, PRECISION_KEY, SOURCE_KEY, read_bytes
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.plurals import counted
from deepfake_detect.records import CropGeometry

_LONGEST_VALUE = 400
_EXPORTS = {".onnx": "ONNX", ".xml": "OpenVINO"}


def read_card(detector: str | os.PathLike[str] | None = None) -> str:
    """Return what is known about a detector, as Markdown.

    Args:
        detector: Detector file of any kind, an exported one too, described from its metadata, or one on
            the hub (``"hf://owner/name"``); the bundled detector, with its complete model card,
            when ``None``.

    Raises:
        CheckpointError: The file is not a detector, or is damaged.
        FetchError: It cannot be downloaded from the hub.

    Example:
        >>> read_card().splitlines()[0].startswith("# ")
        True
    """
    if detector is None:
        return (resources.files("deepfake_detect.weights") / "README.md").read_text("utf-8")
    path = local_detector(detector)
    kind = _EXPORTS.get(path.suffix, "safetensors")
    found = read_bytes(path, kind=kind)
    config = parse_config(path, found.metadata)
    if path.suffix in _EXPORTS:
        found.check_weights()
        of_kind = _export_facts(kind, found.metadata)
    else:
        from deepfake_detect.models.checkpoint import read_detector  # here: exports need no PyTorch

        model, config = read_detector(path)
        of_kind = {"parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}"}
    facts = {
        "file": f"{path.name}, {counted(path.stat().st_size, 'byte')}",
        "SHA-256": sha256_of_file(path),
        "weights": "as they were written (checksum)"
        if CHECKSUM_KEY in found.metadata
        else "not checked: the file was written before files had a checksum",
        **of_kind,
        **config_facts(config),
    }
    return (
        f"# {config.name} {config.version}\n\n{facts_table(facts)}\n"
        "The file describes how the detector was made and where its verdicts change, not how good it is: "
        "evaluate it on data it has not seen.\n"
    )


def crop_words(geometry: CropGeometry) -> str:
    """Return how a face is cut, in words."""
    if geometry.aligned and geometry.template == "arcface":
        words = (
            f"{geometry.margin:.3g} times the template of insightface, onto which five landmarks are aligned"
        )
    elif geometry.shape == "square":
        level = ", turned level" if geometry.aligned else ""
        words = f"{geometry.margin:.3g} times the longer side of the face box{level}"
    else:
        padding = ", in a black square" if geometry.shape == "padded" else ""
        words = f"{geometry.margin:.3g} times each side of the face box{padding}"
    past = {"mirror": "", "cut": "; cut at the frame's border", "black": "; black past the frame's border"}
    narrowest = geometry.narrowest
    less = "" if narrowest is None else f"; stored crops from {narrowest:.3g} times on are scored whole"
    return words + past[geometry.border] + less


def facts_table(facts: Mapping[str, Any]) -> str:
    """Return names and values as a Markdown table; what a file says cannot end a cell or a line."""
    rows = "".join(f"| {name} | {shown_text(value)} |\n" for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}"


def _export_facts(kind: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what an exported file says of its export."""
    facts = {
        "exported for": f"{kind}, precision {metadata.get(PRECISION_KEY, 'unknown')}",
        "exported by": metadata.get("exported_by", "unknown"),
        "exported from": f"the detector file with SHA-256 {metadata.get(SOURCE_KEY, 'unknown')}",
    }
    try:
        agreement = json.loads(metadata["agreement"])
        difference, count = float(agreement["largest_difference"]), int(agreement["num_crops"])
    except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError):
        return {**facts, "agreement": "not recorded"}
    return {
        **facts,
        "agreement": f"probabilities differ by at most {difference:.2g} on {counted(count, 'crop')}",
    }


def config_facts(config: DetectorConfig) -> dict[str, Any]:
    """Return what a detector's configuration says, by name, for readers."""
    spec = config.model
    preprocessing = spec.preprocessing
    facts: dict[str, Any] = {
        "network": spec.backbone,
        "head": _head(config),
        **({} if spec.stem == "rgb" else {"stem": spec.stem}),
        "input": f"RGB, {preprocessing.image_size} x {preprocessing.image_size} pixels, "
        f"mean {preprocessing.mean}, std {preprocessing.std}",
        "crop": crop_words(config.geometry),
        "from faces to clip": config.aggregation_rule,
        "temperature": config.temperature,
        "calibration": _calibration(config),
        "threshold": config.threshold,
        "uncertain between": f"{config.uncertain_low:g} and {config.uncertain_high:g}",
    }
    if not config.is_calibrated:
        facts |= {"threshold": "none, as it is not calibrated", "uncertain between": "not calibrated"}
    if config.plugins:
        facts["plug-ins"] = "; ".join(
            f"{part}{'' if part.is_installed else ' (not installed)'}" for part in config.plugins
        )
    training = replace(config, training=config.training.readable()).to_dict()["training"]
    return facts | {f"training: {name.replace('_', ' ')}": value for name, value in training.items()}


def _head(config: DetectorConfig) -> str:
    spec = config.model
    if spec.classical is not None:
        layer = "the encoder's output" if spec.classical.layer is None else f"layer {spec.classical.layer}"
        return f"classical classifier ({spec.classical.head}) on {layer}"
    if spec.sequence is not None:
        return f"{spec.sequence.temporal} over up to {counted(spec.sequence.num_frames, 'crop')} of a person"
    return spec.head


def _calibration(config: DetectorConfig) -> str:
    if isinstance(config.calibration, PlattCalibration):
        return f"Platt, slope {config.calibration.slope:.4g}, intercept {config.calibration.intercept:.4g}"
    if isinstance(config.calibration, IsotonicCalibration):
        return f"isotonic, {len(config.calibration.logits)} knots"
    return "none, except the temperature"


def shown_text(value: Any) -> str:
    """Return a value as one line of text, cut off where it is long."""
    printable = "".join(one if one.isprintable() else " " for one in str(value))
    text = " ".join(printable.replace("|", "\\|").split())
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
