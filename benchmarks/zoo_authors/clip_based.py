"""Detectors on vision transformers: Effort, and FS-VFM as GenD's authors run it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
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
        import sys

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


def _fake_is_first(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return -difference_of_classes(network, images)


def _wrapped(network: nn.Module, _: int) -> list[dict[str, Any]]:
    return [{"model": network.state_dict(), "epoch": 9}]


CASES = (
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
