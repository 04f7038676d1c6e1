"""Heads: features (N, F) -> logits (N, num_classes)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.spec import HeadName

_VGG_WIDTH = 4096


def _linear(num_features: int, num_classes: int, _: float) -> nn.Module:
    return nn.Linear(num_features, num_classes)


def _dropout_linear(num_features: int, num_classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))


def _vgg(num_features: int, num_classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(num_features, _VGG_WIDTH),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(_VGG_WIDTH, _VGG_WIDTH),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(_VGG_WIDTH, num_classes),
    )


# linear   one layer
# dropout  dropout, then one layer
# vgg      the classifier of VGG (Simonyan and Zisserman 2014, arXiv:1409.1556): 4096-4096-classes
HEADS: dict[HeadName, Callable[[int, int, float], nn.Module]] = {
    "linear": _linear,
    "dropout": _dropout_linear,
    "vgg": _vgg,
}
# What a head drops where neither the caller nor the backbone says.
_OWN_DROPOUT = {"vgg": 0.5}


def head_dropout(head: str, asked: float | None, backbone_default: float) -> float:
    """Return the dropout of a head.

    Args:
        head: A name of ``HEADS``.
        asked: As the caller has it, ``None`` for the default.
        backbone_default: What the backbone's publisher drops before its last layer.

    Raises:
        OptionError: Dropout is asked of a head that has none.

    Example:
        >>> head_dropout("vgg", None, 0.0)
        0.5
    """
    if head == "linear":
        if asked:
            raise OptionError("dropout", "the linear head drops nothing", "choose head dropout")
        return 0.0
    return _OWN_DROPOUT.get(head, backbone_default) if asked is None else asked


def make_head(head: HeadName, num_features: int, num_classes: int, *, dropout: float) -> nn.Module:
    """Return a head of ``HEADS`` with random weights: features (N, F) to logits (N, num_classes).

    Example:
        >>> make_head("dropout", 512, 1, dropout=0.3)
        Sequential(
          (0): Dropout(p=0.3, inplace=False)
          (1): Linear(in_features=512, out_features=1, bias=True)
        )
    """
    return HEADS[head](num_features, num_classes, dropout)
