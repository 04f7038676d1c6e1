"""What every method does: it trains, its detector reads back with equal logits, and it is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepfake_detect.models.checkpoint import read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import CropGeometry
from deepfake_detect.runtimes import load_crop_detector
from deepfake_detect.runtimes.export import export_with_generated_crops
from deepfake_detect.training.kept_epochs import epoch_file
from tests.data.trees import crop_manifest, textured_crops
from tests.training.runs import small_run, train

METHODS: dict[str, dict[str, Any]] = {
    "srm": {"stem": "srm"},
    "dct": {"stem": "dct"},
    "sphere": {"head": "l2", "alignment": 0.1, "uniformity": 0.5},
    "svd of attention": {"finetune": "svd", "backbone": "test_vit", "image_size": 160},
    "svd of convolutions": {"finetune": "svd", "svd_rank": 2},
    "lora": {"finetune": "lora", "lora_rank": 2},
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = textured_crops(8, "train") + textured_crops(2, "val", seed=1)
    return crop_manifest(tmp_path_factory.mktemp("crops"), crops)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_reads_back_and_is_exported(method: str, manifest: Path, tmp_path: Path) -> None:
    options = {"head_epochs": 0, "epochs": 1, "batch_size": 8, "recalibrate_batches": 0, **METHODS[method]}
    config = small_run(manifest, tmp_path / "run", **options, save_epochs=(0, 1))
    result = train(config)  # two steps
    start, end = (read_detector(epoch_file(config.out, epoch))[0] for epoch in (0, 1))
    moved = [name for name, one in end.state_dict().items() if not torch.equal(one, start.state_dict()[name])]
    assert "head.1.weight" in moved or "head.2.weight" in moved
    assert any(name.startswith("encoder.") for name in moved)

    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    model, stored = read_detector(result.detector_path)
    before = TorchDetector(model, stored, device=torch.device("cpu")).logits(crops)
    save_detector(tmp_path / "again.safetensors", model, stored)
    again = load_crop_detector(tmp_path / "again.safetensors", runtime="torch", device="cpu")
    np.testing.assert_array_equal(again.logits(crops), before)
    assert again.config.model.stem == options.get("stem", "rgb")

    pytest.importorskip("onnx", reason="onnx is not installed")
    export_with_generated_crops(result.detector_path, tmp_path / "d.onnx", tolerance=1e-3)
    exported = load_crop_detector(tmp_path / "d.onnx").logits(crops)
    np.testing.assert_allclose(exported, before, atol=1e-3)


def test_files_of_colors_do_not_name_the_stem() -> None:

    for stem in ("rgb", "dct"):
        spec = create_model("test_resnet", stem=stem).spec  # type: ignore[arg-type]
        assert ("stem" in DetectorConfig("x", "1", spec, CropGeometry()).to_dict()["model"]) == (
            stem != "rgb"
        )
