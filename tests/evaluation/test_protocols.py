"""Protocols as filters over a manifest, and the benchmark's answers."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, read_manifest, write_manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.protocols import find_protocol, protocols_of
from deepfake_detect.evaluation.submission import write_submission
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
    assert [protocol.name for protocol in protocols_of(manifest)] == [
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
    assert [protocol.name for protocol in protocols_of(plain)] == ["in-domain"]


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


def test_an_unknown_protocol_is_answered_with_the_known(manifest: Manifest) -> None:
    with pytest.raises(OptionError, match="protocol: 'leave-out/x' is none that .*choose of: in-domain, "):
        find_protocol(manifest, "leave-out/x")


def test_the_command_lists_them(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", str(manifest.path)]) == 0
    shown = capsys.readouterr().out
    assert "leave-out/Deepfakes" in shown
    assert "measured  label = 0 or method = 'Deepfakes'" in shown
    (line,) = [line for line in shown.splitlines() if "Neural" in line and "--where" in line]
    (condition,) = shlex.split(line.split("--where ")[1])  # as a shell hands it on
    assert "FF/Neural'Textures/c23/train" not in videos(manifest, condition)


def test_answers_are_one_json_in_a_zip(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number:04d}.png"), np.full((120, 160, 3), 40 * number, np.uint8))
    out = tmp_path / "answers.zip"
    command = ["submission", "--detector", str(small_detector), "--device", "cpu", "--out"]
    with pytest.warns(UserWarning, match="holds 3 pictures, the benchmark has 1,000"):
        assert main([*command, str(out), "--images", str(images)]) == 0
    with zipfile.ZipFile(out) as archive:
        (name,) = archive.namelist()
        assert json.loads(archive.read(name)) == {f"{number:04d}.png": "real" for number in range(3)}
    assert "3 pictures, 0 called fake, 3 without a face and so called real" in capsys.readouterr().out
    assert main([*command, str(out), "--images", str(tmp_path)]) == 2
    assert "holds no PNG file" in capsys.readouterr().err


def test_refuses_answers_that_the_server_would() -> None:
    with pytest.raises(OptionError, match="out: a.json does not end in .zip"):
        write_submission("a.json", {"0000.png": True})
    with pytest.raises(OptionError, match="answers: there is none"):
        write_submission("a.zip", {})


def test_a_picture_that_cannot_be_read_is_answered_and_told(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "0000.png"), np.full((120, 160, 3), 40, np.uint8))
    (images / "0001.png").write_bytes(b"no picture")
    out = tmp_path / "answers.zip"
    command = ["submission", "--detector", str(small_detector), "--device", "cpu", "--out", str(out)]
    with pytest.warns(UserWarning, match="(cannot be read|the benchmark has)") as told:
        assert main([*command, "--images", str(images)]) == 0
    assert [str(one.message).removeprefix(f"{images}: ") for one in told] == [
        "holds 2 pictures, the benchmark has 1,000",
        "1 pictures cannot be read and are called real: 0001.png",
    ]
    with zipfile.ZipFile(out) as archive:
        assert json.loads(archive.read("submission.json")) == {"0000.png": "real", "0001.png": "real"}
    assert "2 pictures, 0 called fake, 1 without a face" in capsys.readouterr().out
