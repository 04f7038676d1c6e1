from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from deepfake_detect.errors import SanityError
from deepfake_detect.lab.gan.spec import GanLoss, GanSpec
from deepfake_detect.lab.gan.step import Gan, StepRecord, gan_step, prepare_gan


def small_gan(arch: str = "conv", *, decay: float = 0.0, latent_size: int = 4) -> Gan:
    torch.manual_seed(3)
    size, channels = (64, 3) if arch == "dcgan" else (8, 1)
    spec = GanSpec(arch, latent_size, size, channels, arch == "dcgan")  # type: ignore[arg-type]
    return prepare_gan(spec, learning_rates=(1e-2, 1e-2), betas=(0.5, 0.999), average_decay=decay)


def batch_for(gan: Gan, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    side = gan.spec.image_size
    real = 2 * torch.rand(count, gan.spec.channels, side, side, generator=generator) - 1
    return real, torch.randn(count, gan.spec.latent_size, generator=generator)


def advance(gan: Gan, real: torch.Tensor, latent: torch.Tensor, **options: Any) -> StepRecord:
    """Take a step in place."""
    after, record = gan_step(gan, real, latent, in_place=True, **options)
    assert after is gan
    return record


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


@pytest.mark.usefixtures("narrow_dcgan")
@pytest.mark.parametrize("arch", ["dense", "conv", "dcgan"])
def test_a_step_depends_on_its_arguments_alone(arch: str) -> None:
    found = []
    for globally in (5, 6):
        gan = small_gan(arch)
        torch.manual_seed(globally)
        before = torch.get_rng_state()
        record = advance(gan, *batch_for(gan), step=1, seed=9)
        assert torch.equal(torch.get_rng_state(), before)
        found.append((record, weights(gan.generator) + weights(gan.discriminator)))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(one, other) for one, other in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.usefixtures("narrow_dcgan")
@pytest.mark.parametrize("arch", ["dense", "conv", "dcgan"])
def test_a_step_changes_nothing_that_it_is_given(arch: str) -> None:
    gan = small_gan(arch, decay=0.9)
    advance(gan, *batch_for(gan), step=1)  # so that the optimizers have a state
    real, latent = batch_for(gan)
    given, before = (real.clone(), latent.clone()), copy.deepcopy(gan.state_dict())
    after, record = gan_step(gan, real, latent, step=2, seed=9)
    assert torch.equal(real, given[0])
    assert torch.equal(latent, given[1])
    assert_equal(gan.state_dict(), before)
    again, same_record = gan_step(gan, real, latent, step=2, seed=9)
    assert record == same_record
    assert_equal(after.state_dict(), again.state_dict())
    assert any(
        (one != other).any()
        for one, other in zip(*map(weights, (after.generator, gan.generator)), strict=True)
    )
    # The step in place is the same one, and the result can take the next.
    assert advance(gan, real, latent, step=2, seed=9) == record
    assert_equal(gan.state_dict(), after.state_dict())
    assert gan_step(after, real, latent, step=3)[1] == advance(gan, real, latent, step=3)


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_dropout_depends_on_the_seed() -> None:
    losses = []
    for seed in (1, 2):
        gan = small_gan("conv")
        losses.append(advance(gan, *batch_for(gan), step=1, seed=seed).discriminator_loss)
    assert losses[0] != losses[1]


def test_the_discriminator_takes_a_step_on_each_part_of_the_reals() -> None:
    gan, twin = small_gan("dense"), small_gan("dense")
    real, latent = batch_for(gan, count=6)
    record = advance(gan, real, latent[:2], step=1)
    losses = []
    fakes = twin.generator(latent[:2]).detach()
    for part in (real[:2], real[2:4], real[4:]):
        on_real, on_fake = twin.discriminator(part), twin.discriminator(fakes)
        loss = (nn.functional.softplus(-on_real).mean() + nn.functional.softplus(on_fake).mean()) / 2
        losses.append(loss.item())
        twin.discriminator_optimizer.zero_grad()
        loss.backward()
        twin.discriminator_optimizer.step()
    assert record.discriminator_loss == pytest.approx(losses[0])  # before any change
    for mine, theirs in zip(weights(gan.discriminator), weights(twin.discriminator), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_losses_and_gradients_are_those_of_the_papers(loss: GanLoss) -> None:
    """A slow twin with plain formulas and gradient descent in place of Adam."""
    gan, twin = small_gan("dense"), small_gan("dense")
    for one, network in (
        ("generator_optimizer", gan.generator),
        ("discriminator_optimizer", gan.discriminator),
    ):
        setattr(gan, one, torch.optim.SGD(network.parameters(), lr=0.1))
    real, latent = batch_for(gan)
    record = advance(gan, real, latent, step=1, loss=loss)

    fake = twin.generator(latent)
    on_real, on_fake = twin.discriminator(real), twin.discriminator(fake.detach())
    if loss == "bce":
        probability_real, probability_fake = torch.sigmoid(on_real), torch.sigmoid(on_fake)
        loss_d = -(torch.log(probability_real).mean() + torch.log(1 - probability_fake).mean()) / 2
    else:
        loss_d = (torch.clamp(1 - on_real, min=0).mean() + torch.clamp(1 + on_fake, min=0).mean()) / 2
    by_hand = torch.autograd.grad(loss_d, list(twin.discriminator.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(twin.discriminator.parameters(), by_hand, strict=True):
            weight -= 0.1 * gradient
    logits = twin.discriminator(fake)
    loss_g = -torch.log(torch.sigmoid(logits)).mean() if loss == "bce" else -logits.mean()
    by_hand = torch.autograd.grad(loss_g, list(twin.generator.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(twin.generator.parameters(), by_hand, strict=True):
            weight -= 0.1 * gradient

    assert record.discriminator_loss == pytest.approx(float(loss_d.detach()), abs=1e-6)
    assert record.generator_loss == pytest.approx(float(loss_g.detach()), abs=1e-6)
    assert record.accuracy_on_real == pytest.approx(float((on_real > 0).float().mean()))
    assert record.accuracy_on_fake == pytest.approx(float((on_fake < 0).float().mean()))
    assert record.accuracy == (record.accuracy_on_real + record.accuracy_on_fake) / 2
    for ours, theirs in ((gan.generator, twin.generator), (gan.discriminator, twin.discriminator)):
        for one, other in zip(weights(ours), weights(theirs), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_losses_at_chance() -> None:
    for loss, expected in (("bce", math.log(2)), ("hinge", 1.0)):
        gan = small_gan("dense")
        for parameter in gan.discriminator.parameters():
            nn.init.zeros_(parameter)
        record = advance(gan, *batch_for(gan), step=1, loss=loss)  # type: ignore[arg-type]
        assert record.discriminator_loss == pytest.approx(expected)


def test_the_discriminator_learns_real_as_one() -> None:
    gan = small_gan("dense")
    real, latent = torch.ones(8, 1, 8, 8), torch.zeros(8, 4)
    for number in range(1, 4):
        gan.generator.load_state_dict(small_gan("dense").generator.state_dict())  # it is frozen
        record = advance(gan, real, latent, step=number)
    assert record.accuracy_on_real == record.accuracy_on_fake == 1
    assert (gan.discriminator(real) > 0).all()
    assert (gan.discriminator(small_gan("dense").generator(latent)) < 0).all()


def test_the_average_follows_the_generator() -> None:
    gan = small_gan("dense", decay=0.9)
    expected = [value.clone() for value in gan.generator.parameters()]
    for number in range(1, 4):
        advance(gan, *batch_for(gan), step=number)
        decay = min(0.9, number / (number + 10))
        new = list(gan.generator.parameters())
        expected = [decay * old + (1 - decay) * one for old, one in zip(expected, new, strict=True)]
    for one, other in zip(gan.average.parameters(), expected, strict=True):
        torch.testing.assert_close(one, other.detach())
    assert small_gan("dense").average is not None


@pytest.mark.usefixtures("narrow_dcgan")
def test_the_average_copies_batch_statistics() -> None:
    gan = small_gan("dcgan", decay=0.9)
    advance(gan, *batch_for(gan, 2), step=1)
    for one, other in zip(gan.average.buffers(), gan.generator.buffers(), strict=True):
        assert torch.equal(one, other)


def test_bf16_computes_in_it_and_keeps_weights_in_float32() -> None:
    plain, half = (small_gan("conv") for _ in range(2))
    records = [advance(gan, *batch_for(gan), step=1, bf16=gan is half) for gan in (plain, half)]
    assert records[0].generator_loss != records[1].generator_loss
    assert records[0].generator_loss == pytest.approx(records[1].generator_loss, rel=0.05)
    assert {parameter.dtype for parameter in half.generator.parameters()} == {torch.float32}


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    gan = small_gan("dense")
    real, latent = batch_for(gan)
    with pytest.raises(SanityError, match="GAN: a loss is not finite at step 7; pass another `out`"):
        advance(gan, real * math.nan, latent, step=7)
