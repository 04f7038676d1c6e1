"""Load pretrained weights into an encoder: found by name or path, and checked for fit."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.backbones import find_backbone, inner_network
from deepfake_detect.models.networks import RemovedLayer
from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.layout import Converted, Layout, State
from deepfake_detect.models.spec import Scalar
from deepfake_detect.models.weights import PUBLISHED_WEIGHTS, WeightsFile, fetch_weights, read_weights_file

_ENCODER = "encoder."
_log = logging.getLogger(__name__)
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
    """Load a published state dict into the encoder; a classifier that follows it is left out, and logged.

    Names may have anything in front (``module.``, ``net.encoder.``). Files of a network's authors (DINO,
    CLIP, ConvNeXt, MesoNet), of older versions, and of transformers with another input size, are translated.

    Raises:
        WeightsError: Tensors are missing, left over or of another shape.
    """
    network = inner_network(encoder)
    fitted = fit_network(backbone, network, file.tensors)
    if fitted.problems:
        cause = f"does not fit {backbone}: {', '.join(fitted.problems)}"
        raise WeightsError(source, cause, _remedy(file.tensors))
    network.load_state_dict(fitted.tensors, strict=False)
    if fitted.rest:
        names = ", ".join(sorted({name.rpartition(".")[0] or name for name in fitted.rest}))
        _log.info("%s: left out what is not of the backbone: %s", source, names)
    if any(one.ndim == 2 and len(one) <= 2 for one in fitted.rest.values()):
        _log.warning("%s: its last layer is left out; convert_checkpoint makes a detector with it", source)


@dataclass(frozen=True, eq=False)
class Fitted:
    """How the tensors of a file fit a network.

    Attributes:
        prefix: What stands in front of the network's names in the file.
        tensors: Of the network, by its own names.
        rest: Other tensors of the file, such as a classifier, by the names in the file.
        problems: Why they do not fit; empty where they do.
    """

    prefix: str
    tensors: dict[str, torch.Tensor]
    rest: dict[str, torch.Tensor]
    problems: tuple[str, ...]


def fit_network(backbone: str, network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Fitted:
    """Find the tensors of a network among those of a file, whatever stands in front of their names.

    Args:
        backbone: Its name.
        network: The network, of which :func:`inner_network` is the part with tensors.
        tensors: Of the file, by name.

    Returns:
        The first fit without problems, else the nearest one.
    """
    expected = network.state_dict()
    classifier = _classifier_prefixes(backbone, network)
    tried = []
    for prefix in _prefixes(tensors, next(iter(expected), "")):
        under = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
        outside = {name: one for name, one in tensors.items() if not name.startswith(prefix)}
        for translate in (None, _translated):
            named = under if translate is None else translate(network, under)
            fitted = _fit(network, named, classifier, prefix, outside)
            if not fitted.problems:
                return fitted
            tried.append(fitted)
    return min(tried, key=lambda one: len(expected.keys() - one.tensors.keys()))


def _fit(
    network: nn.Module,
    named: Mapping[str, torch.Tensor],
    classifier: tuple[str, ...],
    prefix: str,
    outside: Mapping[str, torch.Tensor],
) -> Fitted:
    expected = network.state_dict()
    own = tuple(f"{name}." for name, _ in network.named_children())
    known = {name: _shaped(one, expected[name].shape) for name, one in named.items() if name in expected}
    others = {name: one for name, one in named.items() if name not in expected}
    # Of an own layer, another number of blocks for example; what follows the network has other names.
    alien = {
        name: one
        for name, one in others.items()
        if name.startswith(own) and not name.startswith(classifier) and not name.endswith(_COUNTERS)
    }
    problems = tuple(misfits(network, {**known, **alien}) and misfits(network, {**known, **others}))
    rest = {f"{prefix}{name}": one for name, one in others.items() if name not in alien}
    return Fitted(prefix, known, {**rest, **outside}, problems)


def _prefixes(tensors: Mapping[str, torch.Tensor], first: str) -> list[str]:
    """Return what may stand in front of a network's names, shortest first.

    Args:
        tensors: Of the file, by name.
        first: A name in the network.
    """
    ends = [name for name in tensors if name == first or name.endswith(f".{first}")]
    common = os.path.commonprefix(list(tensors)).rpartition(".")[0]
    steps = common.split(".") if common else []
    shared = [".".join(steps[: n + 1]) + "." for n in range(len(steps))]
    return sorted({"", *shared, *(name.removesuffix(first) for name in ends)}, key=len)


def _shaped(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return a tensor with the sides of 1 that older files leave out, as for convolutions of one pixel."""
    padded = (*tensor.shape, *(1 for _ in shape[tensor.ndim :]))
    return tensor.reshape(shape) if padded == tuple(shape) else tensor


def _remedy(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return what to do about tensors that do not fit a network."""
    if any("_conv_stem." in name for name in tensors):
        return (
            "its names are those of the package efficientnet_pytorch, whose networks pad images in another "
            "way than timm's: for a B4 pass the backbone efficientnet_pytorch_b4"
        )
    return "pass its own weights"


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


def _classifier_prefixes(backbone: str, network: nn.Module) -> tuple[str, ...]:
    if backbone == "facenet":
        return ("logits.",)
    if backbone.startswith("vgg"):
        return ("classifier.", "pre_logits.", "head.")
    names = getattr(network, "default_cfg", {}).get("classifier") or ()
    removed = [path for path, layer in network.named_modules() if isinstance(layer, RemovedLayer)]
    return tuple(f"{name}." for name in [*([names] if isinstance(names, str) else names), *removed])


def published_tensors(
    backbone: str, tensors: State
) -> tuple[dict[str, torch.Tensor], Mapping[str, Scalar | tuple[Scalar, ...]]] | None:
    """Return tensors of a published file of a backbone under its own names, and its options.

    ``None`` where no layout of the backbone is that of the file, or timm has the backbone.
    """
    layouts = [layout for layout in LAYOUTS.values() if layout.backbone == backbone]
    if find_backbone(backbone) is None:
        return None
    for under in without_shared_prefix(tensors):
        for layout in layouts:
            converted = converted_by(layout, under)
            if converted is not None:
                encoder = {name: one for name, one in converted.tensors.items() if name.startswith(_ENCODER)}
                return {
                    name.removeprefix(_ENCODER): one for name, one in encoder.items()
                }, layout.backbone_options
    return None


def converted_by(layout: Layout, tensors: State) -> Converted | None:
    """Return what a layout makes of tensors; ``None`` where they are of another."""
    try:
        return layout.convert(tensors)
    except (LookupError, RuntimeError, ValueError, WeightsError):  # a missing name, or another shape
        return None


def without_shared_prefix(tensors: State) -> Iterator[State]:
    """Yield tensors under their names, and without each prefix that all names share."""
    while True:
        yield tensors
        first = next(iter(tensors), "").partition(".")[0] + "."
        if not tensors or not all(name.startswith(first) for name in tensors):
            return
        tensors = {name.removeprefix(first): one for name, one in tensors.items()}
