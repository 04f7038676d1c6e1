"""The studies on tiny data: table, figure, page."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies import augmentation, batch_norm, batch_size, learning_curves, overfitting, update_page
from benchmarks.studies.classify_study import classify_study, train_once
from benchmarks.studies.grid import Variant
from deepfake_detect.lab.labeled_images import LabeledImages
from deepfake_detect.lab.options import ClassifierConfig
from deepfake_detect.models.classifier import create_model
from tests.data.trees import crop_manifest, textured_crops
from tests.lab.test_classifier import labeled, write_mnist

PAGE = "# Page\n<!-- studies -->\nold\n<!-- end of studies -->\nend\n"
ALL = (overfitting, batch_size, batch_norm, augmentation)


def run(monkeypatch: pytest.MonkeyPatch, variants: tuple[Variant, ...], *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["study", *options])
    return classify_study("Batch size", "A study.", variants)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("study", ALL, ids=lambda study: study.__name__.rsplit(".", 1)[1])
def test_variants_can_be_built_and_differ(study: object) -> None:
    variants: tuple[Variant, ...] = study.VARIANTS  # type: ignore[attr-defined]
    for variant in variants:
        create_model("small_cnn", num_classes=10, in_chans=1, image_size=28, **variant.network)
        ClassifierConfig(**variant.training)
    assert len({(str(one.network), str(one.training)) for one in variants}) == len(variants) > 1


def test_a_study_writes_table_figure_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_mnist(tmp_path / "mnist", zipped=True)
    out = tmp_path / "batch_size-mnist"
    options = ["--mnist-root", str(data), "--out", str(out), "--train-images", "64", "--test-images", "32"]
    options += ["--epochs", "2", "--seeds", "2", "--device", "cpu"]
    variants = (Variant("of 8", training={"batch_size": 8}), Variant("of 64", training={"batch_size": 64}))
    assert run(monkeypatch, variants, *options) == 0
    found = rows(out / "table.csv")
    assert [(row["variant"], row["epoch"], row["num_seeds"]) for row in found] == [
        (name, epoch, "2") for name in ("of 8", "of 64") for epoch in ("1", "2")
    ]
    assert all(0 <= float(row["fitted_accuracy_mean"]) <= 1 for row in found)
    assert cv2.imread(str(out / "figure.png")).shape[1] > 800
    assert "of 8: test accuracy" in capsys.readouterr().out
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    assert update_page.main([str(out)], page=page) == 0
    text = page.read_text()
    assert "### Batch size, mnist\n\n64 training and 32 test images of 28 pixels, 2 epochs" in text
    assert "| of 8 | " in text
    assert "- Overfitting, mnist: `python benchmarks/studies/overfitting.py --mnist-root DIR" in text
    assert "- Batch size, mnist:" not in text
    assert (tmp_path / "figures" / "batch_size-mnist.png").is_file()
    monkeypatch.setattr(update_page, "_missing", lambda done: iter(()))
    assert update_page.main([str(out)], page=page) == 0
    assert "Not run yet" not in page.read_text()


def test_values_after_an_epoch_are_without_dropout_and_the_run_is_repeatable() -> None:
    images = labeled()
    same = LabeledImages(
        images.train_images, images.train_labels, images.train_images, images.train_labels, images.class_names
    )
    config = ClassifierConfig(epochs=1, batch_size=32, device="cpu", seed=3)
    history = train_once(same, Variant("plain"), config)
    assert history[0]["fitted_loss"] == pytest.approx(history[0]["test_loss"])
    assert train_once(same, Variant("plain"), config) == history


def test_faces_come_from_train_and_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = crop_manifest(tmp_path / "data", textured_crops(8, "train", seed=1) + textured_crops(4, "val"))
    options = ["--manifest", str(manifest), "--face-size", "16", "--epochs", "1", "--seeds", "1"]
    out = tmp_path / "out"
    assert run(monkeypatch, (Variant("plain"),), *options, "--out", str(out), "--device", "cpu") == 0
    assert '"num_train": 16,\n  "num_test": 8,\n  "image_size": 16' in (out / "study.json").read_text()
    # As many crops, but others: the finished run is not used for them.
    (tmp_path / "other").mkdir()
    other = crop_manifest(tmp_path / "other", textured_crops(8, "train", seed=5) + textured_crops(4, "val"))
    changed = ["--manifest", str(other), *options[2:], "--out", str(out), "--device", "cpu"]
    assert "contains a run with other options" in error_of(monkeypatch, capsys, *changed)


def test_batch_norm_applies_to_variants_that_do_not_set_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = crop_manifest(tmp_path / "data", textured_crops(8, "train", seed=1) + textured_crops(4, "val"))
    options = ["--manifest", str(manifest), "--face-size", "16", "--epochs", "1", "--seeds", "1"]
    variants = (Variant("unset"), Variant("without", {"backbone_options": {"batch_norm": False}}))
    losses = []
    for flags in ([], ["--batch-norm"]):
        out = tmp_path / f"out{len(flags)}"
        assert run(monkeypatch, variants, *options, *flags, "--out", str(out), "--device", "cpu") == 0
        losses.append([float(row["test_loss_mean"]) for row in rows(out / "table.csv")])
    assert losses[0][0] == losses[0][1] == losses[1][1] != losses[1][0]


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert run(monkeypatch, (Variant("plain"),), *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_bad_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    few = error_of(monkeypatch, capsys, "--mnist-root", str(tmp_path), "--train-images", "1", *out)
    assert "train_images: is 1; must be 2 or more" in few
    for part in ("train", "test"):
        (tmp_path / "wide" / part / "a").mkdir(parents=True)
        image = cv2.imencode(".png", np.zeros((20, 28, 3), np.uint8))[1]
        (tmp_path / "wide" / part / "a" / "0.png").write_bytes(bytes(image))
    wide = error_of(monkeypatch, capsys, "--cifar-root", str(tmp_path / "wide"), *out)
    assert "has images of 28 x 20; make them square" in wide
    reals = [one for one in textured_crops(4, "train") + textured_crops(4, "val", seed=1) if not one[1]]
    manifest = crop_manifest(tmp_path / "reals", reals)
    one_class = error_of(monkeypatch, capsys, "--manifest", str(manifest), *out)
    assert "has crops of only one class in a split; both need real and fake crops" in one_class


def test_learning_curves_grow_by_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = textured_crops(6, "train", size=32, seed=1) + textured_crops(2, "val", size=32, seed=2)
    manifest = crop_manifest(tmp_path / "data", crops)
    config = tmp_path / "run.yaml"
    config.write_text(
        "head_epochs: 0\nepochs: 1\nbatch_size: 8\nnum_workers: 0\nsanity: false\ndevice: cpu\n"
        "recalibrate_batches: 0\naugmentation: light\nimage_size: 32\n"
    )
    out = tmp_path / "curves"
    options = ["curves", "--manifest", str(manifest), "--backbone", "test_resnet", "--config", str(config)]
    options += [
        "--out",
        str(out),
        "--finetune",
        "features",
        "full",
        "--fractions",
        "1",
        "0.5",
        "--seeds",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", options)
    assert learning_curves.main() == 0
    found = rows(out / "table.csv")
    assert [row["variant"] for row in found] == ["features", "features", "full", "full"]
    half, whole = (float(row["num_train"]) for row in found[:2])
    assert 0 < half < whole == 12
    assert all(0 <= float(row["val_video_auc_mean"]) <= 1 for row in found)
    assert (out / "figure.png").is_file()
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    assert update_page.main([str(out)], page=page) == 0
    assert "| features | 12 | " in page.read_text()
    config.write_text(config.read_text() + "learning_rate: 2e-4\n")
    assert learning_curves.main() == 2
    assert "contains a run with other options" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*options, "--fractions", "1", "0.9999"])
    assert learning_curves.main() == 2
    assert "--fractions: give subsets of 12, 12 crops, some of which are equal" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*options, "--fractions", "0"])
    assert learning_curves.main() == 2
    assert "--fractions: contains 0; must be above 0 and at most 1" in capsys.readouterr().err


def test_the_page_rejects_folders_without_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert update_page.main([str(tmp_path)], page=tmp_path / "README.md") == 2
    assert "study.json: is damaged" in capsys.readouterr().err
