"""Classical classifiers as tensors: features -> logits, without scikit-learn and without pickles.

A fitted pipeline (scaling, PCA, classifier) becomes named tensors, so that a detector file can hold it
and loading the file runs no code from it. Everything is computed in float64. skops and skl2onnx were
considered: skops needs scikit-learn for scoring, and the graphs of skl2onnx compute trees and kernels
in float32, have no gradients for heat maps and cannot be joined to the network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from deepfake_detect.errors import OptionError

Tensors = dict[str, torch.Tensor]
_MAX_DEPTH = 4096


class ClassicalHead(nn.Module):
    """Features (N, F) in, logits (N, 1) out, float64; a positive logit means fake.

    First ``(features - shift) / scale``, then times ``projection`` (F, K) where there is one.

    Attributes:
        name: Key of the class in ``CLASSICAL_HEADS``.
        names: Tensors that the class needs.

    Args:
        tensors: ``shift`` and ``scale`` (F,), optionally ``projection``, and those of the class.

    Raises:
        OptionError: Tensors are missing, not finite, or do not fit one another.
    """

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]] = ()

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
        """Number of features, F."""
        return len(self.get_buffer("shift"))

    @property
    def num_inputs(self) -> int:
        """Number of inputs of the classifier itself: F, or K after a projection."""
        return self.get_buffer("projection").shape[1] if self.has_projection else self.num_features

    def tensors(self) -> Tensors:
        """Return the tensors that the head was made of."""
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

    name = "linear"
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

    name = "rbf"
    names = ("support", "dual", "gamma", "bias")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        support, dual = tensors["support"], tensors["dual"]
        fits = support.ndim == 2 and support.shape[1] == self.num_inputs and dual.shape == support.shape[:1]
        _require(fits and tensors["gamma"].ndim == tensors["bias"].ndim == 0, "support, dual, gamma and bias")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        distances = _distances(inputs, self.get_buffer("support"))
        kernel = torch.exp(-self.get_buffer("gamma") * distances.square())
        return kernel @ self.get_buffer("dual") + self.get_buffer("bias")


class NeighborsHead(ClassicalHead):
    """The log-odds of fake among the ``count`` nearest of ``points`` (M, K) with their ``labels`` (M,).

    One is added to both sides of the odds (Laplace's rule), so that they stay finite.

    Source: Cover and Hart, "Nearest neighbor pattern classification", IEEE Trans. Inf. Theory 13 (1967).
    """

    name = "neighbors"
    names = ("points", "labels", "count")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        points, labels, count = (tensors[name] for name in self.names)
        fits = points.ndim == 2 and points.shape[1] == self.num_inputs and labels.shape == points.shape[:1]
        _require(fits and count.ndim == 0 and 1 <= int(count) <= len(points), "points, labels and count")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        _reject_gradients(inputs)
        count = int(self.get_buffer("count"))
        distances = _distances(inputs, self.get_buffer("points"))
        nearest = distances.topk(count, largest=False).indices
        num_fakes = self.get_buffer("labels")[nearest].double().sum(1)
        return smoothed_log_odds(num_fakes, count)


class TreesHead(ClassicalHead):
    """Decision trees of a random forest or of gradient boosting, with their nodes concatenated.

    A node is a leaf where ``left`` is its own index; otherwise an input ``feature`` at or below
    ``threshold`` goes ``left``, else ``right``. ``value`` is the leaf's. ``roots`` are the trees' first
    nodes. The sum of values plus ``bias`` is the logit; where ``is_forest``, their mean is a probability.

    Sources: Breiman, "Random Forests", Machine Learning 45 (2001); Friedman, "Greedy function
    approximation: a gradient boosting machine", Annals of Statistics 29 (2001).
    """

    name = "trees"
    names = ("feature", "threshold", "left", "right", "value", "roots", "bias", "is_forest")

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        feature, threshold, left, right, value, roots = (tensors[name] for name in self.names[:6])
        count = len(feature)
        same = all(one.shape == (count,) for one in (feature, threshold, left, right, value))
        own = torch.arange(count)
        # A child follows its parent, or is the leaf itself, so that no walk can go in circles.
        ordered = same and bool(((left == own) == (right == own)).all() and (left >= own).all())
        within = same and bool((right >= own).all() and (left < count).all() and (right < count).all())
        named = same and bool((feature >= 0).all() and (feature < self.num_inputs).all())
        rooted = roots.ndim == 1 and len(roots) > 0 and bool((roots >= 0).all() and (roots < count).all())
        _require(ordered and within and named and rooted, "the nodes of trees")

    def decide(self, inputs: torch.Tensor) -> torch.Tensor:
        feature, threshold, left, right, value, roots = (self.get_buffer(name) for name in self.names[:6])
        _reject_gradients(inputs)
        is_forest = bool(self.get_buffer("is_forest"))
        if is_forest:
            inputs = inputs.float().double()  # scikit-learn's forests round their input
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


CLASSICAL_HEADS: dict[str, type[ClassicalHead]] = {
    head.name: head for head in (LinearHead, RbfHead, NeighborsHead, TreesHead)
}


def smoothed_log_odds(num_fakes: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``log((fakes + 1) / (reals + 1))`` of ``count`` votes.

    Example:
        >>> smoothed_log_odds(torch.tensor([0.0, 2.0]), 4).tolist()
        [-1.6094379425048828, 0.0]
    """
    return torch.log((num_fakes + 1) / (count - num_fakes + 1))


def _reject_gradients(inputs: torch.Tensor) -> None:
    if torch.is_grad_enabled() and inputs.requires_grad:
        raise OptionError(
            "method", "needs gradients, which neighbors and trees do not have", "choose scorecam"
        )


def _distances(inputs: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean distances (N, M), exact also where two are nearly the same."""
    return torch.cdist(inputs, points, compute_mode="donot_use_mm_for_euclid_dist")


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise _misfit(f"has {what} that do not fit one another")


def _misfit(cause: str) -> OptionError:
    return OptionError("classifier", cause, "fit it again")
