"""Fitted scikit-learn pipelines as tensors: what a detector file holds of a classical classifier.

Some of what is needed has no public name in scikit-learn: ``SVC._gamma``, the points of
``KNeighborsClassifier``, and the trees of ``HistGradientBoostingClassifier``, which cannot be read in
any other way. :func:`check_same_logits` compares the logits of both, so a release of scikit-learn that
changes these names or their meaning stops the fit and never writes a wrong detector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classical_heads import (
    CLASSICAL_HEADS,
    ClassicalHead,
    Tensors,
    smoothed_log_odds,
)

_ROWS_AT_ONCE = 256
_SAME_LOGIT = 1e-4


def head_from_pipeline(pipeline: Any) -> ClassicalHead:
    """Return a fitted scikit-learn pipeline as a head of tensors.

    Args:
        pipeline: Steps ``StandardScaler`` and ``PCA``, each or none, then the classifier: LinearSVC,
            LogisticRegression, SVC with a radial kernel, KNeighborsClassifier, RandomForestClassifier
            or HistGradientBoostingClassifier, fitted on labels 0 and 1.

    Raises:
        OptionError: The classifier is another.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> fitted = make_pipeline(LogisticRegression()).fit([[0.0], [1.0]], [0, 1])
        >>> head_from_pipeline(fitted)(torch.tensor([[0.5]])).abs().item() < 1e-6
        True
    """
    *steps, classifier = (step for _, step in pipeline.steps)
    name, tensors = _tensors_of(classifier)
    tensors |= _input_tensors(steps, pipeline.n_features_in_)
    return CLASSICAL_HEADS[name](tensors)


def head_logits(head: ClassicalHead, features: np.ndarray) -> np.ndarray:
    """Return the logits (N,), float64, of features (N, F)."""
    with torch.inference_mode():
        blocks = [
            head(torch.from_numpy(features[start : start + _ROWS_AT_ONCE]))[:, 0].numpy()
            for start in range(0, len(features), _ROWS_AT_ONCE)
        ]
    return np.concatenate([np.zeros(0), *blocks])


def check_same_logits(pipeline: Any, head: ClassicalHead, features: np.ndarray) -> None:
    """Check that a head gives the same logits as the scikit-learn pipeline that it was made of.

    Raises:
        OptionError: It does not.
    """
    if hasattr(pipeline, "decision_function"):
        expected = pipeline.decision_function(features)
    else:
        last = pipeline.steps[-1][1]
        count = last.n_neighbors if hasattr(last, "n_neighbors") else len(last.estimators_)
        votes = torch.from_numpy(pipeline.predict_proba(features)[:, 1] * count)
        expected = smoothed_log_odds(votes, count).numpy()
    difference = float(np.abs(head_logits(head, features) - expected).max())
    if difference > _SAME_LOGIT * max(1.0, float(np.abs(expected).max())):
        raise OptionError(
            "classifier",
            f"differs by {difference:.2g} from scikit-learn after it is stored: this scikit-learn release is "
            "not supported",
            "install another release, or choose another classifier",
        )


def _input_tensors(steps: list[Any], num_features: int) -> Tensors:
    shift, scale = torch.zeros(num_features).double(), torch.ones(num_features).double()
    tensors: Tensors = {}
    for step in steps:
        if hasattr(step, "scale_"):
            shift, scale = _tensor(step.mean_), _tensor(step.scale_)
        else:  # PCA subtracts its mean after scaling
            shift = shift + scale * _tensor(step.mean_)
            tensors["projection"] = _tensor(step.components_.T)
    return {"shift": shift, "scale": scale, **tensors}


def _tensors_of(classifier: Any) -> tuple[str, Tensors]:
    kind = type(classifier).__name__
    readers: dict[str, tuple[str, Callable[[Any], Tensors]]] = {
        "LinearSVC": ("linear", _linear_tensors),
        "LogisticRegression": ("linear", _linear_tensors),
        "SVC": ("rbf", _rbf_tensors),
        "KNeighborsClassifier": ("neighbors", _neighbor_tensors),
        "RandomForestClassifier": ("trees", _forest_tensors),
        "HistGradientBoostingClassifier": ("trees", _boosting_tensors),
    }
    if kind not in readers:
        raise OptionError("classifier", f"{kind} cannot be stored", f"must be one of {', '.join(readers)}")
    name, read = readers[kind]
    return name, read(classifier)


def _linear_tensors(classifier: Any) -> Tensors:
    return {"weight": _tensor(classifier.coef_[0]), "bias": _tensor(classifier.intercept_[0])}


def _rbf_tensors(classifier: Any) -> Tensors:
    return {
        "support": _tensor(classifier.support_vectors_),
        "dual": _tensor(classifier.dual_coef_[0]),
        "gamma": _tensor(classifier._gamma),  # "scale" as a number
        "bias": _tensor(classifier.intercept_[0]),
    }


def _neighbor_tensors(classifier: Any) -> Tensors:
    return {
        "points": _tensor(classifier._fit_X),
        "labels": torch.as_tensor(classifier._y).to(torch.int8),
        "count": torch.tensor(classifier.n_neighbors),
    }


def _forest_tensors(classifier: Any) -> Tensors:
    trees = []
    for one in classifier.estimators_:
        tree = one.tree_
        votes = tree.value[:, 0, :]
        trees.append(
            {
                "feature": torch.as_tensor(tree.feature).long(),
                "threshold": _tensor(tree.threshold),
                "left": torch.as_tensor(tree.children_left).long(),
                "right": torch.as_tensor(tree.children_right).long(),
                "value": _tensor(votes[:, 1] / votes.sum(1)),
                "is_leaf": torch.as_tensor(tree.children_left < 0),
            }
        )
    return {**_joined(trees), "bias": _tensor(0.0), "is_forest": torch.tensor(True)}


def _boosting_tensors(classifier: Any) -> Tensors:
    trees = []
    for (predictor,) in classifier._predictors:
        nodes = predictor.nodes
        trees.append(
            {
                "feature": torch.as_tensor(nodes["feature_idx"].astype("int64")),
                "threshold": _tensor(nodes["num_threshold"]),
                "left": torch.as_tensor(nodes["left"].astype("int64")),
                "right": torch.as_tensor(nodes["right"].astype("int64")),
                "value": _tensor(nodes["value"]),
                "is_leaf": torch.as_tensor(nodes["is_leaf"].astype(bool)),
            }
        )
    bias = _tensor(classifier._baseline_prediction).reshape(())
    return {**_joined(trees), "bias": bias, "is_forest": torch.tensor(False)}


def _joined(trees: list[Tensors]) -> Tensors:
    """Concatenate the nodes of trees; a leaf becomes its own child."""
    joined: dict[str, list[torch.Tensor]] = {}
    roots, first = [], 0
    for tree in trees:
        own = torch.arange(len(tree["is_leaf"])) + first
        for side in ("left", "right"):
            tree[side] = torch.where(tree["is_leaf"], own, tree[side] + first)
        # A leaf's feature and threshold are not defined, and never used.
        tree["feature"] = torch.where(tree["is_leaf"], 0, tree["feature"])
        tree["threshold"] = torch.where(tree["is_leaf"], 0.0, tree["threshold"])
        roots.append(first)
        first += len(own)
        for name, tensor in tree.items():
            joined.setdefault(name, []).append(tensor)
    del joined["is_leaf"]
    return {**{name: torch.cat(parts) for name, parts in joined.items()}, "roots": torch.tensor(roots)}


def _tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64).clone()
