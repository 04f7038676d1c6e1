"""A scored clip -> its report as HTML, with heat maps of the most and least suspicious faces."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deepfake_detect.errors import OptionError
from deepfake_detect.models.calibrated import BaseDetector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import ClipResult
from deepfake_detect.report.clip import Words, clip_report
from deepfake_detect.report.key_frames import collect_key_frames
from deepfake_detect.report.page import write_text


def report_html(
    result: ClipResult,
    path: str | os.PathLike[str] | None = None,
    *,
    detector: BaseDetector,
    provenance: Words | None = None,
    name: str | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> str:
    """Return the report on a clip, which needs no other file, and write it where a path is given.

    The clip is read again for its faces, each of which is shown next to its heat map.

    Args:
        result: Of a clip that is still at ``result.video``.
        path: HTML file to write.
        detector: The detector that scored it; the heat maps are computed with it.
        provenance: Content Credentials of the file, as :func:`provenance.read_provenance` returned them.
        name: Name of the clip in the report, where it is not its file's name.
        on_step: Called with a description of each step.

    Raises:
        VideoError: The clip can no longer be read, or has changed since it was scored.
        OptionError: The detector is another one, or has no heat maps because it runs without PyTorch.

    Example:
        >>> import deepfake_detect as dfd
        >>> detector = dfd.load_detector(runtime="torch")
        >>> result = detector.score_video("examples/demo.mp4", num_frames=2)
        >>> report_html(result, detector=detector)[:15]
        '<!doctype html>'
    """
    given = (detector.config.name, detector.config.version)
    if given != (result.detector.name, result.detector.version):
        raise OptionError(
            "detector",
            f"is {' '.join(given)}; the clip was scored by {result.detector.name} {result.detector.version}",
            "pass that detector",
        )
    if not isinstance(detector, TorchDetector):
        raise OptionError(
            "detector", "runs without PyTorch, which heat maps need", "load it with `runtime` torch"
        )
    evidence = collect_key_frames(detector, result, on_step=on_step)
    on_step("writing the report")
    shown = result if name is None else replace(result, video=name)
    text = clip_report(shown, evidence, provenance=provenance)
    if path is not None:
        write_text(Path(path), text)
    return text
