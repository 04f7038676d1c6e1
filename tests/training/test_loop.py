from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from deepfake_detect.cli import main
from deepfake_detect.data import leaks
from deepfake_detect.data.crops import PairedBatchSampler
from deepfake_detect.data.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    manifest_metadata,
    read_manifest,
    rows_to_table,
    write_manifest,
)
from deepfake_detect.errors import CheckpointError, ManifestError, OptionError, OutputError, SanityError
from deepfake_detect.io.files import file_lock, make_folder
from deepfake_detect.metrics import roc_auc
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.records import CropGeometry
from deepfake_detect.training.data_module import labels_and_people
from deepfake_detect.training.history import TrainingResult
from deepfake_detect.training.kept_epochs import epoch_file
from deepfake_detect.training.prepare import Run
from deepfake_detect.training.stages import Stage
from tests.conftest import ROOT
from tests.data.trees import crop_manifest, textured_crops
from tests.training.runs import Kill, train
from tests.training.runs import small_run as config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest that no test changes."""
    crops = (
        textured_crops(24, "train", seed=1)
        + textured_crops(12, "val", seed=2)
        + textured_crops(8, "test", seed=3)
    )
    return crop_manifest(tmp_path_factory.mktemp("made") / "data", crops, geometry=CropGeometry(1.1))


@pytest.fixture
def manifest(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    shutil.copytree(made.parent, tmp_path / "data")
    return tmp_path / "data" / made.name


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough crops for tests in which nothing has to be learned."""
    crops = textured_crops(8, "train", seed=1) + textured_crops(4, "val", seed=2)
    return crop_manifest(tmp_path_factory.mktemp("few") / "data", crops, geometry=CropGeometry(1.1))


@pytest.fixture(scope="module")
def finished(made: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run of three epochs that keeps the first, the second and the last."""
    run = config(made, tmp_path_factory.mktemp("finished") / "run", save_epochs=(0, 1, 3))
    return train(run, show_progress=False)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_detector(path)[0].state_dict())


def test_a_run_learns_and_keeps_the_best_epoch(made: Path, tmp_path: Path) -> None:
    # The two classes differ at a glance; a network that learns at all must tell them apart.
    run = config(made, tmp_path / "run", epochs=5, learning_rate=3e-3, image_size=64)
    result = train(run, show_progress=False)
    assert [record.stage for record in result.history] == ["head"] + ["full"] * 5
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.best.val_video_auc > 0.9
    assert result.best.val_video_auc == max(record.val_video_auc for record in result.history)
    _, stored = read_detector(result.detector_path)
    assert stored.geometry == CropGeometry(1.1)
    assert stored.training.selected_epoch == result.best.epoch
    assert stored.training.train_videos_sha256 == read_manifest(made).split("train").video_ids_sha256()
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]


def test_chosen_epochs_are_kept_and_drawn_side_by_side(
    made: Path, finished: TrainingResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run, plain = finished, finished.detector_path.parent, tmp_path / "plain"
    assert sorted(file.name for file in (run / "epochs").iterdir()) == [
        f"epoch-000{epoch}.safetensors" for epoch in (0, 1, 3)
    ]
    kept = {epoch: read_detector(epoch_file(run, epoch)) for epoch in (0, 1, 3)}
    assert [config.training.kept_epoch for _, config in kept.values()] == [0, 1, 3]
    first, headed, last = (model.state_dict() for model, _ in kept.values())
    # The head's epoch moves nothing else; the later ones move all.
    changed = {name for name in first if not torch.equal(first[name], headed[name])}
    assert {name.split(".")[0] for name in changed} == {"head"}
    assert not torch.equal(first["encoder.conv1.0.weight"], last["encoder.conv1.0.weight"])
    # To keep them changes nothing that is learned.
    unkept = train(config(made, plain), show_progress=False)
    assert [one.train_loss for one in unkept.history] == [one.train_loss for one in result.history]
    if result.best.epoch == 3:
        assert all(torch.equal(one, last[name]) for name, one in weights_of(result.detector_path).items())
    draw = ["lab", "filters", "--detector", str(run), "--out", str(tmp_path / "filters.png")]
    assert main([*draw, "--epochs", "0,3"]) == 0
    assert "run epoch-0000, run epoch-0003" in capsys.readouterr().out
    assert main([*draw, "--epochs", "2"]) == 2
    assert "epoch 2 was not kept (kept: 0, 1, 3)" in capsys.readouterr().err


def test_a_stopped_run_keeps_the_epochs_that_are_still_to_come(
    made: Path, finished: TrainingResult, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config(made, tmp_path / "run", save_epochs=(1, 3)), callbacks=[Kill(epoch=3)])
    assert not epoch_file(tmp_path / "run", 3).exists()
    with pytest.raises(OptionError, match=r"save_epochs: names epoch 2, and the run in .* is past it"):
        train(config(made, tmp_path / "run", save_epochs=(1, 2, 3)), show_progress=False)
    train(config(made, tmp_path / "run", save_epochs=(1, 3)), show_progress=False)
    assert finished.history[-1].epoch == 3
    for name, tensor in weights_of(epoch_file(finished.detector_path.parent, 3)).items():
        assert torch.equal(tensor, weights_of(epoch_file(tmp_path / "run", 3))[name]), name


def test_the_head_stage_leaves_the_backbone_as_it_was(few: Path, tmp_path: Path) -> None:
    run = config(few, tmp_path / "run", epochs=0, recalibrate_batches=0)
    train(run, show_progress=False)
    torch.manual_seed(0)  # unlike the run's seeding on purpose: load what the run started from
    from accelerate.utils import set_seed

    set_seed(run.seed)
    start = create_model("test_resnet").state_dict()
    trained = weights_of(tmp_path / "run" / "detector.safetensors")
    for name, tensor in start.items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, trained[name]), name
    assert not torch.equal(start["head.1.weight"], trained["head.1.weight"])


def test_a_stopped_run_resumes_and_ends_as_the_unbroken_one(
    made: Path, finished: TrainingResult, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config(made, tmp_path / "broken"), callbacks=[Kill(epoch=3)])
    resumed = train(config(made, tmp_path / "broken"), show_progress=False)
    assert [record.epoch for record in resumed.history] == [1, 2, 3]
    whole, broken = (
        torch.load(folder / "state.pt", weights_only=True)
        for folder in (finished.detector_path.parent, tmp_path / "broken")
    )
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, broken["model"][name]), name
    # Nothing is left to do: a third start changes nothing.
    before = (tmp_path / "broken" / "state.pt").stat().st_mtime_ns
    train(config(made, tmp_path / "broken"), show_progress=False)
    assert (tmp_path / "broken" / "state.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("stops_at", "changes"),
    [
        (2, {}),
        (10, {"num_workers": 1, "ema": 0.9, "mixup": 0.3}),
        (5, {"accumulate": 2, "sam": 0.05, "optimizer": "sgd", "schedule": "one-cycle"}),
        (5, {"finetune": "lora+norm", "balance": "sampler", "dropout": 0.5, "unfreeze_epochs": 1.0}),
    ],
)
def test_a_run_killed_at_any_step_ends_as_the_unbroken_one(
    stops_at: int,
    changes: dict[str, object],
    made: Path,
    tmp_path: Path,
) -> None:
    changes = {"batch_size": 8, "epochs": 1, "save_every": 2, **changes}
    whole = train(config(made, tmp_path / "whole", **changes), show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(config(made, tmp_path / "broken", **changes), callbacks=[Kill(step=stops_at)])
    state = tmp_path / "broken" / "state.pt"
    if stops_at > 2:
        stored = torch.load(state, weights_only=True)
        assert stored["progress"][0]["num_batches"] > 0  # in the middle of an epoch
    resumed = train(config(made, tmp_path / "broken", **changes), show_progress=False)
    assert [r.train_loss for r in resumed.history] == [r.train_loss for r in whole.history]
    for name, tensor in weights_of(whole.detector_path).items():
        assert torch.equal(tensor, weights_of(resumed.detector_path)[name]), name
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "broken")]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name


def test_what_is_learned_does_not_depend_on_the_number_of_readers(made: Path, tmp_path: Path) -> None:
    runs = [config(made, tmp_path / str(n), epochs=0, num_workers=n) for n in (1, 0, 2)]
    one, *others = (weights_of(train(run, show_progress=False).detector_path) for run in runs)
    assert len(others) == 2
    assert all(torch.equal(one[name], other[name]) for other in others for name in one)


@pytest.mark.parametrize(
    ("finetune", "changed"),
    [
        ("features", ()),
        ("top", ("encoder.layer4", "encoder.layer3")),
        ("norm", ("bn1", "bn2")),
        ("scratch", ("encoder.conv1", "encoder.layer1", "encoder.layer4")),
        ("full", ("encoder.conv1", "encoder.layer1", "encoder.layer4")),
    ],
)
def test_a_regime_trains_what_it_names_and_nothing_else(
    finetune: str, changed: tuple[str, ...], few: Path, tmp_path: Path
) -> None:
    from accelerate.utils import set_seed

    run = config(
        few,
        tmp_path / "run",
        finetune=finetune,
        top_blocks=2,
        epochs=1,
        recalibrate_batches=0,
        learning_rate=1e-2,
        batchnorm="frozen",
    )
    result = train(run, show_progress=False)
    stages = {"features": [finetune] * 2, "scratch": [finetune] * 2}.get(finetune, ["head", finetune])
    assert [record.stage for record in result.history] == stages
    set_seed(run.seed)
    start = create_model("test_resnet").state_dict()
    end = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["model"]
    moved = {name for name in start if not torch.equal(start[name], end[name])}
    assert {"head.1.weight", "head.1.bias"} <= moved
    of_encoder = {name for name in moved if name.startswith("encoder.")}
    for part in changed:
        assert any(part in name for name in of_encoder), part
    if finetune == "norm":
        weights = {name for name in start if name.endswith("weight")}
        norms = {name for name in weights if name.replace("weight", "running_mean") in start}
        assert {name for name in of_encoder if name.endswith("weight")} == norms
    elif finetune in ("top", "features"):
        assert all(any(part in name for part in changed) for name in of_encoder), of_encoder


def test_a_run_ends_early_when_nothing_gets_better(few: Path, tmp_path: Path) -> None:
    run = config(few, tmp_path / "run", epochs=30, patience=2, learning_rate=3e-3)
    result = train(run, show_progress=False)
    assert result.best.epoch == len(result.history) - 2 < 29
    assert len(train(run, show_progress=False).history) == len(result.history)  # nor does it go on


def test_figures_for_tensorboard(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(config(few, tmp_path / "run", epochs=0, tensorboard=True), show_progress=False)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_batch_norm_statistics_are_measured_on_the_crops(few: Path, tmp_path: Path) -> None:
    run = config(few, tmp_path / "run", epochs=0, recalibrate_batches=3)
    train(run, show_progress=False)
    trained = weights_of(tmp_path / "run" / "detector.safetensors")
    means = [tensor for name, tensor in trained.items() if name.endswith("running_mean")]
    assert means
    assert all(tensor.abs().sum() > 0 for tensor in means)  # untrained networks start from zeros


def test_a_folder_of_another_run_is_refused(few: Path, tmp_path: Path) -> None:
    train(config(few, tmp_path / "run", epochs=0), show_progress=False)
    with pytest.raises(OptionError, match="contains a run with other values of learning_rate"):
        train(config(few, tmp_path / "run", epochs=0, learning_rate=0.1), show_progress=False)


def test_splits_that_leak_or_lack_a_class_are_refused(tmp_path: Path) -> None:
    train_crops, val_crops = textured_crops(2, "train", seed=1), textured_crops(2, "val", seed=2)
    only_real = [crop for crop in val_crops if crop[1] == 0]
    path = crop_manifest(tmp_path / "one", train_crops + only_real)
    with pytest.raises(ManifestError, match="split val has no fake crop"):
        train(config(path, tmp_path / "run"), show_progress=False)
    leak = [("fake-train0", 1, "val", val_crops[1][3]), ("other", 0, "val", val_crops[0][3])]
    path = crop_manifest(tmp_path / "two", [train_crops[0], *train_crops[2:], *leak])
    with pytest.raises(ManifestError, match="identities: train and val share 1 .*such as made:train0"):
        train(config(path, tmp_path / "run"), show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_leak_is_let_pass_by_name_and_told_in_the_detector(tmp_path: Path) -> None:
    crops = textured_crops(4, "train", seed=1) + textured_crops(4, "val", seed=2)
    (twin,) = [crop for crop in crops if crop[0] == "train0"]
    path = crop_manifest(tmp_path / "m", [*crops, ("val9", 0, "val", twin[3])])
    run = config(path, tmp_path / "run", epochs=0)
    with pytest.raises(
        ManifestError, match="identical-crops: train and val share 1 .*`allow_leak` identical"
    ):
        train(run, show_progress=False)
    with pytest.raises(ManifestError, match="identical-crops"):
        train(replace(run, allow_leak=("identities", "near-duplicate-crops")), show_progress=False)
    result = train(replace(run, allow_leak=("identical-crops",)), show_progress=False)
    assert read_detector(result.detector_path)[1].training.allow_leak == ("identical-crops",)


def test_validation_on_the_test_split_is_refused(tmp_path: Path) -> None:
    """The best epoch would be chosen on what is reported."""
    crops = textured_crops(4, "train", seed=1) + textured_crops(4, "val", seed=2)
    path = crop_manifest(tmp_path / "m", crops)
    rows = read_manifest(path).table.to_pylist()
    rows += [{**row, "split": "test"} for row in rows if row["split"] == "val"]
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    with pytest.raises(ManifestError, match="videos: val and test share 8"):
        train(config(path, tmp_path / "run"), show_progress=False)


def test_rows_are_chosen_by_a_condition(tmp_path: Path) -> None:
    crops = textured_crops(6, "train", seed=1) + textured_crops(4, "val", seed=2)
    path = crop_manifest(tmp_path / "m", crops)
    run = config(path, tmp_path / "run", epochs=0, where="target_id not in ('train0', 'val0')")
    stored = read_detector(train(run, show_progress=False).detector_path)[1].training
    assert (stored.num_train_crops, stored.num_val_crops) == (10, 6)
    assert stored.where == run.where
    assert stored.datasets == ("made",)
    with pytest.raises(OptionError, match="contains a run with other values of .*where"):
        train(replace(run, where=None), show_progress=False)
    with pytest.raises(OptionError, match="where: 'color = 1' cannot be read"):
        train(replace(run, where="color = 1"), show_progress=False)


def test_crops_too_many_to_be_compared_are_told(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "MAX_CROPS_COMPARED", 10)
    with pytest.warns(UserWarning, match="its 88 crops were not compared .* audit_manifest compares them"):
        train(config(made, tmp_path / "run", epochs=0), show_progress=False)


def test_what_changes_nothing_learned_may_change_on_resume_and_data_may_not(
    few: Path, tmp_path: Path
) -> None:
    run = config(few, tmp_path / "run", epochs=0)
    train(run, show_progress=False)
    train(replace(run, num_workers=1), show_progress=False)
    fewer = crop_manifest(
        tmp_path / "fewer",
        textured_crops(4, "train", seed=1) + textured_crops(2, "val", seed=2),
        geometry=CropGeometry(1.1),
    )
    with pytest.raises(OptionError, match="train_videos_sha256"):
        train(replace(run, manifest=fewer), show_progress=False)


def test_a_source_in_both_splits_is_a_leak(tmp_path: Path) -> None:
    crops = textured_crops(2, "train", seed=1) + textured_crops(2, "val", seed=2)
    path = crop_manifest(tmp_path / "m", crops)
    rows = read_manifest(path).table.to_pylist()
    rows[0]["source_id"] = "val0"  # a training row shows a validation face
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    with pytest.raises(ManifestError, match="identities: train and val share 1 .*such as made:val0"):
        train(config(path, tmp_path / "run"), show_progress=False)


def test_damaged_state_is_named(few: Path, tmp_path: Path) -> None:
    run = config(few, tmp_path / "run", epochs=0)
    train(run, show_progress=False)
    (tmp_path / "run" / "state.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="state.pt: is damaged"):
        train(run, show_progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "epochs: is -1; must be 0 or more"),
        ({"epochs": 0, "head_epochs": 0}, "train for at least one epoch"),
        ({"device": "cuda:1"}, "device: is 'cuda:1'; must be one of auto, cpu, cuda"),
        ({"weight_decay": -1.0}, "weight_decay: is -1.0"),
        ({"learning_rate": 0.0}, "learning_rate: is 0.0"),
        ({"label_smoothing": 0.5}, "label_smoothing: is 0.5"),
        ({"precision": "int3"}, "precision: is 'int3'; must be one of auto, no, bf16, fp16"),
        ({"augmentation": "wild"}, "augmentation: is 'wild'; must be one of none, light"),
        ({"allow_leak": ("people",)}, "allow_leak: is 'people'; must be one of videos, identities"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        config(tmp_path, tmp_path, **changes)


def test_an_unreadable_crop_is_named_once_and_left_out(manifest: Path, tmp_path: Path) -> None:
    crops = manifest.parent / "crops"
    (crops / "train3.png").write_bytes(b"no picture")
    (crops / "val5.png").unlink()
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        result = train(config(manifest, tmp_path / "run", epochs=1), show_progress=False)
    told = [str(warning.message) for warning in caught]
    assert [record.unreadable for record in result.history] == [1, 1]
    assert told == [  # once, not once an epoch
        f"{manifest}: 2 of 88 crops cannot be read and were not compared, first {crops / 'train3.png'}",
        f"skipped in training, cannot be read: {crops / 'train3.png'}",
        f"skipped in validation, cannot be read: {crops / 'val5.png'}",
    ]


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
def test_batches_without_a_readable_crop_are_left_out(manifest: Path, tmp_path: Path) -> None:
    for name in ("train", "fake-train"):
        for number in range(2, 24):
            (manifest.parent / "crops" / f"{name}{number}.png").unlink()
    run = config(manifest, tmp_path / "run", batch_size=2, epochs=0, recalibrate_batches=24)
    result = train(run, show_progress=False)
    assert [record.unreadable for record in result.history] == [44]
    assert np.isfinite(result.best.train_loss)
    counts = [
        n for name, n in weights_of(result.detector_path).items() if name.endswith("num_batches_tracked")
    ]
    assert {int(count) for count in counts} == {2}  # statistics are a mean over the others


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
@pytest.mark.parametrize(("split", "purpose"), [("train", "training"), ("val", "validation")])
def test_a_split_of_which_nothing_can_be_read_is_refused(
    split: str, purpose: str, manifest: Path, tmp_path: Path
) -> None:
    for crop in (manifest.parent / "crops").glob(f"*{split}*.png"):
        crop.unlink()
    with pytest.raises(ManifestError, match=f"none of its {purpose} crops can be read"):
        train(config(manifest, tmp_path / "run"), show_progress=False)


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
@pytest.mark.parametrize(("stem", "word"), [("train", "real"), ("fake-train", "fake")])
def test_training_on_one_class_alone_is_refused(stem: str, word: str, manifest: Path, tmp_path: Path) -> None:
    for number in range(24):
        (manifest.parent / "crops" / f"{stem}{number}.png").unlink()
    with pytest.raises(ManifestError, match=f"none of its {word} training crops can be read"):
        train(config(manifest, tmp_path / "run"), show_progress=False)
    assert not (tmp_path / "run" / "detector.safetensors").exists()


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
def test_validation_of_one_class_alone_is_refused(manifest: Path, tmp_path: Path) -> None:
    for number in range(12):
        (manifest.parent / "crops" / f"val{number}.png").unlink()
    with pytest.raises(ManifestError, match="no real one of the validation crops can be read"):
        train(config(manifest, tmp_path / "run"), show_progress=False)


@pytest.mark.filterwarnings("ignore:.*cannot be read:UserWarning")
def test_batches_of_one_crop_measure_no_statistics(manifest: Path, tmp_path: Path) -> None:
    """Batch norm has nothing to measure on one crop; such a step leaves its statistics alone."""
    for number in range(24):
        (manifest.parent / "crops" / f"{'fake-' * (number % 2)}train{number}.png").unlink()
    run = config(manifest, tmp_path / "run", batch_size=2, head_epochs=0, epochs=1, recalibrate_batches=0)
    result = train(run, show_progress=False)
    counts = {
        int(n) for name, n in weights_of(result.detector_path).items() if name.endswith("num_batches_tracked")
    }
    assert counts == {0}


def test_a_loss_that_is_no_number_ends_the_run(few: Path, tmp_path: Path) -> None:
    def no_number(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (logits + targets) * float("nan")

    with pytest.raises(SanityError, match="the loss is nan in epoch 1, batch 1"):
        train(config(few, tmp_path / "run"), loss=no_number)


def test_a_folder_in_use_is_refused(few: Path, tmp_path: Path) -> None:
    out = make_folder(tmp_path / "run")
    with file_lock(out, what="training"), pytest.raises(OutputError, match="another training is writing"):
        train(config(few, out), show_progress=False)


def test_runs_of_two_precisions_in_one_process(few: Path, tmp_path: Path) -> None:
    """The second run computes in its own precision, not in that of the first."""
    alone = train(config(few, tmp_path / "alone", epochs=0, precision="no"), show_progress=False)
    train(config(few, tmp_path / "bf16", epochs=0, precision="bf16"), show_progress=False)
    after = train(config(few, tmp_path / "after", epochs=0, precision="no"), show_progress=False)
    assert [r.val_loss for r in alone.history] == [r.val_loss for r in after.history]


def test_blocks_that_have_not_joined_in_take_no_part(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their gradients neither limit those of the others nor move an average of the optimizer."""
    from deepfake_detect.training import loop

    step, num_frozen = loop._step, []

    def watched(run: Run, stage: Stage, model: Any, optimizer: Any, *rest: Any) -> Any:
        found = step(run, stage, model, optimizer, *rest)
        frozen = [
            part for part, group in zip(stage.parts, optimizer.param_groups, strict=True) if group["lr"] == 0
        ]
        assert all(p.grad is None for part in frozen for p in part.parameters)
        num_frozen.append(len(frozen))
        return found

    monkeypatch.setattr(loop, "_step", watched)
    train(config(made, tmp_path / "run", epochs=2, unfreeze_epochs=1.0), show_progress=False)
    assert max(num_frozen) > 0
    assert num_frozen[-1] == 0


def test_pairs_are_of_one_person_and_not_of_one_name(tmp_path: Path) -> None:
    """Two datasets may call two people id1; a dataset made from another's videos names its people."""
    people = [("A", "id1"), ("B", "id1"), ("", ""), ("DF40", "A:id1")]
    rows = [
        {"dataset": dataset, "video_id": f"{dataset}/{label}", "label": label, "target_id": person}
        for label in (0, 1)
        for dataset, person in people
    ]
    write_manifest(tmp_path / "manifest.parquet", rows_to_table(rows), geometry=CropGeometry())
    labels, names = labels_and_people(read_manifest(tmp_path))
    assert labels.tolist() == [0] * 4 + [1] * 4
    assert names.to_pylist() == ["A:id1", "B:id1", None, "A:id1"] * 2
    sampler = PairedBatchSampler(labels, names, batch_size=2, seed=0)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        partner = dict(sampler.epoch_pairs().tolist())
        assert {partner[4], partner[7]} <= {0, 3}
        assert partner[5] == 1


def test_labels_and_people_stand_as_the_rows_do(tmp_path: Path) -> None:
    """Rows drawn from many row groups come shuffled where nobody asks for their order."""
    count = 100_000
    columns = {
        "dataset": pa.array(["made"] * count),
        "video_id": pa.array([str(number) for number in range(count)]),
        "label": pa.array(np.random.default_rng(0).integers(0, 2, count), pa.int8()),
        "target_id": pa.array([f"p{number}" for number in range(count)]),
    }
    table = pa.table(
        [columns.get(one.name, pa.nulls(count, one.type)) for one in MANIFEST_SCHEMA], MANIFEST_SCHEMA
    )
    path = tmp_path / "manifest.parquet"
    stored = table.replace_schema_metadata(manifest_metadata(CropGeometry()))
    pq.write_table(stored, path, row_group_size=2000)
    drawn = Manifest(path, CropGeometry(), numbers=np.arange(0, count, 3))
    labels, names = labels_and_people(drawn)
    expected = drawn.columns(["label", "target_id"])
    np.testing.assert_array_equal(labels, expected["label"].to_numpy())
    assert names.to_pylist() == [f"made:{name}" for name in expected["target_id"].to_pylist()]


# So easy a set may be told apart without a fault, and then there is nothing to calibrate by.
@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated:UserWarning")
def test_from_manifest_to_metrics_with_the_tools_alone(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, report = tmp_path / "run", tmp_path / "report"
    options = ["--backbone", "test_resnet", "--epochs", "4", "--batch-size", "16", "--augmentation", "light"]
    options += [
        "--learning-rate",
        "3e-3",
        "--num-workers",
        "1",
        "--device",
        "cpu",
        "--recalibrate-batches",
        "2",
        "--seed",
        "1",
    ]
    crops = manifest.parent / "crops"
    (crops / "val0.png").write_bytes((crops / "train0.png").read_bytes())
    assert main(["train", "--manifest", str(manifest), "--out", str(run), *options]) == 2
    assert "identical-crops: train and val share 1 " in capsys.readouterr().err
    options += ["--allow-leak", "identical-crops"]
    assert main(["train", "--manifest", str(manifest), "--out", str(run), *options]) == 0
    said = capsys.readouterr().out
    assert said.count("pass  ") == 8
    assert "best so far" in said
    assert "epoch 5 (full): train loss" in (run / "log.txt").read_text()
    for picture in ("batch", "confusion"):
        assert (run / f"{picture}.png").stat().st_size > 5_000
    with open(run / "predictions.csv", newline="") as file:
        predictions = list(csv.DictReader(file))
    assert len(predictions) == 24
    threshold = read_detector(run / "detector.safetensors")[1].threshold
    for row in predictions:
        assert (float(row["fake_probability"]) >= threshold) == (row["class"] == "fake")
    assert (run / "history.png").stat().st_size > 10_000
    _, stored = read_detector(run / "detector.safetensors")
    assert stored.uncertain_low <= stored.threshold <= stored.uncertain_high
    arguments = ["--detector", str(run / "detector.safetensors"), "--manifest", str(manifest)]
    assert main(["evaluate", *arguments, "--split", "test", "--out", str(report), "--device", "cpu"]) == 0
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["video"]["auc"]["value"] > 0.9
    assert (
        metrics["video"]["auc"]["low"] <= metrics["video"]["auc"]["value"] <= metrics["video"]["auc"]["high"]
    )
    assert set(metrics["per_method"]) == {"Made"}
    assert metrics["coverage"]["videos_expected"] == metrics["coverage"]["videos_scored"] == 16
    assert (report / "roc.png").stat().st_size > 10_000
    assert "video_sha256_prefixes" not in (report / "config.json").read_text()
    for split, use in (("train", "trained"), ("val", "selected")):
        seen = [*arguments, "--split", split, "--allow-leak", "identical-crops"]
        with pytest.warns(UserWarning, match=f"the detector was {use} on [0-9]+ of the"):
            assert main(["evaluate", *seen, "--out", str(report), "--device", "cpu"]) == 0


def test_evaluation_refuses_a_leak_unless_told_otherwise(
    manifest: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = manifest.parent / "crops"
    (crops / "test0.png").write_bytes((crops / "train0.png").read_bytes())
    arguments = [
        "evaluate",
        "--detector",
        str(small_detector),
        "--manifest",
        str(manifest),
        "--device",
        "cpu",
    ]
    arguments += ["--out", str(tmp_path / "report"), "--bootstrap-draws", "10", "--num-workers", "0"]
    rows = read_manifest(manifest)
    write_manifest(manifest, rows.table, geometry=CropGeometry())  # as wide as the detector needs
    assert main(arguments) == 2
    assert "identical-crops: train and test share 1 " in capsys.readouterr().err
    assert main([*arguments, "--where", "split == 'test'"]) == 2
    assert "identical-crops: train and test share 1 " in capsys.readouterr().err
    for options, num_videos in (
        (["--allow-leak", "identical-crops", "videos"], 16),
        (["--where", "path <> 'crops/test0.png'"], 15),
    ):
        assert main([*arguments, *options]) == 0
        metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
        assert metrics["coverage"]["videos_scored"] == num_videos


def two_process_options(manifest: Path, out: Path) -> list[str]:
    return [
        *("--manifest", str(manifest), "--out", str(out), "--backbone", "test_resnet", "--epochs", "1"),
        *("--batch-size", "8", "--augmentation", "none", "--num-workers", "0", "--device", "cpu"),
        *("--recalibrate-batches", "2", "--image-size", "32"),
    ]


def in_two_processes(
    manifest: Path,
    out: Path,
    *,
    script: str = "watched_train.py",
    restarts: int = 0,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(f"--max-restarts={restarts}", str(ROOT / "tests" / "training" / script), str(out.parent)),
        *(*two_process_options(manifest, out), *options),
    ]
    out.parent.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)


def test_two_processes_train_one_network(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = manifest.parent / "crops"
    unreadable = [*(f"train{n}" for n in range(4)), *(f"val{n}" for n in range(4))]
    for name in unreadable:  # several, so that both processes meet some
        (crops / f"{name}.png").unlink()
    done = in_two_processes(manifest, tmp_path / "run")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("selected epoch") == 1  # the main process alone reports
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["head", "full"]
    assert np.isfinite([float(row["val_loss"]) for row in rows]).all()
    assert [row["unreadable"] for row in rows] == ["4", "4"]
    for name in unreadable:
        purpose = "training" if name.startswith("train") else "validation"
        told = f"skipped in {purpose}, cannot be read: {crops / name}.png"
        assert done.stderr.count(told) == 1, told
    # One process, measuring the detector they left, finds what the two found together.
    with open(tmp_path / "run" / "predictions.csv", newline="") as file:
        alone = list(csv.DictReader(file))
    labels, scores = (np.array([float(row[name]) for row in alone]) for name in ("label", "fake_probability"))
    assert len(alone) == 20
    best = max(float(row["val_frame_auc"]) for row in rows)
    assert roc_auc(labels, scores) == pytest.approx(best, abs=1e-9)
    # Both validate with the statistics that are kept, and only two processes go on with it.
    of_ranks = [json.loads((tmp_path / f"statistics-{rank}.json").read_text()) for rank in range(2)]
    assert of_ranks[0] == of_ranks[1]
    assert len(set(of_ranks[0])) == 2  # the second epoch trained the layers that have them
    with pytest.warns(UserWarning, match="cannot be read"):
        assert main(["train", *two_process_options(manifest, tmp_path / "run")]) == 2
    assert (
        "was started by 2 processes, now there are 1; resume with the same number" in capsys.readouterr().err
    )
    assert_a_killed_process_is_replaced(manifest, tmp_path)


def assert_a_killed_process_is_replaced(manifest: Path, folder: Path) -> None:
    """Torchrun starts all processes again, which resume from the last state to the weights of ``run``."""
    done = in_two_processes(
        manifest,
        folder / "broken" / "run",
        script="mortal_train.py",
        restarts=1,
        options=("--save-every", "2", "--no-sanity"),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "broken" / "killed").exists()
    assert "resumes in epoch 2 after 2 batches" in done.stdout
    whole, broken = (load_file(at / "run" / "detector.safetensors") for at in (folder, folder / "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(tensor, broken[key]) for key, tensor in whole.items())


def test_a_leak_ends_every_process(manifest: Path, tmp_path: Path) -> None:
    """The main process alone reads the crops; the others must not wait for it."""
    crops = manifest.parent / "crops"
    (crops / "val0.png").write_bytes((crops / "train0.png").read_bytes())
    done = in_two_processes(manifest, tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("its splits leak: identical-crops: train and val share 1") == 2
    assert not (tmp_path / "run").exists()


def test_the_tool_trains_and_calibrates_on_the_chosen_rows(manifest: Path, tmp_path: Path) -> None:
    """Crops that are left out are not there: whoever reads them warns, and warnings are errors."""
    for name in ("train0", "fake-train0", "val0", "fake-val0"):
        (manifest.parent / "crops" / f"{name}.png").unlink()
    options = ["--backbone", "test_resnet", "--epochs", "0", "--augmentation", "none", "--num-workers", "0"]
    options += ["--device", "cpu", "--where", "target_id not in ('train0', 'val0')"]
    assert main(["train", "--manifest", str(manifest), "--out", str(tmp_path / "run"), *options]) == 0
    assert read_detector(tmp_path / "run" / "detector.safetensors")[1].training.num_val_crops == 22


@pytest.mark.needs_cuda
def test_the_gpu_trains_too(manifest: Path, tmp_path: Path) -> None:
    run = config(manifest, tmp_path / "run", device="cuda", epochs=5, learning_rate=3e-3, image_size=64)
    assert train(run, show_progress=False).best.val_video_auc > 0.9
