"""read_frames: the right frames, the right pixels, and no silence about damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from deepfake_detect.errors import OptionError, VideoNotFoundError, VideoTruncatedError, VideoUnreadableError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video import (
    AllFrames,
    ByRate,
    EvenlySpaced,
    EveryKth,
    Sampling,
    read_frames,
    read_metadata,
)
from deepfake_detect.video.container import decode_packets
from deepfake_detect.video.metadata import scan_video
from tests.media import (
    cut_off,
    damage_packets,
    numbered_image,
    opencv_converts_alike,
    opencv_frames,
    read_number,
    set_edit_list,
    set_rotation,
    write_clip,
)

FRONT_INDEX = {"movflags": "+faststart"}


@dataclass(frozen=True)
class Fixed:
    """A policy that names given frames."""

    indices: tuple[int, ...]

    def frame_indices(self, metadata: VideoMetadata, *, times_seconds: object = None) -> tuple[int, ...]:
        return self.indices


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(frame.image) for frame in frames]


def indices(frames: list[Frame]) -> list[int]:
    return [frame.frame_index for frame in frames]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of H.264 with B-frames, 25 a second; frame k shows k."""
    return write_clip(tmp_path_factory.mktemp("plain") / "plain.mp4", num_frames=60)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (AllFrames(), list(range(60))),
        (EvenlySpaced(7), [0, 10, 20, 30, 39, 49, 59]),
        (EvenlySpaced(2), [0, 59]),
        (EvenlySpaced(1), [29]),
        (EvenlySpaced(100), list(range(60))),
        (EveryKth(25), [0, 25, 50]),
        (ByRate(2), [0, 12, 25, 37, 50]),
        (Fixed(()), []),
    ],
)
def test_the_frames_asked_for_come_with_their_own_index_and_time(
    plain: Path, sampling: Sampling, expected: list[int]
) -> None:
    frames = list(read_frames(str(plain), sampling=sampling))
    assert indices(frames) == expected
    assert numbers(frames) == expected
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in expected])


def test_all_frames_is_the_default(plain: Path) -> None:
    assert indices(list(read_frames(plain))) == list(range(60))


def test_leaving_out_images_does_not_change_those_that_come(tmp_path: Path) -> None:
    # B-frames that refer to B-frames: only some may be left out.
    options = {"crf": "30", "bf": "5", "g": "40", "x264-params": "b-pyramid=normal:log-level=none"}
    path = write_clip(tmp_path / "pyramid.mp4", num_frames=80, options=options)
    whole = list(read_frames(path))
    for sampling in (EvenlySpaced(9), EveryKth(7), Fixed((1, 2, 41, 43))):
        for frame in read_frames(path, sampling=sampling):
            assert np.array_equal(frame.image, whole[frame.frame_index].image)


def test_open_groups_of_images(tmp_path: Path) -> None:
    # Pictures shown before a key frame and stored behind it refer to the group before as well.
    options = {"bf": "3", "g": "20", "x264-params": "open-gop=1:keyint=20:min-keyint=20:log-level=none"}
    path = write_clip(tmp_path / "open.mp4", num_frames=70, options=options)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    later = [number for number in keys if number]
    assert any(packets[number + 1].pts < packets[number].pts for number in later)  # it is an open one
    whole = list(read_frames(path))
    assert numbers(whole) == indices(whole) == list(range(70))
    for sampling in (EvenlySpaced(9), EveryKth(7), Fixed((19, 20, 21, 39, 40, 58, 59))):
        for frame in read_frames(path, sampling=sampling):
            assert np.array_equal(frame.image, whole[frame.frame_index].image)
            assert frame.time_seconds == pytest.approx(frame.frame_index / 25)
    for frame, expected in zip(whole, opencv_frames(path), strict=True):
        assert np.array_equal(frame.image, expected)


def test_an_avi_whose_stamps_are_in_the_order_of_storage(tmp_path: Path) -> None:
    options = {"bf": "3", "g": "40", "x264-params": "b-pyramid=normal:log-level=none"}
    path = write_clip(tmp_path / "pyramid.avi", num_frames=30, options=options)
    frames = list(read_frames(path))
    assert numbers(frames) == indices(frames) == list(range(30))
    assert len(opencv_frames(path)) == 30
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(30)])
    assert numbers(list(read_frames(path, sampling=EvenlySpaced(4)))) == [0, 10, 19, 29]
    assert not read_metadata(path).is_truncated


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "size"),
    [
        ("a.mp4", "libx264", "yuv420p", (96, 64)),
        ("a.mp4", "libx264", "yuv444p", (321, 241)),
        ("a.mp4", "libx264", "yuv422p", (64, 49)),
        ("a.mp4", "libx264", "gray", (65, 49)),
        ("a.mp4", "libx264", "yuv420p10le", (96, 64)),
        ("a.mp4", "mpeg4", "yuv420p", (321, 241)),
        ("a.mp4", "mpeg4", "yuv420p", (320, 241)),
        ("a.webm", "libvpx-vp9", "yuv420p", (65, 49)),
        ("a.avi", "mjpeg", "yuvj420p", (65, 48)),
        ("a.mkv", "ffv1", "gray", (65, 49)),
        ("a.mkv", "ffv1", "bgr0", (65, 49)),
        ("a.mkv", "ffv1", "gray16le", (65, 49)),
    ],
)
def test_pixels_are_those_of_opencv(
    tmp_path: Path, name: str, codec: str, pixel_format: str, size: tuple[int, int]
) -> None:
    width, height = size
    path = write_clip(
        tmp_path / name, num_frames=8, codec=codec, pixel_format=pixel_format, width=width, height=height
    )
    frames, twins = list(read_frames(path)), opencv_frames(path)
    assert len(frames) == len(twins) == 8
    for frame, twin in zip(frames, twins, strict=True):
        assert frame.image.shape == (height, width, 3)
        if opencv_converts_alike():
            assert np.array_equal(frame.image, twin)
        else:
            assert np.abs(frame.image.astype(int) - twin).mean() < 1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_are_upright(tmp_path: Path, degrees: int) -> None:
    stored = write_clip(tmp_path / "stored.mp4")
    path = Path(shutil.copy(stored, tmp_path / "turned.mp4"))
    set_rotation(path, counter_clockwise_degrees=degrees)
    frames, twins = list(read_frames(path)), opencv_frames(path)
    turned = [np.rot90(frame.image, degrees // 90) for frame in read_frames(stored)]
    for frame, twin, image in zip(frames, twins, turned, strict=True):
        assert np.array_equal(frame.image, twin)
        assert np.array_equal(frame.image, image)
        assert frame.image.flags.c_contiguous


@pytest.mark.parametrize("width", [96, 321])
def test_every_image_is_an_array_of_its_own(tmp_path: Path, width: int) -> None:
    path = write_clip(tmp_path / "own.mp4", num_frames=3, width=width, pixel_format="yuv444p")
    first, second, third = read_frames(path)
    assert first.image.dtype == np.uint8
    assert first.image.flags.c_contiguous
    before = second.image.copy()
    first.image[:] = 0
    third.image[:] = 255
    assert np.array_equal(second.image, before)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_of_a_variable_rate(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 50, 200, 210, 400, 1000, 1010, 1760]
    path = write_clip(tmp_path / f"v{suffix}", times_ms=times)
    frames = list(read_frames(path))
    assert numbers(frames) == list(range(9))
    assert [frame.time_seconds for frame in frames] == pytest.approx([ms / 1000 for ms in times], abs=1e-3)
    assert numbers(list(read_frames(path, sampling=ByRate(1)))) == [0, 6]


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mkv", times_ms=[400, 440, 480, 520])
    frames = list(read_frames(path))
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12], abs=1e-3)


def test_a_stream_without_timestamps_is_counted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "raw.h264", num_frames=40)
    assert read_metadata(path).num_frames == 40
    frames = list(read_frames(path, sampling=EvenlySpaced(4)))
    assert indices(frames) == numbers(frames) == [0, 13, 26, 39]
    rate = read_metadata(path).frames_per_second
    assert [frame.time_seconds for frame in frames] == pytest.approx([k / rate for k in (0, 13, 26, 39)])


def test_an_edit_list_shows_only_its_part(tmp_path: Path) -> None:
    path = set_edit_list(write_clip(tmp_path / "e.mp4", num_frames=40), first_frame=5, num_frames=20)
    frames = list(read_frames(path, sampling=EvenlySpaced(3)))
    assert indices(frames) == [0, 10, 19]
    assert numbers(frames) == [5, 15, 24]
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 0.4, 0.76])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"still{suffix}"
    assert cv2.imwrite(str(path), numbered_image(42)[:, :, ::-1])
    (frame,) = read_frames(path, sampling=EvenlySpaced(8))
    assert (frame.frame_index, frame.time_seconds) == (0, 0.0)
    assert read_number(frame.image) == 42
    assert np.array_equal(frame.image, np.asarray(Image.open(path)))


def test_decoding_ends_with_the_last_frame_asked_for(tmp_path: Path) -> None:
    path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=200), range(150, 200))
    assert numbers(list(read_frames(path, sampling=Fixed((3, 9))))) == [3, 9]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the list of open files")
@pytest.mark.parametrize("how", ["exhausted", "closed", "dropped", "raised"])
def test_the_file_is_closed(plain: Path, tmp_path: Path, how: str) -> None:
    def is_open(path: Path) -> bool:
        handles = Path("/proc/self/fd").iterdir()
        return any(os.path.realpath(handle) == str(path.resolve()) for handle in handles)

    path = plain
    if how == "raised":
        path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=60), [30])
    frames = read_frames(path)
    next(frames)
    assert is_open(path)
    if how == "closed":
        frames.close()
    elif how == "dropped":
        del frames
    elif how == "raised":
        with pytest.raises(VideoTruncatedError):
            list(frames)
    else:
        list(frames)
    assert not is_open(path)


def test_a_truncated_file_is_rejected_by_the_call(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cut_off(write_clip(tmp_path / "t.mp4", num_frames=60, container_options=FRONT_INDEX), keep=0.6)
    num_frames = read_metadata(path).num_frames
    capfd.readouterr()
    message = (
        rf"t\.mp4: {num_frames} of 60 declared frames are in the file; download the file again, or use "
        r"its intact part by `allow_truncated`"
    )
    with pytest.raises(VideoTruncatedError, match=message):
        read_frames(path)
    assert capfd.readouterr() == ("", "")


def test_allow_truncated_samples_the_part_that_is_there(tmp_path: Path) -> None:
    path = cut_off(write_clip(tmp_path / "t.mp4", num_frames=60, container_options=FRONT_INDEX), keep=0.6)
    num_frames = read_metadata(path).num_frames
    frames = list(read_frames(path, sampling=EvenlySpaced(5), allow_truncated=True))
    assert indices(frames) == np.linspace(0, num_frames - 1, 5).round().astype(int).tolist()
    # The decoder may have guessed the last frame or two from incomplete data.
    assert numbers(frames)[:-1] == indices(frames)[:-1]
    assert indices(list(read_frames(path, allow_truncated=True))) == list(range(num_frames))


def test_a_file_that_counts_nothing_is_truncated_by_its_length(tmp_path: Path) -> None:
    path = cut_off(write_clip(tmp_path / "t.mkv", num_frames=60), keep=0.6)
    with pytest.raises(VideoTruncatedError, match=r"the file ends too early \(\d+ frames, .* s are in it\)"):
        read_frames(path)


@pytest.mark.parametrize("sampling", [AllFrames(), EvenlySpaced(5), EveryKth(58)])
def test_damage_in_the_middle_is_an_error(tmp_path: Path, sampling: Sampling) -> None:
    path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=60), [30, 31])
    assert not read_metadata(path).is_truncated
    message = r"d\.mp4: is damaged: not all of its 60 frames decode \(at or before frame \d+\); download"
    frames: list[Frame] = []
    with pytest.raises(VideoTruncatedError, match=message):
        frames.extend(read_frames(path, sampling=sampling))
    assert numbers(frames) == indices(frames)  # those that came before the error


def test_allow_truncated_keeps_index_and_time_behind_damage(tmp_path: Path) -> None:
    path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=60), [30, 31])
    frames = list(read_frames(path, allow_truncated=True))
    assert 40 < len(frames) < 60
    assert len(set(indices(frames))) == len(frames)
    sound = [frame for frame in frames if not 24 <= frame.frame_index < 36]  # the damaged group of 12
    assert numbers(sound) == indices(sound) == [*range(24), *range(36, 60)]
    assert [frame.time_seconds for frame in sound] == pytest.approx([k / 25 for k in indices(sound)])


def test_allow_truncated_leaves_out_a_frame_that_is_lost(tmp_path: Path) -> None:
    path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=60), [30, 31])
    there = set(indices(list(read_frames(path, allow_truncated=True))))
    lost = min(set(range(60)) - there)
    frames = list(read_frames(path, sampling=Fixed((3, lost, 50)), allow_truncated=True))
    assert indices(frames) == numbers(frames) == [3, 50]


@pytest.mark.parametrize("name", ["a.avi", "a.h264"])
def test_an_image_that_is_lost_without_a_word_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    codec = "mpeg4" if name == "a.avi" else "libx264"
    path = write_clip(tmp_path / name, num_frames=40, codec=codec)
    assert (scan_video(path).timestamps is None) == (name == "a.h264")

    def forgetful(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return (pictures for k, pictures in enumerate(decode_packets(*args, **kwargs)) if k != 20)

    monkeypatch.setattr("deepfake_detect.video.decode.decode_packets", forgetful)
    with pytest.raises(VideoTruncatedError, match="not all of its 40 frames decode"):
        list(read_frames(path))


@pytest.mark.parametrize("wanted", [(3, 3), (5, 2), (-1, 4), (0, 60)])
def test_a_policy_must_name_frames_in_order(plain: Path, wanted: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"sampling: Fixed.* returned indices .* 0 to 59; return sorted"):
        read_frames(plain, sampling=Fixed(wanted))


def test_files_that_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError, match="there is no such file"):
        read_frames(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("no pictures here\n" * 40)
    with pytest.raises(VideoUnreadableError, match="is not a video FFmpeg can open"):
        read_frames(tmp_path / "text.mp4")


@pytest.mark.parametrize("name", ["0017_fake.mp4", "003_000.mp4"])
def test_real_clips_are_those_of_opencv(real_data: Callable[[str], Path], name: str) -> None:
    path = real_data(f"videos/{name}")
    frames = {frame.frame_index: frame.image for frame in read_frames(path, sampling=EvenlySpaced(12))}
    twins = opencv_frames(path)
    assert read_metadata(path).num_frames == len(twins)
    assert {0, len(twins) - 1} <= set(frames)
    for index, image in frames.items():
        assert np.array_equal(image, twins[index])


@pytest.mark.skipif(sys.platform == "win32", reason="names with a colon")
@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "50%03d.mp4", "ümlaut [1] #2.mp4", "-i.mp4"])
def test_names_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)  # a relative name starts with what might be a protocol or an option
    write_clip(tmp_path / "a.mp4").rename(name)
    assert len(list(read_frames(name))) == 30


def test_a_damaged_clip_that_is_closed_early_never_stands_still(tmp_path: Path) -> None:
    # FFmpeg's threads report damage while the decoder is freed: in one of ten readings, once.
    path = damage_packets(write_clip(tmp_path / "d.mp4", num_frames=60), [30])
    program = (
        "import sys\n"
        "from deepfake_detect.errors import VideoTruncatedError\n"
        "from deepfake_detect.video import read_frames\n"
        "for _ in range(60):\n"
        "    try:\n"
        "        list(read_frames(sys.argv[1]))\n"
        "    except VideoTruncatedError:\n"
        "        continue\n"
        "    sys.exit('the damage was not seen')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
