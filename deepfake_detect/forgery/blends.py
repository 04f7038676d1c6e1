"""Kinds of blend, one word each; several are joined by ``+``.

======  ==========================================================================================
word    what is blended into a real
======  ==========================================================================================
sbi     its own face, slightly changed (self-blended images, arXiv:2204.08376)
cross   the face of another person in a similar pose (after Face X-ray, arXiv:1912.13458)
======  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option

BlendWord = Literal["sbi", "cross"]
BLENDS: tuple[BlendWord, ...] = get_args(BlendWord)


def parse_blends(words: str, *, parameter: str = "forgery") -> tuple[BlendWord, ...]:
    """Return the kinds of blend that a text such as ``"sbi+cross"`` names; errors name the ``parameter``.

    Raises:
        OptionError: A word is unknown or occurs twice.

    Example:
        >>> parse_blends("sbi+cross")
        ('sbi', 'cross')
    """
    named = words.split("+")
    if unknown := [word for word in named if word not in BLENDS]:
        raise OptionError(
            parameter, f"{unknown[0]!r} is unknown", f"must be of {', '.join(BLENDS)}, joined with +"
        )
    if len(set(named)) < len(named):
        raise OptionError(parameter, f"{words!r} lists one twice", "list each once")
    return tuple(word for word in BLENDS if word in named)


@dataclass(frozen=True)
class BlendOptions:
    """Options of :func:`forgery.blend_crops`."""

    method: str = option("sbi", metavar="KIND", help="kind of blend: sbi, cross or sbi+cross")
    split: str = option("all", help="split whose real crops to blend")
    where: str | None = option(
        None, metavar="EXPR", help="SQL condition that selects rows (default: all rows)"
    )
    seed: int = option(0, low=0, help="random seed of the blends")
    device: Literal["auto", "cpu", "cuda"] = option("auto", help="device of the face detector")

    def __post_init__(self) -> None:
        check_options(self)
        parse_blends(self.method, parameter="method")
