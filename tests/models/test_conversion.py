"""Anybody's checkpoint becomes a detector with the same logits, or an error that says what is missing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file
from torch import nn

from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, OptionError, WeightsError
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.conversion import convert_checkpoint, converted_detector, is_foreign
from deepfake_detect.models.options import ConversionOptions
from deepfake_detect.models.recognition import guess_network, recognize
from deepfake_detect.records import CropGeometry
from deepfake_detect.runtimes.load import load_crop_detector

TOLD: dict[str, Any] = {"fake_class": 1, "mean": (0.5,), "std": (0.5, 0.5, 0.25)}
State = dict[str, torch.Tensor]


def resnet(num_classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0)
    network.reset_classifier(num_classes)
    return network.eval()


def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output = network(images)
    return output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]


def converted(
    tmp_path: Path, content: object, network: str | None = "test_resnet", **options: Any
) -> nn.Module:
    """Convert what torch.save writes; return the detector's network."""
    torch.save(content, tmp_path / "best.pth")
    out = tmp_path / "detector.safetensors"
    convert_checkpoint(tmp_path / "best.pth", out, network=network, **{**TOLD, **options})
    return read_detector(out)[0]


def assert_same(network: nn.Module, theirs: nn.Module, size: int = 64, sign: float = 1) -> None:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(network(images), sign * logits_of(theirs, images), atol=1e-5)


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "net.", "encoder.", "backbone.", "module.model.net.", "my.own_name."]
)
def test_any_prefix_is_taken_off(tmp_path: Path, prefix: str) -> None:
    theirs = resnet()
    assert_same(converted(tmp_path, prefixed(theirs.state_dict(), prefix)), theirs)


@pytest.mark.parametrize("head", ["fc", "classifier", "last_linear.1", "module.head.0", "net.fc"])
def test_a_last_layer_of_any_name_is_found_by_its_shape(tmp_path: Path, head: str) -> None:
    theirs = resnet(1)
    state = {name: one for name, one in theirs.state_dict().items() if not name.startswith("fc.")}
    state = prefixed(state, "net.encoder.") | {
        f"{head}.{one}": getattr(theirs.fc, one) for one in ("weight", "bias")
    }
    assert_same(converted(tmp_path, state), theirs)


@pytest.mark.parametrize("num_classes", [1, 2])
def test_the_class_that_means_fake_gives_the_sign(tmp_path: Path, num_classes: int) -> None:
    theirs = resnet(num_classes)
    assert_same(converted(tmp_path, theirs.state_dict(), fake_class=1), theirs)
    assert_same(converted(tmp_path, theirs.state_dict(), fake_class=0), theirs, sign=-1)


def test_what_was_told_and_assumed_is_in_the_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = resnet().state_dict()
    content = {"state_dict": prefixed(state, "module.") | {"criterion.weight": torch.ones(2)}, "epoch": 3}
    torch.save(content, tmp_path / "best.ckpt")
    out = tmp_path / "detector.safetensors"
    told = ["--fake-class", "1", "--mean", "0.5", "--std", "0.5", "0.5", "0.25", "--image-size", "64"]
    command = [
        "convert-checkpoint",
        str(tmp_path / "best.ckpt"),
        "--as",
        "test_resnet",
        "--out",
        str(out),
        *told,
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "not calibrated yet" in printed
    assert "assumed: crops of 1.3 times the face box" in printed
    assert "dropped: epoch, criterion.weight" in printed
    model, config = read_detector(out)
    assert (config.name, config.version, config.is_calibrated) == ("best", "converted", False)
    assert model.spec.preprocessing.mean == (0.5, 0.5, 0.5)
    assert model.spec.preprocessing.std == (0.5, 0.5, 0.25)
    assert config.geometry == CropGeometry(1.3)
    convert_checkpoint(tmp_path / "best.ckpt", out, network="test_resnet", margin=2, **TOLD)
    assert read_detector(out)[1].geometry == CropGeometry(2)


@pytest.mark.parametrize("missing", ["fake_class", "mean", "std"])
def test_what_the_file_cannot_tell_is_asked_for(tmp_path: Path, missing: str) -> None:
    torch.save(resnet().state_dict(), tmp_path / "best.pth")
    told = {name: value for name, value in TOLD.items() if name != missing}
    with pytest.raises(
        OptionError, match=f"{missing}: is missing: best.pth contains test_resnet with two outputs"
    ):
        convert_checkpoint(tmp_path / "best.pth", tmp_path / "d.safetensors", network="test_resnet", **told)


def test_all_that_is_missing_is_named_in_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(resnet(1).state_dict(), tmp_path / "best.pth")
    out = ["--out", str(tmp_path / "d.safetensors")]
    assert main(["convert-checkpoint", str(tmp_path / "best.pth"), "--as", "test_resnet", *out]) == 2
    printed = capsys.readouterr().err
    assert "--fake-class: is missing, and so are --mean and --std" in printed
    assert "one output" in printed
    assert "published with 0.5 0.5 0.5" in printed


def test_metadata_tell_the_normalization(tmp_path: Path) -> None:
    theirs = resnet()
    metadata = {"input_mean": "[0, 0, 0]", "input_std": "[1, 1, 1]", "input_size": "[3, 96, 96]"}
    save_file(theirs.state_dict(), tmp_path / "w.safetensors", metadata)
    out = tmp_path / "detector.safetensors"
    done = convert_checkpoint(tmp_path / "w.safetensors", out, network="test_resnet", fake_class=1)
    assert done.is_detector
    preprocessing = read_detector(out)[1].model.preprocessing
    assert (preprocessing.image_size, preprocessing.mean) == (96, (0, 0, 0))


def cadene(num_classes: int = 2) -> tuple[nn.Module, State]:
    """Return an Xception, and its state dict with Cadene's names and the shapes of 2018."""
    torch.manual_seed(0)
    theirs = timm.create_model("legacy_xception", num_classes=num_classes).eval()
    state = {name.replace("fc.", "last_linear."): one for name, one in theirs.state_dict().items()}
    return theirs, {name: one[..., 0, 0] if "pointwise" in name else one for name, one in state.items()}


def test_an_xception_of_cadene_is_recognized(tmp_path: Path) -> None:
    theirs, state = cadene()
    state = prefixed(
        {name.replace("last_linear.", "last_linear.1."): one for name, one in state.items()}, "model."
    )
    assert guess_network(state) == "legacy_xception"
    assert_same(converted(tmp_path, state, network=None), theirs, size=96)


@pytest.fixture(scope="module")
def facenet() -> InceptionResnetV1:
    torch.manual_seed(0)
    return InceptionResnetV1(pretrained=None).eval()


@pytest.mark.parametrize(
    ("prefix", "head", "relu"),
    [("0.", "3.", True), ("module.0.", "module.1.", False), ("resnet.", "fc.", True)],
)
def test_a_facenet_with_a_last_layer_is_recognized(
    facenet: InceptionResnetV1, prefix: str, head: str, relu: bool
) -> None:
    last = nn.Linear(512, 2)
    state = prefixed(facenet.state_dict(), prefix) | prefixed(last.state_dict(), head)
    state[f"{prefix}logits.weight"] = torch.ones(1, 1)  # of the people it was trained to know
    found = recognize(state, ConversionOptions())
    assert found.spec.backbone == "facenet"
    assert found.dropped == (f"{prefix}logits.weight",)
    theirs = nn.Sequential(facenet, nn.ReLU() if relu else nn.Identity(), last)
    assert_same(found.build(found.spec.preprocessing, is_fake_positive=True), theirs, size=96)


def test_the_classifier_of_facenet_reads_its_features_unchanged(facenet: InceptionResnetV1) -> None:
    last = nn.Linear(512, 2)
    state = dict(facenet.state_dict()) | prefixed(last.state_dict(), "logits.")
    found = recognize(state, ConversionOptions())
    assert dict(found.spec.backbone_options) == {"normalize": False, "relu": False}
    assert torch.equal(found.tensors["head.bias"], last.bias[1:] - last.bias[:1])


def test_what_stands_between_facenet_and_its_last_layer_is_asked_for(facenet: InceptionResnetV1) -> None:
    state = prefixed(facenet.state_dict(), "0.") | prefixed(nn.Linear(512, 1).state_dict(), "2.")
    with pytest.raises(OptionError, match="activation: is missing: .* whether there is a ReLU"):
        recognize(state, ConversionOptions("facenet"))
    told = recognize(state, ConversionOptions("facenet", activation="relu"))
    assert dict(told.spec.backbone_options) == {"normalize": True, "relu": True}


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small"])
def test_networks_of_torchvision_are_recognized(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=2).eval()
    model = converted(tmp_path, theirs.state_dict(), network=name)
    assert model.spec.backbone == f"torchvision.{name}"
    assert_same(model, theirs, size=96)


def test_torchvision_is_a_backbone_by_name() -> None:
    model = create_model("torchvision.resnet18", dropout=0.1)
    assert model.spec.preprocessing.image_size == 224
    assert model.head[1].in_features == 512
    with pytest.raises(OptionError, match="torchvision.squeezenet1_0"):
        create_model("torchvision.squeezenet1_0")


def test_tensors_of_another_network_are_an_error(tmp_path: Path) -> None:
    state = resnet().state_dict()
    with pytest.raises(WeightsError, match="best.pth: its tensors do not fit resnet18: .* missing"):
        converted(tmp_path, state, network="resnet18")
    with pytest.raises(WeightsError, match="1 tensors that are not of test_resnet .*, such as proj.weight"):
        converted(tmp_path, state | {"proj.weight": torch.ones(1)})
    assert_same(converted(tmp_path, state | {"proj.weight": torch.ones(1)}, drop=("proj.",)), resnet())
    with pytest.raises(
        WeightsError, match="end in 1000 outputs .*this is not a detector; use it as the `weights`"
    ):
        converted(tmp_path, timm.create_model("test_resnet", num_classes=1000).state_dict())
    with pytest.raises(WeightsError, match="without a linear layer from its .* features"):
        converted(tmp_path, timm.create_model("test_resnet", num_classes=0).state_dict())
    with pytest.raises(WeightsError, match="contain several layers"):
        converted(tmp_path, state | {"other.weight": state["fc.weight"]})
    state["fc.bias"] = torch.tensor([torch.nan, 0])
    with pytest.raises(WeightsError, match=r"contain numbers that are not finite \(fc.bias\)"):
        converted(tmp_path, state)


def test_options_that_make_no_sense_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="mean: has 2 numbers; pass one, or one for each of RGB"):
        converted(tmp_path, resnet().state_dict(), mean=(0.5, 0.5))
    with pytest.raises(OptionError, match="fake_class: is 2; must be 0 to 1"):
        converted(tmp_path, resnet().state_dict(), fake_class=2)
    with pytest.raises(OptionError, match="backbone: 'no_network' is neither"):
        converted(tmp_path, resnet().state_dict(), network="no_network")
    with pytest.raises(OptionError, match="network: is missing: the file's 1 tensors"):
        converted(tmp_path, {"a.b": torch.ones(1)}, network=None)
    with pytest.raises(OptionError, match="must end in .safetensors"):
        convert_checkpoint(tmp_path / "best.pth", tmp_path / "d.pth")
    with pytest.raises(WeightsError, match="there is no such file"):
        convert_checkpoint(tmp_path / "absent.pth", tmp_path / "d.safetensors")
    converted(tmp_path, resnet().state_dict())
    with pytest.raises(WeightsError, match="is a detector already; pass it as `detector`"):
        convert_checkpoint(tmp_path / "detector.safetensors", tmp_path / "e.safetensors", **TOLD)


def meso4_of_deepfakebench() -> State:
    shapes = {"conv1": (8, 3, 3, 3), "conv2": (8, 8, 5, 5), "conv3": (16, 8, 5, 5), "conv4": (16, 16, 5, 5)}
    torch.manual_seed(0)
    state = {f"{name}.weight": torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    for name, width in (("bn1", 8), ("bn2", 16)):
        state |= prefixed(nn.BatchNorm2d(width).state_dict(), f"{name}.")
    state |= {"fc1.weight": torch.randn(16, 1024) * 0.1, "fc1.bias": torch.zeros(16)}
    return state | {"fc2.weight": torch.randn(2, 16), "fc2.bias": torch.zeros(2)}


def test_a_file_of_a_published_detector_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    torch.save(prefixed(meso4_of_deepfakebench(), "module.backbone."), tmp_path / "meso4_best.pth")
    assert is_foreign(tmp_path / "meso4_best.pth")
    detector = load_crop_detector(tmp_path / "meso4_best.pth", runtime="torch", device="cpu")
    assert not detector.config.is_calibrated
    assert detector.config.geometry.template == "arcface"
    assert detector.config.training.published is None  # its hash is not the authors'
    done = convert_checkpoint(tmp_path / "meso4_best.pth", tmp_path / "d.safetensors", fake_class=0)
    assert done.network == "deepfakebench-meso4"
    assert "of zoo:deepfakebench-meso4, whose layout it has (the license of" in done.assumed[0]
    again = converted_detector(tmp_path / "meso4_best.pth")
    assert again.is_relative_to(tmp_path / "cache")


def test_a_checkpoint_that_cannot_be_scored_with_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    _, state = cadene()
    torch.save(state, tmp_path / "x.pth")
    message = (
        "x.pth: is a checkpoint of another library: fake_class is missing.*legacy_xception.*convert-check"
    )
    with pytest.raises(CheckpointError, match=message):
        load_crop_detector(tmp_path / "x.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "m.p")
    with pytest.raises(CheckpointError, match="m.p: is a whole pickled model"):
        load_crop_detector(tmp_path / "m.p")


def test_weights_of_a_detector_can_be_fine_tuned_and_its_last_layer_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"net": prefixed(resnet().state_dict(), "module.")}, tmp_path / "w.pth")
    model = create_model("test_resnet", weights=tmp_path / "w.pth")
    state = model.encoder.state_dict()
    assert all(torch.equal(one, state[name]) for name, one in resnet(0).state_dict().items())
    assert "its last layer is left out; convert_checkpoint makes a detector with it" in caplog.text


def test_mesonets_of_pytorch_are_weights_of_our_backbones(tmp_path: Path) -> None:
    torch.save(OrderedDict(meso4_of_deepfakebench()), tmp_path / "best.pkl")
    model = create_model("meso4", weights=tmp_path / "best.pkl")
    assert torch.equal(model.encoder.project[1].weight, meso4_of_deepfakebench()["fc1.weight"])
    with pytest.raises(WeightsError, match="does not fit mesoinception4"):
        create_model("mesoinception4", weights=tmp_path / "best.pkl")
