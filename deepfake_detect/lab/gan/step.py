"""One training step of a GAN, whose randomness comes only from its arguments.

In this module "real" is 1 and "fake" is 0, as in the papers. A sample on disk has the library's label,
fake = 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from deepfake_detect.errors import SanityError
from deepfake_detect.lab.gan.networks import create_gan
from deepfake_detect.lab.gan.spec import GanLoss, GanSpec


class StepRecord(NamedTuple):
    """Losses and accuracies of a step, before it changed the weights.

    Attributes:
        step: Number of the step, from 1.
        discriminator_loss: Mean over real and generated images; ln 2 at chance with bce, 1 with hinge.
        generator_loss: With bce the mean of -log of the probability of "real" of its images, in nats.
        accuracy_on_real, accuracy_on_fake: Fractions that the discriminator classified correctly, 0 to 1.
    """

    step: int
    discriminator_loss: float
    generator_loss: float
    accuracy_on_real: float
    accuracy_on_fake: float

    @property
    def accuracy(self) -> float:
        """Mean of both; 0.5 is the equilibrium."""
        return (self.accuracy_on_real + self.accuracy_on_fake) / 2


@dataclass(eq=False)
class Gan:
    """Both networks with their optimizers, and a moving average of the generator's weights.

    Attributes:
        spec: How to build the networks.
        generator, discriminator: The networks in training mode.
        average: The averaged generator (Yazici et al. 2019, arXiv:1806.04498), which makes samples;
            the generator itself if nothing is averaged.
        generator_optimizer, discriminator_optimizer: Of their weights.
        average_decay: Weight of the previous average in a step; 0 for no average.
    """

    spec: GanSpec
    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average_decay: float

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a step reads and changes."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned."""
        for name, values in state.items():
            getattr(self, name).load_state_dict(values)


def prepare_gan(
    spec: GanSpec,
    *,
    learning_rates: tuple[float, float],
    betas: tuple[float, float],
    average_decay: float = 0.0,
    device: torch.device | str = "cpu",
) -> Gan:
    """Build both networks with Adam on each.

    Args:
        spec: Of the networks; their weights are sampled from torch's global generator.
        learning_rates: Of generator and discriminator.
        betas: Of both optimizers; Radford et al. found that 0.5 for the first stabilizes training.
        average_decay: See :class:`Gan`.
        device: Where they run.
    """
    generator, discriminator = (_to_device(network, device) for network in create_gan(spec))
    average = generator
    if average_decay:
        average = _to_device(create_gan(spec)[0], device)
        average.load_state_dict(generator.state_dict())
        average.requires_grad_(False)
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=betas)
        for network, rate in zip((generator, discriminator), learning_rates, strict=True)
    )
    return Gan(spec, generator, discriminator, average, of_generator, of_discriminator, average_decay)


def gan_step(
    gan: Gan,
    real: torch.Tensor,
    latent: torch.Tensor,
    *,
    step: int,
    loss: GanLoss = "bce",
    seed: int = 0,
    bf16: bool = False,
    in_place: bool = False,
) -> tuple[Gan, StepRecord]:
    """Train the discriminator on a batch, then the generator against it: a pure function.

    The arguments are left unchanged. The same arguments give the same result on a CPU: dropout uses
    ``seed``, and torch's global generator is left unchanged. Source: Goodfellow et al. 2014,
    arXiv:1406.2661, with the non-saturating loss of the generator; hinge loss: Lim and Ye 2017,
    arXiv:1705.02894.

    Args:
        gan: Left unchanged, unless ``in_place``.
        real: float32 (K * N, C, S, S) in [-1, 1]: the discriminator takes K steps of N images each.
        latent: float32 (N, Z); all these steps use the same images generated from it.
        step: Number of the step, from 1, for the record and the average.
        loss: ``"bce"`` or ``"hinge"``.
        seed: Of dropout.
        bf16: Whether the networks compute in bfloat16.
        in_place: Whether to change ``gan`` itself and return it: the same step without a copy of all
            weights.

    Returns:
        The GAN after the step, and losses and accuracies before it.

    Raises:
        SanityError: A loss is not finite.

    Example:
        >>> gan = prepare_gan(GanSpec("dense"), learning_rates=(2e-4, 2e-4), betas=(0.5, 0.999))
        >>> after, record = gan_step(gan, torch.zeros(8, 1, 28, 28), torch.zeros(8, 100), step=1)
        >>> 0 <= record.accuracy <= 1
        True
    """
    after = gan if in_place else copy.deepcopy(gan)
    devices = [real.device] if real.device.type == "cuda" else []
    autocast = torch.autocast(real.device.type, torch.bfloat16, enabled=bf16)
    on_discriminator, on_generator = _LOSSES[loss]
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        with autocast:
            fake = after.generator(latent).float()
        records = []
        for part in torch.split(real, len(latent)):
            with autocast:
                on_real, on_fake = (after.discriminator(images).float() for images in (part, fake.detach()))
            discriminator_loss = on_discriminator(on_real, on_fake)
            _descend(after.discriminator_optimizer, discriminator_loss)
            records.append(
                [discriminator_loss.detach(), (on_real > 0).float().mean(), (on_fake < 0).float().mean()]
            )
        # The generator's gradient passes through the discriminator, whose own weights need none.
        after.discriminator.requires_grad_(False)
        with autocast:
            generator_loss = on_generator(after.discriminator(fake).float())
        _descend(after.generator_optimizer, generator_loss)
        after.discriminator.requires_grad_(True)
    _update_average(after, step)
    first_loss, accuracy_on_real, accuracy_on_fake = (float(value) for value in records[0])
    record = StepRecord(step, first_loss, float(generator_loss.detach()), accuracy_on_real, accuracy_on_fake)
    return after, _checked(record)


def _bce_of_discriminator(on_real: torch.Tensor, on_fake: torch.Tensor) -> torch.Tensor:
    return (functional.softplus(-on_real).mean() + functional.softplus(on_fake).mean()) / 2


def _bce_of_generator(on_fake: torch.Tensor) -> torch.Tensor:
    return functional.softplus(-on_fake).mean()


def _hinge_of_discriminator(on_real: torch.Tensor, on_fake: torch.Tensor) -> torch.Tensor:
    return (functional.relu(1 - on_real).mean() + functional.relu(1 + on_fake).mean()) / 2


def _hinge_of_generator(on_fake: torch.Tensor) -> torch.Tensor:
    return -on_fake.mean()


_LOSSES: dict[
    GanLoss,
    tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]],
] = {
    "bce": (_bce_of_discriminator, _bce_of_generator),
    "hinge": (_hinge_of_discriminator, _hinge_of_generator),
}


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.no_grad()
def _update_average(gan: Gan, step: int) -> None:
    """Move the average towards the generator; batch statistics are copied."""
    if not gan.average_decay:
        return
    # The average is short at first, so that it quickly forgets the random initial weights.
    decay = min(gan.average_decay, step / (step + 10))
    for weight, latest in zip(gan.average.parameters(), gan.generator.parameters(), strict=True):
        weight.lerp_(latest, 1 - decay)
    for averaged, newest in zip(gan.average.buffers(), gan.generator.buffers(), strict=True):
        averaged.copy_(newest)


def _checked(record: StepRecord) -> StepRecord:
    if not (math.isfinite(record.discriminator_loss) and math.isfinite(record.generator_loss)):
        cause = f"a loss is not finite at step {record.step}"
        raise SanityError("GAN", cause, "pass another `out` and a lower `learning_rate`")
    return record


def _to_device(network: nn.Module, device: torch.device | str) -> nn.Module:
    network.to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]
