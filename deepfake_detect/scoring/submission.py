"""Predictions for the FaceForensics++ benchmark, in the form that its server takes."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.scoring.detector import DetectorInput, ready_detector
from deepfake_detect.scoring.pipeline import Detector

_JSON_NAME = "submission.json"
_NUM_IMAGES = 1000
_MAX_NAMED = 5


@dataclass(frozen=True)
class Submission:
    """What :func:`write_submission` wrote.

    Attributes:
        num_images: Images of the benchmark.
        num_fake: Images called fake.
        num_without_face: Images without a detectable face, which are called real.
        num_unreadable: Images that cannot be read, which are called real.
    """

    num_images: int
    num_fake: int
    num_without_face: int
    num_unreadable: int


def write_submission(
    images: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    detector: DetectorInput = None,
    device: str = "auto",
    show_progress: bool = True,
) -> Submission:
    """Predict the images of the FaceForensics++ benchmark, and write a zip for its server.

    The detector's threshold decides between fake and real. The benchmark has no third class, so an image
    without a face, or one that cannot be read, is called real.

    Args:
        images: Folder of the benchmark's PNG files.
        out: Zip to write.
        detector: A loaded detector, or the path of one; the bundled one when ``None``.
        device: Where to run a detector that is loaded here.
        show_progress: Whether to show a progress bar.

    Returns:
        The numbers of images. Unreadable images, or a different number than the benchmark's, cause warnings.

    Raises:
        CheckpointError, DeviceError, OptionError, OutputError: The detector, an option or the output
            cannot be used, or there is no PNG file.
    """
    files = sorted(Path(images).glob("*.png"))
    if not files:
        raise OptionError("images", f"{images} has no PNG file", "pass the folder of the benchmark's images")
    if len(files) != _NUM_IMAGES:
        warnings.warn(
            f"{images}: has {counted(len(files), 'image')}, the benchmark has {_NUM_IMAGES:,}", stacklevel=2
        )
    _check_zip(out)
    loaded = ready_detector(detector, device=device)
    probabilities, unreadable = _probabilities(loaded, files, show_progress=show_progress)
    if unreadable:
        named = ", ".join(unreadable[:_MAX_NAMED]) + (", ..." if len(unreadable) > _MAX_NAMED else "")
        warnings.warn(f"cannot read {counted(len(unreadable), 'image')}, called real: {named}", stacklevel=2)
    threshold = loaded.config.threshold
    predictions = {name: value is not None and value >= threshold for name, value in probabilities.items()}
    write_predictions(out, predictions)
    num_none = sum(value is None for value in probabilities.values())
    return Submission(
        len(predictions), sum(predictions.values()), num_none - len(unreadable), len(unreadable)
    )


def write_predictions(path: str | os.PathLike[str], predictions: Mapping[str, bool]) -> None:
    """Write a zip that contains one JSON: ``{"0000.png": "fake" or "real", ...}``.

    Args:
        path: File to write, ending in ``.zip``.
        predictions: Whether each image is called fake, by file name.

    Raises:
        OptionError: The suffix is not ``.zip``, or there is no prediction.

    Source: the submission format of the FaceForensics++ benchmark (arXiv:1901.08971).

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/predictions.zip"
        >>> write_predictions(path, {"0000.png": True, "0001.png": False})
        >>> with zipfile.ZipFile(path) as archive:
        ...     archive.namelist(), json.loads(archive.read("submission.json"))
        (['submission.json'], {'0000.png': 'fake', '0001.png': 'real'})
    """
    _check_zip(path)
    if not predictions:
        raise OptionError("predictions", "are empty", "predict every image of the benchmark")
    words = {name: "fake" if predictions[name] else "real" for name in sorted(predictions)}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_JSON_NAME, json.dumps(words, indent=1))


def _check_zip(path: str | os.PathLike[str]) -> None:
    if os.path.splitext(path)[1].lower() != ".zip":
        raise OptionError("out", f"is {os.fspath(path)}", "must end in .zip")


def _probabilities(
    detector: Detector, files: list[Path], *, show_progress: bool
) -> tuple[dict[str, float | None], list[str]]:
    """Return the probability of each image, ``None`` without one, and the unreadable images."""
    probabilities: dict[str, float | None] = {}
    unreadable: list[str] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("images", total=len(files), note="")
        for file in files:
            try:
                probabilities[file.name] = detector.score_video(file).fake_probability
            except VideoError:
                probabilities[file.name] = None
                unreadable.append(file.name)
            progress.advance(task)
    return probabilities, unreadable
