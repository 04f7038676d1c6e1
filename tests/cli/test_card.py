from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deepfake_detect.cli import main
from tests.conftest import ROOT

WEIGHTS = ROOT / "deepfake_detect" / "weights"


def test_the_bundled_detector_has_a_card_that_names_its_very_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == (WEIGHTS / "README.md").read_text("utf-8").strip()
    assert hashlib.sha256((WEIGHTS / "default.safetensors").read_bytes()).hexdigest() in text
    for words in ("## Data", "## Figures", "## Known failures", "## Use", "## Training"):
        assert words in text


def test_another_detector_tells_what_its_file_says(
    small_detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", "--detector", str(small_detector), "--plain"]) == 0
    text = capsys.readouterr().out
    assert hashlib.sha256(small_detector.read_bytes()).hexdigest() in text
    assert "| from faces to clip | most_suspicious_track |" in text
    assert "not how good it is" in text


def test_the_digests_of_videos_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "--detector", str(WEIGHTS / "default.safetensors")]) == 0
    text = capsys.readouterr().out
    assert "training: datasets | ('DFDC', 'LFW', 'FaceForensics++') |" in text
    assert "prefixes" not in text


def test_a_file_that_is_no_detector_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    assert main(["card", "--detector", str(tmp_path / "x.safetensors")]) == 2
    assert "error: " in capsys.readouterr().err
