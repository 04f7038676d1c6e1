"""Face verification: whether two images show one person, by the similarity of a network's features.

The protocol is that of Labeled Faces in the Wild (Huang et al., University of Massachusetts report 07-49,
2007): pairs in folds; the threshold that is best on the other folds gives a fold's accuracy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit

from deepfake_detect.data.transforms import center_crop, crop_to_tensor
from deepfake_detect.device import choose_device
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.faces import MtcnnDetector, crop_face
from deepfake_detect.features.extractor import NamedExtractor, build_extractor
from deepfake_detect.features.neighbors import unit_vectors
from deepfake_detect.features.options import FeatureSource
from deepfake_detect.lab.face_pairs import FacePair, PeopleImages, read_pairs
from deepfake_detect.lab.options import VerificationOptions
from deepfake_detect.metrics import CONFIDENCE, Interval, bootstrap_intervals
from deepfake_detect.models.backbones import inner_network
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import CropGeometry, Face

# Longer side of MTCNN's face box in LFW's centered images, relative to theirs: median of 1,815 images.
_CENTERED_FACE = 0.5


@dataclass(frozen=True)
class Verification:
    """How well a network's features tell whether two images show one person.

    Attributes:
        auc: Area under the ROC curve of the cosines, with a 95% interval from resampling pairs.
        accuracy: Mean over the folds of the accuracy at the threshold that is best on the other folds,
            with Student's 95% interval of that mean; ``None`` with one fold.
        threshold: Cosine from which a pair is called the same person, the mean over the folds; ``None``
            with one fold.
        num_same, num_different: Pairs compared.
        num_folds: Folds with pairs.
        no_face: Images in which no face was found. Their pairs are left out.
        num_left_out: Pairs left out.
    """

    auc: Interval
    accuracy: Interval | None
    threshold: float | None
    num_same: int
    num_different: int
    num_folds: int
    no_face: tuple[str, ...] = ()
    num_left_out: int = 0

    def text(self) -> str:
        """Return the figures as lines of text."""
        lines = [
            f"pairs: {self.num_same:,} of one person, {self.num_different:,} of two, {self.num_folds} folds"
        ]
        lines += [f"AUC {self.auc.text()}"]
        if self.accuracy is None:
            lines += ["accuracy: needs 2 or more folds, since a fold's threshold comes from the others"]
        else:
            at = f"at the threshold that is best on the other folds (mean cosine {self.threshold:.3f})"
            lines += [f"accuracy {self.accuracy.text()} {at}"]
        if self.no_face:
            lines += [
                f"skipped: {counted(self.num_left_out, 'pair')} with {counted(len(self.no_face), 'image')} "
                "without a face"
            ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values; bounds that are unknown are ``None``."""
        values = asdict(self)
        for name in ("auc", "accuracy"):
            if values[name] is not None:
                values[name] = {
                    key: None if math.isnan(number) else number for key, number in values[name].items()
                }
        return values


def verify_pairs(
    pairs: str | os.PathLike[str],
    images: str | os.PathLike[str],
    options: VerificationOptions | None = None,
    *,
    backbone: str | None = FeatureSource.backbone,
    weights: str | None = FeatureSource.weights,
    detector: str | None = FeatureSource.detector,
    layer: str | None = FeatureSource.layer,
    show_progress: bool = True,
) -> Verification:
    """Measure a network on pairs of images of one person and of two.

    Two faces are compared by the cosine of their features. FaceNet's (Schroff et al. 2015,
    arXiv:1503.03832) are its embedding.

    Args:
        pairs: Text file in the form of LFW's ``pairs.txt``: a line with the numbers of folds and of pairs
            of a kind per fold, then for each fold lines ``NAME NUMBER NUMBER`` for one person and
            ``NAME NUMBER NAME NUMBER`` for two, separated by tabs. With one number in the first line
            (``pairsDevTest.txt``) there is one fold.
        images: Folder, or tar, with ``NAME/NAME_0001.jpg`` (or ``.png``).
        options: How faces are cut; the defaults when ``None``.
        backbone, weights, detector, layer: The network, see
            :class:`features.options.FeatureSource`.
        show_progress: Whether to show a progress bar.

    Returns:
        AUC, and accuracy by the folds.

    Raises:
        OptionError: The network cannot be built, or an option is out of range.
        WeightsError, CheckpointError: Weights or detector cannot be read.
        DatasetLayoutError: The pairs cannot be read, an image is missing or unreadable, or faces are
            found in too few images to leave pairs of both kinds.

    Example:
        >>> network = {"backbone": "facenet", "weights": "facenet.safetensors"}
        >>> found = verify_pairs("pairs.txt", "lfw", **network)  # doctest: +SKIP
        >>> found.auc.text()  # doctest: +SKIP
        '0.998 [0.994, 0.999]'
    """
    options = VerificationOptions() if options is None else options
    extractor = build_extractor(FeatureSource(backbone, weights, detector, layer))
    listed = read_pairs(pairs)
    names = sorted({name for pair in listed for name in (pair.first, pair.second)})
    vectors: dict[str, np.ndarray] = {}
    with PeopleImages(images) as people, progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("faces", total=len(names), note="")
        for batch, features in _faces(people, names, extractor, options):
            vectors |= dict(zip(batch, unit_vectors(features), strict=True))
            progress.update(task, completed=len(vectors))
    no_face = tuple(name for name in names if name not in vectors)
    kept = [pair for pair in listed if pair.first in vectors and pair.second in vectors]
    return _measured(pairs, kept, vectors, no_face, num_left_out=len(listed) - len(kept))


def _faces(
    people: PeopleImages,
    names: Sequence[str],
    extractor: NamedExtractor,
    options: VerificationOptions,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield names of images with a face, and the features (n, F) of these faces."""
    model, device = extractor.network.model, choose_device(options.device)
    # The published FaceNet has no ReLU behind its embedding, the forgery backbone has.
    network = extractor.network if extractor.network.layer else inner_network(model.encoder)
    network = network.to(device)
    finder = MtcnnDetector(device=device) if options.crop == "face" else None
    for start in range(0, len(names), options.batch_size):
        batch = names[start : start + options.batch_size]
        found = {name: _crop(people.read(name), finder, options.margin) for name in batch}
        crops = {name: crop for name, crop in found.items() if crop is not None}
        if crops:
            inputs = [crop_to_tensor(crop, model.spec.preprocessing) for crop in crops.values()]
            with torch.inference_mode():
                yield list(crops), network(torch.stack(inputs).to(device)).float().cpu().numpy()


def _crop(image: np.ndarray, finder: MtcnnDetector | None, margin: float) -> np.ndarray | None:
    """Return the crop of an image's person, or its middle without a detector; ``None`` without a face."""
    if finder is None:
        return center_crop(image, min(1.0, margin * _CENTERED_FACE))
    found = finder.detect(image)
    if not found:
        return None
    person = max(found, key=lambda face: _prominence(face, image.shape[:2]))
    return crop_face(image, person, CropGeometry(margin=margin))


def _prominence(face: Face, size: tuple[int, int]) -> float:
    """Return the area of a face less twice its squared distance from the middle of its image.

    Images of a person may show others too, larger at the border. So does the author of facenet (David
    Sandberg) choose the person of a photo.
    """
    left, top, right, bottom = map(float, face.box_xyxy)
    distance = math.hypot((left + right - size[1]) / 2, (top + bottom - size[0]) / 2)
    return (right - left) * (bottom - top) - 2 * distance**2


def _measured(
    path: str | os.PathLike[str],
    pairs: Sequence[FacePair],
    vectors: dict[str, np.ndarray],
    no_face: tuple[str, ...],
    *,
    num_left_out: int,
) -> Verification:
    cosines = np.array([float(vectors[pair.first] @ vectors[pair.second]) for pair in pairs])
    is_same = np.array([pair.is_same for pair in pairs], bool)
    folds = np.array([pair.fold for pair in pairs], int)
    if is_same.all() or not is_same.any():
        without = counted(len(no_face), "image")
        cause = f"leaves {counted(len(pairs), 'pair')}, all of one kind, with {without} without a face"
        raise DatasetLayoutError(Path(path), cause, "pass `crop` 'center', or other images")
    num_folds = len(np.unique(folds))
    scores = (cosines + 1) / 2  # bootstrap_intervals wants 0 to 1; the order is the same
    figures = bootstrap_intervals(
        is_same.astype(int), scores.clip(0, 1), np.arange(len(pairs)), threshold=0.5
    )
    accuracy, threshold = accuracy_by_folds(cosines, is_same, folds) if num_folds > 1 else (None, None)
    return Verification(
        auc=figures["auc"],
        accuracy=accuracy,
        threshold=threshold,
        num_same=int(is_same.sum()),
        num_different=int((~is_same).sum()),
        num_folds=num_folds,
        no_face=no_face,
        num_left_out=num_left_out,
    )


def accuracy_by_folds(cosines: np.ndarray, is_same: np.ndarray, folds: np.ndarray) -> tuple[Interval, float]:
    """Return the mean accuracy of the folds, each at the threshold that is best on the other folds.

    Args:
        cosines: float (N,) of the pairs.
        is_same: bool (N,), whether a pair shows one person.
        folds: int (N,), with two values or more.

    Returns:
        The accuracy with Student's 95% interval of the mean, without bounds where all folds have the
        same one; and the mean of the thresholds.

    Raises:
        OptionError: There is one fold.

    Example:
        >>> cosines, is_same = np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, False])
        >>> found, threshold = accuracy_by_folds(cosines, is_same, np.array([0, 0, 1, 1]))
        >>> found.value, round(threshold, 2)
        (1.0, 0.5)
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise OptionError("folds", "are fewer than 2", "the threshold comes from the other folds")
    thresholds = [best_threshold(cosines[folds != name], is_same[folds != name]) for name in names]
    accuracies = np.array(
        [
            np.mean((cosines[folds == name] >= threshold) == is_same[folds == name])
            for name, threshold in zip(names, thresholds, strict=True)
        ]
    )
    mean, error = float(accuracies.mean()), float(accuracies.std(ddof=1)) / math.sqrt(len(names))
    half = float(stdtrit(len(names) - 1, (1 + CONFIDENCE) / 2)) * error
    is_flat = error == 0.0
    low, high = (math.nan, math.nan) if is_flat else (max(0.0, mean - half), min(1.0, mean + half))
    return Interval(mean, low, high), float(np.mean(thresholds))


def best_threshold(cosines: np.ndarray, is_same: np.ndarray) -> float:
    """Return the cosine that separates the most pairs: halfway between the two neighbors of the best cut.

    Example:
        >>> best_threshold(np.array([0.2, 0.9, 0.4]), np.array([False, True, False])).__round__(2)
        0.65
    """
    order = np.argsort(cosines, kind="stable")
    ranked = cosines[order]
    # With the lowest k called different: the different among those, and the same among the others.
    right = np.concatenate([[0], np.cumsum(~is_same[order])]) + np.concatenate(
        [np.cumsum(is_same[order][::-1])[::-1], [0]]
    )
    edges = np.concatenate([[ranked[0]], (ranked[1:] + ranked[:-1]) / 2, [np.nextafter(ranked[-1], 2)]])
    # Equal cosines cannot be separated.
    can_cut = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    return float(edges[np.argmax(np.where(can_cut, right, -1))])
