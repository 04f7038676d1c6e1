"""Generators and discriminators: two pairs for images of MNIST's size, and the DCGAN for faces.

A generator maps latent vectors (N, Z) to images (N, C, S, S) in [-1, 1]: its last layer is a tanh.
:func:`gan.scaling.to_tanh_range` maps pixels into the same range. A discriminator maps images to logits
(N,), which are positive for "real".
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from deepfake_detect.lab.gan.spec import GanSpec

_DENSE_WIDTH = 128
_CONV_WIDTHS = (128, 64)  # of generator and discriminator
_DEEPER_WIDTHS = (64, 128, 256)  # of the discriminator for a generator with batch norm
_DCGAN_WIDTH = 64
_DCGAN_DEVIATION = 0.02  # standard deviation of initial weights, from Radford et al.


class FullTanh(nn.Tanh):
    """Compute tanh in float32 for any input type.

    In bfloat16 it is exactly -1 below -3.5, with a slope of exactly 0: a generator that has collapsed to
    black images could never recover.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return tanh of values of any shape, as float32."""
        return super().forward(values.float())


def create_gan(spec: GanSpec) -> tuple[nn.Module, nn.Module]:
    """Return generator and discriminator with random weights, in training mode, float32.

    Example:
        >>> generator, discriminator = create_gan(GanSpec("conv"))
        >>> images = generator(torch.zeros(2, 100))
        >>> tuple(images.shape), tuple(discriminator(images).shape)
        ((2, 1, 28, 28), (2,))
    """
    build = {"dense": _dense, "conv": _conv, "dcgan": _dcgan}[spec.arch]
    generator, discriminator = build(spec)
    for network in (generator, discriminator):
        network.apply(_init_dcgan_weights if spec.arch == "dcgan" else _init_weights)
    if spec.spectral_norm:
        for layer in discriminator.modules():
            if isinstance(layer, nn.Conv2d):
                spectral_norm(layer)
    return generator.train(), discriminator.train()


def _dense(spec: GanSpec) -> tuple[nn.Module, nn.Module]:
    """Return networks with one hidden layer of 128 units each."""
    shape = (spec.channels, spec.image_size, spec.image_size)
    generator = nn.Sequential(
        nn.Linear(spec.latent_size, _DENSE_WIDTH),
        nn.LeakyReLU(0.01),
        nn.Linear(_DENSE_WIDTH, math.prod(shape)),
        FullTanh(),
        nn.Unflatten(1, shape),
    )
    discriminator = nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), _DENSE_WIDTH), nn.LeakyReLU(0.01), *_logit(_DENSE_WIDTH)
    )
    return generator, discriminator


def _conv(spec: GanSpec) -> tuple[nn.Module, nn.Module]:
    """Return convolutional networks; with batch norm they learn faster."""
    wide, narrow = _CONV_WIDTHS
    side = spec.image_size // 4

    def activation() -> list[nn.Module]:
        return [*([nn.BatchNorm2d(wide)] if spec.batch_norm else []), nn.LeakyReLU(0.2)]

    generator = nn.Sequential(
        nn.Linear(spec.latent_size, wide * side * side),
        nn.Unflatten(1, (wide, side, side)),
        *activation(),
        nn.ConvTranspose2d(wide, wide, 4, stride=2, padding=1),
        *activation(),
        nn.ConvTranspose2d(wide, wide, 4, stride=2, padding=1),
        *activation(),
        nn.Conv2d(wide, spec.channels, 7, padding=3),
        FullTanh(),
    )
    if spec.batch_norm:
        return generator, nn.Sequential(*_deeper_discriminator(spec))
    layers: list[nn.Module] = []
    for before in (spec.channels, narrow):
        layers += [nn.Conv2d(before, narrow, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout(0.4)]
    return generator, nn.Sequential(*layers, nn.Flatten(), *_logit(narrow * side * side))


def _deeper_discriminator(spec: GanSpec) -> list[nn.Module]:
    """Return three convolutions and a hidden layer that sees the whole image.

    The two convolutions of the other discriminator see patches of 7 pixels, and its last layer adds up
    their evidence: it can distinguish strokes from blots, but not a digit from random strokes.
    """
    layers: list[nn.Module] = []
    for before, width in zip((spec.channels, *_DEEPER_WIDTHS), _DEEPER_WIDTHS, strict=False):
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
    side, last = -(-spec.image_size // 8), _DEEPER_WIDTHS[-1]
    hidden = [nn.Flatten(), nn.Linear(last * side * side, last), nn.LeakyReLU(0.2)]
    return [*layers, *hidden, *_logit(last)]


def _dcgan(spec: GanSpec) -> tuple[nn.Module, nn.Module]:
    """Return the networks of Radford et al. 2016, arXiv:1511.06434: only strided convolutions."""
    num_doublings = int(math.log2(spec.image_size // 4))
    widths = [_DCGAN_WIDTH * 2**number for number in range(num_doublings)]
    generator = nn.Sequential(*_dcgan_generator(spec, widths[::-1]))
    discriminator = nn.Sequential(*_dcgan_discriminator(spec, widths))
    return generator, discriminator


def _dcgan_generator(spec: GanSpec, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Unflatten(1, (spec.latent_size, 1, 1)),
        nn.ConvTranspose2d(spec.latent_size, widths[0], 4, bias=False),
    ]
    for width, after in zip(widths, [*widths[1:], None], strict=True):
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        outputs = spec.channels if after is None else after
        layers.append(nn.ConvTranspose2d(width, outputs, 4, stride=2, padding=1, bias=after is None))
    return [*layers, FullTanh()]


def _dcgan_discriminator(spec: GanSpec, widths: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for number, (before, width) in enumerate(zip([spec.channels, *widths], widths, strict=False)):
        has_norm = number > 0 and not spec.spectral_norm
        layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1, bias=not has_norm))
        layers += [nn.BatchNorm2d(width)] if has_norm else []
        layers.append(nn.LeakyReLU(0.2))
    return [*layers, nn.Conv2d(widths[-1], 1, 4), nn.Flatten(0)]


def _init_weights(layer: nn.Module) -> None:
    """Initialize weights as Glorot and Bengio, and Keras, do.

    With PyTorch's own, which are smaller, and with those of DCGAN the convolutional generator was seen to
    collapse to black images within 50 steps.
    """
    if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _init_dcgan_weights(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, _DCGAN_DEVIATION)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, _DCGAN_DEVIATION)


def _logit(num_features: int) -> list[nn.Module]:
    """Return layers from features (N, F) to logits (N,)."""
    return [nn.Linear(num_features, 1), nn.Flatten(0)]
