"""Lists of videos without crops: what people open, and what was damaged since."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.data.failures import failures_path, read_failures, write_failures
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import ManifestError
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(crop_manifest(tmp_path / "m", textured_crops(1, "train")))


def failure(**values: object) -> dict[str, object]:
    plain = {"dataset": "=d", "video_id": "=d/-m/@b", "method": "-m", "label": 1, "split": "train"}
    return {**plain, "path": "+p.mp4", "reason": "unreadable", "message": "=cmd|' /C calc'!A0", **values}


def test_no_cell_is_run_by_a_spreadsheet_and_all_are_read_back(manifest: Manifest) -> None:
    path = failures_path(manifest.path)
    write_failures(path, [failure()])
    (row,) = path.read_text("utf-8").splitlines()[1:]
    assert row.startswith("'=d,'=d/-m/@b,'-m,1,train,'+p.mp4,unreadable,'=cmd|' /C calc'!A0")
    (read,) = read_failures(manifest)
    assert {name: read[name] for name in failure()} == failure()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_that_a_spreadsheet_saved_is_read(manifest: Manifest, encoding: str) -> None:
    path = failures_path(manifest.path)
    write_failures(path, [failure(message="ä")])
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert [one["message"] for one in read_failures(manifest)] == ["ä"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "cannot be read"),
        (b"video_id\n", "lacks the columns dataset, method"),
        (b"", "lacks the columns dataset, video_id"),
        (b"dataset,video_id,method,label,split,path,reason,message\na,b\n", "rows that do not have 8 cells"),
        (
            b"dataset,video_id,method,label,split,path,reason,message\na,b,c,fake,,,,\n",
            "its label is damaged",
        ),
        (
            b"dataset,video_id,method,label,split,path,reason,message\n" + b'"' + b"a" * 200_000,
            "cannot be read",
        ),
    ],
)
def test_a_damaged_list_is_one_line(manifest: Manifest, content: bytes, message: str) -> None:
    failures_path(manifest.path).write_bytes(content)
    with pytest.raises(ManifestError, match=f"failures.csv: .*{message}.*; extract again"):
        read_failures(manifest)
