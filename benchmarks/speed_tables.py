"""Tables of speed and memory. Every function takes a result as ``measuring.record`` writes it.

Medians stand with the least and the greatest in brackets; a ratio is the median of the ratios of each round.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.markers import markdown_table
from benchmarks.results import Result, ratio, spread


def decode(result: Result) -> str:
    rows = []
    clips = sorted(result["figures"]["clips"], key=lambda clip: -clip["width"])
    for size, group in groupby(clips, key=_size):
        of_size = list(group)
        for way in of_size[0]["ways"]:
            ways = [clip["ways"][way] for clip in of_size]
            rivals = [clip["ways"]["OpenCV seek and read"] for clip in of_size]
            ratios = [ratio(b["seconds"], a["seconds"]) for a, b in zip(ways, rivals, strict=True)]
            medians = [statistics.median(one["seconds"]) for one in ways]
            apart = max(one["max_difference"] for one in ways)
            rows.append([f"{size} ({len(of_size)})", way, spread(medians), spread(ratios, 1), apart])
    header = [
        "size (clips)",
        "way",
        "seconds a clip",
        "times as fast as the seek",
        "largest pixel difference",
    ]
    return markdown_table(header, rows)


def _size(one: Mapping[str, Any]) -> str:
    return f"{one['width']}x{one['height']}"


_MODES = ("exact", "default", "dense")


def faces(result: Result) -> str:
    rows = []
    inputs = sorted(result["figures"]["inputs"], key=lambda one: (-one["width"], -one["height"]))
    for size, group in groupby(inputs, key=_size):
        of_size = list(group)
        cells = []
        for mode in _MODES:
            pairs = [(_face_ratio(one, mode), _face_ratio(one, mode, same_smallest=True))
                     for one in of_size if mode in one["ways"]]  # fmt: skip
            plain, same = ([one[k] for one in pairs] for k in (0, 1))
            cells.append(f"{spread(plain, 1)}; {spread(same, 1)}" if pairs else "")
        rows.append([f"{size} ({len(of_size)})", *cells])
    header = ["size (files)", *_MODES]
    return f"{markdown_table(header, rows)}\n\n{_face_agreement(inputs)}"


def _face_ratio(one: Mapping[str, Any], mode: str, *, same_smallest: bool = False) -> float:
    rival = "facenet-pytorch, our smallest face" if same_smallest else "facenet-pytorch"
    if mode == "dense" and not same_smallest:
        rival = "facenet-pytorch, run"
    return ratio(one["ways"][rival], one["ways"][mode])


def _face_agreement(inputs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for mode in _MODES:
        found = [one["agreement"][mode] for one in inputs if mode in one["agreement"]]
        count = sum(one["faces"] for one in found)
        recall = sum(one["faces"] * one["recall"] for one in found) / count
        median = statistics.median(one["median_iou"] for one in found)
        truth = "default mode on each frame alone" if mode == "dense" else "facenet-pytorch"
        corner = max(one["corner_px"] for one in found)
        rows.append([mode, truth, count, f"{recall:.3f}", f"{median:.4f}", f"{corner:.4f}"])
    header = [
        "mode",
        "compared with",
        "its faces",
        "of them found at IoU .9",
        "median IoU",
        "furthest corner, px",
    ]
    return markdown_table(header, rows)


def extract(result: Result) -> str:
    figures = result["figures"]
    rows = []
    for one in figures["speed"]:
        speed = [one["videos"] / seconds for seconds in one["seconds"]]
        decoding = _decoding(figures["speed"], one["workers"])
        rows.append(
            [
                one["workers"],
                one["way"],
                spread(speed),
                f"{ratio(decoding, one['seconds']):.2f}",
                f"{statistics.median(one['cpu_seconds']) / one['videos']:.2f}",
                spread(one["start_seconds"], 1) if one["start_seconds"] else "",
            ]
        )
    header = ["workers", "way", "videos a second", "of decoding", "CPU seconds a video", "seconds to start"]
    memory = " and ".join(
        f"{one['peak_mb']:,.0f} MB of a clip of {one['frames']:,} frames" for one in figures["memory"]
    )
    return f"{markdown_table(header, rows)}\n\nOne worker takes at most {memory}."


def _decoding(rows: Sequence[Mapping[str, Any]], workers: int) -> Sequence[float]:
    """Return the seconds of the faster way of decoding with so many workers."""
    ways = [one["seconds"] for one in rows if one["workers"] == workers and one["way"].startswith("decoding")]
    return min(ways, key=statistics.median)


def score(result: Result) -> str:
    rows = []
    for process, group in groupby(result["figures"]["rows"], key=lambda one: one["process"]):
        of_process = list(group)
        rival = of_process[0]["seconds"]
        for one in of_process:
            cpu = f"{statistics.median(one['cpu_seconds']):.1f}"
            faster = f"{ratio(rival, one['seconds']):.1f}"
            rows.append([process, one["way"], spread(one["seconds"]), cpu, faster])
    table = markdown_table(["process", "way", "seconds", "CPU seconds", "times as fast"], rows)
    agreement = result["figures"]["agreement"].values()
    if not agreement:
        return table
    apart, pairs = max(one["largest_difference"] for one in agreement), min(one["both"] for one in agreement)
    return (
        f"{table}\n\nWith the same FaceNet weights the probabilities of the {pairs} faces that both found "
        f"differ by at most {apart:.1g}."
    )


def runtimes(result: Result) -> str:
    figures = result["figures"]
    eager = figures["warm"]["eager PyTorch"]["seconds"]
    rows = [
        [
            name,
            spread((figures["batch"] / seconds for seconds in one["seconds"]), 0),
            f"{ratio(eager, one['seconds']):.1f}",
            f"{one['largest_difference']:.1e}",
            f"{one['megabytes']:.1f}",
        ]
        for name, one in figures["warm"].items()
    ]
    header = [
        "way",
        "faces a second",
        "times as fast as eager",
        "largest difference of a probability",
        "file, MB",
    ]
    cold = [[name, spread(seconds)] for name, seconds in figures["cold"].items()]
    sizes = [[name, f"{size:,.0f}"] for name, size in figures["environments_mb"].items()]
    return "\n\n".join(
        [
            markdown_table(header, rows),
            markdown_table(["new process, whole command", "seconds"], cold),
            markdown_table(["environment", "MB on disk"], sizes),
        ]
    )


def memory(result: Result) -> str:
    rows = [
        [one["input"], spread(one["peak_mb"], 0), f"{one['frames_with_faces']} of {one['frames']}"]
        for one in result["figures"]["inputs"]
    ]
    return markdown_table(["file", "largest resident size, MB", "frames with a face"], rows)


def features(result: Result) -> str:
    steps = result["figures"]["steps"]
    rows = [
        [name, *(f"{one[key]:,.1f}" for key in ("seconds", "peak_mb", "disk_mb"))]
        for name, one in steps.items()
    ]
    given = result["arguments"]
    return (
        f"{given['rows']:,} rows of {given['width']} float32:\n\n"
        + markdown_table(["step", "seconds", "added peak, MB", "on disk, MB"], rows)
        + f"\n\nBoth read the same: {steps['read a part']['answer']}."
    )


def manifest(result: Result) -> str:
    figures = result["figures"]
    rows = []
    for question, ways in figures["questions"].items():
        ours, whole = ([one["seconds"] for one in ways[way]] for way in ("ours", "whole table"))
        peaks = (statistics.median(one["peak_mb"] for one in runs) for runs in ways.values())
        rows.append(
            [
                question,
                spread(ours),
                spread(whole),
                f"{ratio(whole, ours):.1f}",
                *(f"{one:,.0f}" for one in peaks),
            ]
        )
    header = [
        "question",
        "seconds",
        "whole table: seconds",
        "times as fast",
        "added peak, MB",
        "whole table: MB",
    ]
    size = f"{result['arguments']['rows']:,} rows, {figures['bytes_per_row']:.0f} bytes a row on disk"
    return f"{size}:\n\n{markdown_table(header, rows)}\n\nBoth give the same answers."


def metrics(result: Result) -> str:
    figures, given = result["figures"], result["arguments"]
    loop = [seconds * given["draws"] / figures["loop_draws"] for seconds in figures["loop"]]
    faster = f"{ratio(loop, figures['ours']):,.0f}"
    rows = [
        ["all resamples at once", figures["num_metrics"], spread(figures["ours"]), faster],
        ["scikit-learn, a copy for each", figures["num_loop_metrics"], spread(loop, 0), "1"],
    ]
    return (
        f"{given['draws']:,} resamples of {given['videos']:,} videos of {given['frames']} frames; the loop "
        f"is timed on {figures['loop_draws']} of them:\n\n"
        f"{markdown_table(['way', 'metrics', 'seconds', 'times as fast'], rows)}\n\n"
        f"The largest difference of a value is {figures['largest_difference']:.0e}."
    )
