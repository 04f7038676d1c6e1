"""Compare the splits of a manifest or index by names: videos, identities and paths.

The comparison runs inside DuckDB and is fast for millions of rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations

from deepfake_detect.data.audit_report import MAX_EXAMPLES, LeakExample, LeakKind, Overlap
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.rows import Rows

USUAL_ORDER = ("train", "val", "test")
# CSVs and other tools write an empty split for none.
SPLIT_SQL = "nullif(split, '')"
# Columns that each kind compares, and the column that shows where a match occurs.
_KEYS: dict[str, tuple[str, ...]] = {
    "videos": ("video_id",),
    "identities": (identity_sql("target_id"), identity_sql("source_id")),
    "identical-crops": ("path",),
}
_LOCATIONS = {"videos": "path", "identities": "video_id", "identical-crops": "video_id"}


def split_pairs(rows: Rows) -> list[tuple[str, str]]:
    """Return every pair of the splits that occur, in the usual order."""
    return list(combinations(splits_of(rows), 2))


def splits_of(rows: Rows) -> tuple[str, ...]:
    """Return the splits that occur, in the usual order: train, val, test, then others by name."""
    sql = f"select distinct {SPLIT_SQL} as split from rows where {SPLIT_SQL} is not null"
    found = rows.query(sql)["split"].to_pylist()
    others = sorted(set(found) - set(USUAL_ORDER))
    return tuple([split for split in USUAL_ORDER if split in found] + others)


def compare_names(rows: Rows, pairs: Sequence[tuple[str, str]], kinds: Collection[LeakKind]) -> list[Overlap]:
    """Return the overlap of each pair of splits, for each kind.

    Args:
        rows: Rows of crops or videos.
        pairs: Splits to compare.
        kinds: Kinds of leak, of ``NAME_KINDS``.
    """
    return [overlap for kind in kinds for overlap in _compare_by(kind, rows, pairs)]


def _compare_by(kind: LeakKind, rows: Rows, pairs: Sequence[tuple[str, str]]) -> list[Overlap]:
    common = rows.query(f"""
        with {_held_sql(kind)}
        select a.split as first, b.split as second, count(*) as count,
            list({{'what': a.key, 'first': a.location, 'second': b.location}} order by a.key)[:{MAX_EXAMPLES}]
                as examples
        from held a join held b on a.key = b.key and a.split <> b.split group by all""")
    found = {(row["first"], row["second"]): row for row in common.to_pylist()}
    overlaps = []
    for pair in pairs:
        if pair not in found:
            overlaps.append(Overlap(kind, *pair))
            continue
        num_rows, num_videos = _count_affected(rows, pair, kind)
        examples = tuple(LeakExample(**example) for example in found[pair]["examples"])
        overlaps.append(Overlap(kind, *pair, found[pair]["count"], num_rows, num_videos, examples))
    return overlaps


def _held_sql(kind: LeakKind) -> str:
    """Return the SQL of ``held``: the keys that occur in several splits, with split and location."""
    # Millions of keys, such as paths, are slow as text; those of one split are excluded by hash alone.
    return f"""named as (
            select split, unnest([{", ".join(_KEYS[kind])}]) as key, {_LOCATIONS[kind]} as location
            from rows where {SPLIT_SQL} is not null
        ), several as (
            select hash(key) as hashed from named where key is not null
            group by all having min(split) <> max(split)
        ), held as (
            select split, key, min(location) as location from named
            where key is not null and hash(key) in (select hashed from several) group by all
        )"""


def _count_affected(rows: Rows, pair: tuple[str, str], kind: LeakKind) -> tuple[int, int]:
    """Return the number of rows and videos of two splits with a key that occurs in both."""
    splits = sql_literals(pair)
    is_common = " or ".join(f"{key} in (select key from common)" for key in _KEYS[kind])
    (counts,) = rows.query(f"""
        with {_held_sql(kind)}, common as (
            select key from held where split in ({splits}) group by key having count(*) = 2
        )
        select count(*) as num_rows, count(distinct video_id) as num_videos
        from rows where split in ({splits}) and ({is_common})""").to_pylist()
    return counts["num_rows"], counts["num_videos"]


def sql_literals(texts: Iterable[str]) -> str:
    """Return texts as SQL literals, separated by commas.

    Example:
        >>> sql_literals(["train", "Anna's"])
        "'train', 'Anna''s'"
    """
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
