from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.weights import PUBLISHED_WEIGHTS
from deepfake_detect.records import CropGeometry

# One of each kind, small where the kind has a small one.
BACKBONES = {
    "facenet": 160,
    "vgg16": 64,
    "vgg19": 64,
    "resnet10t": 64,
    "mobilenetv2_100": 64,
    "mobilenetv3_small_050": 64,
    "test_vit": 160,
}


@pytest.mark.parametrize(("backbone", "size"), BACKBONES.items())
def test_the_contract_of_every_backbone(backbone: str, size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(backbone)
    images = torch.randn(2, 3, size, size)
    logits = model(images)
    assert logits.shape == (2,)  # one logit a crop
    logits.sum().backward()
    gradients = [parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradients)
    model.eval()
    save_detector(tmp_path / "d.safetensors", model, DetectorConfig("x", "1", model.spec, CropGeometry()))
    again, config = read_detector(tmp_path / "d.safetensors")
    assert config.model == model.spec
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_a_frozen_encoder_gets_no_gradient() -> None:
    model = create_model("resnet10t")
    model.encoder.requires_grad_(False)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.head.parameters())


def test_published_facts_of_the_networks() -> None:
    facenet, vgg = create_model("facenet"), create_model("vgg16")
    assert facenet.spec.preprocessing.image_size == 160
    # (x - 127.5) / 128, FaceNet's fixed standardisation
    low = (0 - facenet.spec.preprocessing.mean[0]) / facenet.spec.preprocessing.std[0]
    assert low == pytest.approx(-127.5 / 128)
    assert facenet.spec.dropout == 0.5
    assert facenet.head[1].in_features == 512
    assert vgg.head[1].in_features == 512
    assert sum(p.numel() for p in vgg.encoder.parameters()) == 14_714_688  # Keras' VGG16 without top


def test_facenet_takes_the_published_key_layout_and_drops_its_classifier(tmp_path: Path) -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(1)
    published = InceptionResnetV1(num_classes=8631, classify=True).eval()
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
    published = vgg16(weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "vgg16.pth")
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
        ({"backbone": "resnet18x"}, "'resnet18x' is neither facenet nor a timm model; did you mean resnet18"),
        (
            {"backbone": "facenet", "weights": "imagenet"},
            "none named 'imagenet'; pass vggface2, casia-webface",
        ),
        ({"backbone": "facenet", "backbone_options": {"a": 1}}, "FaceNet takes none"),
        ({"backbone": None}, "backbone: is a NoneType; pass its name"),
        ({"backbone": "resnet18.nonexistent"}, "timm cannot build 'resnet18.nonexistent'"),
        ({"backbone": "resnet10t", "image_size": -1}, "image_size: is -1"),
        ({"backbone": "vgg16", "image_size": 16}, "image_size: the network takes no input of 16 pixels"),
        ({"backbone": "resnet10t", "dropout": 1.5}, "dropout: is 1.5"),
        ({"backbone": "resnet10t", "backbone_options": {"nonsense": 1}}, "resnet10t refused"),
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


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a constructor went to the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    create_model("facenet")
    create_model("vgg19")


def test_every_published_hash_is_hexadecimal() -> None:
    for published in PUBLISHED_WEIGHTS.values():
        assert published.url.startswith("https://")
        assert published.sha256 is None or int(published.sha256, 16) >= 0
