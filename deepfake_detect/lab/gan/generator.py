"""Samples of a generator, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from deepfake_detect.errors import CheckpointError
from deepfake_detect.lab.gan.networks import create_gan
from deepfake_detect.lab.gan.scaling import from_tanh_range
from deepfake_detect.lab.gan.spec import GanSpec
from deepfake_detect.models.tensor_file import save_tensors

GENERATOR_NAME = "generator.safetensors"
# Independent random streams of a run: a step's values do not depend on what was sampled before it.
ORDER_STREAM, LATENT_STREAM, DROPOUT_STREAM, GRID_STREAM, SAMPLE_STREAM = range(5)
_FORMAT = "deepfake_detect.generator"
_SAMPLE_BATCH = 250


def random_stream(seed: int, stream: int, number: int) -> np.random.Generator:
    """Return the random generator of a stream for a step or an epoch."""
    return np.random.default_rng([seed, stream, number])


def sample_latent(
    count: int, size: int, seed: int, number: int, *, stream: int = SAMPLE_STREAM
) -> torch.Tensor:
    """Return latent vectors float32 (count, size), standard normal, that depend only on the arguments."""
    generator = torch.Generator().manual_seed(int(random_stream(seed, stream, number).integers(2**62)))
    return torch.randn(count, size, generator=generator)


@torch.no_grad()
def generate_images(generator: nn.Module, latent: torch.Tensor) -> np.ndarray:
    """Return a generator's images of latent vectors (N, Z): uint8 (N, S, S, C).

    The generator computes in evaluation mode and is left in the mode it was in.
    """
    was_training = generator.training
    generator.eval()
    pixels = from_tanh_range(generator(latent))
    generator.train(was_training)
    images: np.ndarray = np.ascontiguousarray(pixels.cpu().numpy().transpose(0, 2, 3, 1))
    return images


def sample_images(generator: nn.Module, spec: GanSpec, count: int, *, seed: int = 0) -> np.ndarray:
    """Return images of a trained generator, uint8 (count, S, S, C), the same for the same seed.

    Example:
        >>> spec = GanSpec("dense")
        >>> sample_images(create_gan(spec)[0], spec, 3).shape
        (3, 28, 28, 1)
    """
    device = next(generator.parameters()).device
    batches = []
    for number, first in enumerate(range(0, count, _SAMPLE_BATCH)):
        latent = sample_latent(min(_SAMPLE_BATCH, count - first), spec.latent_size, seed, number)
        batches.append(generate_images(generator, latent.to(device)))
    return np.concatenate(batches)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Return images (N, S, S, 1 or 3) with three channels."""
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def save_generator(path: Path, generator: nn.Module, spec: GanSpec) -> None:
    """Write a generator's weights with its description as safetensors, atomically."""
    save_tensors(path, generator.state_dict(), {"format": _FORMAT, "spec": json.dumps(asdict(spec))})


def read_generator(path: Path) -> tuple[nn.Module, GanSpec]:
    """Read a generator that :func:`save_generator` wrote, in evaluation mode on the CPU.

    Raises:
        CheckpointError: It is missing, damaged, or of another library.
    """
    if not path.is_file():
        raise CheckpointError(path, "there is no such file", f"pass the {GENERATOR_NAME} of a run")
    try:
        with safe_open(path, framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise CheckpointError(path, "contains no generator of this library", f"pass a {GENERATOR_NAME}")
        spec = GanSpec(**json.loads(metadata["spec"]))
        generator = create_gan(spec)[0]
        generator.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(path, f"cannot be read as a generator ({error})", "train it again") from error
    return generator.eval(), spec
