from __future__ import annotations

import json
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.records import (
    ClipResult,
    DetectorInfo,
    FaceScore,
    FrameScore,
    QualityWarning,
    TrackScore,
)

INFO = DetectorInfo("small", "1", 0.5, 0.4, 0.6, "most_suspicious_track")


@pytest.fixture
def result() -> ClipResult:
    face = FaceScore(np.float32([1.25, 2.5, 30.0, 40.75]), 0, 0.99, 0.7, 0.3)
    frames = (FrameScore(0, 0.0, (face,)), FrameScore(5, 0.2, ()))
    track = TrackScore(0, 1, 0.7, True, "fake", (0.6, 0.8))
    warnings = (QualityWarning("few_frames", "the face is visible in only 1 of the sampled frames"),)
    return ClipResult("a.mp4", "fake", 0.7, 1, frames, (track,), INFO, (0.6, 0.8), warnings, "onnx", (1, 2))


def test_a_result_survives_json_and_pickling(result: ClipResult) -> None:
    again = ClipResult.from_dict(json.loads(result.to_json()))
    assert again.to_dict() == result.to_dict()
    assert again.frames[0].faces[0].box_xyxy.dtype == np.float32
    assert again.tracks == result.tracks
    assert again.warnings == result.warnings
    assert (again.runtime, again.detector, again.file_stamp) == ("onnx", INFO, None)
    assert pickle.loads(pickle.dumps(result)).to_dict() == result.to_dict()


def test_a_result_is_read_from_json_of_a_command(result: ClipResult) -> None:
    older = {**result.to_dict(), "provenance": None}
    del older["runtime"]
    assert ClipResult.from_dict(older).runtime == ""


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
