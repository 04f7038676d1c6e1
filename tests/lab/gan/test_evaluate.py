from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect.errors import CheckpointError
from deepfake_detect.lab.classifier import save_run
from deepfake_detect.lab.gan.distances import frechet_distance, kernel_distance
from deepfake_detect.lab.gan.evaluate import CONFIDENT, measure_generator, read_reference
from deepfake_detect.lab.networks import TrainedNetwork
from deepfake_detect.lab.options import ClassifierConfig
from deepfake_detect.models.classifier import create_model
from deepfake_detect.records import Preprocessing

CPU = torch.device("cpu")


def classifier_run(folder: Path, *, channels: int = 1, side: int = 12) -> Path:
    torch.manual_seed(0)
    model = create_model("small_cnn", num_classes=3, in_chans=channels, image_size=side)
    facts = {
        "backbone": "small_cnn",
        "class_names": ["a", "b", "c"],
        "history": [{"test_accuracy": 0.5}, {"test_accuracy": 0.97}],
    }
    save_run(folder, model, ClassifierConfig(), facts)
    return folder


def images(count: int, *, side: int = 12, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


class Brightness(nn.Module):
    """Features are mean and deviation of the image; the logit of the second class rises with the mean."""

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.stack([batch.mean((1, 2, 3)), batch.std((1, 2, 3))], dim=1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([0 * features[:, 0], 20 * (features[:, 0] - 0.5)], dim=1)


def brightness_network() -> TrainedNetwork:
    model = Brightness()
    model.spec = create_model("small_cnn", num_classes=2, in_chans=1, image_size=12).spec  # type: ignore[assignment]
    plain = Preprocessing(12, (0.0,) * 3, (1.0,) * 3)
    return TrainedNetwork("brightness", "brightness", model, plain, ("dark", "bright"))  # type: ignore[arg-type]


def levels(*values: int) -> np.ndarray:
    noise = images(len(values)).astype(int) // 32
    return (np.array(values)[:, None, None, None] + noise).astype(np.uint8)


def test_figures_are_those_of_features_and_confidences() -> None:
    network = brightness_network()
    made, reals = levels(0, 10, 20, 128, 240), levels(*range(0, 240, 20))
    found = measure_generator(network, made, reals, device=CPU, seed=2, show_progress=False)
    # By hand: an image is confidently classified where 20 |mean - 1/2| exceeds the logit of 0.9.
    means = made.reshape(5, -1).mean(1) / 255
    is_confident = np.abs(20 * (means - 0.5)) >= np.log(CONFIDENT / (1 - CONFIDENT))
    assert found.fraction_confident == pytest.approx(is_confident.mean())
    assert found.confident_by_class == {"dark": 3, "bright": 1}
    assert found.classes_missing == []
    order = np.random.default_rng(2).permutation(12)
    features = [
        network.model.features(torch.from_numpy(one.transpose(0, 3, 1, 2) / 255).float()).numpy()
        for one in (made, reals[order[:5]], reals[order[5:10]])
    ]
    assert found.frechet == pytest.approx(frechet_distance(features[0], features[1]), abs=1e-6)
    assert found.frechet_of_reals == pytest.approx(frechet_distance(features[1], features[2]), abs=1e-6)
    assert found.kernel.mean == pytest.approx(
        kernel_distance(features[0], features[1], seed=2).mean, abs=1e-5
    )
    report = found.to_dict()
    assert report["fid"] == found.frechet
    assert report["kid"] == found.kernel.mean
    assert report["sure_by_class"] == {"dark": 3, "bright": 1}


def test_a_missing_class_is_reported() -> None:
    found = measure_generator(
        brightness_network(), levels(0, 5, 9, 12), levels(0, 100, 200, 250), device=CPU, show_progress=False
    )
    assert found.classes_missing == ["bright"]
    assert found.frechet_of_reals is None  # there are too few reals
    assert found.fraction_confident_of_reals == 0.75 or found.fraction_confident_of_reals == 1.0


def test_a_run_of_a_classifier_is_read(tmp_path: Path) -> None:
    network = read_reference(classifier_run(tmp_path), image_size=12)
    assert network.class_names == ("a", "b", "c")
    assert network.description == "own classifier small_cnn, test accuracy 0.9700"
    assert not network.model.training
    for channels in (1, 3):
        made = images(5, channels=channels)
        found = measure_generator(
            network, made, images(6, channels=channels), device=CPU, show_progress=False
        )
        assert found.num_samples == 5
        assert set(found.confident_by_class) == {"a", "b", "c"}


def test_a_classifier_of_color_images_takes_gray_ones(tmp_path: Path) -> None:
    network = read_reference(classifier_run(tmp_path, channels=3), image_size=12)
    gray = images(4)
    found = [
        measure_generator(network, made, gray, device=CPU, show_progress=False).frechet
        for made in (gray, np.repeat(gray, 3, axis=3))
    ]
    assert found[0] == found[1] == pytest.approx(0, abs=1e-4)


def test_a_detector_has_features_but_no_classes(small_detector: Path) -> None:
    network = read_reference(small_detector, image_size=28)
    assert network.description == "detector small 1 (test_resnet)"
    found = measure_generator(network, images(3), images(8), device=CPU, show_progress=False)
    assert found.frechet > 0
    assert found.fraction_confident is None
    assert found.fraction_confident_of_reals is None
    assert found.confident_by_class == {}


def test_unreadable_networks_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match="there is no classifier.safetensors with a run.json in its run's folder; pass the",
    ):
        read_reference(tmp_path, image_size=12)
    run = classifier_run(tmp_path / "run")
    with pytest.raises(
        CheckpointError,
        match="is not the run's network for images of 20 pixels .*; train one on images of that size",
    ):
        read_reference(run, image_size=20)
    (run / "classifier.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="is not the run's network for images of 12 pixels"):
        read_reference(run, image_size=12)


def test_a_detector_of_sequences_is_rejected(tmp_path: Path) -> None:
    from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
    from deepfake_detect.models.sequence import create_sequence_model
    from deepfake_detect.records import CropGeometry

    model = create_sequence_model("test_resnet", image_size=64)
    path = tmp_path / "sequence.safetensors"
    save_detector(path, model, DetectorConfig("s", "1", model.spec, CropGeometry()))
    with pytest.raises(
        CheckpointError, match="scores sequences, not images; pass a detector of single crops"
    ):
        read_reference(path, image_size=28)
