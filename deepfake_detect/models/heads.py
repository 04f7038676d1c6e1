"""Heads: features (N, F) -> logits (N, num_classes)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError
from deepfake_detect.registry import Registry

if TYPE_CHECKING:  # the names of heads are options of training, whose help does not wait for torch
    from torch import nn

_VGG_WIDTH = 4096


def _linear(num_features: int, num_classes: int, _: float) -> nn.Module:
    from torch import nn

    return nn.Linear(num_features, num_classes)


def _dropout_linear(num_features: int, num_classes: int, dropout: float) -> nn.Module:
    from torch import nn

    return nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))


def _l2(num_features: int, num_classes: int, dropout: float) -> nn.Module:
    from torch import nn

    from deepfake_detect.models.unit_length import UnitLength

    return nn.Sequential(UnitLength(), nn.Dropout(dropout), nn.Linear(num_features, num_classes))


def _vgg(num_features: int, num_classes: int, dropout: float) -> nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Linear(num_features, _VGG_WIDTH),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(_VGG_WIDTH, _VGG_WIDTH),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(_VGG_WIDTH, num_classes),
    )


HeadBuilder = Callable[[int, int, float], "nn.Module"]
# linear   one layer
# dropout  dropout, then one layer
# l2       features of length 1, dropout, then one layer, as in GenD (arXiv:2508.06248)
# vgg      the classifier of VGG (Simonyan and Zisserman 2014, arXiv:1409.1556): 4096-4096-classes
HEADS: Registry[HeadBuilder] = Registry(
    "head", {"linear": _linear, "dropout": _dropout_linear, "l2": _l2, "vgg": _vgg}
)
# Dropout of a head where neither the caller nor the backbone sets one.
_OWN_DROPOUT = {"vgg": 0.5}


def register_head(name: str, build: HeadBuilder) -> None:
    """Register a head that ``create_model``, training and detector files find by name.

    Args:
        name: A new name.
        build: From the number of features, the number of classes and the dropout to a module from
            features (N, F) to logits (N, num_classes).

    Raises:
        OptionError: The name is taken.

    Example:
        >>> def normalized(num_features, num_classes, dropout):
        ...     from torch import nn
        ...     return nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, num_classes))
        >>> register_head("normalized", normalized)
        >>> make_head("normalized", 8, 1, dropout=0.0)[1]
        Linear(in_features=8, out_features=1, bias=True)
    """
    HEADS.register(name, build)


def head_dropout(head: str, wanted: float | None, backbone_default: float) -> float:
    """Return the dropout of a head: the caller's, or where ``None``, the head's or the backbone's own.

    Raises:
        OptionError: The head is unknown, or has no dropout and the caller wants some.

    Example:
        >>> head_dropout("vgg", None, 0.0)
        0.5
    """
    HEADS.find(head)
    if head == "linear":
        if wanted:
            raise OptionError("dropout", "the linear head has none", "choose the `head` dropout")
        return 0.0
    return _OWN_DROPOUT.get(head, backbone_default) if wanted is None else wanted


def make_head(head: str, num_features: int, num_classes: int, *, dropout: float) -> nn.Module:
    """Return a head of ``HEADS`` with random weights: features (N, F) to logits (N, num_classes).

    Example:
        >>> make_head("dropout", 512, 1, dropout=0.3)
        Sequential(
          (0): Dropout(p=0.3, inplace=False)
          (1): Linear(in_features=512, out_features=1, bias=True)
        )
    """
    return HEADS.find(head)(num_features, num_classes, dropout)
