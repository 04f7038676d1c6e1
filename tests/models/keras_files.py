"""Keras files of Meso4 with random weights, as its authors publish them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

Layers = dict[str, dict[str, np.ndarray]]
MESO4_SHAPES: dict[str, tuple[int, ...]] = {
    "conv2d_9": (3, 3, 3, 8),
    "conv2d_10": (5, 5, 8, 8),
    "conv2d_11": (5, 5, 8, 16),
    "conv2d_12": (5, 5, 16, 16),
    **{f"batch_normalization_{n}": (width,) for n, width in ((9, 8), (10, 8), (11, 16), (12, 16))},
    "dense": (1024, 16),
    "dense_1": (16, 1),
}


def keras_layers(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]]) -> Layers:
    """Return random tensors of layers whose kernels have these shapes."""
    layers: Layers = {}
    for name, shape in shapes.items():
        if name.startswith("batch"):
            names = ("gamma:0", "beta:0", "moving_mean:0")
            layers[name] = {one: rng.normal(size=shape).astype(np.float32) for one in names}
            layers[name]["moving_variance:0"] = rng.uniform(0.1, 2, shape).astype(np.float32)
        else:
            layers[name] = {
                "kernel:0": (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32),
                "bias:0": rng.normal(size=shape[-1]).astype(np.float32),
            }
    return layers


def write_keras(path: Path, layers: Layers) -> Path:
    """Write layers as Keras does."""
    with h5py.File(path, "w") as file:
        for layer, tensors in layers.items():
            for name, values in tensors.items():
                file[f"{layer}/{layer}/{name}"] = values
    return path


def write_meso4(path: Path, *, seed: int = 0) -> Path:
    """Write a Meso4 with random weights."""
    return write_keras(path, keras_layers(np.random.default_rng(seed), MESO4_SHAPES))
