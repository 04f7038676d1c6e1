"""Random weights with which the output of a deep network depends on its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def randomize(network: nn.Module, run: Callable[[], object], *, seed: int) -> None:
    """Replace the weights of a network by random ones, and the statistics of its batch normalizations.

    Matrices and kernels have the standard deviation that keeps a signal's size, other weights are near 1
    and biases near 0. Statistics are those of a run, changed at random: variances by a tenth downwards and
    a fifth upwards, since more lets the signal of a deep network with residuals explode or fade.

    Args:
        network: To be changed in place.
        run: Runs the network on a batch.
        seed: Of the randomness.
    """
    randomness = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(_random(name, parameter, randomness))
        norms = [module for module in network.modules() if isinstance(module, _NORMS)]
        _measure(network.eval(), norms, run)
        for norm in norms:
            std = norm.running_var.sqrt()
            norm.running_mean += 0.1 * std * torch.randn(std.shape, generator=randomness)
            norm.running_var *= 0.9 + 0.3 * torch.rand(std.shape, generator=randomness)


def _random(name: str, parameter: nn.Parameter, randomness: torch.Generator) -> torch.Tensor:
    noise = torch.randn(parameter.shape, generator=randomness)
    if parameter.ndim < 2:
        is_scale = name.endswith("weight") or "lambda" in name or "gamma" in name
        return 0.1 * noise + float(is_scale)
    if "token" in name or "embed" in name:
        return 0.5 * noise / max(1, parameter[0].numel() // parameter.shape[1]) ** 0.5
    return noise / parameter[0].numel() ** 0.5


def _measure(network: nn.Module, norms: list[nn.Module], run: Callable[[], object]) -> None:
    """Set the statistics of batch normalizations to those of a run; the rest of the network is evaluating."""
    for norm in norms:
        norm.train()
        norm.momentum, norm.previous = 1.0, norm.momentum
    if norms:
        run()
    for norm in norms:
        norm.momentum = norm.previous
    network.eval()
