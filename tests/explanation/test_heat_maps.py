from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect import explain, load_detector
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.explanation.crops import explain_crops
from deepfake_detect.explanation.heat_maps import heat_maps, overlay
from deepfake_detect.explanation.options import METHODS, Method
from deepfake_detect.explanation.randomize import randomization_check
from deepfake_detect.models.checkpoint import DetectorConfig
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.models.layers import MapLayout, as_map, last_map_layer, named_layers, outputs_of
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.records import CropGeometry, Preprocessing

HALF = (0.5, 0.5, 0.5)


class _Spots(nn.Module):
    """Eight channels that are bright where the image's first channel is, or flat: no evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.weight[0, 0] = 1.0  # sees red
            self.look.weight[1, 1] = 1.0  # sees green
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.mean(self.look(images)).flatten(1)  # type: ignore[no-any-return]


def red_minus_green() -> ForgeryClassifier:
    """A network by hand: red speaks for fake, green for real."""
    model = ForgeryClassifier(ModelSpec("by hand", Preprocessing(32, HALF, HALF), head="linear"), _Spots())
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[1.0, -1.0]]))
        model.head.bias.zero_()
    return model


def red_and_green_squares() -> torch.Tensor:
    images = torch.zeros(2, 3, 32, 32)
    images[0, 0, 4:8, 20:24] = 1.0  # red
    images[0, 1, 24:28, 8:12] = 1.0  # green
    images[1, 0, 16:20, 12:16] = 0.1
    return images


@pytest.fixture(scope="module")
def convolutional() -> ForgeryClassifier:
    torch.manual_seed(0)
    return create_model("test_resnet", image_size=64)


@pytest.fixture(scope="module")
def transformer() -> ForgeryClassifier:
    torch.manual_seed(0)
    return create_model("test_vit")


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "scorecam"])
def test_the_one_place_that_drives_the_logit_lights_up(method: Method) -> None:
    maps = heat_maps(red_minus_green(), red_and_green_squares(), method=method, layer="look")
    assert np.unravel_index(maps[0].argmax(), (32, 32))[0] in range(4, 8)
    assert np.unravel_index(maps[0].argmax(), (32, 32))[1] in range(20, 24)
    assert maps[0, 5, 21] > 0.9
    assert maps[0, 16:, :16].max() < 0.05 or method == "scorecam"  # its weights are never negative
    assert maps[1, 17, 13] > 0.9, "a weak place counts in full: maps are relative"


def test_evidence_for_real_is_elsewhere() -> None:
    maps = heat_maps(red_minus_green(), red_and_green_squares(), target="real")
    assert maps[0, 25, 9] > 0.9
    assert maps[0, 5, 21] < 0.05
    assert not maps[1].any(), "nothing in the second image speaks for real"


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "scorecam"])
def test_shapes_and_ranges_of_a_convolutional_network(
    convolutional: ForgeryClassifier, noise: torch.Tensor, method: Method
) -> None:
    maps = heat_maps(convolutional, noise, method=method, show_progress=False)
    assert maps.shape == (3, 64, 64)
    assert maps.dtype == np.float32
    assert maps.min() == 0
    assert 0.9 < maps.max() <= 1
    again = heat_maps(convolutional, noise, method=method, show_progress=False)
    np.testing.assert_array_equal(maps, again)


@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_ranges_of_a_transformer(transformer: ForgeryClassifier, method: Method) -> None:
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    maps = heat_maps(transformer, images, method=method)
    assert maps.shape == (2, 160, 160)
    assert maps.min() >= 0
    assert maps.std(axis=(1, 2)).min() > 0.01
    for one, image in zip(maps, images, strict=True):
        alone = heat_maps(transformer, image[None], method=method)
        np.testing.assert_allclose(one, alone[0], atol=1e-4)


class _OneBlock(nn.Module):
    """One block of attention by hand: the token of the class looks at bright patches, and reads red."""

    global_pool = "token"

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.AvgPool2d(8)
        self.attention = nn.Module()
        self.attention.fused_attn = True  # type: ignore[assignment]
        self.attention.attn_drop = nn.Identity()
        self.scale = nn.Conv2d(1, 1, 1)  # a network has weights

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.patch_embed(images)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)  # (N, 16, 3)
        tokens = torch.cat([torch.zeros_like(patches[:, :1]), patches], 1)
        keys = tokens.sum(-1)[:, None, None].expand(-1, 1, 17, 17)
        seen = self.attention.attn_drop((4 * keys).softmax(-1)) @ tokens[:, None]  # type: ignore[operator]
        return seen[:, 0, 0, :1]  # type: ignore[no-any-return]


def test_attention_finds_the_patch_that_speaks_for_the_class() -> None:
    model = ForgeryClassifier(ModelSpec("by hand", Preprocessing(32, HALF, HALF), head="linear"), _OneBlock())
    with torch.no_grad():
        model.head.weight.fill_(1.0)
    images = torch.zeros(1, 3, 32, 32)
    images[0, 0, 8:16, 24:32] = 1.0  # red, in the second row and last column of patches
    images[0, 2, 24:32, 0:8] = 1.0  # blue is looked at as much, and says nothing
    maps = heat_maps(model, images, method="attention")
    assert maps[0, 12, 28] > 0.95
    assert maps[0, 28, 4] < 0.05
    assert not heat_maps(model, images, method="attention", target="real")[0, 12, 28] > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was(method: Method) -> None:
    torch.manual_seed(0)
    model = create_model("test_vit").train()
    model.encoder.blocks[0].eval()  # type: ignore[union-attr, index]
    model.head.requires_grad_(False)
    model.encoder.norm.weight.grad = torch.ones(64)  # type: ignore[union-attr]
    before = copy.deepcopy(model)
    heat_maps(model, torch.randn(1, 3, 160, 160), method=method)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name]), name
    for (name, one), (_, other) in zip(model.named_modules(), before.named_modules(), strict=True):
        assert one.training == other.training, name
        assert not one._forward_hooks, name
        assert getattr(one, "fused_attn", None) == getattr(other, "fused_attn", None), name
    for (name, weight), (_, other_weight) in zip(
        model.named_parameters(), before.named_parameters(), strict=True
    ):
        assert weight.requires_grad == other_weight.requires_grad, name
        assert (weight.grad is None) == (name != "encoder.norm.weight"), name
    assert model.encoder.norm.weight.grad.eq(1).all()  # type: ignore[union-attr]


def test_the_network_is_left_as_it_was_when_it_fails(convolutional: ForgeryClassifier) -> None:
    convolutional.train()
    with pytest.raises(OptionError, match="not a map"):
        heat_maps(convolutional, torch.zeros(1, 3, 64, 64), layer="global_pool")
    assert all(one.training and not one._forward_hooks for one in convolutional.modules())
    assert all(one.requires_grad for one in convolutional.parameters())


@pytest.mark.parametrize(
    ("backbone", "size", "layer"),
    [
        ("small_cnn", 28, "pool"),
        ("mesoinception4", 64, "layers"),
        ("facenet", 160, "block8"),
        ("vgg16", 64, "features"),
        ("mobilenetv2_100", 64, "bn2"),
        ("convnext_atto", 64, "stages"),
        ("test_vit", None, "blocks.5.norm1"),
    ],
)
def test_the_last_map_is_found(backbone: str, size: int | None, layer: str) -> None:
    model = create_model(backbone, image_size=size).eval()
    side = model.spec.preprocessing.image_size
    assert last_map_layer(model, torch.zeros(1, 3, side, side)) == layer


def test_several_classes_are_explained_one_by_one() -> None:
    torch.manual_seed(0)
    digits = create_model("small_cnn", num_classes=10, in_chans=1, image_size=28)
    images = torch.rand(2, 1, 28, 28)
    one, other = (heat_maps(digits, images, target=number, method="gradcam++") for number in (1, 7))
    assert one.shape == (2, 28, 28)
    assert np.abs(one - other).max() > 0.05
    with pytest.raises(
        OptionError, match="'fake' is not a target of this model; must be the index of a class, 0 to 9"
    ):
        heat_maps(digits, images)


def test_each_crop_of_a_sequence_has_its_map() -> None:
    torch.manual_seed(0)
    model = create_sequence_model("test_resnet", hidden=16, image_size=64, num_frames=4)
    images = torch.randn(4, 3, 64, 64)
    maps = heat_maps(model, images, method="gradcam++")
    assert maps.shape == (4, 64, 64)
    other = images.clone()
    other[3] = 0
    changed = np.abs(heat_maps(model, other, method="gradcam++")[0] - maps[0]).max()
    assert changed > 1e-4, "the logit, and so the first crop's evidence, is that of the whole"
    with pytest.raises(OptionError, match="scorecam explains single crops; choose gradcam"):
        heat_maps(model, images, method="scorecam")


def test_what_is_asked_for_must_be_there(convolutional: ForgeryClassifier, noise: torch.Tensor) -> None:
    with pytest.raises(OptionError, match="method: 'cam' is unknown; must be one of gradcam, "):
        heat_maps(convolutional, noise, method="cam")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="none named 'layer9'; must be one of conv1, layer1, "):
        heat_maps(convolutional, noise, layer="layer9")
    with pytest.raises(OptionError, match="attention reads all blocks"):
        heat_maps(convolutional, noise, method="attention", layer="layer4")
    with pytest.raises(OptionError, match="has no attention over the whole image; must be gradcam"):
        heat_maps(convolutional, noise, method="attention")
    with pytest.raises(OptionError, match=r"have the shape \(3, 1, 64, 64\); pass one or more images \(N, 3"):
        heat_maps(convolutional, noise[:, :1])
    with pytest.raises(OptionError, match="target: 3 is not a target of this model; must be fake or real"):
        heat_maps(convolutional, noise, target=3)


def test_a_network_without_a_map_is_refused() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    model = ForgeryClassifier(ModelSpec("flat", Preprocessing(2, HALF, HALF)), encoder)
    with pytest.raises(OptionError, match="flat has none with a map; pass the name of a layer"):
        heat_maps(model, torch.zeros(1, 3, 2, 2))


def test_tokens_and_channels_last_become_maps() -> None:
    tokens = torch.arange(1 + 6).float().view(1, 7, 1)
    grid = as_map(tokens, MapLayout((2, 3), False))
    assert grid[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert as_map(torch.zeros(1, 64, 5), MapLayout((2, 3), False)).shape == (1, 5, 8, 8)
    assert as_map(torch.zeros(1, 7, 7, 5), MapLayout((0, 0), True)).shape == (1, 5, 7, 7)
    assert as_map(torch.zeros(1, 5, 7, 7), MapLayout((0, 0), True)).shape == (1, 5, 7, 7)
    with pytest.raises(OptionError, match="40 x 5 values per image, not a map; choose"):
        as_map(torch.zeros(1, 40, 5), MapLayout((2, 3), False))


def test_a_layer_off_the_way_is_refused(convolutional: ForgeryClassifier, noise: torch.Tensor) -> None:
    model = copy.deepcopy(convolutional)
    model.encoder.unused = nn.Linear(1, 1)
    with pytest.raises(OptionError, match="'unused' returns no tensor"):
        outputs_of(model, ["layer1", "unused"], noise)
    assert "layer1.0.conv2" in named_layers(model)


def test_an_overlay_is_a_picture_of_the_crop(portrait: np.ndarray) -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[0, 0] = 1
    laid = overlay(portrait, heat, alpha=0.5)
    assert laid.shape == portrait.shape
    assert laid.dtype == np.uint8
    warmer = laid.astype(int) - overlay(portrait, np.zeros((7, 7)), alpha=0.5)
    assert warmer[:40, :40, 0].mean() > 20
    assert not warmer[200:].any()
    np.testing.assert_array_equal(overlay(portrait, heat, alpha=0), portrait)
    with pytest.raises(OptionError, match=r"alpha: is 1.5; must be 0 to 1"):
        overlay(portrait, heat, alpha=1.5)
    with pytest.raises(ImageError, match="heat map: is not"):
        overlay(portrait, 2 * heat)
    with pytest.raises(ImageError, match="grayscale"):
        overlay(portrait[..., 0], heat)


def scorer_of(model: ForgeryClassifier) -> TorchDetector:
    return TorchDetector(
        model, DetectorConfig("x", "1", model.spec, CropGeometry()), device=torch.device("cpu")
    )


def test_crops_are_explained_as_they_are_scored(portrait: np.ndarray) -> None:
    torch.manual_seed(0)
    scorer = scorer_of(create_model("test_resnet", image_size=64))
    crops = [portrait[:300, 100:350], portrait[40:240, 120:320]]
    found = explain_crops(scorer, crops, show_progress=False)
    assert [one.index for one in found] == [0, 1]
    assert [one.fake_probability for one in found] == scorer.score_crops(crops).tolist()
    assert found[0].overlay.shape == (300, 250, 3)
    assert found[0].heat_map.shape == (64, 64)
    np.testing.assert_array_equal(found[1].crop, crops[1])
    with pytest.raises(ImageError, match="crop 1: has the shape"):
        explain_crops(scorer, [crops[0], crops[0][..., 0]])
    with pytest.raises(ImageError, match="crops: is empty"):
        explain_crops(scorer, [])


def test_of_a_long_sequence_those_looked_at_are_explained(portrait: np.ndarray) -> None:
    torch.manual_seed(0)
    scorer = scorer_of(create_sequence_model("test_resnet", hidden=8, image_size=64, num_frames=3))
    crops = [portrait[number : 200 + number, 100:300] for number in range(7)]
    found = explain_crops(scorer, crops)
    assert [one.index for one in found] == [0, 3, 6]
    assert {one.fake_probability for one in found} == {scorer.score_sequence(crops)}


def trained_on_squares() -> ForgeryClassifier:
    """A tiny network that tells a red square from a green one."""
    torch.manual_seed(0)
    model = create_model("small_cnn", image_size=32, pooling="avg", backbone_options={"map_dropout": 0.0})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(45):
        images, labels = squares(32, seed=step)
        loss = nn.functional.binary_cross_entropy_with_logits(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def squares(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A red or green square among squares of blue, which any network answers to, over noise."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.rand(count, 3, 32, 32, generator=generator)
    labels = torch.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        cells = torch.randperm(16, generator=generator)[:6].tolist()
        for channel, cell in zip([2, 2, 2, 2, 2, 0 if label else 1], cells, strict=True):
            top, left = cell // 4 * 8, cell % 4 * 8
            image[channel, top : top + 7, left : left + 7] = 1.0
    return images, labels.float()


def test_maps_of_a_trained_network_change_with_its_weights() -> None:
    model = trained_on_squares()
    images, labels = squares(16, seed=99)
    with torch.no_grad():
        assert ((model(images) > 0) == (labels > 0)).float().mean() > 0.95
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    check = randomization_check(model, images[labels == 1], seed=1)
    assert check.maps_changed
    assert [one.layer for one in check.layers] == [
        "head", "project", "layers.2", "layers.1", "layers.0"
    ]  # fmt: skip
    assert all(one.lowest <= one.mean <= one.highest for one in check.layers)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert check == randomization_check(model, images[labels == 1], seed=1)
    # Grad-CAM++ takes no negative weights, and shows every bright square whatever was learned.
    assert randomization_check(model, images[labels == 1], seed=1, method="gradcam++").mean > check.mean + 0.3


def test_maps_that_ignore_the_weights_are_found_out() -> None:
    """One weight of one value each: shuffling changes nothing, as with maps that only show edges."""
    encoder = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    spec = ModelSpec("one", Preprocessing(8, HALF, HALF), in_chans=1, head="linear")
    model = ForgeryClassifier(spec, _Plain(encoder))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1.0)
    check = randomization_check(model, torch.rand(2, 1, 8, 8))
    assert not check.maps_changed
    assert check.layers[-1].mean == pytest.approx(1)
    with pytest.raises(OptionError, match="seed: is -1"):
        randomization_check(model, torch.rand(2, 1, 8, 8), seed=-1)


class _Plain(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


def test_a_detector_without_layers_is_rejected(small_onnx: Path) -> None:
    detector = load_detector(small_onnx)
    with pytest.raises(OptionError, match="is an export, which has no maps; load the detector.safetensors"):
        explain_crops(detector, [np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(OptionError, match="detector: is an export, which has no maps"):
        explain(["x.mp4"], detector=detector)


def test_a_detector_in_onnx_is_explained_in_pytorch(small_detector: Path) -> None:
    crops = [np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)]
    found, wanted = (
        explain_crops(
            load_detector(small_detector, runtime=runtime, device="cpu"), crops, show_progress=False
        )
        for runtime in ("auto", "torch")
    )
    np.testing.assert_allclose(found[0].heat_map, wanted[0].heat_map, atol=1e-6)
