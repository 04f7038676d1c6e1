"""Options of a GAN's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.spec import Arch, GanLoss, GanSpec

GanPrecision = Literal["auto", "no", "bf16"]
MNIST_WORD = "mnist"
MNIST_VARIABLE = "DEEPFAKE_DETECT_MNIST"  # of the environment: the folder with MNIST's files
DEFAULT_SHARES = (0.8, 0.1, 0.1)  # of a fake set in train, val and test
_DEFAULT_RATES = (2e-4, 2e-4)  # of generator and discriminator
_CONV_RATES, _CONV_WARMUP = (2e-4, 8e-4), 1000
_NORMED_CONV_RATES = (4e-4, 2e-4)
_FIRST_SHARE = 0.25  # of both rates, in the first step of a warm-up
_DEFAULT_SIZES: dict[str, int] = {"dense": 28, "conv": 28, "dcgan": 64}


@dataclass(frozen=True)
class GanConfig:
    """Options of a run.

    Attributes:
        arch, latent_size, image_size, spectral_norm, batch_norm: Of the networks, see
            :class:`GanSpec`; ``image_size`` ``None`` is 28, and 64 for dcgan.
        loss: ``"bce"`` or ``"hinge"``.
        epochs: How often all images are seen.
        steps: In place of ``epochs``, how many steps are taken.
        batch_size: Made images a step, and as many real ones a step of the discriminator.
        discriminator_steps: How many steps the discriminator takes, on other real images each, to one
            of the generator, once warm (Arjovsky et al. 2017, arXiv:1701.07875, take five).
        learning_rate: Of the discriminator's Adam at its full height. ``None`` is 2e-4, that of Radford
            et al., and 8e-4 for conv, whose weak discriminator has to learn faster to be of use.
        beta1, beta2: Of both networks' Adam. The defaults are those of Radford et al.
        generator_learning_rate: Of the generator's. ``None`` is ``learning_rate``, for conv a quarter
            of it, and with batch norm twice as much.
        warmup_steps: Over which both rates grow from a quarter to their full height, the discriminator
            taking one step to one; ``None`` is 1,000 for conv without batch norm, else 0. With full
            rates, or more steps of the discriminator, from the start on, its wide generator was seen to
            run into black pictures within 150 steps, where a tanh has no slope.
        average_decay: Share that a step keeps of the moving average of the generator's weights,
            which samples come from; 0 for none.
        precision: ``"bf16"``, ``"no"`` for float32, or ``"auto"``: bf16 where the hardware
            computes in it.
        seed: Of weights, order, latent vectors and dropout.
        device: ``auto``, ``cpu`` or ``cuda``.
        sample_every: Steps between two grids of samples.
        save_every: Steps between two writings of the run's state: what a killed run loses at most.

    Raises:
        OptionError: One of them is outside what is allowed.
    """

    arch: Arch = "conv"
    latent_size: int = 100
    image_size: int | None = None
    spectral_norm: bool = False
    batch_norm: bool = False
    loss: GanLoss = "bce"
    epochs: int = 20
    steps: int | None = None
    batch_size: int = 128
    discriminator_steps: int = 1
    learning_rate: float | None = None
    generator_learning_rate: float | None = None
    warmup_steps: int | None = None
    beta1: float = 0.5
    beta2: float = 0.999
    average_decay: float = 0.999
    precision: GanPrecision = "auto"
    seed: int = 0
    device: str = "auto"
    sample_every: int = 500
    save_every: int = 500

    def __post_init__(self) -> None:
        self.spec(1 if self.arch != "dcgan" else 3)  # it checks its own options
        for option, choices in (("loss", get_args(GanLoss)), ("precision", get_args(GanPrecision))):
            value = getattr(self, option)
            if value not in choices:
                raise OptionError(option, f"{value!r} is unknown", f"choose {', '.join(choices)}")
        for option in ("epochs", "sample_every", "save_every"):
            if getattr(self, option) < 1:
                raise OptionError(option, f"is {getattr(self, option)}", "pass 1 or more")
        if self.steps is not None and self.steps < 1:
            raise OptionError("steps", f"is {self.steps}", "pass 1 or more")
        if self.discriminator_steps < 1:
            raise OptionError("discriminator_steps", f"is {self.discriminator_steps}", "pass 1 or more")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise OptionError("warmup_steps", f"is {self.warmup_steps}", "pass 0 or more")
        if self.batch_size < 2:
            raise OptionError("batch_size", f"is {self.batch_size}", "pass 2 or more")
        for option in ("learning_rate", "generator_learning_rate"):
            rate = getattr(self, option)
            if rate is not None and not rate > 0:
                raise OptionError(option, f"is {rate}", "pass a number above 0")
        for option in ("beta1", "beta2", "average_decay"):
            if not 0 <= getattr(self, option) < 1:
                raise OptionError(option, f"is {getattr(self, option)}", "pass 0 up to below 1")
        if not 0 <= self.seed < 2**32:
            raise OptionError("seed", f"is {self.seed}", "pass 0 up to below 2**32")

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return _DEFAULT_SIZES.get(self.arch, 28) if self.image_size is None else self.image_size

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of generator and discriminator at their full height."""
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
        grown = min(1.0, (step - 1) / (warmup - 1)) if warmup > 1 else 1.0
        share = _FIRST_SHARE + (1 - _FIRST_SHARE) * grown
        of_generator, of_discriminator = self.rates
        return of_generator * share, of_discriminator * share

    @property
    def num_warmup_steps(self) -> int:
        """Steps of the warm-up."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return _CONV_WARMUP if self.arch == "conv" and not self.batch_norm else 0

    @property
    def reals_a_step(self) -> int:
        """Real images that one step of the generator takes once it is warm."""
        return self.batch_size * self.discriminator_steps

    def spec(self, channels: int) -> GanSpec:
        """Return the description of networks for images of 1 or 3 channels."""
        return GanSpec(self.arch, self.latent_size, self.side, channels, self.spectral_norm, self.batch_norm)

    def num_steps(self, num_images: int) -> int:
        """Return how many steps the run takes on a number of images."""
        return self.epochs * self.steps_per_epoch(num_images) if self.steps is None else self.steps

    def steps_per_epoch(self, num_images: int) -> int:
        """Return how many whole steps an epoch has; fewer images than a step takes are one."""
        return max(1, num_images // self.reals_a_step)
