"""The description of a network: enough to build it again, for a file of weights to fill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Preprocessing

Pooling = Literal["avg", "flatten"]
Temporal = Literal["lstm", "transformer"]
Scalar = bool | int | float | str
NUM_ATTENTION_HEADS = 4
DETECTOR_FORMAT = "deepfake_detect.detector"
"""Value of the metadata key ``format`` in a detector file."""
MAX_IMAGE_SIZE = 4096
# timm.create_model opens or downloads files by these; a detector file may not name any.
_OPENS_FILES = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


@dataclass(frozen=True)
class SequenceSpec:
    """How a sequence model reads its frames.

    Attributes:
        temporal: ``"lstm"`` or ``"transformer"``.
        hidden: Size of its state (of a token, for the transformer).
        num_layers: Number of stacked layers.
        num_frames: Most crops of a clip that it reads, evenly spaced.

    Raises:
        OptionError: A value is not allowed.
    """

    temporal: Temporal
    hidden: int
    num_layers: int
    num_frames: int = 16

    def __post_init__(self) -> None:
        _check_choice("temporal", self.temporal, get_args(Temporal))
        _check_counts(self, "hidden", "num_layers", "num_frames")
        if self.temporal == "transformer" and self.hidden % NUM_ATTENTION_HEADS:
            raise OptionError("hidden", f"is {self.hidden}", f"must be a multiple of {NUM_ATTENTION_HEADS}")


@dataclass(frozen=True)
class ClassicalSpec:
    """A classical classifier in place of the head.

    Attributes:
        head: Name in ``classical_heads.CLASSICAL_HEADS``.
        layer: Layer whose features it reads; ``None`` is the encoder's output.
    """

    head: str
    layer: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build the same network again, without its weights.

    Attributes:
        backbone: Name of a registered backbone, or a timm model name.
        preprocessing: Input size and normalization of RGB crops.
        dropout: Probability of dropping a feature in the head, 0 to 1.
        backbone_options: Extra options of the backbone.
        head: Name of a registered head; sequence models and classical classifiers have their own.
        pooling: From the last feature map to features; ``None`` is the backbone's own way.
        num_classes: Outputs; 1 is the logit of fake.
        in_chans: Channels of the input.
        sequence: ``None`` except for sequence models.
        classical: ``None`` except for classical classifiers.

    Raises:
        OptionError: A value is not allowed.
    """

    backbone: str
    preprocessing: Preprocessing
    dropout: float = 0.0
    backbone_options: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    head: str = "dropout"
    pooling: Pooling | None = None
    num_classes: int = 1
    in_chans: int = 3
    sequence: SequenceSpec | None = None
    classical: ClassicalSpec | None = None

    def __post_init__(self) -> None:
        _check_choice("pooling", self.pooling, (None, *get_args(Pooling)))
        _check_counts(self, "num_classes", "in_chans")
        if not 0 <= self.dropout < 1:
            raise OptionError("dropout", f"is {self.dropout}", "must be at least 0 and below 1")
        if named := sorted(_OPENS_FILES & self.backbone_options.keys()):
            cause = f"cannot hold {', '.join(named)}, which open files"
            raise OptionError("backbone_options", cause, "pass `weights` to create_model")
        _check_preprocessing(self.preprocessing)


def _check_preprocessing(preprocessing: Preprocessing) -> None:
    if not 1 <= preprocessing.image_size <= MAX_IMAGE_SIZE:
        raise OptionError("image_size", f"is {preprocessing.image_size}", f"must be 1 to {MAX_IMAGE_SIZE}")
    for name in ("mean", "std"):
        values = getattr(preprocessing, name)
        if not all(math.isfinite(value) and (name == "mean" or value > 0) for value in values):
            raise OptionError(name, f"is {values}", "must be finite, and `std` above 0")


def _check_choice(option: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        named = ", ".join(choice for choice in choices if choice)
        raise OptionError(option, f"{value!r} is unknown", f"must be one of {named}")


def _check_counts(spec: object, *options: str) -> None:
    for option in options:
        if getattr(spec, option) < 1:
            raise OptionError(option, f"is {getattr(spec, option)}", "must be 1 or more")
