"""extract_faces in Python is the command: the same files, the same figures."""

from __future__ import annotations

from pathlib import Path

import pytest

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.data.datasets import DatasetReport
from deepfake_detect.data.options import ReadingOptions
from deepfake_detect.errors import OptionError
from tests.extraction.helpers import contents


def test_python_and_the_command_leave_the_same(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[DatasetReport] = []
    config = dfd.ExtractionConfig(num_frames=2)
    report = dfd.extract_faces(
        tree, tmp_path / "a", config, num_workers=1, device="cpu", on_dataset=found.append
    )
    arguments = [str(tree), "--frames", "2", "--workers", "1", "--device", "cpu"]
    assert main(["extract-faces", *arguments, "--out", str(tmp_path / "b")]) == 2
    here, there = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert here == there
    assert {"manifest.parquet", "failures.csv", "missing.csv", "settings.json"} <= here.keys()
    out, error = capsys.readouterr()
    lines = "\n".join([*found[0].lines(), *report.lines()]) + "\n"
    assert out == lines.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert error == "\n".join(report.failure_lines()) + "\n"


def test_an_index_is_extracted_as_its_folder(tree: Path, tmp_path: Path) -> None:
    config = dfd.ExtractionConfig(num_frames=1)
    reading = ReadingOptions(methods=("FaceSwap",))
    index = tmp_path / "videos.parquet"
    dfd.index_dataset(tree, out=index, compression=("c23",))
    options = {"num_workers": 1, "device": "cpu"}
    dfd.extract_faces(tree, tmp_path / "a", config, reading=reading, **options)
    dfd.extract_faces(index, tmp_path / "b", config, where="method in ('FaceSwap', 'original')", **options)
    here, there = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {name for name in here if name.endswith(".png")} == {n for n in there if n.endswith(".png")}
    with pytest.raises(OptionError, match="methods: is for a dataset's folder, not for an index; omit it"):
        dfd.extract_faces(index, tmp_path / "c", config, reading=reading)
    with pytest.raises(OptionError, match="where: is for an index of videos; write one first with"):
        dfd.extract_faces(tree, tmp_path / "c", config, where="true")
