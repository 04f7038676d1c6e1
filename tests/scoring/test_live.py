from __future__ import annotations

import itertools
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import OptionError, VideoUnreadableError
from deepfake_detect.records import Frame
from deepfake_detect.scoring import LiveVerdict, live_frames, verdict_of, watch
from tests.scoring.servers import serving


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


def stream(images: list[np.ndarray], *, rate: float = 2.0) -> Iterator[Frame]:
    for number, image in enumerate(images):
        yield Frame(image, number, number / rate)


def test_the_verdict_looks_back_over_the_window_alone(detector: dfd.Detector, portrait: np.ndarray) -> None:
    face = np.ascontiguousarray(portrait[20:260, 60:380])
    nobody = np.zeros_like(face)
    verdicts = list(watch(stream([face] * 4 + [nobody] * 6), detector=detector, window_seconds=2.0))
    assert [one.num_frames for one in verdicts] == [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]
    assert [one.num_people for one in verdicts] == [1] * 8 + [0] * 2  # the last face came at 1.5 s
    assert [one.verdict for one in verdicts[-2:]] == ["no_face"] * 2
    assert verdicts[-1].fake_probability is None
    assert verdicts[-1].elapsed_seconds == 4.5
    assert [one.span_seconds for one in verdicts[:6]] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


def test_a_frame_is_judged_before_the_next_is_waited_for(
    detector: dfd.Detector, portrait: np.ndarray
) -> None:
    taken = []

    def camera() -> Iterator[Frame]:
        for frame in stream([np.ascontiguousarray(portrait[20:260, 60:380])] * 3):
            taken.append(frame.frame_index)
            yield frame

    seen = [
        (len(taken), verdict.elapsed_seconds)
        for verdict in watch(camera(), detector=detector, window_seconds=9)
    ]
    assert seen == [(1, 0.0), (2, 0.5), (3, 1.0)]


def test_the_rolling_probability_is_that_of_a_clip_of_those_frames(
    detector: dfd.Detector, portrait: np.ndarray, portrait_clip: Path
) -> None:
    frames = list(dfd.read_frames(portrait_clip))[::4]
    score = detector.score_video(portrait_clip, sampling=dfd.video.EveryKth(4))
    *_, last = watch(frames, detector=detector, window_seconds=60.0)
    assert last.fake_probability == pytest.approx(score.fake_probability, abs=1e-5)
    assert last.verdict == verdict_of(last.fake_probability, score.detector)


def test_options_that_cannot_be_are_refused(detector: dfd.Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="window_seconds: is .*; must be above 0"):
            next(watch([], detector=detector, window_seconds=seconds))
    monkeypatch.setattr(dfd.Detector, "is_sequential", property(lambda _: True))
    with pytest.raises(OptionError, match="detector: scores sequences"):
        next(watch([], detector=detector, window_seconds=1))


def test_words_of_a_verdict() -> None:
    assert (
        LiveVerdict("no_face", None, 3, 0, 0.4, 0.4).line()
        == "0:00  No face found (3 frames in the last 0.4 s)"
    )
    two = LiveVerdict("real", 0.118, 30, 2, 3725.0, 10.0)
    assert two.line() == "62:05  No signs of forgery found, 12% (2 people, 30 frames in the last 10.0 s)"


def test_a_camera_on_the_network_is_read_at_its_own_speed(portrait: np.ndarray, tmp_path: Path) -> None:
    """Each picture is a shade of gray that tells its number."""
    shades = [np.full((48, 64, 3), 8 * number, np.uint8) for number in range(24)]
    with serving(tmp_path, images=shades, rate=40.0) as address:
        frames = list(live_frames(f"{address}/camera"))
    assert len(frames) > 1
    times = [frame.time_seconds for frame in frames]
    indices = [frame.frame_index for frame in frames]
    assert times[0] == 0
    assert times == sorted(times)
    assert indices == sorted(set(indices))
    for frame in frames:
        assert abs(int(frame.image.mean()) - 8 * frame.frame_index) <= 2


def test_only_the_newest_picture_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = _Camera(limit=200)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: camera)
    frames = live_frames("/dev/video3")
    first = next(frames)
    camera.has_ended.wait(10)
    rest = list(frames)
    assert first.frame_index <= 199
    assert [frame.frame_index for frame in rest] in ([199], [])
    assert camera.is_released


class _Camera:
    """Blue pictures as fast as they are asked for."""

    def __init__(self, limit: int) -> None:
        self.limit, self.number, self.is_released = limit, itertools.count(), False
        self.has_ended = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return True

    def read(self) -> tuple[bool, Any]:
        if next(self.number) < self.limit:
            return True, np.full((4, 4, 3), (255, 0, 0), np.uint8)
        self.has_ended.set()
        return False, None

    def release(self) -> None:
        self.is_released = True


def test_a_picture_is_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: _Camera(limit=1))
    (frame,) = live_frames("0")
    assert frame.image[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("version", [4, 5])
def test_opencv_prints_nothing_of_its_own_and_then_as_before(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV 4 has the function in its main module, OpenCV 5 in one of its own."""
    levels = [3]

    def set_level(level: int) -> int:
        levels.append(level)
        return levels[-2]

    module = types.SimpleNamespace(setLogLevel=set_level)
    monkeypatch.delattr(cv2, "setLogLevel", raising=False)
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    if version == 4:
        monkeypatch.setattr(cv2, "setLogLevel", set_level, raising=False)
    else:
        monkeypatch.setattr(cv2.utils, "logging", module, raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: _Camera(limit=1))
    assert len(list(live_frames("0"))) == 1
    assert levels == [3, 0, 3]


def test_sources_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in ("clip.mp4", "/dev/null", "file:///a.mp4", "-1"):
        with pytest.raises(OptionError, match="which is neither a camera nor a stream"):
            next(live_frames(source))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: _Camera(limit=0))
    with pytest.raises(VideoUnreadableError, match="0: sent no frame"):
        next(live_frames("0"))


def test_a_stream_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as address, pytest.raises(VideoUnreadableError, match="/none: cannot be opened"):
        next(live_frames(f"{address}/none"))
    assert capfd.readouterr().err == ""
