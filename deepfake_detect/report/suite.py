"""``evaluate_suite``: a detector on several sets with one threshold, and the files that report it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deepfake_detect._version import __version__
from deepfake_detect.errors import DeepfakeDetectError, OptionError
from deepfake_detect.evaluation.suite import RatesRow, SetResult, Suite, SuiteSet, read_suite
from deepfake_detect.evaluation.thresholds import METRICS_NAME, threshold_of_report
from deepfake_detect.io.files import make_folder, read_json, sha256_of_file, write_json
from deepfake_detect.io.tables import write_csv
from deepfake_detect.report import page
from deepfake_detect.report.drawing import figure_url, label_text, save_png
from deepfake_detect.report.evaluate import evaluate
from deepfake_detect.report.figures import interval_columns_figure
from deepfake_detect.report.terminal import Column, print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATES = {"fpr": "FPR (reals called fake)", "tpr": "TPR (fakes found)", "auc": "AUC"}
_GAP_WORDS = {"auc": "AUC", "apcer": "fakes called real (APCER)", "bpcer": "reals called fake (BPCER)"}
_COUNTS = ("num_videos_real", "num_videos_fake")
_FILES = ("manifest", "scores", "detector")
_DONE_NAME = "done.json"
# Figures with more rows are unreadable; the tables have them all.
_MAX_ROWS = 40


def evaluate_suite(
    suite: str | os.PathLike[str] | Mapping[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    on_set: Callable[[SetResult], None] = lambda found: None,
) -> Suite:
    r"""Evaluate a detector on several sets with one threshold.

    A set that was already evaluated into ``out`` is not evaluated again, unless its options, its files or
    the library have changed. A set that cannot be evaluated causes a warning, and the others are still
    evaluated.

    Args:
        suite: A YAML file, see :mod:`evaluation.suite`, or its content as a mapping.
        out: Folder for ``suite.json``, ``suite.csv``, ``suite.html``, ``suite.png`` and a folder per set,
            as :func:`evaluate` writes it; ``None`` writes nothing.
        show_progress: Whether to show progress bars.
        on_set: Called after each set.

    Returns:
        Rates of each set, of its methods and of its groups, at the threshold of all sets.

    Raises:
        OptionError: The suite cannot be read, or its sets have different thresholds.
        ManifestError, OutputError: ``threshold_from`` or ``out`` cannot be used.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = path.write_text(
        ...     "video_id,dataset,method,label,frame_index,fake_probability\n"
        ...     "000,FF,youtube,0,0,0.1\n000_003,FF,Deepfakes,1,0,0.9\n")
        >>> suite = {"threshold": 0.4, "num_resamples": 10, "sets": {"FF": {"scores": path}}}
        >>> found = evaluate_suite(suite, show_progress=False)
        >>> found.threshold, found.sets[0].every.tpr.value
        (0.4, 1.0)
    """
    sets = read_suite(suite)
    for one in sets:  # an error before the work, not after it
        if one.keywords.get("threshold_from") is not None:
            threshold_of_report(one.keywords["threshold_from"])
    folder = None if out is None else make_folder(Path(out))
    results: list[SetResult] = []
    failed: dict[str, str] = {}
    for one in sets:
        try:
            results.append(_result(one, folder, show_progress=show_progress))
        except DeepfakeDetectError as error:
            failed[one.name] = str(error)
            warnings.warn(f"{one.name}: {error}", stacklevel=2)
        else:
            on_set(results[-1])
    found = Suite(_common_threshold(results), tuple(results), failed)
    if folder is not None:
        write_suite(folder, found)
    return found


def _result(one: SuiteSet, folder: Path | None, *, show_progress: bool) -> SetResult:
    """Evaluate a set, or read what an earlier run wrote."""
    if folder is None:
        found = evaluate(**one.keywords, show_progress=show_progress).to_json()
        return SetResult.of(one, found, was_done=False)
    out, done = folder / one.name, folder / one.name / _DONE_NAME
    identity = {"sha256": _fingerprint(one)}
    was_done = done.is_file() and read_json(done) == identity
    if not was_done:
        done.unlink(missing_ok=True)
        evaluate(**one.keywords, out=out, show_progress=show_progress)
        write_json(done, identity)
    return SetResult.of(one, read_json(out / METRICS_NAME), was_done=was_done)


def _fingerprint(one: SuiteSet) -> str:
    """Return a digest of a set's options and files, and of the library's version."""
    values = {name: str(value) for name, value in one.keywords.items()}
    for name in _FILES:
        path = Path(values.get(name, ""))
        if path.is_file():
            values[f"{name} sha256"] = sha256_of_file(path)
        elif (path / METRICS_NAME).is_file():
            values[f"{name} sha256"] = sha256_of_file(path / METRICS_NAME)
    if "threshold_from" in values:
        values["threshold_from"] = str(threshold_of_report(values["threshold_from"]))
    return hashlib.sha256(json.dumps([__version__, values], sort_keys=True).encode()).hexdigest()


def _common_threshold(results: list[SetResult]) -> float:
    thresholds = {one.name: one.threshold for one in results}
    if len(set(thresholds.values())) > 1:
        listed = ", ".join(f"{name} {value:.4g}" for name, value in thresholds.items())
        remedy = "write `threshold` or `threshold_from` above the sets"
        raise OptionError("threshold", f"differs between the sets: {listed}", remedy)
    return next(iter(thresholds.values()), math.nan)


def write_suite(folder: Path, suite: Suite) -> None:
    """Write ``suite.json``, ``suite.csv``, ``suite.html`` and ``suite.png``.

    Args:
        folder: Exists.
        suite: Finished results.
    """
    write_json(folder / "suite.json", suite.to_json())
    write_csv(folder / "suite.csv", _csv_header(), _csv_rows(suite))
    if suite.sets:
        save_png(suite_figure(suite), folder / "suite.png")
    html = page.render(
        "suite.html.j2",
        title=f"One threshold on {len(suite.sets)} test sets",
        suite=suite,
        sentence=_sentence(suite),
        figure=figure_url(suite_figure(suite)) if suite.sets else None,
        header=_header(),
        rows=_rows(suite),
        groups=_group_tables(suite),
    )
    page.write_text(folder / "suite.html", html)


def suite_figure(suite: Suite) -> Figure:
    """Plot FPR, TPR and AUC of each set and of its methods, with intervals."""
    lines = [(f"{one.name}: {row.name}", row) for one in suite.sets for row in (one.every, *one.methods)]
    if len(lines) > _MAX_ROWS:
        lines = [(one.name, one.every) for one in suite.sets][:_MAX_ROWS]
    names = [label_text(name, max_length=40) for name, _ in lines]
    metrics = [{key: getattr(row, key) for key in _RATES} for _, row in lines]
    return interval_columns_figure(names, metrics, tuple(_RATES.items()))


def print_suite(suite: Suite, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print the table of a suite: each set, then its methods, the least detected first.

    Args:
        suite: The results.
        file: Where to print; standard output when ``None``.
        width: In characters; that of the terminal when ``None``.
    """
    columns = [Column("Set, method", "name")]
    columns += [Column(f"{name}\n[low, high]") for name in ("FPR", "TPR", "AUC")]
    rows: list[list[str] | None] = []
    for one in suite.sets:
        rows += [[one.name], *([f" {row.name}", *_rates(row)] for row in (one.every, *one.methods)), None]
    print_table("", columns, rows, caption=_sentence(suite), file=file, width=width)


def _sentence(suite: Suite) -> str:
    failed = f" Not evaluated: {', '.join(suite.failed)}." if suite.failed else ""
    return (
        f"Threshold {suite.threshold:.4g} on every set. FPR: fraction of reals called fake; TPR: fraction of "
        "fakes called fake. Within a set, methods are sorted with the least detected first. 95% "
        f"intervals.{failed}"
    )


def _header() -> list[str]:
    return ["set: method", "real + fake videos", *_RATES.values()]


def _rows(suite: Suite) -> list[list[str]]:
    return [_cells(one, row) for one in suite.sets for row in (one.every, *one.methods)]


def _cells(one: SetResult, row: RatesRow) -> list[str]:
    counts = f"{row.num_videos_real:,} + {row.num_videos_fake:,}"
    return [f"{one.name}: {row.name}", counts, *_rates(row)]


def _rates(row: RatesRow) -> list[str]:
    return [getattr(row, key).text() for key in _RATES]


def _group_tables(suite: Suite) -> dict[str, dict[str, Any]]:
    """Return for each column a table of the groups of each set, and one of the largest gaps."""
    columns = dict.fromkeys(column for one in suite.sets for column in one.groups)
    return {
        column: {
            "rows": [_cells(one, row) for one in suite.sets for row in one.groups.get(column, ())],
            "gaps": [
                [one.name, _GAP_WORDS[gap.metric], gap.highest, gap.lowest, gap.gap.text()]
                for one in suite.sets
                for gap in one.gaps.get(column, ())
            ],
        }
        for column in columns
    }


def _csv_header() -> list[str]:
    rates = [f"{key}{bound}" for key in _RATES for bound in ("", "_low", "_high")]
    return ["set", "column", "name", "threshold", *_COUNTS, *rates]


def _csv_rows(suite: Suite) -> Iterator[list[object]]:
    """Yield a row per set, method and group; ``column`` is what the name is a value of."""
    for one in suite.sets:
        named = [("", one.every), *(("method", row) for row in one.methods)]
        named += [(column, row) for column, rows in one.groups.items() for row in rows]
        for column, row in named:
            numbers = [
                "" if math.isnan(number) else number
                for key in _RATES
                for number in (getattr(row, key).value, getattr(row, key).low, getattr(row, key).high)
            ]
            counts = [getattr(row, name) for name in _COUNTS]
            yield [one.name, column, row.name, one.threshold, *counts, *numbers]
