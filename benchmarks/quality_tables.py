"""Tables of accuracy, of agreement with others and of damage. Every function takes a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.markers import markdown_table
from benchmarks.results import Result, spread
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.report.words import METRIC_WORDS

METRICS = {
    "auc": "AUC",
    "accuracy": "accuracy at the threshold",
    "bpcer": "reals above the threshold",
    "log_loss": "log loss",
}


def accuracy(result: Result) -> str:
    rows = [
        [
            one["data"],
            f"{one['videos_scored']:,} of {one['videos_expected']:,}",
            *(_interval(one["metrics"][key]) for key in METRICS),
            _verdicts(one["verdicts"]),
        ]
        for one in result["figures"]["rows"]
    ]
    detector = result["figures"]["detector"]
    header = ["data", "videos scored", *METRICS.values(), "videos with a verdict"]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Detector {detector['name']} {detector['version']}, {result['date']}; 95% intervals over videos, "
        "described in `docs/evaluation.md`. Videos without a verdict are uncertain."
    )


def _verdicts(one: Mapping[str, float]) -> str:
    return f"{100 * one['given']:.0f}%, {100 * one['right']:.1f}% of them correct"


def _interval(metric: Mapping[str, float | None]) -> str:
    if metric["value"] is None:
        return "n/a"
    if metric["low"] is None:
        return f"{metric['value']:.3f} [too few]"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def segments(result: Result) -> str:
    figures = result["figures"]
    groups = figures["groups"].items()
    rows = [
        [name, *(_both_precisions(one[kind]) for kind in ("segments", "baseline"))] for name, one in groups
    ]
    real, slower = figures["windows"]["real"], spread(figures["time_over_segments_off"])
    return (
        f"{markdown_table(['AP at IoU .5 / .75', 'segments', 'frames above .5'], rows)}\n\n"
        f"{figures['real_windows_with_a_segment']} of the {real} real windows got a segment. "
        f"{_borders(figures['border_error_seconds'])}"
        f"Scoring takes {slower} times as long as without segments."
    )


def _borders(error: Mapping[str, Any]) -> str:
    if not error["n"]:
        return ""
    return (
        f"The borders of the {error['n'] // 2} segments found are off by {error['median']:.3f} s in the "
        f"median, {100 * error['within_0.2']:.0f}% of them by at most .2. "
    )


def _both_precisions(one: Mapping[str, float]) -> str:
    return f"{_short(one['ap@0.5'])} / {_short(one['ap@0.75'])}"


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value < 1 else f"{value:.3f}"


_OUTCOMES = {
    "error": "an error that says so",
    "warned": "another result, with a warning",
    "same": "the same result",
    "silent": "another result without a word",
    "crash": "any other exception",
}


def mutants(result: Result) -> str:
    counts = result["figures"]["counts"]
    total = sum(counts["all"].values())
    rows = [[words, counts["all"].get(key, 0)] for key, words in _OUTCOMES.items()]
    silent = {name: one["silent"] for name, one in counts.items() if "." in name and one.get("silent")}
    known = total - counts["all"].get("same", 0)
    fraction = counts["all"].get("silent", 0) / known
    where = ", ".join(f"{name} {count}" for name, count in silent.items())
    return (
        markdown_table([f"{total:,} damaged files", "files"], rows)
        + f"\n\nWithout a word: {100 * fraction:.1f}% of those whose result changes or is an error"
        + (f" ({where})." if where else ".")
    )


def coverage(result: Result) -> str:
    """Return a column for each case, and one of plain percentiles; of 20 / 50 / 200 videos."""
    cases = result["figures"]["cases"]
    first, sizes = next(iter(cases.items()))
    rows = [
        [
            METRIC_WORDS[metric],
            *(" / ".join(_covered(cases[name][n][metric]) for n in sizes) for name in cases),
            " / ".join(_percentile(cases[first][n][metric]) for n in sizes),
        ]
        for metric in next(iter(sizes.values()))
    ]
    return markdown_table(["metric", *cases, f"percentiles, {first}"], rows)


def _covered(one: Mapping[str, float | None]) -> str:
    return "too few" if one["covered"] is None else f"{one['covered']:.3f}".lstrip("0")


def _percentile(one: Mapping[str, float]) -> str:
    flat = f" [{100 * one['flat']:.0f}]" if one["flat"] >= 0.005 else ""
    return f"{one['percentile']:.3f}".lstrip("0") + flat


def zoo_parity(result: Result) -> str:
    names = list(ZOO)
    ordered = sorted(result["figures"]["rows"], key=lambda one: names.index(one["entry"]))
    rows = [_parity_row(one) for one in ordered]
    header = ["network", "detectors", "greatest difference of a logit", "spread of the logits", "crops"]
    header += ["pixels of a crop: mean / greatest difference", "code of the authors"]
    return markdown_table(header, rows)


def zoo_measured(result: Result) -> str:
    rows = [
        [
            f"`{one['detector']}`",
            one["method"],
            f"{one['videos']['real']} real, {one['videos']['fake']} fake",
            _interval(one["video_auc"]),
        ]
        for one in result["figures"]["rows"]
    ]
    return markdown_table(["detector", "method", "videos", "video AUC"], rows)


def _parity_row(one: Mapping[str, Any]) -> list[str]:
    pixels = "–" if one["pixel_mean"] is None else f"{one['pixel_mean']:.2f} / {one['pixel_max']:.0f}"
    network = ZOO[one["entry"]].network
    return [
        f"`{network}`",
        str(sum(entry.network == network and not entry.refused for entry in ZOO.values())),
        f"{one['logit_difference']:.1e}",
        f"{one['logit_spread']:.2g}",
        str(one["num_crops"]),
        pixels,
        one["remark"],
    ]
