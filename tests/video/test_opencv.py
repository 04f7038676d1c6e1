"""OpenCV instead of PyAV: the same frames, and the same errors as far as it detects them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.errors import (
    OptionError,
    VideoNotFoundError,
    VideoTruncatedError,
    VideoUnreadableError,
)
from deepfake_detect.video import EvenlySpaced, decode, metadata, opencv
from tests import media


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_frames_indices_times_and_facts_are_the_same(suffix: str, tmp_path: Path) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    clip = media.write_clip(tmp_path / f"a{suffix}", num_frames=20, codec=codec)
    ours, theirs = opencv.read_metadata(clip), metadata.read_metadata(clip)
    for name in ("num_frames", "width", "height", "rotation_degrees", "is_truncated"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.frames_per_second == pytest.approx(theirs.frames_per_second, rel=0.01)
    assert ours.duration_seconds == pytest.approx(theirs.duration_seconds, abs=0.01)
    for frame, other in zip(
        opencv.read_frames(clip, sampling=EvenlySpaced(7)),
        decode.read_frames(clip, sampling=EvenlySpaced(7)),
        strict=True,
    ):
        assert frame.frame_index == other.frame_index == media.read_number(frame.image)
        assert frame.time_seconds == pytest.approx(other.time_seconds, abs=2e-3)
        assert np.abs(frame.image.astype(int) - other.image).max() <= (
            0 if media.opencv_converts_alike() else 3
        )


def test_times_of_a_changing_rate_are_kept(tmp_path: Path) -> None:
    times = [0, 40, 80, 400, 440, 1000]
    clip = media.write_clip(tmp_path / "a.mp4", times_ms=times)
    found = [frame.time_seconds for frame in opencv.read_frames(clip)]
    assert found == pytest.approx([time / 1000 for time in times], abs=2e-3)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_clips_come_upright(degrees: int, tmp_path: Path) -> None:
    clip = media.set_rotation(media.write_clip(tmp_path / "a.mp4"), counter_clockwise_degrees=degrees)
    ours, theirs = opencv.read_metadata(clip), metadata.read_metadata(clip)
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    assert ours.rotation_degrees == theirs.rotation_degrees
    assert next(opencv.read_frames(clip)).image.shape == (theirs.height, theirs.width, 3)


def test_images_are_clips_of_one_frame(portrait: np.ndarray, tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), portrait[..., ::-1])
        (frame,) = opencv.read_frames(path, sampling=EvenlySpaced(8))
        assert np.abs(frame.image.astype(int) - portrait).max() <= (0 if suffix == ".png" else 100)
        assert opencv.read_metadata(path).num_frames == 1
        assert list(opencv.read_frames(path, sampling=_Chosen(()))) == []
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "a.jpg").read_bytes()[:-400])
    with pytest.raises(VideoTruncatedError, match="the file ends too early"):
        opencv.read_frames(cut)
    assert len(list(opencv.read_frames(cut, allow_truncated=True))) == 1


class _Chosen:
    def __init__(self, indices: tuple[int, ...]) -> None:
        self.indices = indices

    def frame_indices(self, *_: object, **__: object) -> tuple[int, ...]:
        return self.indices


@pytest.mark.parametrize(("suffix", "share"), [(".mp4", 0.6), (".mkv", 0.5)])
def test_a_clip_that_was_cut_off_is_rejected_or_read_as_far_as_it_goes(
    suffix: str, share: float, tmp_path: Path
) -> None:
    whole = media.write_clip(
        tmp_path / f"a{suffix}", num_frames=120, container_options={"movflags": "+faststart"}
    )
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VideoTruncatedError, match=r"frames .* in (it|the file)"):
        opencv.read_frames(cut)
    frames = list(opencv.read_frames(cut, allow_truncated=True))
    assert 20 < len(frames) < 120
    assert all(media.read_number(frame.image) == frame.frame_index for frame in frames[:-4])


def test_what_is_no_video_is_rejected(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no video")
    with pytest.raises(VideoUnreadableError, match="is not a video OpenCV can open"):
        opencv.read_frames(text)
    text.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    with pytest.raises(VideoUnreadableError, match="without a usable index"):
        opencv.read_metadata(text)
    picture = tmp_path / "b.png"
    picture.write_bytes(cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes()[:45])
    with pytest.raises(VideoUnreadableError, match="is an image that does not decode"):
        opencv.read_metadata(picture)
    with pytest.raises(VideoNotFoundError, match="there is no such file"):
        opencv.read_frames(tmp_path / "absent.mp4")
    with pytest.raises(OptionError, match="is of type int"):
        opencv.read_frames(3)  # type: ignore[arg-type]


def test_images_that_do_not_come_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = media.write_clip(tmp_path / "a.mp4")

    class Broken:
        def __getattr__(self, name: str) -> object:
            return lambda *_: False if name == "grab" else 0

        def isOpened(self) -> bool:
            return True

    frames = opencv.read_frames(clip)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Broken())
    with pytest.raises(VideoTruncatedError, match="is damaged: not all of its 30 frames decode"):
        next(frames)
    other = media.write_clip(tmp_path / "b.mp4")
    with pytest.raises(VideoUnreadableError, match="no frame of its video decodes"):
        opencv.read_frames(other)


def test_opencv_decodes_where_pyav_is_not_installed(demo_clip: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None; from deepfake_detect.video import read_frames;"
        "print(read_frames.__module__, len(list(read_frames(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(demo_clip)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["deepfake_detect.video.opencv", "200"]
