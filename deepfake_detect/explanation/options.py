"""Options of heat maps, apart from what computes them, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.options import check_options, option

# gradcam     Selvaraju et al. 2017, arXiv:1610.02391
# gradcam++   Chattopadhay et al. 2018, arXiv:1710.11063
# scorecam    Wang et al. 2020, arXiv:1910.01279; a forward pass for each channel: slow
# attention   Chefer et al. 2021, arXiv:2103.15679; only for transformers
Method = Literal["gradcam", "gradcam++", "scorecam", "attention"]
METHODS: tuple[Method, ...] = get_args(Method)
# What an output is to be evidence for where there is one logit, or the index of a class.
Target = Literal["fake", "real"] | int


@dataclass(frozen=True)
class ExplainOptions:
    """Which crops are explained, and how."""

    method: Method = option("gradcam", help="how to compute the maps; scorecam is slow")
    target: Literal["fake", "real"] = option("fake", help="class to show the evidence for")
    layer: str | None = option(
        None, help="layer whose feature maps to weight (default: the last one that has maps)", metavar="NAME"
    )
    num_frames: int = option(6, help="number of evenly spaced frames per clip", low=1, flag="--frames")
    num_videos: int = option(12, help="number of videos to sample from a manifest", low=1, flag="--videos")
    alpha: float = option(0.45, help="opacity of the map", low=0, high=1)
    check_randomization: bool = option(False, help="check whether the maps depend on the model's weights")
    seed: int = option(0, help="random seed of the sampling and the randomization", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        check_options(self)
