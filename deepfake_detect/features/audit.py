"""The audit of a manifest or index: names, crops and, on request, features."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepfake_detect.data.audit import audit_rows
from deepfake_detect.data.audit_report import (
    MAX_EXAMPLES,
    AuditReport,
    DuplicatePair,
    LeakExample,
    LeakKind,
    Overlap,
)
from deepfake_detect.data.index import read_rows
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.options import (
    DEFAULT_MIN_SIMILARITY,
    MIN_PERSON_SIMILARITY,
    AuditOptions,
    SimilarAre,
)
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import make_folder, write_json
from deepfake_detect.plurals import counted

_KINDS: dict[SimilarAre, LeakKind] = {"images": "near-duplicate-crops", "people": "identities"}


@dataclass(frozen=True)
class Audit:
    """Result of :func:`audit_manifest`.

    Attributes:
        report: What was compared and found.
        pairs: Duplicate crops across splits, those found by features included.
        outputs: One line on each file that was written.
    """

    report: AuditReport
    pairs: tuple[DuplicatePair, ...]
    outputs: tuple[str, ...] = ()


def audit_manifest(
    manifest: str | os.PathLike[str],
    *,
    where: str | None = AuditOptions.where,
    crops: bool = AuditOptions.crops,
    features: str | os.PathLike[str] | None = AuditOptions.features,
    min_similarity: float | None = AuditOptions.min_similarity,
    similar_are: SimilarAre | None = AuditOptions.similar_are,
    people: bool = AuditOptions.people,
    weights: str = AuditOptions.weights,
    num_workers: int | None = AuditOptions.num_workers,
    json: str | os.PathLike[str] | None = None,
    sheet: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
) -> Audit:
    """Find leaks: what the splits of a manifest share but should not.

    Args:
        manifest: A manifest of crops, or an index of videos.
        where: SQL condition on the rows; ``None`` takes all.
        crops: Whether to read and compare crops, not only names.
        features: Feature file of the crops: faces with similar features are compared too.
        min_similarity: Cosine from which two faces are similar, above -1, to 1; when ``None``, 0.98
            for features and 0.75 for people.
        similar_are: What similar features mean: the same image (when ``None``) or the same person.
        people: Whether to find identities that look like the same person by comparing faces in their reals;
            a person in two splits is a leak.
        weights: Of the FaceNet for ``people``, see :func:`features.people.find_same_people`.
        num_workers: Threads that read crops; the number of cores when ``None``.
        json: JSON file to write with the report.
        sheet: PNG to write with duplicate crops side by side.
        show_progress: Whether to show a progress bar.

    Returns:
        The report and the duplicate crops; ``audit.report.leaks`` is empty if nothing leaks.

    Raises:
        OptionError: An option is not allowed, an output is the audited file, or ``people`` is given for
            an index of videos.
        WeightsError: The ``weights`` cannot be read.
        ManifestError: The manifest cannot be read or has no rows, or nothing leaks but no crop could be
            read.
        OutputError: A file cannot be written.

    Example:
        >>> audit = audit_manifest("crops/manifest.parquet")  # doctest: +SKIP
        >>> [leak.sentence() for leak in audit.report.leaks]  # doctest: +SKIP
        []
    """
    options = AuditOptions(
        where,
        crops,
        None if features is None else Path(features),
        min_similarity,
        similar_are,
        people,
        weights,
        num_workers,
    )
    outputs = {name: Path(path) for name, path in (("json", json), ("sheet", sheet)) if path is not None}
    rows = read_rows(manifest)
    _check_outputs(outputs, rows.path)  # before the comparison, which may take long
    if options.where is not None:
        rows = rows.where(options.where)
    report = audit_rows(
        rows, compare_images=options.crops, num_workers=options.num_workers, show_progress=show_progress
    )
    pairs = () if report.crops is None else report.crops.pairs
    if options.features is not None:
        report, similar = _with_similar_faces(report, rows, options)
        pairs += similar
    if options.people:
        report = _with_same_people(report, rows, options, show_progress=show_progress)
    lines = _write(outputs, report, pairs, rows.root)
    read = report.crops
    # An audit without crops must not pass as one without leaks.
    if not report.leaks and read is not None and 0 < read.num_crops == len(read.unreadable):
        cause = f"none of its {counted(read.num_crops, 'crop')} could be read"
        raise ManifestError(report.path, cause, "extract again, or compare names only with `crops`")
    return Audit(report, pairs, lines)


def _with_similar_faces(
    report: AuditReport, rows: Rows, options: AuditOptions
) -> tuple[AuditReport, tuple[DuplicatePair, ...]]:
    """Add overlaps of faces with similar features to a report; return it and the pairs of faces."""
    from deepfake_detect.features.across import similar_across_splits
    from deepfake_detect.features.feature_file import FeatureFile

    assert options.features is not None
    file = FeatureFile(options.features)
    bound = DEFAULT_MIN_SIMILARITY if options.min_similarity is None else options.min_similarity
    kind = _KINDS[options.similar_are or "images"]
    found = similar_across_splits(file, min_similarity=bound, kind=kind, rows=rows)
    crops = report.crops and replace(report.crops, pairs=(*report.crops.pairs, *found.pairs))
    num_rows = report.num_rows - report.num_rows_without_split
    note = (
        f"{kind} were also compared by the features of {file.path}, which has {found.num_rows:,} of the "
        f"{counted(num_rows, 'row')} with a split; similar from a cosine of {bound:g}"
    )
    overlaps = (*report.overlaps, *found.overlaps)
    return replace(report, overlaps=overlaps, crops=crops, notes=(*report.notes, note)), found.pairs


def _with_same_people(
    report: AuditReport, rows: Rows, options: AuditOptions, *, show_progress: bool
) -> AuditReport:
    """Add the identities that look like one person; those of two splits count as leaks."""
    from deepfake_detect.features.people import find_same_people

    if not isinstance(rows, Manifest):
        raise OptionError("people", f"{rows.path} is an index of videos", "pass a manifest of crops")
    bound = MIN_PERSON_SIMILARITY if options.min_similarity is None else options.min_similarity
    found = find_same_people(rows, weights=options.weights, min_similarity=bound, show_progress=show_progress)
    leaks = defaultdict(list)
    for pair in found:
        if pair.is_leak:
            first, second = sorted({*pair.first_splits, *pair.second_splits} - {""})[:2]
            leaks[first, second].append(LeakExample(pair.sentence(), pair.first, pair.second))
    overlaps = [
        Overlap("identities", *splits, count=len(examples), examples=tuple(examples[:MAX_EXAMPLES]))
        for splits, examples in leaks.items()
    ]
    return replace(report, same_people=found, overlaps=(*report.overlaps, *overlaps))


def _check_outputs(outputs: dict[str, Path], audited: Path) -> None:
    """Raise if an output cannot be written, or would replace the audited file."""
    if "sheet" in outputs:
        # Imports torch: only if a sheet is written.
        from deepfake_detect.report.duplicates import check_sheet_path

        check_sheet_path(outputs["sheet"])
    for name, path in outputs.items():
        if path.exists() and path.samefile(audited):
            raise OptionError(name, f"{path} is the audited file", "choose another file")
        make_folder(path.parent)


def _write(
    outputs: dict[str, Path], report: AuditReport, pairs: Sequence[DuplicatePair], root: Path
) -> tuple[str, ...]:
    lines = []
    if "json" in outputs:
        write_json(outputs["json"], report.to_dict())
        lines.append(f"wrote {outputs['json']}")
    if "sheet" in outputs:
        path = outputs["sheet"]
        if pairs:
            from deepfake_detect.report.duplicates import save_duplicate_sheet

            num_shown = save_duplicate_sheet(pairs, root, path)
            lines.append(f"wrote {path} ({num_shown} of {counted(len(pairs), 'pair')})")
        else:
            lines.append(f"did not write {path}: no duplicate crops")
    return tuple(lines)
