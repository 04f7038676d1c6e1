"""Rows of a Parquet file, filtered and read column by column.

DuckDB reads them, so a file of millions of rows is opened in milliseconds and a filter reads only the
columns it uses. Expressions are SQL: ``method == 'Deepfakes' and split == 'test'``,
``native_size >= 100``, ``split in ('train', 'val')``, ``source_id is not null``. Text is in single
quotes. As in SQL, a comparison with null is not true.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.errors import ManifestError, OptionError

Self = TypeVar("Self", bound="Rows")
_ROW_NUMBER = "file_row_number"
# Functions whose value changes from one query to the next, while rows must stay the same.
_VOLATILE = re.compile(r"\b(random|uuid|gen_random_uuid|nextval|now|current_timestamp)\b", re.IGNORECASE)


class Rows:
    """Some or all rows of a Parquet file, in the order of the file.

    Columns are read when they are used.

    Args:
        path: The file.
        filters: SQL conditions, all of which the rows meet.
        sample: Ascending row numbers of the file to keep; ``None`` keeps all.

    Attributes:
        path: The file.
        filters: The conditions.
    """

    def __init__(
        self, path: Path, *, filters: tuple[str, ...] = (), sample: np.ndarray | None = None
    ) -> None:
        self.path = path
        self.filters = filters
        self._sample = sample
        self._stamp = _stamp_of(path)
        self._num_rows: int | None = None

    def _with(self: Self, *, filters: tuple[str, ...], sample: np.ndarray | None) -> Self:
        """Return rows of the same file with other filters; subclasses also pass on their own fields."""
        return type(self)(self.path, filters=filters, sample=sample)

    @property
    def root(self) -> Path:
        """Folder of the file, to which the ``path`` column may be relative."""
        return self.path.parent

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        if self._num_rows is None:
            with self._relation() as rows:
                self._num_rows = int(rows.aggregate("count(*)").fetchall()[0][0])
        return self._num_rows

    @property
    def table(self) -> pa.Table:
        """All columns of the rows; reads the file at each access."""
        return self.columns(self.column_names)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        self._check_unchanged()
        return list(pq.read_schema(self.path).names)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as a pyarrow table."""
        with self._relation() as rows:
            return self._in_file_order(rows).project(_quoted(names)).to_arrow_table()

    def chunks(self, *, num_rows: int = 1_000_000) -> Iterator[pa.Table]:
        """Yield all columns of the rows in pieces, each of at most ``num_rows`` rows of the file."""
        total = pq.read_metadata(self.path).num_rows
        names = _quoted(self.column_names)
        for start in range(0, total, num_rows):
            window = f"{_ROW_NUMBER} >= {start} and {_ROW_NUMBER} < {start + num_rows}"
            with self._relation() as rows:
                yield self._in_file_order(rows.filter(window)).project(names).to_arrow_table()

    def column(self, name: str) -> np.ndarray:
        """Return one column as a numpy array (object dtype for text)."""
        values: np.ndarray = self.columns([name])[name].to_numpy(zero_copy_only=False)
        return values

    def query(self, sql: str) -> pa.Table:
        """Return the result of a SQL query over these rows, which are its table ``rows``.

        Example:
            ``manifest.query("select method, count(*) as n from rows group by method")``
        """
        with self._relation() as rows:
            return rows.query("rows", sql).to_arrow_table()

    def where(self: Self, expression: str) -> Self:
        """Return the rows for which an expression is true.

        Args:
            expression: SQL condition over the columns.

        Raises:
            OptionError: The expression cannot be parsed, or uses a column that does not exist.
        """
        chosen = self._with(filters=(*self.filters, expression), sample=self._sample)
        if _ROW_NUMBER in expression or _VOLATILE.search(expression):
            raise OptionError(
                "where",
                f"{expression!r} does not always select the same rows",
                "use columns of the file only; for a random selection pass `sample`",
            )
        try:
            _ = chosen.num_rows
        except duckdb.Error as error:
            first_line = str(error).splitlines()[0]
            raise OptionError(
                "where",
                f"{expression!r} cannot be read ({first_line})",
                "an example is \"method == 'Deepfakes' and split == 'test'\"; "
                f"columns are {', '.join(self.column_names)}",
            ) from error
        return chosen

    def sample_videos(self: Self, count: int, *, per: Sequence[str] = (), seed: int = 0) -> Self:
        """Return all rows of randomly selected videos, the same ones for the same seed.

        The random order depends on the video ids and the seed only, so it does not change when rows
        are added, and a sample of 100 is part of a sample of 200.

        Args:
            count: Videos to select, in all or of each group; a smaller group is selected whole.
            per: Columns whose values form the groups, such as ``["method"]``.
            seed: Seed of the random order.

        Raises:
            OptionError: ``count`` is below 1, or a column does not exist.
        """
        if count < 1:
            raise OptionError("sample", f"is {count}", "must be 1 or more")
        unknown = [name for name in per if name not in self.column_names]
        if unknown:
            raise OptionError(
                "per", f"is an unknown column {unknown[0]!r}", f"columns are {', '.join(self.column_names)}"
            )
        groups = [f'"{name}"' for name in per]
        selected = self.query(f"""
            with videos as (select distinct {", ".join(["video_id", *groups])} from rows)
            select video_id from videos qualify row_number() over (
                {f"partition by {', '.join(groups)}" if per else ""}
                order by md5(video_id || '/{int(seed)}'), video_id
            ) <= {int(count)}""")
        with self._relation(selected=selected) as rows:
            chosen = rows.filter("video_id in (select video_id from selected)").project(_ROW_NUMBER)
            numbers = chosen.order(_ROW_NUMBER).to_arrow_table()[_ROW_NUMBER].to_numpy()
        return self._with(filters=self.filters, sample=numbers)

    def _check_unchanged(self) -> None:
        if _stamp_of(self.path) != self._stamp:
            raise ManifestError(self.path, "has changed since it was opened", "run again")

    def _in_file_order(self, rows: Any) -> Any:
        """Sort rows as in the file: DuckDB may reorder filtered rows.

        Two columns read one after the other must have the same order of rows.
        """
        return rows.order(_ROW_NUMBER) if self.filters or self._sample is not None else rows

    @contextmanager
    def _relation(self, **tables: pa.Table) -> Iterator[Any]:
        """Yield the rows as a DuckDB relation, together with named tables."""
        self._check_unchanged()
        connection = duckdb.connect()
        try:
            # A path may contain characters of a glob; and folders named a=b are not columns.
            rows = connection.read_parquet(
                glob.escape(str(self.path)), hive_partitioning=False, file_row_number=True
            )
            for name, table in tables.items():
                connection.register(name, table)
            for expression in self.filters:
                rows = rows.filter(expression)
            if self._sample is not None:
                connection.register("sample_of_rows", pa.table({"number": self._sample}))
                rows = rows.filter(f"{_ROW_NUMBER} in (select number from sample_of_rows)")
            yield rows
        finally:
            connection.close()


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def read_schema(path: Path) -> pa.Schema:
    """Read the schema of a Parquet file.

    Raises:
        ManifestError: The file is missing or damaged.
    """
    if not path.is_file():
        raise ManifestError(path, "does not exist", "pass a manifest.parquet or an index of videos")
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        cause = f"is not a readable Parquet file ({error})"
        raise ManifestError(path, cause, "write it again") from error


def count_groups(rows: Rows) -> list[str]:
    """Return the number of videos and rows of each dataset, method, split and class, one line each.

    Args:
        rows: Rows of a manifest or of an index.
    """
    counts = rows.query(
        "select dataset, method, split, label, count(distinct video_id) as num_videos, "
        "count(*) as num_rows from rows group by all order by all"
    )
    return [
        f"{row['dataset']} {row['method']} {row['split'] or 'no split'} "
        f"{'fake' if row['label'] else 'real'}: "
        f"{row['num_videos']:,} videos, {row['num_rows']:,} rows"
        for row in counts.to_pylist()
    ]


def filter_table(table: pa.Table, filters: Sequence[str]) -> pa.Table:
    """Return the rows of a table in memory that meet SQL conditions, as :meth:`Rows.where` does."""
    if not filters:
        return table
    connection = duckdb.connect()
    try:
        rows = connection.from_arrow(table)
        for expression in filters:
            rows = rows.filter(expression)
        return rows.to_arrow_table().cast(table.schema)
    finally:
        connection.close()


def _stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written again."""
    try:
        status = path.stat()
    except OSError as error:
        raise ManifestError(path, f"cannot be read ({error.strerror})", "check the path") from error
    return status.st_ino, status.st_size, status.st_mtime_ns
