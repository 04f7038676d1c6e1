"""A detector's crops, overlaid with maps of its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.errors import ImageError
from deepfake_detect.explanation.heat_maps import heat_maps, overlay
from deepfake_detect.explanation.options import Method, Target
from deepfake_detect.images import rgb_uint8
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.runtimes import torch_detector


@dataclass(frozen=True, eq=False)
class Explanation:
    """A crop, the detector's probability, and where in the crop its evidence lies.

    Attributes:
        index: Of the crop in the input.
        crop: RGB uint8 (H, W, 3).
        heat_map: float32 (S, S), 0 to 1, where S is the side of the network's input; relative to the
            strongest position of this crop.
        overlay: RGB uint8 (H, W, 3), the map over the crop.
        fake_probability: Calibrated, 0 to 1; that of the whole sequence for sequence models.
    """

    index: int
    crop: np.ndarray
    heat_map: np.ndarray
    overlay: np.ndarray
    fake_probability: float


def crop_tensors(scorer: TorchDetector, crops: Sequence[Any]) -> tuple[dict[int, np.ndarray], torch.Tensor]:
    """Return crops as a detector reads them: images by index, and float32 (N, 3, S, S).

    From a sequence longer than those the detector was trained on, as many crops as it reads are
    chosen, evenly spaced, as in scoring.

    Raises:
        ImageError: A crop is not an RGB image, or there is none.
    """
    if not len(crops):
        raise ImageError("crops", "is empty", "pass one or more")
    sequence = scorer.config.model.sequence
    count = len(crops) if sequence is None else min(len(crops), sequence.num_frames)
    chosen = np.linspace(0, len(crops) - 1, count).round().astype(int).tolist()
    images = {index: rgb_uint8(crops[index], subject=f"crop {index}") for index in chosen}
    preprocessing = scorer.config.model.preprocessing
    return images, torch.stack([crop_to_tensor(image, preprocessing) for image in images.values()])


def explain_crops(
    detector: BaseDetector,
    crops: Sequence[Any],
    *,
    method: Method = "gradcam",
    layer: str | None = None,
    target: Target = "fake",
    alpha: float = 0.45,
    show_progress: bool = True,
) -> list[Explanation]:
    """Return each crop with the map of its evidence for the target.

    Crops are preprocessed exactly as in scoring.

    Args:
        detector: Any detector but an export that was named itself.
        crops: Face crops, as for ``detector.score_crops``. For a sequence model: those of one person in
            one clip, in order of time.
        method, layer, target: As for :func:`explanation.heat_maps.heat_maps`.
        alpha: As for :func:`explanation.heat_maps.overlay`.
        show_progress: Whether to show a progress bar.

    Returns:
        One per crop, in order; from a long sequence, only the crops that the detector reads.

    Raises:
        ImageError: A crop is not an RGB image, or there is none.
        OptionError: As for the functions named.

    Example:
        >>> import deepfake_detect as dfd
        >>> crops = [np.zeros((120, 90, 3), np.uint8)]
        >>> detector = dfd.load_detector(runtime="torch")
        >>> explain_crops(detector, crops, show_progress=False)[0].overlay.shape
        (120, 90, 3)
    """
    scorer = torch_detector(detector, purpose="maps")
    images, tensors = crop_tensors(scorer, crops)
    maps = heat_maps(
        scorer.model, tensors, method=method, layer=layer, target=target, show_progress=show_progress
    )
    if scorer.is_sequential:
        probabilities = [scorer.score_sequence(list(images.values()))] * len(images)
    else:
        probabilities = scorer.score_crops(list(images.values())).tolist()
    return [
        Explanation(index, image, heat, overlay(image, heat, alpha=alpha), probability)
        for (index, image), heat, probability in zip(images.items(), maps, probabilities, strict=True)
    ]
