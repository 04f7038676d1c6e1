"""What a network's first layer looks for, and what any layer answers to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn

from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import as_map, layout_of, network_of, outputs_of, undisturbed

_SHOWN_SIDE = 56


def first_layer_filters(model: ForgeryClassifier) -> np.ndarray:
    """Return the filters of a network's first convolution as pictures.

    Each is scaled by its largest weight, so that mid gray (0.5) is a weight of 0, lighter is above
    and darker below it. A transformer's are those of its patches.

    Returns:
        float32 (filters, h, w, C), 0 to 1, C being 1 or 3.

    Raises:
        OptionError: There is no convolution, or it reads neither 1 nor 3 channels.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> first_layer_filters(create_model("vgg16")).shape
        (64, 3, 3, 3)
    """
    convolutions = (layer for layer in network_of(model).modules() if isinstance(layer, nn.Conv2d))
    first = next(convolutions, None)
    if first is None or first.weight.shape[1] not in (1, 3):
        found = "no convolution" if first is None else f"one of {first.weight.shape[1]} channels"
        raise OptionError(
            "network", f"its first layer is {found}", "pass one that reads gray or RGB pictures"
        )
    weights = first.weight.detach().float().cpu()  # (filters, C, h, w)
    largest = weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    pictures: np.ndarray = (0.5 + weights / largest / 2).permute(0, 2, 3, 1).numpy()
    return pictures


def activations(model: ForgeryClassifier, image: torch.Tensor, layer: str) -> np.ndarray:
    """Return what a layer makes of an image; the network is left as it was.

    Args:
        model: Any network of ``create_model``.
        image: float32 (C, H, W), normalized as the network wants it.
        layer: A name of ``layers.named_layers``.

    Returns:
        float32 (channels, h, w).

    Raises:
        OptionError: There is no such layer, it gives no map, or the image is not of this shape.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> activations(create_model("resnet18"), torch.zeros(3, 64, 64), "layer1").shape
        (64, 16, 16)
    """
    if image.ndim != 3 or image.shape[0] != model.spec.in_chans:
        wanted = f"pass one image ({model.spec.in_chans}, H, W)"
        raise OptionError("image", f"has the shape {tuple(image.shape)}", wanted)
    batch = image[None].to(next(model.parameters()).device)
    with undisturbed(model), torch.no_grad():
        output = outputs_of(model, [layer], batch)[layer]
    maps: np.ndarray = as_map(output, layout_of(model, batch.shape))[0].float().cpu().numpy()
    return maps


def filter_grid(filters: np.ndarray) -> np.ndarray:
    """Return filters of :func:`first_layer_filters` side by side, RGB uint8 (H, W, 3)."""
    levels = np.rint(filters * 255).astype(np.uint8)
    pictures = np.repeat(levels, 3, axis=3) if levels.shape[3] == 1 else levels
    return contact_sheet(list(pictures), side=_SHOWN_SIDE)


def activation_grid(maps: np.ndarray, *, most: int = 64) -> np.ndarray:
    """Return maps (channels, h, w) side by side, RGB uint8 (H, W, 3).

    Each is scaled to its own range, from dark to light; one without contrast is dark. Of more than
    ``most`` the first are shown.
    """
    pictures = []
    for one in maps[:most]:
        spread = float(np.ptp(one))
        levels = np.rint(255 * (one - one.min()) / spread) if spread else np.zeros_like(one)
        colored = cv2.applyColorMap(levels.astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        pictures.append(cv2.cvtColor(colored, cv2.COLOR_BGR2RGB))
    return contact_sheet(pictures, side=_SHOWN_SIDE)
