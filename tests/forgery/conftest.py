from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.data.transforms import resize_square
from deepfake_detect.faces import crop_face
from deepfake_detect.records import CropGeometry, Face

# Of the portrait: what MTCNN finds in it.
_BOX = (181.0, 62.0, 268.0, 172.0)
_LANDMARKS = ((205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9))


@pytest.fixture(scope="session")
def crop(portrait: np.ndarray) -> np.ndarray:
    """The portrait's face, margin 1.5, RGB uint8 (224, 224, 3)."""
    face = Face(np.float32(_BOX), 1.0, np.float32(_LANDMARKS))
    return resize_square(crop_face(portrait, face, CropGeometry(margin=1.5)), 224)


@pytest.fixture(scope="session")
def five() -> np.ndarray:
    """The portrait's landmarks in pixels of ``crop``, (5, 2)."""
    side = round((_BOX[3] - _BOX[1]) * 1.5)
    corner = np.round((np.array([_BOX[0] + _BOX[2], _BOX[1] + _BOX[3]]) - side) / 2)
    return (np.array(_LANDMARKS) - corner + 0.5) * (224 / side) - 0.5
