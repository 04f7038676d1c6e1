"""An audit in the terminal: tables, remarks and the conclusion."""

from __future__ import annotations

from deepfake_detect.data.audit_report import AuditReport, Balance
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.report.terminal import Column, print_table

_MAX_NAMED = 5


def print_audit(report: AuditReport) -> None:
    """Print the tables and remarks of an audit."""
    if report.balance:
        _print_balance(report)
    if report.sizes:
        _print_sizes(report)
    if report.overlaps:
        _print_overlaps(report)
    for line in _remarks(report):
        print(line)


def audit_conclusion(report: AuditReport) -> str:
    """Return the leaks, one line each, and the result as the last line."""
    splits = ", ".join(report.splits) or "none"
    count = f"{counted(report.num_rows, 'row')} of {counted(report.num_videos, 'video')}"
    subject = f"{report.path}: {count}, splits: {splits}"
    if report.leaks:
        kinds = ", ".join(dict.fromkeys(leak.kind for leak in report.leaks))
        leaks = [f"leak of {leak.sentence()}" for leak in report.leaks]
        return "\n".join([*leaks, f"LEAK: {kinds} in {subject}"])
    if report.crops is None or not report.crops.unreadable:
        return f"no leak found in {subject}"
    num_unreadable = len(report.crops.unreadable)
    return (
        f"no leak found among the readable crops; {num_unreadable:,} of {report.crops.num_crops:,} could not "
        f"be read: {subject}"
    )


def _remarks(report: AuditReport) -> list[str]:
    lines = [f"note: {note}" for note in report.notes]
    if report.num_rows_without_split:
        lines.append(f"note: skipped {counted(report.num_rows_without_split, 'row')} without a split")
    lines += [f"same person: {pair.sentence()}" for pair in report.same_people or ()]
    if report.same_people == ():
        lines.append("note: no two identities look like the same person")
    for sizes in report.sizes:
        if sizes.separates_classes:
            larger = "fakes" if (sizes.auc or 0) > 0.5 else "reals"
            lines.append(
                f"warning: {sizes.split or 'no split'}: size alone separates the classes "
                f"(AUC of native size {sizes.auc:.3f}: {larger} are larger)"
            )
    if report.crops is None:
        return lines
    crops = report.crops
    lines += [f"note: {note}" for note in crops.notes]
    if crops.num_flat:
        lines.append(
            f"note: skipped {counted(crops.num_flat, 'crop')} with too little contrast to be compared "
            "visually"
        )
    if crops.unreadable:
        named = ", ".join(crops.unreadable[:_MAX_NAMED])
        lines.append(f"warning: cannot read {counted(len(crops.unreadable), 'crop')}, such as {named}")
    if crops.num_label_conflicts:
        real, fake = crops.label_conflicts[0]
        lines.append(
            f"warning: found {counted(crops.num_label_conflicts, 'image')} labeled both real and fake "
            f"(identical bytes), such as {real} (real) and {fake} (fake)"
        )
    return lines


def _print_balance(report: AuditReport) -> None:
    """Print a row per label and method, a column per split: videos (rows)."""
    splits: list[str | None] = [*report.splits]
    if report.num_rows_without_split:
        splits.append(None)
    cells = {(one.label, one.method, one.split): one for one in report.balance}
    rows: list[list[str] | None] = []
    for label, word in ((REAL, "real"), (FAKE, "fake")):
        of_label = [one for one in report.balance if one.label == label]
        for method in dict.fromkeys(one.method for one in of_label):
            found = [cells.get((label, method, split)) for split in splits]
            texts = [f"{one.num_videos:,} ({one.num_rows:,})" if one else "0" for one in found]
            rows.append([word, method or "unknown", *texts])
        rows += [[word, "all", *(_total(of_label, split) for split in splits)], None]
    columns: list[str | Column] = ["", Column("Method", "name"), *(split or "no split" for split in splits)]
    print_table("Videos (rows)", columns, rows)


def _total(balance: list[Balance], split: str | None) -> str:
    found = [one for one in balance if one.split == split]
    return f"{sum(one.num_videos for one in found):,} ({sum(one.num_rows for one in found):,})"


def _print_sizes(report: AuditReport) -> None:
    rows = []
    for sizes in report.sizes:
        percentiles = [" ".join(map(str, one)) if one else "none" for one in (sizes.real, sizes.fake)]
        auc = "n/a" if sizes.auc is None else f"{sizes.auc:.3f}"
        rows.append([sizes.split or "no split", *percentiles, auc])
    columns = ["Split", "Real", "Fake", "AUC of size"]
    print_table("Native size in pixels: 10%, median, 90%", columns, rows)


def _print_overlaps(report: AuditReport) -> None:
    """Print a row per pair of splits, a column per kind of leak."""
    kinds = list(dict.fromkeys(overlap.kind for overlap in report.overlaps))
    rows = []
    for first, second in dict.fromkeys((overlap.first, overlap.second) for overlap in report.overlaps):
        found = [one for one in report.overlaps if (one.first, one.second) == (first, second)]
        # A kind occurs twice if features are compared too.
        counts = [" + ".join(f"{one.count:,}" for one in found if one.kind == kind) for kind in kinds]
        rows.append([f"{first}, {second}", *counts])
    print_table("Common to two splits", ["Splits", *kinds], rows)
