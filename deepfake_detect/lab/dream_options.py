"""Options of Deep Dream, apart from what computes it, so that ``--help`` is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepfake_detect.errors import OptionError


@dataclass(frozen=True)
class DreamOptions:
    """How an image is changed.

    Attributes:
        octaves: Sizes, from small to large, at which the image is changed, from 1.
        octave_scale: Ratio of two sizes, above 1.
        steps: Steps at each size, from 1.
        rate: Mean change of a value (of the range [0, 1]) by a step, above 0.
        jitter: Pixels by which the image is moved at most before a step, from 0; moved back after.
        total_variation: Weight of the continuity term: the mean square of differences of neighboring
            values, which takes out noise; from 0.
        l2: Weight of the mean square distance from mid gray, which holds colors back; from 0.
        frame_every: Steps from one intermediate frame to the next; 0 keeps none.
        seed: Of noise and jitter.

    Raises:
        OptionError: One of them is out of range.
    """

    octaves: int = 4
    octave_scale: float = 1.4
    steps: int = 20
    rate: float = 0.01
    jitter: int = 16
    total_variation: float = 100.0
    l2: float = 1.0
    frame_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"octaves": 1, "steps": 1, "jitter": 0, "total_variation": 0, "l2": 0, "frame_every": 0}
        for option, value in least.items():
            if not math.inf > getattr(self, option) >= value:
                raise OptionError(option, f"is {getattr(self, option)}", f"pass {value} or more")
        for option, value in {"octave_scale": 1, "rate": 0}.items():
            if not math.inf > getattr(self, option) > value:
                raise OptionError(option, f"is {getattr(self, option)}", f"pass a number above {value}")
        if not 0 <= self.seed < 2**32:
            raise OptionError("seed", f"is {self.seed}", "pass 0 up to below 2**32")
