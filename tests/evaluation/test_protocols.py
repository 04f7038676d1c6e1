"""Protocols as filters over a manifest, and the benchmark's answers."""

from __future__ import annotations

import shlex
from pathlib import Path

import pyarrow as pa
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, read_manifest, write_manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.protocols import find_protocol, list_protocols
from deepfake_detect.records import CropGeometry


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two methods and reals of one dataset at two compressions, and a second dataset."""
    cells = [
        ("FF", method, compression, split)
        for method in ("youtube", "Deepfakes", "Neural'Textures")
        for compression in ("c23", "c40")
        for split in ("train", "test")
    ]
    cells += [("DFDC", method, None, "test") for method in ("real", "DFDC")]
    empty = dict.fromkeys(MANIFEST_SCHEMA.names)
    rows = [
        {
            **empty,
            "dataset": dataset,
            "method": method,
            "compression": compression,
            "split": split,
            "video_id": f"{dataset}/{method}/{compression}/{split}",
            "label": int(method not in ("youtube", "real")),
            "path": "x",
        }
        for dataset, method, compression, split in cells
    ]
    table = pa.Table.from_pylist(rows, MANIFEST_SCHEMA)
    write_manifest(tmp_path / "manifest.parquet", table, geometry=CropGeometry())
    return read_manifest(tmp_path)


def videos(manifest: Manifest, condition: str) -> set[str]:
    return set(manifest.where(condition).column("video_id"))


def test_a_manifest_serves_what_it_has_both_sides_of(manifest: Manifest) -> None:
    assert [protocol.name for protocol in list_protocols(manifest)] == [
        "in-domain",
        "in-domain/c23",
        "in-domain/c40",
        "leave-out/DFDC",
        "leave-out/Deepfakes",
        "leave-out/Neural'Textures",
        "cross-dataset/DFDC",
        "cross-dataset/FF",
        "cross-compression/c23",
        "cross-compression/c40",
    ]
    plain = manifest.where("dataset = 'FF' and compression = 'c23' and method != 'Deepfakes'")
    assert [protocol.name for protocol in list_protocols(plain)] == ["in-domain"]


def test_what_is_left_out_or_crossed_is_never_trained_on(manifest: Manifest) -> None:
    for name in ("leave-out/Neural'Textures", "cross-dataset/FF", "cross-compression/c23"):
        protocol = find_protocol(manifest, name)
        train = manifest.where("split = 'train'").where(protocol.train)
        test = manifest.where("split = 'test'").where(protocol.test)
        assert train.num_rows
        fakes = [set(rows.where("label = 1").column("method")) for rows in (train, test)]
        column = {"leave-out": "method", "cross-dataset": "dataset"}.get(name.split("/")[0], "compression")
        shared = [set(rows.where("label = 1").column(column)) for rows in (train, test)]
        assert not shared[0] & shared[1]
        assert all(fakes)
        assert set(test.column("label")) == {0, 1}
    left_out = find_protocol(manifest, "leave-out/Deepfakes")
    assert "FF/Deepfakes/c23/test" in videos(manifest, left_out.test)
    assert "FF/Neural'Textures/c23/test" not in videos(manifest, left_out.test)


def test_an_unknown_protocol_lists_the_known(manifest: Manifest) -> None:
    with pytest.raises(
        OptionError, match="is 'leave-out/x'; must be one of in-domain, .* for .*manifest.parquet"
    ):
        find_protocol(manifest, "leave-out/x")


def test_protocols_are_listed_by_path(manifest: Manifest) -> None:
    assert list_protocols(str(manifest.path)) == list_protocols(manifest)


def test_the_command_lists_them(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", str(manifest.path)]) == 0
    shown = capsys.readouterr().out
    assert "leave-out/Deepfakes" in shown
    assert "evaluate  label = 0 or method = 'Deepfakes'" in shown
    (line,) = [line for line in shown.splitlines() if "Neural" in line and "--where" in line]
    (condition,) = shlex.split(line.split("--where ")[1])  # as a shell hands it on
    assert "FF/Neural'Textures/c23/train" not in videos(manifest, condition)
