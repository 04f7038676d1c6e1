"""Classical classifiers on features: scikit-learn pipelines, chosen on validation videos.

What is tried for each is a short grid. The val split chooses; where a file has none, folds of the
train split do, whole people at a time. The test split is never looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from deepfake_detect._version import __version__
from deepfake_detect.data.video_digests import DIGEST_LENGTH
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.calibrate import CalibrationOptions, fit_to_scores
from deepfake_detect.evaluation.score_table import ScoreTable, video_samples
from deepfake_detect.features.extractor import NamedExtractor
from deepfake_detect.features.feature_file import FeatureFile, FeatureTable
from deepfake_detect.features.from_sklearn import check_same_logits, head_from_pipeline, head_logits
from deepfake_detect.metrics import Interval, bootstrap_intervals, roc_auc
from deepfake_detect.models.classical import FeatureClassifier
from deepfake_detect.models.classical_heads import ClassicalHead
from deepfake_detect.models.config import DetectorConfig, TrainingFacts
from deepfake_detect.progress import progress_bar

Classifier = Literal["logistic", "linear-svm", "rbf-svm", "knn", "random-forest", "gradient-boosting"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
_NUM_FOLDS = 5
_NUM_CHECKED = 64
_NUM_TREES = 200
# What is tried, each value of a name with each of the others. ``pca`` is the number of components.
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
    """A classifier with the settings that validation chose, and what it says of validation videos.

    Attributes:
        classifier: Which.
        head: The whole pipeline as arrays.
        settings: Chosen.
        grid: All that was tried.
        selected_on: ``"val"``, or ``"folds of train"``.
        held_out: The rows that chose.
        logits: float64 (N,) of those rows; of folds each from a fit that had not seen the row.
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


def fit_classifier(
    file: FeatureFile, classifier: Classifier, *, seed: int = 0, show_progress: bool = True
) -> FittedClassifier:
    """Fit a classifier on the train split with each of its settings; validation keeps the best.

    Classes are weighed to be equally heavy, save for the nearest neighbors. All features of train
    and val are held in memory as float64.

    Args:
        file: Pooled features, of a train split at least.
        classifier: Of ``CLASSIFIERS``.
        seed: Of what is drawn at random.
        show_progress: Whether to draw a progress bar.

    Returns:
        The best, fitted on the whole train split.

    Raises:
        OptionError: An unknown classifier; features that are maps; no train split; fewer than two
            people in train where there is no val.
        ManifestError: A split has one class alone, or features that are not finite; or whole people
            cannot be held out, and both classes be left on either side.
    """
    if classifier not in CLASSIFIERS:
        raise OptionError("classifier", f"{classifier!r} is unknown", f"choose {', '.join(CLASSIFIERS)}")
    if len(file.info.feature_shape) != 1:
        raise OptionError("features", f"{file.path} holds maps, no vectors", "extract without --spatial")
    train = file.read("train")
    held_out = file.read("val") if "val" in file.splits else train
    for name, table in {"train": train, "val": held_out}.items():
        if len(np.unique(table.labels)) < 2:
            raise ManifestError(file.path, f"{name} has one class alone", "extract reals and fakes")
        if num_odd := int((~np.isfinite(table.features).all(1)).sum()):
            cause = f"{num_odd:,} of the {len(table):,} rows of {name} hold values that are not finite"
            raise ManifestError(file.path, cause, "extract them again, with sound weights")
    folds = _folds(file, train, held_out)
    tried = []
    settings_of_grid = list(_settings(classifier))
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task(classifier, total=len(settings_of_grid) * len(folds), note="")
        for settings in settings_of_grid:
            point, logits = _try(classifier, settings, train, held_out, folds, seed, progress, task)
            tried.append((point, logits))
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


def _settings(classifier: Classifier) -> Iterator[dict[str, Any]]:
    from sklearn.model_selection import ParameterGrid

    yield from ParameterGrid(GRIDS[classifier])


def _folds(
    file: FeatureFile, train: FeatureTable, held_out: FeatureTable
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows to fit on and rows to judge, pair by pair, each with both classes."""
    from sklearn.model_selection import GroupKFold

    if held_out is not train:
        return [(np.arange(len(train)), np.arange(len(held_out)))]
    # A person who is not known is taken for nobody else.
    people = np.where(train.identities == "", train.video_ids, train.identities).astype(str)
    num_people = len(np.unique(people))
    if num_people < 2:
        raise OptionError("features", "train is of one person, and there is no val", "extract more people")
    # Of few people a fold may lack a class; fewer and larger folds may not.
    for num_folds in range(min(_NUM_FOLDS, num_people), 1, -1):
        folds = list(GroupKFold(num_folds).split(train.labels, groups=people))
        if all(len(np.unique(train.labels[rows])) == 2 for fold in folds for rows in fold):
            return folds
    cause = f"its {num_people} people of train cannot be held out so that both classes are on either side"
    raise ManifestError(file.path, cause, "extract more people, or a val split")


def _try(
    classifier: Classifier,
    settings: dict[str, Any],
    train: FeatureTable,
    held_out: FeatureTable,
    folds: list[tuple[np.ndarray, np.ndarray]],
    seed: int,
    progress: Any,
    task: Any,
) -> tuple[GridPoint, np.ndarray]:
    """Return what settings are worth, and the logits of the held-out rows."""
    logits = np.zeros(len(held_out))
    areas = []
    for fitted, judged in folds:
        head = _fit(classifier, settings, train.take(fitted), seed)
        logits[judged] = head_logits(head, held_out.features[judged])
        areas.append(_video_auc(held_out.take(judged), logits[judged]))
        progress.advance(task)
    return GridPoint(settings, float(np.mean(areas))), logits


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

    Trees do not care about scale or direction and are given the features as they are; all others are
    scaled, and what goes by distances sees the first principal components alone.

    Args:
        classifier: Of ``CLASSIFIERS``.
        settings: Of ``GRIDS``; ``pca`` of more components than there are is as many as there are.
        shape: Rows and features that it will be fitted on.
        seed: Of what is drawn at random.

    Example:
        >>> pipeline = make_pipeline("rbf-svm", {"pca": 64, "C": 1.0, "gamma": "scale"}, (100, 512))
        >>> [name for name, _ in pipeline.steps]
        ['standardscaler', 'pca', 'svc']
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline as pipeline_of
    from sklearn.preprocessing import StandardScaler

    own = dict(settings)
    components = own.pop("pca", None)
    estimator = _estimator(classifier, own, seed)
    if classifier in ("random-forest", "gradient-boosting"):
        return pipeline_of(estimator)
    if components is None:
        return pipeline_of(StandardScaler(), estimator)
    return pipeline_of(StandardScaler(), PCA(min(components, *shape), random_state=seed), estimator)


def _estimator(classifier: Classifier, settings: dict[str, Any], seed: int) -> Any:
    # scikit-learn takes a second to import, which a help text need not wait for.
    from sklearn import ensemble, linear_model, neighbors, svm

    weighed: dict[str, Any] = {"class_weight": "balanced", "random_state": seed}
    if classifier == "logistic":
        return linear_model.LogisticRegression(max_iter=5000, **weighed, **settings)
    if classifier == "linear-svm":
        return svm.LinearSVC(dual="auto", max_iter=20_000, **weighed, **settings)
    if classifier == "rbf-svm":
        return svm.SVC(kernel="rbf", **weighed, **settings)
    if classifier == "knn":
        return neighbors.KNeighborsClassifier(**settings)
    if classifier == "random-forest":
        return ensemble.RandomForestClassifier(_NUM_TREES, **weighed, **settings)
    return ensemble.HistGradientBoostingClassifier(early_stopping=False, **weighed, **settings)


def detector_of(
    file: FeatureFile, fitted: FittedClassifier, extractor: NamedExtractor, *, name: str | None = None
) -> tuple[FeatureClassifier, DetectorConfig]:
    """Return a classifier with the network that its features are of, as a detector.

    Its probabilities (Platt), threshold and band of "uncertain" are fitted on the rows that chose the
    classifier.

    Args:
        file: That it was fitted on.
        fitted: Of :func:`fit_classifier`.
        extractor: The file's network, of ``rebuild_extractor``.
        name: Of the detector; of backbone and classifier when ``None``.

    Raises:
        OptionError: The network gives other features, or the classifier takes reals for fakes.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    network = extractor.network
    model = FeatureClassifier(network.model.spec, network.model.encoder, fitted.head, layer=network.layer)
    seen = {split: tuple(_digests(file, split)) for split in ("train", "val")}
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
    return model, replace(config, **fit_to_scores(_scores(fitted), config, CalibrationOptions("platt")))


def held_out_auc(fitted: FittedClassifier, *, num_resamples: int = 1000, seed: int = 0) -> Interval:
    """Return the AUC over the videos that chose the classifier, with its 95 % bootstrap interval.

    It is kinder than that of new videos: these chose the settings.
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


def _digests(file: FeatureFile, split: str) -> list[str]:
    """Return what ``data.seen.video_digests`` would of the rows of a split."""
    videos: Iterable[str] = {
        video for table in file.columns() for video in table.video_ids if table.splits[0] == split
    }
    return sorted({hashlib.sha256(video.encode()).hexdigest()[:DIGEST_LENGTH] for video in videos})
