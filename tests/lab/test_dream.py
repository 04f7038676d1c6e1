from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.lab.dream import DreamResult, dream, total_variation
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


def test_the_chosen_layers_answer_more_strongly(network: ForgeryClassifier, photo: np.ndarray) -> None:
    for image in (photo, None):
        found = dream(network, layers={"layer2": 1.0, "layer3": 0.5}, image=image, **SHORT)
        for name, (start, end) in found.answers.items():
            assert end > 1.1 * start, name
    assert found.image.shape == (64, 64, 3)
    less = dreamt(network, image=photo, l2=0.0)
    other = dream(network, layers={"layer3": -1.0}, image=photo, **SHORT)
    assert other.answers["layer3"][1] < other.answers["layer3"][0] < less.answers["layer3"][1]


def test_a_seed_gives_one_picture(network: ForgeryClassifier, photo: np.ndarray) -> None:
    for image in (photo, None):
        one, again, other = (dreamt(network, image=image, seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one.image, again.image)
        assert all(np.array_equal(*pair) for pair in zip(one.frames, again.frames, strict=True))
        assert (one.image != other.image).any()


def test_nothing_else_is_touched(network: ForgeryClassifier, photo: np.ndarray) -> None:
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


def test_frames_show_the_way(network: ForgeryClassifier, photo: np.ndarray) -> None:
    found = dreamt(network, image=photo, frame_every=3)
    assert len(found.frames) == 1 + 8 // 3
    assert {frame.shape for frame in found.frames} == {(64, 80, 3)}
    np.testing.assert_array_equal(found.frames[0], photo)
    np.testing.assert_array_equal(dreamt(network, image=photo).frames[-1], found.image)
    assert dreamt(network, image=photo, frame_every=0).frames == ()


def test_detail_of_the_image_survives_the_octaves(network: ForgeryClassifier, photo: np.ndarray) -> None:
    """Nearly no change asked: what comes out is the image, not what is left of its smallest size."""
    found = dreamt(network, image=photo, rate=1e-6, octaves=4)
    assert np.abs(found.image.astype(int) - photo).mean() < 2


def test_vggs_layers_have_keras_names(photo: np.ndarray) -> None:
    torch.manual_seed(0)
    layers = {"block1_conv2": 1.0, "block2_conv2": 1.5}
    found = dream(create_model("vgg16"), layers=layers, image=photo, size=(32, 40), **SHORT)
    assert found.image.shape == (32, 40, 3)
    assert all(end > start for start, end in found.answers.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"octaves": 0}, "octaves: is 0; pass 1 or more"),
        ({"steps": 0}, "steps: is 0; pass 1 or more"),
        ({"jitter": -1}, "jitter: is -1; pass 0 or more"),
        ({"total_variation": -1.0}, "total_variation: is -1.0; pass 0 or more"),
        ({"l2": float("nan")}, "l2: is nan; pass 0 or more"),
        ({"octave_scale": 1.0}, "octave_scale: is 1.0; pass a number above 1"),
        ({"rate": float("inf")}, "rate: is inf"),
        ({"l2": float("inf")}, "l2: is inf"),
        ({"rate": 0.0}, "rate: is 0.0; pass a number above 0"),
        ({"frame_every": -1}, "frame_every: is -1"),
        ({"seed": -1}, r"seed: is -1; pass 0 up to below 2\*\*32"),
        ({"size": (0, 5)}, "size: is 0 x 5; pass 1 pixel or more"),
    ],
)
def test_options_out_of_range_are_refused(
    network: ForgeryClassifier, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        dreamt(network, **options)


def test_what_cannot_be_dreamt_is_refused(network: ForgeryClassifier, photo: np.ndarray) -> None:
    with pytest.raises(OptionError, match="test_resnet has none named 'block5_conv1'; choose conv1, layer1"):
        dream(network, layers={"block5_conv1": 1.0})
    with pytest.raises(OptionError, match="layers: layer1 weighs nan; pass numbers"):
        dream(network, layers={"layer1": float("nan")})
    with pytest.raises(OptionError, match="layers: none is named with a weight"):
        dream(network, layers={"layer1": 0.0})
    with pytest.raises(ImageError, match="grayscale"):
        dreamt(network, image=photo[..., 0])
    with pytest.raises(OptionError, match="reads 1 channels; pass one of RGB images"):
        dream(create_model("small_cnn", in_chans=1), layers={"pool": 1.0})
    with pytest.raises(
        OptionError, match="of 2 x 2 pixels at its smallest runs out of them .*; pass a larger"
    ):
        dream(create_model("vgg16"), layers={"block3_conv1": 1.0}, size=(3, 3), octaves=2)
    with pytest.raises(OptionError, match="test_vit takes 160 x 160 pixels alone; pass octaves 1 and size"):
        dream(create_model("test_vit"), layers={"blocks.3": 1.0}, octaves=2)


def test_a_transformer_dreams_at_its_own_size() -> None:
    torch.manual_seed(0)
    found = dream(create_model("test_vit"), layers={"blocks.3": 1.0}, octaves=1, steps=3, show_progress=False)
    assert found.image.shape == (160, 160, 3)
    assert found.answers["blocks.3"][1] > found.answers["blocks.3"][0]
