"""polimi-ispl/icpr2020dfdc: five networks, each trained on two datasets."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from deepfake_detect.faces.crops import crop_window
from deepfake_detect.records import CropGeometry, Face
from zoo_authors.case import Case, load_module, only_output, stand_ins

_NETWORKS = {
    "efficientnetb4": "EfficientNetB4",
    "efficientnetb4st": "EfficientNetB4ST",
    "efficientnetautoattb4": "EfficientNetAutoAttB4",
    "efficientnetautoattb4st": "EfficientNetAutoAttB4ST",
    "xception": "Xception",
}


def without_download() -> None:
    """Let efficientnet_pytorch build its networks without fetching ImageNet's weights."""
    from efficientnet_pytorch import EfficientNet

    def from_name(cls: type, name: str, advprop: bool = False, num_classes: int = 1000) -> nn.Module:
        return cls.from_name(name, num_classes=num_classes)

    EfficientNet.from_pretrained = classmethod(from_name)


def _build(folder: Path, *, network: str) -> nn.Module:
    without_download()
    sys.path.insert(0, str(folder))
    from architectures import externals, fornet

    xception = externals.xception
    externals.xception = partial(xception, pretrained=None)
    return getattr(fornet, network)()


def _crop(folder: Path, image: np.ndarray, face: Face) -> np.ndarray:
    """Return what ``extract_bb`` cuts for training from a box that is 1.4 times the face's."""
    with stand_ins("albumentations", "albumentations.pytorch"):
        utils = load_module(folder / "isplutils" / "utils.py", "polimi_utils")
    left, top, width, height = crop_window(face, CropGeometry(margin=1.4))
    box = (left, top, left + width, top + height)
    return np.asarray(utils.extract_bb(Image.fromarray(image), box, "scale", 224))


CASES = tuple(
    Case(
        f"polimi-{entry}-dfdc",
        "polimi",
        partial(_build, network=network),
        only_output,
        "`architectures/fornet.py`" + ("" if entry == "xception" else ", efficientnet_pytorch 0.7.1"),
        crop=_crop,
    )
    for entry, network in _NETWORKS.items()
)
