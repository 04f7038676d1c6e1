"""Facts about backbones: what ``deepfake-detect models`` shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import OWN_BACKBONES
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.encoder_weights import TIMM_WEIGHTS, weights_names
from deepfake_detect.models.weights import PUBLISHED_WEIGHTS

_NOT_STATED = "not stated"
# One or two of each family; timm has some 1,400 more.
NAMED_BACKBONES = (
    *OWN_BACKBONES,
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "legacy_xception",
    "mobilenetv2_100",
    "efficientnet_b0",
    "efficientnet_b4",
    "resnet50",
    "convnext_tiny",
    "vit_base_patch16_224",
    "vit_base_patch16_clip_224",
    "vit_small_patch14_dinov2",
    "vit_base_patch14_dinov2",
)


@dataclass(frozen=True)
class BackboneFacts:
    """One backbone as ``create_model`` builds it, with one logit.

    Attributes:
        name: As ``create_model`` takes it.
        num_parameters: Of the whole network, its head included.
        input_size: Side of its input in pixels.
        weights: Names that ``create_model`` takes as its weights, each with its license.
    """

    name: str
    num_parameters: int
    input_size: int
    weights: tuple[tuple[str, str], ...]

    @property
    def megabytes(self) -> float:
        """Size of the parameters as float32, in units of 10^6 bytes."""
        return self.num_parameters * 4 / 1e6


def describe_backbone(name: str) -> BackboneFacts:
    """Return the facts about a backbone, without downloading or computing anything.

    Raises:
        OptionError: There is no such backbone.

    Example:
        >>> facts = describe_backbone("mesoinception4")
        >>> facts.num_parameters, facts.input_size, facts.weights
        (28615, 256, ())
    """
    with torch.device("meta"):
        model = create_model(name)
    return BackboneFacts(
        name=name,
        num_parameters=sum(math.prod(parameter.shape) for parameter in model.parameters()),
        input_size=model.spec.preprocessing.image_size,
        weights=_weights_of(model.spec.backbone),
    )


def find_backbones(text: str) -> list[str]:
    """Return the backbones, of this library and of timm, whose name contains a text.

    Raises:
        OptionError: None does.

    Example:
        >>> find_backbones("mesoinc")
        ['mesoinception4']
    """
    import timm

    names = [name for name in (*OWN_BACKBONES, *timm.list_models()) if text.lower() in name]
    if not names:
        raise OptionError("--filter", f"no backbone's name contains {text!r}", "give a part of a name")
    return names


def _weights_of(backbone: str) -> tuple[tuple[str, str], ...]:
    names = weights_names(backbone)
    if names != [TIMM_WEIGHTS]:
        return tuple((name, PUBLISHED_WEIGHTS[backbone, name].license) for name in names)
    import timm

    config: Any = timm.get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        return ()
    tag = f" ({config.tag})" if config.tag else ""
    return ((f"{TIMM_WEIGHTS}{tag}", config.license or _NOT_STATED),)
