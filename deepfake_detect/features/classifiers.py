"""Classical classifiers on features: scikit-learn pipelines, chosen on validation videos.

A short grid of settings is tried for each. The val split chooses; where a file has none, folds of the
train split by person do. The test split is never read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect._version import __version__
from deepfake_detect.data.video_digests import DIGEST_LENGTH
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.calibrate import calibrated_config
from deepfake_detect.evaluation.options import CalibrationOptions
from deepfake_detect.evaluation.score_table import ScoreTable, video_samples
from deepfake_detect.features.extractor import NamedExtractor, rebuild_extractor
from deepfake_detect.features.feature_file import FeatureFile, FeatureTable
from deepfake_detect.features.from_sklearn import check_same_logits, head_from_pipeline, head_logits
from deepfake_detect.features.options import CLASSIFIERS, Classifier, ClassifierOptions
from deepfake_detect.io.files import make_folder, write_json
from deepfake_detect.metrics import Interval, bootstrap_intervals, roc_auc
from deepfake_detect.models.checkpoint import save_detector
from deepfake_detect.models.classical import FeatureClassifier
from deepfake_detect.models.classical_heads import ClassicalHead
from deepfake_detect.models.config import DetectorConfig, TrainingFacts
from deepfake_detect.progress import progress_bar

_NUM_FOLDS = 5
_NUM_CHECKED = 64
_NUM_TREES = 200
# Settings to try, in all combinations. ``pca`` is the number of components.
GRIDS: dict[Classifier, dict[str, list[Any]]] = {
    "logistic": {"C": [1e-4, 1e-3, 1e-2, 1e-1]},
    "linear-svm": {"C": [1e-5, 1e-4, 1e-3, 1e-2]},
    "rbf-svm": {"pca": [64, 256], "C": [1.0, 10.0], "gamma": ["scale", 1e-3]},
    "knn": {"pca": [32, 128], "n_neighbors": [5, 15, 51]},
    "random-forest": {"min_samples_leaf": [1, 5], "max_features": ["sqrt", 0.1]},
    "gradient-boosting": {"learning_rate": [0.05, 0.1], "max_leaf_nodes": [8, 31]},
}


@dataclass(frozen=True)
class GridPoint:
    """Settings that were tried, and the AUC over held-out videos (of folds: their mean)."""

    settings: dict[str, Any]
    auc: float


@dataclass(frozen=True, eq=False)
class FittedClassifier:
    """A classifier with the settings that validation chose, and its logits of validation videos.

    Attributes:
        classifier: Its name.
        head: The complete pipeline as tensors.
        settings: The chosen ones.
        grid: All settings that were tried.
        selected_on: ``"val"``, or ``"folds of train"``.
        held_out: The rows that chose.
        logits: float64 (N,) of those rows; with folds, from the fit that left the row out.
    """

    classifier: Classifier
    head: ClassicalHead
    settings: dict[str, Any]
    grid: tuple[GridPoint, ...]
    selected_on: str
    held_out: FeatureTable
    logits: np.ndarray

    @property
    def auc(self) -> float:
        """Highest AUC of the grid."""
        return max(point.auc for point in self.grid)


@dataclass(frozen=True, eq=False)
class TrainedFeatures:
    """Classifiers that were trained on features, and the detector of the best.

    Attributes:
        detector_path: ``detector.safetensors``.
        fitted: All classifiers, in the order given.
        best: The one in the detector.
    """

    detector_path: Path
    fitted: tuple[FittedClassifier, ...]
    best: FittedClassifier


def train_features(
    features: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    classifiers: Sequence[Classifier] = ClassifierOptions.classifiers,
    weights: str | None = None,
    name: str | None = ClassifierOptions.name,
    seed: int = ClassifierOptions.seed,
    show_progress: bool = True,
) -> TrainedFeatures:
    """Train classical classifiers on features, and write the best as a detector.

    Args:
        features: Feature file, of :func:`extract_features`.
        out: Folder for ``detector.safetensors`` (network and classifier, calibrated on the rows that
            chose it) and ``grid.json`` (all settings that were tried).
        classifiers, name, seed: See :class:`features.options.ClassifierOptions`.
        weights: Where the weights, or the detector, of the features' network are now, if moved.
        show_progress: Whether to show progress bars.

    Raises:
        ManifestError, OptionError: As for :func:`fit_classifier` and :func:`detector_of`.
        CheckpointError, WeightsError: The features' network cannot be read.
        OutputError: The folder cannot be written to.
    """
    options = ClassifierOptions(tuple(classifiers), name, seed)
    file, folder = FeatureFile(Path(features)), Path(out)
    extractor = rebuild_extractor(file.info.source, path=weights)  # first: it fails fast
    make_folder(folder)
    fitted = tuple(
        fit_classifier(file, one, seed=seed, show_progress=show_progress)
        for one in dict.fromkeys(options.classifiers)
    )
    best = max(fitted, key=lambda one: one.auc)
    model, config = detector_of(file, best, extractor, name=options.name)
    save_detector(folder / "detector.safetensors", model, config)
    grid = [
        {"classifier": one.classifier, "selected_on": one.selected_on, **asdict(point)}
        for one in fitted
        for point in one.grid
    ]
    write_json(folder / "grid.json", grid)
    return TrainedFeatures(folder / "detector.safetensors", fitted, best)


def fit_classifier(
    file: FeatureFile, classifier: Classifier, *, seed: int = 0, show_progress: bool = True
) -> FittedClassifier:
    """Fit a classifier on the train split with each of its settings; validation chooses the best.

    Classes are weighted equally, except by nearest neighbors. All features of train and val are held in
    memory as float64.

    Args:
        file: Pooled features, with a train split.
        classifier: One of ``CLASSIFIERS``.
        seed: Random seed.
        show_progress: Whether to show a progress bar.

    Returns:
        The best, fitted on the complete train split.

    Raises:
        OptionError: An unknown classifier; features that are maps; no train split; fewer than two
            people in train where there is no val.
        ManifestError: A split has only one class, or features that are not finite; or no split by
            person leaves both classes on each side.
    """
    if classifier not in CLASSIFIERS:
        raise OptionError(
            "classifier", f"{classifier!r} is unknown", f"must be one of {', '.join(CLASSIFIERS)}"
        )
    if len(file.info.feature_shape) != 1:
        raise OptionError(
            "features", f"{file.path} contains maps, not vectors", "extract them with `is_spatial` off"
        )
    train = file.read("train")
    held_out = file.read("val") if "val" in file.splits else train
    for name, table in {"train": train, "val": held_out}.items():
        if len(np.unique(table.labels)) < 2:
            raise ManifestError(file.path, f"{name} has only one class", "extract reals and fakes")
        if num_odd := int((~np.isfinite(table.features).all(1)).sum()):
            cause = f"{num_odd:,} of the {len(table):,} rows of {name} contain values that are not finite"
            raise ManifestError(file.path, cause, "extract them again, with finite weights")
    from sklearn.model_selection import ParameterGrid

    folds, grid = _folds(file, train, held_out), list(ParameterGrid(GRIDS[classifier]))
    tried: list[tuple[GridPoint, np.ndarray]] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task(classifier, total=len(grid) * len(folds), note="")
        for settings in grid:
            logits, areas = np.zeros(len(held_out)), []
            for fitted, scored in folds:
                head = _fit(classifier, settings, train.take(fitted), seed)
                logits[scored] = head_logits(head, held_out.features[scored])
                areas.append(_video_auc(held_out.take(scored), logits[scored]))
                progress.advance(task)
            tried.append((GridPoint(settings, float(np.mean(areas))), logits))
    # Of equally good settings the first of the grid.
    best, logits = max(tried, key=lambda one: one[0].auc)
    head = _fit(classifier, best.settings, train, seed)
    return FittedClassifier(
        classifier=classifier,
        head=head,
        settings=best.settings,
        grid=tuple(point for point, _ in tried),
        selected_on="folds of train" if held_out is train else "val",
        held_out=held_out,
        logits=logits,
    )


def _folds(
    file: FeatureFile, train: FeatureTable, held_out: FeatureTable
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of rows to fit on and rows to score, each with both classes."""
    from sklearn.model_selection import GroupKFold

    if held_out is not train:
        return [(np.arange(len(train)), np.arange(len(held_out)))]
    # An unknown person counts as a person of their own.
    people = np.where(train.identities == "", train.video_ids, train.identities).astype(str)
    num_people = len(np.unique(people))
    if num_people < 2:
        raise OptionError("features", "train shows one person, and there is no val", "extract more people")
    # With few people a fold may lack a class, which fewer and larger folds may not.
    for num_folds in range(min(_NUM_FOLDS, num_people), 1, -1):
        folds = list(GroupKFold(num_folds).split(train.labels, groups=people))
        if all(len(np.unique(train.labels[rows])) == 2 for fold in folds for rows in fold):
            return folds
    cause = f"no split of its {num_people} people of train leaves both classes on each side"
    raise ManifestError(file.path, cause, "extract more people, or a val split")


def _video_auc(table: FeatureTable, logits: np.ndarray) -> float:
    """Return the AUC of the mean logits of videos."""
    _, first, of_row = np.unique(table.video_ids.astype(str), return_index=True, return_inverse=True)
    means = np.bincount(of_row, logits) / np.bincount(of_row)
    return float(roc_auc(table.labels[first].astype(np.int64), means))


def _fit(classifier: Classifier, settings: dict[str, Any], train: FeatureTable, seed: int) -> ClassicalHead:
    inputs = train.features.astype(np.float64)
    pipeline = make_pipeline(classifier, settings, inputs.shape, seed)
    pipeline.fit(inputs, train.labels.astype(np.int64))
    head = head_from_pipeline(pipeline)
    check_same_logits(pipeline, head, inputs[:_NUM_CHECKED])
    return head


def make_pipeline(
    classifier: Classifier, settings: dict[str, Any], shape: tuple[int, int], seed: int = 0
) -> Any:
    """Return an unfitted scikit-learn pipeline.

    Trees do not depend on scale or direction and read the features unchanged; for all others they are
    scaled, and classifiers by distance read only the first principal components.

    Args:
        classifier: One of ``CLASSIFIERS``.
        settings: Of ``GRIDS``; ``pca`` is limited to the number of components there are.
        shape: Rows and features that it will be fitted on.
        seed: Random seed.

    Example:
        >>> pipeline = make_pipeline("rbf-svm", {"pca": 64, "C": 1.0, "gamma": "scale"}, (100, 512))
        >>> [name for name, _ in pipeline.steps]
        ['standardscaler', 'pca', 'svc']
    """
    # scikit-learn takes a second to import, which --help does not wait for.
    from sklearn import ensemble, linear_model, neighbors, svm
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline as pipeline_of
    from sklearn.preprocessing import StandardScaler

    own = dict(settings)
    components = own.pop("pca", None)
    balanced: dict[str, Any] = {"class_weight": "balanced", "random_state": seed}
    kinds: dict[Classifier, tuple[Any, dict[str, Any]]] = {
        "logistic": (linear_model.LogisticRegression, {"max_iter": 5000, **balanced}),
        "linear-svm": (svm.LinearSVC, {"dual": "auto", "max_iter": 20_000, **balanced}),
        "rbf-svm": (svm.SVC, {"kernel": "rbf", **balanced}),
        "knn": (neighbors.KNeighborsClassifier, {}),
        "random-forest": (ensemble.RandomForestClassifier, {"n_estimators": _NUM_TREES, **balanced}),
        "gradient-boosting": (ensemble.HistGradientBoostingClassifier, {"early_stopping": False, **balanced}),
    }
    kind, options = kinds[classifier]
    estimator = kind(**options, **own)
    if classifier in ("random-forest", "gradient-boosting"):
        return pipeline_of(estimator)
    if components is None:
        return pipeline_of(StandardScaler(), estimator)
    return pipeline_of(StandardScaler(), PCA(min(components, *shape), random_state=seed), estimator)


def detector_of(
    file: FeatureFile, fitted: FittedClassifier, extractor: NamedExtractor, *, name: str | None = None
) -> tuple[FeatureClassifier, DetectorConfig]:
    """Return a classifier and the network of its features, as a detector.

    Its probabilities (Platt), threshold and uncertain band are fitted on the rows that chose the
    classifier. Its name is backbone and classifier when ``None``.

    Raises:
        OptionError: The network gives other features, or the classifier scores reals above fakes.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    network = extractor.network
    model = FeatureClassifier(network.model.spec, network.model.encoder, fitted.head, layer=network.layer)
    videos: dict[str, set[str]] = {"train": set(), "val": set()}
    for table in file.columns():
        for split, names in videos.items():
            names.update(table.video_ids[table.splits == split])
    seen = {split: tuple(sorted(map(_digest, names))) for split, names in videos.items()}
    config = DetectorConfig(
        name=name or f"{model.spec.backbone}-{fitted.classifier}",
        version="1",
        model=model.spec,
        geometry=file.info.geometry,
        training=TrainingFacts(
            library_version=__version__,
            classifier=fitted.classifier,
            settings=fitted.settings,
            selected_on=fitted.selected_on,
            features={**file.info.source, "card": file.info.card, "manifests": file.manifests},
            video_sha256_prefixes=seen,
            val_video_auc=fitted.auc,
        ),
    )
    return model, calibrated_config(_scores(fitted), config, CalibrationOptions("platt"))


def held_out_auc(fitted: FittedClassifier, *, num_resamples: int = 1000, seed: int = 0) -> Interval:
    """Return the AUC over the videos that chose the classifier, with its 95% bootstrap interval.

    It is higher than the AUC of new videos, since these videos chose the settings.
    """
    videos = video_samples(_scores(fitted), aggregation_rule="mean")
    samples = (videos.label, videos.fake_probability, videos.video_id)
    return bootstrap_intervals(*samples, threshold=0.5, num_resamples=num_resamples, seed=seed)["auc"]


def _scores(fitted: FittedClassifier) -> ScoreTable:
    table, logits = fitted.held_out, fitted.logits
    return ScoreTable(
        video_id=table.video_ids,
        method=table.methods,
        label=table.labels.astype(np.int64),
        track_id=table.track_ids.astype(np.int64),
        frame_index=table.frame_indices.astype(np.int64),
        fake_probability=1 / (1 + np.exp(-np.clip(logits, -60, 60))),
        details={"logit": logits},
    )


def _digest(video: str) -> str:
    """Return the digest that ``data.video_digests`` has of a video."""
    return hashlib.sha256(video.encode()).hexdigest()[:DIGEST_LENGTH]
