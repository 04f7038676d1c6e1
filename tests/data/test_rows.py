"""Filters, samples and queries over Parquet rows, against plain Python over the same rows."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry

METHODS = ("original", "Deepfakes", "Face2Face")
SPLITS = ("train", "val", "test", None)


def plain_rows(num_videos: int = 60) -> list[dict[str, Any]]:
    rows = []
    for number in range(num_videos):
        method = METHODS[number % 3]
        for frame in range(4):
            rows.append(
                {
                    "dataset": "made",
                    "video_id": f"made/{method}/{number}",
                    "method": method,
                    "label": int(method != "original"),
                    "split": SPLITS[number % 4],
                    "frame_index": frame,
                    "track_id": 0,
                    "path": f"crops/{number}_{frame}.png",
                    "native_size": 80 + number,
                }
            )
    return rows


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    folder = tmp_path / "odd [name]*" / "a=b"  # neither a glob nor a partition
    write_manifest(folder / "manifest.parquet", rows_to_table(plain_rows()), geometry=CropGeometry())
    return read_manifest(folder)


@pytest.mark.parametrize(
    ("expression", "twin"),
    [
        (
            "method == 'Deepfakes' and split == 'test'",
            lambda r: r["method"] == "Deepfakes" and r["split"] == "test",
        ),
        ("native_size >= 100 or label = 0", lambda r: r["native_size"] >= 100 or r["label"] == 0),
        ("split in ('train', 'val')", lambda r: r["split"] in ("train", "val")),
        ("split is null", lambda r: r["split"] is None),
        ("split != 'test'", lambda r: r["split"] not in (None, "test")),  # as SQL compares with nothing
        ("not (method like '%Face%')", lambda r: "Face" not in r["method"]),
        ("native_size > 1000", lambda r: False),
    ],
)
def test_where(manifest: Manifest, expression: str, twin: Any) -> None:
    chosen = manifest.where(expression)
    expected = [row["path"] for row in plain_rows() if twin(row)]
    assert chosen.num_rows == len(expected)
    assert chosen.column("path").tolist() == expected
    assert [row["path"] for row in chosen.table.to_pylist()] == expected


def test_filters_add_up(manifest: Manifest) -> None:
    chosen = manifest.where("label = 1 or split = 'test'").where("native_size < 90").split("test")
    expected = [
        r["path"]
        for r in plain_rows()
        if (r["label"] or r["split"] == "test") and r["native_size"] < 90 and r["split"] == "test"
    ]
    assert chosen.column("path").tolist() == expected
    assert chosen.geometry == manifest.geometry


@pytest.mark.parametrize(
    "expression",
    [
        "methd == 'x'",
        'method == "Deepfakes"',
        "method ==",
        "",
        "1=1; drop table rows",
        "method",
        "path in (select column0 from read_csv('/absent.csv'))",
    ],
)
def test_what_is_no_condition_is_rejected(manifest: Manifest, expression: str) -> None:
    with pytest.raises(OptionError, match=r"where: .* cannot be read .*columns are dataset, video_id"):
        manifest.where(expression)


@pytest.mark.parametrize(
    "expression", ["random() < 0.5", "file_row_number < 4", "now() > '2020-01-01'", "uuid() > 'a'"]
)
def test_conditions_that_may_change_their_mind_are_rejected(manifest: Manifest, expression: str) -> None:
    with pytest.raises(OptionError, match="does not always select the same rows; use columns"):
        manifest.where(expression)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(select content[1:4] from read_text('/etc/passwd')) = 'root'", "a subquery is not allowed"),
        ("(select count(*) from read_csv('http://127.0.0.1:9/a.csv')) > 0", "a subquery is not allowed"),
        ("label in (select label from rows)", "a subquery is not allowed"),
        ("len(range(300000000)) > 1", "the function range is not allowed"),
        ("length(repeat(path, 1000000000)) > 1", "the function repeat is not allowed"),
        ("length(replace(path, 'a', path)) > 1", "the function replace is not allowed"),
        ("list_transform([1], x -> x)[1] = 1", "(a lambda|the function list_transform) is not allowed"),
        ("getenv('HOME') = ''", "the function getenv is not allowed"),
        ("current_setting('memory_limit') = ''", "the function current_setting is not allowed"),
        ("row_number() over () < 5", "a window is not allowed"),
        ("columns(*) is null", "a star is not allowed"),
        ("label from read_text('/etc/passwd')", "it must be one expression"),
        ("true order by (select 1)", "it must be one expression"),
        ("true, false", "it must be one expression"),
        ("true) as kept, (false", "syntax error"),
        ("true; copy rows to '/tmp/copied.csv'", "json_serialize_sql|it must be one expression|SELECT"),
        ("label = ?", "a parameter is not allowed"),
        ("(" * 5000 + "label" + ")" * 5000, "."),
    ],
)
def test_a_condition_reaches_nothing_but_columns(manifest: Manifest, expression: str, reason: str) -> None:
    with pytest.raises(OptionError, match=rf"where: .* cannot be read \(.*({reason})"):
        manifest.where(expression)


def test_the_database_itself_reaches_nothing(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    for sql in (
        f"select * from read_csv('{tmp_path}/a.csv')",
        f"select * from '{tmp_path}/a.csv'",
        "select * from read_csv('http://127.0.0.1:9/a.csv')",
        "select * from manifest",  # a Python variable of that name
    ):
        with pytest.raises(ManifestError, match="cannot be read"):
            manifest.query(sql)


@pytest.mark.parametrize(
    "expression",
    [
        "lower(method) like 'deep%' -- the first",
        "METHOD = 'Deepfakes'",
        "method ilike 'DEEPFAKES' and label is not null and native_size between 0 and 1000",
        "method = 'Deepfakes' and method != 'random' and path != 'file_row_number'",
        "case when method = 'Deepfakes' then 1 else 0 end",
        "regexp_matches(method, '^D.*s$') and not (cast(label as varchar) = '0')",
        "coalesce(split, 'none') <> '' and method in ('Deepfakes', 'none')",
        "contains(path, 'crops/') and length(method) = 9 and method[1] = 'D'",
    ],
)
def test_what_conditions_may_hold(manifest: Manifest, expression: str) -> None:
    assert set(manifest.where(expression).column("method")) == {"Deepfakes"}


def test_column_names_are_data(manifest: Manifest, tmp_path: Path) -> None:
    names = ['label" as "zz', '(select 1) as "leak', "a, b", "rows; drop", "Ünï", "a.b", "a"]
    table = manifest.table
    for number, name in enumerate(names):
        table = table.append_column(name, pa.array([str(number)] * len(table)))
    path = tmp_path / "odd.parquet"
    pq.write_table(table, path)
    odd = Rows(path)
    assert odd.columns(names).to_pylist()[0] == {name: str(number) for number, name in enumerate(names)}
    assert odd.sample_videos(1, per=names).num_rows == 4
    assert odd.where('"label"" as ""zz" = \'0\'').num_rows == len(table)
    pq.write_table(pa.Table.from_arrays([table["label"]] * 2, names=["label", "label"]), path)
    with pytest.raises(ManifestError, match="has several columns named 'label'; write it again"):
        read_manifest(path)


def test_a_sample_is_of_whole_videos_and_follows_its_seed(manifest: Manifest) -> None:
    def videos(count: int, seed: int) -> set[str]:
        chosen = manifest.sample_videos(count, seed=seed)
        assert chosen.num_rows == 4 * count
        return set(chosen.column("video_id"))

    assert videos(10, 1) == videos(10, 1)
    assert videos(10, 1) != videos(10, 2)
    assert videos(5, 1) < videos(10, 1)
    everything = manifest.sample_videos(1000)
    assert everything.column("path").tolist() == manifest.column("path").tolist()


def test_a_sample_per_group(manifest: Manifest) -> None:
    chosen = manifest.sample_videos(3, per=["method", "split"])
    counts = chosen.query(
        "select method, split, count(distinct video_id) as n from rows group by all"
    ).to_pylist()
    assert len(counts) == 12
    assert {row["n"] for row in counts} == {3}
    filtered = manifest.where("split = 'test'").sample_videos(2, per=["method"])
    assert filtered.num_rows == 24
    assert set(filtered.column("split")) == {"test"}
    assert filtered.where("label = 0").num_rows == 8


def test_bad_samples_are_rejected(manifest: Manifest) -> None:
    with pytest.raises(OptionError, match="sample: is 0"):
        manifest.sample_videos(0)
    with pytest.raises(OptionError, match="per: is an unknown column 'color'; columns are dataset, video_id"):
        manifest.sample_videos(1, per=["color"])


def test_chunks_are_the_rows_in_order(manifest: Manifest) -> None:
    chosen = manifest.where("label = 1")
    pieces = list(chosen.chunks(num_rows=7))
    assert len(pieces) == -(-manifest.num_rows // 7)
    assert [path for piece in pieces for path in piece["path"].to_pylist()] == chosen.column("path").tolist()


def test_a_file_that_changed_is_rejected(manifest: Manifest) -> None:
    write_manifest(manifest.path, manifest.table.slice(1), geometry=manifest.geometry)
    with pytest.raises(ManifestError, match="has changed since it was opened; run again"):
        manifest.column("path")
    manifest.path.unlink()
    with pytest.raises(ManifestError, match="cannot be read"):
        manifest.column("path")


def test_types_survive(manifest: Manifest) -> None:
    assert manifest.column("label").dtype == np.int8
    assert manifest.column("native_size").dtype == np.int32
    assert manifest.column("split").tolist()[12] is None


def test_rows_of_other_tools_have_the_same_types(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest.table
    table = table.set_column(3, "label", table["label"].cast(pa.float64()))
    table = table.set_column(2, "method", table["method"].dictionary_encode())
    table = table.set_column(4, "split", table["split"].cast(pa.large_string()))
    table = table.replace_schema_metadata(pq.read_schema(manifest.path).metadata)
    pq.write_table(table, tmp_path / "other.parquet", row_group_size=7)
    other = read_manifest(tmp_path / "other.parquet")
    assert other.table.schema.types == manifest.table.schema.types
    assert other.table.to_pylist() == manifest.table.to_pylist()
    pq.write_table(table.set_column(8, "frame_index", table["path"]), tmp_path / "other.parquet")
    with pytest.raises(ManifestError, match="its column frame_index is not int32 .*crops/"):
        read_manifest(tmp_path / "other.parquet").column("frame_index")
    with pytest.raises(ManifestError, match="has no column 'color'; write it again"):
        manifest.column("color")


def test_queries_and_conditions_in_threads_and_forks(manifest: Manifest) -> None:
    def count(number: int) -> int:
        return manifest.where(f"native_size >= {80 + number}").num_rows

    expected = [4 * (60 - number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, range(20))) == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if [count(number) for number in range(20)] == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_order_of_many_rows_is_kept(tmp_path: Path) -> None:
    numbers = np.arange(700_000)
    pq.write_table(pa.table({"number": numbers, "label": numbers % 2}), tmp_path / "many.parquet")
    kept = Rows(tmp_path / "many.parquet").where("number % 3 = 0")
    assert (kept.column("number") == numbers[::3]).all()
    query = "select count(*) as n, max(number) as last from rows"
    assert kept.query(query).to_pylist() == [{"n": len(numbers[::3]), "last": numbers[::3][-1]}]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damaged") / "manifest.parquet"
    write_manifest(path, rows_to_table(plain_rows(20)), geometry=CropGeometry())
    return path


@pytest.mark.parametrize("start", range(0, 2400, 97))
def test_a_damaged_file_is_a_manifest_error(damaged: Path, tmp_path: Path, start: int) -> None:
    data = bytearray(damaged.read_bytes())
    for position in range(start, min(start + 64, len(data))):
        data[position] = 0
    path = tmp_path / "manifest.parquet"
    for mutant in (data, damaged.read_bytes()[: len(data) - start], bytes(64) + damaged.read_bytes()[64:]):
        path.write_bytes(mutant)
        with suppress(ManifestError):  # a mutant may also be readable
            rows = read_manifest(path)
            rows.table.to_pylist()
            rows.where("label = 1 and native_size > 3").query("select distinct video_id, split from rows")


def test_zeroed_pages_are_found(damaged: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(bytes(64) + damaged.read_bytes()[64:])
    with pytest.raises(
        ManifestError, match="manifest.parquet: is not a readable Parquet file .*; write it again"
    ):
        read_manifest(path).column("dataset")
