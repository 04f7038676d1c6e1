"""MesoNet: Meso4 and MesoInception4, in the Keras files of their authors.

Source: Afchar, Nozick, Yamagishi and Echizen 2018, arXiv:1809.00888; DariusAf/MesoNet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import nn

from deepfake_detect.errors import WeightsError
from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.networks import convolution, to_features
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer
from deepfake_detect.models.spec import Pooling
from deepfake_detect.records import Preprocessing

_MAP_CHANNELS, _MAP_SIDE = 16, 8  # the last map of an image of 256 pixels
# Keras' batch normalization adds 1e-3 to the variance, PyTorch's 1e-5.
_EPSILON_DIFFERENCE = 1e-3 - 1e-5


class Meso4(nn.Module):
    """Meso4 up to its last layer: images (N, C, H, W) to features (N, 16).

    Args:
        in_chans: Channels of the input.
        image_size: Side of the input in pixels.
        pooling: ``"flatten"`` (of one input size) or ``"avg"`` (of any).
    """

    def __init__(self, *, in_chans: int, image_size: int, pooling: Pooling) -> None:
        super().__init__()
        # Channels before and after, kernel, pooling.
        shapes = [(in_chans, 8, 3, 2), (8, 8, 5, 2), (8, 16, 5, 2), (16, _MAP_CHANNELS, 5, 4)]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    convolution(before, after, kernel=kernel, padding=kernel // 2, batch_norm=True),
                    nn.MaxPool2d(pool),
                )
                for before, after, kernel, pool in shapes
            )
        )
        self.flatten, num_features = to_features(pooling, _MAP_CHANNELS, side=image_size // 32)
        self.project = nn.Sequential(nn.Dropout(0.5), nn.Linear(num_features, 16), nn.LeakyReLU(0.1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.project(self.flatten(self.forward_features(images)))  # type: ignore[no-any-return]


def _meso4_of_keras(state: State) -> Converted:
    """Convert the authors' file of Meso4."""
    names = [f"layers.{block}.0" for block in range(4)]
    return _of_keras(state, [f"{name}.0" for name in names], [f"{name}.2" for name in names])


def _meso_inception4_of_keras(state: State) -> Converted:
    """Convert the authors' file of MesoInception4."""
    branches = [(0, 0), *((branch, layer) for branch in (1, 2, 3) for layer in (0, 2))]
    convolutions = [f"layers.{block}.branches.{b}.{layer}" for block in (0, 1) for b, layer in branches]
    norms = [f"layers.{block}.norm_pool.0" for block in (0, 1)]
    last = [f"layers.{block}.0" for block in (2, 3)]
    return _of_keras(state, convolutions + [f"{one}.0" for one in last], norms + [f"{one}.2" for one in last])


def _of_keras(state: State, convolutions: list[str], norms: list[str]) -> Converted:
    """Convert a Keras file whose layers were made in the order of these names."""
    found = [(kind, _numbered(state, kind)) for kind in ("conv2d", "batch_normalization", "dense")]
    wanted = (len(convolutions), len(norms), 2)
    if (counts := tuple(len(layers) for _, layers in found)) != wanted:
        cause = f"contain {counts} convolutions, batch normalizations and dense layers, not {wanted}"
        raise WeightsError("weights", cause, "pass the file of this network")
    (_, convs), (_, batch_norms), (_, (first, last)) = found
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in zip(convolutions, convs, strict=True):
        tensors[f"{name}.weight"] = state[f"{layer}/kernel:0"].permute(3, 2, 0, 1)
        tensors[f"{name}.bias"] = state[f"{layer}/bias:0"]
    for name, layer in zip(norms, batch_norms, strict=True):
        tensors |= dict(_batch_norm(state, name, layer))
    # Keras flattens a map as (height, width, channel), PyTorch as (channel, height, width).
    flat = state[f"{first}/kernel:0"].view(_MAP_SIDE, _MAP_SIDE, _MAP_CHANNELS, -1)
    tensors["project.1.weight"] = flat.permute(3, 2, 0, 1).flatten(1)
    tensors["project.1.bias"] = state[f"{first}/bias:0"]
    head = logit_layer(state[f"{last}/kernel:0"].T, state[f"{last}/bias:0"])
    return Converted({**{f"encoder.{name}": tensor for name, tensor in tensors.items()}, **head})


def _meso4_plain(state: State) -> Converted:
    """Convert Meso4 under plain names: ``conv.0`` to ``conv.3``, ``bn.0`` to ``bn.3``, ``fc1``, ``fc2``.

    The tensors are laid out as PyTorch's, except that ``fc1`` takes the map flattened as Keras does.
    """
    tensors: dict[str, torch.Tensor] = {}
    for block in range(4):
        for part in ("weight", "bias"):
            tensors[f"layers.{block}.0.0.{part}"] = state[f"conv.{block}.{part}"]
        for part in ("weight", "bias", "running_mean", "running_var"):
            shift = _EPSILON_DIFFERENCE if part == "running_var" else 0.0
            tensors[f"layers.{block}.0.2.{part}"] = state[f"bn.{block}.{part}"] + shift
        tensors[f"layers.{block}.0.2.num_batches_tracked"] = torch.tensor(0)
    flat = state["fc1.weight"].view(-1, _MAP_SIDE, _MAP_SIDE, _MAP_CHANNELS)
    tensors["project.1.weight"] = flat.permute(0, 3, 1, 2).flatten(1)
    tensors["project.1.bias"] = state["fc1.bias"]
    head = logit_layer(state["fc2.weight"], state["fc2.bias"])
    return Converted({**{f"encoder.{name}": tensor for name, tensor in tensors.items()}, **head})


def _numbered(state: State, kind: str) -> list[str]:
    """Return the layers of a kind by their number, which counts them in the order they were made."""
    matches = (re.fullmatch(rf"({kind}(?:_(\d+))?)/.*", name) for name in state)
    numbers = {match[1]: int(match[2] or 0) for match in matches if match}
    return sorted(numbers, key=numbers.__getitem__)


def _batch_norm(state: State, name: str, layer: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{name}.weight", state[f"{layer}/gamma:0"]
    yield f"{name}.bias", state[f"{layer}/beta:0"]
    yield f"{name}.running_mean", state[f"{layer}/moving_mean:0"]
    yield f"{name}.running_var", state[f"{layer}/moving_variance:0"] + _EPSILON_DIFFERENCE
    yield f"{name}.num_batches_tracked", torch.tensor(0)


BACKBONES = {
    "meso4": Backbone(Meso4, Preprocessing(256, (0.0,) * 3, (1.0,) * 3), 0.5, ("flatten", "avg"), 32, True),
}
LAYOUTS = {
    "meso4-keras": Layout("Meso4", "meso4", _meso4_of_keras),
    "meso4-plain": Layout("Meso4", "meso4", _meso4_plain),
    "mesoinception4-keras": Layout("MesoInception4", "mesoinception4", _meso_inception4_of_keras),
}
