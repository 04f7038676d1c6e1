"""Rows of a Parquet file, filtered and read column by column.

Only columns that are used are read, so a file of millions of rows is opened in milliseconds.
Conditions are SQL expressions: ``method == 'Deepfakes' and split == 'test'``, ``native_size >= 100``,
``split in ('train', 'val')``, ``source_id is not null``. Text is in single quotes. As in SQL, a
comparison with null is not true.

A condition may come from a stranger's recipe. It is one expression of columns, constants,
operators and a few functions, and DuckDB runs it on an Arrow table, with no access to files, network
or extensions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.plurals import counted

Self = TypeVar("Self", bound="Rows")
_ROW_NUMBER = "file_row_number"
_CHUNK_ROWS = 1_000_000
# Their values change from one query to the next, while rows must stay the same.
_VOLATILE = frozenset(
    ("current_timestamp", "gen_random_uuid", "get_current_timestamp", "nextval", "now", "random", "uuid")
    + (_ROW_NUMBER,)
)
# Parts of a condition: no subquery, no lambda, no star.
_ALLOWED_PARTS = frozenset(
    ("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT")
    + ("FUNCTION", "OPERATOR", "TYPE")
)
# Operators, and functions whose results are not much longer than their arguments.
_FUNCTION_NAMES = """
    + - * / // % ** ^ & | << >> || ~~ !~~ ~~* !~~* ~~~ ^@ ! @ abs array_contains ceil ceiling coalesce concat
    contains date_part date_trunc day ends_with floor greatest hash ilike_escape instr isfinite isinf isnan
    lcase least left len length like_escape list_contains list_value ln log lower ltrim md5 mod month
    not_ilike_escape not_like_escape nullif position pow prefix regexp_full_match regexp_matches right
    round row rtrim sign split_part sqrt starts_with strlen strpos substr substring suffix trim trunc
    ucase upper year
"""
_ALLOWED_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**33
_CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "memory_limit": f"{_MEMORY_BYTES // 2**21} MiB",  # half of it
    "temp_directory": "",
}


class Rows:
    """Some or all rows of a Parquet file, in the order of the file.

    Columns are read when they are used.

    Args:
        path: The file.
        filters: SQL conditions that the rows meet.
        numbers: Ascending row numbers of the file to keep, int64; ``None`` keeps all.

    Attributes:
        path: The file.
        filters: The conditions.
    """

    schema: pa.Schema = pa.schema([])
    """Columns of this kind of file, with the types they are read as; other columns keep their own."""
    later_columns: tuple[str, ...] = ()
    """Columns that older files lack: they are read as null."""

    def __init__(
        self, path: Path, *, filters: tuple[str, ...] = (), numbers: np.ndarray | None = None
    ) -> None:
        self.path = path
        self.filters = filters
        self._numbers = numbers
        self._stamp = _stamp_of(path)

    def _with(self: Self, filters: tuple[str, ...], numbers: np.ndarray) -> Self:
        """Return other rows of the same file; subclasses also pass on their own fields."""
        return type(self)(self.path, filters=filters, numbers=numbers)

    @property
    def root(self) -> Path:
        """Folder of the file, to which the ``path`` column may be relative."""
        return self.path.parent

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        if self._numbers is not None:
            return len(self._numbers)
        with self._reading() as file:
            return int(file.metadata.num_rows)

    @property
    def table(self) -> pa.Table:
        """All columns of the rows; reads the file at each access."""
        return self.columns(self.column_names)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        with self._reading() as file:
            names = file.schema_arrow.names
        return [*(name for name in names if name not in self.later_columns), *self.later_columns]

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as a pyarrow table."""
        return pa.concat_tables(self.chunks(names))

    def chunks(
        self, names: Sequence[str] | None = None, *, num_rows: int = _CHUNK_ROWS
    ) -> Iterator[pa.Table]:
        """Yield some or all columns in pieces, each of at most ``num_rows`` rows of the file.

        Raises:
            ManifestError: The file is damaged or has changed, or a column has values of another type.
        """
        wanted = self.column_names if names is None else list(names)
        with self._reading() as file:
            stored, start = file.schema_arrow, 0
            present = [name for name in wanted if name in stored.names] or stored.names[:1]
            for batch in file.iter_batches(num_rows, columns=present):
                table, end = pa.Table.from_batches([batch]), start + batch.num_rows
                if self._numbers is not None:
                    first, last = np.searchsorted(self._numbers, (start, end))
                    table = table.take(pa.array(self._numbers[first:last] - start))
                start = end
                yield self._typed(table, wanted)
            if start == 0:
                yield self._typed(stored.empty_table(), wanted)

    def column(self, name: str) -> np.ndarray:
        """Return one column as a numpy array (object dtype for text)."""
        values: np.ndarray = self.columns([name])[name].to_numpy(zero_copy_only=False)
        return values

    def query(self, sql: str) -> pa.Table:
        """Return the result of a SQL query over these rows, which are its table ``rows``.

        Raises:
            ManifestError: The query fails.

        Example:
            ``manifest.query("select method, count(*) as n from rows group by method")``
        """
        try:
            nodes = list(_nodes(_parsed(sql)))
            used = _used_columns(nodes, self.column_names)
            with _connection() as connection:
                rows = self.columns(used or self.column_names[:1])
                rows = rows.append_column(_ROW_NUMBER, pa.array(self._row_numbers()))
                found = connection.from_arrow(rows).query("rows", sql)
                assert found is not None  # a query, unlike a command, has a result
                return found.to_arrow_table()
        except duckdb.Error as error:
            raise ManifestError(
                self.path, f"cannot be read ({_first_line(error)})", "write it again"
            ) from error

    def where(self: Self, expression: str) -> Self:
        """Return the rows for which an expression is true.

        Args:
            expression: SQL condition over the columns.

        Raises:
            OptionError: The expression cannot be parsed, or uses a column that does not exist or
                something that is not allowed.
        """
        known = self.column_names
        used = _check_condition(expression, known)
        matching = [_matching(chunk, expression, known) for chunk in self.chunks(used)]
        numbers = self._row_numbers()[np.concatenate(matching)]
        return self._with((*self.filters, expression), numbers)

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
        known = self.column_names
        if unknown := [name for name in per if name not in known]:
            raise OptionError(
                "per", f"is an unknown column {unknown[0]!r}", f"columns are {', '.join(known)}"
            )
        groups = [_quoted(name) for name in per]
        selected = self.query(f"""
            with videos as (select distinct {", ".join(["video_id", *groups])} from rows)
            select video_id from videos qualify row_number() over (
                {f"partition by {', '.join(groups)}" if per else ""}
                order by md5(video_id || '/{int(seed)}'), video_id
            ) <= {int(count)}""")
        is_selected = pc.is_in(self.columns(["video_id"])["video_id"], selected["video_id"])
        return self._with(self.filters, self._row_numbers()[is_selected.to_numpy()])

    def _row_numbers(self) -> np.ndarray:
        return np.arange(self.num_rows) if self._numbers is None else self._numbers

    @contextmanager
    def _reading(self) -> Iterator[pq.ParquetFile]:
        """Open the file, which must be unchanged; whatever is damaged in it is one error."""
        if _stamp_of(self.path) != self._stamp:
            raise ManifestError(self.path, "has changed since it was opened", "run again")
        with parquet_errors(self.path), pq.ParquetFile(self.path) as file:
            yield file

    def _typed(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """Return columns as every file of this kind has them."""
        columns: dict[str, pa.ChunkedArray | pa.Array] = {}
        for name in names:
            known = self.schema.field(name).type if name in self.schema.names else None
            if name not in table.column_names:
                if name not in self.later_columns:
                    raise ManifestError(self.path, f"has no column {name!r}", "write it again")
                columns[name] = pa.nulls(len(table), known)
                continue
            kind = known or _plain_type(table.schema.field(name).type)
            try:
                columns[name] = table[name].cast(kind)
                columns[name].validate(full=True)
            except pa.ArrowInvalid as error:
                cause = f"its column {name} is not {kind} ({_first_line(error)})"
                raise ManifestError(self.path, cause, "write it again") from error
        return pa.table(columns)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return text as it is written here: other tools have categories, and text of 64-bit offsets."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(kind) else kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn whatever is raised for a damaged Parquet file into a ManifestError."""
    try:
        yield
    except ManifestError:
        raise
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        cause = f"is not a readable Parquet file ({_first_line(error)})"
        raise ManifestError(path, cause, "write it again") from error


def read_schema(path: Path) -> pa.Schema:
    """Read the schema of a Parquet file.

    Raises:
        ManifestError: The file is missing or damaged, or two columns have one name.
    """
    if not path.is_file():
        raise ManifestError(path, "does not exist", "pass a manifest.parquet or an index of videos")
    with parquet_errors(path):
        schema = pq.read_schema(path)
    if repeated := [name for name in schema.names if schema.names.count(name) > 1]:
        raise ManifestError(path, f"has several columns named {repeated[0]!r}", "write it again")
    return schema


def check_labels(rows: Rows) -> None:
    """Raise for a label that is neither 0 nor 1.

    Raises:
        ManifestError: A label is; the message has its row, counted from 0.
    """
    start = 0
    for labels in (batch["label"] for batch in Rows(rows.path).chunks(["label"])):
        is_number = pa.types.is_integer(labels.type) or pa.types.is_floating(labels.type)
        is_number = is_number or pa.types.is_boolean(labels.type)
        is_known = pc.is_in(labels.cast(pa.float64()), pa.array([0.0, 1.0])) if is_number else None
        if is_known is None or pc.min(is_known).as_py() is False:
            row = 0 if is_known is None else pc.index(is_known, False).as_py()
            value = labels[row].as_py() if len(labels) else None
            is_absent = value is None or value != value
            cause = "no label" if is_absent else f"the label {value!r}"
            raise ManifestError(
                rows.path, f"row {start + row} (from 0) has {cause}", "write 1 for fake, 0 for real"
            )
        start += len(labels)


def count_groups(rows: Rows) -> list[str]:
    """Return the number of videos and rows of each dataset, method, split and class, one line each.

    Args:
        rows: Rows of a manifest or of an index.
    """
    counts = rows.query(
        "select dataset, method, split, label, count(distinct video_id) as num_videos, "
        "count(*) as num_rows from rows group by all order by 1, 2, 3, 4"
    )
    return [
        f"{row['dataset']} {row['method']} {row['split'] or 'no split'} "
        f"{'fake' if row['label'] else 'real'}: "
        f"{counted(row['num_videos'], 'video')}, {counted(row['num_rows'], 'row')}"
        for row in counts.to_pylist()
    ]


def filter_table(table: pa.Table, filters: Sequence[str]) -> pa.Table:
    """Return the rows of a table in memory that meet SQL conditions, as :meth:`Rows.where` does."""
    for expression in filters:
        known = table.column_names
        used = _check_condition(expression, known)
        table = table.filter(pa.array(_matching(table.select(used), expression, known)))
    return table


def _check_condition(expression: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that a condition uses; raise unless it is one harmless expression of them."""
    try:
        nodes = list(_nodes(_single_expression(expression)))
    except (duckdb.Error, RecursionError) as error:
        raise _bad_condition(expression, _first_line(error), columns) from error
    known = {name.lower() for name in columns}
    for node in nodes:
        part, function = node.get("class", "TYPE"), node.get("function_name", "").lower()
        names = [name.lower() for name in node.get("column_names", ())]
        is_unknown = bool(names) and known.isdisjoint(names)
        if function in _VOLATILE or (is_unknown and not _VOLATILE.isdisjoint(names)):
            raise OptionError(
                "where",
                f"{expression!r} does not always select the same rows",
                "use columns of the file only; for a random selection pass `sample`",
            )
        if part not in _ALLOWED_PARTS:
            raise _bad_condition(expression, f"a {part.lower()} is not allowed", columns)
        if function and function not in _ALLOWED_FUNCTIONS:
            raise _bad_condition(expression, f"the function {function} is not allowed", columns)
        if is_unknown:
            raise _bad_condition(expression, f"there is no column {'.'.join(names)!r}", columns)
    return _used_columns(nodes, columns) or list(columns[:1])


def _single_expression(text: str) -> Any:  # noqa: ANN401 - a tree of JSON values
    """Return the syntax tree of an expression.

    Raises:
        duckdb.Error: It cannot be parsed, or is more than one expression.
    """
    first, *others = (_parsed(f"select {one}")["statements"] for one in (text, "1"))
    plain = others[0][0]["node"]
    if len(first) != 1 or len(first[0]["node"].get("select_list", ())) != 1:
        raise duckdb.ParserException("it must be one expression")
    if {**first[0]["node"], "select_list": plain["select_list"]} != plain:  # such as: a from b
        raise duckdb.ParserException("it must be one expression")
    return first[0]["node"]["select_list"]


def _parsed(sql: str) -> Any:  # noqa: ANN401 - a tree of JSON values
    """Return the syntax tree of a query, which is not run."""
    with _connection() as connection:
        found = connection.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0]
    tree = json.loads(found)
    if tree["error"]:
        raise duckdb.ParserException(tree["error_message"])
    return tree


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield all mappings in a tree of JSON values."""
    rest = [tree]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            yield one
            rest += one.values()
        elif isinstance(one, list):
            rest += one


def _used_columns(nodes: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return the columns that a syntax tree names, in any case, or all of them for ``*``."""
    if any(node.get("class") == "STAR" for node in nodes):
        return list(columns)
    used = {name.lower() for node in nodes for name in node.get("column_names", ())}
    return [name for name in columns if name.lower() in used]


def _matching(table: pa.Table, expression: str, columns: Sequence[str]) -> np.ndarray:
    """Return for which rows of a table a checked condition is true, bool (N,)."""
    try:
        with _connection() as connection:
            # On lines of its own: a condition may end in a comment.
            kept = connection.from_arrow(table).project(
                f"coalesce(cast((\n{expression}\n) as boolean), false) as kept"
            )
            is_kept: np.ndarray = kept.to_arrow_table()["kept"].to_numpy()
            return is_kept
    except duckdb.Error as error:
        raise _bad_condition(expression, _first_line(error), columns) from error


def _bad_condition(expression: str, reason: str, columns: Sequence[str]) -> OptionError:
    return OptionError(
        "where",
        f"{expression!r} cannot be read ({reason})",
        f"an example is \"method == 'Deepfakes' and split == 'test'\"; columns are {', '.join(columns)}",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_databases: dict[int, duckdb.DuckDBPyConnection] = {}


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect to this process's database, which lives in memory and reaches nothing outside of it.

    A database takes 40 ms to open, a connection some microseconds. A forked process needs its own, since
    the threads of the database are not forked.
    """
    database = _databases.get(os.getpid())
    if database is None:
        database = _databases.setdefault(os.getpid(), duckdb.connect(config=_CONFIGURATION))
    connection = database.cursor()
    try:
        yield connection
    finally:
        connection.close()


def _stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written again."""
    try:
        status = path.stat()
    except OSError as error:
        raise ManifestError(path, f"cannot be read ({error.strerror})", "check the path") from error
    return status.st_ino, status.st_size, status.st_mtime_ns
