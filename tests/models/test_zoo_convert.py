"""Published files -> our networks, where the files are at hand."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.backbones import BACKBONES
from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.layout import logit_layer, renamed
from deepfake_detect.models.zoo.convert import build_published, check_logits, convert_entry
from deepfake_detect.models.zoo.entries import ZOO, find_entry
from deepfake_detect.models.zoo.state import read_state
from tests.models.keras_files import MESO4_SHAPES, Layers, keras_layers, write_keras

EPSILON = 1e-3  # of Keras' batch normalization


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, dilation: int = 1) -> np.ndarray:
    """Keras' Conv2D, padding "same", of (H, W, C) with a kernel (k, k, C, F)."""
    size = kernel.shape[0]
    reach = dilation * (size // 2)
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    total = np.zeros((*x.shape[:2], kernel.shape[3])) + bias
    for row in range(size):
        for column in range(size):
            y, z = row * dilation, column * dilation
            total += padded[y : y + x.shape[0], z : z + x.shape[1]] @ kernel[row, column]
    return np.maximum(total, 0)


def norm_pool(x: np.ndarray, layer: dict[str, np.ndarray], pool: int) -> np.ndarray:
    scale = layer["gamma:0"] / np.sqrt(layer["moving_variance:0"] + EPSILON)
    x = (x - layer["moving_mean:0"]) * scale + layer["beta:0"]
    return x.reshape(x.shape[0] // pool, pool, x.shape[1] // pool, pool, -1).max((1, 3))


def dense_end(x: np.ndarray, layers: Layers, names: tuple[str, str]) -> float:
    first, last = (layers[name] for name in names)
    hidden = x.reshape(-1) @ first["kernel:0"] + first["bias:0"]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    return (hidden @ last["kernel:0"] + last["bias:0"]).item()


def logit_of(entry: str, path: Path, image: np.ndarray) -> float:
    found = ZOO[entry]
    model, config = convert_entry(found, [path], network=found.network, sha256=["0" * 64])
    assert not config.is_calibrated
    with torch.inference_mode():
        return float(model(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)))[0])


def test_meso4_is_the_network_of_its_keras_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = keras_layers(rng, MESO4_SHAPES)
    image = rng.uniform(size=(256, 256, 3))
    x = image
    for number, pool in zip((9, 10, 11, 12), (2, 2, 2, 4), strict=True):
        convolution = layers[f"conv2d_{number}"]
        x = conv(x, convolution["kernel:0"], convolution["bias:0"])
        x = norm_pool(x, layers[f"batch_normalization_{number}"], pool)
    keras = dense_end(x, layers, ("dense", "dense_1"))
    ours = logit_of("meso4-df", write_keras(tmp_path / "a.h5", layers), image)
    assert -ours == pytest.approx(keras, abs=1e-4)  # published: the logit of real


def test_meso_inception4_is_the_network_of_its_keras_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {}
    blocks, number, before = [((1, 4, 4, 2), 2), ((2, 4, 4, 2), 2)], 1, 3
    for widths, _ in blocks:
        shapes[f"conv2d_{number}"] = (1, 1, before, widths[0])
        number += 1
        for width in widths[1:]:
            shapes[f"conv2d_{number}"] = (1, 1, before, width)
            shapes[f"conv2d_{number + 1}"] = (3, 3, width, width)
            number += 2
        before = sum(widths)
    shapes |= {"conv2d_15": (5, 5, 12, 16), "conv2d_16": (5, 5, 16, 16)}
    shapes |= {f"batch_normalization_{n}": (w,) for n, w in zip((1, 2, 3, 4), (11, 12, 16, 16), strict=True)}
    shapes |= {"dense_1": (1024, 16), "dense_2": (16, 1)}
    layers = keras_layers(rng, shapes)

    def apply(x: np.ndarray, number: int, dilation: int = 1) -> np.ndarray:
        layer = layers[f"conv2d_{number}"]
        return conv(x, layer["kernel:0"], layer["bias:0"], dilation)

    image = rng.uniform(size=(256, 256, 3))
    x, first = image, 1
    for block in (1, 2):
        branches = [apply(x, first)]
        branches += [apply(apply(x, first + 2 * d - 1), first + 2 * d, dilation=d) for d in (1, 2, 3)]
        x = norm_pool(np.concatenate(branches, axis=-1), layers[f"batch_normalization_{block}"], 2)
        first += 7
    x = norm_pool(apply(x, 15), layers["batch_normalization_3"], 2)
    x = norm_pool(apply(x, 16), layers["batch_normalization_4"], 4)
    keras = dense_end(x, layers, ("dense_1", "dense_2"))
    ours = logit_of("mesoinception4-df", write_keras(tmp_path / "a.h5", layers), image)
    assert -ours == pytest.approx(keras, abs=1e-4)


def test_a_file_of_another_network_is_an_error(tmp_path: Path) -> None:
    layers = keras_layers(np.random.default_rng(0), {"conv2d": (3, 3, 3, 8), "dense": (4, 1)})
    entry = ZOO["meso4-df"]
    with pytest.raises(WeightsError, match="contain \\(1, 0, 1\\) convolutions"):
        convert_entry(entry, [write_keras(tmp_path / "a.h5", layers)], network=entry.network, sha256=["0"])


def test_every_entry_names_a_layout_and_every_layout_a_backbone() -> None:
    import timm

    for entry in ZOO.values():
        assert entry.refused or entry.network in LAYOUTS
        assert entry.refused or entry.files
    for layout in LAYOUTS.values():
        assert layout.backbone in BACKBONES or timm.is_model(layout.backbone)


def test_a_name_that_is_not_in_the_zoo_is_an_error() -> None:
    with pytest.raises(OptionError, match="'meso4' is not in the zoo; did you mean .*meso4-df"):
        find_entry("zoo:meso4")


def test_two_outputs_become_their_difference() -> None:
    weight, bias = torch.randn(2, 5), torch.randn(2)
    layer = logit_layer(weight, bias)
    features = torch.randn(7, 5)
    wanted = (features @ weight.T + bias).softmax(1)[:, 1]
    ours = (features @ layer["head.weight"].T + layer["head.bias"]).sigmoid()[:, 0]
    torch.testing.assert_close(ours, wanted)
    with pytest.raises(WeightsError, match="end in 3 outputs"):
        logit_layer(torch.zeros(3, 5), None)


def test_names_are_replaced_by_their_longest_beginning() -> None:
    state = {name: torch.zeros(1, 1) for name in ("net.a", "net.b.c", "fc.weight", "aux.x")}
    found = renamed(state, {"net.": "", "net.b.": "d."}, head="fc.", dropped=["aux."])
    assert sorted(found.tensors) == ["encoder.a", "encoder.d.c", "head.bias", "head.weight"]
    assert found.dropped == ("aux.x",)
    with pytest.raises(WeightsError, match="contain no head.weight"):
        renamed(state, {}, head="head.")


def test_a_pickle_that_runs_code_is_not_read(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 1), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="is a whole pickled model .* would run code from the file"):
        read_state(tmp_path / "whole.pth")
    torch.save({"epoch": 3, "model": {"a": torch.ones(1)}, "optimizer": {}}, tmp_path / "wrapped.tar")
    assert list(read_state(tmp_path / "wrapped.tar")) == ["a"]


def test_the_patterns_of_the_self_check_are_always_the_same() -> None:
    from deepfake_detect.models.classifier import create_model

    torch.manual_seed(0)
    model = create_model("small_cnn")
    first = check_logits(model)
    assert first == check_logits(model)
    assert len(set(first)) == 3


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="absent.pth: there is no such file"):
        read_state(tmp_path / "absent.pth")
    for name, message in (
        ("a.pth", "cannot be read as torch weights"),
        ("a.h5", "is not a complete HDF5 file"),
    ):
        (tmp_path / name).write_bytes(b"<html>not found</html>")
        with pytest.raises(WeightsError, match=f"{name}: {message}"):
            read_state(tmp_path / name)
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(
        WeightsError, match="contains no state dict, which gives tensors by name; pass a file"
    ):
        read_state(tmp_path / "list.pth")


def test_a_member_of_an_archive_is_read_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "inner.pth")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "inner.pth", "models/inner.pth")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "inner.pth", "models/inner.pth")
    for name in ("x.zip", "x.tar"):
        assert list(read_state(tmp_path / name, member="models/inner.pth")) == ["a"]
        with pytest.raises(WeightsError, match="has no readable member other.pth"):
            read_state(tmp_path / name, member="other.pth")
    monkeypatch.setattr("deepfake_detect.models.zoo.state._LARGEST_MEMBER", 10)
    with pytest.raises(WeightsError, match="contains a member of .* bytes; at most 10 are read"):
        read_state(tmp_path / "x.zip", member="models/inner.pth")


def test_tensors_of_another_network_are_errors() -> None:
    layout, prep = LAYOUTS["meso4-plain"], ZOO["meso4-df"].preprocessing

    def build(state: dict[str, torch.Tensor]) -> None:
        build_published(state, layout, preprocessing=prep, polarity="fake", source="a.pth")

    with pytest.raises(WeightsError, match="a.pth: its tensors are not those of Meso4 .KeyError: 'conv.0.we"):
        build({})
    shapes = {f"conv.{n}.weight": one for n, one in enumerate([(8, 3, 3, 3), (8, 8, 5, 5), (16, 8, 5, 5)])}
    shapes |= {"conv.3.weight": (16, 16, 5, 5), "fc1.weight": (16, 1024), "fc2.weight": (1, 16)}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        state[name.replace("weight", "bias")] = torch.zeros(shape[0])
    for n, width in enumerate((8, 8, 16, 16)):
        state |= {f"bn.{n}.{part}": torch.ones(width) for part in ("weight", "bias")}
        state |= {f"bn.{n}.running_{part}": torch.ones(width) for part in ("mean", "var")}
    build(state)
    with pytest.raises(WeightsError, match="a.pth: does not fit Meso4 .1 of another shape"):
        build({**state, "conv.0.bias": torch.zeros(9)})
    with pytest.raises(
        WeightsError, match="a.pth: contains weights that are not finite .encoder.layers.0.0.0.bias"
    ):
        build({**state, "conv.0.bias": torch.full((8,), float("nan"))})
