"""Gaps and cuts of containers, which FFmpeg passes over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.errors import VideoTruncatedError, VideoUnreadableError
from deepfake_detect.video import EvenlySpaced, VideoReader, read_frames, read_metadata
from deepfake_detect.video.structure import structure_damage
from tests.media import damage_packets, replace_bytes, set_edit_list, set_rotation, write_clip

CONTAINERS = {
    "a.mkv": ("matroska,webm", "libx264"),
    "a.webm": ("matroska,webm", "libvpx"),
    "a.ts": ("mpegts", "libx264"),
    "a.mpg": ("mpeg", "mpeg2video"),
    "a.flv": ("flv", "flv1"),
    "a.avi": ("avi", "mpeg4"),
}


@pytest.fixture(params=sorted(CONTAINERS))
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    codec = {"flv1": "flv"}.get(CONTAINERS[request.param][1], CONTAINERS[request.param][1])
    return write_clip(tmp_path / request.param, codec=codec, num_frames=40, width=192, height=128)


def container_of(clip: Path) -> str:
    return CONTAINERS[clip.name][0]


def test_a_whole_file_has_no_gap(clip: Path) -> None:
    assert structure_damage(clip, container_of(clip)) is None
    assert read_metadata(clip).num_frames == 40


def test_a_cut_is_said(clip: Path) -> None:
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 6 // 10 // 188 * 188 + 40])
    assert structure_damage(clip, container_of(clip)) == "the file ends within a frame"
    with pytest.raises(VideoTruncatedError, match="ends within a frame|ends too early|declared frames"):
        read_frames(clip)
    reader = VideoReader(clip, allow_truncated=True)
    assert len(list(reader.frames(EvenlySpaced(3)))) > 0
    assert reader.is_damaged


def test_a_gap_is_said(clip: Path) -> None:
    whole = clip.read_bytes()
    middle = len(whole) // 2
    clip.write_bytes(whole[:middle] + whole[middle + 333 :])
    assert structure_damage(clip, container_of(clip)) is not None
    with pytest.raises(VideoTruncatedError, match="do not fit together|ends within a frame|too early"):
        read_frames(clip)


def test_a_live_recording_states_no_sizes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "live.webm", codec="libvpx", num_frames=40, container_options={"live": "1"})
    assert structure_damage(path, "matroska,webm") is None
    assert read_metadata(path).num_frames == 40


MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {}), ("a.mov", {}), ("a.mp4", FRAGMENTED), ("a.mov", FRAGMENTED)]
)
def test_a_whole_mp4_has_no_gap(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = write_clip(tmp_path / name, num_frames=4, sound="aac", container_options=options)
    whole = path.read_bytes()
    for behind in (b"", b"behind it", bytes(40), b"\0\0\0\1free" + b"\xff" * 8):
        path.write_bytes(whole + behind)
        assert structure_damage(path, MP4) is None
    assert not read_metadata(path).is_truncated


@pytest.mark.parametrize("kind", [b"mvhd", b"tkhd", b"mdhd", b"elst", b"edts"])
def test_an_mp4_without_a_header_is_damaged(tmp_path: Path, kind: bytes) -> None:
    """FFmpeg guesses times, forgets turns and shows what is cut out."""
    path = write_clip(tmp_path / "a.mp4", num_frames=12)
    set_edit_list(set_rotation(path, counter_clockwise_degrees=90), first_frame=3, num_frames=6)
    assert structure_damage(path, MP4) is None
    replace_bytes(path, kind, b"\0\0\0\1")
    assert structure_damage(path, MP4) == "is damaged: parts of it are missing or do not fit together"
    with pytest.raises((VideoTruncatedError, VideoUnreadableError), match="do not fit together|no frame of"):
        read_frames(path)


def test_a_fragment_that_states_fewer_samples_is_damaged(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=12, container_options=FRAGMENTED)
    data = bytearray(path.read_bytes())
    count = data.index(b"trun") + 8
    data[count : count + 4] = (2).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(VideoTruncatedError, match="do not fit together"):
        read_frames(path)


def test_nested_boxes_are_followed_no_deeper_than_they_may_be(tmp_path: Path) -> None:
    data = b""
    for _ in range(3000):
        data = (len(data) + 8).to_bytes(4, "big") + b"trak" + data
    path = tmp_path / "a.mp4"
    path.write_bytes((len(data) + 8).to_bytes(4, "big") + b"moov" + data)
    assert structure_damage(path, MP4) is not None


def test_other_containers_are_not_walked(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mjpeg", codec="mjpeg", pixel_format="yuvj420p")
    assert structure_damage(path, "mjpeg") is None


def test_nothing_intact_is_an_error_even_if_damage_is_allowed(tmp_path: Path) -> None:
    options = {"lag-in-frames": "0", "cpu-used": "8", "b": "0", "crf": "20"}
    clip = write_clip(tmp_path / "a.webm", codec="libvpx-vp9", num_frames=9, options=options)
    damage_packets(clip, [0], fill=b"\x82\x49\x83\x42\x00" + b"\xa5" * 30)
    with pytest.raises((VideoUnreadableError, VideoTruncatedError), match="is damaged|no frame of its"):
        list(read_frames(clip))
    with pytest.raises(VideoUnreadableError, match="none of its frames is intact|no frame of its"):
        list(read_frames(clip, allow_truncated=True))
