"""The description of a network: enough to build it again, for a file of weights to fill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Preprocessing

Pooling = Literal["avg", "flatten"]
Stem = Literal["rgb", "srm", "dct"]
Temporal = Literal["lstm", "transformer"]
Scalar = bool | int | float | str
NUM_ATTENTION_HEADS = 4
DETECTOR_FORMAT = "deepfake_detect.detector"
"""Value of the metadata key ``format`` in a detector file."""
# A detector file may come from a stranger: its numbers are limited before a network is built of them.
_LARGEST = {
    **{"image_size": 1024, "num_classes": 10_000, "in_chans": 64},
    **{"hidden": 8192, "num_layers": 64, "num_frames": 4096},
}
_LARGEST_OPTION, _MOST_OPTIONS, _LONGEST_TEXT = 10_000, 32, 200
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
        stem: What the encoder sees instead of the colors, see :mod:`models.stems`.
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
    stem: Stem = "rgb"

    def __post_init__(self) -> None:
        _check_choice("stem", self.stem, get_args(Stem))
        if self.stem != "rgb" and self.in_chans != 3:
            raise OptionError("stem", f"{self.stem} is for color images", "omit `in_chans`")
        _check_choice("pooling", self.pooling, (None, *get_args(Pooling)))
        _check_counts(self, "num_classes", "in_chans")
        if not 0 <= self.dropout < 1:
            raise OptionError("dropout", f"is {self.dropout}", "must be at least 0 and below 1")
        _check_options(self.backbone_options)
        _check_counts(self.preprocessing, "image_size")
        for name in ("mean", "std"):
            values = getattr(self.preprocessing, name)
            if not all(math.isfinite(value) and (name == "mean" or value > 0) for value in values):
                raise OptionError(name, f"is {values}", "must be finite, and `std` above 0")


def _check_options(options: Mapping[str, object]) -> None:
    """Check that options of a backbone name no files and are of a size that options have."""
    if named := sorted(_OPENS_FILES & options.keys()):
        cause = f"cannot hold {', '.join(named)}, which open files"
        raise OptionError("backbone_options", cause, "pass `weights` to create_model")
    values = [v for one in options.values() for v in (one if isinstance(one, (list, tuple)) else [one])]
    numbers = [value for value in values if isinstance(value, (int, float))]
    longest = max((len(text) for text in (*options, *values) if isinstance(text, str)), default=0)
    if max(len(options), len(values)) > _MOST_OPTIONS or longest > _LONGEST_TEXT:
        cause = "has too many or too long values"
        raise OptionError(
            "backbone_options", cause, f"pass up to {_MOST_OPTIONS}, of {_LONGEST_TEXT} characters"
        )
    for name, rate in options.items():
        if name.endswith(("_rate", "dropout")) and not (isinstance(rate, (int, float)) and 0 <= rate < 1):
            raise OptionError("backbone_options", f"has {name} {rate}", "must be at least 0 and below 1")
    if not all(abs(number) <= _LARGEST_OPTION for number in numbers):
        raise OptionError("backbone_options", f"is {dict(options)}", f"must be within ±{_LARGEST_OPTION:,}")


def _check_choice(option: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        named = ", ".join(choice for choice in choices if choice)
        raise OptionError(option, f"{value!r} is unknown", f"must be one of {named}")


def _check_counts(spec: object, *options: str) -> None:
    for option in options:
        value, largest = getattr(spec, option), _LARGEST[option]
        if not 1 <= value <= largest:
            allowed = "1 or more" if value < 1 else f"1 to {largest}"
            raise OptionError(option, f"is {value}", f"must be {allowed}")
