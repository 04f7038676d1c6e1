"""Metadata of detector files, for every runtime; imports no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.io.plain import from_plain
from deepfake_detect.models.metadata import CHECKSUM_KEY, EXPORT_KEYS
from deepfake_detect.models.spec import DETECTOR_FORMAT, ModelSpec, Scalar
from deepfake_detect.plugins import PluginPart
from deepfake_detect.records import CropGeometry

FORMAT_VERSION = 1
_KEYS = {"format", "format_version", "config", CHECKSUM_KEY, *EXPORT_KEYS}
_OLDER_CLASSIFIER_KEY = "feature_classifier"
_LONGEST_NAME, _LONGEST_CONFIG = 200, 16 * 2**20  # the latter with digests of half a million videos
_LARGEST_TEMPERATURE = 1e6


@dataclass(frozen=True)
class PlattCalibration:
    """A straight line in front of the sigmoid.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999).
    """

    slope: float
    intercept: float
    method: Literal["platt"] = "platt"

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of logits (N,)."""
        return sigmoid(self.slope * logits + self.intercept)


@dataclass(frozen=True)
class IsotonicCalibration:
    """Straight lines between knots in place of the sigmoid, level outside.

    Attributes:
        logits: Of the knots, ascending.
        probabilities: Of the knots, 0 to 1.

    Raises:
        OptionError: There is no knot, or the values are out of order or range.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    method: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        if not self.logits or len(self.logits) != len(self.probabilities):
            raise OptionError("calibration", "needs one probability for each of its logits", "fit it again")
        if list(self.logits) != sorted(self.logits) or not all(0 <= one <= 1 for one in self.probabilities):
            cause = "has logits out of order or probabilities outside 0 to 1"
            raise OptionError("calibration", cause, "fit it again")

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of logits (N,)."""
        between: np.ndarray = np.interp(logits, self.logits, self.probabilities)
        return between


Calibration = PlattCalibration | IsotonicCalibration


@dataclass(frozen=True)
class TeacherFacts:
    """A detector that was a teacher: its name, version, and the SHA-256 of its file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class AverageFacts:
    """The detectors whose weights were averaged, as "name version", and the weight of each."""

    detectors: tuple[str, ...]
    mixing_weights: tuple[float, ...]


@dataclass(frozen=True)
class PublishedFacts:
    """Where a published detector is from.

    Attributes:
        entry: Its name in the zoo.
        repository: Of its authors.
        license: Of its weights.
        sha256: Of each file that it was converted from.
    """

    entry: str
    repository: str
    license: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class FigureFacts:
    """A measured figure: its value, the bounds of its 95% interval where known, and the videos measured."""

    value: float
    low: float | None
    high: float | None
    num_real: int
    num_fake: int


@dataclass(frozen=True)
class TrainingFacts:
    """What a detector file records of its training; ``None`` or empty where it does not say.

    Attributes:
        library_version: Of this library, at training.
        finetune: Finetune mode.
        forgery: Kind of blends that were made of reals during training.
        forgery_share: Fraction of the fakes that were such blends.
        num_blended_reals: Reals that could be blended.
        datasets: Names of the datasets that were trained on.
        where: SQL condition that chose the rows.
        allow_leak: Kinds of leaks between splits that were allowed.
        train_videos_sha256, val_videos_sha256, calibrated_videos_sha256: Hash of the ids of all videos
            of a use; only in older files.
        teachers: Detectors whose logits were learned from.
        video_sha256_prefixes: Digests of the videos by use (``"train"``, ``"val"``, ``"calibrated"``),
            see :func:`data.video_digests.video_digests`.
        num_train_crops, num_val_crops: Crops of each split.
        selected_epoch: Epoch with the best validation AUC, whose weights these are.
        val_video_auc: That AUC, over videos.
        kept_epoch: Epoch whose weights these are, where it was not selected by AUC.
        average_of: Detectors whose mean this is.
        classifier, settings, selected_on, features: Of a classical classifier: its kind, its
            hyperparameters, what chose them, and the network and files that its features are of.
        aggregation_auc: Validation AUC over videos by aggregation rule.
        published: Of a detector of the zoo, where it is from.
        calibrated_auc: That of the rule in use, with its interval, over the videos of the calibration.
    """

    library_version: str | None = None
    finetune: str | None = None
    forgery: str | None = None
    forgery_share: float | None = None
    num_blended_reals: int | None = None
    datasets: tuple[str, ...] | None = None
    where: str | None = None
    allow_leak: tuple[str, ...] | None = None
    train_videos_sha256: str | None = None
    val_videos_sha256: str | None = None
    calibrated_videos_sha256: str | None = None
    teachers: tuple[TeacherFacts, ...] | None = None
    num_train_crops: int | None = None
    num_val_crops: int | None = None
    selected_epoch: int | None = None
    val_video_auc: float | None = None
    kept_epoch: int | None = None
    classifier: str | None = None
    settings: Mapping[str, Scalar] | None = None
    selected_on: str | None = None
    # Any: a description for readers, with any metadata of the weights file; no code reads it.
    features: Mapping[str, Any] | None = None
    average_of: AverageFacts | None = None
    aggregation_auc: Mapping[str, float] | None = None
    calibrated_auc: FigureFacts | None = None
    video_sha256_prefixes: Mapping[str, tuple[str, ...]] | None = None
    published: PublishedFacts | None = None

    def digests(self, use: str) -> frozenset[str]:
        """Return the digests of the videos of a use, none where the file does not say."""
        return frozenset((self.video_sha256_prefixes or {}).get(use, ()))

    def readable(self) -> TrainingFacts:
        """Return the facts without the digests of thousands of videos, which only evaluation reads."""
        return replace(self, video_sha256_prefixes=None)


@dataclass(frozen=True)
class DetectorConfig:
    """Metadata of a detector file: everything but its weights.

    Attributes:
        name: Short name of the detector.
        version: Of the detector, not of the library.
        model: How to build the network.
        geometry: How its crops are cut.
        aggregation_rule: Name of the rule from face probabilities to the clip's.
        temperature: The logit is divided by it before the sigmoid; fitted on validation.
        threshold: Probability from which a clip counts as fake; chosen on validation.
        uncertain_low, uncertain_high: Probabilities strictly between are called uncertain.
        training: Facts about the training.
        calibration: Replaces the plain sigmoid; ``None`` keeps it.
        aggregation_weights: Of the aggregation rule ``"logistic"``; empty for all others.
        plugins: Parts that plug-ins provided in training.
        is_calibrated: Whether probabilities, threshold and limits were fitted on validation videos. Without
            it a clip gets a score and no verdict.

    Raises:
        OptionError: A number is out of range.
    """

    name: str
    version: str
    model: ModelSpec
    geometry: CropGeometry
    aggregation_rule: str = "most_suspicious_track"
    temperature: float = 1.0
    threshold: float = 0.5
    uncertain_low: float = 0.5
    uncertain_high: float = 0.5
    training: TrainingFacts = field(default_factory=TrainingFacts)
    calibration: Calibration | None = None
    aggregation_weights: tuple[float, ...] = ()
    plugins: tuple[PluginPart, ...] = ()
    is_calibrated: bool = True

    def __post_init__(self) -> None:
        for name in ("name", "version", "aggregation_rule"):
            text = getattr(self, name)
            if len(text) > _LONGEST_NAME or not text.isprintable():
                cause = f"is {text[:20]!r} of {len(text)} characters"
                raise OptionError(
                    name, cause, f"must be printable, and of {_LONGEST_NAME} characters at most"
                )
        if not 0 < self.temperature <= _LARGEST_TEMPERATURE:
            cause, allowed = f"is {self.temperature}", f"must be above 0, up to {_LARGEST_TEMPERATURE:g}"
            raise OptionError("temperature", cause, allowed)
        for name in ("threshold", "uncertain_low", "uncertain_high"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(name, f"is {getattr(self, name)}", "must be 0 to 1")
        if self.uncertain_low > self.uncertain_high:
            raise OptionError("uncertain_low", f"is {self.uncertain_low}", "must not exceed `uncertain_high`")
        from deepfake_detect.faces.crops import check_geometry  # here: it loads OpenCV

        check_geometry(self.geometry)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the file holds them; unknown facts of the training are left out."""
        values = asdict(self)
        values["training"] = {name: one for name, one in values["training"].items() if one is not None}
        values["calibration"] = values["calibration"] or {}
        values["geometry"] = self.geometry.to_dict()
        values["model"]["preprocessing"] = self.model.preprocessing.to_dict()
        if self.model.stem == "rgb":
            del values["model"]["stem"]  # as is_calibrated
        if self.is_calibrated:
            del values["is_calibrated"]  # earlier versions, which do not know it, can read the file
        return values

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a detector file, of any runtime."""
        config = json.dumps(self.to_dict(), allow_nan=False)
        return {"format": DETECTOR_FORMAT, "format_version": str(FORMAT_VERSION), "config": config}


def parse_config(file: Path, metadata: Mapping[str, str]) -> DetectorConfig:
    """Return the config that a detector file's metadata hold.

    Raises:
        CheckpointError: The metadata are damaged, of another library or of a later version.
    """
    if metadata.get("format") != DETECTOR_FORMAT:
        raise CheckpointError(
            file,
            "was written by another library or contains bare weights",
            "pass the detector.safetensors of a training; bare weights are the `weights` of train",
        )
    version = metadata.get("format_version", "")
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise CheckpointError(file, f"has format version {version[:20]}", "update deepfake_detect to read it")
    try:
        if unknown := sorted(metadata.keys() - _KEYS - {_OLDER_CLASSIFIER_KEY}):
            raise ValueError(f"unknown metadata: {', '.join(unknown)[:_LONGEST_NAME]}")
        if len(metadata["config"]) > _LONGEST_CONFIG:
            raise ValueError(f"it has more than {_LONGEST_CONFIG:,} characters")
        values = json.loads(metadata["config"])
        if isinstance(values, dict):
            values = _from_older(values, metadata)
        return from_plain(DetectorConfig, values, name="config")
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(
            file,
            f"its description cannot be read ({error})",
            "update deepfake_detect if a later version wrote it; else train it again",
        ) from error


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, float64."""
    probabilities: np.ndarray = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))  # exp stays finite
    return probabilities


def _from_older(values: dict[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return a config's values under the names of today."""
    training = dict(values.get("training") or {})
    if "regime" in training:  # codespell:ignore regime
        training["finetune"] = training.pop("regime")  # codespell:ignore regime
    average = training.get("average_of")
    if isinstance(average, dict) and "shares" in average:
        average["mixing_weights"] = average.pop("shares")
    if _OLDER_CLASSIFIER_KEY in metadata and isinstance(values.get("model"), dict):
        values["model"]["classical"] = json.loads(metadata[_OLDER_CLASSIFIER_KEY])
    return {**values, "training": training, "calibration": values.get("calibration") or None}
