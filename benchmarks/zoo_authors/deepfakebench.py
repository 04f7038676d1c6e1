"""SCLBD/DeepfakeBench: detectors that score single frames, as its configurations build them."""

from __future__ import annotations

import importlib
import sys
import tempfile
import types
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import timm
import torch
import yaml
from torch import nn

from deepfake_detect.records import Face
from zoo_authors.case import Case, stand_ins

# Entry after "deepfakebench-" -> the authors' name of the detector.
_DETECTORS = {
    **{name: name for name in ("xception", "meso4", "f3net", "spsl", "srm", "ucf", "recce", "core")},
    **{"mesoinception4": "meso4Inception", "efficientnetb4": "efficientnetb4"},
}


def _registry(folder: Path) -> Any:
    """Return the authors' registries, with only those modules imported that the detectors need."""
    root = folder / "training"
    sys.path.insert(0, str(root))
    sys.modules["torch.utils.tensorboard"] = MagicMock()
    registry = importlib.import_module("metrics.registry")
    for name, parts in (("detectors", "DETECTOR"), ("networks", "BACKBONE"), ("loss", "LOSSFUNC")):
        package = types.ModuleType(name)  # its own imports every detector, and what all of them need
        package.__path__ = [str(root / name)]
        setattr(package, parts, MagicMock() if name == "loss" else getattr(registry, parts))
        sys.modules[name] = package
    for name in ("xception", "mesonet", "efficientnetb4"):
        importlib.import_module(f"networks.{name}")
    return registry


def _build(folder: Path, *, detector: str) -> nn.Module:
    registry = _registry(folder)
    config = yaml.safe_load((folder / f"training/config/detector/{detector}.yaml").read_text("utf-8"))
    module = importlib.import_module(f"detectors.{detector}_detector")
    if detector == "recce":
        module.encoder_params["xception"]["init_op"] = partial(timm.create_model, "legacy_xception")
    with tempfile.TemporaryDirectory() as temporary:
        if config["pretrained"]:
            config["pretrained"] = str(_imagenet_xception(Path(temporary)))
        if detector == "efficientnetb4":
            config["pretrained"] = config["backbone_config"]["pretrained"] = False
        network: nn.Module = registry.DETECTOR[detector](config)
    if detector == "f3net":  # a fixed transform, which random weights must not replace
        for name in ("_DCT_all", "_DCT_all_T"):
            network.FAD_head.register_buffer(name, network.FAD_head._parameters.pop(name))
    return network


def _imagenet_xception(folder: Path) -> Path:
    """Write random weights in the form of the file that the authors start from."""
    state = timm.create_model("legacy_xception").state_dict()
    path = folder / "xception.pth"
    torch.save({name: one[..., 0, 0] if "pointwise" in name else one for name, one in state.items()}, path)
    return path


def _logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    labels = torch.zeros(len(images), dtype=torch.long)
    # Contiguous, as theirs are: their MesoNets cannot flatten another memory layout.
    output = network({"image": images.contiguous(), "label": labels}, inference=True)["cls"]
    return output[:, 1] - output[:, 0]


def _crop(folder: Path, image: np.ndarray, face: Face) -> np.ndarray:
    """Return the crop of their preprocessing, with our landmarks in place of dlib's."""
    points = dict(zip((37, 44, 30, 49, 55), face.landmarks_xy, strict=True))
    predictor = MagicMock()
    predictor.return_value.part = lambda n: types.SimpleNamespace(x=points[n][0], y=points[n][1])
    sys.path.insert(0, str(folder / "preprocessing"))
    with stand_ins("dlib", "imutils"):
        preprocess = importlib.import_module("preprocess")
    box = MagicMock()
    box.width.return_value = box.height.return_value = 1
    crop, _, _ = preprocess.extract_aligned_face_dlib(
        MagicMock(return_value=[box]), predictor, np.ascontiguousarray(image[..., ::-1])
    )
    rgb = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)  # as in training/dataset/abstract_dataset.py
    return cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_CUBIC)


CASES = tuple(
    Case(
        f"deepfakebench-{entry}",
        "deepfakebench",
        partial(_build, detector=detector),
        _logits,
        f"`training/detectors/{detector}_detector.py`"
        + (", efficientnet_pytorch 0.7.1" if entry == "efficientnetb4" else ""),
        crop=_crop,
    )
    for entry, detector in _DETECTORS.items()
)
