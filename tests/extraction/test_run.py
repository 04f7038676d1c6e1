from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import OptionError, OutputError
from deepfake_detect.extraction import ExtractionConfig, extract_videos
from deepfake_detect.faces import crop_face
from deepfake_detect.io.files import file_lock
from deepfake_detect.records import CropGeometry, Face
from deepfake_detect.video import DecodingLimits, EvenlySpaced, read_frames
from tests.conftest import ROOT
from tests.extraction.conftest import Extracted
from tests.extraction.helpers import CONFIG, contents, extract, videos_of


def test_a_row_a_crop_with_everything_known_about_it(whole: Extracted, portrait_clip: Path) -> None:
    report, manifest = whole.report, read_manifest(whole.out)
    rows = manifest.table.to_pylist()
    assert len(rows) == 4 * 4
    assert report.num_crops == 16
    assert len({row["video_id"] for row in rows}) == 4
    frames = {f.frame_index: f for f in read_frames(portrait_clip, sampling=EvenlySpaced(4))}
    assert sorted(frames) == [0, 8, 15, 23]
    for row in rows:
        is_real = row["method"] == "original"
        assert row["label"] == (0 if is_real else 1)
        assert row["dataset"] == "FaceForensics++"
        assert row["compression"] == "c23"
        assert row["split"] == "test"  # 000 and 003 are a test pair
        assert (row["target_id"], row["source_id"]) == ("000", None if is_real else "003")
        assert row["video_id"].startswith(f"FaceForensics++/{row['method']}/c23/")
        frame = frames[row["frame_index"]]
        assert row["time_seconds"] == pytest.approx(row["frame_index"] / 12)
        crop = cv2.imread(str(manifest.root / row["path"]))[..., ::-1]
        assert crop.shape == (row["native_size"], row["native_size"], 3)
        landmarks = np.array(row["landmarks_xy"], np.float32).reshape(5, 2)
        face = Face(np.array(row["box_xyxy"], np.float32), row["detection_score"], landmarks)
        np.testing.assert_array_equal(crop, crop_face(frame.image, face, CropGeometry()))


def test_what_gave_no_crops_is_written_down(whole: Extracted) -> None:
    report = whole.report
    with open(whole.out / "failures.csv", newline="") as file:
        rows = {row["video_id"]: row for row in csv.DictReader(file)}
    assert {video: row["reason"] for video, row in rows.items()} == {
        "FaceForensics++/original/c23/003": "no_face",
        "FaceForensics++/Deepfakes/c23/003_000": "VideoUnreadableError",
    }
    assert (report.num_without_face, report.num_failed) == (1, 1)


def test_a_second_run_does_only_what_is_missing(tree: Path, tmp_path: Path, portrait_clip: Path) -> None:
    out = tmp_path / "out"
    extract(tree, out)
    before = contents(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    again = extract(tree, out)
    assert again.num_done_before == 5
    assert again.num_extracted == 0
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == stamps
    # A crop that vanished and a video that was fetched anew are made up for.
    next(iter(stamps)).unlink()
    broken = tree / "manipulated_sequences" / "Deepfakes" / "c23" / "videos" / "003_000.mp4"
    shutil.copyfile(portrait_clip, broken)
    repaired = extract(tree, out)
    assert repaired.num_done_before == 4
    assert (repaired.num_crops, repaired.num_failed) == (20, 0)


def test_frames_keep_their_indices_when_a_run_is_resumed(whole: Extracted, tmp_path: Path) -> None:
    """A known tool saves later frames under wrong indices after a resume."""
    resumed = whole.copy(tmp_path / "resumed")
    for victim in sorted((resumed / "index").rglob("*.parquet"))[::2]:
        victim.unlink()
    for crop in sorted(resumed.rglob("*.png"))[1::2]:
        crop.unlink()
    extract(whole.tree, resumed)
    assert contents(resumed) == contents(whole.out)


def num_crops_in(folder: Path) -> int:
    """Count PNG files in a tree that changes meanwhile."""
    return sum(name.endswith(".png") for _, _, names in os.walk(folder) for name in names)


def test_killed_at_any_moment_and_resumed_equals_unbroken(tree: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [str(tree), "--dataset", "ffpp", "--frames", "4", "--out"]
    assert main(["extract-faces", *arguments, str(whole), "--workers", "1"]) == 2
    command = [sys.executable, str(ROOT / "tools" / "extract_faces.py"), *arguments, str(killed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--workers", "2"], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while num_crops_in(killed) < 5 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # workers notice that their parent is gone
    # The broken video is reported again.
    assert main(["extract-faces", *arguments, str(killed), "--workers", "1"]) == 2
    assert contents(killed) == contents(whole)


def test_a_video_that_fails_on_a_second_run_leaves_no_rows(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(tree, out)
    victim = "manipulated_sequences/FaceSwap/c23/videos/000_003.mp4"
    (tree / victim).write_text("no longer a video")
    next((out / "crops" / "FaceForensics++" / "FaceSwap").rglob("*.png")).unlink()
    report = extract(tree, out)
    assert report.num_failed == 2
    manifest = read_manifest(out)
    assert "FaceSwap" not in manifest.column("method")
    assert all((manifest.root / path).is_file() for path in manifest.column("path"))


def test_a_video_beyond_a_limit_fails_alone(tree: Path, tmp_path: Path) -> None:
    report = extract(tree, tmp_path / "out", limits=DecodingLimits(max_frames=20))
    assert (report.num_without_face, report.num_failed, report.num_crops) == (1, 5, 0)
    assert "max_frames" in (tmp_path / "out" / "failures.csv").read_text()


def test_a_second_run_at_the_same_time_is_an_error(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (
        file_lock(tmp_path / "out", what="extraction"),
        pytest.raises(OutputError, match="another extraction is writing there"),
    ):
        extract(tree, tmp_path / "out")


def test_an_output_that_cannot_be_written_ends_the_run(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not the video's fault: nothing may be recorded against it."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left on device"):
            extract(tree, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.failure.json"))
    assert not list((tmp_path / "out").rglob("*.partial*"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        extract(tree, tmp_path / "file")


def test_a_folder_that_becomes_read_only_ends_the_run_in_one_line(
    whole: Extracted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = whole.copy(tmp_path / "out")
    next(out.rglob("*.png")).unlink()
    unlink = Path.unlink

    def read_only(self: Path, missing_ok: bool = False) -> None:
        if self.name.endswith(".failure.json") and not self.name.startswith("."):
            raise OSError(30, "Read-only file system")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OutputError, match="cannot be written .Read-only file system."):
        extract(whole.tree, out)


def test_damaged_bookkeeping_is_named(whole: Extracted, tmp_path: Path) -> None:
    out = whole.copy(tmp_path / "out")
    (out / "settings.json").write_text("{")
    with pytest.raises(OutputError, match="settings.json: is damaged"):
        extract(whole.tree, out)


def test_other_settings_for_the_same_folder_are_errors(whole: Extracted, tmp_path: Path) -> None:
    out = whole.copy(tmp_path / "out")
    with pytest.raises(OptionError, match=r"contains crops made with num_frames 4 \(now 5\)"):
        extract(whole.tree, out, ExtractionConfig(num_frames=5))
    assert contents(out) == contents(whole.out)


def test_more_methods_later_join_the_same_manifest(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for method in ("Face2Face", "FaceSwap"):
        extract_videos(videos_of(tree, methods=(method,)), out, CONFIG, show_progress=False)
    methods_there = set(read_manifest(out).column("method"))
    assert methods_there == {"original", "Face2Face", "FaceSwap"}


def test_the_tool_reports_what_is_there_of_what_is_expected(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["extract-faces", str(tree), "--dataset", "ffpp", "--out", str(tmp_path / "out")]
    code = main([*arguments, "--frames", "2", "--workers", "1", "--methods", "Deepfakes,FaceSwap"])
    out, error = capsys.readouterr()
    assert code == 2
    assert "found 2 of 1,000 original c23 videos" in out
    assert "found 2 of 1,000 Deepfakes c23 videos" in out
    assert "Face2Face" not in out
    assert "1 without a face, 1 could not be read" in out
    assert error.count("error: ") == 1
    assert "003_000.mp4" in error
    with open(tmp_path / "out" / "missing.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3000 - 5
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["num_frames"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: is 0; must be 1 or more"),
        (["--frames", "0"], "--frames: is 0; must be 1 or more"),
        (["--margin", "9"], "--margin: is 9.0; must be 0.5 to 4"),
        (["--min-face", "3"], "--min-face: is 3.0; must be 12 or more"),
        (["--methods", "DeepFakes"], "methods: 'DeepFakes' is unknown"),
        (["--methods", ","], "--methods: is empty; list at least one"),
        (["--compression", "raw"], "contains no raw video"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing_behind(
    options: list[str], message: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["extract-faces", str(tree), "--dataset", "ffpp", "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.parquet").exists()
