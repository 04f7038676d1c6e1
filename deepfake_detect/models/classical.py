"""A network with a classical classifier in place of its head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classical_heads import CLASSICAL_HEADS, ClassicalHead
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import find_layer, layer_features, layout_of
from deepfake_detect.models.spec import ClassicalSpec, ModelSpec


class FeatureClassifier(ForgeryClassifier):
    """Face crops in, one logit each out: features of a layer, then a classical classifier.

    The classifier reads the features of ``layer``, of the encoder's output when ``None``.

    Raises:
        OptionError: There is no such layer, it gives maps, or the number of features is another.
    """

    def __init__(
        self, spec: ModelSpec, encoder: nn.Module, head: ClassicalHead, *, layer: str | None = None
    ) -> None:
        own = replace(spec, head="linear", dropout=0.0, num_classes=1, sequence=None)
        super().__init__(replace(own, classical=ClassicalSpec(head.name, layer)), encoder, head=head)
        self.layer = layer
        size = spec.preprocessing.image_size
        sample = torch.zeros(1, spec.in_chans, size, size)
        if layer is not None:
            find_layer(self, layer)
            self._layout = layout_of(self, sample.shape)
        self.eval()
        with torch.inference_mode():
            shape = tuple(self.features(sample).shape[1:])
        if shape != (head.num_features,):
            cause = f"takes {head.num_features} features, the network gives {shape}"
            raise OptionError("classifier", cause, "fit it on pooled features of this network and layer")

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features (N, F) of normalized images (N, C, S, S)."""
        if self.layer is None:
            return super().features(images)
        return layer_features(self, self.layer, self._layout, images)


def build_classical(
    spec: ModelSpec, encoder: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> FeatureClassifier:
    """Return the network of a spec with a classical classifier made of its tensors.

    Raises:
        OptionError: The classifier is unknown, or its tensors do not fit one another or the network.
    """
    assert spec.classical is not None
    if spec.classical.head not in CLASSICAL_HEADS:
        known = ", ".join(CLASSICAL_HEADS)
        raise OptionError("classifier", f"{spec.classical.head!r} is unknown", f"must be one of {known}")
    head = CLASSICAL_HEADS[spec.classical.head](tensors)
    return FeatureClassifier(spec, encoder, head, layer=spec.classical.layer)
