"""FaceNets of Keras files become those of facenet-pytorch, with the same outputs."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torch import nn

from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.conversion import convert_checkpoint

_BRANCHES = {
    "Block35": (5, "repeat_1", [["Conv2d_1x1"], ["0a_1x1", "0b_3x3"], ["0a_1x1", "0b_3x3", "0c_3x3"]]),
    "Block17": (10, "repeat_2", [["Conv2d_1x1"], ["0a_1x1", "0b_1x7", "0c_7x1"]]),
    "Block8": (5, "repeat_3", [["Conv2d_1x1"], ["0a_1x1", "0b_1x3", "0c_3x1"]]),
}
_REDUCTIONS = {
    "Mixed_6a": [["1a_3x3"], ["0a_1x1", "0b_3x3", "1a_3x3"]],
    "Mixed_7a": [["0a_1x1", "1a_3x3"], ["0a_1x1", "1a_3x3"], ["0a_1x1", "0b_3x3", "1a_3x3"]],
}
_STEM = ["1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3", "4b_3x3"]


def keras_names() -> dict[str, str]:
    """Return the module of facenet-pytorch for each convolution with normalization of the Keras file."""
    names = {f"Conv2d_{name}": f"conv2d_{name[:2]}" for name in _STEM}
    blocks = [
        (f"{kind}_{number + 1}", f"{module}.{number}", branches)
        for kind, (count, module, branches) in _BRANCHES.items()
        for number in range(count)
    ]
    blocks.append(("Block8_6", "block8", _BRANCHES["Block8"][2]))
    blocks += [(name, name.lower(), branches) for name, branches in _REDUCTIONS.items()]
    for block, module, branches in blocks:
        for branch, layers in enumerate(branches):
            alone = layers == ["Conv2d_1x1"] or (block == "Mixed_6a" and branch == 0)
            for position, layer in enumerate(layers):
                name = layer if layer.startswith("Conv2d") else f"Conv2d_{layer}"
                target = f"{module}.branch{branch}" + ("" if alone else f".{position}")
                names[f"{block}_Branch_{branch}_{name}"] = target
    return names


@pytest.fixture(scope="module")
def network() -> InceptionResnetV1:
    torch.manual_seed(0)
    network = InceptionResnetV1(pretrained=None).eval()
    network.last_linear, network.last_bn = nn.Linear(1792, 8, bias=False), nn.BatchNorm1d(8, eps=1e-3)
    for module in network.eval().modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def keras_file(network: InceptionResnetV1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as Keras stores it: kernels (H, W, I, O), normalizations as layers of their own."""
    path = tmp_path_factory.mktemp("keras") / "facenet_keras.h5"
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with h5py.File(path, "w") as file:

        def write(layer: str, tensor: str, array: object) -> None:
            file[f"model_weights/{layer}/{layer}/{tensor}:0"] = array

        def write_norm(layer: str, module: str) -> None:
            for tensor, name in (
                ("beta", "bias"),
                ("moving_mean", "running_mean"),
                ("moving_variance", "running_var"),
            ):
                write(f"{layer}_BatchNorm", tensor, state[f"{module}.{name}"])

        for layer, module in keras_names().items():
            write(layer, "kernel", state[f"{module}.conv.weight"].transpose(2, 3, 1, 0))
            write_norm(layer, f"{module}.bn")
        for kind, (count, module, _) in _BRANCHES.items():
            for number in range(count + (kind == "Block8")):
                owner = f"{module}.{number}.conv2d" if number < count else "block8.conv2d"
                layer = f"{kind}_{number + 1}_Conv2d_1x1"
                write(layer, "kernel", state[f"{owner}.weight"].transpose(2, 3, 1, 0))
                write(layer, "bias", state[f"{owner}.bias"])
        write("Bottleneck", "kernel", state["last_linear.weight"].T)
        write_norm("Bottleneck", "last_bn")
    return path


def test_a_keras_facenet_gives_the_same_embeddings(
    keras_file: Path, network: InceptionResnetV1, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "facenet.safetensors"
    assert main(["convert-checkpoint", str(keras_file), "--as", "facenet", "--out", str(out)]) == 0
    assert "602 tensors, an embedding of 8 values" in capsys.readouterr().out
    model = create_model("facenet", weights=out).eval()
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        embedded = nn.functional.normalize(model.encoder[0](images))
        torch.testing.assert_close(embedded, network(images), rtol=0, atol=1e-6)
    assert model.encoder(images).shape == (2, 8)


def test_other_files_are_rejected_with_the_reason(keras_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "facenet.safetensors"
    with pytest.raises(WeightsError, match="there is no such file"):
        convert_checkpoint(tmp_path / "a.pt", out)
    with pytest.raises(WeightsError, match="there is no such file"):
        convert_checkpoint(tmp_path / "a.h5", out)
    for name in ("text.h5", "text.pb"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(WeightsError, match="cannot be read as|is truncated or damaged"):
            convert_checkpoint(tmp_path / name, out)
    with pytest.raises(OptionError, match="out: is '.*'; must end in .safetensors"):
        convert_checkpoint(keras_file, tmp_path / "facenet.pt")
    with pytest.raises(OptionError, match="network: is vgg16, and .* contains FaceNet; omit it"):
        convert_checkpoint(keras_file, out, network="vgg16")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense_1/dense_1/kernel:0"] = [[1.0]]
    with pytest.raises(OptionError, match="network: is missing: the file's 1 tensors .*dense_1/kernel"):
        convert_checkpoint(tmp_path / "other.h5", out)
    with h5py.File(tmp_path / "more.h5", "w") as file:
        file["Block35_1_Conv2d_1x1/kernel:0"] = [[1.0]]
        file["Block35_1_Conv2d_1x1/bias:0"] = [1.0]
        file["dense_1/dense_1/kernel:0"] = [[1.0]]
    with pytest.raises(WeightsError, match="contains dense_1, which is not a FaceNet layer"):
        convert_checkpoint(tmp_path / "more.h5", out)
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["Block35_1_Conv2d_1x1/kernel:0"] = [[1.0]]
    with pytest.raises(WeightsError, match="contains Block35_1_Conv2d_1x1, which is not a FaceNet layer"):
        convert_checkpoint(tmp_path / "part.h5", out)
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["Bottleneck/Bottleneck/kernel:0"] = torch.zeros(1792, 8).numpy()
        file["Block35_1_Conv2d_1x1/kernel:0"] = torch.zeros(1, 1, 96, 256).numpy()
        file["Block35_1_Conv2d_1x1/bias:0"] = torch.zeros(256).numpy()
    with pytest.raises(WeightsError, match="does not hold the whole FaceNet: 595 tensors"):
        convert_checkpoint(tmp_path / "part.h5", out)
    assert not out.exists()
