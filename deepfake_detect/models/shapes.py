"""Shapes of feature maps, from a run of the network without numbers, on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import Flattened, first_line, out_of_pixels

_LARGEST_TRIED = 1024


def num_features(encoder: nn.Module, *, in_chans: int, size: int) -> int:
    """Return the number of an encoder's features, which is not always timm's ``num_features``; each
    network has its own error for too few pixels.
    """
    shape = _output_shape(encoder, (1, in_chans, size, size))
    if len(shape) != 2:
        raise ValueError(f"it returns the shape (N, {', '.join(map(str, shape[1:]))}), not features (N, F)")
    return shape[1]


def feature_shape(
    encoder: nn.Module, *, height: int, width: int, in_chans: int, smallest: int | None = None
) -> tuple[int, int, int]:
    """Return height, width and channels of an encoder's last feature map before pooling.

    Raises:
        OptionError: The input runs out of pixels; the smallest square that does not, ``smallest`` or else
            found by trying, is named. Or there is no single last map.
    """

    def shape_of(height: int, width: int) -> tuple[int, ...]:
        return _output_shape(_MapOf(encoder), (1, in_chans, height, width))

    try:
        _, channels, map_height, map_width = shape_of(height, width)
    except OptionError:
        raise
    except Exception as error:  # each network has its own error for too few pixels
        smallest = smallest or smallest_size(lambda size: shape_of(size, size))
        raise out_of_pixels("size", f"{height} x {width}", first_line(error), smallest) from error
    return map_height, map_width, channels


def smallest_size(try_size: Callable[[int], Any]) -> int | None:
    """Return the smallest side in pixels at which ``try_size`` does not fail, None if it always does."""
    for size in range(1, _LARGEST_TRIED + 1):
        try:
            try_size(size)
        except Exception:  # nosec B112 # as above; here it only matters that it fails
            continue
        return size
    return None


def feature_map(encoder: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return an encoder's last feature map (N, channels, h, w) of images (N, C, H, W).

    The tokens of a transformer are arranged as their patches.

    Raises:
        OptionError: The network has several last maps, of several scales.
    """
    network: Any = encoder[0] if isinstance(encoder, Flattened) else encoder
    if not hasattr(network, "forward_features"):
        cause = f"{type(network).__name__} has no method forward_features, which returns its last map"
        raise OptionError("backbone", cause, "add one, or choose another backbone")
    maps: Any = network.forward_features(images)
    if not isinstance(maps, torch.Tensor):
        raise OptionError("backbone", "has several last feature maps, of several scales", "choose another")
    if maps.ndim == 3:  # tokens (N, L, channels), some of which may not be patches
        (maps,) = network.forward_intermediates(images, indices=1, intermediates_only=True)
    elif str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC"):
        maps = maps.permute(0, 3, 1, 2)
    return maps  # type: ignore[no-any-return]


class _MapOf(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return feature_map(self.encoder, images)


def _output_shape(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    tensors = chain(module.named_parameters(), module.named_buffers())
    weightless = {name: tensor.to("meta") for name, tensor in tensors}
    with torch.no_grad(), evaluating(module):
        images = torch.zeros(shape, device="meta")
        output: torch.Tensor = torch.func.functional_call(module, weightless, (images,))
    return tuple(output.shape)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every layer into evaluation mode, and back into its own mode afterwards."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
