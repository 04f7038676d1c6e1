"""The options of a comparison of backbones."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option
from deepfake_detect.training.finetune import FINETUNE_MODES, parse_finetune


@dataclass(frozen=True)
class StudyOptions:
    """Options that a comparison varies; everything else is in its ``TrainingConfig``."""

    backbones: tuple[str, ...] = option(metavar="NAME", help="backbones to compare, as for train")
    finetune_modes: tuple[str, ...] = option(
        ("features", "top", "full"),
        flag="--finetune",
        metavar="MODE",
        help=(
            f"finetune modes to compare: {', '.join(FINETUNE_MODES)}, or several joined with + "
            "(default features top full)"
        ),
    )
    backbone_weights: tuple[str, ...] = option(
        (),
        flag="--weights",
        metavar="NAME=PATH",
        help=("pretrained weights of each backbone: a file or a published name (default: random weights)"),
    )
    num_seeds: int = option(1, low=1, flag="--seeds", help="runs per combination, with consecutive seeds")
    measure_test: bool = option(False, flag="--test", help="also measure the test split (not ranked)")

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("backbones", "finetune_modes"):
            if not getattr(self, name):
                raise OptionError(name, "is empty", "name one or more")
        for mode in self.finetune_modes:
            parse_finetune(mode, parameter="finetune_modes")
        if unknown := sorted(set(self.weights) - set(self.backbones)):
            raise OptionError(
                "backbone_weights", f"names {unknown[0]!r}, which is not compared", "add it to `backbones`"
            )

    @property
    def weights(self) -> dict[str, str]:
        """The weights by backbone.

        Raises:
            OptionError: An entry of ``backbone_weights`` is malformed, or names a backbone twice.
        """
        found: dict[str, str] = {}
        for text in self.backbone_weights:
            name, _, path = text.partition("=")
            if not (name and path):
                raise OptionError("backbone_weights", f"{text!r} names no backbone", "write NAME=PATH")
            if name in found:
                raise OptionError("backbone_weights", f"names {name} twice", "name one file per backbone")
            found[name] = path
        return found
