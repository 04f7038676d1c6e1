"""VideoWriter: what goes in comes out, with the sound, or nothing is left behind."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deepfake_detect.errors import (
    ImageError,
    OptionError,
    VideoError,
    VideoNotFoundError,
    VideoUnreadableError,
)
from deepfake_detect.video import VideoWriter, read_frames, read_metadata
from deepfake_detect.video import encode as encode_module
from tests.media import (
    damage_packets,
    numbered_image,
    opencv_frames,
    read_number,
    replace_bytes,
    write_clip,
    write_sound,
)


def write(path: Path, *, num_frames: int = 30, width: int = 96, height: int = 64, **options: Any) -> Path:
    options.setdefault("frames_per_second", 25)
    with VideoWriter(path, width=width, height=height, **options) as writer:
        for index in range(num_frames):
            writer.write(numbered_image(index, width=width, height=height))
    return path


def sound_packets(path: Path) -> tuple[str, list[tuple[float, bytes]]]:
    """Return the sound's codec and each packet's time in seconds and data."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        data = [(float((packet.pts or 0) * packet.time_base), bytes(packet)) for packet in packets]
        return stream.codec_context.name, data


def test_frames_come_back(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "out.mp4")
    metadata = read_metadata(path)
    assert (metadata.codec, metadata.pixel_format) == ("h264", "yuv420p")
    assert (metadata.width, metadata.height, metadata.num_frames) == (96, 64, 30)
    assert metadata.duration_seconds == pytest.approx(1.2)
    for index, frame in enumerate(read_frames(path)):
        assert read_number(frame.image) == index
        assert np.abs(frame.image.astype(int) - numbered_image(index)).mean() < 2
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index is at the front


@pytest.mark.parametrize("color", [(220, 30, 30), (30, 220, 30), (30, 30, 220), (250, 250, 250), (5, 5, 5)])
def test_colors_come_back_for_readers_that_heed_the_tags_and_others(
    tmp_path: Path, color: tuple[int, int, int]
) -> None:
    image = np.full((64, 96, 3), color, dtype=np.uint8)
    with VideoWriter(tmp_path / "c.mp4", width=96, height=64, frames_per_second=25) as writer:
        writer.write(image)
    for decoded in (next(read_frames(tmp_path / "c.mp4")).image, opencv_frames(tmp_path / "c.mp4")[0]):
        assert np.abs(decoded.astype(int) - image).max() <= 4
    with av.open(str(tmp_path / "c.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (6, 1)


@pytest.mark.parametrize("size", [(97, 64), (96, 65), (97, 65), (1, 1)])
def test_odd_sides_grow_by_the_last_row_or_column(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    # Stripes one pixel wide show any scaling or shifting.
    stripes = np.where((np.arange(width) + np.arange(height)[:, None]) % 2, 60, 190).astype(np.uint8)
    image = np.stack([stripes] * 3, axis=2)  # (H, W, 3)
    with VideoWriter(tmp_path / "odd.mp4", width=width, height=height, frames_per_second=25) as writer:
        writer.write(image)
    (frame,) = read_frames(tmp_path / "odd.mp4")
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert frame.image.shape == padded.shape
    assert np.abs(frame.image.astype(int) - padded).mean() < 10


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (25, Fraction(25)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (29.97, Fraction(2997, 100)),
        (30000 / 1001, Fraction(30000, 1001)),
        (np.float64(12.5), Fraction(25, 2)),
        (0.089, Fraction(89, 1000)),
        (0.01, Fraction(1, 100)),
    ],
)
def test_the_rate_is_exact(tmp_path: Path, given: float | Fraction, expected: Fraction) -> None:
    path = write(tmp_path / "rate.mp4", frames_per_second=given)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == expected
    assert read_metadata(path).duration_seconds == pytest.approx(float(30 / expected), abs=1e-4)


@pytest.mark.parametrize(("codec", "name"), [("aac", "s.mp4"), ("libmp3lame", "s.mp4"), ("flac", "s.mkv")])
def test_sound_is_copied_as_it_is(tmp_path: Path, codec: str, name: str) -> None:
    source = write_clip(tmp_path / name, sound=codec)
    path = write(tmp_path / "out.mp4", audio_from=source)
    source_codec, source_packets = sound_packets(source)
    out_codec, out_packets = sound_packets(path)
    assert out_codec == source_codec
    assert [data for _, data in out_packets] == [data for _, data in source_packets]
    times = [time for time, _ in out_packets]
    assert times == pytest.approx([time for time, _ in source_packets], abs=2e-3)
    assert len(list(read_frames(path))) == 30


def test_sound_that_mp4_has_no_place_for_becomes_aac(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "s.mkv", sound="pcm_u8", num_frames=50)
    codec, packets = sound_packets(write(tmp_path / "out.mp4", num_frames=50, audio_from=source))
    assert codec == "aac"
    assert packets[-1][0] == pytest.approx(2.0, abs=0.1)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 16000
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(heard[4000:20000]))
    assert np.argmax(spectrum) == 440  # 16,000 samples of a second: one line a hertz


@pytest.mark.parametrize("sound", ["aac", "pcm_u8"])
def test_sound_stays_in_step_with_a_video_that_starts_late(tmp_path: Path, sound: str) -> None:
    times = [400 + 40 * index for index in range(30)]
    source = write_clip(tmp_path / "late.mkv", times_ms=times, sound=sound)
    _, source_packets = sound_packets(source)
    _, packets = sound_packets(write(tmp_path / "out.mp4", audio_from=source))
    assert source_packets[-1][0] - packets[-1][0] == pytest.approx(0.4, abs=0.1)
    assert packets[0][0] == pytest.approx(0, abs=0.13)
    if sound == "aac":
        kept = [data for time, data in source_packets if time > 0.4]
        assert [data for _, data in packets][-len(kept) :] == kept


def test_a_sound_file_will_do(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "tone.m4a")
    path = write(tmp_path / "out.mp4", audio_from=source)
    assert sound_packets(path)[1] == sound_packets(source)[1]


def test_a_source_without_sound_adds_none(tmp_path: Path) -> None:
    path = write(tmp_path / "out.mp4", audio_from=write_clip(tmp_path / "silent.mp4"))
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_nothing_is_left_of_a_block_that_raises(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old file")
    writer = VideoWriter(path, width=96, height=64, frames_per_second=25)
    with pytest.raises(ImageError, match="image: is"), writer:  # noqa: PT012 (the block is what is tested)
        writer.write(numbered_image(0))
        writer.write(numbered_image(0, width=10))
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_with_a_colon_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write(Path("a:b.mp4"), num_frames=1).exists()


def test_a_file_without_frames_is_rejected(tmp_path: Path) -> None:
    message = "no frame was written to it; write at least one frame"
    writer = VideoWriter(tmp_path / "out.mp4", width=96, height=64, frames_per_second=25)
    with pytest.raises(VideoError, match=message), writer:
        pass
    assert list(tmp_path.iterdir()) == []


def test_writing_outside_the_block(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", width=96, height=64, frames_per_second=25)
    with pytest.raises(VideoError, match="is not open for writing; call write inside the with block"):
        writer.write(numbered_image(0))
    with writer:
        writer.write(numbered_image(0))
    with pytest.raises(VideoError, match="is not open for writing"):
        writer.write(numbered_image(0))


@pytest.mark.parametrize(
    ("image", "described"),
    [
        (numbered_image(0, width=90), r"a uint8 array of shape \(64, 90, 3\)"),
        (numbered_image(0)[:, :, 0], r"a uint8 array of shape \(64, 96\)"),
        (numbered_image(0) / 255, r"a float64 array of shape \(64, 96, 3\)"),
        ([[0, 0, 0]], "of type list"),
    ],
)
def test_images_of_the_wrong_kind(tmp_path: Path, image: Any, described: str) -> None:
    message = rf"image: is {described}; pass an RGB uint8 array of shape \(64, 96, 3\)"
    writer = VideoWriter(tmp_path / "out.mp4", width=96, height=64, frames_per_second=25)
    with pytest.raises(ImageError, match=message), writer:
        writer.write(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"width: is 0; must be an integer from 1 to 16384"),
        ({"width": 20000}, r"width: is 20000;"),
        ({"height": 64.0}, r"height: is 64\.0;"),
        ({"height": True}, r"height: is True;"),
        ({"frames_per_second": 0}, r"frames_per_second: is 0; must be a number from 0\.01 to 1000"),
        ({"frames_per_second": float("nan")}, r"frames_per_second: is nan;"),
        ({"frames_per_second": "25"}, r"frames_per_second: is '25';"),
        ({"frames_per_second": 2000}, r"frames_per_second: is 2000;"),
        ({"frames_per_second": 0.009}, r"frames_per_second: is 0\.009;"),
        ({"audio_from": b"a.mp4"}, r"audio_from: is of type bytes; pass a path as str or pathlib\.Path"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        VideoWriter(tmp_path / "out.mp4", **{"width": 96, "height": 64, "frames_per_second": 25, **options})


def test_the_suffix_must_show_the_format(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"path: .*out\.avi does not end in \.mp4; use the suffix"):
        VideoWriter(tmp_path / "out.avi", width=96, height=64, frames_per_second=25)


def test_an_ffmpeg_without_libx264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encode_module._ENCODERS, "h264", "no_such_encoder")
    with pytest.raises(VideoError, match=r"cannot write h264 \(no no_such_encoder\); install PyAV"):
        write(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_sound_sources_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError, match="there is no such file"):
        write(tmp_path / "out.mp4", audio_from=tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("no sound here\n" * 40)
    with pytest.raises(VideoUnreadableError, match="is not a video FFmpeg can open"):
        write(tmp_path / "out.mp4", audio_from=tmp_path / "text.mp4")
    unknown = replace_bytes(write_clip(tmp_path / "u.mov", sound="pcm_s16le"), b"sowt", b"zzzz")
    with pytest.raises(VideoError, match="this FFmpeg does not support its audio codec; omit `audio_from`"):
        write(tmp_path / "out.mp4", audio_from=unknown)
    damaged = damage_packets(write_sound(tmp_path / "d.mkv", codec="tta"), [0], kind="audio")
    with pytest.raises(VideoError, match=r"its audio cannot be read \(.*\); omit `audio_from`"):
        write(tmp_path / "out.mp4", audio_from=damaged)
    assert not (tmp_path / "out.mp4").exists()


def damaged_ac3(path: Path) -> Path:
    return damage_packets(write_sound(path, codec="ac3", rate=48000), [1, 2], kind="audio")


def test_sound_that_does_not_say_which_channel_is_left_becomes_aac(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "s.mkv", codec="pcm_s16le", layout="stereo")
    path = write(tmp_path / "out.mp4", audio_from=source)
    assert sound_packets(path)[0] == "aac"
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert frames[0].layout.name == "stereo"
    assert np.abs(frames[3].to_ndarray()).max() > 0.1


def test_sound_that_the_muxer_rejects(tmp_path: Path) -> None:
    # Closing the file fails as well, and must not hide why.
    source = damaged_ac3(tmp_path / "s.mkv")
    message = r"s\.mkv: its audio does not fit into an MP4 file \(.*\); omit `audio_from`"
    with pytest.raises(VideoError, match=message):
        write(tmp_path / "out.mp4", audio_from=source)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("when", ["opening", "writing", "closing"])
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def fail(*args: Any) -> None:
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    class FullDisk:
        """A container on a disk that fills up at a given time."""

        def __init__(self, *args: Any, **options: Any) -> None:
            if when == "opening":
                fail()
            self._container = real_open(*args, **options)
            self.mux = fail if when == "writing" else self._container.mux

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def close(self) -> None:
            self._container.close()
            if when == "closing":
                fail()

    real_open = av.open
    monkeypatch.setattr(encode_module.av, "open", FullDisk)
    message = r"out\.mp4: cannot be written \(No space left on device\); check the free space"
    with pytest.raises(VideoError, match=message):
        write(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
