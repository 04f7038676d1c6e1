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
        help="network that the file holds: a backbone as for train, or a layout of the zoo; recognized by "
        "the names of its tensors if not given",
    )
    fake_class: int | None = option(
        None,
        low=0,
        high=1,
        help="class that means fake, 0 or 1; of one output: 1 if a high one means fake, 0 if it means real",
    )
    mean: tuple[float, ...] | None = option(
        None, help="mean of the normalization that it was trained with, one or three numbers, of 0 to 1"
    )
    std: tuple[float, ...] | None = option(None, help="standard deviation of the normalization, likewise")
    image_size: int | None = option(
        None, low=1, high=1024, help="side of its input in pixels (default: the backbone's own)"
    )
    margin: float | None = option(
        None, low=0.5, high=4, help="side of the face crop divided by that of the face box (default: 1.3)"
    )
    activation: Activation | None = option(
        None, help="between a FaceNet and its last layer, where the names do not tell: relu or none"
    )
    drop: tuple[str, ...] = option(
        (), metavar="PREFIX", help="beginnings of names of tensors that scoring does not use"
    )
