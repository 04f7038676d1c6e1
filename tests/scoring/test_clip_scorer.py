from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deepfake_detect as dfd
from deepfake_detect import device
from deepfake_detect.errors import OptionError, OutputError, VideoUnreadableError, WorkerError
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.scoring import ClipScorer, ClipSource, ScoringOptions, clip_scorer, score_videos
from deepfake_detect.scoring.fetch import check_fetching, fetch
from deepfake_detect.scoring.outputs import ClipFiles
from tests.io.bad_servers import bad_server
from tests.scoring.servers import serving

OPTIONS = ScoringOptions(device="cpu", num_frames=2)


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


def scorer(detector: Any, scratch: Path, **more: Any) -> ClipScorer:
    return ClipScorer(detector, OPTIONS, scratch, has_file_facts=True, **more)


def test_a_detector_computes_in_the_precision_asked_for(
    small_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "fast_precision", lambda _: "bf16")
    detector = dfd.load_detector(small_detector, device="cpu", precision="bf16")
    assert isinstance(detector, TorchDetector)
    assert detector.precision == "bf16"


def test_a_clip_comes_with_its_file_and_its_time(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    steps: list[Any] = []
    files = {str(portrait_clip): ClipFiles(json=tmp_path / "a.json")}
    one = scorer(detector, tmp_path, files=files, on_step=lambda *step: steps.append(step))
    result = one.score(ClipSource(str(portrait_clip), str(portrait_clip)))
    assert result.result is not None
    assert result.file is not None
    assert result.file.size_bytes == portrait_clip.stat().st_size
    assert (result.error, result.provenance, result.credentials) == (None, None, "")
    assert result.seconds > 0
    assert json.loads((tmp_path / "a.json").read_text()) == result.to_dict()
    assert steps == [("scoring", 1, 2, "frames"), ("scoring", 2, 2, "frames")]


def test_errors_bear_the_name_that_was_given(detector: dfd.Detector, tmp_path: Path) -> None:
    (tmp_path / "standard_input").write_text("hello")
    result = scorer(detector, tmp_path).score(ClipSource("-", str(tmp_path / "standard_input")))
    assert isinstance(result.error, VideoUnreadableError)
    assert str(result.error).startswith("-: is not a video")
    assert result.result is None
    absent = scorer(detector, tmp_path).score(ClipSource("absent.mp4", "absent.mp4"))
    assert str(absent.error).startswith("absent.mp4: there is no such file")
    assert absent.file is None


class _Broken:
    def score_video(self, *_: object, **__: object) -> None:
        raise MemoryError("cannot take 9 GiB\nsecond line")


def test_a_fault_inside_is_the_clips_error(portrait_clip: Path, tmp_path: Path) -> None:
    result = scorer(_Broken(), tmp_path).score(ClipSource("x", str(portrait_clip)))
    assert isinstance(result.error, WorkerError)
    assert str(result.error) == (
        "x: scoring it failed with an internal error (MemoryError: cannot take 9 GiB); report this bug"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OutputError("place", "is full", "make room"), "place: is full; make room"),
        (VideoUnreadableError("{clip}", "lost its sound", "look"), "x: lost its sound; look"),
        (RecursionError("deep"), "x: scoring it failed with an internal error (RecursionError: deep)"),
        (ModuleNotFoundError(name="av"), "x: needs av, which is not installed"),
    ],
)
def test_a_result_is_kept_when_a_file_about_it_cannot_be_written(
    error: Exception,
    message: str,
    detector: dfd.Detector,
    portrait_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        if isinstance(error, VideoUnreadableError):
            raise VideoUnreadableError(portrait_clip, error.cause, error.remedy)
        raise error

    monkeypatch.setattr(clip_scorer, "write_clip_files", fail)
    files = {"x": ClipFiles(json=tmp_path / "x.json")}
    result = scorer(detector, tmp_path, files=files).score(ClipSource("x", str(portrait_clip)))
    assert result.result is not None
    assert result.result.video == "x"
    assert str(result.error).startswith(message)


@pytest.mark.parametrize(
    ("stage", "has_result"),
    [
        ("deepfake_detect.scoring.pipeline.file_facts", False),
        ("deepfake_detect.scoring.pipeline.VideoReader", False),
        ("deepfake_detect.scoring.pipeline.track_faces", False),
        ("deepfake_detect.scoring.pipeline.quality_warnings", False),
        ("deepfake_detect.scoring.fetch.fetch", False),
        ("deepfake_detect.scoring.clip_scorer.read_provenance", True),
        ("deepfake_detect.scoring.clip_scorer.write_clip_files", True),
    ],
)
@pytest.mark.parametrize("fault", [OSError, MemoryError])
def test_whatever_is_raised_for_one_clip_is_that_clips_item(
    stage: str,
    has_result: bool,
    fault: type[Exception],
    detector: dfd.Detector,
    portrait_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, _, name = stage.rpartition(".")
    whole = getattr(importlib.import_module(room), name)
    is_first = iter([True])

    def fails_once(*arguments: Any, **options: Any) -> Any:
        if next(is_first, False):
            raise fault("planted")
        return whole(*arguments, **options)

    monkeypatch.setattr(stage, fails_once)
    monkeypatch.setattr("deepfake_detect.scoring.fetch.check_fetching", lambda urls: None)
    is_fetched = name == "fetch"
    first = "https://example.org/a.mp4" if is_fetched else str(portrait_clip)
    options = {"num_frames": 1, "out": tmp_path, "results": tmp_path / "r.csv", "allow_url": True}
    monkeypatch.setattr("deepfake_detect.report.timeline.TimelineDisplay.save", lambda *_: None)
    items = list(score_videos([first, "absent.mp4"], detector=detector, **options))
    assert [item.source for item in items] == [first, "absent.mp4"]
    assert (items[0].result is not None) == has_result
    if name == "read_provenance":
        assert items[0].error is None
        assert items[0].credentials == f"cannot be read ({fault.__name__}: planted)"
    else:
        assert f"internal error ({fault.__name__}: planted); report this bug" in str(items[0].error)
    assert items[1].to_dict() == {
        "video": "absent.mp4",
        "error": "absent.mp4: there is no such file; check the path",
    }


def test_credentials_that_are_not_read_are_told_and_cost_nothing(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(40)
    marked = tmp_path / "marked.mp4"
    marked.write_bytes(portrait_clip.read_bytes() + (8 + len(box)).to_bytes(4, "big") + b"uuid" + box)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    result = scorer(detector, tmp_path).score(ClipSource("x", str(marked)))
    assert result.error is None
    assert result.provenance is None
    assert result.credentials.startswith("has Content Credentials (C2PA), and c2pa-python")


@pytest.fixture
def served(portrait_clip: Path, tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("yt_dlp", reason="yt-dlp, of the extra url, is not installed")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "clip.mp4").write_bytes(portrait_clip.read_bytes())
    (tmp_path / "www" / "page.html").write_text("<html><title>no clip here</title></html>")
    (tmp_path / "scratch").mkdir()
    with serving(tmp_path / "www") as address:
        yield address


def test_a_fetched_clip_is_judged_and_gone(
    served: str, detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    steps: list[Any] = []
    scratch, url = tmp_path / "scratch", f"{served}/clip.mp4"
    files = {url: ClipFiles(annotated=tmp_path / "a.mp4")}
    one = scorer(detector, scratch, files=files, on_step=lambda *step: steps.append(step))
    result = one.score(ClipSource(url, None))
    assert result.error is None
    assert result.result is not None
    assert result.result.video == f"{served}/clip.mp4"
    size = portrait_clip.stat().st_size
    assert (tmp_path / "a.mp4").stat().st_size > 0
    assert result.file is not None
    assert result.file.size_bytes == size
    assert ("scoring", size, size, "bytes") in steps
    assert list((tmp_path / "scratch").iterdir()) == []


# yt-dlp leaves the connection of a page without a clip to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", ["absent.mp4", "page.html"])
def test_an_address_without_a_clip_is_the_clips_error(
    place: str, served: str, detector: dfd.Detector, tmp_path: Path
) -> None:
    result = scorer(detector, tmp_path / "scratch").score(ClipSource(f"{served}/{place}", None))
    assert isinstance(result.error, VideoUnreadableError)
    assert str(result.error).startswith(f"{served}/{place}: cannot be downloaded (")
    assert "\x1b" not in str(result.error)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", ["endless.mp4", "large.mp4"])
def test_an_endless_clip_ends_at_the_limit(path: str, detector: dfd.Detector, tmp_path: Path) -> None:
    limited = scorer(detector, tmp_path)
    limited.options = replace(limited.options, max_download_mb=1)
    with bad_server() as address:
        result = limited.score(ClipSource(f"{address}/{path}", None))
    assert "has more than 1,048,576 bytes; fetch a smaller file, or allow more" in str(result.error)
    assert str(result.error).startswith(f"{address}/{path}: ")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", ["slow.mp4", "slow-head.mp4", "silent.mp4"])
def test_a_slow_clip_ends(
    path: str, detector: dfd.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_detect.io.fetch.SLOW_SECONDS", 0.5)
    with bad_server() as address:
        result = scorer(detector, tmp_path).score(ClipSource(f"{address}/{path}", None))
    assert "sent less than 500,000 bytes in 0.5 seconds" in str(result.error)


def test_fetching_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    check_fetching(["s3://bucket/a.mp4"])  # of a store: by another extra
    address = "http://127.0.0.1/a.mp4"
    for action in (lambda: check_fetching([address]), lambda: fetch(address, tmp_path)):
        with pytest.raises(
            OptionError, match="needs yt_dlp, which is not installed; install the extra 'url'"
        ):
            action()
