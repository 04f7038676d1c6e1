"""HEVC with wavefronts, as x265 writes it: rows of blocks can be decoded apart, and so check one another.

A decoder that works row after row starts each one where the one before has ended; one with slice threads
starts each where the slice's header says. They agree unless a row is damaged, which FFmpeg does not notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from deepfake_detect.video.container import decode_packets, open_video
from deepfake_detect.video.limits import DecodingLimits

_PICTURE_PARAMETERS = 34
_MOST_PIXELS = 9_000_000  # above 4K, a second decoder would fill the memory


class _Bits:
    """Reads the bits of a parameter set."""

    def __init__(self, unit: bytes) -> None:
        data = re.sub(b"\0\0\3", b"\0\0", unit[2:])  # after its header, without escapes
        self._bits = "".join(f"{byte:08b}" for byte in data)

    def take(self, count: int) -> int:
        taken, self._bits = self._bits[:count], self._bits[count:]
        return int(taken, 2)  # a ValueError at the end

    def number(self) -> int:
        """Read an Exp-Golomb code."""
        num_zeros = len(self._bits) - len(self._bits.lstrip("0"))
        return self.take(2 * num_zeros + 1) - 1


def has_wavefronts(parameter_sets: bytes | None) -> bool:
    """Return whether the parameter sets of an HEVC stream say that rows can be decoded apart."""
    try:
        return any(
            unit[0] >> 1 & 0x3F == _PICTURE_PARAMETERS and _is_synchronized(_Bits(unit))
            for unit in _units(parameter_sets or b"")
        )
    except (ValueError, IndexError):  # damaged, which the decoder finds
        return False


def _units(data: bytes) -> Iterator[bytes]:
    if data[:1] != b"\1":  # as in a transport stream
        yield from (unit for unit in re.split(b"\0\0\1", data) if len(unit) > 2)
        return
    position = 23
    for _ in range(data[22]):
        count, position = int.from_bytes(data[position + 1 : position + 3], "big"), position + 3
        for _ in range(count):
            size, position = int.from_bytes(data[position : position + 2], "big"), position + 2
            yield data[position : position + size]
            position += size


def _is_synchronized(bits: _Bits) -> bool:
    """Read a picture parameter set up to ``entropy_coding_sync_enabled_flag``."""
    for _ in range(2):  # its number, and that of its sequence
        bits.number()
    bits.take(7)  # dependent slices, output, three extra bits, signs, CABAC
    for _ in range(3):  # references, twice, and quantizer
        bits.number()
    bits.take(2)  # constrained intra prediction, transform skip
    if bits.take(1):
        bits.number()  # depth of quantizers
    for _ in range(2):  # quantizers of colors
        bits.number()
    bits.take(5)  # colors by slice, weights, weights of two, bypass, tiles
    return bits.take(1) == 1


def find_disagreements(
    frames: Iterator[VideoFrame], path: Path, limits: DecodingLimits, found: set[int | None]
) -> Iterator[VideoFrame]:
    """Yield frames; the times of those that slice threads decode otherwise are put into ``found`` before.

    Frames above 4K are not compared.
    """
    with open_video(path, limits=limits) as (container, stream):
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 2
        twins = (twin for batch in decode_packets(container, stream, is_tolerant=True) for twin in batch)
        twin = None
        for frame in frames:
            if frame.width * frame.height > _MOST_PIXELS or frame.pts is None:
                yield frame
                continue
            while twin is None or (twin.pts is not None and twin.pts < frame.pts):
                twin = next(twins, None)
                if twin is None:
                    break
            if twin is not None and twin.pts == frame.pts and not _are_equal(frame, twin):
                found.add(frame.pts)
            yield frame


def _are_equal(frame: VideoFrame, other: VideoFrame) -> bool:
    if (frame.format.name, frame.width, frame.height) != (other.format.name, other.width, other.height):
        return False
    num_bytes = 2 if frame.format.components[0].bits > 8 else 1  # per value
    pairs = zip(frame.planes, other.planes, strict=True)
    return all(np.array_equal(_values(one, num_bytes), _values(twin, num_bytes)) for one, twin in pairs)


def _values(plane: VideoPlane, num_bytes: int) -> np.ndarray:
    lines: np.ndarray = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    return lines[: plane.height, : plane.width * num_bytes]
