from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepfake_detect.errors import CheckpointError, OptionError, WeightsError
from deepfake_detect.models.backbones import register_backbone
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.heads import register_head
from deepfake_detect.models.weights import PUBLISHED_WEIGHTS, preprocessing_hints
from deepfake_detect.records import CropGeometry, Preprocessing


def test_a_frozen_encoder_gets_no_gradient() -> None:
    model = create_model("resnet10t")
    model.encoder.requires_grad_(False)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.head.parameters())


def test_published_facts_of_the_networks() -> None:
    facenet, vgg = create_model("facenet"), create_model("vgg16")
    assert facenet.spec.preprocessing.image_size == 160
    # (x - 127.5) / 128, FaceNet's fixed standardization
    low = (0 - facenet.spec.preprocessing.mean[0]) / facenet.spec.preprocessing.std[0]
    assert low == pytest.approx(-127.5 / 128)
    assert facenet.spec.dropout == 0.5
    assert facenet.head[1].in_features == 512
    assert vgg.head[1].in_features == 512
    assert sum(p.numel() for p in vgg.encoder.parameters()) == 14_714_688  # Keras' VGG16 without top


@pytest.mark.parametrize("num_classes", [8631, 10575])  # VGGFace2's people, CASIA-WebFace's
def test_facenet_takes_the_published_key_layout_and_drops_its_classifier(
    num_classes: int, tmp_path: Path
) -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(1)
    published = InceptionResnetV1(num_classes=num_classes, classify=True).eval()
    torch.save(published.state_dict(), tmp_path / "vggface2.pt")
    model = create_model("facenet", weights=tmp_path / "vggface2.pt").eval()
    images = torch.randn(1, 3, 160, 160)
    published.classify = False
    with torch.inference_mode():
        embedding = published(images)  # scaled to length 1
        ours = model.encoder[0](images)
    torch.testing.assert_close(torch.nn.functional.normalize(ours), embedding)


def test_vgg_takes_torchvisions_key_layout(tmp_path: Path) -> None:
    from torchvision.models import vgg16

    torch.manual_seed(2)
    with torch.device("meta"):  # its classifier has 124 million weights, which are dropped anyway
        published = vgg16(weights=None).eval()
    published.features.to_empty(device="cpu").apply(
        lambda layer: layer.reset_parameters() if isinstance(layer, nn.Conv2d) else None
    )
    state = {
        name: tensor if name.startswith("features.") else torch.zeros(1)
        for name, tensor in published.state_dict().items()
    }
    torch.save(state, tmp_path / "vgg16.pth")
    model = create_model("vgg16", weights=tmp_path / "vgg16.pth").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.encoder(images), published.features(images).mean((2, 3)))


def test_weights_carry_their_preprocessing(tmp_path: Path) -> None:
    source = create_model("mobilenetv2_100", backbone_options={"pad_type": "same"})
    metadata = {
        "input_size": "[3,96,96]",
        "input_mean": "[0.5,0.5,0.5]",
        "input_std": json.dumps([0.25] * 3),
        "pad_type": "same",
    }
    state = {
        **source.encoder.state_dict(),
        "classifier.weight": torch.zeros(7, 1280),
        "classifier.bias": torch.zeros(7),
    }
    save_file(state, tmp_path / "w.safetensors", metadata=metadata)
    model = create_model("mobilenetv2_100", weights=tmp_path / "w.safetensors")
    assert model.spec.preprocessing.image_size == 96
    assert model.spec.preprocessing.std == (0.25, 0.25, 0.25)
    assert model.spec.backbone_options == {"pad_type": "same"}
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(model.eval().encoder(images), source.eval().encoder(images))


def test_preprocessing_may_be_written_without_brackets() -> None:
    plain = {"input_size": "224", "mean": "0.498,0.498,0.498", "std": "0.502,0.502,0.502"}
    assert preprocessing_hints(plain) == {"image_size": 224, "mean": (0.498,) * 3, "std": (0.502,) * 3}
    with pytest.raises(WeightsError, match="their metadata cannot be read"):
        preprocessing_hints({"input_size": ""})


def test_positions_of_another_input_size_are_resampled(tmp_path: Path) -> None:
    from timm.layers import resample_abs_pos_embed

    torch.manual_seed(0)
    source = create_model("test_vit", image_size=160).encoder
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    encoder = create_model("test_vit", weights=tmp_path / "w.safetensors", image_size=96).encoder
    expected = resample_abs_pos_embed(source.pos_embed, [6, 6])
    torch.testing.assert_close(encoder.pos_embed, expected, check_stride=False)
    assert torch.equal(encoder.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)


def test_the_names_of_other_publishers_are_translated(tmp_path: Path) -> None:
    """DINOv2's own files have a mask token that timm's network lacks."""
    source = create_model("vit_small_patch14_dinov2", image_size=28).encoder
    state = {**source.state_dict(), "mask_token": torch.zeros(1, 384)}
    torch.save(state, tmp_path / "dinov2_vits14.pth")
    model = create_model("vit_small_patch14_dinov2", weights=tmp_path / "dinov2_vits14.pth", image_size=28)
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], tensor), name


def test_weights_of_a_transformer_for_another_are_refused(tmp_path: Path) -> None:
    save_file(create_model("test_resnet").encoder.state_dict(), tmp_path / "w.safetensors")
    for backbone in ("test_vit", "test_convnext"):
        with pytest.raises(WeightsError, match=rf"does not fit {backbone}: \d+ missing"):
            create_model(backbone, weights=tmp_path / "w.safetensors")


def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    state = create_model("resnet10t").encoder.state_dict()
    save_file(state, tmp_path / "w.safetensors", metadata={"input_mean": "half"})
    with pytest.raises(WeightsError, match="their metadata cannot be read"):
        create_model("resnet10t", weights=tmp_path / "w.safetensors")


def test_weights_that_do_not_fit_are_refused_with_counts(tmp_path: Path) -> None:
    state = create_model("resnet10t").encoder.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit mobilenetv2_100: \d+ missing .*unexpected"):
        create_model("mobilenetv2_100", weights=tmp_path / "w.safetensors")
    name = next(name for name in state if name.endswith("weight"))
    save_file({**state, name: torch.zeros(1)}, tmp_path / "v.safetensors")
    with pytest.raises(WeightsError, match="1 of another shape"):
        create_model("resnet10t", weights=tmp_path / "v.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backbone": "resnet18x"},
            "'resnet18x' is neither facenet, .* nor a timm model; did you mean resnet18",
        ),
        ({"backbone": "vqzzzzk"}, "nor a timm model; list_backbones.. lists the names"),
        (
            {"backbone": "facenet", "weights": "imagenet"},
            "none named 'imagenet'; pass vggface2, casia-webface, a path",
        ),
        ({"backbone": "small_cnn", "weights": "pretrained"}, "none named 'pretrained'; pass a path"),
        ({"backbone": "facenet", "backbone_options": {"a": 1}}, "facenet does not take {'a': 1}"),
        ({"backbone": "facenet", "in_chans": 1}, "in_chans: facenet takes 3, got 1"),
        ({"backbone": "facenet", "pooling": "flatten"}, "facenet has none named flatten; choose avg"),
        (
            {"backbone": "test_resnet", "pooling": "max"},
            "'max' is unknown; must be one of avg, flatten",
        ),
        (
            {"backbone": "test_resnet", "head": "deep"},
            "'deep' is unknown; must be one of linear, dropout, l2, vgg",
        ),
        ({"backbone": "test_resnet", "num_classes": 0}, "num_classes: is 0; must be 1 or more"),
        ({"backbone": "test_resnet", "in_chans": 0}, "in_chans: is 0; must be 1 or more"),
        ({"backbone": "test_resnet", "head": "linear", "dropout": 0.2}, "the linear head has none"),
        ({"backbone": None}, "backbone: is a NoneType; pass its name"),
        ({"backbone": "resnet18.nonexistent"}, "timm cannot build 'resnet18.nonexistent'"),
        ({"backbone": "resnet10t", "image_size": -1}, "image_size: is -1"),
        ({"backbone": "vgg16", "image_size": 16}, "image_size: .* cannot process 16 pixels .*size is 32"),
        ({"backbone": "mesoinception4", "image_size": 31}, "cannot process 31 pixels .*size is 32"),
        ({"backbone": "test_vit", "image_size": 15}, "cannot process 15 pixels .*size is 16"),
        ({"backbone": "resnet10t", "dropout": 1.5}, "dropout: is 1.5"),
        ({"backbone": "test_vit", "backbone_options": {"global_pool": "x"}}, "timm cannot build 'test_vit'"),
        ({"backbone": "resnet10t", "backbone_options": {"nonsense": 1}}, "resnet10t does not take"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    backbone = options.pop("backbone")
    with pytest.raises(OptionError, match=message):
        create_model(backbone, **options)  # type: ignore[arg-type]


def test_transformers_take_other_sizes_and_come_back(tmp_path: Path) -> None:
    model = create_model("test_vit", image_size=96).eval()
    assert model.spec.preprocessing.image_size == 96
    save_detector(tmp_path / "d.safetensors", model, DetectorConfig("x", "1", model.spec, CropGeometry()))
    again, _ = read_detector(tmp_path / "d.safetensors")
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_weights_that_timm_cannot_have_name_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", refuse)
    message = r"timm resnet18: its weights cannot be downloaded \(no network\); pass a local path as weights"
    with pytest.raises(WeightsError, match=message):
        create_model("resnet18", weights="pretrained")


def test_in_chans_and_classes_are_those_asked_for() -> None:
    model = create_model("small_cnn", num_classes=10, in_chans=1, image_size=28).eval()
    assert model(torch.zeros(5, 1, 28, 28)).shape == (5, 10)
    gray = create_model("test_resnet", in_chans=1, image_size=64).eval()
    assert gray(torch.zeros(2, 1, 64, 64)).shape == (2,)
    assert gray.spec.in_chans == 1


def test_the_other_name_of_xception() -> None:
    with torch.device("meta"):
        model = create_model("xception")
    assert model.spec.backbone == "legacy_xception"


def test_flattened_features_are_of_one_size_and_averaged_ones_of_any() -> None:
    flattened = create_model("test_resnet", pooling="flatten", image_size=64).eval()
    averaged = create_model("test_resnet", pooling="avg", image_size=64).eval()
    small, large = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 80, 96)
    assert flattened(small).shape == averaged(small).shape == averaged(large).shape == (1,)
    height, width, channels = flattened.feature_shape(64, 64)
    assert flattened.features(small).shape == (1, height * width * channels)
    assert averaged.features(small).shape == (1, channels)
    message = "images: have 80 x 96 pixels, but flattened features are those of 64 x 64; .*pooling='avg'"
    with pytest.raises(OptionError, match=message):
        flattened(large)
    digits = create_model("small_cnn").eval()
    with pytest.raises(OptionError, match="of 28 x 28"):
        digits(small)


def test_a_flattened_network_comes_back(tmp_path: Path) -> None:
    model = create_model("test_resnet", pooling="flatten", head="vgg", image_size=64).eval()
    config = DetectorConfig("x", "1", model.spec, CropGeometry())
    save_detector(tmp_path / "d.safetensors", model, config)
    again, stored = read_detector(tmp_path / "d.safetensors")
    assert (stored.model.pooling, stored.model.head, stored.model.dropout) == ("flatten", "vgg", 0.5)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_weights_go_into_a_flattened_network_too(tmp_path: Path) -> None:
    source = create_model("test_resnet").encoder
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = create_model("test_resnet", weights=tmp_path / "w.safetensors", pooling="flatten")
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.encoder[0].state_dict()[name], tensor)


def test_asking_for_shapes_leaves_the_modes_of_layers_alone() -> None:
    model = create_model("test_resnet").train()
    model.encoder.layer1.eval()
    before = [layer.training for layer in model.modules()]
    model.feature_shape(64, 64)
    assert [layer.training for layer in model.modules()] == before


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a constructor went to the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    create_model("facenet")
    create_model("vgg19")


def test_published_hashes_are_those_torchvision_names() -> None:
    from torchvision import models

    for (backbone, name), published in PUBLISHED_WEIGHTS.items():
        if name == "imagenet":
            weights = models.get_model_weights(backbone)["IMAGENET1K_V1"]
            assert weights.url == published.url
            assert f"-{published.sha256}.pth" in weights.url


def test_every_published_hash_is_hexadecimal() -> None:
    for published in PUBLISHED_WEIGHTS.values():
        assert published.url.startswith("https://")
        assert published.sha256 is None or int(published.sha256, 16) >= 0


class Tiny(nn.Sequential):
    """A network that neither this library nor timm has."""

    def __init__(self, width: int = 4) -> None:
        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_module_becomes_a_classifier(tmp_path: Path) -> None:
    shown = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = create_model(Tiny(), preprocessing=shown, head="linear").eval()
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2,)
    assert [name for name, _ in model.blocks()] == ["0"]
    config = DetectorConfig("tiny", "1", model.spec, CropGeometry())
    save_detector(tmp_path / "d.safetensors", model, config)
    name = model.spec.backbone
    message = f"Tiny was passed as a module and cannot be built by name; .*register_backbone.'{name}', ...."
    with pytest.raises(CheckpointError, match=message):
        read_detector(tmp_path / "d.safetensors")
    register_backbone(name, Tiny, image_size=32)
    again, _ = read_detector(tmp_path / "d.safetensors")
    assert torch.equal(again(images), model(images))


def test_a_module_says_what_it_lacks() -> None:
    shown = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with pytest.raises(OptionError, match="preprocessing: is missing, and the module .*Tiny has none"):
        create_model(Tiny())
    with pytest.raises(OptionError, match="weights: cannot be used with the module .*Tiny; omit it"):
        create_model(Tiny(), preprocessing=shown, weights="x")
    with pytest.raises(OptionError, match=r"returns the shape \(N, 4, 30, 30\), not features \(N, F\)"):
        create_model(nn.Conv2d(3, 4, 3), preprocessing=shown)


def test_registered_parts_are_built_by_name() -> None:
    register_backbone("tiny_here", Tiny, image_size=16, dropout=0.25)
    register_head("two_layers", lambda features, classes, _: nn.Sequential(nn.Linear(features, classes)))
    model = create_model("tiny_here", head="two_layers", backbone_options={"width": 6})
    assert (model.spec.preprocessing.image_size, model.spec.dropout) == (16, 0.25)
    assert model.head[0].in_features == 6
    with pytest.raises(OptionError, match="backbone: 'facenet' is registered already"):
        register_backbone("facenet", Tiny, image_size=16)
    with pytest.raises(OptionError, match="backbone_options: tiny_here does not take {'depth': 3}"):
        create_model("tiny_here", backbone_options={"depth": 3})
