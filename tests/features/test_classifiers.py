from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline as pipeline_of

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import CheckpointError, ManifestError, OptionError
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.features import classifiers
from deepfake_detect.features.classifiers import (
    CLASSIFIERS,
    GRIDS,
    Classifier,
    detector_of,
    fit_classifier,
    held_out_auc,
    make_pipeline,
)
from deepfake_detect.features.extract import add_features
from deepfake_detect.features.feature_file import FeatureFile, FeatureTable, feature_table
from deepfake_detect.features.from_sklearn import head_from_pipeline, head_logits
from deepfake_detect.models.checkpoint import read_detector, save_detector
from deepfake_detect.models.classical import FeatureClassifier
from deepfake_detect.models.classical_heads import CLASSICAL_HEADS
from deepfake_detect.models.config import IsotonicCalibration, PlattCalibration
from deepfake_detect.scoring import load_detector
from tests.features.data import extractor_of, write_crops, write_features


def two_classes(count: int, seed: int, *, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a curve parts better than a line."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * features[:, 1] ** 2 + 0.3 * rng.normal(size=count) > 0.5).astype(
        np.int64
    )
    return features, labels


def tables_of(split: str, count: int, seed: int) -> list[FeatureTable]:
    features, labels = two_classes(count, seed)
    made = []
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        names = [f"{split}/{row}" for row in rows]
        table = feature_table(features[rows], split=split, method="fs"[label], label=label, video_ids=names)
        # Two videos are of one person.
        people = np.array([f"p{row // 2}" for row in rows], dtype=object)
        made.append(replace(table, identities=people))
    return made


@pytest.fixture(autouse=True)
def short_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, grid in GRIDS.items():
        monkeypatch.setitem(GRIDS, name, {key: values[-2:] for key, values in grid.items()})
    monkeypatch.setitem(GRIDS, "knn", {"pca": [12], "n_neighbors": [15, 3]})
    monkeypatch.setattr(classifiers, "_NUM_TREES", 12)


@pytest.fixture
def file(tmp_path: Path) -> FeatureFile:
    return FeatureFile(
        write_features(tmp_path / "f.h5", [*tables_of("train", 200, 0), *tables_of("val", 120, 1)])
    )


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_arrays_say_what_scikit_learn_says(classifier: Classifier) -> None:
    features, labels = two_classes(150, 0)
    settings = {key: values[0] for key, values in GRIDS[classifier].items()}
    pipeline = make_pipeline(classifier, settings, features.shape)
    pipeline.fit(features.astype(np.float64), labels)
    new = two_classes(70, 1)[0]
    logits = head_logits(head_from_pipeline(pipeline), new)
    if hasattr(pipeline, "decision_function"):
        np.testing.assert_allclose(logits, pipeline.decision_function(new.astype(np.float64)), atol=1e-6)
    shares = pipeline.predict_proba(new)[:, 1] if hasattr(pipeline, "predict_proba") else logits
    np.testing.assert_array_equal(np.argsort(shares, kind="stable"), np.argsort(logits, kind="stable"))
    assert ((logits > 0) == labels_of(new)).mean() > 0.7


def labels_of(features: np.ndarray) -> np.ndarray:
    result: np.ndarray = features[:, 0] + 0.5 * features[:, 1] ** 2 > 0.5
    return result


def test_validation_chooses_and_train_is_what_is_fitted(file: FeatureFile) -> None:
    fitted = fit_classifier(file, "logistic", show_progress=False)
    assert (fitted.selected_on, len(fitted.grid)) == ("val", 2)
    assert fitted.auc == max(point.auc for point in fitted.grid)
    train, val = file.read("train"), file.read("val")
    by_hand = clone(make_pipeline("logistic", fitted.settings, train.features.shape))
    by_hand.fit(train.features.astype(np.float64), train.labels)
    expected = by_hand.decision_function(val.features.astype(np.float64))
    np.testing.assert_allclose(fitted.logits, expected, atol=1e-6)
    interval = held_out_auc(fitted, num_resamples=100)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(fitted.auc)


def test_test_rows_are_never_looked_at(file: FeatureFile, tmp_path: Path) -> None:
    nonsense = [replace(one, labels=1 - one.labels) for one in tables_of("test", 80, 3)]
    with_test = write_features(
        tmp_path / "t.h5", [*tables_of("train", 200, 0), *tables_of("val", 120, 1), *nonsense]
    )
    plain = fit_classifier(file, "linear-svm", show_progress=False)
    other = fit_classifier(FeatureFile(with_test), "linear-svm", show_progress=False)
    np.testing.assert_array_equal(plain.logits, other.logits)


def test_without_val_whole_people_are_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_features(tmp_path / "f.h5", tables_of("train", 120, 0))
    train = FeatureFile(path).read("train")
    seen: list[set[str]] = []
    fit = classifiers._fit

    def watched(kind: Classifier, settings: dict[str, object], rows: FeatureTable, seed: int):  # type: ignore[no-untyped-def]
        seen.append(set(rows.identities))
        return fit(kind, settings, rows, seed)

    monkeypatch.setattr(classifiers, "_fit", watched)
    fitted = fit_classifier(FeatureFile(path), "logistic", show_progress=False)
    assert fitted.selected_on == "folds of train"
    assert len(seen) == 2 * 5 + 1
    held_out = [set(train.identities) - people for people in seen[:5]]
    assert sum(len(people) for people in held_out) == len(set(train.identities))
    assert seen[-1] == set(train.identities)


def test_of_few_people_each_fold_has_both_classes(tmp_path: Path) -> None:
    def file_of(name: str, people: list[list[str]]) -> FeatureFile:
        reals, fakes = tables_of("train", 60, 0)
        placed = [
            replace(table, identities=np.array([of[n % len(of)] for n in range(len(table))], object))
            for table, of in zip((reals, fakes), people, strict=True)
        ]
        return FeatureFile(write_features(tmp_path / name, placed))

    # Held out one by one, nobody of these four would leave a fold of both classes.
    fitted = fit_classifier(file_of("four.h5", [["a", "b"], ["c", "d"]]), "logistic", show_progress=False)
    assert fitted.selected_on == "folds of train"
    assert all(0 <= point.auc <= 1 for point in fitted.grid)
    with pytest.raises(ManifestError, match="no split of its 2 people of train leaves both classes"):
        fit_classifier(file_of("two.h5", [["a"], ["b"]]), "logistic", show_progress=False)


def test_what_cannot_be_fitted(file: FeatureFile, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'magic' is unknown; must be one of logistic, linear-svm"):
        fit_classifier(file, "magic")  # type: ignore[arg-type]
    maps = write_features(
        tmp_path / "m.h5", [feature_table(np.ones((2, 3, 2, 2)), split="train", method="a")]
    )
    with pytest.raises(OptionError, match="contains maps, not vectors"):
        fit_classifier(FeatureFile(maps), "knn")
    alone = write_features(tmp_path / "a.h5", tables_of("train", 50, 0)[:1])
    with pytest.raises(ManifestError, match="train has only one class"):
        fit_classifier(FeatureFile(alone), "knn")
    of_one = [replace(t, identities=np.full(len(t), "p", object)) for t in tables_of("train", 50, 0)]
    with pytest.raises(OptionError, match="train shows one person, and there is no val"):
        fit_classifier(FeatureFile(write_features(tmp_path / "o.h5", of_one)), "knn")
    for split, number in (("train", 0), ("val", 1)):
        broken = {"train": tables_of("train", 50, 0), "val": tables_of("val", 50, 1)}
        broken[split][number].features[3, 1] = np.nan
        path = write_features(tmp_path / f"{split}.h5", [*broken["train"], *broken["val"]])
        with pytest.raises(
            ManifestError, match=rf"1 of the \d+ rows of {split} contain values that are not fin"
        ):
            fit_classifier(FeatureFile(path), "random-forest")
    with pytest.raises(OptionError, match="RidgeClassifier cannot be stored"):
        head_from_pipeline(pipeline_of(RidgeClassifier()).fit(*two_classes(20, 0)))


def test_a_release_of_scikit_learn_that_stores_otherwise_is_noticed(
    file: FeatureFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(pipeline: object):  # type: ignore[no-untyped-def]
        head = head_from_pipeline(pipeline)
        return type(head)({**head.tensors(), "bias": head.tensors()["bias"] + 1})

    monkeypatch.setattr(classifiers, "head_from_pipeline", shifted)
    with pytest.raises(OptionError, match="differs by 1 from scikit-learn after it is stored"):
        fit_classifier(file, "logistic", show_progress=False)


def test_what_has_no_gradient_says_so() -> None:
    pipeline = make_pipeline("knn", {"n_neighbors": 3}, (20, 12)).fit(*two_classes(20, 0))
    features = torch.zeros(1, 12, requires_grad=True)
    with pytest.raises(OptionError, match="method: needs gradients.* not have; choose scorecam"):
        head_from_pipeline(pipeline)(features)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("linear", {"weight": torch.ones(3)}, "weight and bias that do not fit"),
        ("linear", {"scale": torch.ones(5)}, "shift, scale and projection that do not fit"),
        ("linear", {"weight": torch.full((4,), torch.nan)}, "values in weight that are not finite"),
        ("linear", {"extra": torch.ones(1)}, "has the tensors bias, extra, scale, shift, weight, not"),
        ("rbf", {"dual": torch.ones(3)}, "support, dual, gamma and bias that do not fit"),
        ("neighbors", {"count": torch.tensor(3)}, "points, labels and count that do not fit"),
        ("trees", {"left": torch.tensor([0, 0, 2])}, "nodes of trees that do not fit"),
        ("trees", {"right": torch.tensor([9, 1, 2])}, "nodes of trees that do not fit"),
        ("trees", {"feature": torch.tensor([4, 0, 0])}, "nodes of trees that do not fit"),
        ("trees", {"roots": torch.tensor([3])}, "nodes of trees that do not fit"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    name: str, changes: dict[str, torch.Tensor], message: str
) -> None:
    one = torch.tensor(1.0).double()
    whole: dict[str, dict[str, torch.Tensor]] = {
        "linear": {"weight": torch.ones(4), "bias": one},
        "rbf": {"support": torch.ones(2, 4), "dual": torch.ones(2), "gamma": one, "bias": one},
        "neighbors": {"points": torch.ones(2, 4), "labels": torch.ones(2), "count": torch.tensor(2)},
        "trees": {
            "feature": torch.zeros(3).long(),
            "threshold": torch.zeros(3),
            "left": torch.tensor([1, 1, 2]),
            "right": torch.tensor([2, 1, 2]),
            "value": torch.tensor([0.0, -1.0, 1.0]).double(),
            "roots": torch.tensor([0]),
            "bias": one,
            "is_forest": torch.tensor(False),
        },
    }
    tensors = {"shift": torch.zeros(4), "scale": torch.ones(4), **whole[name]}
    CLASSICAL_HEADS[name](tensors)
    with pytest.raises(OptionError, match=message):
        CLASSICAL_HEADS[name]({**tensors, **changes})


@pytest.fixture
def trained(small_detector: Path, tmp_path: Path) -> tuple[Path, Manifest, FeatureFile]:
    """A kNN on the middle of a small network, saved, and what it was trained on."""
    rows = [(f"{split}{n}", split, n % 2, 0) for split in ("train", "val") for n in range(40)]
    manifest = read_manifest(write_crops(tmp_path, rows))
    extractor = extractor_of(small_detector, layer="layer2")
    add_features(manifest, extractor, tmp_path / "f.h5", num_workers=0, show_progress=False)
    file = FeatureFile(tmp_path / "f.h5")
    fitted = fit_classifier(file, "knn", show_progress=False)
    model, config = detector_of(file, fitted, extractor)
    save_detector(tmp_path / "d.safetensors", model, config)
    return tmp_path / "d.safetensors", manifest, file


def test_the_stored_detector_scores_as_the_classifier(
    trained: tuple[Path, Manifest, FeatureFile], portrait_clip: Path
) -> None:
    path, manifest, file = trained
    model, config = read_detector(path)
    detector = load_detector(path, device="cpu")
    table, _ = score_manifest(detector, manifest, split="val", num_workers=0, show_progress=False)
    val = file.read("val")
    assert isinstance(model, FeatureClassifier)
    logits = dict(zip(val.video_ids, head_logits(model.head, val.features), strict=True))  # type: ignore[arg-type]
    np.testing.assert_allclose(table.details["logit"], [logits[name] for name in table.video_id], atol=1e-6)
    assert ((table.fake_probability > config.threshold) == table.label).all()
    assert isinstance(config.calibration, PlattCalibration)
    assert config.name == "test_resnet-knn"
    assert config.training.video_sha256_prefixes == {
        split: tuple(video_digests(manifest.split(split))) for split in ("train", "val")
    }
    assert detector.score_video(portrait_clip, num_frames=2).fake_probability is not None


@pytest.mark.usefixtures("blank_figures")
def test_it_is_a_detector_like_any_other(
    trained: tuple[Path, Manifest, FeatureFile],
    portrait_clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, manifest, _ = trained
    arguments = ["--manifest", str(manifest.path), "--split", "val", "--out", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match="the detector was selected on 40 of the 40 evaluated videos"):
        assert main(["evaluate", "--detector", str(path), *arguments, "--num-workers", "0"]) == 0
    assert load_detector(path, device="cpu").score_video(portrait_clip, num_frames=2).verdict != "no_face"
    assert main(["explain", str(portrait_clip), "--detector", str(path), "--out", str(tmp_path / "e")]) == 2
    assert "method: needs gradients, which neighbors and trees do not have" in capsys.readouterr().err
    arguments = [str(portrait_clip), "--detector", str(path), "--method", "scorecam", "--frames", "1"]
    assert main(["explain", *arguments, "--out", str(tmp_path / "e")]) == 0
    assert main(["explain", *arguments, "--layer", "layer4", "--out", str(tmp_path / "e")]) == 2
    assert "layer: comes after layer2, which the classifier reads" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["card", "--detector", str(path)]) == 0
    assert "| head | classical classifier (neighbors) on layer layer2 |" in capsys.readouterr().out
    assert main(["average", str(path), str(path), "--out", str(tmp_path / "mean")]) == 2
    assert "d.safetensors: has a classical classifier, whose trees or points" in capsys.readouterr().err
    assert main(["export", "--detector", str(path), "--format", "onnx"]) == 2
    assert "has a classical classifier, which is computed in float64" in capsys.readouterr().err
    logits = load_detector(path, device="cpu").logits([np.zeros((64, 64, 3), np.uint8)])
    command = ["calibrate", "--detector", str(path), "--manifest", str(manifest.path), "--device", "cpu"]
    assert main([*command, "--method", "isotonic", "--target-accuracy", "0.5"]) == 0
    again = load_detector(path, device="cpu")
    assert isinstance(again.config.calibration, IsotonicCalibration)
    assert np.array_equal(logits, again.logits([np.zeros((64, 64, 3), np.uint8)]))


def test_older_files_name_the_classifier_in_their_metadata(
    trained: tuple[Path, Manifest, FeatureFile],
) -> None:
    path = trained[0]
    before = read_detector(path)[1]
    with safe_open(path, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        metadata = reader.metadata()
    config = json.loads(metadata["config"])
    assert config["model"].pop("classical") == {"head": "neighbors", "layer": "layer2"}
    older = {**metadata, "config": json.dumps(config)}
    older["feature_classifier"] = json.dumps({"head": "neighbors", "layer": "layer2"})
    save_file(tensors, path, metadata=older)
    assert read_detector(path)[1] == before


def rewrite(path: Path, classifier: str, **changes: torch.Tensor) -> None:
    with safe_open(path, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        stored = reader.metadata()
    config = json.loads(stored["config"])
    config["model"]["classical"] = json.loads(classifier)
    metadata = {**stored, "config": json.dumps(config)}
    save_file({**tensors, **changes}, path, metadata=metadata)


def test_a_file_that_contradicts_itself_is_refused(trained: tuple[Path, Manifest, FeatureFile]) -> None:
    path = trained[0]
    whole = path.read_bytes()
    for classifier in (
        '{"head": "magic", "layer": null}',
        "[]",
        '{"head": "linear", "layer": "layer2"}',
    ):
        rewrite(path, classifier)
        with pytest.raises(CheckpointError, match="its (network cannot be built|description cannot be read)"):
            read_detector(path)
        path.write_bytes(whole)
    rewrite(path, '{"head": "neighbors", "layer": "layer3"}')
    with pytest.raises(CheckpointError, match=r"takes 48 features, the network gives \(\d+,\)"):
        read_detector(path)
    path.write_bytes(whole)
    rewrite(path, '{"head": "neighbors", "layer": "layer2"}', **{"encoder.conv1.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="does not match its own description"):
        read_detector(path)
    path.write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        read_detector(path)
