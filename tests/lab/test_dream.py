from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.lab.dream import DreamResult, dream, dream_image, total_variation
from deepfake_detect.models.classifier import ForgeryClassifier, create_model

SHORT: dict[str, Any] = {"octaves": 2, "steps": 4, "rate": 0.02, "jitter": 4, "show_progress": False}


@pytest.fixture(scope="module")
def network() -> ForgeryClassifier:
    torch.manual_seed(0)
    return create_model("test_resnet", image_size=64)


@pytest.fixture(scope="module")
def photo(portrait: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(portrait[:128:2, 96:256:2])  # (64, 80, 3)


def dreamt(network: ForgeryClassifier, **options: Any) -> DreamResult:
    return dream(network, layers={"layer3": 1.0}, **{**SHORT, **options})


def variation_of(image: np.ndarray) -> float:
    return float(total_variation(torch.from_numpy(image).permute(2, 0, 1)[None] / 255))


def test_the_chosen_layers_respond_more_strongly(network: ForgeryClassifier, photo: np.ndarray) -> None:
    for image in (photo, None):
        found = dream(network, layers={"layer2": 1.0, "layer3": 0.5}, image=image, **SHORT)
        for name, (start, end) in found.responses.items():
            assert end > 1.1 * start, name
    assert found.image.shape == (64, 64, 3)
    less = dreamt(network, image=photo, l2=0.0)
    other = dream(network, layers={"layer3": -1.0}, image=photo, **SHORT)
    assert other.responses["layer3"][1] < other.responses["layer3"][0] < less.responses["layer3"][1]


def test_the_same_seed_gives_the_same_image(network: ForgeryClassifier, photo: np.ndarray) -> None:
    for image in (photo, None):
        one, again, other = (dreamt(network, image=image, seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one.image, again.image)
        assert all(np.array_equal(*pair) for pair in zip(one.frames, again.frames, strict=True))
        assert (one.image != other.image).any()


def test_nothing_else_is_changed(network: ForgeryClassifier, photo: np.ndarray) -> None:
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, pixels = torch.get_rng_state(), photo.copy()
    dreamt(network, image=photo)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(one.training and not one._forward_hooks for one in network.modules())
    assert all(one.grad is None and one.requires_grad for one in network.parameters())
    np.testing.assert_array_equal(photo, pixels)


def test_the_continuity_term_lowers_total_variation(network: ForgeryClassifier, photo: np.ndarray) -> None:
    rough, smooth = (
        dreamt(network, image=photo, total_variation=weight, l2=0.0).image for weight in (0.0, 1000.0)
    )
    assert variation_of(smooth) < 0.7 * variation_of(rough)


def test_the_l2_term_pulls_to_mid_gray(network: ForgeryClassifier, photo: np.ndarray) -> None:
    free, held = (
        dreamt(network, image=photo, total_variation=0.0, l2=weight).image.astype(float)
        for weight in (0.0, 1000.0)
    )
    assert np.square(held - 127.5).mean() < 0.7 * np.square(free - 127.5).mean()


def test_frames_are_the_intermediate_images(network: ForgeryClassifier, photo: np.ndarray) -> None:
    found = dreamt(network, image=photo, frame_every=3)
    assert len(found.frames) == 1 + 8 // 3
    assert {frame.shape for frame in found.frames} == {(64, 80, 3)}
    np.testing.assert_array_equal(found.frames[0], photo)
    np.testing.assert_array_equal(dreamt(network, image=photo).frames[-1], found.image)
    assert dreamt(network, image=photo, frame_every=0).frames == ()


def test_detail_of_the_image_survives_the_octaves(network: ForgeryClassifier, photo: np.ndarray) -> None:
    """With almost no change the result is the image itself, not its smallest size enlarged."""
    found = dreamt(network, image=photo, rate=1e-6, octaves=4)
    assert np.abs(found.image.astype(int) - photo).mean() < 2


def test_vggs_layers_have_keras_names(photo: np.ndarray) -> None:
    torch.manual_seed(0)
    layers = {"block1_conv2": 1.0, "block2_conv2": 1.5}
    found = dream(create_model("vgg16"), layers=layers, image=photo, size=(32, 40), **SHORT)
    assert found.image.shape == (32, 40, 3)
    assert all(end > start for start, end in found.responses.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"octaves": 0}, "octaves: is 0; must be 1 or more"),
        ({"steps": 0}, "steps: is 0; must be 1 or more"),
        ({"jitter": -1}, "jitter: is -1; must be 0 or more"),
        ({"total_variation": -1.0}, "total_variation: is -1.0; must be 0 or more"),
        ({"l2": float("nan")}, "l2: is nan; must be 0 or more"),
        ({"octave_scale": 1.0}, "octave_scale: is 1.0; must be above 1"),
        ({"rate": float("inf")}, "rate: is inf; must be a finite number"),
        ({"l2": float("inf")}, "l2: is inf; must be a finite number"),
        ({"rate": 0.0}, "rate: is 0.0; must be above 0"),
        ({"frame_every": -1}, "frame_every: is -1"),
        ({"seed": -1}, "seed: is -1; must be at least 0 and below"),
        ({"size": (0, 5)}, "size: is 0 x 5; must be 1 pixel or more"),
    ],
)
def test_options_out_of_range_are_rejected(
    network: ForgeryClassifier, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        dreamt(network, **options)


def test_impossible_dreams_are_rejected(network: ForgeryClassifier, photo: np.ndarray) -> None:
    with pytest.raises(
        OptionError, match="test_resnet has none named 'block5_conv1'; must be one of conv1, layer1"
    ):
        dream(network, layers={"block5_conv1": 1.0})
    with pytest.raises(OptionError, match="layers: the weight of layer1 is nan; must be a finite number"):
        dream(network, layers={"layer1": float("nan")})
    with pytest.raises(OptionError, match="layers: no layer has a weight; name one or more"):
        dream(network, layers={"layer1": 0.0})
    with pytest.raises(ImageError, match="grayscale"):
        dreamt(network, image=photo[..., 0])
    with pytest.raises(OptionError, match="takes images of 1 channels; pass one that takes RGB images"):
        dream(create_model("small_cnn", in_chans=1), layers={"pool": 1.0})
    with pytest.raises(
        OptionError, match="is too small at its smallest size, 2 x 2 pixels .*; pass a larger"
    ):
        dream(create_model("vgg16"), layers={"block3_conv1": 1.0}, size=(3, 3), octaves=2)
    with pytest.raises(
        OptionError, match="test_vit takes only 160 x 160 pixels; pass `octaves` 1 and an image of"
    ):
        dream(create_model("test_vit"), layers={"blocks.3": 1.0}, octaves=2)


def test_a_transformer_dreams_at_its_own_size() -> None:
    torch.manual_seed(0)
    found = dream(create_model("test_vit"), layers={"blocks.3": 1.0}, octaves=1, steps=3, show_progress=False)
    assert found.image.shape == (160, 160, 3)
    assert found.responses["blocks.3"][1] > found.responses["blocks.3"][0]


def test_a_dream_needs_one_network(tmp_path: Path, small_detector: Path) -> None:
    for sources in ({}, {"backbone": "test_resnet", "detector": small_detector}):
        with pytest.raises(OptionError, match="backbone: or `detector` must be given, not both; pass one of"):
            dream_image(tmp_path, {"layer2": 1.0}, weights="random", **sources)  # type: ignore[arg-type]
