"""How far a detector's results for the groups of a column lie apart, such as for men and women."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deepfake_detect.evaluation.slices import OTHERS, UNKNOWN, SliceResult
from deepfake_detect.metrics import Interval

GAP_METRICS = ("auc", "apcer", "bpcer")


@dataclass(frozen=True)
class Gap:
    """The two groups of a column that differ most in a metric.

    Attributes:
        metric: Name of the metric.
        highest, lowest: Groups of the highest and of the lowest value.
        gap: Highest less lowest. With many groups chance alone makes a gap; with two, an interval that
            contains 0 means that the videos do not separate them.
    """

    metric: str
    highest: str
    lowest: str
    gap: Interval


def largest_gaps(groups: Sequence[SliceResult]) -> tuple[Gap, ...]:
    """Return the largest gap between groups in AUC, APCER and BPCER, where two groups have intervals.

    The interval of a gap follows from those of both groups, whose videos differ. Videos whose group is
    unknown, and rare groups that share a slice, are left out.

    Args:
        groups: The slices of one column.

    Source: the square-and-add interval of a difference, Newcombe, Statistics in Medicine 17 (1998), and
    Zou & Donner, Statistics in Medicine 27 (2008).

    Example:
        >>> groups = [
        ...     SliceResult(name, 50, 50, {"auc": Interval(value, value - 0.05, value + 0.05)})
        ...     for name, value in (("a", 0.9), ("b", 0.7), ("c", 0.8))]
        >>> [(gap.highest, gap.lowest, gap.gap.text()) for gap in largest_gaps(groups)]
        [('a', 'b', '0.200 [0.129, 0.271]')]
    """
    known = [one for one in groups if one.value not in (UNKNOWN, OTHERS)]
    found = []
    for metric in GAP_METRICS:
        values = {one.value: one.metrics[metric] for one in known if _has_interval(one, metric)}
        if len(values) < 2:
            continue
        lowest, *_, highest = sorted(values, key=lambda name: values[name].value)
        found.append(Gap(metric, highest, lowest, _difference(values[highest], values[lowest])))
    return tuple(found)


def _has_interval(one: SliceResult, metric: str) -> bool:
    return metric in one.metrics and not math.isnan(one.metrics[metric].low)


def _difference(first: Interval, second: Interval) -> Interval:
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - below, value + above)
