from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.video.still import through_h264


@pytest.mark.parametrize("size", [(64, 80), (65, 81), (2, 2), (1, 1)])
def test_size_and_colors_stay(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (200, 120, 40), np.uint8)
    decoded = through_h264(image, crf=10)
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() <= 6


def test_more_is_lost_at_a_higher_factor(portrait: np.ndarray) -> None:
    losses = [
        float(np.abs(through_h264(portrait, crf=crf).astype(int) - portrait).mean()) for crf in (5, 28, 45)
    ]
    assert losses == sorted(losses)
    assert losses[2] > 3 * losses[0]


def test_what_is_rejected() -> None:
    with pytest.raises(OptionError, match="crf: is 52; must be 0 to 51"):
        through_h264(np.zeros((8, 8, 3), np.uint8), crf=52)
    with pytest.raises(ImageError):
        through_h264(np.zeros((8, 8), np.uint8), crf=20)
