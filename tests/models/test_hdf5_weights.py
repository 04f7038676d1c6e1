from __future__ import annotations

import resource
from pathlib import Path

import h5py
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from deepfake_detect.errors import OutputError, WeightsError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.hdf5_weights import export_weights_h5, read_weights_h5


def test_a_detector_comes_back_bit_for_bit(small_detector: Path, tmp_path: Path) -> None:
    count = export_weights_h5(small_detector, tmp_path / "d.h5")
    tensors, metadata = read_weights_h5(tmp_path / "d.h5")
    with safe_open(small_detector, framework="pt") as reader:
        names = list(reader.keys())
        assert count == len(names)
        assert set(tensors) == set(names)
        assert all(torch.equal(tensors[name], reader.get_tensor(name)) for name in names)
        assert metadata == reader.metadata()


def test_a_full_disk_is_an_error_and_leaves_nothing(small_detector: Path, tmp_path: Path) -> None:
    out, limits = tmp_path / "w.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 3000, 50_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OutputError, match=r"w.h5: cannot be written \(File too large\)"):
                export_weights_h5(small_detector, out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_types_that_hdf5_does_not_have_and_texts_that_are_long(tmp_path: Path) -> None:
    made = {
        "bf": torch.randn(3).to(torch.bfloat16),
        "half": torch.randn(2, 2).half(),
        "count": torch.tensor(7),
        "flag": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }
    save_file(made, tmp_path / "w.safetensors", metadata={"long": "x" * 100_000})
    export_weights_h5(tmp_path / "w.safetensors", tmp_path / "w.h5")
    tensors, metadata = read_weights_h5(tmp_path / "w.h5")
    for name, tensor in made.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert len(metadata["long"]) == 100_000


def test_a_network_is_made_of_them(tmp_path: Path) -> None:
    made = create_model("test_resnet", image_size=64)
    metadata = {"input_size": "[3, 64, 64]", "input_mean": "[0.1, 0.2, 0.3]"}
    save_file(made.encoder.state_dict(), tmp_path / "w.safetensors", metadata=metadata)
    export_weights_h5(tmp_path / "w.safetensors", tmp_path / "w.h5")
    read = create_model("test_resnet", weights=tmp_path / "w.h5")
    assert read.spec.preprocessing.mean == (0.1, 0.2, 0.3)
    assert read.spec.preprocessing.image_size == 64
    assert all(map(torch.equal, read.encoder.state_dict().values(), made.encoder.state_dict().values()))


def test_files_that_are_none(small_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file; pass a detector.safetensors"):
        export_weights_h5(tmp_path / "absent", tmp_path / "x.h5")
    (tmp_path / "text").write_text("no")
    with pytest.raises(WeightsError, match="is not a complete safetensors file"):
        export_weights_h5(tmp_path / "text", tmp_path / "x.h5")
    with pytest.raises(WeightsError, match="there is no such file; check the path"):
        read_weights_h5(tmp_path / "x.h5")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a"] = 1
    with pytest.raises(WeightsError, match="contains no weights; pass a file of export_weights_h5"):
        read_weights_h5(tmp_path / "other.h5")
    export_weights_h5(small_detector, tmp_path / "d.h5")
    whole = (tmp_path / "d.h5").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "d.h5").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(WeightsError, match="is truncated or damaged"):
            read_weights_h5(tmp_path / "d.h5")
