from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from deepfake_detect import device
from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import choose_device
from deepfake_detect.errors import DeviceError, ImageError, OptionError
from deepfake_detect.models.checkpoint import DetectorConfig
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import CropGeometry


@pytest.fixture
def scorer() -> TorchDetector:
    torch.manual_seed(0)
    model = create_model("test_resnet", image_size=64)
    with torch.no_grad():
        model.head[1].weight.mul_(40)  # probabilities that differ
    config = DetectorConfig("x", "1", model.spec, CropGeometry(), temperature=2.0)
    return TorchDetector(model, config, device=torch.device("cpu"))


def crops(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40 + n, 70 - n, 3), dtype=np.uint8) for n in range(count)]


def test_probabilities_are_the_calibrated_logits_in_order(scorer: TorchDetector) -> None:
    images = crops(40)  # more than a batch, of many sizes
    probabilities = scorer.score_crops(images)
    assert probabilities.shape == (40,)
    assert probabilities.dtype == np.float64
    assert np.unique(probabilities.round(6)).size > 10
    prep = scorer.config.model.preprocessing
    with torch.inference_mode():
        logits = [float(scorer.model(crop_to_tensor(image, prep)[None])) for image in images]
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-np.array(logits) / 2.0)), atol=1e-5)


def test_temperature_softens_and_never_reorders(scorer: TorchDetector) -> None:
    sharp = TorchDetector(scorer.model, replace(scorer.config, temperature=0.5), device=scorer.device)
    images = crops(8)
    soft_order, sharp_order = scorer.score_crops(images).argsort(), sharp.score_crops(images).argsort()
    np.testing.assert_array_equal(soft_order, sharp_order)


def test_bf16_rounds_and_says_the_same(scorer: TorchDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device, "fast_precision", lambda _: "bf16"
    )  # where it is slow it is right all the same
    rounded = TorchDetector(scorer.model, scorer.config, device=scorer.device, precision="bf16")
    images = crops(8)
    apart = np.abs(rounded.score_crops(images) - scorer.score_crops(images))
    assert 1e-6 < apart.max() < 0.05


def test_a_precision_that_is_unknown_or_that_the_device_lacks_is_refused(
    scorer: TorchDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "fast_precision", lambda _: "no")
    for precision, error, words in (
        ("bf16", DeviceError, "cpu: does not support bf16; set `precision` to fp32"),
        ("int4", OptionError, "precision: is 'int4'; must be one of fp32, bf16"),
    ):
        with pytest.raises(error, match=words):
            TorchDetector(scorer.model, scorer.config, device=scorer.device, precision=precision)  # type: ignore[arg-type]


def test_no_crop_gives_no_probability(scorer: TorchDetector) -> None:
    assert scorer.score_crops([]).shape == (0,)


def test_pictures_and_tensors_are_taken(scorer: TorchDetector) -> None:
    (image,) = crops(1)
    kinds = [image, Image.fromarray(image), torch.from_numpy(image), image / 255.0]
    assert np.unique(scorer.score_crops(kinds)).size == 1


def test_what_is_no_crop_is_refused_by_number(scorer: TorchDetector) -> None:
    with pytest.raises(ImageError, match=r"crop 1: has the shape \(5, 5\)"):
        scorer.score_crops([np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.uint8)])
    with pytest.raises(ImageError, match="crops: is one image; pass a list"):
        scorer.score_crops(np.zeros((5, 5, 3), np.uint8))


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(OptionError, match="device: is 'tpu'; must be auto, cpu"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(DeviceError, match="torch finds no CUDA device; set `device` to cpu"):
            choose_device("cuda")


@pytest.mark.needs_cuda
def test_the_gpu_agrees(scorer: TorchDetector) -> None:
    on_cpu = scorer.score_crops(crops(40))
    on_gpu = TorchDetector(scorer.model, scorer.config, device=torch.device("cuda")).score_crops(crops(40))
    np.testing.assert_allclose(on_cpu, on_gpu, atol=2e-3)
