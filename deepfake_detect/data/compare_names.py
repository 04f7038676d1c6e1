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
    """Return the overlap of each pair of splits, for each kind, of ``NAME_KINDS``."""
    overlaps = []
    for kind in kinds:
        found = {
            (one.pop("first"), one.pop("second")): one for one in rows.query(_overlap_sql(kind)).to_pylist()
        }
        for pair in pairs:
            counts = found.get(pair, {})
            examples = tuple(LeakExample(**example) for example in counts.pop("examples", ()))
            overlaps.append(Overlap(kind, *pair, **counts, examples=examples))
    return overlaps


def _overlap_sql(kind: LeakKind) -> str:
    """Return the SQL of what each pair of splits has in common."""
    # named: the keys of each row; held: keys that occur in several splits, with a location in each;
    # common: keys of both splits of a pair; affected: the rows with such keys. Millions of keys, such as
    # paths, are slow as text; those of one split are excluded by hash alone.
    return f"""
        with named as (
            select file_row_number, video_id, split, unnest([{", ".join(_KEYS[kind])}]) as key,
                {_LOCATIONS[kind]} as location
            from rows where {SPLIT_SQL} is not null
        ), several as (
            select hash(key) as hashed from named where key is not null
            group by all having min(split) <> max(split)
        ), repeated as (
            select file_row_number, video_id, split, key, location from named
            where key is not null and hash(key) in (select hashed from several)
        ), held as (
            select split, key, min(location) as location from repeated group by all
        ), common as (
            select a.split as first, b.split as second, a.key, a.location as in_first, b.location as in_second
            from held a join held b on a.key = b.key and a.split <> b.split
        ), affected as (
            select first, second, count(distinct file_row_number) as num_rows,
                count(distinct video_id) as num_videos
            from repeated join common on repeated.key = common.key and split in (first, second) group by all
        )
        select first, second, count(*) as count, any_value(num_rows) as num_rows,
            any_value(num_videos) as num_videos,
            list({{'what': key, 'first': in_first, 'second': in_second}} order by key)[:{MAX_EXAMPLES}]
                as examples
        from common join affected using (first, second) group by all"""


def sql_literals(texts: Iterable[str]) -> str:
    """Return texts as SQL literals, separated by commas."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
