"""A detector as a folder, on disk or on the Hugging Face Hub: its file, and its model card."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import atomic_path, make_folder, read_json
from deepfake_detect.io.hub import DETECTOR_NAMES, upload_detector
from deepfake_detect.models.hub_card import hub_card

if TYPE_CHECKING:
    from deepfake_detect.models.detector import BaseDetector

_NAME_OF_SUFFIX = {Path(name).suffix: name for name in DETECTOR_NAMES}
_CARD_NAME, _METRICS_NAME = "README.md", "metrics.json"


def write_pretrained(
    detector: BaseDetector,
    folder: str | os.PathLike[str],
    *,
    evaluation: Any,  # see BaseDetector.save_pretrained, for the errors too
    license: str | None,
    repository: str | None = None,
) -> Path:
    """Write a detector's file and card into a folder; return the path of the file.

    Args:
        detector, folder, evaluation, license: See :meth:`BaseDetector.save_pretrained`.
        repository: ``"owner/name"`` that the card's example loads; the folder when ``None``.
    """
    figures = _figures(evaluation)
    target = make_folder(folder) / _name_of(detector)
    if detector.source is None:
        from deepfake_detect.models.checkpoint import save_detector  # here: a copy needs no PyTorch

        save_detector(target, detector.model, detector.config)  # type: ignore[attr-defined]
    elif not (target.exists() and target.samefile(detector.source)):
        with atomic_path(target) as temporary:
            shutil.copyfile(detector.source, temporary)
    address = f"hf://{repository}" if repository else target.name
    text = hub_card(target, detector.source, address=address, figures=figures, license=license)
    with atomic_path(target.with_name(_CARD_NAME)) as temporary:
        temporary.write_text(text, "utf-8")
    return target


def push_pretrained(
    detector: BaseDetector,
    repository: str,
    *,
    evaluation: Any,  # see BaseDetector.push_to_hub, for the errors too
    license: str | None,
    revision: str | None,
    private: bool | None,
    message: str,
) -> str:
    """Upload a detector's file and card; return the address of the repository's page."""
    with tempfile.TemporaryDirectory(prefix="deepfake_detect_") as folder:
        write_pretrained(detector, folder, evaluation=evaluation, license=license, repository=repository)
        return upload_detector(Path(folder), repository, revision=revision, private=private, message=message)


def _name_of(detector: BaseDetector) -> str:
    if detector.source is None:
        if not hasattr(detector, "model"):
            raise OptionError("detector", "was not loaded from a file", "pass one of load_detector")
        return DETECTOR_NAMES[0]
    name = _NAME_OF_SUFFIX.get(detector.source.suffix)
    if name is None:
        cause = f"is {detector.source}, and only {' and '.join(_NAME_OF_SUFFIX)} files are shared"
        raise OptionError("detector", cause, "save the detector.safetensors, or export it to onnx")
    return name


def _figures(evaluation: Any) -> Mapping[str, Any]:
    """Return an evaluation as plain values; empty without one."""
    if evaluation is None:
        return {}
    if isinstance(evaluation, (str, os.PathLike)):
        path = Path(evaluation)
        evaluation = read_json(path / _METRICS_NAME if path.is_dir() else path)
    values = evaluation.to_json() if hasattr(evaluation, "to_json") else evaluation
    if not (isinstance(values, Mapping) and {"video", "coverage", "settings"} <= values.keys()):
        remedy = "pass what evaluate returned, or the folder that it wrote"
        raise OptionError("evaluation", "is not an evaluation", remedy)
    return values
