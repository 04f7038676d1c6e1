"""The description of a network: with it the same network is built again, for a file to fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Preprocessing

HeadName = Literal["linear", "dropout", "vgg"]
Pooling = Literal["avg", "flatten"]
Temporal = Literal["lstm", "transformer"]
NUM_ATTENTION_HEADS = 4
DETECTOR_FORMAT = "deepfake_detect.detector"
"""What a detector's file says it is."""


@dataclass(frozen=True)
class SequenceSpec:
    """How a sequence model reads its frames.

    Attributes:
        temporal: ``"lstm"`` or ``"transformer"``.
        hidden: Size of its state (of a token, for the transformer).
        num_layers: Its layers, one over the other.
        num_frames: Crops of a clip that it is given at most, evenly spaced.

    Raises:
        OptionError: One of them is not possible.
    """

    temporal: Temporal
    hidden: int
    num_layers: int
    num_frames: int = 16

    def __post_init__(self) -> None:
        _check_choice("temporal", self.temporal, get_args(Temporal))
        _check_counts(self, "hidden", "num_layers", "num_frames")
        if self.temporal == "transformer" and self.hidden % NUM_ATTENTION_HEADS:
            raise OptionError("hidden", f"is {self.hidden}", f"pass a multiple of {NUM_ATTENTION_HEADS}")


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build the same network again, without its weights.

    Attributes:
        backbone: A name of ``backbones.OWN_BACKBONES``, or a timm model name.
        preprocessing: Input size and normalization of RGB crops.
        dropout: Probability of dropping a feature in the head, 0 to 1.
        backbone_options: Extra options of the backbone.
        head: A name of ``heads.HEADS``; a sequence model has its own in place of it.
        pooling: From the last feature map to features; ``None`` is the backbone's own way.
        num_classes: Outputs; 1 is the logit of fake.
        in_chans: Channels of the input.
        sequence: ``None`` for a network of single crops.

    Raises:
        OptionError: One of them is not possible.
    """

    backbone: str
    preprocessing: Preprocessing
    dropout: float = 0.0
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    head: HeadName = "dropout"
    pooling: Pooling | None = None
    num_classes: int = 1
    in_chans: int = 3
    sequence: SequenceSpec | None = None

    def __post_init__(self) -> None:
        _check_choice("head", self.head, get_args(HeadName))
        _check_choice("pooling", self.pooling, (None, *get_args(Pooling)))
        _check_counts(self, "num_classes", "in_chans")
        if not 0 <= self.dropout < 1:
            raise OptionError("dropout", f"is {self.dropout}", "pass 0 up to, but not including, 1")


def _check_choice(option: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        named = ", ".join(choice for choice in choices if choice)
        raise OptionError(option, f"{value!r} is unknown", f"choose {named}")


def _check_counts(spec: object, *options: str) -> None:
    for option in options:
        if getattr(spec, option) < 1:
            raise OptionError(option, f"is {getattr(spec, option)}", "pass 1 or more")
