"""Learning from other detectors' judgment of each crop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.transforms import crops_to_tensor
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.checkpoint import DetectorConfig, TrainingFacts, read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.records import CropGeometry, Preprocessing
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.losses import distillation_loss
from deepfake_detect.training.teachers import Teachers
from tests.data.trees import crop_manifest, textured_crops
from tests.training.runs import small_run, train

CPU = torch.device("cpu")
SHOWN = Preprocessing(64, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))


def teacher(
    path: Path,
    *,
    seed: int = 0,
    preprocessing: Preprocessing = SHOWN,
    seen: dict[str, tuple[str, ...]] | None = None,
) -> Path:
    torch.manual_seed(seed)
    model = create_model("test_resnet", image_size=preprocessing.image_size)
    with torch.no_grad():
        model.head[1].weight.mul_(40)  # logits that differ
    spec = replace(model.spec, preprocessing=preprocessing)
    config = DetectorConfig(
        "t",
        str(seed),
        spec,
        CropGeometry(),
        temperature=2.0,
        training=TrainingFacts(video_sha256_prefixes=seen),
    )
    save_detector(path, model, config)
    return path


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(count)]


def calibrated_logits(path: Path, crops: list[np.ndarray]) -> np.ndarray:
    model, config = read_detector(path)
    return TorchDetector(model, config, device=CPU).logits(crops) / config.temperature


def said_by(paths: list[Path], crops: list[np.ndarray]) -> np.ndarray:
    teachers = Teachers(paths, preprocessing=SHOWN, geometry=CropGeometry(), device=CPU)
    return teachers.logits(crops_to_tensor(crops, SHOWN)).numpy()


def test_several_teachers_are_the_mean_of_what_each_would_say_by_itself(tmp_path: Path) -> None:
    other = Preprocessing(64, (0.1, 0.5, 0.9), (0.5, 0.5, 0.25))
    paths = [teacher(tmp_path / "a"), teacher(tmp_path / "b", seed=1, preprocessing=other)]
    crops = pictures(4)
    said = said_by(paths, crops)
    expected = np.mean([calibrated_logits(path, crops) for path in paths], axis=0)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(said, expected, atol=1e-4)


def test_a_teacher_of_another_size_is_shown_the_picture_in_its_own(tmp_path: Path) -> None:
    small = teacher(tmp_path / "a", preprocessing=replace(SHOWN, image_size=32))
    smooth = [np.full((64, 64, 3), level, np.uint8) for level in (10, 120, 240)]
    said = said_by([small], smooth)
    np.testing.assert_allclose(said, calibrated_logits(small, smooth), atol=1e-4)


def test_the_loss_pulls_to_the_teachers_and_is_at_rest_with_them() -> None:
    taught = torch.tensor([-3.0, 0.5, 4.0])
    for temperature in (0.5, 2.0, 10.0):
        logits = torch.zeros(3, requires_grad=True)
        distillation_loss(logits, taught, temperature=temperature).backward()
        assert logits.grad is not None
        assert torch.equal(logits.grad.sign(), -taught.sign())
        agreeing = taught.clone().requires_grad_()
        distillation_loss(agreeing, taught, temperature=temperature).backward()
        assert agreeing.grad is not None
        assert agreeing.grad.abs().max() < 1e-6


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = textured_crops(24, "train", seed=1) + textured_crops(12, "val", seed=2)
    return crop_manifest(tmp_path_factory.mktemp("data") / "m", crops)


def run_config(manifest: Path, out: Path, **changes: object) -> TrainingConfig:
    """Return a run whose students see crops as they are, from the first step to the last."""
    plain = {"head_epochs": 0, "augmentation": "none", "recalibrate_batches": 0, "precision": "no"}
    return small_run(manifest, out, **{"epochs": 5, "learning_rate": 3e-3, **plain, **changes})


def test_a_student_believes_its_teachers_and_not_the_labels(manifest: Path, tmp_path: Path) -> None:
    """Taught by a detector turned upside down, and by it alone, it learns the labels upside down."""
    honest = train(run_config(manifest, tmp_path / "honest"), show_progress=False)
    assert honest.best.val_video_auc > 0.9
    model, config = read_detector(honest.detector_path)
    with torch.no_grad():
        model.head[1].weight.mul_(-30)  # so sure that it is heard after a few steps
        model.head[1].bias.mul_(-30)
    save_detector(tmp_path / "liar", model, replace(config, name="liar"))
    taught = run_config(manifest, tmp_path / "taught", teachers=(str(tmp_path / "liar"),), distillation=1.0)
    result = train(taught, show_progress=False)
    assert result.history[-1].val_video_auc < 0.1
    told = read_detector(result.detector_path)[1].training
    assert [fact.name for fact in told.teachers or ()] == ["liar"]
    assert len((told.teachers or ())[0].sha256) == 64


def test_what_a_teacher_has_seen_counts_as_seen(manifest: Path, tmp_path: Path) -> None:
    path = teacher(tmp_path / "t", seen={"train": ("0" * 12,), "val": ("1" * 12,)})
    config = run_config(manifest, tmp_path / "run", epochs=1, teachers=(str(path),))
    told = (
        read_detector(train(config, show_progress=False).detector_path)[1].training.video_sha256_prefixes
        or {}
    )
    own = read_manifest(manifest)
    assert list(told["train"]) == sorted(["0" * 12, *video_digests(own.split("train"))])
    assert list(told["val"]) == sorted(["1" * 12, *video_digests(own.split("val"))])


def test_teachers_that_know_the_validation_videos_are_refused(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = video_digests(read_manifest(manifest).split("val"))[:3]
    path = teacher(tmp_path / "t", seen={"train": tuple(seen)})
    command = [
        "train",
        "--manifest",
        str(manifest),
        "--backbone",
        "test_resnet",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--teachers", str(path), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "--teachers: t 0 was trained on 3 validation videos; pass detectors" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_what_is_no_teacher_is_refused(manifest: Path, tmp_path: Path) -> None:
    model = create_sequence_model("test_resnet", temporal="lstm", num_frames=2, image_size=32)
    save_detector(tmp_path / "s", model.eval(), DetectorConfig("s", "1", model.spec, CropGeometry()))
    other, config = read_detector(teacher(tmp_path / "t"))
    save_detector(tmp_path / "wide", other, replace(config, geometry=CropGeometry(1.9)))
    for path, error, words in (
        ("s", OptionError, "scores sequences"),
        ("wide", OptionError, "wide scores crops cut with .*margin=1.9.*, these were cut with"),
        ("absent", CheckpointError, "there is no such detector file"),
    ):
        with pytest.raises(error, match=words):
            train(
                run_config(manifest, tmp_path / "run", teachers=(str(tmp_path / path),)), show_progress=False
            )
    with pytest.raises(OptionError, match="teachers: score crops, not sequences"):
        run_config(manifest, tmp_path / "run", teachers=("t",), temporal="lstm", balance="none")


def test_another_teacher_makes_another_run(manifest: Path, tmp_path: Path) -> None:
    first, second = teacher(tmp_path / "a"), teacher(tmp_path / "b", seed=1)
    config = run_config(manifest, tmp_path / "run", epochs=1, teachers=(str(first),))
    train(config, show_progress=False)
    first.rename(tmp_path / "moved")
    train(
        replace(config, teachers=(str(tmp_path / "moved"),)), show_progress=False
    )  # a path is no difference
    with pytest.raises(OptionError, match="contains a run with other values of teachers_sha256"):
        train(replace(config, teachers=(str(second),)), show_progress=False)
