"""First-layer filters of a network, and the activations of any layer for an image."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.sources import first_image
from deepfake_detect.lab.networks import (
    TrainedNetwork,
    epoch_files,
    read_classifier_network,
    read_detector_network,
)
from deepfake_detect.lab.options import FilterOptions
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import as_map, layout_of, network_of, outputs_of, undisturbed
from deepfake_detect.report.explain import save_grids

_CELL_SIDE = 56


def draw_filters(out: str | os.PathLike[str], options: FilterOptions) -> str:
    """Write the first-layer filters of networks, or the activations of a layer, side by side as PNG.

    Args:
        out: PNG to write.
        options: Networks and what to show of them.

    Returns:
        One line about the figure.

    Raises:
        CheckpointError: A network cannot be read, or an epoch was not kept.
        VideoError: The image cannot be read.
        OptionError: A network has no such filters, or no such layer.
    """
    networks = [
        read(file)
        for paths, read in (
            (options.detector, read_detector_network),
            (options.classifier, read_classifier_network),
        )
        for path in paths
        for file in (epoch_files(path, options.epochs) if options.epochs else [path])
    ]
    if options.layer is None or options.image is None:
        title = "First-layer filters"
        grids = [(one.name, filter_grid(first_layer_filters(one.model))) for one in networks]
    else:
        title, image = f"{options.layer} of {options.image.name}", first_image(options.image)
        grids = [_named_activations(one, image, options.layer) for one in networks]
    save_grids(grids, Path(out), title=title)
    return f"wrote {out}: {title.lower()} of {', '.join(one.name for one in networks)}"


def _named_activations(network: TrainedNetwork, image: np.ndarray, layer: str) -> tuple[str, np.ndarray]:
    maps = activations(network.model, network.input_of(image), layer)
    return f"{network.name}: {' x '.join(map(str, maps.shape))}", activation_grid(maps)


def first_layer_filters(model: ForgeryClassifier) -> np.ndarray:
    """Return the filters of a network's first convolution as images.

    Each is scaled by its largest weight: mid gray (0.5) is a weight of 0, lighter is positive and darker
    negative. Those of a transformer are its patch embedding.

    Returns:
        float32 (filters, h, w, C), 0 to 1, C being 1 or 3.

    Raises:
        OptionError: There is no convolution, or its input has neither 1 nor 3 channels.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> first_layer_filters(create_model("vgg16")).shape
        (64, 3, 3, 3)
    """
    convolutions = (layer for layer in network_of(model).modules() if isinstance(layer, nn.Conv2d))
    first = next(convolutions, None)
    if first is None or first.weight.shape[1] not in (1, 3):
        found = "no convolution" if first is None else f"one of {first.weight.shape[1]} channels"
        raise OptionError("network", f"its first layer is {found}", "pass one that takes gray or RGB images")
    weights = first.weight.detach().float().cpu()  # (filters, C, h, w)
    largest = weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    images: np.ndarray = (0.5 + weights / largest / 2).permute(0, 2, 3, 1).numpy()
    return images


def activations(model: ForgeryClassifier, image: torch.Tensor, layer: str) -> np.ndarray:
    """Return the output of a layer for an image; the network is left unchanged.

    Args:
        model: Any network of ``create_model``.
        image: float32 (C, H, W), normalized for the network.
        layer: A name of ``layers.named_layers``.

    Returns:
        float32 (channels, h, w).

    Raises:
        OptionError: There is no such layer, its output is no map, or the image has another shape.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> activations(create_model("resnet18"), torch.zeros(3, 64, 64), "layer1").shape
        (64, 16, 16)
    """
    if image.ndim != 3 or image.shape[0] != model.spec.in_chans:
        remedy = f"must be ({model.spec.in_chans}, H, W)"
        raise OptionError("image", f"has the shape {tuple(image.shape)}", remedy)
    batch = image[None].to(next(model.parameters()).device)
    with undisturbed(model), torch.no_grad():
        output = outputs_of(model, [layer], batch)[layer]
    maps: np.ndarray = as_map(output, layout_of(model, batch.shape))[0].float().cpu().numpy()
    return maps


def filter_grid(filters: np.ndarray) -> np.ndarray:
    """Return filters of :func:`first_layer_filters` side by side, RGB uint8 (H, W, 3)."""
    levels = np.rint(filters * 255).astype(np.uint8)
    images = np.repeat(levels, 3, axis=3) if levels.shape[3] == 1 else levels
    return contact_sheet(list(images), side=_CELL_SIDE)


def activation_grid(maps: np.ndarray, *, max_maps: int = 64) -> np.ndarray:
    """Return the first maps of (channels, h, w) side by side, RGB uint8 (H, W, 3).

    Each is scaled to its own range, from dark to light; one without contrast is dark.
    """
    images = []
    for one in maps[:max_maps]:
        spread = float(np.ptp(one))
        levels = np.rint(255 * (one - one.min()) / spread) if spread else np.zeros_like(one)
        colored = cv2.applyColorMap(levels.astype(np.uint8), cv2.COLORMAP_VIRIDIS)
        images.append(cv2.cvtColor(colored, cv2.COLOR_BGR2RGB))
    return contact_sheet(images, side=_CELL_SIDE)
