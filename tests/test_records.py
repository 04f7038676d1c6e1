from __future__ import annotations

import json
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.records import (
    ClipResult,
    DetectorInfo,
    FaceScore,
    FileFacts,
    FrameScore,
    QualityWarning,
    TrackScore,
    result_schema,
)
from tests.documents import check_document

INFO = DetectorInfo("small", "1", 0.4, 0.6, "most_suspicious_track", "ab" * 32)
FILE = FileFacts("01" * 32, 8, "2026-01-01T00:00:00.000000+00:00")


@pytest.fixture
def result() -> ClipResult:
    face = FaceScore(np.float32([1.25, 2.5, 30.0, 40.75]), 0, 0.99, 0.7, 0.3)
    frames = (FrameScore(0, 0.0, (face,)), FrameScore(5, 0.2, ()))
    track = TrackScore(0, 1, 0.7, True, "fake", (0.6, 0.8))
    warnings = (QualityWarning("few_frames", "the face is visible in only 1 of the sampled frames"),)
    more = (INFO, (0.6, 0.8), warnings, "onnx", FILE, (320, 240))
    return ClipResult("a.mp4", "fake", 0.7, 1, frames, (track,), *more)


def test_a_result_survives_json_and_pickling(result: ClipResult) -> None:
    again = ClipResult.from_dict(json.loads(result.to_json()))
    assert again.to_dict() == result.to_dict()
    assert again.frames[0].faces[0].box_xyxy.dtype == np.float32
    assert again.tracks == result.tracks
    assert again.warnings == result.warnings
    assert (again.runtime, again.detector, again.frame_size) == ("onnx", INFO, (320, 240))
    assert again.file == FileFacts(FILE.sha256, 8)
    assert again.library_version == result.library_version
    assert pickle.loads(pickle.dumps(result)).to_dict() == result.to_dict()


def test_a_result_is_read_from_json_of_a_command(result: ClipResult) -> None:
    assert ClipResult.from_dict({**result.to_dict(), "provenance": None}).to_dict() == result.to_dict()


def test_a_result_is_read_from_json_of_before_there_was_a_schema_version(result: ClipResult) -> None:
    older = {**result.to_dict(), "provenance": None}
    for name in ("schema_version", "library_version", "file", "frame_size", "decision_rule", "runtime"):
        del older[name]
    older["detector"] = {**older["detector"], "threshold": 0.5}
    del older["detector"]["sha256"]
    read = ClipResult.from_dict(older)
    assert (read.runtime, read.file, read.frame_size, read.library_version) == ("", None, None, "")
    assert (read.verdict, read.detector.sha256, read.detector.uncertain_high) == ("fake", None, 0.6)


def test_a_result_of_a_later_version_says_so(result: ClipResult) -> None:
    with pytest.raises(OptionError, match="values: has schema version 2; update deepfake_detect to read it"):
        ClipResult.from_dict({**result.to_dict(), "schema_version": 2})


def test_the_document_follows_its_schema(result: ClipResult) -> None:
    document = result.to_dict()
    check_document(document)
    assert document["decision_rule"] == {"uncertain_low": 0.4, "uncertain_high": 0.6}
    assert document["file"] == {"sha256": "01" * 32, "size_bytes": 8}
    assert document["frame_size"] == {"width": 320, "height": 240}
    assert document["detector"]["sha256"] == "ab" * 32
    assert set(result_schema()["required"]) == set(document)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.5},
        {"verdict": "forged"},
        {"fake_probability": 1.5},
        {"schema_version": 0},
        {"file": {}},
    ],
)
def test_the_schema_rejects_another_document(change: dict[str, Any], result: ClipResult) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_document({**result.to_dict(), **change})


@pytest.mark.parametrize("change", [{"frames": [{}]}, {"detector": {"name": "x"}}, {"limits": None}])
def test_values_of_another_kind_are_rejected(change: dict[str, Any], result: ClipResult) -> None:
    with pytest.raises(OptionError, match="values: is not a clip's result .*; pass what to_dict"):
        ClipResult.from_dict({**result.to_dict(), **change})


def test_a_result_has_a_short_repr(result: ClipResult) -> None:
    assert repr(result) == ("ClipResult('a.mp4': fake, fake probability 0.700, 1 person in 1 of 2 frames)")


def test_a_result_becomes_a_table_of_faces(result: ClipResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="to_pandas: needs pandas, which is not installed; pip install"):
        result.to_pandas()
    tables: list[Any] = []
    fake = SimpleNamespace(DataFrame=lambda rows, columns: tables.append((rows, columns)))
    monkeypatch.setitem(sys.modules, "pandas", fake)
    result.to_pandas()
    ((rows, columns),) = tables
    assert dict(zip(columns, rows[0], strict=True)) == {
        "video": "a.mp4",
        "frame_index": 0,
        "time_seconds": 0.0,
        "track_id": 0,
        "fake_probability": 0.7,
        "detection_score": 0.99,
        "sharpness": 0.3,
        "left": 1.25,
        "top": 2.5,
        "right": 30.0,
        "bottom": 40.75,
    }
    assert len(rows) == 1
