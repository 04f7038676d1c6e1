"""mapooon/SelfBlendedImages: EfficientNet-B4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from deepfake_detect.records import Face
from zoo_authors.case import Case, load_module, stand_ins
from zoo_authors.polimi import without_download


def _build(folder: Path) -> nn.Module:
    without_download()
    return load_module(folder / "src" / "inference" / "model.py", "sbi_model").Detector()


def _file(network: nn.Module, _: int) -> Sequence[dict[str, Any]]:
    """Return what their files hold: the network's tensors, and the optimizer's."""
    return [{"model": network.state_dict(), "optimizer": {"param_groups": []}, "epoch": 99}]


def _crop(folder: Path, image: np.ndarray, face: Face) -> np.ndarray:
    with stand_ins("tqdm"):
        preprocess = load_module(folder / "src" / "inference" / "preprocess.py", "sbi_preprocess")
    box = np.asarray(face.box_xyxy).reshape(2, 2)
    crop = preprocess.crop_face(image, None, box, False, crop_by_bbox=True, only_img=True, phase="test")
    return cv2.resize(crop, dsize=(380, 380))


_REMARK = "`src/inference/model.py`, efficientnet_pytorch 0.7.1"
CASES = (Case("sbi-raw", "sbi", _build, remark=_REMARK, contents=_file, crop=_crop, suffix=".tar"),)
