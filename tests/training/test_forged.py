from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.forgery.blended_crops import relative_landmarks
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.records import CropGeometry
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.forged import make_blender, store_landmarks, validation_source
from deepfake_detect.training.rate_finder import find_learning_rate
from tests.conftest import ROOT
from tests.forgery.faces import face_manifest
from tests.training.runs import Kill, train


@pytest.fixture
def reals(tmp_path: Path) -> Path:
    return face_manifest(tmp_path / "reals", {"train": 20, "val": 10})


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return face_manifest(tmp_path / "both", {"train": 20, "val": 10}, fakes={"train": 20, "val": 10})


def config(manifest: Path, out: Path, **changes: object) -> TrainingConfig:
    base = TrainingConfig(
        manifest=manifest,
        out=out,
        backbone="test_resnet",
        forgery="sbi",
        head_epochs=1,
        epochs=1,
        batch_size=8,
        augmentation="none",
        recalibrate_batches=2,
        num_workers=0,
        device="cpu",
        sanity=False,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_reals_alone_are_enough(reals: Path, tmp_path: Path) -> None:
    run = config(reals, tmp_path / "run", epochs=6, learning_rate=3e-3)
    result = train(run, show_progress=False)
    assert result.history[-1].train_loss < result.history[0].train_loss
    val, where = validation_source(run)
    assert (val, where) == (run.out / "val_blends" / "manifest.parquet", None)
    made = read_manifest(val)
    assert made.num_rows == 20
    stored = read_detector(result.detector_path)[1].training
    assert stored.forgery == "sbi"
    assert stored.num_train_crops == 20
    assert stored.num_val_crops == 20
    assert stored.val_videos_sha256 == made.video_ids_sha256()


def test_stored_fakes_are_not_learned_unless_asked_for(both: Path, tmp_path: Path) -> None:
    for crop in (both.parent / "crops").glob("fake-train*.png"):
        crop.unlink()  # whoever reads one warns, and warnings are errors
    run = config(both, tmp_path / "run", allow_leak=())
    with pytest.warns(UserWarning, match="20 of 60 crops cannot be read and were not compared"):
        train(run, show_progress=False)
    assert validation_source(run) == (both, None)  # val has fakes of its own
    with pytest.warns(UserWarning, match="skipped in training|were not compared"):
        found = train(replace(run, out=tmp_path / "part", forgery_share=0.5), show_progress=False)
    assert all(0 < record.unreadable < 20 for record in found.history)


def test_a_val_without_fakes_gets_blends_beside_stored_fakes_too(both: Path, tmp_path: Path) -> None:
    """Such as a GAN's samples in train alone: in val they would choose the epoch by themselves."""
    run = config(both, tmp_path / "run", where="label = 0 or split = 'train'", forgery_share=0.5)
    result = train(run, show_progress=False)
    assert validation_source(run) == (run.out / "val_blends" / "manifest.parquet", None)
    stored = read_detector(result.detector_path)[1].training
    assert (stored.num_train_crops, stored.num_val_crops) == (40, 20)
    with pytest.raises(ManifestError, match="split val has no fake crop"):
        train(replace(run, out=tmp_path / "none", forgery="", forgery_share=1.0), show_progress=False)


def test_a_killed_run_ends_as_the_unbroken_one(reals: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {"save_every": 2, "forgery": "sbi+cross", "augmentation": "light"}
    whole = train(config(reals, tmp_path / "whole", **changes), show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(config(reals, tmp_path / "broken", **changes), callbacks=[Kill(step=8)])
    resumed = train(config(reals, tmp_path / "broken", **changes), show_progress=False)
    assert [r.train_loss for r in resumed.history] == [r.train_loss for r in whole.history]
    one, other = (read_detector(run.detector_path)[0].state_dict() for run in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_sanity_checks_look_at_blends(reals: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train(config(reals, tmp_path / "run", epochs=0, sanity=True), show_progress=False, log=lines.append)
    (labels,) = (line for line in lines if "labels:" in line)
    assert labels == "pass  labels: train 20 real, 20 fake; val 10 real, 10 fake"


def test_what_was_made_of_other_rows_is_not_taken(reals: Path, both: Path, tmp_path: Path) -> None:
    """A start that ended before its first step may leave landmarks and blends behind."""
    run = config(reals, tmp_path / "run", epochs=0)
    train(run, show_progress=False)
    kept = {path: path.stat().st_mtime_ns for path in run.out.rglob("*") if path.parent != run.out}
    assert len(kept) > 20
    train(run, show_progress=False)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    (run.out / "config.json").unlink()
    (run.out / "state.pt").unlink()
    other = config(both, run.out, epochs=0)
    train(other, show_progress=False)  # of 40 rows, not of 20
    assert validation_source(other) == (both, None)


def test_landmarks_of_crops_that_were_cut_otherwise_are_not_taken(reals: Path, tmp_path: Path) -> None:
    run = config(reals, tmp_path / "run")
    run.out.mkdir()
    wider = tmp_path / "wider" / "manifest.parquet"
    wider.parent.mkdir()
    write_manifest(wider, read_manifest(reals).table, geometry=CropGeometry(2.0))
    found = []
    for manifest in (reals, wider):
        store_landmarks(run, read_manifest(manifest), show_progress=False)
        assert make_blender(run, read_manifest(manifest)) is not None
        found.append(load_file(run.out / "landmarks.safetensors")["shares"])
    np.testing.assert_array_equal(found[1], relative_landmarks(read_manifest(wider), show_progress=False))
    assert (found[0] != found[1]).any()


def test_damaged_landmarks_are_looked_for_again(reals: Path, tmp_path: Path) -> None:
    run = config(reals, tmp_path / "run", epochs=0)
    run.out.mkdir()
    (run.out / "landmarks.safetensors").write_bytes(b"no landmarks")
    train(run, show_progress=False)
    assert (run.out / "landmarks.safetensors").stat().st_size > 20 * 5 * 2 * 4


def test_a_refused_start_leaves_another_run_as_it_was(both: Path, tmp_path: Path) -> None:
    first = config(both, tmp_path / "run", forgery="", epochs=0)
    train(first, show_progress=False)
    before = sorted(first.out.iterdir())
    for changes in ({"forgery": "sbi", "where": "label = 0"}, {"forgery": "sbi", "forgery_share": 0.5}):
        with pytest.raises(OptionError, match="contains a run with other values of forgery"):
            train(replace(first, **changes), show_progress=False)  # type: ignore[arg-type]
    assert sorted(first.out.iterdir()) == before
    assert validation_source(first) == (both, None)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_crop_that_is_gone_does_not_end_a_run(num_workers: int, reals: Path, tmp_path: Path) -> None:
    """Neither as the real of a pair, nor as the other person's face."""
    run = config(reals, tmp_path / "run", forgery="cross", epochs=0, num_workers=num_workers)
    (reals.parent / "crops" / "train3.png").unlink()
    with pytest.warns(UserWarning, match="cannot be read"):
        result = train(run, show_progress=False)
    assert [record.unreadable for record in result.history] == [1]


def test_how_many_reals_are_blended_is_told(reals: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    result = train(config(reals, tmp_path / "run", epochs=0), show_progress=False, log=lines.append)
    assert "fakes (sbi) are made from 20 of 20 training reals" in lines
    assert read_detector(result.detector_path)[1].training.num_blended_reals == 20


def test_two_processes_share_what_the_first_makes(reals: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(ROOT / "tools" / "train.py"), "--manifest", str(reals), "--out", str(tmp_path / "run")),
        *("--backbone", "test_resnet", "--forgery", "sbi", "--epochs", "1", "--batch-size", "4"),
        *("--augmentation", "none", "--num-workers", "0", "--device", "cpu", "--recalibrate-batches", "2"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("selected epoch") == 1
    assert read_manifest(tmp_path / "run" / "val_blends").num_rows == 20


def test_the_learning_rate_is_searched_on_blends(reals: Path, tmp_path: Path) -> None:
    search = find_learning_rate(config(reals, tmp_path / "run"), num_steps=20, show_progress=False)
    assert search.suggestion > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:every verdict will be 'uncertain':UserWarning")
@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated:UserWarning")
def test_the_tool_trains_on_reals_alone(
    reals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--manifest", str(reals), "--out", str(tmp_path / "run"), "--backbone", "test_resnet"]
    options += ["--epochs", "0", "--num-workers", "0", "--device", "cpu", "--augmentation", "none"]
    assert main(["train", *options, "--forgery", "sbi", "--batch-size", "8"]) == 0
    with open(tmp_path / "run" / "predictions.csv") as file:
        assert len(file.readlines()) == 21
    assert main(["train", *options]) == 2
    assert "split train has no fake crop" in capsys.readouterr().err


def test_reals_without_a_face(tmp_path: Path, reals: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(reals)
    for name in ("landmarks_xy", "box_xyxy"):
        column = pa.nulls(len(table), table.schema.field(name).type)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    pq.write_table(table, reals)
    with pytest.raises(ManifestError, match="has no real crop with a face in it"):
        train(config(reals, tmp_path / "run"), show_progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forgery": "gan"}, "forgery: 'gan' is unknown"),
        ({"balance": "sampler"}, "forgery: pairs each fake with its real"),
        ({"forgery_share": 0.0}, "forgery_share: is 0.0"),
        ({"forgery_share": 1.5}, "forgery_share: is 1.5"),
        ({"batch_size": 7}, "batch_size: is 7, but pairs need an even one"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        config(tmp_path, tmp_path, **changes)
