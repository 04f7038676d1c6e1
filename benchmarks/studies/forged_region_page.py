"""The tables of the study of forged regions, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.markers import markdown_table


def tables_of(figures: Mapping[str, Any]) -> str:
    """Return the tables of figures as ``forged_region.py`` writes them."""
    head = f"Detector {figures['detector']}, crops with margin {figures['margin']:g}."
    return "\n\n".join([head, _chosen(figures), _where(figures), _less(figures), _kind(figures["family"])])


def _where(figures: Mapping[str, Any]) -> str:
    whole = "**Where**, on forged crops of people held out\n\n" + _table(figures["maps"]["whole"])
    halves = "**The same, half of each face being the original's**\n\n" + _table(figures["maps"]["halves"])
    return f"{whole}\n\n{halves}"


def _chosen(figures: Mapping[str, Any]) -> str:
    title = f"**Trained on**, each measured in folds on the training people; chosen: {figures['trained_on']}"
    return f"{title}\n\n{_table(figures['cross_validated'])}"


def _table(maps: Mapping[str, Any]) -> str:
    methods = [name for name in next(iter(maps.values())) if name not in _NOT_METHODS]
    header = ["", "pixel AUC", "IoU", *(f"IoU, {name}" for name in methods), "marked of forged", "of reals"]
    rows = [
        [
            name,
            _cell(one["all"]["auc"]),
            _cell(one["all"]["iou"]),
            *(_cell(one[method]["iou"]) for method in methods),
            _cell(one["marked_of_forged"]),
            _cell(one["marked_of_real"]),
        ]
        for name, one in maps.items()
    ]
    return markdown_table(header, rows)


_NOT_METHODS = ("threshold", "all", "marked_of_forged", "marked_of_real")


def _less(figures: Mapping[str, Any]) -> str:
    whole, halves = figures["differences"]["whole"], figures["differences"]["halves"]
    rows = [
        [name, *(_cell(one[name][key]) for one in (whole, halves) for key in ("auc", "iou"))]
        for name in whole
    ]
    header = ["", "pixel AUC", "IoU", "pixel AUC, halves", "IoU, halves"]
    return "**The chosen head less each baseline**\n\n" + markdown_table(header, rows)


def _kind(family: Mapping[str, Any]) -> str:
    names = {
        "per_crop": "detector's features, per crop",
        "per_clip": "detector's features, per clip",
        "regions": "true regions, per crop",
        "without_looking": "training's proportions alone",
    }
    recall = list(family["per_crop"]["recall"])
    header = ["", "accuracy", *(f"of {name}" for name in recall), "log loss", "calibration error"]
    rows = [
        [
            words,
            _cell(family[key]["accuracy"]),
            *(_cell(family[key]["recall"][name]) for name in recall),
            _cell(family[key]["log_loss"]),
            f"{family[key]['calibration_error']:.3f}",
        ]
        for key, words in names.items()
    ]
    return "**Which kind**, among forged crops of people held out\n\n" + markdown_table(header, rows)


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return ""
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.2f}, {figure['high']:.2f}]"
