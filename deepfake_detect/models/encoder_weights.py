"""Load pretrained weights into an encoder: found by name or path, and checked for fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.backbones import find_backbone, inner_network
from deepfake_detect.models.weights import PUBLISHED_WEIGHTS, WeightsFile, fetch_weights, read_weights_file

# Name of timm's own weights, which timm loads.
TIMM_WEIGHTS = "pretrained"
# Files older than torch 0.4.1 lack the batch counters, which evaluation does not use.
_COUNTERS = ("num_batches_tracked",)


def weights_names(backbone: str) -> list[str]:
    """Return the published names that ``create_model`` accepts as weights of a backbone.

    Example:
        >>> weights_names("facenet")
        ['vggface2', 'casia-webface']
    """
    names = [name for owner, name in PUBLISHED_WEIGHTS if owner == backbone]
    return names if names or find_backbone(backbone) is not None else [TIMM_WEIGHTS]


def find_weights(backbone: str, weights: str | os.PathLike[str] | None) -> WeightsFile | None:
    """Return the tensors to load; ``None`` for random ones, or for timm's own, which timm loads.

    Raises:
        OptionError: No weights have this name.
        WeightsError: They cannot be fetched or read.
    """
    if weights is None:
        return None
    published = PUBLISHED_WEIGHTS.get((backbone, str(weights)))
    if published is not None:
        return read_weights_file(fetch_weights(published))
    names = weights_names(backbone)
    if str(weights) == TIMM_WEIGHTS and TIMM_WEIGHTS in names:
        return None
    looks_like_path = os.sep in str(weights) or Path(weights).suffix or Path(weights).exists()
    if not looks_like_path:
        choices = ", ".join([*names, "a path"])
        raise OptionError("weights", f"{backbone} has none named {str(weights)!r}", f"pass {choices}")
    return read_weights_file(weights)


def load_encoder(backbone: str, encoder: nn.Module, file: WeightsFile, source: str) -> None:
    """Load a published state dict into the encoder; only its original classifier may be left over.

    Files of a network's authors (DINO, CLIP, ConvNeXt), and of transformers with another input size, are
    translated as timm translates them.

    Raises:
        WeightsError: Tensors are missing, left over or of another shape.
    """
    network = inner_network(encoder)
    dropped = _classifier_prefixes(backbone, network)
    tensors = _without(file.tensors, dropped)
    if problems := misfits(network, tensors):
        tensors = _without(_translated(network, file.tensors), dropped)
        if misfits(network, tensors):
            cause = f"does not fit {backbone}: {', '.join(problems)}"
            raise WeightsError(source, cause, "pass its own weights")
    network.load_state_dict(tensors, strict=False)


def misfits(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], *, optional: tuple[str, ...] = _COUNTERS
) -> list[str]:
    """Return why tensors do not fit a network, one phrase per kind with an example.

    Names that end in one of ``optional`` may be missing.
    """
    expected = network.state_dict()
    missing = [name for name in expected.keys() - tensors.keys() if not name.endswith(optional)]
    wrong = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    kinds = {"missing": missing, "unexpected": tensors.keys() - expected.keys(), "of another shape": wrong}
    return [f"{len(names)} {kind} ({min(names)})" for kind, names in kinds.items() if names]


def _translated(network: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of a network's authors, renamed and resampled by timm."""
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return tensors
    try:
        return dict(translate(dict(tensors), network))
    except Exception:  # tensors of another network; the caller reports what does not fit
        return tensors


def _without(tensors: Mapping[str, torch.Tensor], prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def _classifier_prefixes(backbone: str, network: nn.Module) -> tuple[str, ...]:
    if backbone == "facenet":
        return ("logits.",)
    if backbone.startswith("vgg"):
        return ("classifier.", "pre_logits.", "head.")
    names = getattr(network, "default_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
