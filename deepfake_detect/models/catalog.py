"""Facts about backbones: parameters, input size, weights and their licenses. Imports no PyTorch.

The facts of ``NAMED_BACKBONES`` are in ``catalog.json``, since building each network takes a second or
two; ``python benchmarks/backbone_catalog.py`` writes the file again.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from importlib import resources

from deepfake_detect.errors import OptionError
from deepfake_detect.plugins import load_plugins

_NOT_STATED = "not stated"
# One or two of each family; timm has some 1,400 more.
NAMED_BACKBONES = (
    "facenet",
    "small_cnn",
    "mesoinception4",
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
        num_parameters: Of the whole network, including its head.
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


def list_backbones(containing: str | None = None) -> list[BackboneFacts]:
    """Return the facts about backbones.

    Args:
        containing: Part of the names, of this library, of plug-ins and of timm; building their
            networks takes a second or two each. ``None`` lists those of this library and of plug-ins,
            and one or two of each of timm's families.

    Raises:
        OptionError: No name contains the text.

    Example:
        >>> facts = list_backbones()[2]
        >>> facts.name, facts.num_parameters, facts.input_size, facts.weights
        ('mesoinception4', 28615, 256, ())
    """
    if containing is not None:
        return [describe_backbone(name) for name in find_backbones(containing)]
    stored = json.loads((resources.files(__package__) / "catalog.json").read_text("utf-8"))
    facts = [BackboneFacts(**{**one, "weights": tuple(map(tuple, one["weights"]))}) for one in stored]
    return facts + [describe_backbone(name) for name in _registered_names()]


def describe_backbone(name: str) -> BackboneFacts:
    """Return the facts about a backbone, built without its numbers and without downloading anything.

    Raises:
        OptionError: There is no such backbone.
    """
    import torch

    from deepfake_detect.models.classifier import create_model

    with torch.device("meta"):
        model = create_model(name)
    return BackboneFacts(
        name=name,
        num_parameters=sum(math.prod(parameter.shape) for parameter in model.parameters()),
        input_size=model.spec.preprocessing.image_size,
        weights=_weights_of(model.spec.backbone),
    )


def find_backbones(text: str) -> list[str]:
    """Return the backbones, of this library, of plug-ins and of timm, whose name contains a text.

    Raises:
        OptionError: None does.

    Example:
        >>> find_backbones("mesoinc")
        ['mesoinception4']
    """
    import timm

    from deepfake_detect.models.backbones import BACKBONES

    names = [name for name in (*BACKBONES, *timm.list_models()) if text.lower() in name]
    if not names:
        raise OptionError("containing", f"no backbone's name contains {text!r}", "pass a part of a name")
    return names


def _registered_names() -> list[str]:
    """Return the backbones that plug-ins and the running program registered, without loading PyTorch."""
    load_plugins()
    loaded = sys.modules.get("deepfake_detect.models.backbones")
    return [] if loaded is None else [name for name in loaded.BACKBONES if name not in loaded.OWN_BACKBONES]


def _weights_of(backbone: str) -> tuple[tuple[str, str], ...]:
    import timm

    from deepfake_detect.models.encoder_weights import TIMM_WEIGHTS, weights_names
    from deepfake_detect.models.weights import PUBLISHED_WEIGHTS

    names = weights_names(backbone)
    if names != [TIMM_WEIGHTS]:
        return tuple((name, PUBLISHED_WEIGHTS[backbone, name].license) for name in names)
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        return ()
    tag = f" ({config.tag})" if config.tag else ""
    return ((f"{TIMM_WEIGHTS}{tag}", config.license or _NOT_STATED),)
