"""HanMoonSub/DeepGuard: MS-EffGCViT-B0 and -B5."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from deepfake_detect.records import Face
from zoo_authors.case import Case, only_output
from zoo_authors.gend import without_timm_download


def _build(folder: Path, *, network: str) -> nn.Module:
    without_timm_download()
    sys.path.insert(0, str(folder))
    from deepguard.models import ms_eff_gcvit

    return getattr(ms_eff_gcvit, network)(pretrained=False)


def _crop(_: Path, image: np.ndarray, face: Face, *, size: int) -> np.ndarray:
    """Return the box with a fifth around it, its longer side resized and the shorter padded with black."""
    left, top, right, bottom = (float(one) for one in face.box_xyxy)
    pad_x, pad_y = int(0.2 * (right - left)), int(0.2 * (bottom - top))
    rows = slice(max(int(top - pad_y), 0), int(bottom + pad_y))
    crop = image[rows, max(int(left - pad_x), 0) : int(right + pad_x)]
    scale = size / max(crop.shape[:2])
    height, width = (round(side * scale) for side in crop.shape[:2])
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)
    square = np.zeros((size, size, 3), np.uint8)
    y, x = (size - height) // 2, (size - width) // 2
    square[y : y + height, x : x + width] = resized
    return square


CASES = tuple(
    Case(
        f"deepguard-{scale}-celebdf",
        "deepguard",
        partial(_build, network=f"ms_eff_gcvit_{scale}"),
        only_output,
        "`deepguard/models/ms_eff_gcvit.py`",
        crop=partial(_crop, size=size),
        num_crops=4 if scale == "b0" else 2,
        suffix=".bin",
        timm_prefix="feat_extractor.",
    )
    for scale, size in (("b0", 224), ("b5", 384))
)
