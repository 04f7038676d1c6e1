"""End training and evaluation with an error when splits leak, unless the kind of leak is allowed.

training     every pair of splits among the selected rows
evaluation   the evaluated rows, and all rows of every other split in the file: a condition selects
             what is evaluated, not what a detector may have been trained on
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deepfake_detect.data.audit_report import (
    CROP_KINDS,
    LEAK_KINDS,
    NAME_KINDS,
    LeakKind,
    Overlap,
)
from deepfake_detect.data.compare_crops import compare_crops
from deepfake_detect.data.compare_names import compare_names, split_pairs, splits_of, sql_literals
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.plurals import counted

# Up to this number crops are compared, which takes a minute or two.
MAX_CROPS_COMPARED = 100_000
# Up to this fraction of the smaller split, near-duplicates are only noted: similar looks are not a proof,
# and published splits contain a few takes of one scene (DFDC's original-disjoint ones 0.9%).
MAX_NEAR_FRACTION = 0.02


def check_no_leak(
    rows: Manifest,
    *,
    allowed: Collection[LeakKind] = (),
    evaluated: str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[str, ...]:
    """Raise if the splits of rows leak.

    Names and paths are compared for any number of rows; crops are compared up to
    ``MAX_CROPS_COMPARED``, and near-duplicates are an error above ``MAX_NEAR_FRACTION`` of the smaller
    split. Returns remarks, one line each: what was not compared, near-duplicates that are allowed, and
    several splits evaluated together.

    Args:
        rows: A manifest of crops, filtered to the rows that are used.
        allowed: Kinds of leak that are not an error.
        evaluated: The evaluated split, or ``"all"``: its selected rows are compared with each other
            split. Of another evaluated split these are its selected rows, otherwise all rows in the
            file, including those that ``rows`` leaves out. ``None`` compares every pair of splits of
            ``rows``.

    Raises:
        ManifestError: A leak; the message has kind, splits, count, an example and what to do.
        OptionError: ``allowed`` has an unknown kind, or ``evaluated`` is a split without rows.
    """
    for kind in allowed:
        if kind not in LEAK_KINDS:
            raise OptionError("allow_leak", f"{kind!r} is unknown", f"must be one of {', '.join(LEAK_KINDS)}")
    kinds = [kind for kind in LEAK_KINDS if kind not in allowed]
    pairs, affected = split_pairs(rows), "those rows"
    notes: tuple[str, ...] = ()
    if evaluated is not None:
        selected = rows.split(evaluated)
        rows, pairs = _with_other_splits(selected)
        notes, affected = _notes_on_evaluated(selected), "the evaluated ones of those rows"
    if not pairs:
        return notes
    # Names first: comparing them is fast, and a leak is found without reading crops.
    by_name = compare_names(rows, pairs, [kind for kind in kinds if kind in NAME_KINDS])
    _raise_for_leaks(rows, by_name, affected)
    if set(kinds) & set(CROP_KINDS):
        notes += _check_crops(rows, pairs, kinds, affected, num_workers, show_progress)
    return notes


def _check_crops(
    rows: Manifest,
    pairs: Sequence[tuple[str, str]],
    kinds: Collection[LeakKind],
    affected: str,
    num_workers: int | None,
    show_progress: bool,
) -> tuple[str, ...]:
    splits = sorted({split for pair in pairs for split in pair})
    compared = rows.where(f"split in ({sql_literals(splits)})")
    if compared.num_rows > MAX_CROPS_COMPARED:
        return (
            f"{rows.path}: its {counted(compared.num_rows, 'crop')} were not compared with one another, only "
            f"names and paths (more than {MAX_CROPS_COMPARED:,}); audit_manifest compares them",
        )
    overlaps, findings = compare_crops(compared, pairs, num_workers, show_progress)
    found = [overlap for overlap in overlaps if overlap.kind in kinds and overlap.count]
    few = [overlap for overlap in found if _are_few(compared, overlap)]
    _raise_for_leaks(rows, [overlap for overlap in found if overlap not in few], affected)
    remarks = [f"{rows.path}: few enough to be allowed: {one.sentence()}" for one in few]
    if findings.unreadable:
        remarks.insert(
            0,
            f"{rows.path}: {len(findings.unreadable):,} of {counted(findings.num_crops, 'crop')} cannot be "
            f"read and were not compared, first {rows.root / findings.unreadable[0]}",
        )
    return (*findings.notes, *remarks)


def _with_other_splits(selected: Manifest) -> tuple[Manifest, list[tuple[str, str]]]:
    """Return selected rows with all rows of the file's other splits, and the pairs to compare.

    A random sample is replaced by all the rows that it was taken from.
    """
    splits = splits_of(selected)
    if not splits:
        return selected, []
    # On separate lines: a condition may end in a comment.
    conditions = " and ".join(f"({condition}\n)" for condition in selected.filters) or "true"
    both = read_manifest(selected.path).where(f"split not in ({sql_literals(splits)}) or ({conditions})")
    return both, [pair for pair in split_pairs(both) if set(pair) & set(splits)]


def _notes_on_evaluated(selected: Manifest) -> tuple[str, ...]:
    """Return notes on evaluated rows of several splits, or without a split."""
    splits = splits_of(selected)
    notes = []
    if len(splits) > 1:
        training = ", training rows included" if "train" in splits else ""
        notes.append(f"{selected.path}: splits are evaluated together{training}: {', '.join(splits)}")
    num_without = selected.where("split is null or split = ''").num_rows
    if num_without:
        notes.append(f"{selected.path}: {num_without:,} evaluated rows have no split and are not compared")
    return tuple(notes)


def _are_few(rows: Manifest, overlap: Overlap) -> bool:
    if overlap.kind != "near-duplicate-crops":
        return False
    splits = (overlap.first, overlap.second)
    sizes = [rows.where(f"split = {sql_literals([split])}").num_rows for split in splits]
    return overlap.count <= MAX_NEAR_FRACTION * min(sizes)


def _raise_for_leaks(rows: Manifest, overlaps: Sequence[Overlap], affected: str) -> None:
    """Raise for the first leak; ``affected`` are the rows that could be left out to avoid it."""
    leaks = [overlap for overlap in overlaps if overlap.count]
    if not leaks:
        return
    others = "".join(
        f"; also {leak.kind}: {leak.first} and {leak.second} share {leak.count:,}" for leak in leaks[1:]
    )
    kinds = " ".join(kind for kind in LEAK_KINDS if any(leak.kind == kind for leak in leaks))
    raise ManifestError(
        rows.path,
        f"its splits leak: {leaks[0].sentence()}{others}",
        f"make new splits, exclude {affected} with `where`, or allow it: `allow_leak` {kinds}",
    )
