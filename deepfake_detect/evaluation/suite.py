"""A detector on several test sets with one threshold: what is measured, and the results.

A suite is a YAML file:

    detector: run/detector.safetensors    # as evaluate takes it; the bundled one if absent
    threshold_from: val_report            # or threshold: 0.4
    slice_by: [gender]
    sets:
      FF++ c23:
        manifest: ffpp/manifest.parquet
        where: compression = 'c23'
      Celeb-DF:
        manifest: celebdf/manifest.parquet
      other tool:
        scores: scores.csv

Every option of ``evaluate`` may stand above, for all sets, or with a set. Paths are relative to the file.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.gaps import Gap
from deepfake_detect.evaluation.options import EvaluationOptions, ResamplingOptions
from deepfake_detect.evaluation.results import intervals_to_json
from deepfake_detect.evaluation.score_table import Coverage
from deepfake_detect.evaluation.slices import OTHERS, UNKNOWN
from deepfake_detect.metrics import Interval
from deepfake_detect.options import option_fields, options_from_mapping, read_options_file

ALL_METHODS = "all"
_EXAMPLE = "write sets: {NAME: {manifest: PATH}, ...}"
_SOURCES = ("manifest", "scores")
_PATHS = (*_SOURCES, "detector", "threshold_from", "index")
_FOR_ALL_ONLY = ("detector", "threshold", "threshold_from")
_NOT_IN_SUITES = ("max_fpr", "robustness", "robustness_videos")
# What a name of a set becomes a folder by.
_UNUSABLE = re.compile(r"[/\\\0]|^\.+$|^$")


@dataclass(frozen=True)
class SuiteSet:
    """One set of a suite.

    Attributes:
        name: Of the set, and of its folder.
        source: Its manifest or scores.
        keywords: Of ``evaluate``.
    """

    name: str
    source: str
    # Any: values of options, which evaluate checks.
    keywords: Mapping[str, Any]


@dataclass(frozen=True)
class RatesRow:
    """All fakes of a set, those of a method, or the videos of a group, at the suite's threshold.

    Attributes:
        name: Method, or group; ``"all"`` for all methods.
        num_videos_real, num_videos_fake: Number of videos.
        fpr: Fraction of reals called fake, which ISO/IEC 30107-3 calls BPCER.
        tpr: Fraction of fakes called fake, 1 - APCER.
        auc: Whatever the threshold.
    """

    name: str
    num_videos_real: int
    num_videos_fake: int
    fpr: Interval
    tpr: Interval
    auc: Interval

    @classmethod
    def of(cls, name: str, num_real: int, num_fake: int, metrics: Mapping[str, Any]) -> RatesRow:
        """Return the rates of metrics as in ``metrics.json``."""
        fpr, apcer, auc = (_interval(metrics[key]) for key in ("bpcer", "apcer", "auc"))
        tpr = Interval(1.0 - apcer.value, 1.0 - apcer.high, 1.0 - apcer.low)
        return cls(name, num_real, num_fake, fpr, tpr, auc)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {name: getattr(self, name) for name in ("name", "num_videos_real", "num_videos_fake")}
        return counts | intervals_to_json({name: getattr(self, name) for name in ("fpr", "tpr", "auc")})


@dataclass(frozen=True)
class SetResult:
    """One set of a suite, evaluated.

    Attributes:
        name, source: As in :class:`SuiteSet`.
        threshold: That it was evaluated with.
        every: All methods together.
        methods: Each method against the reals of its dataset, lowest TPR first.
        groups: By column, the rates of each group.
        gaps: By column, the two groups that differ most.
        coverage: Which videos were scored, in words.
        warnings: About videos that the detector was trained on, and about few videos.
        was_done: Whether an earlier run had evaluated it.
    """

    name: str
    source: str
    threshold: float
    every: RatesRow
    methods: tuple[RatesRow, ...]
    groups: dict[str, tuple[RatesRow, ...]]
    gaps: dict[str, tuple[Gap, ...]]
    coverage: str
    warnings: tuple[str, ...]
    was_done: bool = False

    @classmethod
    def of(cls, one: SuiteSet, found: Mapping[str, Any], *, was_done: bool) -> SetResult:
        """Return the result of a set from ``Evaluation.to_json``, or the same as ``metrics.json`` has it."""
        methods = [
            RatesRow.of(name, each["num_videos_real"], each["num_videos_fake"], each["video"])
            for name, each in found["per_method"].items()
        ]
        counts = found["num_videos_real"], found["num_videos_fake"]
        return cls(
            name=one.name,
            source=one.source,
            threshold=found["settings"]["threshold"],
            every=RatesRow.of(ALL_METHODS, *counts, found["video"]),
            methods=tuple(sorted(methods, key=lambda row: (row.tpr.value, row.name))),
            groups={column: _groups(rows) for column, rows in found["slices"].items()},
            gaps={column: tuple(map(_gap, gaps)) for column, gaps in found["gaps"].items()},
            coverage=Coverage.from_json(found["coverage"]).sentence(),
            warnings=(*found["seen"], *found["notes"]),
            was_done=was_done,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "source": self.source,
            "threshold": self.threshold,
            "all": self.every.to_json(),
            "methods": [row.to_json() for row in self.methods],
            "groups": {column: [row.to_json() for row in rows] for column, rows in self.groups.items()},
            "gaps": {
                column: [asdict(one) | intervals_to_json({"gap": one.gap}) for one in gaps]
                for column, gaps in self.gaps.items()
            },
            "coverage": self.coverage,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Suite:
    """The results of a suite.

    Attributes:
        threshold: Of all sets; NaN if none was evaluated.
        sets: Results in the order of the suite.
        failed: Why a set could not be evaluated, by name.
    """

    threshold: float
    sets: tuple[SetResult, ...]
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as in ``suite.json``; undefined numbers are ``None``.

        Keys: ``threshold``; ``sets``, a list of ``name``, ``source``, ``threshold``, ``all`` (``name``,
        ``num_videos_real``, ``num_videos_fake``, and ``fpr``, ``tpr`` and ``auc`` with ``value``, ``low`` and
        ``high``), ``methods`` (a list of the same, lowest TPR first), ``groups`` (by column, a list of the
        same), ``gaps`` (by column, a list of ``metric``, ``highest``, ``lowest`` and ``gap``), ``coverage``
        and ``warnings``; ``failed``, by name.
        """
        return {
            "threshold": None if math.isnan(self.threshold) else self.threshold,
            "sets": [one.to_json() for one in self.sets],
            "failed": self.failed,
        }


def read_suite(suite: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[SuiteSet, ...]:
    """Read what a suite evaluates.

    Args:
        suite: A YAML file as described above, or its content as a mapping.

    Raises:
        OptionError: The file cannot be read, has no sets, or has unknown options.
    """
    if isinstance(suite, Mapping):
        source, folder, values = "suite", Path(), dict(suite)
    else:
        source, folder, values = str(suite), Path(suite).parent, read_options_file(Path(suite))
    sets = values.pop("sets", None)
    if not isinstance(sets, Mapping) or not sets:
        raise OptionError(source, "has no sets", _EXAMPLE)
    known = _known_options()
    _check_names(source, values, [name for name in known if name not in _SOURCES])
    found = []
    for name, own in sets.items():
        if _UNUSABLE.search(str(name)) or not isinstance(own, Mapping):
            remedy = f"{_EXAMPLE}, names without slashes"
            raise OptionError(f"{source}, set {name!r}", "cannot be used", remedy)
        _check_names(f"{source}, set {name}", own, [one for one in known if one not in _FOR_ALL_ONLY])
        found.append(_set(f"{source}, set {name}", str(name), {**values, **own}, folder))
    return tuple(found)


def _set(source: str, name: str, values: Mapping[str, Any], folder: Path) -> SuiteSet:
    given = [key for key in _SOURCES if values.get(key) is not None]
    if len(given) != 1:
        raise OptionError(source, "needs a manifest or scores", _EXAMPLE)
    keywords = {key: _resolved(folder, value) if key in _PATHS else value for key, value in values.items()}
    if given == ["scores"]:  # these are of another tool, whatever the suite's detector is
        keywords.pop("detector", None)
    for cls in (EvaluationOptions, ResamplingOptions):
        names = [one.name for one in option_fields(cls) if one.name in keywords]
        options = options_from_mapping(cls, {key: keywords[key] for key in names}, source=source)
        keywords |= {key: getattr(options, key) for key in names}
    return SuiteSet(name, str(keywords[given[0]]), keywords)


def _known_options() -> list[str]:
    options = [one.name for cls in (EvaluationOptions, ResamplingOptions) for one in option_fields(cls)]
    return [*_SOURCES, "detector", *(name for name in options if name not in _NOT_IN_SUITES)]


def _check_names(source: str, values: Mapping[str, Any], known: list[str]) -> None:
    if unknown := sorted(str(name) for name in values if name not in known):
        raise OptionError(source, f"unknown options: {', '.join(unknown)}", f"known: {', '.join(known)}")


def _resolved(folder: Path, value: Any) -> Any:
    """Return a path relative to a folder, where there is such a file; addresses and names stay."""
    if not isinstance(value, (str, os.PathLike)) or "://" in str(value):
        return value
    path = folder / value
    return str(path) if path.exists() else str(value)


def _interval(values: Mapping[str, float | None]) -> Interval:
    numbers = {key: math.nan if values[key] is None else values[key] for key in ("value", "low", "high")}
    return Interval(**numbers)  # type: ignore[arg-type]


def _groups(rows: list[dict[str, Any]]) -> tuple[RatesRow, ...]:
    return tuple(
        RatesRow.of(one["value"], one["num_videos_real"], one["num_videos_fake"], one["video"])
        for one in rows
        if one["value"] not in (UNKNOWN, OTHERS)
    )


def _gap(values: Mapping[str, Any]) -> Gap:
    return Gap(values["metric"], values["highest"], values["lowest"], _interval(values["gap"]))
