"""Leaks between splits are refused, unless told otherwise by the name of their kind.

    training     every pair of splits among the chosen rows
    evaluation   the measured rows, and all that the file holds of every other split: a condition says
                 what is measured, not what a detector may have been trained on

The looking is done in :mod:`data.audit`; here is what of its findings ends the work, and the way out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from deepfake_detect.data.audit import (
    CROP_KINDS,
    LEAK_KINDS,
    NAME_KINDS,
    CropFindings,
    LeakKind,
    Overlap,
    compare_names,
    compare_pictures,
    split_pairs,
    splits_of,
    sql_literals,
)
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import ManifestError, OptionError

# Crops are compared up to this many; reading and comparing them takes a minute or two then.
MAX_CROPS_COMPARED = 100_000
# Near-duplicates up to this share of the smaller split are let pass, and told of: looks are no
# proof, and published splits hold a few takes of one scene (DFDC's original-disjoint ones 0.9 %).
MAX_NEAR_SHARE = 0.02


def check_no_leak(
    rows: Manifest,
    *,
    allowed: Collection[LeakKind] = (),
    evaluated: str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> tuple[str, ...]:
    """Refuse rows whose splits leak into one another.

    Names and paths are compared for any number of rows; what the crops show is for up to
    ``MAX_CROPS_COMPARED``, and near-duplicates are refused above ``MAX_NEAR_SHARE`` of the smaller
    split.

    Args:
        rows: A manifest of crops, filtered to the rows that are used.
        allowed: Kinds of leak that are let pass.
        evaluated: The split that is measured, or ``"all"``: its chosen rows are compared with each
            other split, chosen rows of it where it is measured too, else all of it that the file
            holds, whatever ``rows`` leaves out. ``None`` compares every pair of splits of ``rows``.
        num_workers, show_progress: As for :func:`data.audit.audit_rows`.

    Returns:
        One line on each thing to be told: what was not compared, near-duplicates let pass, and
        several splits measured together.

    Raises:
        ManifestError: A leak; the message names kind, splits, count, an example and the way out.
        OptionError: ``allowed`` names an unknown kind, or ``evaluated`` a split without rows.
    """
    check_leak_kinds(allowed)
    asked = [kind for kind in LEAK_KINDS if kind not in allowed]
    pairs, concerned = split_pairs(rows), "those rows"
    notes: tuple[str, ...] = ()
    if evaluated is not None:
        measured = rows.split(evaluated)
        rows, pairs = _beside_other_splits(measured)
        notes, concerned = _notes_on(measured), "the measured ones of those rows"
    if not pairs:
        return notes
    # Names first: they are compared in no time, and crops need not be read to refuse.
    by_name = compare_names(rows, pairs, [kind for kind in asked if kind in NAME_KINDS])
    _refuse(rows, by_name, concerned)
    if not set(asked) & set(CROP_KINDS):
        return notes
    compared = rows.where(f"split in ({sql_literals(sorted({split for pair in pairs for split in pair}))})")
    if compared.num_rows > MAX_CROPS_COMPARED:
        return (*notes, _too_many(compared))
    overlaps, findings = compare_pictures(compared, pairs, num_workers, show_progress)
    found = [overlap for overlap in overlaps if overlap.kind in asked and overlap.count]
    few = [overlap for overlap in found if _are_few(compared, overlap)]
    _refuse(rows, [overlap for overlap in found if overlap not in few], concerned)
    told = [f"{rows.path}: let pass, being few: {one.sentence()}" for one in few]
    return (*notes, *findings.notes, *_unreadable(rows, findings), *told)


def check_leak_kinds(allowed: Iterable[str]) -> None:
    """Refuse kinds of leak that do not exist.

    Raises:
        OptionError: Unknown kind.
    """
    for kind in allowed:
        if kind not in LEAK_KINDS:
            raise OptionError("allow_leak", f"{kind!r} is unknown", f"choose of {', '.join(LEAK_KINDS)}")


def _beside_other_splits(measured: Manifest) -> tuple[Manifest, list[tuple[str, str]]]:
    """Return measured rows with all rows of the file's other splits, and the pairs to compare.

    Rows that were drawn by lot stand for all those that they were drawn from.
    """
    splits = splits_of(measured)
    if not splits:
        return measured, []
    # A line each: a condition may end in a comment.
    conditions = " and ".join(f"({condition}\n)" for condition in measured.filters) or "true"
    both = read_manifest(measured.path).where(f"split not in ({sql_literals(splits)}) or ({conditions})")
    return both, [pair for pair in split_pairs(both) if set(pair) & set(splits)]


def _notes_on(measured: Manifest) -> tuple[str, ...]:
    """Tell what measured rows are, where they are not one split."""
    splits = splits_of(measured)
    notes = []
    if len(splits) > 1:
        training = ", training rows included" if "train" in splits else ""
        notes.append(f"{measured.path}: splits are measured together{training}: {', '.join(splits)}")
    num_without = measured.where("split is null or split = ''").num_rows
    if num_without:
        notes.append(f"{measured.path}: {num_without:,} measured rows have no split and are not compared")
    return tuple(notes)


def _too_many(rows: Manifest) -> str:
    return (
        f"{rows.path}: its {rows.num_rows:,} crops were not compared with one another, only names and paths "
        f"(more than {MAX_CROPS_COMPARED:,}); to compare them: deepfake-detect audit {rows.path}"
    )


def _unreadable(rows: Manifest, findings: CropFindings) -> tuple[str, ...]:
    if not findings.unreadable:
        return ()
    count, first = len(findings.unreadable), rows.root / findings.unreadable[0]
    return (
        f"{rows.path}: {count:,} of {findings.num_crops:,} crops cannot be read and were not compared, "
        f"first {first}",
    )


def _are_few(rows: Manifest, overlap: Overlap) -> bool:
    if overlap.kind != "near-duplicate-crops":
        return False
    splits = (overlap.first, overlap.second)
    sizes = [rows.where(f"split = {sql_literals([split])}").num_rows for split in splits]
    return overlap.count <= MAX_NEAR_SHARE * min(sizes)


def _refuse(rows: Manifest, overlaps: Sequence[Overlap], concerned: str) -> None:
    """End the work where something is shared; ``concerned`` are the rows that may be left out for it."""
    leaks = [overlap for overlap in overlaps if overlap.count]
    if not leaks:
        return
    others = "".join(
        f"; also {leak.count:,} {leak.kind} of {leak.first} and {leak.second}" for leak in leaks[1:]
    )
    kinds = " ".join(kind for kind in LEAK_KINDS if any(leak.kind == kind for leak in leaks))
    raise ManifestError(
        rows.path,
        f"its splits leak: {leaks[0].sentence()}{others}",
        f"split it anew, leave {concerned} out with --where, or accept it with --allow-leak {kinds}",
    )
