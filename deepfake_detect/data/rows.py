"""Rows of a Parquet file, filtered and read column by column, never all at once unless asked.

DuckDB does the reading, so a file of millions of rows is opened in milliseconds and a filter costs
the columns it names. Expressions are SQL's: ``method == 'Deepfakes' and split == 'test'``,
``native_size >= 100``, ``split in ('train', 'val')``, ``source_id is not null``. Text stands in
single quotes. As in SQL a comparison with an absent value is not true.
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
# Functions whose answer changes from one question to the next, while rows must stay the same.
_VOLATILE = re.compile(r"\b(random|uuid|gen_random_uuid|nextval|now|current_timestamp)\b", re.IGNORECASE)


class Rows:
    """Some or all rows of a Parquet file, in the order of the file.

    Nothing is read before it is asked for, and then only the columns asked for.

    Args:
        path: The file.
        filters: SQL conditions that the rows fulfil, all of them.
        sample: Row numbers of the file that are kept besides, rising; ``None`` keeps all.

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
        """Return the same file with other filters; subclasses carry their own fields along."""
        return type(self)(self.path, filters=filters, sample=sample)

    @property
    def root(self) -> Path:
        """Folder of the file, which the ``path`` column may be relative to."""
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
        """All columns of the rows, read anew at each access."""
        return self.columns(self.column_names)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        self._refuse_changed()
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
        """Return the answer to a SQL query over these rows, which it calls ``rows``.

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
            OptionError: The expression cannot be read, or names a column that is not there.
        """
        chosen = self._with(filters=(*self.filters, expression), sample=self._sample)
        if _ROW_NUMBER in expression or _VOLATILE.search(expression):
            raise OptionError(
                "where",
                f"{expression!r} need not give the same rows twice",
                "for a random choice there is --sample; name columns of the file only",
            )
        try:
            _ = chosen.num_rows
        except duckdb.Error as error:
            first_line = str(error).splitlines()[0]
            raise OptionError(
                "where",
                f"{expression!r} cannot be read ({first_line})",
                "write such as \"method == 'Deepfakes' and split == 'test'\"; "
                f"the columns are {', '.join(self.column_names)}",
            ) from error
        return chosen

    def sample_videos(self: Self, count: int, *, per: Sequence[str] = (), seed: int = 0) -> Self:
        """Return every row of videos drawn by lot, the same ones for the same seed.

        A video's lot depends on its id and the seed alone, so it does not change when rows are
        added, and the first 100 of 200 are the 100.

        Args:
            count: Videos, in all or of each group; a smaller group is taken whole.
            per: Columns whose values form the groups, such as ``["method"]``.
            seed: Of the lots.

        Raises:
            OptionError: ``count`` is below 1, or a column is not there.
        """
        if count < 1:
            raise OptionError("sample", f"is {count}", "pass 1 or more")
        unknown = [name for name in per if name not in self.column_names]
        if unknown:
            raise OptionError(
                "per", f"there is no column {unknown[0]!r}", f"choose of {', '.join(self.column_names)}"
            )
        groups = [f'"{name}"' for name in per]
        lots = self.query(f"""
            with videos as (select distinct {", ".join(["video_id", *groups])} from rows)
            select video_id from videos qualify row_number() over (
                {f"partition by {', '.join(groups)}" if per else ""}
                order by md5(video_id || '/{int(seed)}'), video_id
            ) <= {int(count)}""")
        with self._relation(drawn=lots) as rows:
            chosen = rows.filter("video_id in (select video_id from drawn)").project(_ROW_NUMBER)
            numbers = chosen.order(_ROW_NUMBER).to_arrow_table()[_ROW_NUMBER].to_numpy()
        return self._with(filters=self.filters, sample=numbers)

    def _refuse_changed(self) -> None:
        if _stamp_of(self.path) != self._stamp:
            raise ManifestError(self.path, "has changed since it was opened", "run again")

    def _in_file_order(self, rows: Any) -> Any:
        """Sort rows as they stand in the file: DuckDB may shuffle what it filters.

        Two columns read one after the other must never disagree about which row is which.
        """
        return rows.order(_ROW_NUMBER) if self.filters or self._sample is not None else rows

    @contextmanager
    def _relation(self, **tables: pa.Table) -> Iterator[Any]:
        """Give the rows as a DuckDB relation for the time of one question, beside named tables."""
        self._refuse_changed()
        connection = duckdb.connect()
        try:
            # A path may hold the characters of a glob; and folders named a=b are no columns.
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


def filter_table(table: pa.Table, filters: Sequence[str]) -> pa.Table:
    """Return the rows of a table in memory that fulfil SQL conditions, as :meth:`Rows.where` would."""
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
    """Tell one content of a file from the next."""
    try:
        status = path.stat()
    except OSError as error:
        raise ManifestError(path, f"cannot be read ({error.strerror})", "check the path") from error
    return status.st_ino, status.st_size, status.st_mtime_ns
