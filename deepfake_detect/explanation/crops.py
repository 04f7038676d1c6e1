"""A detector's crops with the maps of its evidence laid over them."""

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
from deepfake_detect.models.inference import TorchDetector


@dataclass(frozen=True, eq=False)
class Explanation:
    """A crop, the detector's opinion of it, and where that comes from.

    Attributes:
        position: Of the crop among those given.
        crop: RGB uint8 (H, W, 3).
        heat_map: float32 (S, S), 0 to 1, S being the side of the network's input; relative to the
            strongest place of this crop.
        overlay: RGB uint8 (H, W, 3), the map over the crop.
        fake_probability: Calibrated, 0 to 1; that of the whole sequence where the detector judges
            sequences.
    """

    position: int
    crop: np.ndarray
    heat_map: np.ndarray
    overlay: np.ndarray
    fake_probability: float


def crop_tensors(scorer: TorchDetector, crops: Sequence[Any]) -> tuple[dict[int, np.ndarray], torch.Tensor]:
    """Return crops as a detector sees them: by position as pictures, and as float32 (N, 3, S, S).

    Of a sequence that is longer than those the detector was trained on, as many as it takes are
    chosen, evenly spaced, as in scoring.

    Raises:
        ImageError: A crop is not an RGB image, or there is none.
    """
    if not len(crops):
        raise ImageError("crops", "is empty", "pass one or more")
    sequence = scorer.config.model.sequence
    count = len(crops) if sequence is None else min(len(crops), sequence.num_frames)
    chosen = np.linspace(0, len(crops) - 1, count).round().astype(int).tolist()
    pictures = {number: rgb_uint8(crops[number], subject=f"crop {number}") for number in chosen}
    preprocessing = scorer.config.model.preprocessing
    return pictures, torch.stack([crop_to_tensor(picture, preprocessing) for picture in pictures.values()])


def explain_crops(
    scorer: TorchDetector,
    crops: Sequence[Any],
    *,
    method: Method = "gradcam",
    layer: str | None = None,
    target: Target = "fake",
    alpha: float = 0.45,
    show_progress: bool = True,
) -> list[Explanation]:
    """Return each crop with the map of what in it speaks for the target.

    Crops go through the very preprocessing of scoring.

    Args:
        scorer: A detector, such as of ``load_detector``.
        crops: Face crops, as for ``scorer.score_crops``. For a detector of sequences: those of one
            person in one clip, in the order of time.
        method, layer, target: As for :func:`explain.heat_maps.heat_maps`.
        alpha: As for :func:`explain.heat_maps.overlay`.
        show_progress: Whether to draw a progress bar.

    Returns:
        One a crop, in order; of a long sequence, of those crops that the detector looks at.

    Raises:
        ImageError: A crop is not an RGB image, or there is none.
        OptionError: As of the functions named.

    Example:
        >>> import deepfake_detect as dfd
        >>> crops = [np.zeros((120, 90, 3), np.uint8)]
        >>> explain_crops(dfd.load_detector(), crops, show_progress=False)[0].overlay.shape
        (120, 90, 3)
    """
    pictures, images = crop_tensors(scorer, crops)
    maps = heat_maps(
        scorer.model, images, method=method, layer=layer, target=target, show_progress=show_progress
    )
    if scorer.is_sequential:
        probabilities = [scorer.score_sequence(list(pictures.values()))] * len(pictures)
    else:
        probabilities = scorer.score_crops(list(pictures.values())).tolist()
    return [
        Explanation(number, picture, heat, overlay(picture, heat, alpha=alpha), probability)
        for (number, picture), heat, probability in zip(pictures.items(), maps, probabilities, strict=True)
    ]
