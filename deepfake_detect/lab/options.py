"""Options of the lab's functions, without the libraries that these need, so that ``--help`` is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option
from deepfake_detect.training.config import Optimizer
from deepfake_detect.training.kept_epochs import check_epochs

Device = Literal["auto", "cpu", "cuda"]
ClusterMethod = Literal["kmeans", "hdbscan"]
Projection = Literal["pca", "tsne", "umap"]
FaceCrop = Literal["face", "center"]
MAX_FACES = 20_000  # on a map: the sheet of thumbnails stays below the 16,384 pixels that browsers draw


@dataclass(frozen=True)
class ClassifierConfig:
    """How a classifier of small images is trained.

    Raises:
        OptionError: An option is not allowed.
    """

    epochs: int = option(12, low=1, help="passes over the training images")
    batch_size: int = option(128, low=1, help="number of images per step")
    optimizer: Optimizer = option("adadelta", help="optimizer")
    learning_rate: float = option(1.0, above=0, help="constant learning rate")
    seed: int = option(0, low=0, below=2**32, help="random seed of order, dropout and augmentation")
    flips_and_shifts: bool = option(False, help="flip training images and shift them by up to a tenth")
    device: Device = option("auto", help="device to train on")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ClassifierRunConfig(ClassifierConfig):
    """Options of :func:`lab.train_classifier_run`; ``seed`` is that of the initial weights too.

    Raises:
        OptionError: An option is not allowed.
    """

    backbone: str = option("small_cnn", metavar="NAME", help="backbone to train")
    save_epochs: tuple[int, ...] = option(
        (), metavar="N,N,...", help="epochs whose weights to keep; 0 is before the first"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epochs(self.save_epochs, self.epochs)


@dataclass(frozen=True)
class DreamOptions:
    """How Deep Dream changes an image.

    Raises:
        OptionError: An option is not allowed.
    """

    octaves: int = option(4, low=1, help="image sizes to optimize at, from small to large")
    octave_scale: float = option(1.4, above=1, help="ratio of consecutive sizes")
    steps: int = option(20, low=1, help="steps at each size")
    rate: float = option(0.01, above=0, help="mean change of a pixel value per step, on a scale from 0 to 1")
    jitter: int = option(16, low=0, help="largest random shift of the image before a step, in pixels")
    total_variation: float = option(
        100.0, low=0, help="weight of the continuity term: mean squared difference of neighboring values"
    )
    l2: float = option(1.0, low=0, help="weight of the mean squared distance from mid gray")
    frame_every: int = option(1, low=0, help="steps between frames of the film; 0 writes no film")
    seed: int = option(0, low=0, below=2**32, help="random seed of noise, jitter and random weights")

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("octave_scale", "rate", "total_variation", "l2"):
            if math.isinf(getattr(self, name)):
                raise OptionError(name, "is inf", "must be a finite number")


@dataclass(frozen=True)
class DreamImageOptions(DreamOptions):
    """Options of :func:`lab.dream_image`.

    Raises:
        OptionError: An option is not allowed.
    """

    longest_side: int = option(384, low=1, help="longest side of the result, in pixels")
    device: Device = option("auto", help="device to compute on")


@dataclass(frozen=True)
class FilterOptions:
    """Which networks :func:`lab.draw_filters` shows, and what of them.

    Raises:
        OptionError: No network is named, or only one of ``layer`` and ``image`` is given.
    """

    detector: tuple[Path, ...] = option((), help="detector files, or runs of train")
    classifier: tuple[Path, ...] = option((), help="runs of train-classifier")
    epochs: tuple[int, ...] = option(
        (), low=0, metavar="N,N,...", help="saved epochs of each run to show (default: the final weights)"
    )
    layer: str | None = option(
        None, metavar="NAME", help="show the activations of this layer instead of filters"
    )
    image: Path | None = option(None, metavar="FILE", help="image whose activations are shown")

    def __post_init__(self) -> None:
        check_options(self)
        if not self.detector and not self.classifier:
            raise OptionError("detector", "is missing", "pass `detector` or `classifier`")
        if (self.layer is None) != (self.image is None):
            raise OptionError(
                "layer",
                "needs `image`, and `image` needs it",
                "pass both for activations, neither for filters",
            )


@dataclass(frozen=True)
class FaceMapOptions:
    """Which faces :func:`lab.map_faces` shows, and how it groups and arranges them.

    Raises:
        OptionError: An option is not allowed.
    """

    split: str | None = option(None, help="split of the rows to use (default: all)")
    method: str | None = option(None, help="manipulation method of the rows to use (default: all)")
    cluster: ClusterMethod = option("kmeans", help="clustering method; hdbscan leaves outliers unassigned")
    num_clusters: int = option(8, low=1, help="clusters of kmeans")
    min_size: int = option(5, low=2, help="smallest cluster size of hdbscan")
    projection: Projection = option("tsne", help="projection to two dimensions")
    max_faces: int = option(
        5000, low=3, high=MAX_FACES, help="largest number of faces; more are sampled down to it"
    )
    seed: int = option(0, low=0, below=2**32, help="random seed of sampling, clustering and projection")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class VerificationOptions:
    """How :func:`lab.verify_pairs` cuts faces out of images.

    Raises:
        OptionError: An option is not allowed.
    """

    crop: FaceCrop = option(
        "face",
        help=(
            "detected: the large face near the middle; center: the middle of images that are "
            "centered on a face"
        ),
    )
    margin: float = option(
        1.2, low=0.5, high=4, help="side of the crop divided by the longer side of the face"
    )
    batch_size: int = option(32, low=1, help="images per batch")
    device: Device = option("auto", help="device to compute on")

    def __post_init__(self) -> None:
        check_options(self)
