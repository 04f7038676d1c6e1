from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deepfake_detect as dfd
from deepfake_detect import device
from deepfake_detect.errors import OptionError, OutputError, VideoUnreadableError, WorkerError
from deepfake_detect.scoring import ClipScorer, ClipSource, ScoringOptions
from deepfake_detect.scoring.clip_scorer import ready_detector
from deepfake_detect.scoring.fetch import check_fetching, fetch
from tests.scoring.servers import serving

OPTIONS = ScoringOptions(device="cpu", num_frames=2, with_file_facts=True)


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


def judge(detector: Any, scratch: Path, finish: Any = lambda *_: None, **more: Any) -> ClipScorer:
    return ClipScorer(detector, OPTIONS, scratch, finish, **more)


def test_a_detector_computes_in_the_precision_asked_for(
    small_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "fast_precision", lambda _: "bf16")
    ready = ready_detector(replace(OPTIONS, detector=str(small_detector), precision="bf16"))
    assert isinstance(ready, dfd.Detector)
    assert ready.precision == "bf16"


def test_a_clip_comes_with_its_file_and_its_time(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    left: list[Any] = []
    steps: list[Any] = []
    judging = judge(detector, tmp_path, lambda *one: left.append(one), on_step=lambda *one: steps.append(one))
    source = ClipSource(str(portrait_clip), str(portrait_clip))
    result = judging.judge(source)
    assert result.score is not None
    assert result.file is not None
    assert result.file.size_bytes == portrait_clip.stat().st_size
    assert (result.error, result.provenance, result.credentials) == (None, None, "")
    assert result.seconds > 0
    assert left[0][:2] == (detector, source)
    assert steps == [(1, 2, "frames"), (2, 2, "frames")]


def test_errors_bear_the_name_that_was_given(detector: dfd.Detector, tmp_path: Path) -> None:
    (tmp_path / "standard_input").write_text("hello")
    result = judge(detector, tmp_path).judge(ClipSource("-", str(tmp_path / "standard_input")))
    assert isinstance(result.error, VideoUnreadableError)
    assert str(result.error).startswith("-: is not a video")
    assert result.score is None
    absent = judge(detector, tmp_path).judge(ClipSource("absent.mp4", "absent.mp4"))
    assert str(absent.error).startswith("absent.mp4: there is no such file")
    assert absent.file is None


class _Broken:
    def score_video(self, *_: object, **__: object) -> None:
        raise MemoryError("cannot take 9 GiB\nsecond line")


def test_a_fault_inside_is_the_clips_error(portrait_clip: Path, tmp_path: Path) -> None:
    result = judge(_Broken(), tmp_path).judge(ClipSource("x", str(portrait_clip)))
    assert isinstance(result.error, WorkerError)
    assert str(result.error) == (
        "x: judging it failed inside (MemoryError: cannot take 9 GiB); report this as a bug"
    )


def test_a_place_that_cannot_be_written_ends_the_run(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("place", "is full", "make room")

    with pytest.raises(OutputError, match="place: is full"):
        judge(detector, tmp_path, refuse).judge(ClipSource("x", str(portrait_clip)))


def test_a_verdict_is_kept_when_a_file_about_it_cannot_be_made(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise VideoUnreadableError(portrait_clip, "lost its sound", "look")

    result = judge(detector, tmp_path, refuse).judge(ClipSource("x", str(portrait_clip)))
    assert result.score is not None
    assert result.score.video == "x"
    assert str(result.error) == "x: lost its sound; look"


def test_credentials_that_are_not_read_are_told_and_cost_nothing(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(40)
    marked = tmp_path / "marked.mp4"
    marked.write_bytes(portrait_clip.read_bytes() + (8 + len(box)).to_bytes(4, "big") + b"uuid" + box)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    result = judge(detector, tmp_path).judge(ClipSource("x", str(marked)))
    assert result.error is None
    assert result.provenance is None
    assert result.credentials.startswith("carries content credentials (C2PA), and c2pa-python")


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
    seen: list[bytes] = []
    steps: list[Any] = []
    judging = judge(
        detector,
        tmp_path / "scratch",
        lambda detector, source, score, _: seen.append(Path(score.video).read_bytes()),
        on_step=lambda *one: steps.append(one),
    )
    result = judging.judge(ClipSource(f"{served}/clip.mp4", None))
    assert result.error is None
    assert result.score is not None
    assert result.score.video == f"{served}/clip.mp4"
    size = portrait_clip.stat().st_size
    assert seen == [portrait_clip.read_bytes()]
    assert result.file is not None
    assert result.file.size_bytes == size
    assert (size, size, "bytes") in steps
    assert list((tmp_path / "scratch").iterdir()) == []


# yt-dlp leaves the connection of a page without a clip to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", ["absent.mp4", "page.html"])
def test_an_address_without_a_clip_is_the_clips_error(
    place: str, served: str, detector: dfd.Detector, tmp_path: Path
) -> None:
    result = judge(detector, tmp_path / "scratch").judge(ClipSource(f"{served}/{place}", None))
    assert isinstance(result.error, VideoUnreadableError)
    assert str(result.error).startswith(f"{served}/{place}: cannot be fetched (")
    assert "\x1b" not in str(result.error)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_fetching_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    check_fetching(["s3://bucket/a.mp4"])  # of a store: by another extra
    address = "http://127.0.0.1/a.mp4"
    for action in (lambda: check_fetching([address]), lambda: fetch(address, tmp_path)):
        with pytest.raises(OptionError, match="yt-dlp, which fetches clips, is not installed; pip install"):
            action()
