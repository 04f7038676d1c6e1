"""Layers of a network by name, and what comes out of them as maps (N, C, h, w)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import inner_network
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.shapes import evaluating

_MOST_PREFIX_TOKENS = 16  # of class and registers, in front of those of patches


def network_of(model: ForgeryClassifier) -> nn.Module:
    """Return the network that an encoder is, or that it wraps; layers are named within it."""
    return inner_network(model.encoder)


def named_layers(model: ForgeryClassifier) -> dict[str, nn.Module]:
    """Return every layer of the encoder by name.

    Names are those of the network's modules, for example ``layer4.1.conv2``; VGG's convolutions and
    poolings also have those of ``model.blocks()``, for example ``block2_conv2``, after their ReLU.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> named_layers(create_model("vgg16"))["block5_conv3"]
        ReLU(inplace=True)
    """
    named = {name: layer for name, layer in network_of(model).named_modules() if name}
    for name, block in model.blocks():
        if name not in named and isinstance(block, nn.Sequential):
            named[name] = block[-1]
    return named


def find_layer(model: ForgeryClassifier, name: str) -> nn.Module:
    """Return a layer by name.

    Raises:
        OptionError: There is no such layer; the blocks and similar names are listed.
    """
    layers = named_layers(model)
    if name not in layers:
        blocks = [block for block, _ in model.blocks() if block in layers]
        near = [one for one in difflib.get_close_matches(name, layers, n=3) if one not in blocks]
        raise OptionError(
            "layer",
            f"{model.spec.backbone} has none named {name!r}",
            f"must be one of {', '.join([*blocks, *near])}, or a layer within one of them",
        )
    return layers[name]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients of weights, and restore it afterwards."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in flags:
        parameter.requires_grad_(False)
    try:
        with evaluating(model):
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def _watched(layers: Mapping[str, nn.Module], note: Callable[[str, object], None]) -> Iterator[None]:
    """Call ``note`` with the name and the output of each layer that runs."""
    with ExitStack() as stack:
        for name, layer in layers.items():
            hook = layer.register_forward_hook(lambda *call, name=name: note(name, call[2]))
            stack.callback(hook.remove)
        yield


class _AllFoundError(Exception):
    """Every requested layer has run, so the rest of the network can be skipped."""


def outputs_of(
    model: ForgeryClassifier, names: Iterable[str], images: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the outputs of layers by name; later layers are not computed.

    Args:
        model: In evaluation mode.
        names: As in :func:`named_layers`.
        images: float32 (N, C, H, W), normalized, on the network's device.

    Raises:
        OptionError: There is no such layer, or it returns no tensor on the way to the features.
    """
    layers = {name: find_layer(model, name) for name in names}
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs[name] = output.clone()  # the next layer may change its input in place
        if len(outputs) == len(layers):
            raise _AllFoundError

    with _watched(layers, keep), suppress(_AllFoundError):
        model.encoder(model.stem(images))
    if missing := [name for name in layers if name not in outputs]:
        raise OptionError("layer", f"{missing[0]!r} returns no tensor", "choose another")
    return outputs


@dataclass(frozen=True)
class MapLayout:
    """Memory layout of the outputs of layers: the patches down and across that a transformer's last tokens
    represent (0, 0 for others), and whether four-dimensional ones may be (N, h, w, C).
    """

    grid: tuple[int, int]
    channels_last: bool


def layout_of(model: ForgeryClassifier, image_shape: torch.Size) -> MapLayout:
    """Return the layout of outputs for images (N, C, H, W), from a run without numbers."""
    network = network_of(model)
    grid = model.feature_shape(*image_shape[-2:])[:2] if hasattr(network, "patch_embed") else (0, 0)
    return MapLayout(grid, str(getattr(network, "output_fmt", "")).endswith("NHWC"))


def as_map(output: torch.Tensor, layout: MapLayout) -> torch.Tensor:
    """Return a layer's output as maps (N, C, h, w); tokens are arranged as their patches.

    Args:
        output: (N, C, h, w); (N, h, w, C) of networks with channels last; or tokens (N, L, C), where
            leading tokens of class and registers are left out.
        layout: Of the network.

    Raises:
        OptionError: It is none of these.

    Example:
        >>> tuple(as_map(torch.zeros(2, 1 + 12, 8), MapLayout((3, 4), False)).shape)
        (2, 8, 3, 4)
    """
    if output.ndim == 4:
        is_last = layout.channels_last and output.shape[1] == output.shape[2] != output.shape[3]
        return output.permute(0, 3, 1, 2) if is_last else output
    height, width = _grid(output.shape[1], layout) if output.ndim == 3 else (0, 0)
    if not height:
        shape = " x ".join(map(str, output.shape[1:]))
        raise OptionError("layer", f"returns {shape} values per image, not a map", "choose one with a map")
    patches = output[:, output.shape[1] - height * width :]  # (N, h * w, C)
    return patches.transpose(1, 2).reshape(*patches.shape[::2], height, width)


def _grid(num_tokens: int, layout: MapLayout) -> tuple[int, int]:
    """Return the patches down and across; 0, 0 where the tokens are not patches."""
    height, width = layout.grid
    if height and 0 <= num_tokens - height * width <= _MOST_PREFIX_TOKENS:
        return height, width
    side = math.isqrt(num_tokens)  # of a stage before the last one
    return (side, side) if side * side == num_tokens else (0, 0)


def layer_features(
    model: ForgeryClassifier, layer: str, layout: MapLayout, images: torch.Tensor
) -> torch.Tensor:
    """Return a layer's outputs, see :func:`outputs_of`, as features (N, F): maps are averaged."""
    output = outputs_of(model, [layer], images)[layer]
    return output if output.ndim == 2 else as_map(output, layout).mean((2, 3))


def last_map_layer(model: ForgeryClassifier, images: torch.Tensor) -> str:
    """Return the name of the last layer whose output is a map of more than one position.

    For a transformer this is the first normalization of its last block: after that block only the
    class token may count, and no evidence would be found in the patches. For a classical classifier
    on a layer with maps it is that layer, since no later one is computed.

    Args:
        model: In evaluation mode.
        images: float32 (N, C, H, W), normalized, on the network's device.

    Raises:
        OptionError: There is no such layer.
    """
    layers = {
        name: layer
        for name, layer in network_of(model).named_modules()
        if name and not isinstance(layer, nn.Identity)
    }
    read = None if model.spec.classical is None else model.spec.classical.layer
    if read is not None:
        with torch.no_grad():
            if _num_positions(outputs_of(model, [read], images[:1])[read]) > 1:
                return read
        raise OptionError("layer", f"{read}, which the classifier reads, has no map", "name an earlier layer")
    numbers = [name.split(".")[1] for name in layers if name.startswith("blocks.")]
    last_block = max((int(number) for number in numbers if number.isdigit()), default=0)
    sizes: dict[str, list[int]] = {}

    def measure(name: str, output: object) -> None:
        sizes.setdefault(name, []).append(_num_positions(output))

    with _watched(layers, measure), torch.no_grad():
        model.encoder(model.stem(images[:1]))
    last_norm = f"blocks.{last_block}.norm1"
    if last_norm in sizes and hasattr(network_of(model), "patch_embed"):
        return last_norm
    found = [name for name, calls in sizes.items() if len(calls) == 1 and calls[0] > 1]
    if not found:
        raise OptionError("layer", f"{model.spec.backbone} has none with a map", "pass the name of a layer")
    return found[-1]


def _num_positions(output: object) -> int:
    """Return the number of positions of a map; 0 where the output is none."""
    if not isinstance(output, torch.Tensor) or output.ndim not in (3, 4):
        return 0
    return output.shape[1] if output.ndim == 3 else output.shape[2] * output.shape[3]
