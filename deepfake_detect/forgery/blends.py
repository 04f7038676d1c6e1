"""The kinds of blend, each a word; several are joined by ``+``.

======  ==========================================================================================
word    what is blended into a real
======  ==========================================================================================
sbi     its own face, slightly changed (self-blended images, arXiv:2204.08376)
cross   the face of another person who holds the head alike (after Face X-ray, arXiv:1912.13458)
======  ==========================================================================================
"""

from __future__ import annotations

from typing import Literal, get_args

from deepfake_detect.errors import OptionError

BlendWord = Literal["sbi", "cross"]
BLENDS: tuple[BlendWord, ...] = get_args(BlendWord)


def parse_blends(words: str) -> tuple[BlendWord, ...]:
    """Return the kinds of blend that a text such as ``"sbi+cross"`` names.

    Raises:
        OptionError: A word is unknown or stands twice.

    Example:
        >>> parse_blends("sbi+cross")
        ('sbi', 'cross')
    """
    named = words.split("+")
    if unknown := [word for word in named if word not in BLENDS]:
        raise OptionError("forgery", f"{unknown[0]!r} is unknown", f"join of {', '.join(BLENDS)} by +")
    if len(set(named)) < len(named):
        raise OptionError("forgery", f"{words!r} names one twice", "name each once")
    return tuple(word for word in BLENDS if word in named)
