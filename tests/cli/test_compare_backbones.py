from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.training import backbone_study
from deepfake_detect.training.backbone_study import VideoScores, compare_backbones
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.study_options import StudyOptions
from tests.data.trees import crop_manifest, textured_crops

FAST = [
    *("--head-epochs", "0", "--epochs", "1", "--batch-size", "8", "--num-workers", "0", "--image-size", "32"),
    *("--no-sanity", "--device", "cpu", "--recalibrate-batches", "0", "--augmentation", "light"),
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    crops = (
        textured_crops(8, "train", seed=1)
        + textured_crops(6, "val", seed=2)
        + textured_crops(4, "test", seed=3)
    )
    return crop_manifest(tmp_path / "data", crops)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "comparison.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def call(manifest: Path, out: Path, *options: str) -> int:
    words = ["compare-backbones", "--manifest", str(manifest), "--out", str(out), *FAST, *options]
    return main(words)


def test_networks_are_ranked_and_a_failure_is_a_row(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    options = ["--backbones", "nosuch", "test_resnet", "--finetune", "features", "full"]
    assert call(manifest, out, *options) == 2
    shown = capsys.readouterr()
    assert "The test split was not read" in shown.out
    assert "error: nosuch full: backbone: 'nosuch' is neither" in shown.err
    found = rows(out)
    assert [row["backbone"] for row in found] == ["test_resnet", "test_resnet", "nosuch", "nosuch"]
    assert float(found[0]["val_auc"]) >= float(found[1]["val_auc"])
    by_mode = {row["finetune"]: row for row in found[:2]}
    assert int(by_mode["features"]["trained_parameters"]) < int(by_mode["full"]["trained_parameters"])
    assert by_mode["full"]["num_parameters"] == by_mode["full"]["trained_parameters"]
    assert all(float(row["faces_per_second"]) > 0 and row["test_auc"] == "" for row in found[:2])
    assert "'nosuch' is neither" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").stat().st_size > 5_000
    # A second start trains and scores nothing.
    times = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.name in ("state.pt", "val_scores.json")
    }
    assert len(times) == 4
    monkeypatch.setattr(backbone_study, "score_manifest", None)
    assert call(manifest, out, *options) == 2
    assert all(path.stat().st_mtime_ns == before for path, before in times.items())


def test_a_killed_study_goes_on(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_train, calls = backbone_study.train, []

    def killed(config: TrainingConfig, **more: Any) -> Any:
        calls.append(config.finetune)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real_train(config, **more)

    options = ["--backbones", "test_resnet", "--finetune", "features", "full"]
    monkeypatch.setattr(backbone_study, "train", killed)
    assert call(manifest, tmp_path / "study", *options) == 130
    assert call(manifest, tmp_path / "study", *options) == 0
    assert len(rows(tmp_path / "study")) == 2


def test_the_test_split_is_measured_on_request(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert call(manifest, out, "--backbones", "test_resnet", "--finetune", "full", "--test") == 0
    assert "measured on request and does not affect the ranking" in capsys.readouterr().out
    (row,) = rows(out)
    assert float(row["test_auc_low"]) <= float(row["test_auc"]) <= float(row["test_auc_high"])
    assert "| test AUC |" in (out / "comparison.md").read_text()
    # A manifest with more test videos: what was scored of the fewer is not taken for them.
    more = [textured_crops(count, split, seed=seed) for count, split, seed in
            ((8, "train", 1), (6, "val", 2), (6, "test", 3))]  # fmt: skip
    grown = crop_manifest(tmp_path / "grown", sum(more, []))
    assert call(grown, out, "--backbones", "test_resnet", "--finetune", "full", "--test") == 0
    (scores,) = out.glob("runs/*/test_scores.json")
    assert len(json.loads(scores.read_text())["labels"]) == 12


def test_what_runs_out_of_memory_is_a_row(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(backbone_study, "train", fail)
    assert call(manifest, tmp_path / "study", "--backbones", "test_resnet", "--finetune", "full") == 2
    assert "out of memory; pass a smaller `batch_size`" in capsys.readouterr().err
    assert rows(tmp_path / "study")[0]["reason"].startswith("out of memory")

    def break_(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(backbone_study, "train", break_)
    with pytest.raises(RuntimeError, match="a bug"):
        call(manifest, tmp_path / "study", "--backbones", "test_resnet", "--finetune", "full")


def test_missing_weights_are_a_row(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--backbones", "test_resnet", "--finetune", "full", "--weights", "test_resnet=absent.pt"]
    assert call(manifest, tmp_path / "study", *options) == 2
    assert "error: test_resnet full: absent.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "test_resnet"], "--weights: 'test_resnet' names no backbone; write NAME=PATH"),
        (["--weights", "test_resnet=a", "test_resnet=b"], "--weights: names test_resnet twice"),
        (["--weights", "vgg16=a"], "--weights: names 'vgg16', which is not compared"),
        (["--finetune", "some"], "--finetune: 'some' is unknown"),
        (["--seeds", "0"], "--seeds: is 0; must be 1 or more"),
        (["--dropout", "much"], "--dropout: is 'much'; must be at least 0 and below 1"),
    ],
)
def test_bad_options_are_one_line(
    manifest: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(manifest, tmp_path / "study", "--backbones", "test_resnet", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "study" / "runs").exists()


def test_the_library_refuses_what_cannot_be_compared(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="backbones: is empty; name one or more"):
        StudyOptions(backbones=())
    sequences = TrainingConfig(manifest, tmp_path / "out", "test_resnet", temporal="lstm", balance="none")
    with pytest.raises(OptionError, match="temporal: scores sequences, not faces"):
        compare_backbones(sequences, StudyOptions(("test_resnet",), ("full",)))


def test_the_mean_over_seeds_is_that_of_each_auc() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    seeds = [VideoScores("", "", 60, labels.tolist(), rng.random(60).tolist()) for _ in range(3)]
    area, areas = backbone_study._mean_auc(seeds)
    wanted = [roc_auc(labels, np.array(one.probabilities)) for one in seeds]
    assert areas == pytest.approx(wanted)
    assert area.value == pytest.approx(np.mean(wanted))
    single, _ = backbone_study._mean_auc(seeds[:1])
    assert area.high - area.low < single.high - single.low  # chance answers that differ average out


def test_every_network_takes_its_turn_in_every_round(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    real = backbone_study.TorchDetector.batch_logits

    def watched(self: Any, images: torch.Tensor) -> Any:
        turns.append(id(self))
        assert len(images) == 11  # one of 12 cannot be read
        return real(self, images)

    monkeypatch.setattr(backbone_study.TorchDetector, "batch_logits", watched)
    from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
    from deepfake_detect.models.classifier import create_model

    model = create_model("test_resnet", image_size=32)
    geometry = read_manifest(manifest).geometry
    config = DetectorConfig(name="made", version="1.0", model=model.spec, geometry=geometry, training={})
    save_detector(tmp_path / "made.safetensors", model, config)
    rows_of_val = read_manifest(manifest).split("val")
    (manifest.parent / rows_of_val.columns(["path"])["path"][0].as_py()).write_bytes(b"no picture")
    speeds = backbone_study.measure_speeds(
        [tmp_path / "made.safetensors"] * 2, rows_of_val, device=torch.device("cpu"), num_rounds=2
    )
    assert len(speeds) == 2
    assert min(speeds) > 0
    assert turns == turns[:2] * 3
    for path in rows_of_val.columns(["path"])["path"].to_pylist():
        (manifest.parent / path).write_bytes(b"no picture")
    with pytest.raises(ManifestError, match="none of its crops can be read"):
        backbone_study.measure_speeds([], rows_of_val, device=torch.device("cpu"))
