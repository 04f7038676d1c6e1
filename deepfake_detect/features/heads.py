"""Classical classifiers as arrays: features -> logits, without scikit-learn and without pickles.

A fitted pipeline (scaling, PCA, classifier) becomes named tensors, which a detector file can hold
and anybody can load without running a stranger's code. Everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import OptionError

Tensors = dict[str, torch.Tensor]
_MAX_DEPTH = 4096


class ClassicalHead(nn.Module):
    """Features (N, F) in, logits (N, 1) out, float64; a positive one says fake.

    First ``(features - shift) / scale``, then, where there is one, times ``projection`` (F, K).

    Args:
        tensors: ``shift`` and ``scale`` (F,), maybe ``projection``, and those of the class.

    Raises:
        OptionError: Tensors are missing, not finite, or do not fit one another.
    """

    names: tuple[str, ...] = ()

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        required = {"shift", "scale", *self.names}
        if not required <= set(tensors) <= {*required, "projection"}:
            raise _misfit(f"has the tensors {', '.join(sorted(tensors))}, not {', '.join(sorted(required))}")
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise _misfit(f"has values in {name} that are not finite")
            self.register_buffer(name, tensor)
        self.has_projection = "projection" in tensors
        shift, scale = tensors["shift"], tensors["scale"]
        fits = shift.ndim == 1 and shift.shape == scale.shape
        if self.has_projection:
            fits = fits and tensors["projection"].ndim == 2 and len(tensors["projection"]) == len(shift)
        _require(fits, "shift, scale and projection")

    @property
    def num_features(self) -> int:
        """Features it takes, F."""
        return len(self.get_buffer("shift"))

    @property
    def num_inputs(self) -> int:
        """Values that the classifier itself is given: F, or K behind a projection."""
        return self.get_buffer("projection").shape[1] if self.has_projection else self.num_features

    def tensors(self) -> Tensors:
        """Return what it was made of."""
        return dict(self.named_buffers())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, 1), float64, of features (N, F)."""
        inputs = (features.double() - self.get_buffer("shift")) / self.get_buffer("scale")
        projected = inputs @ self.get_buffer("projection") if self.has_projection else inputs
        return self.decide(projected).unsqueeze(1)

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (N,) of scaled and projected features (N, K)."""
        raise NotImplementedError


class LinearHead(ClassicalHead):
    """``weight`` (K,) and ``bias`` (): a linear SVM or logistic regression."""

    names = ("weight", "bias")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        fits = tensors["weight"].shape == (self.num_inputs,) and tensors["bias"].ndim == 0
        _require(fits, "weight and bias")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.get_buffer("weight") + self.get_buffer("bias")


class RbfHead(ClassicalHead):
    """``sum_i dual_i exp(-gamma |x - support_i|^2) + bias``: an SVM with a radial kernel.

    Source: Cortes and Vapnik, "Support-Vector Networks", Machine Learning 20 (1995).
    """

    names = ("support", "dual", "gamma", "bias")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        support, dual = tensors["support"], tensors["dual"]
        fits = support.ndim == 2 and support.shape[1] == self.num_inputs and dual.shape == support.shape[:1]
        _require(fits and tensors["gamma"].ndim == tensors["bias"].ndim == 0, "support, dual, gamma and bias")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        distances = torch.cdist(
            inputs, self.get_buffer("support"), compute_mode="donot_use_mm_for_euclid_dist"
        )
        kernel = torch.exp(-self.get_buffer("gamma") * distances.square())
        return kernel @ self.get_buffer("dual") + self.get_buffer("bias")


class NeighborsHead(ClassicalHead):
    """The log-odds of fake among the ``count`` nearest of ``points`` (M, K) with their ``labels`` (M,).

    One is added to both sides of the odds (Laplace's rule), so that they stay finite.

    Source: Cover and Hart, "Nearest neighbor pattern classification", IEEE Trans. Inf. Theory 13 (1967).
    """

    names = ("points", "labels", "count")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        points, labels, count = (tensors[name] for name in self.names)
        fits = points.ndim == 2 and points.shape[1] == self.num_inputs and labels.shape == points.shape[:1]
        _require(fits and count.ndim == 0 and 1 <= int(count) <= len(points), "points, labels and count")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        _refuse_gradients(inputs)
        count = int(self.get_buffer("count"))
        distances = torch.cdist(
            inputs, self.get_buffer("points"), compute_mode="donot_use_mm_for_euclid_dist"
        )
        nearest = distances.topk(count, largest=False).indices
        num_fakes = self.get_buffer("labels")[nearest].double().sum(1)
        return smoothed_log_odds(num_fakes, count)


class TreesHead(ClassicalHead):
    """Decision trees, their nodes one behind the other: what a forest or boosting decides.

    A node is a leaf where ``left`` is its own number; otherwise an input ``feature`` at or below
    ``threshold`` goes ``left``, else ``right``. ``value`` is the leaf's. ``roots`` are the trees' first
    nodes. The sum of values plus ``bias`` is the logit; where ``is_forest``, their mean is a probability.

    Sources: Breiman, "Random Forests", Machine Learning 45 (2001); Friedman, "Greedy function
    approximation: a gradient boosting machine", Annals of Statistics 29 (2001).
    """

    names = ("feature", "threshold", "left", "right", "value", "roots", "bias", "is_forest")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        feature, threshold, left, right, value, roots = (tensors[name] for name in self.names[:6])
        count = len(feature)
        same = all(one.shape == (count,) for one in (feature, threshold, left, right, value))
        own = torch.arange(count)
        # A child stands behind its parent, or is the leaf itself: no walk can go round in circles.
        ordered = same and bool(((left == own) == (right == own)).all() and (left >= own).all())
        within = same and bool((right >= own).all() and (left < count).all() and (right < count).all())
        named = same and bool((feature >= 0).all() and (feature < self.num_inputs).all())
        rooted = roots.ndim == 1 and len(roots) > 0 and bool((roots >= 0).all() and (roots < count).all())
        _require(ordered and within and named and rooted, "the nodes of trees")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        feature, threshold, left, right, value, roots = (self.get_buffer(name) for name in self.names[:6])
        _refuse_gradients(inputs)
        is_forest = bool(self.get_buffer("is_forest"))
        if is_forest:
            inputs = inputs.float().double()  # as scikit-learn's forests round what they are given
        nodes = roots.expand(len(inputs), -1)  # (N, trees)
        for _ in range(_MAX_DEPTH):
            goes_left = inputs.gather(1, feature[nodes]) <= threshold[nodes]
            following = torch.where(goes_left, left[nodes], right[nodes])
            if torch.equal(following, nodes):
                break
            nodes = following
        values = value[nodes]
        if is_forest:
            return smoothed_log_odds(values.sum(1), len(roots))
        return values.sum(1) + self.get_buffer("bias")


HEADS: dict[str, Callable[[Mapping[str, torch.Tensor]], ClassicalHead]] = {
    "linear": LinearHead,
    "rbf": RbfHead,
    "neighbors": NeighborsHead,
    "trees": TreesHead,
}


def smoothed_log_odds(num_fakes: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``log((fakes + 1) / (reals + 1))`` of so many votes.

    Example:
        >>> smoothed_log_odds(torch.tensor([0.0, 2.0]), 4).tolist()
        [-1.6094379425048828, 0.0]
    """
    return torch.log((num_fakes + 1) / (count - num_fakes + 1))


def head_of(pipeline: Any) -> tuple[str, ClassicalHead]:
    """Return a fitted scikit-learn pipeline as a head, and its name in ``HEADS``.

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
        >>> head_of(fitted)[1](torch.tensor([[0.5]])).abs().item() < 1e-6
        True
    """
    *steps, classifier = (step for _, step in pipeline.steps)
    name, tensors = _tensors_of(classifier)
    tensors |= _input_tensors(steps, pipeline.n_features_in_)
    return name, HEADS[name](tensors)  # type: ignore[return-value]


def _input_tensors(steps: list[Any], num_features: int) -> Tensors:
    shift, scale = torch.zeros(num_features).double(), torch.ones(num_features).double()
    tensors: Tensors = {}
    for step in steps:
        if hasattr(step, "scale_"):
            shift, scale = _tensor(step.mean_), _tensor(step.scale_)
        else:  # PCA takes its mean from what is scaled
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
        raise OptionError("classifier", f"{kind} cannot be stored", f"choose of {', '.join(readers)}")
    name, read = readers[kind]
    return name, read(classifier)


def _linear_tensors(classifier: Any) -> Tensors:
    return {"weight": _tensor(classifier.coef_[0]), "bias": _tensor(classifier.intercept_[0])}


def _rbf_tensors(classifier: Any) -> Tensors:
    gamma = classifier._gamma  # "scale" as a number; scikit-learn has no public name for it
    return {
        "support": _tensor(classifier.support_vectors_),
        "dual": _tensor(classifier.dual_coef_[0]),
        "gamma": _tensor(gamma),
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
        shares = tree.value[:, 0, :]
        trees.append(
            {
                "feature": torch.as_tensor(tree.feature).long(),
                "threshold": _tensor(tree.threshold),
                "left": torch.as_tensor(tree.children_left).long(),
                "right": torch.as_tensor(tree.children_right).long(),
                "value": _tensor(shares[:, 1] / shares.sum(1)),
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
    """Lay the nodes of trees one behind the other; a leaf's children become itself."""
    joined: dict[str, list[torch.Tensor]] = {}
    roots, first = [], 0
    for tree in trees:
        own = torch.arange(len(tree["is_leaf"])) + first
        for side in ("left", "right"):
            tree[side] = torch.where(tree["is_leaf"], own, tree[side] + first)
        # What a leaf would compare with is not defined, and never looked at.
        tree["feature"] = torch.where(tree["is_leaf"], 0, tree["feature"])
        tree["threshold"] = torch.where(tree["is_leaf"], 0.0, tree["threshold"])
        roots.append(first)
        first += len(own)
        for name, tensor in tree.items():
            joined.setdefault(name, []).append(tensor)
    del joined["is_leaf"]
    return {**{name: torch.cat(parts) for name, parts in joined.items()}, "roots": torch.tensor(roots)}


def _refuse_gradients(inputs: torch.Tensor) -> None:
    if torch.is_grad_enabled() and inputs.requires_grad:
        raise OptionError(
            "classifier", "neighbors and trees have no gradient", "ask for scorecam, or train another one"
        )


def _distances(inputs: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean distances (N, M), exact also where two are nearly the same."""
    return torch.cdist(inputs, points, compute_mode="donot_use_mm_for_euclid_dist")


def _tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64).clone()


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise _misfit(f"has {what} that do not fit one another")


def _misfit(cause: str) -> OptionError:
    return OptionError("classifier", cause, "fit it again")
