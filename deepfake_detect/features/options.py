"""Options of feature extraction and of classical classifiers; imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option

Classifier = Literal["logistic", "linear-svm", "rbf-svm", "knn", "random-forest", "gradient-boosting"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)


@dataclass(frozen=True)
class FeatureSource:
    """The network that computes features, and the layer that they are read from.

    Raises:
        OptionError: Neither or both of backbone and detector are given, or weights for a detector.
    """

    backbone: str | None = option(None, help="backbone that computes the features; see list_backbones")
    weights: str | None = option(
        None, help="weights of the backbone: a file or a published name (default: random weights)"
    )
    detector: str | None = option(
        None, help="detector.safetensors whose network computes the features", metavar="PATH"
    )
    layer: str | None = option(
        None, help="layer whose output to store (default: the encoder's output)", metavar="NAME"
    )
    is_spatial: bool = option(
        False, help="keep feature maps instead of averaging over all positions", flag="--spatial"
    )

    def __post_init__(self) -> None:
        if (self.backbone is None) == (self.detector is None):
            raise OptionError("backbone", "and `detector` cannot be combined", "pass exactly one of them")
        if self.detector is not None and self.weights is not None:
            raise OptionError("weights", "cannot be used with `detector`, which has its own", "omit it")


@dataclass(frozen=True)
class ExtractionOptions:
    """How features of crops are computed."""

    where: str | None = option(None, help="SQL condition on the manifest's rows", metavar="EXPR")
    batch_size: int = option(32, help="crops per batch", low=1)
    num_workers: int | None = option(
        None, help="number of processes that read crops (default: number of cores, at most 8)", low=0
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ClassifierOptions:
    """Which classical classifiers are trained, and how the detector is called."""

    classifiers: tuple[Classifier, ...] = option(
        ("linear-svm", "rbf-svm", "logistic"),
        help=f"classifiers to try: {', '.join(CLASSIFIERS)}; the best one becomes the detector",
        flag="--classifier",
        metavar="NAME",
    )
    name: str | None = option(None, help="name of the detector (default: backbone and classifier)")
    seed: int = option(0, help="random seed", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.classifiers:
            raise OptionError("classifiers", "is empty", f"pass one or more of {', '.join(CLASSIFIERS)}")


@dataclass(frozen=True)
class NeighborOptions:
    """Which rows of a feature file are searched."""

    split: str | None = option(None, help="split of the rows to search (default: all)")
    method: str | None = option(None, help="forgery method of the rows to search (default: all)")
    count: int = option(5, help="number of nearest faces", low=1)

    def __post_init__(self) -> None:
        check_options(self)
