from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.networks import create_gan
from deepfake_detect.lab.gan.scaling import from_tanh_range, to_tanh_range
from deepfake_detect.lab.gan.spec import GanSpec

# Layer by layer, from the published descriptions: weights and biases.
DENSE_GENERATOR = (100 * 128 + 128) + (128 * 784 + 784)
DENSE_DISCRIMINATOR = (784 * 128 + 128) + (128 + 1)
CONV_GENERATOR = (100 * 6272 + 6272) + 2 * (128 * 128 * 4 * 4 + 128) + (128 * 7 * 7 + 1)
CONV_DISCRIMINATOR = (1 * 64 * 3 * 3 + 64) + (64 * 64 * 3 * 3 + 64) + (7 * 7 * 64 + 1)
DCGAN_GENERATOR = (
    (100 * 512 * 16 + 2 * 512)
    + (512 * 256 * 16 + 2 * 256)
    + (256 * 128 * 16 + 2 * 128)
    + (128 * 64 * 16 + 2 * 64)
    + (64 * 3 * 16 + 3)
)
DCGAN_DISCRIMINATOR = (
    (3 * 64 * 16 + 64)
    + (64 * 128 * 16 + 128)
    + (128 * 256 * 16 + 256)
    + (256 * 512 * 16 + 512)
    + (512 * 16 + 1)
)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("spec", "of_generator", "of_discriminator"),
    [
        (GanSpec("dense"), DENSE_GENERATOR, DENSE_DISCRIMINATOR),
        (GanSpec("conv"), CONV_GENERATOR, CONV_DISCRIMINATOR),
        (GanSpec("dcgan", 100, 64, 3, True), DCGAN_GENERATOR, DCGAN_DISCRIMINATOR),
    ],
    ids=lambda value: value.arch if isinstance(value, GanSpec) else "",
)
def test_networks_have_the_published_number_of_parameters(
    spec: GanSpec, of_generator: int, of_discriminator: int
) -> None:
    generator, discriminator = create_gan(spec)
    assert (count(generator), count(discriminator)) == (of_generator, of_discriminator)


@pytest.mark.parametrize(
    "spec",
    [
        GanSpec("dense", latent_size=7, image_size=9, channels=3),
        GanSpec("conv", latent_size=1, image_size=32, channels=3),
        GanSpec("conv"),
        GanSpec("conv", image_size=12, batch_norm=True),
        GanSpec("dcgan", 5, 64, 3, True),
        GanSpec("dcgan", 3, 64, 3, False),
        GanSpec("dcgan", 2, 128, 3, True),
    ],
    ids=lambda spec: f"{spec.arch}-{spec.image_size}-{spec.latent_size}-{spec.spectral_norm}",
)
def test_shapes_and_range_agree_with_the_data(spec: GanSpec) -> None:
    """Generator and data scaling meet in [-1, 1]: a sigmoid, or data in [0, 1], fails here."""
    torch.manual_seed(0)
    generator, discriminator = create_gan(spec)
    made = generator(3 * torch.randn(2, spec.latent_size))
    real = to_tanh_range(torch.tensor([0, 255], dtype=torch.uint8)).reshape(2, 1, 1, 1).expand(made.shape)
    assert made.shape == (2, spec.channels, spec.image_size, spec.image_size)
    assert discriminator(made).shape == discriminator(real).shape == (2,)
    last = next(layer for layer in reversed(list(generator)) if not isinstance(layer, nn.Unflatten))
    reachable = last(torch.tensor([-1e3, 0.0, 1e3]))
    assert reachable.tolist() == [real.min(), 0, real.max()] == [-1, 0, 1]
    assert from_tanh_range(reachable).tolist() == [0, 128, 255]


@pytest.mark.parametrize("arch", ["dense", "conv", "dcgan"])
def test_a_generator_of_black_images_still_learns_in_bf16(arch: str) -> None:
    color = arch == "dcgan"
    spec = GanSpec(arch, 3, 64 if color else 8, 3 if color else 1)  # type: ignore[arg-type]
    generator = create_gan(spec)[0]
    last = [layer for layer in generator if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))][-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -6.0)
    with torch.autocast("cpu", torch.bfloat16):
        made = generator(torch.randn(2, 3))
    made.sum().backward()
    assert made.dtype == torch.float32
    assert (from_tanh_range(made) == 0).all()
    assert (last.bias.grad > 0).all()


def test_scaling_has_an_inverse() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert to_tanh_range(values).dtype == torch.float32
    assert torch.equal(from_tanh_range(to_tanh_range(values)), values)
    assert from_tanh_range(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    discriminator = create_gan(GanSpec("dcgan", 4, 64, 3, True))[1]
    for _ in range(15):  # each pass is an iteration of its power method
        discriminator(torch.zeros(1, 3, 64, 64))
    weights = [layer.weight for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    norms = [float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) for weight in weights]
    assert norms == pytest.approx([1.0] * 5, abs=0.15)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules())
    plain = create_gan(GanSpec("dcgan", 4, 64, 3, False))[1]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules()) == 3


def test_with_batch_norm_the_discriminator_sees_the_whole_image() -> None:
    """A hidden unit depends on opposite corners at once."""
    torch.manual_seed(0)
    generator, deeper = create_gan(GanSpec("conv", batch_norm=True))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator.modules()) == 3
    assert not any(isinstance(layer, nn.Dropout) for layer in deeper.modules())
    flat = create_gan(GanSpec("conv"))[1].eval()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in create_gan(GanSpec("conv"))[0].modules())

    def interaction(network: nn.Module) -> float:
        corners = torch.zeros(4, 1, 28, 28)
        corners[1, :, :6, :6] = corners[2, :, -6:, -6:] = 1
        corners[3] = corners[1] + corners[2]
        with torch.no_grad():
            none, one, other, both = network(corners).double()
        return float((both - one - other + none).abs())

    assert interaction(flat) < 1e-6 < 1e-4 < interaction(deeper)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "vae"}, "arch: is 'vae'; must be one of dense, conv, dcgan"),
        ({"arch": "conv", "latent_size": 0}, "latent_size: is 0; must be 1 or more"),
        ({"arch": "conv", "channels": 2}, "channels: is 2; must be 1 or 3 for conv"),
        ({"arch": "dcgan", "image_size": 64}, "channels: is 1; must be 3 for dcgan"),
        (
            {"arch": "conv", "spectral_norm": True},
            "spectral_norm: is not for conv; omit it, or choose dcgan",
        ),
        ({"arch": "dense", "batch_norm": True}, "batch_norm: is not for dense; omit it, or choose conv"),
        ({"arch": "conv", "image_size": 30}, "image_size: is 30; must be a multiple of 4 for conv"),
        (
            {"arch": "dcgan", "channels": 3, "image_size": 96},
            "image_size: is 96; must be 64 or 128 for dcgan",
        ),
        ({"arch": "dense", "image_size": 0}, "image_size: is 0; must be 1 or more for dense"),
    ],
)
def test_impossible_networks_are_rejected(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        GanSpec(**options)  # type: ignore[arg-type]
