"""Filters, samples and queries over Parquet rows, against plain Python over the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
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


@pytest.mark.parametrize("expression", ["random() < 0.5", "file_row_number < 4"])
def test_conditions_that_may_change_their_mind_are_rejected(manifest: Manifest, expression: str) -> None:
    with pytest.raises(OptionError, match="does not always select the same rows; use columns"):
        manifest.where(expression)


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
