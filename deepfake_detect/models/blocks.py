"""An encoder's blocks from input to output, for gradual unfreezing and layer-wise learning rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from deepfake_detect.models.backbones import inner_network


class Block(nn.Module):
    """Layers and single parameters of a network that are trained together; it cannot be called."""

    def __init__(self, layers: list[nn.Module], loose: list[nn.Parameter]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.loose = nn.ParameterList(loose)


def encoder_blocks(encoder: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return an encoder's blocks by name, input first; each of its parameters is in one of them.

    The blocks of a timm network are those of timm's own layer decay. VGG's are its single
    convolutions and poolings, so that the block at index i is layer i + 1 of Keras' VGG, whose
    layer 0 is the input.
    """
    from timm.models.vgg import VGG  # half a second, which scoring does not wait for

    network = inner_network(encoder)
    if isinstance(network, VGG):
        return _vgg_blocks(network)
    named: dict[str, nn.Module] = {}
    for names in _groups(network):
        pieces = dict(_pieces(network, "", names))
        layers = {name: one for name, one in pieces.items() if isinstance(one, nn.Module)}
        loose = {name: one for name, one in pieces.items() if isinstance(one, nn.Parameter)}
        first, *_ = own_names = [*layers, *loose]
        name = _common_name(own_names)
        is_layer = len(layers) == 1 and not loose
        # Two blocks may have a common name, but no common piece.
        named[first if name in named else name] = (
            layers[first] if is_layer else Block([*layers.values()], [*loose.values()])
        )
    return list(named.items())


def _vgg_blocks(network: nn.Module) -> list[tuple[str, nn.Module]]:
    blocks: list[tuple[str, list[nn.Module]]] = []
    stage, number = 1, 0
    for layer in network.get_submodule("features").children():
        if isinstance(layer, nn.Conv2d):
            number += 1
            blocks.append((f"block{stage}_conv{number}", [layer]))
        elif isinstance(layer, nn.MaxPool2d):
            blocks.append((f"block{stage}_pool", [layer]))
            stage, number = stage + 1, 0
        else:
            blocks[-1][1].append(layer)
    return [(name, nn.Sequential(*layers)) for name, layers in blocks]


def _groups(network: nn.Module) -> list[set[str]]:
    """Return the names of the parameters of each block."""
    if hasattr(network, "group_matcher"):
        from timm.models import group_parameters

        matcher: Any = network.group_matcher
        return [set(names) for names in group_parameters(network, matcher(coarse=False)).values()]
    # Parameters outside the layers are for positions and the like, which enter with the input.
    groups = [{name for name, _ in network.named_parameters(recurse=False)}]
    for name, layer in _unrolled(network, ""):
        groups.append({f"{name}.{own}" for own, _ in layer.named_parameters()})
    first, *others = (names for names in groups[1:] if names)
    return [groups[0] | first, *others]


def _unrolled(network: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield a network's children; a sequence of composed layers yields each of them."""
    for name, child in network.named_children():
        first = next(child.children(), None)
        if isinstance(child, nn.Sequential) and first is not None and next(first.children(), None):
            yield from _unrolled(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _pieces(
    module: nn.Module, prefix: str, wanted: set[str]
) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield the largest layers with only wanted parameters, and wanted parameters outside them."""
    for name, parameter in module.named_parameters(recurse=False):
        if prefix + name in wanted:
            yield prefix + name, parameter
    for name, child in module.named_children():
        below = {f"{prefix}{name}.{one}" for one, _ in child.named_parameters()}
        if below and below <= wanted:
            yield prefix + name, child
        elif below & wanted:
            yield from _pieces(child, f"{prefix}{name}.", wanted)


def _common_name(names: list[str]) -> str:
    """Return the common part of dotted names, or the first name."""
    parts = [name.split(".") for name in names]
    shared = [group[0] for group in zip(*parts, strict=False) if len(set(group)) == 1]
    return ".".join(shared) or names[0]
