"""Check whether heat maps depend on the weights; if not, they say nothing about what was learned."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.heat_maps import heat_maps
from deepfake_detect.explanation.options import Method, Target
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import last_map_layer, undisturbed
from deepfake_detect.progress import progress_bar

# There is no standard limit. Unrelated maps of the same faces still correlate a little: any network
# responds to edges, and faces are in the center.
CHANGED_BELOW = 0.5
_LEAST_CONTRAST = 1e-6
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class LayerCorrelation:
    """Correlation of maps before and after a layer and all later ones were randomized.

    Attributes:
        layer: Name of the block; ``head`` comes first.
        mean, lowest, highest: Spearman's rank correlation over the images, -1 to 1; a map without
            contrast counts as 0.
    """

    layer: str
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class RandomizationCheck:
    """Correlations of heat maps as weights were randomized, from the output to the input.

    Attributes:
        method: Of the maps.
        num_images: Number of images.
        layers: One per block, in the order of randomization.
    """

    method: str
    num_images: int
    layers: tuple[LayerCorrelation, ...]

    @property
    def maps_changed(self) -> bool:
        """Whether the maps changed: a mean correlation over all steps below ``CHANGED_BELOW``.

        Each step is another random network; a single one may correlate by chance.
        """
        return self.mean < CHANGED_BELOW

    @property
    def mean(self) -> float:
        """Mean correlation over all steps, -1 to 1."""
        return sum(one.mean for one in self.layers) / len(self.layers)


def randomization_check(
    model: ForgeryClassifier,
    images: torch.Tensor,
    *,
    method: Method = "gradcam",
    layer: str | None = None,
    target: Target = "fake",
    seed: int = 0,
    show_progress: bool = True,
) -> RandomizationCheck:
    """Compare heat maps with those of the same network, randomized block by block from the output.

    The cascading test of Adebayo et al. 2018, arXiv:1810.03292. A block is randomized by shuffling
    the values of each of its tensors, which keeps their scale: with freshly initialized weights, the
    outputs of deep networks without normalization would vanish, and empty maps prove nothing.
    Statistics of batch normalization are re-estimated on the images.

    Args:
        model, images, method, layer, target: As for :func:`explanation.heat_maps.heat_maps`; two or
            more images are needed to re-estimate statistics.
        seed: Of the shuffling; the global random state is unchanged.
        show_progress: Whether to show a progress bar.

    Raises:
        OptionError: As for ``heat_maps``; the seed is out of range.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> model = create_model("test_resnet", image_size=64)
        >>> check = randomization_check(model, torch.rand(2, 3, 64, 64), show_progress=False)
        >>> [one.layer for one in check.layers]
        ['head', 'layer4', 'layer3', 'layer2', 'layer1', 'conv1']
    """
    if not 0 <= seed < 2**32:
        raise OptionError("seed", f"is {seed}", "must be 0 to 2**32 - 1")
    with undisturbed(model):
        device = next(model.parameters()).device
        if layer is None and method != "attention":
            layer = last_map_layer(model, images.to(device))
    generator = torch.Generator().manual_seed(seed)

    def maps_of(network: ForgeryClassifier) -> np.ndarray:
        return heat_maps(network, images, method=method, layer=layer, target=target, show_progress=False)

    before = maps_of(model)
    randomized = copy.deepcopy(model)
    parts = [("head", randomized.head), *reversed(randomized.blocks())]
    parts = [(name, part) for name, part in parts if any(True for _ in part.parameters())]
    found = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("randomizing", total=len(parts), note="")
        for name, part in parts:
            with torch.no_grad():
                for parameter in part.parameters():
                    order = torch.randperm(parameter.numel(), generator=generator).to(device)
                    parameter.copy_(parameter.flatten()[order].view_as(parameter))
            _measure_statistics(randomized, images.to(device))
            found.append(_correlation(name, before, maps_of(randomized)))
            progress.update(task, advance=1, note=f"{name} {found[-1].mean:.2f}")
    return RandomizationCheck(method, len(images), tuple(found))


def _measure_statistics(model: ForgeryClassifier, images: torch.Tensor) -> None:
    """Re-estimate only the statistics of batch normalization, on images."""
    norms = [layer for layer in model.modules() if isinstance(layer, _BATCH_NORMS)]
    if not norms or len(images) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    with undisturbed(model), torch.no_grad():
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
        model.encoder(model.stem(images))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _correlation(name: str, before: np.ndarray, after: np.ndarray) -> LayerCorrelation:
    from scipy.stats import spearmanr

    values = [
        0.0
        if min(np.ptp(one), np.ptp(other)) < _LEAST_CONTRAST
        else float(spearmanr(one.ravel(), other.ravel()).statistic)
        for one, other in zip(before, after, strict=True)
    ]
    return LayerCorrelation(name, float(np.mean(values)), min(values), max(values))
