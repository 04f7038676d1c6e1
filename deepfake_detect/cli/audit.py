"""Look for what splits share and should not: videos, people, and the same picture twice.

MANIFEST is a manifest of crops, or an index of videos. Each pair of its splits is compared by
video, by identity (as target and as source) and by crop (the same bytes, or nearly the same
picture); each split's classes by number and by native size. Fingerprints of the crops are kept
beside the manifest, so a second audit is quick.

Exit code 0 where nothing is shared, 1 where something leaks, 2 for bad input, such as crops of which
not one can be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import make_folder, write_json
from deepfake_detect.records import FAKE, REAL

if TYPE_CHECKING:
    from rich.table import Table

    from deepfake_detect.data.audit import AuditReport, Balance, DuplicatePair, LeakKind, SizeBalance
    from deepfake_detect.data.rows import Rows
    from deepfake_detect.features.feature_file import FeatureFile

EXIT_LEAK = 1
_MAX_NAMED = 5
_MIN_SIMILARITY = 0.98
_ALIKE: dict[str, LeakKind] = {"pictures": "near-duplicate-crops", "people": "identities"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="manifest.parquet, or an index")
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument("--no-crops", action="store_true", help="compare names only, read no crop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw duplicate crops side by side")
    parser.add_argument(
        "--features", type=Path, metavar="FILE", help="of extract-features: compare faces by them too"
    )
    parser.add_argument(
        "--min-similarity",
        type=float,
        metavar="COSINE",
        help=f"of features from which faces are alike (default {_MIN_SIMILARITY})",
    )
    parser.add_argument(
        "--alike-are",
        choices=_ALIKE,
        help="what faces alike by features are: the picture once more, or, by a network trained on "
        "identities, the person (default pictures)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that read crops (default: cores)")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from deepfake_detect.data.audit import audit_rows
    from deepfake_detect.data.index import read_rows

    features = _features_of(arguments)
    rows = read_rows(arguments.manifest)
    _check_outputs(arguments, rows.path)  # refused before the work, not after it
    if arguments.where is not None:
        rows = rows.where(arguments.where)
    report = audit_rows(rows, compare_crops=not arguments.no_crops, num_workers=arguments.workers)
    pairs = () if report.crops is None else report.crops.pairs
    if features is not None:
        report, found = _with_similar_faces(report, rows, features, arguments)
        pairs += found
    for table in (_balance_table(report), _size_table(report), _overlap_table(report)):
        if table.row_count:
            Console(soft_wrap=True).print(table)
    for line in _remarks(report):
        print(line)
    if arguments.json is not None:
        write_json(arguments.json, report.to_dict())
        print(f"wrote {arguments.json}")
    if arguments.sheet is not None:
        print(_draw(pairs, rows.root, arguments.sheet))
    return _conclude(report)


def _features_of(arguments: argparse.Namespace) -> FeatureFile | None:
    """Return the file of features, where there is one, and refuse what is about it where there is none."""
    if arguments.features is None:
        for option in ("min_similarity", "alike_are"):
            if getattr(arguments, option) is not None:
                cause = "has no meaning without --features"
                raise OptionError(f"--{option.replace('_', '-')}", cause, "leave it out")
        return None
    from deepfake_detect.features.feature_file import FeatureFile

    return FeatureFile(arguments.features)


def _with_similar_faces(
    report: AuditReport, rows: Rows, features: FeatureFile, arguments: argparse.Namespace
) -> tuple[AuditReport, tuple[DuplicatePair, ...]]:
    """Return a report with what looks alike in two splits by features, and the pairs that do."""
    from deepfake_detect.features.across import similar_across_splits

    bound = _MIN_SIMILARITY if arguments.min_similarity is None else arguments.min_similarity
    kind = _ALIKE[arguments.alike_are or "pictures"]
    found = similar_across_splits(features, min_similarity=bound, kind=kind, rows=rows)
    crops = report.crops and replace(report.crops, pairs=(*report.crops.pairs, *found.pairs))
    num_rows = report.num_rows - report.num_rows_without_split
    note = (
        f"{kind} are looked for by the features of {features.path} too, which holds {found.num_rows:,} of "
        f"the {num_rows:,} rows with a split; alike from a cosine of {bound:g}"
    )
    overlaps = (*report.overlaps, *found.overlaps)
    return replace(report, overlaps=overlaps, crops=crops, notes=(*report.notes, note)), found.pairs


def _check_outputs(arguments: argparse.Namespace, audited: Path) -> None:
    if arguments.sheet is not None:
        # Reads crops as training does, and so loads torch: only where it is asked for.
        from deepfake_detect.report.duplicates import check_sheet_path

        check_sheet_path(arguments.sheet)
    for option, path in (("--json", arguments.json), ("--sheet", arguments.sheet)):
        if path is None:
            continue
        if path.exists() and path.samefile(audited):
            raise OptionError(option, f"{path} is the file that is audited", "name another file")
        make_folder(path.parent)


def _draw(pairs: Sequence[DuplicatePair], root: Path, path: Path) -> str:
    from deepfake_detect.report.duplicates import save_duplicate_sheet

    if not pairs:
        return f"{path} is not written: no duplicate crops to draw"
    num_drawn = save_duplicate_sheet(pairs, root, path)
    return f"wrote {path} ({num_drawn} of {len(pairs)} pairs)"


def _conclude(report: AuditReport) -> int:
    for leak in report.leaks:
        print(f"leak of {leak.sentence()}")
    splits = ", ".join(report.splits) or "none"
    what = f"{report.path}: {report.num_rows:,} rows of {report.num_videos:,} videos, splits: {splits}"
    if report.leaks:
        kinds = ", ".join(dict.fromkeys(leak.kind for leak in report.leaks))
        print(f"LEAK: {kinds} in {what}")
        return EXIT_LEAK
    print(f"no leak found {_among_what(report)}{what}")
    return 0


def _among_what(report: AuditReport) -> str:
    """Return how far the crops could be looked at, refusing to call clean what could not at all."""
    if report.crops is None or not report.crops.unreadable:
        return "in "
    num_unreadable, num_crops = len(report.crops.unreadable), report.crops.num_crops
    if num_unreadable == num_crops:
        raise ManifestError(
            report.path,
            f"not one of its {num_crops:,} crops could be read",
            "extract again, or compare names alone with --no-crops",
        )
    return f"among the crops that could be read; {num_unreadable:,} of {num_crops:,} could not be read: "


def _remarks(report: AuditReport) -> list[str]:
    lines = [f"note: {note}" for note in report.notes]
    if report.num_rows_without_split:
        lines.append(f"note: {report.num_rows_without_split:,} rows have no split and are not compared")
    lines += [_size_warning(sizes) for sizes in report.sizes if sizes.tells_classes_apart]
    if report.crops is None:
        return lines
    crops = report.crops
    lines += [f"note: {note}" for note in crops.notes]
    if crops.num_flat:
        lines.append(f"note: {crops.num_flat:,} crops are too even to be compared by looks")
    if crops.unreadable:
        named = ", ".join(crops.unreadable[:_MAX_NAMED])
        lines.append(f"warning: {len(crops.unreadable):,} crops cannot be read, such as {named}")
    if crops.num_label_conflicts:
        real, fake = crops.label_conflicts[0]
        lines.append(
            f"warning: {crops.num_label_conflicts:,} pictures are both real and fake, byte by byte, "
            f"such as {real} (real) and {fake} (fake)"
        )
    return lines


def _size_warning(sizes: SizeBalance) -> str:
    larger = "fakes" if (sizes.auc or 0) > 0.5 else "reals"
    return (
        f"warning: {sizes.split or 'no split'}: crops could be told apart by size alone "
        f"(AUC of native size {sizes.auc:.3f}: {larger} are larger)"
    )


def _balance_table(report: AuditReport) -> Table:
    """A row per label and method, a column per split: videos, and crops where they differ."""
    splits: list[str | None] = [*report.splits]
    if report.num_rows_without_split:
        splits.append(None)
    table = _new_table("Videos (rows)", ["", "Method", *(split or "no split" for split in splits)])
    cells = {(one.label, one.method, one.split): one for one in report.balance}
    for label, word in ((REAL, "real"), (FAKE, "fake")):
        of_label = [one for one in report.balance if one.label == label]
        for method in dict.fromkeys(one.method for one in of_label):
            found = [cells.get((label, method, split)) for split in splits]
            texts = [f"{one.num_videos:,} ({one.num_rows:,})" if one else "0" for one in found]
            table.add_row(word, _plain(method or "unknown"), *texts)
        table.add_row(word, "all", *(_total(of_label, split) for split in splits), end_section=True)
    return table


def _total(balance: list[Balance], split: str | None) -> str:
    found = [one for one in balance if one.split == split]
    return f"{sum(one.num_videos for one in found):,} ({sum(one.num_rows for one in found):,})"


def _size_table(report: AuditReport) -> Table:
    table = _new_table("Native size in pixels: 10 %, median, 90 %", ["Split", "Real", "Fake", "AUC of size"])
    for sizes in report.sizes:
        percentiles = [" ".join(map(str, one)) if one else "none" for one in (sizes.real, sizes.fake)]
        auc = "n/a" if sizes.auc is None else f"{sizes.auc:.3f}"
        table.add_row(_plain(sizes.split or "no split"), *percentiles, auc)
    return table


def _overlap_table(report: AuditReport) -> Table:
    """A row per pair of splits, a column per kind of what they share."""
    kinds = list(dict.fromkeys(overlap.kind for overlap in report.overlaps))
    table = _new_table("Shared between splits", ["Splits", *kinds])
    pairs = dict.fromkeys((overlap.first, overlap.second) for overlap in report.overlaps)
    for first, second in pairs:
        found = [one for one in report.overlaps if (one.first, one.second) == (first, second)]
        # Of one kind there are two where features are compared too.
        counts = [" + ".join(f"{one.count:,}" for one in found if one.kind == kind) for kind in kinds]
        table.add_row(_plain(f"{first}, {second}"), *counts)
    return table


def _new_table(title: str, headers: list[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for number, header in enumerate(headers):
        # In a narrow terminal names give way; numbers never do.
        is_name = number == 0 or header == "Method"
        table.add_column(
            _plain(header),
            justify="left" if is_name else "right",
            no_wrap=not is_name,
            overflow="fold",
        )
    return table


def _plain(text: str) -> str:
    """Return a name as it is shown: square brackets are markup to rich."""
    from rich.markup import escape

    return escape(text)
