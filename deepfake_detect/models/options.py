"""Options of converting a checkpoint; imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deepfake_detect.options import option

Activation = Literal["relu", "none"]


@dataclass(frozen=True)
class ConversionOptions:
    """What a checkpoint of another library may not say about itself."""

    network: str | None = option(
        None,
        flag="--as",
        metavar="NETWORK",
        help=(
            "network in the file: a backbone name as for train, or a layout from the zoo "
            "(default: detected from the tensor names)"
        ),
    )
    fake_class: int | None = option(
        None,
        low=0,
        high=1,
        help=(
            "class that means fake, 0 or 1; for a single output, 1 if high values mean fake, 0 "
            "if they mean real"
        ),
    )
    mean: tuple[float, ...] | None = option(
        None, help="mean of the normalization used in training, one or three numbers from 0 to 1"
    )
    std: tuple[float, ...] | None = option(
        None, help="standard deviation of the normalization, in the same form"
    )
    image_size: int | None = option(
        None, low=1, high=1024, help="side of the model's input, in pixels (default: the backbone's own)"
    )
    margin: float | None = option(
        None, low=0.5, high=4, help="side of the face crop divided by that of the face box (default: 1.3)"
    )
    activation: Activation | None = option(
        None,
        help=("activation between a FaceNet and its last layer, if the names do not show it: relu or none"),
    )
    drop: tuple[str, ...] = option(
        (), metavar="PREFIX", help="prefixes of tensor names that scoring does not use"
    )
