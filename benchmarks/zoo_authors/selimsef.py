"""selimsef/dfdc_deepfake_challenge: seven EfficientNet-B7."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.records import Face
from zoo_authors.case import Case, load_module, only_output, stand_ins

_NUM_NETWORKS = 7


def _build(folder: Path) -> nn.Module:
    sys.path.insert(0, str(folder))
    from training.zoo import classifiers

    name = "tf_efficientnet_b7_ns"
    builder = classifiers.encoder_params[name]["init_op"].func
    classifiers.encoder_params[name]["init_op"] = partial(builder, pretrained=False, drop_path_rate=0.2)
    return classifiers.DeepFakeClassifier(name)


def _build_seven(folder: Path) -> nn.Module:
    return nn.ModuleList(_build(folder) for _ in range(_NUM_NETWORKS))


def _mean_of_seven(networks: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the logit of the mean of the seven probabilities of each crop."""
    probabilities = torch.stack([torch.sigmoid(network(images).double()) for network in networks])
    return torch.logit(probabilities.mean(0))[:, 0]


def _files(network: nn.Module, num_files: int) -> Sequence[dict[str, Any]]:
    """Return what their files hold: the state dict of a network in parallel, and the epoch."""
    networks = [network] if num_files == 1 else list(network)
    return [
        {"epoch": 36, "state_dict": {f"module.{key}": one for key, one in network.state_dict().items()}}
        for network in networks
    ]


def _crop(folder: Path, image: np.ndarray, face: Face) -> np.ndarray:
    """Return the crop of ``FaceExtractor``, resized and padded by their functions."""
    with stand_ins("albumentations.augmentations.functional"):
        kernel = load_module(folder / "kernel_utils.py", "selimsef_kernel_utils")
    left, top, right, bottom = (int(one) for one in face.box_xyxy)
    height, width = (bottom - top) // 3, (right - left) // 3
    crop = image[max(top - height, 0) : bottom + height, max(left - width, 0) : right + width]
    return kernel.put_to_center(kernel.isotropically_resize_image(crop, 380), 380)


_REMARK = "`training/zoo/classifiers.py` with today's timm"
CASES = (
    Case("selimsef-b7-111-36", "selimsef", _build, only_output, _REMARK, _files, _crop, suffix=""),
    Case(
        "selimsef-b7-ensemble",
        "selimsef",
        _build_seven,
        _mean_of_seven,
        f"{_REMARK}, seven networks",
        _files,
        _crop,
        num_crops=2,
        suffix="",
    ),
)
