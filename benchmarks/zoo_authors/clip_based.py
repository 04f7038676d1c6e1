"""Detectors on vision transformers: Effort, DiCoME, Forensics Adapter and FS-VFM."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from zoo_authors.case import Case, difference_of_classes, load_module, stand_ins
from zoo_authors.gend import without_clip_download

_EFFORT = "DeepfakeBench/training/detectors/effort_detector.py"
# What the module imports for training alone.
_UNUSED = (
    *("metrics", "metrics.base_metrics_class", "networks", "loss", "loralib", "torch.utils.tensorboard"),
    "effort.base_detector",
)


class _Registry:
    """Stands in for the authors' list of detectors."""

    @staticmethod
    def register_module(module_name: str) -> Any:
        return lambda cls: cls


def _build_effort(folder: Path) -> nn.Module:
    without_clip_download()
    # Any matrices do in place of the singular vectors: they are replaced by random ones.
    torch.linalg.svd = lambda matrix, **_: (matrix, matrix[0], matrix)
    with stand_ins("detectors", "effort", *_UNUSED):
        sys.modules["detectors"].DETECTOR = _Registry
        sys.modules["effort"].__path__ = []
        return load_module(folder / _EFFORT, "effort.effort_detector").EffortDetector()


def _effort_logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits = network({"image": images}, inference=True)["cls"]
    return logits[:, 1] - logits[:, 0]


def _build_fsvfm(folder: Path, *, module: str) -> nn.Module:
    with stand_ins("timm.models.helpers"):
        models = load_module(folder / "src" / "model" / "fsfm" / f"{module}.py", module)
    return models.vit_large_patch16(num_classes=2, drop_path_rate=0.1, global_pool=True)


def _build_dicome(folder: Path) -> nn.Module:
    """Return their module as it is inside Lightning's, whose files put ``model.`` in front of names."""
    without_clip_download()
    sys.path.insert(0, str(folder))
    package = ModuleType("src.model")  # whose own start imports Lightning
    package.__path__ = [str(folder / "src" / "model")]
    sys.modules["src.model"] = package
    from src.config import load_config
    from src.model.core_model import EvidentialFusionModel

    config = load_config(str(folder / "src" / "config" / "dicome_default.yaml"))
    return nn.ModuleDict({"model": EvidentialFusionModel(config)})


def _dicome_logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the logit of the expected probability of class 1, as their module computes it."""
    alpha = network["model"](images)[0].double() + 1
    return torch.logit(alpha[:, 1] / alpha.sum(1))


def _in_lightning(network: nn.Module, _: int) -> list[dict[str, Any]]:
    return [{"state_dict": network.state_dict(), "hyper_parameters": {"num_classes": 2}, "epoch": 4}]


def _build_adapter(folder: Path) -> nn.Module:
    """Return GenD's copy of Forensics Adapter, which runs on a CPU, with a CLIP of random weights."""
    sys.path.insert(0, str(folder))
    sys.modules["src.model.forada.clip.clip"] = loader = ModuleType("clip")  # theirs fetches CLIP
    from src.model.forada.clip.model import CLIP

    loader.load = lambda *_, **__: (CLIP(768, 224, 24, 1024, 14, 77, 100, 64, 1, 1), None)
    from src.model.forada import ds

    return ds.DS("ViT-L/14", "vit_tiny_patch16_224", 128, {1: 1, 2: 8, 3: 15}, 256, 128, 16)


def _adapter_logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():  # their forward asks for gradients
        logits = network({"image": images}, inference=True)["logits"].detach()
    return logits[:, 1] - logits[:, 0]


def _fake_is_first(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return -difference_of_classes(network, images)


def _wrapped(network: nn.Module, _: int) -> list[dict[str, Any]]:
    return [{"model": network.state_dict(), "epoch": 9}]


CASES = (
    Case(
        "dicome-clip-l",
        "dicome",
        _build_dicome,
        _dicome_logits,
        "`src/model/core_model.py`",
        _in_lightning,
        num_crops=2,
        suffix=".ckpt",
    ),
    Case(
        "forensics-adapter",
        "gend",
        _build_adapter,
        _adapter_logits,
        "GenD's `src/model/forada/ds.py`",
        num_crops=2,
    ),
    Case("effort-clip-l", "effort", _build_effort, _effort_logits, f"`{_EFFORT}`", num_crops=2),
    *(
        Case(
            entry,
            "gend",
            partial(_build_fsvfm, module=module),
            _fake_is_first,
            f"GenD's `src/model/fsfm/{module}.py`",
            _wrapped,
            num_crops=2,
        )
        for entry, module in (("fsvfm-vit-l", "models_vit"), ("fsvfm-vit-l-adapter", "models_vit_fs_adapter"))
    ),
)
