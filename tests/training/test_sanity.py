from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect.cli import main
from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.manifest import read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import SanityError
from deepfake_detect.records import CropGeometry, Preprocessing
from deepfake_detect.training import sanity
from deepfake_detect.training.data_module import sample_both_classes
from tests.data.trees import crop_manifest, textured_crops

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def batch(count: int = 8) -> CropBatch:
    torch.manual_seed(0)
    labels = (torch.arange(count) % 2).float()
    return CropBatch(torch.randn(count, 3, 32, 32), labels, torch.arange(count), torch.zeros(0).long())


class Network(nn.Module):
    """As many layers as a gate looks at."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.encoder(images)
        return features

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.ReLU())
        self.head = nn.Linear(64, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(images)).squeeze(1)
        return logits


def forward(model: nn.Module, some: CropBatch) -> torch.Tensor:
    logits: torch.Tensor = model(some.images)
    return logits


def test_labels_out_of_balance_are_told_with_counts() -> None:
    fine = sanity.check_labels({"train": np.array([0, 1, 1, 1]), "val": np.array([0, 1])})
    assert fine.passed
    assert fine.finding == "train 1 real, 3 fake; val 1 real, 1 fake"
    uneven = {"train": np.array([0] + [1] * 21)}
    refused = sanity.check_labels(uneven)
    assert not refused.passed
    assert refused.finding == "train 1 real, 21 fake; one class outnumbers the other 21 times"
    balanced = sanity.check_labels(uneven, is_balanced=True)
    assert balanced.passed
    assert balanced.is_doubtful
    uneven["val"] = uneven["train"]
    assert not sanity.check_labels(uneven, is_balanced=True).passed


@pytest.mark.parametrize(
    ("methods", "labels", "word"),
    [
        ("original Deepfakes", "01", "those of train follow their methods"),
        ("original Deepfakes FaceSwap original", "0110", "those of train follow their methods"),
        ("unknown", "01", "those of train follow their methods"),  # of one method there is nothing to tell
        ("original Deepfakes original Deepfakes", "0101", ""),
        (
            "original Deepfakes original Deepfakes",
            "0110",
            "those of train were shuffled, since each method has reals and fakes: Deepfakes 5 real + 5 fake",
        ),
        (
            "original Deepfakes",
            "10",
            "those of train were inverted, since original is labeled fake: Deep",
        ),
    ],
)
def test_shuffled_and_inverted_labels_stop_the_run(
    methods: str, labels: str, word: str, tmp_path: Path
) -> None:
    kinds = methods.split() if " " in methods else [methods] * len(labels)
    rows = [
        {"dataset": "x", "video_id": f"{number}-{repeat}", "method": kind, "label": int(label),
         "split": "train", "frame_index": 0, "track_id": 0, "target_id": None, "path": f"{number}.png"}
        for number, (kind, label) in enumerate(zip(kinds, labels, strict=True))
        for repeat in range(5)
    ]  # fmt: skip
    write_manifest(tmp_path / "manifest.parquet", rows_to_table(rows), geometry=CropGeometry())
    found = sanity.check_methods({"train": read_manifest(tmp_path / "manifest.parquet")})
    assert found.finding.startswith(word)
    assert found.passed == ("follow" in found.finding)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("right", "real, as far as fakes name them: train 60"),
        ("shuffled", "those of train were shuffled, since "),
        ("inverted", "those of train were inverted, since 60 of 60 originals"),
        ("few", "real, as far"),
    ],
)
def test_originals_of_fakes_are_labeled_real(kind: str, word: str, tmp_path: Path) -> None:
    """Labels shuffled or inverted before the methods were named after them."""
    num_pairs = 5 if kind == "few" else 60
    labels = np.repeat([0, 1], num_pairs)
    if kind == "inverted":
        labels = 1 - labels
    elif kind != "right":
        labels = np.random.default_rng(0).permutation(labels)
    rows = [
        {"dataset": "x", "video_id": f"x/{('original', 'swap')[label]}/{name}", "label": int(label),
         "method": ("original", "swap")[label], "split": "train", "frame_index": 0, "track_id": 0,
         "target_id": f"a{number % num_pairs}", "path": f"{number}.png"}
        for number, label in enumerate(labels)
        for name in [f"a{number}" if number < num_pairs else f"b{number}"]
    ]  # fmt: skip
    write_manifest(tmp_path / "manifest.parquet", rows_to_table(rows), geometry=CropGeometry())
    part = {"train": read_manifest(tmp_path / "manifest.parquet")}
    assert sanity.check_methods(part).passed
    found = sanity.check_originals(part)
    assert found.finding.startswith(word)
    assert found.passed == (kind in ("right", "few"))


def test_the_first_loss_must_be_that_of_ignorance() -> None:
    labels = torch.tensor([0.0, 1.0])
    assert sanity.check_initial_loss(torch.tensor([0.1, -0.1]), labels).passed
    sure = sanity.check_initial_loss(torch.tensor([40.0, -40.0]), labels)
    assert not sure.passed
    assert sure.finding == f"40.000 before the first step, ln 2 is {math.log(2):.3f}"


def test_a_network_that_learns_a_batch_passes_and_is_left_alone() -> None:
    model = Network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert sanity.check_one_batch(model, batch(), forward).passed
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_network_cut_in_two_or_fed_one_picture_does_not_learn() -> None:
    same = batch()._replace(images=torch.zeros(8, 3, 32, 32))
    assert not sanity.check_one_batch(Network(), same, forward).passed

    def cut(model: nn.Module, some: CropBatch) -> torch.Tensor:
        return forward(model, some) * 0 + model.head.bias  # type: ignore[union-attr, operator]

    assert not sanity.check_one_batch(Network(), batch(), cut).passed


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_a_head_on_frozen_features_learns_whatever_their_size(scale: float) -> None:
    model = Network()
    with torch.no_grad():
        model.encoder[1].weight.mul_(scale)
    model.encoder.requires_grad_(False)
    assert sanity.check_one_batch(model, batch(), forward).passed
    same = batch()._replace(images=torch.rand(1, 3, 32, 32).expand(8, -1, -1, -1))
    assert not sanity.check_one_batch(model, same, forward).passed


def test_leaks_that_are_let_pass_are_told() -> None:
    clean = sanity.check_splits((), ())
    assert clean.line() == "pass  splits: no video, person or crop is in two of them"
    told = sanity.check_splits(("2 crops are alike",), ("identical-crops",))
    assert told.line().startswith("warn  splits: 2 crops are alike (allowed: identical")


def test_flat_crops_are_seen_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    assert sanity.check_images(batch(), PREPROCESSING, path).passed
    sheet = cv2.imread(str(path))
    assert sheet is not None
    assert sheet.shape[0] > 300
    flat = batch()._replace(images=torch.zeros(8, 3, 32, 32))
    assert not sanity.check_images(flat, PREPROCESSING, path).passed


def test_permuted_labels_predict_only_what_leaks() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = rng.normal(size=(200, 20)) + labels[:, None]
    val = rng.normal(size=(200, 20)) + labels[:, None]
    fine = sanity.check_signal((features, labels), (val, labels), num_val_videos=(100, 100), seed=0)
    assert fine.passed
    assert float(fine.finding.split("AUC ")[1].split(",")[0]) > 0.9
    # The same crops in both splits, under labels that happen to be those the control draws.
    permuted = np.random.default_rng(0).permutation(labels)
    noise = rng.normal(size=(200, 400))
    leaking = ((noise, labels), (noise, permuted))
    assert not sanity.check_signal(*leaking, num_val_videos=(100, 100), seed=0).passed
    few = sanity.check_signal(*leaking, num_val_videos=(100, 9), seed=0)
    assert few.passed
    assert few.is_doubtful
    assert "100 real and 9 fake validation videos are too few for a conclusion" in few.finding
    aimless = sanity.check_signal((noise, labels), (noise[::-1], labels), num_val_videos=(100, 100), seed=0)
    assert aimless.line().startswith("warn  signal")
    assert "no better than chance, although the weights are pretrained: make sure" in aimless.finding
    random = sanity.check_signal(
        (noise, labels), (noise[::-1], labels), num_val_videos=(100, 100), seed=0, is_pretrained=False
    )
    assert "no better than chance, as random weights often are: pretrained ones" in random.finding


def test_classes_far_apart_are_no_leak() -> None:
    """Such as a GAN's blurred samples beside photographs: meaningless labels rank whole classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = [rng.normal(size=(200, 20)) + 40 * labels[:, None] for _ in range(2)]
    for seed in range(5):
        found = sanity.check_signal(
            (features[0], labels), (features[1], labels), num_val_videos=(100, 100), seed=seed
        )
        assert found.passed, found.finding


def test_checks_stop_at_the_first_that_fails() -> None:
    said: list[str] = []
    passed, failed = (sanity.CheckResult(f"gate {n}", n == 0, "found", "fix it") for n in (0, 1))

    def checks():  # type: ignore[no-untyped-def]
        yield passed
        yield failed
        raise AssertionError("a gate was tried behind one that failed")

    with pytest.raises(SanityError, match="gate 1: found; fix it"):
        sanity.require(checks(), log=said.append)
    assert said == ["pass  gate 0: found", "FAIL  gate 1: found"]
    assert sanity.require(iter([passed]), log=said.append) == (passed,)


def test_both_classes_are_drawn_from_all_over() -> None:
    labels = np.r_[np.zeros(1000, int), np.ones(10, int)]
    chosen = sample_both_classes(labels, 40)
    assert labels[chosen].sum() == 10
    assert len(chosen) == 30
    assert {0, 999, 1000, 1009} <= set(chosen)


def test_a_run_whose_crops_are_all_the_same_stops_with_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = textured_crops(6, "train", seed=1) + textured_crops(6, "val", seed=2)
    gray = np.full_like(crops[0][3], 128)
    manifest = crop_manifest(
        tmp_path / "m", [(*crop[:3], gray) for crop in crops], geometry=CropGeometry(1.1)
    )
    options = ["--backbone", "test_resnet", "--epochs", "1", "--batch-size", "8", "--num-workers", "0"]
    options += ["--device", "cpu", "--allow-leak", "identical-crops", "near-duplicate-crops"]
    out = tmp_path / "run"
    assert main(["train", "--manifest", str(manifest), "--out", str(out), *options]) == 2
    assert "error: images: " in capsys.readouterr().err
    assert "FAIL  images" in (out / "log.txt").read_text()
    assert not (out / "detector.safetensors").exists()
