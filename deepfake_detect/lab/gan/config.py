"""Options of a GAN's training and of the fake set made of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.spec import Arch, GanLoss, GanSpec
from deepfake_detect.options import check_options, option

GanPrecision = Literal["auto", "no", "bf16"]
MNIST_NAME = "mnist"
MNIST_VARIABLE = "DEEPFAKE_DETECT_MNIST"  # environment variable: the folder of MNIST's files
_DEFAULT_RATES = (2e-4, 2e-4)  # of generator and discriminator
_CONV_RATES, _CONV_WARMUP = (2e-4, 8e-4), 1000
_NORMED_CONV_RATES = (4e-4, 2e-4)
_WARMUP_START = 0.25  # fraction of both rates in the first step of a warm-up
_DEFAULT_SIZES: dict[str, int] = {"dense": 28, "conv": 28, "dcgan": 64}


@dataclass(frozen=True)
class GanConfig:
    """Options of a GAN's training.

    The default rates are those of Radford et al., except for conv, whose small discriminator has to learn
    faster to be useful. Without a warm-up, or with several discriminator steps from the start, its wide
    generator was seen to collapse to black images within 150 steps, where a tanh has no slope.
    Arjovsky et al. 2017, arXiv:1701.07875, take five discriminator steps per generator step.

    Raises:
        OptionError: An option is not allowed.
    """

    arch: Arch = option("conv", help="architecture of the generator and the discriminator")
    latent_size: int = option(GanSpec.latent_size, help="length of the latent vector")
    image_size: int | None = option(
        None, help="side of an image, in pixels; dcgan takes 64 or 128 (default: 28; dcgan 64)"
    )
    spectral_norm: bool | None = option(
        None,
        help=("use spectral norm instead of batch norm in dcgan's discriminator (default: yes for dcgan)"),
    )
    batch_norm: bool = option(
        GanSpec.batch_norm,
        help="conv: batch norm in the generator, and a deeper discriminator without dropout",
    )
    loss: GanLoss = option("bce", help="loss of the generator and the discriminator")
    epochs: int = option(20, low=1, help="passes over the images")
    steps: int | None = option(None, low=1, help="number of steps, instead of a number of epochs")
    batch_size: int = option(
        128, low=2, help="number of generated images per step, and of real images per discriminator step"
    )
    discriminator_steps: int = option(
        1,
        low=1,
        help=("discriminator steps per generator step after the warm-up, each on different real images"),
    )
    learning_rate: float | None = option(
        None, above=0, help="learning rate of the discriminator's Adam (default: conv 8e-4, else 2e-4)"
    )
    generator_learning_rate: float | None = option(
        None,
        above=0,
        help=(
            "learning rate of the generator's Adam (default: the same; conv a quarter of it, "
            "with batch norm twice)"
        ),
    )
    warmup_steps: int | None = option(
        None,
        low=0,
        help=(
            "warm-up steps, in which both rates grow from a quarter (default: conv without batch "
            "norm 1000, else 0)"
        ),
    )
    beta1: float = option(0.5, low=0, below=1, help="first beta of both Adam optimizers")
    beta2: float = option(0.999, low=0, below=1, help="second beta of both Adam optimizers")
    average_decay: float = option(
        0.999,
        low=0,
        below=1,
        help="decay of the weight average that samples are generated with; 0 turns it off",
    )
    precision: GanPrecision = option(
        "auto", help="bf16, or no for float32; auto uses bf16 if the hardware is fast at it"
    )
    seed: int = option(
        0, low=0, below=2**32, help="random seed of weights, order, latent vectors and dropout"
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", help="device to train on")
    sample_every: int = option(500, low=1, help="steps between sample grids")
    save_every: int = option(500, low=1, help="steps between checkpoints of the run")

    def __post_init__(self) -> None:
        check_options(self)
        self.spec(1 if self.arch != "dcgan" else 3)  # checks the options of the networks

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return _DEFAULT_SIZES[self.arch] if self.image_size is None else self.image_size

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of generator and discriminator after the warm-up."""
        of_generator, of_discriminator = _DEFAULT_RATES
        if self.arch == "conv":
            of_generator, of_discriminator = _NORMED_CONV_RATES if self.batch_norm else _CONV_RATES
        rate = self.learning_rate or of_discriminator
        return self.generator_learning_rate or rate * (of_generator / of_discriminator), rate

    def rates_in_step(self, step: int) -> tuple[float, float]:
        """Return both learning rates in a step, counted from 1.

        Example:
            >>> config = GanConfig(arch="conv", learning_rate=4e-4, warmup_steps=101)
            >>> [config.rates_in_step(step) for step in (1, 101, 500)]
            [(2.5e-05, 0.0001), (0.0001, 0.0004), (0.0001, 0.0004)]
        """
        warmup = self.num_warmup_steps
        progress = min(1.0, (step - 1) / (warmup - 1)) if warmup > 1 else 1.0
        factor = _WARMUP_START + (1 - _WARMUP_START) * progress
        of_generator, of_discriminator = self.rates
        return of_generator * factor, of_discriminator * factor

    @property
    def num_warmup_steps(self) -> int:
        """Steps of the warm-up."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return _CONV_WARMUP if self.arch == "conv" and not self.batch_norm else 0

    @property
    def reals_per_step(self) -> int:
        """Real images that one step of the generator uses after the warm-up."""
        return self.batch_size * self.discriminator_steps

    def spec(self, channels: int) -> GanSpec:
        """Return the description of networks for images of 1 or 3 channels."""
        has_spectral_norm = self.arch == "dcgan" if self.spectral_norm is None else self.spectral_norm
        return GanSpec(self.arch, self.latent_size, self.side, channels, has_spectral_norm, self.batch_norm)

    def num_steps(self, num_images: int) -> int:
        """Return the number of steps of the run for a number of images."""
        return self.epochs * self.steps_per_epoch(num_images) if self.steps is None else self.steps

    def steps_per_epoch(self, num_images: int) -> int:
        """Return the number of complete steps in an epoch; fewer images than one step uses are one step."""
        return max(1, num_images // self.reals_per_step)


@dataclass(frozen=True)
class FakeSetOptions:
    """How samples of a generator become a fake set.

    Raises:
        OptionError: An option is not allowed, or ``splits`` do not add up to 1.
    """

    num_samples: int = option(2000, low=0, help="number of images in the fake set; 0 writes none")
    splits: tuple[float, ...] = option(
        (0.8, 0.1, 0.1), metavar="FRACTION", help="fractions of the fake set for train, val and test"
    )
    with_reals: bool = option(False, help="add the same number of real images, with label 0")

    def __post_init__(self) -> None:
        check_options(self)
        if self.num_samples == 1:
            raise OptionError("num_samples", "is 1", "must be 2 or more, or 0 for none")
        is_partition = all(part >= 0 for part in self.splits) and abs(sum(self.splits) - 1) <= 1e-6
        if len(self.splits) != 3 or not is_partition:
            given = " ".join(f"{part:g}" for part in self.splits)
            remedy = "must be three fractions of train, val and test that add up to 1"
            raise OptionError("splits", f"are {given}", remedy)
