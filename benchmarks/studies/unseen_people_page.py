"""The table of the study of unseen people, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.markers import markdown_table

_ROWS = {
    "initial": "initial detector",
    "general": "general: DFDC, and forgeries made from reals of DFDC and LFW",
    "folds": "folds: FaceForensics++ too, each on people it has not seen; DFDC: their mean",
    "final": "folds, mixed with the initial detector; DFDC: mixed with their mean",
}


def tables_of(figures: Mapping[str, Any]) -> str:
    """Return the tables of figures as ``unseen_people.py`` writes them."""
    columns = list(figures["rows"]["initial"])
    rows = [
        [words, *(_cell(figures["rows"][name][column]) for column in columns)]
        for name, words in _ROWS.items()
    ]
    stages = [
        [one["name"], one["steps"], f"{one['seconds'] / 60:.0f}", f"{one['cpu_seconds'] / 3600:.1f}"]
        for one in figures["stages"]
    ]
    return "\n\n".join(
        [
            markdown_table(["video AUC", *columns], rows),
            markdown_table(["training", "steps", "minutes", "core hours"], stages),
        ]
    )


def sentence_of(figures: Mapping[str, Any]) -> str:
    """Return what the bundled detector does on FaceForensics++, in a sentence."""
    row = {name: _cell(one) for name, one in figures["rows"]["final"].items() if name != "DFDC"}
    methods = ", ".join(f"{name} {cell}" for name, cell in row.items() if name != "all")
    return (
        f"On FaceForensics++ c23 its video AUC is {row['all']} ({methods}), measured on 28 people, each "
        "scored by a part of the detector that was not trained on that person; 95% intervals from resampling "
        "people."
    )


def _cell(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
