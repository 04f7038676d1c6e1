"""What a backbone that timm does not have says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from deepfake_detect.models.spec import Pooling
from deepfake_detect.records import Preprocessing


@dataclass(frozen=True)
class Backbone:
    """A backbone that timm does not have.

    Attributes:
        build: Class or function that makes it.
        preprocessing: Input size and normalization.
        dropout: Dropout before the last layer of the published network.
        poolings: Ways from the last map to features, its own first.
        smallest: Smallest side of an input in pixels.
        depends_on_input: Whether ``build`` takes ``in_chans``, ``image_size`` and ``pooling``; else
            the network is for RGB images of any size.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    dropout: float = 0.0
    poolings: tuple[Pooling, ...] = ("avg",)
    smallest: int = 1
    depends_on_input: bool = False
