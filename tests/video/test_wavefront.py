"""Damage of HEVC that FFmpeg does not notice: rows that can be decoded apart disagree."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from deepfake_detect.errors import VideoTruncatedError
from deepfake_detect.video import VideoReader, read_frames
from deepfake_detect.video.wavefront import has_wavefronts
from tests.media import write_clip

PLAIN = "log-level=none:pools=2:ctu=16:min-cu-size=8"


def hevc(path: Path, parameters: str = PLAIN, *, pixel_format: str = "yuv420p") -> Path:
    options = {"x265-params": parameters, "preset": "ultrafast"}
    size = {"width": 320, "height": 256}
    return write_clip(path, codec="libx265", num_frames=8, pixel_format=pixel_format, options=options, **size)


def parameter_sets(path: Path) -> bytes | None:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.extradata


def damage_first_picture(path: Path) -> None:
    with av.open(str(path)) as container:
        packet = next(packet for packet in container.demux(video=0) if packet.is_keyframe)
        start, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    for position in range(start + size // 2, start + size - 10, size // 20):
        data[position] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_intact_clips_agree(suffix: str, pixel_format: str, tmp_path: Path) -> None:
    path = hevc(tmp_path / f"a.{suffix}", pixel_format=pixel_format)
    assert has_wavefronts(parameter_sets(path))
    reader = VideoReader(path)
    assert len(list(reader.frames())) == 8
    assert reader.bad_fraction == 0


def test_clips_without_wavefronts_are_known(tmp_path: Path) -> None:
    assert not has_wavefronts(parameter_sets(hevc(tmp_path / "a.mp4", PLAIN + ":wpp=0")))
    assert not has_wavefronts(None)
    assert not has_wavefronts(b"\1" + bytes(21) + b"\xff")  # damaged


def test_a_damaged_picture_is_found(tmp_path: Path) -> None:
    path = hevc(tmp_path / "a.mp4")
    damage_first_picture(path)
    with pytest.raises(VideoTruncatedError, match="not all of its 8 frames decode"):
        list(read_frames(path))
