"""Small media files for tests: each frame shows its own number, so a test can read what it got.

The clips are made with PyAV; :func:`opencv_frames` decodes them with OpenCV, the independent twin.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition

_NUM_BITS = 8
_X264_OPTIONS = {"crf": "18", "bf": "2", "g": "12", "x264-params": "log-level=none"}


def numbered_image(number: int, *, width: int = 96, height: int = 64) -> np.ndarray:
    """Return RGB uint8 (height, width, 3) that shows ``number`` (0 to 255).

    The upper half holds eight blocks, black for 0 and white for 1, most significant bit on the
    left; the lower half is a color ramp from left to right, so no two orientations are alike.
    """
    image = np.zeros((height, width, 3), dtype=np.uint8)
    ramp = np.linspace(40, 200, width).astype(np.uint8)
    image[height // 2 :, :, 0] = ramp
    image[height // 2 :, :, 2] = ramp[::-1]
    for bit in range(_NUM_BITS):
        left, right = bit * width // _NUM_BITS, (bit + 1) * width // _NUM_BITS
        image[: height // 2, left:right] = 255 if number >> (_NUM_BITS - 1 - bit) & 1 else 0
    return image


def read_number(image: np.ndarray) -> int:
    """Return the number an upright image shows."""
    height, width = image.shape[:2]
    number = 0
    for bit in range(_NUM_BITS):
        center = (2 * bit + 1) * width // (2 * _NUM_BITS)
        number = number << 1 | int(image[height // 4, center].mean() > 127)
    return number


def write_clip(
    path: Path,
    *,
    num_frames: int = 30,
    width: int = 96,
    height: int = 64,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: Fraction | int = 25,
    times_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    sound: str | None = None,
) -> Path:
    """Write a clip whose frame k shows k (modulo 256) and return its path.

    Args:
        times_ms: Presentation time of each frame in milliseconds, for variable frame rate; sets
            the number of frames.
        options: Of the encoder; H.264 has B-frames and a key frame every 12 pictures by default.
        container_options: Of the muxer, such as ``{"movflags": "+faststart"}``.
        metadata: Tags of the file.
        sound: Codec of a sound stream as long as the video; ``None`` for no sound.
    """
    if options is None:
        options = _X264_OPTIONS if codec == "libx264" else {}
    num_frames = num_frames if times_ms is None else len(times_ms)
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate=rate, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        time_base = 1 / Fraction(rate) if times_ms is None else Fraction(1, 1000)
        stream.codec_context.time_base = time_base
        if sound is not None:
            _add_tone(container, sound, num_frames / Fraction(rate))
        for index in range(num_frames):
            image = numbered_image(index % 256, width=width, height=height)
            # Converted here: what PyAV's encoder converts itself may differ from run to run.
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts = index if times_ms is None else times_ms[index]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(
    path: Path,
    *,
    codec: str = "aac",
    seconds: float = 0.5,
    rate: int = 16000,
    layout: str = "mono",
    has_cover: bool = False,
) -> Path:
    """Write a tone without video; ``has_cover`` adds a cover picture, as music files have."""
    with av.open(str(path), "w") as container:
        cover: Any = None
        if has_cover:
            cover = container.add_stream("png", rate=1)
            cover.width, cover.height, cover.pix_fmt = 96, 64, "rgb24"
            cover.disposition = int(Disposition.attached_pic)
        _add_tone(container, codec, Fraction(seconds), rate=rate, layout=layout)
        if cover is not None:
            frame = av.VideoFrame.from_ndarray(numbered_image(1), format="rgb24")
            container.mux(cover.encode(frame))
            container.mux(cover.encode(None))
    return path


def _add_tone(
    container: Any, codec: str, seconds: Fraction, *, rate: int = 16000, layout: str = "mono"
) -> None:
    stream: Any = container.add_stream(codec, rate=rate)
    stream.codec_context.layout = layout
    # The muxer writes the file's head with the first packet and must know all streams by then, so
    # the tone is encoded with the video stream already added but nothing muxed.
    seconds_each = np.arange(int(seconds * rate)) / rate
    tone = (8000 * np.sin(2 * math.pi * 440 * seconds_each)).astype(np.int16)
    for start in range(0, len(tone), 1024):
        # (1, samples * channels): those of one time side by side
        samples = np.repeat(tone[start : start + 1024], stream.codec_context.channels)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def opencv_frames(path: Path) -> list[np.ndarray]:
    """Decode a clip with OpenCV to RGB uint8 arrays, upright as OpenCV turns them."""
    capture = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while True:
        came, image = capture.read()
        if not came:
            return frames
        frames.append(np.ascontiguousarray(image[:, :, ::-1]))


def opencv_converts_alike() -> bool:
    """Tell whether OpenCV was built with the same generation of FFmpeg's color conversion as PyAV."""
    versions = re.search(r"swscale: +YES \((\d+)\.", cv2.getBuildInformation())
    return versions is not None and int(versions[1]) == av.library_versions["libswscale"][0]


def set_rotation(path: Path, *, counter_clockwise_degrees: int) -> Path:
    """Patch an MP4's first track so that players turn its pictures by 90, 180 or 270 degrees."""
    angle = math.radians(-counter_clockwise_degrees)  # the matrix turns clockwise
    cosine, sine = round(math.cos(angle)), round(math.sin(angle))
    return set_matrix(path, cosine, sine, -sine, cosine)


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Patch an MP4's first track: a pixel is shown at x' = a x + c y, y' = b x + d y."""
    data = bytearray(path.read_bytes())
    # Behind the box's name: version and flags, times, track, duration, layer, volume.
    position = data.index(b"tkhd") + 44
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[position : position + len(matrix)] = matrix
    path.write_bytes(bytes(data))
    return path


def set_edit_list(path: Path, *, first_frame: int, num_frames: int, rate: int = 25) -> Path:
    """Patch an MP4 of :func:`write_clip` so that only ``num_frames`` from ``first_frame`` are shown."""
    data = bytearray(path.read_bytes())
    units_per_second = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    movie_units_per_second = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    position = data.index(b"elst") + 12  # behind version, flags and number of entries
    media_start = struct.unpack_from(">i", data, position + 4)[0]
    media_start += first_frame * units_per_second // rate
    struct.pack_into(">Ii", data, position, num_frames * movie_units_per_second // rate, media_start)
    path.write_bytes(bytes(data))
    return path


def replace_bytes(path: Path, old: bytes, new: bytes) -> Path:
    """Replace every occurrence of ``old`` by ``new`` of the same length."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def cut_off(path: Path, *, keep: float) -> Path:
    """Keep the first part of a file, as a download that stopped does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def damage_packets(path: Path, indices: Iterable[int], *, kind: str = "video", fill: bytes = b"\xff") -> Path:
    """Overwrite whole packets, counted in file order, so that their pictures cannot be decoded."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    data = bytearray(path.read_bytes())
    # Looked for by their bytes: not every container tells where a packet's data begin.
    places: list[slice] = []
    end = 0
    for packet in packets:
        start = data.index(packet, end)
        end = start + len(packet)
        places.append(slice(start, end))
    for index in indices:
        length = len(packets[index])
        data[places[index]] = (fill * length)[:length]
    path.write_bytes(bytes(data))
    return path
