"""The tables of the study of few people, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markers import markdown_table

_METHODS = ("Deepfakes", "Face2Face", "FaceSwap")


def tables_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of rows as ``few_people.py`` writes them."""
    parts = []
    for name, (title, columns) in _TABLES.items():
        own = [row for row in rows if row["table"] == name]
        if own:
            body = [[row["name"], *(_cell(row, column) for column in columns.values())] for row in own]
            parts.append(f"**{title}**\n\n" + markdown_table(["", *columns], body))
    hours = sum(row["seconds"] for row in rows) / 3600
    parts.append(f"All rows together: {hours:.1f} hours.")
    return "\n\n".join(parts)


def facenet_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what FaceNet knows frozen, of people and of forgeries, and after each finetune mode."""
    frozen = next(row for row in rows if (row["table"], row["name"]) == ("who", "facenet"))
    prefix = "FaceNet, "
    modes = [row for row in rows if row["table"] == "networks" and row["name"].startswith(prefix)]
    body = [
        ["the same person? frozen features", _cell(frozen, "people")],
        ["forged? frozen features, logistic regression", _cell(frozen, "all")],
        *([f"forged? `{row['name'].removeprefix(prefix)}`", _cell(row, "all")] for row in modes),
    ]
    return markdown_table(["FaceNet", "AUC [95% interval]"], body)


_ON_FFPP = {"FF++, all": "all", **{name: name for name in _METHODS}}
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "who": (
        "Frozen features: who, and whether",
        {
            "same person? (LFW pairs)": "people",
            "forged? FF++, all": "all",
            **{name: name for name in _METHODS},
        },
    ),
    "networks": ("Networks and finetune modes", {**_ON_FFPP, "crops seen": "num_crops"}),
    "transfer": (
        "Transfer between forgeries",
        {**_ON_FFPP, "DFDC": "dfdc", "crops seen": "num_crops"},
    ),
    "options": ("One option changed", {**_ON_FFPP, "crops seen": "num_crops"}),
}


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    auc = value.get("auc", value)
    bounds = "too few" if auc["low"] is None else f"{auc['low']:.2f}, {auc['high']:.2f}"
    return f"{auc['value']:.3f} [{bounds}]"
