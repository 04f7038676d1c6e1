"""The zoo of published detectors in words: the table, one entry, and what fetching and verifying found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.models.card import crop_words
from deepfake_detect.models.zoo.entries import find_entry
from deepfake_detect.models.zoo.entry import Figure, ZooEntry
from deepfake_detect.models.zoo.store import (
    ZOO_PREFIX,
    fetch_zoo,
    is_fetched,
    list_zoo,
    read_record,
)
from deepfake_detect.models.zoo.verify import verify_zoo
from deepfake_detect.plurals import counted
from deepfake_detect.report.terminal import Column, print_facts, print_table

_WIDTH = 500  # names are copied: they are never broken, however narrow the terminal
_POLARITY = {"fake": "positive means fake", "real": "positive means real; turned around here"}


def print_entries(containing: str = "", *, as_json: bool = False) -> None:
    """Print the published detectors whose names contain a text."""
    entries = list_zoo(containing)
    if as_json:
        print(json.dumps([_document(entry) for entry in entries], indent=2))
        return
    columns: list[Column | str] = [
        *(Column(name, "id") for name in ("name", "detector")),
        "MB",
        *(Column(name, "id") for name in ("license of weights", "published", "state")),
    ]
    rows = [
        (one.name, one.title, _megabytes(one), short_license(one), _best_known(one), _state(one))
        for one in entries
    ]
    print_table("", columns, rows, width=_WIDTH)


def print_entry(name: str, *, as_json: bool = False) -> None:
    """Print everything that is known of a published detector."""
    entry = find_entry(_named(name))
    if as_json:
        print(json.dumps(_document(entry), indent=2))
        return
    print_facts(entry_rows(entry))


def print_fetched(name: str, *, accept_license: bool, files: Sequence[Path]) -> None:
    """Fetch a published detector, and print where it is and how to use it."""
    entry = find_entry(_named(name))
    path = fetch_zoo(entry.name, accept_license=accept_license, files=files)
    record = read_record(entry.name)
    rows = [(file.name, f"SHA-256 {file.sha256}") for file in record.files]
    rows += [("detector", str(path)), ("license", entry.license)]
    print_facts([*rows, ("use", f"--detector {ZOO_PREFIX}{entry.name}")])


def print_check(name: str) -> None:
    """Verify a fetched detector, and print what was compared."""
    check = verify_zoo(_named(name))
    rows = [(file.name, f"SHA-256 {file.sha256}: unchanged") for file in check.files]
    rows += [
        ("layout", f"{counted(check.num_tensors, 'tensor')} converted again: identical"),
        ("self-check", f"logits of fixed patterns differ by {check.largest_difference:.1g}"),
        ("calibrated", "yes" if check.is_calibrated else "no: it gives scores, and no verdicts"),
    ]
    print_facts(rows)


def entry_rows(entry: ZooEntry) -> list[tuple[str, str]]:
    """Return everything that is known of a published detector: name and value."""
    size, mean, std = (getattr(entry.preprocessing, name) for name in ("image_size", "mean", "std"))
    rows = [
        ("name", ZOO_PREFIX + entry.name),
        ("detector", entry.title),
        ("paper", entry.paper),
        ("repository", entry.repository),
        *((f"file {n}", _file(entry, n)) for n in range(1, len(entry.files) + 1)),
        ("license", entry.license + ", no commercial use" * entry.is_noncommercial),
        ("training data", entry.training_data),
        ("network", entry.network),
        ("input", f"{size} x {size}, mean {mean}, std {std}, resized by {entry.preprocessing.interpolation}"),
        ("crop", crop_words(entry.geometry)),
        ("output", _POLARITY[entry.polarity]),
        ("from faces to clip", entry.aggregation_rule),
        *(("published", figure_words(one)) for one in entry.published),
        *(("measured here", figure_words(one)) for one in entry.measured),
        ("notes", entry.notes),
        ("cannot be used", entry.refused),
        ("state", _state(entry)),
    ]
    return [(name, value) for name, value in rows if value]


def figure_words(figure: Figure) -> str:
    """Return a figure with its data, interval and source.

    Example:
        >>> figure_words(Figure("Celeb-DF v2", "video AUC", 0.96, "paper", (0.94, 0.98), 518))
        'Celeb-DF v2: video AUC .960 [.940, .980] on 518 videos (paper)'
    """
    count = "" if figure.num_videos is None else f" on {counted(figure.num_videos, 'video')}"
    return f"{figure.data}: {figure.metric} {_with_interval(figure)}{count} ({figure.source})"


def zoo_tables() -> dict[str, str]:
    """Return the tables of docs/zoo.md as Markdown: ``detectors``, ``figures`` and ``terms``."""
    entries = list_zoo()
    detectors = [
        (f"`{one.name}`", one.title, _megabytes(one), crop_words(one.geometry), one.aggregation_rule)
        for one in entries
        if not one.refused
    ]
    figures = [
        (f"`{one.name}`", figure.data, figure.metric, _with_interval(figure), _count(figure), figure.source)
        for one in entries
        for figure in (*one.published, *one.measured)
    ]
    terms = [
        (f"`{one.name}`", one.paper, f"[authors]({one.repository})", short_license(one), one.training_data)
        for one in entries
    ]
    refused = "\n".join(f"* `{one.name}`: {one.refused}" for one in entries if one.refused)
    return {
        "detectors": _markdown(("name", "detector", "MB", "crop", "from faces to clip"), detectors),
        "figures": _markdown(("detector", "data", "metric", "value", "videos", "source"), figures),
        "terms": _markdown(("name", "paper", "repository", "license of weights", "trained on"), terms),
        "refused": refused or "None.",
    }


def short_license(entry: ZooEntry) -> str:
    """Return the license in a few words: up to the first comma or bracket."""
    return entry.license.split(";")[0].split(" (")[0] + " (no commercial use)" * entry.is_noncommercial


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _with_interval(figure: Figure) -> str:
    interval = "" if figure.interval is None else f" [{', '.join(map(_digits, figure.interval))}]"
    return _digits(figure.value) + interval


def _count(figure: Figure) -> str:
    return "" if figure.num_videos is None else f"{figure.num_videos:,}"


def _digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _best_known(entry: ZooEntry) -> str:
    """Return the first published figure in short."""
    figures = [f"{one.data}: {one.metric} {_digits(one.value)}" for one in entry.published[:1]]
    return figures[0] if figures else ""


def _megabytes(entry: ZooEntry) -> str:
    size = entry.size_mb
    return "" if size is None else f"{size:,.0f}" if size >= 10 else f"{size:.2g}"


def _state(entry: ZooEntry) -> str:
    return "not usable" if entry.refused else "fetched" if is_fetched(entry.name) else ""


def _file(entry: ZooEntry, number: int) -> str:
    file = entry.files[number - 1]
    hashed = f"SHA-256 {file.sha256}" if file.sha256 else "no published hash: kept from the first download"
    size = "" if file.size_mb is None else f", {file.size_mb:g} MB"
    return f"{file.address}{size}, {hashed}"


def _document(entry: ZooEntry) -> dict[str, Any]:  # JSON
    return {**entry.to_dict(), "is_fetched": is_fetched(entry.name)}


def _named(name: str) -> str:
    if not name:
        raise OptionError("name", "is missing", "name a detector; see `zoo list`")
    return name
