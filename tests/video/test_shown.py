"""Frames of videos are those a player shows: mirrored, square, of the default stream, in SDR."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from deepfake_detect.errors import VideoLimitError
from deepfake_detect.faces import track_faces
from deepfake_detect.records import CropGeometry, Frame
from deepfake_detect.runtimes.faces import face_finder
from deepfake_detect.video import EvenlySpaced, decode, hdr, limits, read_frames, read_metadata
from deepfake_detect.video.limits import DecodingLimits
from deepfake_detect.video.metadata import _SHOWS_NONE
from tests.media import numbered_image, read_number, set_matrix, write_clip


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, 1, -1, 0), lambda image: image.swapaxes(0, 1)[:, ::-1]),
        ((0, -1, 1, 0), lambda image: image.swapaxes(0, 1)[::-1]),
        ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
    ],
)
def test_every_display_matrix(tmp_path: Path, matrix: tuple[int, int, int, int], shown: Any) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=2)
    stored = next(read_frames(path)).image
    set_matrix(path, *matrix)
    frame = next(read_frames(path))
    assert np.array_equal(frame.image, shown(stored))
    metadata = read_metadata(path)
    assert (metadata.height, metadata.width) == frame.image.shape[:2]
    turned = np.rot90(stored, metadata.rotation_degrees // 90)
    assert np.array_equal(turned[:, ::-1] if metadata.is_mirrored else turned, frame.image)


def write_with_aspect(path: Path, width: int, height: int, aspect: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"x264-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        image = numbered_image(42, width=width, height=height)
        for index in range(15):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(2), (192, 64)),
        (Fraction(1, 2), (96, 128)),
        (Fraction(16, 15), (102, 64)),
        (Fraction(500, 499), (96, 64)),
    ],
)
def test_frames_have_square_pixels(
    tmp_path: Path, suffix: str, aspect: Fraction, size: tuple[int, int]
) -> None:
    path = write_with_aspect(tmp_path / f"a{suffix}", 96, 64, aspect)
    metadata = read_metadata(path)
    assert (metadata.width, metadata.height) == size
    for frame in read_frames(path):
        assert frame.image.shape[1::-1] == size
        assert read_number(frame.image) == 42


def write_two_streams(path: Path, *, default: int | None, sizes: tuple[int, int]) -> Path:
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for number, width in enumerate(sizes):
            stream: Any = container.add_stream("libx264", rate=25, options={"x264-params": "log-level=none"})
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
            stream.disposition = int(Disposition.default) if number == default else 0
            streams.append(stream)
        for index in range(3):
            for number, stream in enumerate(streams):
                image = numbered_image(40 + number, width=stream.width)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("default", "sizes", "expected"),
    [
        (1, (64, 96), 41),
        (1, (96, 64), 41),
        (0, (64, 96), 40),
        (None, (64, 96), 41),
        (None, (96, 64), 40),
        (None, (96, 96), 40),
    ],
)
def test_the_default_stream_is_read_then_the_largest(
    tmp_path: Path, default: int | None, sizes: tuple[int, int], expected: int
) -> None:
    path = write_two_streams(tmp_path / "two.mkv", default=default, sizes=sizes)
    assert [read_number(frame.image) for frame in read_frames(path)] == [expected] * 3
    assert read_metadata(path).other_streams == (f"{sizes[41 - expected]} x 64 h264",)


def split_off_hidden(path: Path, out: Path) -> Path:
    """Put a copy of the first frame, marked as not shown, in a packet of its own."""
    with (
        av.open(str(path)) as source,
        av.open(str(out), "w", options={"fflags": "-autobsf"}) as container,
    ):
        stream = source.streams.video[0]
        target = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                copies = [bytes(packet)]
                if packet.pts == 0:
                    copies.insert(0, bytes([copies[0][0] & ~2]) + copies[0][1:])
                for number, data in enumerate(copies):
                    copy: Any = av.Packet(data)
                    copy.pts = copy.dts = packet.pts + number
                    copy.time_base, copy.stream = packet.time_base, target
                    copy.is_keyframe = packet.is_keyframe
                    container.mux(copy)
    return out


def test_a_vp9_packet_without_a_shown_frame_is_not_missing(tmp_path: Path) -> None:
    options = {"lag-in-frames": "0", "cpu-used": "8", "b": "0", "crf": "20"}
    plain = write_clip(tmp_path / "plain.webm", codec="libvpx-vp9", num_frames=9, options=options)
    hidden = split_off_hidden(plain, tmp_path / "hidden.webm")
    assert read_metadata(hidden).num_frames == 9
    frames, twins = list(read_frames(hidden)), list(read_frames(plain))
    for frame, twin in zip(frames, twins, strict=True):
        assert np.array_equal(frame.image, twin.image)


@pytest.mark.parametrize(
    ("codec", "packet", "shows_none"),
    [
        ("vp9", b"\x82\x49", False),
        ("vp9", b"\x80\x49", True),
        ("vp9", b"\x88\x00", False),  # shows an earlier frame
        ("vp9", b"\xb0\x00", True),  # profile 3
        ("vp9", b"\xb1\x00", False),
        ("vp9", b"\x80\x49\xc1", False),  # several frames
        ("av1", b"\x12\0" + b"\x32\x02\x10\0", False),
        ("av1", b"\x12\0" + b"\x32\x02\x00\0", True),
        ("av1", b"\x12\0" + b"\x1a\x01\x80", False),
        ("av1", b"\x12\0" + b"\x32\x02\0\0" + b"\x36\x08\x02\x10\0", False),
        ("av1", b"\x12\0", False),
        ("av1", b"\x32\xff", False),
        ("av1", b"\x30\x00", True),
    ],
)
def test_which_packets_show_nothing(codec: str, packet: bytes, shows_none: bool) -> None:
    assert _SHOWS_NONE[codec](memoryview(packet)) is shows_none


def write_hdr(path: Path, transfer: str) -> Path:
    tags = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
    return write_clip(
        path, codec="libx265", pixel_format="yuv420p10le", num_frames=3, options={"x265-params": tags}
    )


def test_hdr_is_mapped_to_sdr_by_one_set_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdr, "_LOCAL", SimpleNamespace())
    clip = write_hdr(tmp_path / "hlg.mp4", "arib-std-b67")
    mapped = [frame.image for frame in read_frames(clip)]
    assert [read_number(image) for image in mapped] == [0, 1, 2]
    raw_tags = {"x265-params": "log-level=none"}
    plain = write_clip(
        tmp_path / "sdr.mp4", codec="libx265", pixel_format="yuv420p10le", num_frames=3, options=raw_tags
    )
    raw = next(read_frames(plain)).image
    assert mapped[0].mean() > raw.mean() + 5  # HLG's middle tones are darker than a screen's
    (tables,) = hdr._LOCAL.graphs.values()
    again = [frame.image for frame in read_frames(clip)]
    assert [graph is tables for graph in hdr._LOCAL.graphs.values()] == [True]
    assert np.array_equal(again, mapped)


def test_any_number_of_threads_gives_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"bf": "3", "g": "12", "x264-params": "slices=4:b-pyramid=normal:log-level=none"}
    path = write_clip(tmp_path / "a.mp4", num_frames=40, width=192, height=128, options=options)
    found = []
    for most in (1, 2, 16):
        monkeypatch.setattr(decode, "_MOST_THREADS", most)
        monkeypatch.setattr(decode.os, "cpu_count", lambda: 8)
        found.append([frame.image for frame in read_frames(path, sampling=EvenlySpaced(7))])
    for images in zip(*found, strict=True):
        assert np.array_equal(images[0], images[1])
        assert np.array_equal(images[0], images[2])


def test_large_frames_and_long_clips_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=10)
    with pytest.raises(
        VideoLimitError, match="has frames of 96 x 64 pixels; 0.006 megapixels are allowed; scale it down, or"
    ):
        read_metadata(path, limits=DecodingLimits(max_pixels=6000))
    with pytest.raises(
        VideoLimitError, match="has more than 9 frames; cut out a part, or raise `max_frames`"
    ):
        read_metadata(path, limits=DecodingLimits(max_frames=9))
    with pytest.raises(
        VideoLimitError, match="takes more than 1e-09 seconds to decode; cut out a part, or raise `max_deco"
    ):
        list(read_frames(path, limits=DecodingLimits(max_decoding_seconds=1e-9)))
    wide = write_with_aspect(tmp_path / "wide.mp4", 96, 64, Fraction(40))
    with pytest.raises(VideoLimitError, match="has frames of 3840 x 64 pixels"):
        read_metadata(wide, limits=DecodingLimits(max_pixels=200_000))


def test_a_picture_bomb_in_a_clip_is_not_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", codec="png", pixel_format="rgb24", num_frames=1, options={})
    data = path.read_bytes()
    # A frame's own size, which the file's head does not have.
    position = data.index(b"IHDR") + 4
    path.write_bytes(data[:position] + (30000).to_bytes(4, "big") * 2 + data[position + 8 :])
    with pytest.raises(Exception, match="no frame of its png video decodes|pixels"):
        read_metadata(path)


def test_a_decoder_that_holds_too_many_large_frames_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", num_frames=12)
    num_pixels = 96 * 64
    monkeypatch.setattr(limits, "_LARGE_PIXELS", num_pixels - 1)
    assert len(list(read_frames(path))) == 12
    monkeypatch.setattr(limits, "_MOST_BYTES", 18 * num_pixels)  # room for two frames in YUV 4:2:0
    with pytest.raises(VideoLimitError, match="takes too much memory to decode; scale it down"):
        list(read_frames(path))


def test_a_large_frame_is_in_memory_no_longer_than_needed(tmp_path: Path) -> None:
    alive = weakref.WeakSet[Frame]()

    def frames() -> Iterator[Frame]:
        for number in range(4):
            assert not alive  # the one before was dropped before this one is made
            frame = Frame(np.zeros((3000, 3100, 3), np.uint8), number, float(number))
            alive.add(frame)
            yield frame
            del frame

    faces = face_finder("onnx", num_threads=4, min_face=2900)
    followed = list(track_faces(frames(), detector=faces, geometry=CropGeometry()))
    assert [frame.frame_index for frame in followed] == [0, 1, 2, 3]
