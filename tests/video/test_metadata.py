"""read_metadata on whole, odd, cut-off and broken files, with OpenCV as the twin."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import pytest

from deepfake_detect.errors import OptionError, VideoNotFoundError, VideoTruncatedError, VideoUnreadableError
from deepfake_detect.video import files, read_frames, read_metadata
from deepfake_detect.video import metadata as metadata_module
from tests.media import (
    cut_off,
    damage_packets,
    numbered_image,
    opencv_frames,
    replace_bytes,
    set_edit_list,
    set_rotation,
    write_clip,
    write_sound,
)

FRONT_INDEX = {"movflags": "+faststart"}


@pytest.fixture
def no_full_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when the whole file is decoded to count."""

    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise AssertionError(f"{path} was decoded as a whole")

    monkeypatch.setattr(metadata_module, "_decode_timestamps", refuse)


@pytest.mark.usefixtures("no_full_decode")
def test_every_field_of_a_plain_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=33, rate=Fraction(30000, 1001), sound="aac")
    metadata = read_metadata(str(path))
    assert metadata.path == path
    assert (metadata.codec, metadata.pixel_format) == ("h264", "yuv420p")
    assert (metadata.width, metadata.height, metadata.rotation_degrees) == (96, 64, 0)
    assert metadata.frames_per_second == 30000 / 1001
    assert (metadata.num_frames, metadata.num_frames_declared) == (33, 33)
    assert metadata.duration_seconds == pytest.approx(33 * 1001 / 30000, abs=1e-4)
    assert not metadata.is_truncated


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "expected_codec"),
    [
        ("a.mkv", "libx264", "yuv420p", "h264"),
        ("a.mov", "libx264", "yuv444p", "h264"),
        ("a.webm", "libvpx-vp9", "yuv420p", "vp9"),
        ("a.webm", "libvpx", "yuv420p", "vp8"),
        ("a.avi", "mpeg4", "yuv420p", "mpeg4"),
        ("a.avi", "mjpeg", "yuvj420p", "mjpeg"),
        ("a.ts", "libx264", "yuv420p", "h264"),
        ("a.flv", "libx264", "yuv420p", "h264"),
        ("a.mpg", "mpeg2video", "yuv420p", "mpeg2video"),
    ],
)
def test_containers(tmp_path: Path, name: str, codec: str, pixel_format: str, expected_codec: str) -> None:
    path = write_clip(tmp_path / name, codec=codec, pixel_format=pixel_format)
    metadata = read_metadata(path)
    assert metadata.codec == expected_codec
    assert metadata.num_frames == 30 == len(opencv_frames(path))
    assert metadata.duration_seconds == pytest.approx(1.2, abs=2e-3)
    assert metadata.frames_per_second == pytest.approx(25)
    assert not metadata.is_truncated


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_gives_the_real_average(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 50, 200, 210, 400, 1000, 1010, 1960]
    metadata = read_metadata(write_clip(tmp_path / f"v{suffix}", times_ms=times))
    assert metadata.num_frames == 9
    # Not every writer stores the duration of the last frame.
    assert 1.96 <= metadata.duration_seconds < 2.2
    assert metadata.frames_per_second == pytest.approx(9 / metadata.duration_seconds, rel=0.01)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_agrees_with_opencv(tmp_path: Path, degrees: int) -> None:
    path = set_rotation(write_clip(tmp_path / "r.mp4"), counter_clockwise_degrees=degrees)
    metadata = read_metadata(path)
    assert metadata.rotation_degrees == degrees
    assert (metadata.height, metadata.width) == opencv_frames(path)[0].shape[:2]


def test_one_frame(tmp_path: Path) -> None:
    metadata = read_metadata(write_clip(tmp_path / "one.mp4", num_frames=1))
    assert (metadata.num_frames, metadata.frames_per_second) == (1, 25.0)
    assert metadata.duration_seconds == pytest.approx(0.04)


@pytest.mark.usefixtures("no_full_decode")
@pytest.mark.parametrize("name", ["still.jpg", "odd name: 50%03d [1].jpg", "still.png"])
def test_an_image_is_a_clip_of_one_frame_without_a_clock(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    suffix = path.suffix
    done, encoded = cv2.imencode(suffix, numbered_image(7)[:, :, ::-1])
    assert done
    path.write_bytes(encoded.tobytes())
    metadata = read_metadata(path)
    assert (metadata.num_frames, metadata.num_frames_declared) == (1, None)
    assert (metadata.width, metadata.height) == (96, 64)
    assert (metadata.frames_per_second, metadata.duration_seconds) == (0.0, 0.0)
    assert not metadata.is_truncated


@pytest.mark.usefixtures("no_full_decode")
def test_frames_hidden_by_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    path = set_edit_list(write_clip(tmp_path / "e.mp4", num_frames=40), first_frame=5, num_frames=20)
    metadata = read_metadata(path)
    assert metadata.num_frames == 20 == len(opencv_frames(path))
    assert metadata.num_frames_declared == 40
    assert metadata.duration_seconds == pytest.approx(0.8)
    assert not metadata.is_truncated


def test_repeated_slots_of_an_avi_are_not_missing_frames(tmp_path: Path) -> None:
    # The AVI writer fills the gaps between 40 ms slots with empty ones.
    path = write_clip(
        tmp_path / "slots.avi", codec="mjpeg", pixel_format="yuvj420p", times_ms=[0, 40, 80, 200, 240, 360]
    )
    metadata = read_metadata(path)
    assert metadata.num_frames == 6 == len(opencv_frames(path))
    assert metadata.num_frames_declared is not None
    assert metadata.num_frames_declared > 6
    assert not metadata.is_truncated


def test_interlaced_video_is_counted_by_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
    path = write_clip(tmp_path / "i.mp4", options=options)
    monkeypatch.setattr(metadata_module, "_decode_timestamps", lambda *_, **__: [0, 512, 1024])
    assert read_metadata(path).num_frames == 3
    monkeypatch.undo()
    assert read_metadata(path).num_frames == 30 == len(list(read_frames(path)))


def test_a_recording_that_starts_between_key_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.ts", num_frames=50)
    data = path.read_bytes()
    # The tables (first three packets of 188 bytes) stay; then some frames are missing.
    path.write_bytes(data[: 3 * 188] + data[len(data) // 188 * 3 // 10 * 188 :])
    metadata = read_metadata(path)
    assert 0 < metadata.num_frames < 50
    assert metadata.num_frames == len(list(read_frames(path))) == len(opencv_frames(path))


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("t.mp4", "libx264", "yuv420p"), ("t.avi", "mjpeg", "yuvj420p"), ("t.mkv", "libx264", "yuv420p")],
)
def test_a_file_cut_in_half_is_truncated(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    options = FRONT_INDEX if name.endswith("mp4") else None
    path = write_clip(
        tmp_path / name, num_frames=60, codec=codec, pixel_format=pixel_format, container_options=options
    )
    metadata = read_metadata(cut_off(path, keep=0.6))
    assert metadata.is_truncated
    assert 10 < metadata.num_frames < 50
    frames = list(read_frames(path, allow_truncated=True))
    assert metadata.num_frames == len(frames) >= len(opencv_frames(path))
    assert metadata.num_frames_declared == (None if name.endswith("mkv") else 60)
    # Not num_frames / 25: B-frames before the last frame may be missing.
    assert metadata.duration_seconds == pytest.approx(frames[-1].time_seconds + 0.04, abs=2e-3)


def test_a_file_that_lacks_only_its_last_bytes_is_truncated(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "t.mp4", num_frames=60, container_options=FRONT_INDEX)
    path.write_bytes(path.read_bytes()[:-10])
    metadata = read_metadata(path)
    assert metadata.is_truncated
    assert metadata.num_frames in (59, 60)


def test_a_fragmented_file_cut_off(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write_clip(tmp_path / "f.mp4", num_frames=60, container_options=options)
    assert read_metadata(path).num_frames == 60
    assert not read_metadata(path).is_truncated
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"mdat") + 100])  # in the middle of the last fragment's frames
    metadata = read_metadata(path)
    assert metadata.num_frames_declared is None
    assert metadata.is_truncated


def test_tags_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "tag.mp4", metadata={"comment": "ABCDEFGH"})
    replace_bytes(path, b"ABCDEFGH", b"\xff\xfe\xe4\xf6\xfc\xdf\xff\xff")
    assert read_metadata(path).num_frames == 30


def test_a_free_text_length_tag_is_no_length(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "tag.mkv")
    replace_bytes(path, b"00:00:01.200000000", b"about one second!!")
    assert not read_metadata(path).is_truncated


def write_gif(path: Path) -> Path:
    return write_clip(path, codec="gif", pixel_format="rgb8", num_frames=10)


def test_a_gif_without_its_end_is_truncated(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif")
    assert not read_metadata(path).is_truncated
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0")  # what follows the end mark does not matter
    assert not read_metadata(path).is_truncated
    for length in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_metadata(path).is_truncated
    # A cut right behind a byte that only looks like the end mark.
    path.write_bytes(whole[: whole.index(b"\x3b", 800) + 1])
    assert read_metadata(path).is_truncated


def test_a_jpeg_without_its_end_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    done, encoded = cv2.imencode(".jpg", numbered_image(7))
    assert done
    # A segment as cameras write it, with the end mark of a thumbnail in it, behind a fill byte.
    thumbnail = b"\xff\xff\xe1\x00\x06ab\xff\xd9"
    whole = encoded.tobytes()[:2] + thumbnail + encoded.tobytes()[2:]
    path.write_bytes(whole + b"more")
    assert not read_metadata(path).is_truncated
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert read_metadata(path).is_truncated
    assert len(list(read_frames(path, allow_truncated=True))) == 1
    with pytest.raises(VideoTruncatedError, match=r"the file ends too early; download the file again"):
        read_frames(path)


@pytest.mark.parametrize("path", [None, b"a.mp4", 3])
def test_what_is_no_path(path: Any) -> None:
    message = rf"video: is of type {type(path).__name__}; pass a path as str or pathlib\.Path"
    with pytest.raises(OptionError, match=message):
        read_metadata(path)
    with pytest.raises(OptionError, match=message):
        read_frames(path)


@pytest.mark.parametrize("name", ["a\0b.mp4", "a.mp4/b.mp4"])
def test_names_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(VideoNotFoundError, match="there is no such file; check the path"):
        read_metadata(tmp_path / name)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    message = r"cannot be read \(File name too long\); check its name and the disk it is on"
    with pytest.raises(VideoUnreadableError, match=message):
        read_metadata(tmp_path / ("a" * 300))


def test_a_pipe_is_rejected_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path(os.devnull)):
        with pytest.raises(VideoUnreadableError, match="is not a regular file; save the video to a file"):
            read_metadata(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError, match=r"gone\.mp4: there is no such file; check the path"):
        read_metadata(tmp_path / "gone.mp4")
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "gone.mp4")


def folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("It was a dark and stormy night.\n" * 50)


def cover_only(path: Path) -> None:
    write_sound(path, codec="libmp3lame", has_cover=True)


def without_index(path: Path) -> None:
    cut_off(write_clip(path, num_frames=60), keep=0.5)


def unknown_codec(path: Path) -> None:
    replace_bytes(write_clip(path), b"avc1", b"zzzz")


def nothing_decodes(path: Path) -> None:
    damage_packets(write_clip(path, num_frames=10), range(10))


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("x.mp4", playlist, "is a list of other files; pass the videos themselves"),
        ("x.mp4", folder, "is a folder; pass one of the video files in it"),
        ("x.mp4", empty, r"is empty \(0 bytes\); download the file again"),
        ("x.mp4", text, "is not a video FFmpeg can open .*; pass a video or image file"),
        ("x.txt", text, "is a text file; pass a video or image file"),
        ("x.m4a", write_sound, r"contains no video stream \(only audio\); pass a video or image file"),
        ("x.mp3", cover_only, r"contains no video stream \(only a cover image and audio\)"),
        ("x.mp4", without_index, "without a usable index .*; download the file again"),
        ("x.mp4", unknown_codec, "this FFmpeg does not support its video codec; convert it to H.264"),
        ("x.mp4", nothing_decodes, "no frame of its h264 video decodes; download the file again"),
    ],
)
def test_unreadable_files(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    make: Callable[[Path], object],
    message: str,
) -> None:
    make(tmp_path / name)
    capfd.readouterr()
    with pytest.raises(VideoUnreadableError, match=message) as caught:
        read_metadata(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, "cannot be read by this user; grant permission"),
        (errno.EIO, r"cannot be read \(Input/output error\); check its name and the disk"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "first open", "second open"])
def test_what_the_operating_system_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str, place: str
) -> None:
    # Not by chmod: the tests may run as a user who may read everything.
    path = tmp_path / "secret.mp4"
    text(path)
    num_opened = 0

    def refuse(*args: Any) -> Any:
        raise OSError(code, os.strerror(code))

    def count_and_refuse(*args: Any) -> Any:
        nonlocal num_opened
        num_opened += 1
        return refuse() if place == "first open" or num_opened == 2 else builtins.open(*args)

    if place == "folder":
        monkeypatch.setattr(files.os, "stat", refuse)
    else:
        monkeypatch.setattr(files, "open", count_and_refuse, raising=False)
    with pytest.raises(VideoUnreadableError, match=message):
        read_metadata(path)


def test_a_truncated_file_is_evaluated_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cut_off(write_clip(tmp_path / "t.mp4", container_options=FRONT_INDEX), keep=0.8)
    capfd.readouterr()
    assert read_metadata(path).is_truncated
    assert capfd.readouterr() == ("", "")
