"""What a detector file of a stranger says about itself is checked before anything is built or opened."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from deepfake_detect.errors import CheckpointError, OptionError, WeightsError
from deepfake_detect.models import backbones, checkpoint
from deepfake_detect.models.card import read_card
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.metadata import CHECKSUM_KEY, add_checksum, read_bytes
from deepfake_detect.models.weights import read_weights_file
from deepfake_detect.runtimes import load, load_crop_detector
from tests.conftest import ROOT

WEIGHTS = ROOT / "deepfake_detect" / "weights"
CROP = np.zeros((40, 40, 3), np.uint8)


def flip(path: Path, position: int) -> None:
    """Change the lowest bit of a byte, which leaves numbers finite."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def write_safetensors(source: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    with safe_open(source, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        metadata = dict(reader.metadata())
    save_file(tensors, path, metadata=changed(metadata, change))
    return path


def write_onnx(source: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    model = onnx.load(str(source))
    metadata = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, changed(metadata, change))
    onnx.save(model, str(path))
    return path


def write_xml(source: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write a file of OpenVINO's kind with the metadata of an ONNX file, and no network."""
    metadata = changed(read_bytes(source, kind="ONNX").metadata, change)
    metadata.pop(CHECKSUM_KEY, None)
    entries = "".join(f'<{key} value="{html.escape(value)}" />' for key, value in metadata.items())
    section = f"<rt_info>\n<deepfake_detect>{entries}</deepfake_detect>\n</rt_info>"
    path.write_text(f'<?xml version="1.0"?>\n<net name="n">\n<layers>\n</layers>\n{section}\n</net>\n')
    path.with_suffix(".bin").write_bytes(bytes(range(200)))
    return path


def changed(metadata: dict[str, str], change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    config = json.loads(metadata["config"])
    change(config)
    return {**metadata, "config": json.dumps(config)}


def nothing(config: dict[str, Any]) -> None:
    """Change nothing."""


def opens_a_file(config: dict[str, Any]) -> None:
    config["model"]["backbone_options"] = {"checkpoint_path": "evil.pt"}


def has_an_address(config: dict[str, Any]) -> None:
    config["model"]["backbone_options"] = {"pretrained_cfg": {"url": "http://example.org/evil.pt"}}


def is_huge(config: dict[str, Any]) -> None:
    config["model"]["preprocessing"]["image_size"] = 4096


def has_a_key_of_tomorrow(config: dict[str, Any]) -> None:
    config["model"]["tomorrow"] = 1


def asks_for_a_crop_of_a_thousand_faces(config: dict[str, Any]) -> None:
    config["geometry"]["margin"] = 1000


def has_a_number_beyond_floats(config: dict[str, Any]) -> None:
    config["threshold"] = 10**400


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (opens_a_file, "backbone_options: cannot hold checkpoint_path, which open files"),
        (has_an_address, "config.model.backbone_options.pretrained_cfg is"),
        (is_huge, "image_size: is 4096; must be 1 to 1024"),
        (has_a_key_of_tomorrow, "config.model has unknown keys: tomorrow"),
        (asks_for_a_crop_of_a_thousand_faces, "margin: is 1000"),
        (has_a_number_beyond_floats, "config.threshold is 1000.*must be a number"),
    ],
)
def test_metadata_are_checked_in_every_format_before_anything_is_opened(
    suffix: str,
    change: Callable[[dict[str, Any]], None],
    message: str,
    small_detector: Path,
    small_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = {".safetensors": write_safetensors, ".onnx": write_onnx, ".xml": write_xml}[suffix]
    source = small_detector if suffix == ".safetensors" else small_onnx
    path = write(source, tmp_path / f"a{suffix}", change)
    # Whoever opens the network, or builds it, fails with another error.
    monkeypatch.setattr(load, "open_session", None)
    monkeypatch.setattr(checkpoint, "build_encoder", None)
    monkeypatch.setattr(checkpoint, "read_tensors", None)
    runtime = "openvino" if suffix == ".xml" else "auto"
    with pytest.raises(CheckpointError, match=message):
        load_crop_detector(path, runtime=runtime, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=message):
        read_card(path)


def test_keys_that_no_detector_has_are_rejected(small_detector: Path, tmp_path: Path) -> None:
    with safe_open(small_detector, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        metadata = dict(reader.metadata())
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={**metadata, "auto_map": "x.py"})
    with pytest.raises(CheckpointError, match="its description cannot be read .unknown metadata: auto_map"):
        read_detector(path)
    config = json.loads(metadata["config"])
    config["training"]["where"] = "x" * 17_000_000
    save_file(tensors, path, metadata={**metadata, "config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="it has more than 16,777,216 characters"):
        read_detector(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_classes", 10**9, "num_classes: is 1000000000; must be 1 to 10000"),
        ("in_chans", 65, "in_chans: is 65; must be 1 to 64"),
        ("sequence", {"temporal": "lstm", "hidden": 10**6, "num_layers": 1}, "hidden: is 1000000"),
        ("sequence", {"temporal": "lstm", "hidden": 8, "num_layers": 10**9}, "num_layers: is 1000000000"),
        ("sequence", {"temporal": "lstm", "hidden": 8, "num_layers": 1, "num_frames": 10**9}, "num_frames"),
        ("backbone_options", {"width": 10**7}, "backbone_options: is .*must be within ±10,000"),
        ("backbone_options", {"drop_rate": 5}, "has drop_rate 5; must be at least 0 and below 1"),
        ("backbone_options", {"pad_type": "x" * 201}, "has too many or too long values"),
        ("backbone_options", {str(n): n for n in range(33)}, "has too many or too long values"),
        ("backbone_options", {"features_only": True}, "does not take .* .unknown: features_only"),
        ("backbone", "local-dir:/tmp", "its network cannot be built"),
    ],
)
def test_sizes_are_limited(
    key: str,
    value: object,
    message: str,
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import timm

    path = write_safetensors(
        small_detector, tmp_path / "a.safetensors", lambda config: config["model"].update({key: value})
    )
    monkeypatch.setattr(timm, "create_model", None)
    with pytest.raises(CheckpointError, match=message):
        read_detector(path)


def test_a_name_or_a_temperature_without_end_is_rejected(small_detector: Path, tmp_path: Path) -> None:
    for values, message in (
        ({"name": "x" * 201}, "name: is 'x+' of 201 characters; must be printable, and of 200 characters"),
        ({"version": "1\x1b]0;x\x07"}, "version: is '1.*' of 7 characters; must be printable"),
        ({"temperature": 1e9}, "temperature: is 1000000000.0; must be above 0, up to 1e.06"),
    ):
        path = write_safetensors(small_detector, tmp_path / "a.safetensors", lambda c, v=values: c.update(v))  # type: ignore[misc]
        with pytest.raises(CheckpointError, match=message):
            read_detector(path)


def test_a_network_larger_than_its_file_is_never_given_memory(
    small_detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flattened(config: dict[str, Any]) -> None:
        config["model"] |= {"backbone": "small_cnn", "pooling": "flatten"}
        config["model"]["preprocessing"]["image_size"] = 1024  # a layer of two gigabytes

    path = write_safetensors(small_detector, tmp_path / "a.safetensors", flattened)
    devices, build = [], backbones.build_encoder

    def watched(*arguments: Any) -> Any:
        devices.append(torch.empty(0).device.type)
        return build(*arguments)

    monkeypatch.setattr(checkpoint, "build_encoder", watched)
    with pytest.raises(CheckpointError, match="does not match its own description .* missing .*unexpected"):
        read_detector(path)
    assert devices == ["meta"]


def test_a_changed_weight_is_noticed(small_detector: Path, small_onnx: Path, tmp_path: Path) -> None:
    damaged = "is damaged: its weights are not those that were written .checksum.; download it again"
    path = tmp_path / "a.safetensors"
    path.write_bytes(small_detector.read_bytes())
    flip(path, path.stat().st_size - 500)
    with pytest.raises(CheckpointError, match=damaged):
        read_detector(path)
    with pytest.raises(WeightsError, match=damaged):
        read_weights_file(path)
    exported = tmp_path / "a.onnx"
    exported.write_bytes(small_onnx.read_bytes())
    flip(exported, exported.stat().st_size // 2)
    for read in (load_crop_detector, read_card):
        with pytest.raises(CheckpointError, match=damaged):
            read(exported)
    xml = write_xml(small_onnx, tmp_path / "a.xml", nothing)
    add_checksum(xml)
    read_bytes(xml, kind="OpenVINO").check_weights()
    flip(xml.with_suffix(".bin"), 100)
    with pytest.raises(CheckpointError, match=damaged):
        read_card(xml)


def test_a_file_from_before_the_checksum_is_read_and_its_card_says_so(
    small_detector: Path, small_onnx: Path, tmp_path: Path
) -> None:
    with safe_open(small_detector, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        metadata = {key: value for key, value in reader.metadata().items() if key != CHECKSUM_KEY}
    older = tmp_path / "older.safetensors"
    save_file(tensors, older, metadata=metadata)
    assert read_detector(older)[1] == read_detector(small_detector)[1]
    assert "| weights | not checked: the file was written before files had a checksum |" in read_card(older)
    assert "| weights | as they were written (checksum) |" in read_card(small_detector)
    model = onnx.load(str(small_onnx))
    kept = {one.key: one.value for one in model.metadata_props if one.key != CHECKSUM_KEY}
    assert len(kept) == len(model.metadata_props) - 1
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, str(tmp_path / "older.onnx"))
    assert "not checked" in read_card(tmp_path / "older.onnx")
    assert load_crop_detector(tmp_path / "older.onnx", num_threads=1).score_crops([CROP]).shape == (1,)


def test_the_card_of_an_export(small_detector: Path, small_onnx: Path, tmp_path: Path) -> None:
    import hashlib

    for path, kind in (
        (small_onnx, "ONNX"),
        (write_xml(small_onnx, tmp_path / "a.xml", nothing), "OpenVINO"),
    ):
        card = read_card(path)
        assert card.startswith("# small 1\n")
        assert f"| exported for | {kind}, precision fp32 |" in card
        assert hashlib.sha256(small_detector.read_bytes()).hexdigest() in card
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
        assert "probabilities differ by at most" in card
        assert "on 12 crops |" in card
        assert "| network | test_resnet |" in card
    assert "training: datasets | ('DFDC', 'LFW', 'FaceForensics++') |" in read_card(WEIGHTS / "default.onnx")
    path = write_safetensors(
        small_detector, tmp_path / "b.safetensors", lambda c: c["training"].update(where="\x1b[2Jx | y")
    )
    assert "| training: where | [2Jx \\| y |" in read_card(path)


def test_an_onnx_file_that_names_other_files_is_not_opened(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(str(small_onnx))
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="../secret.bin")
    tensor.ClearField("raw_data")
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(load, "open_session", None)
    with pytest.raises(CheckpointError, match="names other files that hold its weights; export the detector"):
        load_crop_detector(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.onnx", b"\x0a\xff\xff\xff\xff\x0f", "is not a complete ONNX file .it is cut off."),
        ("a.onnx", b"\x08\x08", "is not a complete ONNX file .it has no network."),
        ("a.onnx", b"\x08\x08" * 10_001, "it has too many fields"),
        ("a.onnx", b"\x0b", "is not a complete ONNX file"),
        ("a.xml", b"<net>", "is not a complete ONNX or OpenVINO file .it is cut off."),
        ("a.xml", b"<net><rt_info></rt_info></net>", "is not a complete ONNX or OpenVINO file .*a.bin"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0[]", "is not a complete safetensors file"),
        ("a.safetensors", b"\xff" * 8, "is not a complete safetensors file .its header is cut off."),
    ],
)
def test_damaged_files_are_errors_of_one_line(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_crop_detector(path)
    assert "\n" not in str(caught.value)


def test_an_export_without_finite_numbers_or_with_another_network_is_an_error(
    small_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(small_onnx))
    kept = {one.key: one.value for one in model.metadata_props if one.key != CHECKSUM_KEY}
    biases = [one for one in model.graph.initializer if one.name.endswith("head.1.bias")]
    assert len(biases) == 1
    biases[0].raw_data = np.float32("nan").tobytes()
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, str(tmp_path / "nan.onnx"))
    detector = load_crop_detector(tmp_path / "nan.onnx", num_threads=1)
    with pytest.raises(CheckpointError, match="detector small 1: gives logits that are not finite"):
        detector.score_crops([CROP])
    other = onnx.load(str(WEIGHTS / "mtcnn_refine.onnx"))
    onnx.helper.set_model_props(other, kept)
    onnx.save(other, str(tmp_path / "other.onnx"))
    with pytest.raises(CheckpointError, match="its network does not match its description"):
        load_crop_detector(tmp_path / "other.onnx", num_threads=1).score_crops([CROP])


def test_options_of_timm_are_known_ones() -> None:
    with pytest.raises(OptionError, match=r"resnet10t does not take .*unknown: pretrained_strict"):
        create_model("resnet10t", backbone_options={"pretrained_strict": False})
    assert create_model("resnet10t", backbone_options={"drop_path_rate": 0.1}).spec.backbone_options
