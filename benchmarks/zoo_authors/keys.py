"""Names of many tensors in few lines: ``layers.{0..23}.norm.weight`` stands for 24 of one shape."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping


def grouped(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return shapes by pattern: names that differ in their first number alone are one, if of one shape.

    Example:
        >>> grouped({"a.0.w": (2,), "a.1.w": (2,), "b": (1, 3)})
        {'b': '1x3', 'a.{0..1}.w': '2'}
    """
    numbers: dict[tuple[str, str, tuple[int, ...]], list[int]] = defaultdict(list)
    found: dict[str, str] = {}
    for name, shape in shapes.items():
        if match := re.search(r"\.(\d+)\.", name):
            numbers[name[: match.start(1)], name[match.end(1) :], shape].append(int(match[1]))
        else:
            found[name] = _text(shape)
    for (before, after, shape), values in numbers.items():
        for first, last in _runs(sorted(values)):
            found[f"{before}{{{first}..{last}}}{after}"] = _text(shape)
    return found


def _runs(values: list[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of consecutive numbers."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return list(zip(starts, ends, strict=True))


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
