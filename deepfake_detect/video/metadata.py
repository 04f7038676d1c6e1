"""Metadata of a video file, checked against the frames it really holds.

A container's own count is not reliable: an incomplete download still declares all of its frames. So the
packets are counted, which reads the file once and decodes one frame; only if that pass finds something
unusual is the whole file decoded to count its frames.

:func:`scan_video` is for ``decode.py``; all other code calls :func:`read_metadata`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, dropwhile, pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import VideoMetadata
from deepfake_detect.video.container import (
    decode_packet,
    decode_packets,
    open_video,
    read_packets,
    video_streams,
    without_lead,
)
from deepfake_detect.video.files import (
    check_file,
    checked_path,
    file_head,
    missing_part,
)
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits
from deepfake_detect.video.stills import Still, is_still, scan_still
from deepfake_detect.video.structure import structure_damage

# Codecs whose packets hold exactly one frame each. In the others a packet may hold a frame that is never
# shown (VP8), none (MPEG-4 after some AVI writers) or half of one.
_ONE_FRAME_PER_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "png", "ffv1"})

# Codecs in which a frame may refer to a later one, so that frames are not stored in presentation order.
# AVI has no field for that order.
_REORDERING = frozenset({"h264", "hevc"})
_HEAD_BYTES = 600  # name every container
# Pixels that are wider than high by less than this are not resized: the difference is invisible.
_LEAST_ASPECT_DIFFERENCE = 0.01
# Steps between frames that show a constant rate: how many, how equal, and which part of all.
_LEAST_STEPS, _STEP_TOLERANCE, _LEAST_REGULAR = 4, 0.1, 0.4


@dataclass(frozen=True, eq=False)
class ScannedVideo:
    """A clip's metadata with what decoding it needs.

    Attributes:
        metadata: The metadata.
        timestamps: One for each decodable frame in presentation order, in units of ``time_base``,
            ascending and unique; ``None`` if the file has no such timestamps.
        time_base: Length of one unit in seconds.
        is_regular: Whether every packet holds exactly one progressive frame and decoding can start with
            the first.
        starts_decodable: Whether decoding can start with the first packet.
        shown_size: Width and height of a frame with square pixels, before it is turned.
        damage: What is wrong with the file, as far as is seen without decoding; ``None`` for nothing.
        num_missing: Frames that are declared but not in the file.
        color_trc, color_primaries: FFmpeg's numbers of the first frame's transfer curve and primaries.
        num_in_gaps: Frames for which the times of a clip of constant rate have gaps.
        still: The decoded image or animation; ``None`` for a video.
    """

    metadata: VideoMetadata
    timestamps: tuple[int, ...] | None
    time_base: Fraction
    is_regular: bool = True
    starts_decodable: bool = True
    shown_size: tuple[int, int] = (0, 0)
    damage: str | None = None
    num_missing: int = 0
    num_in_gaps: int = 0
    color_trc: int = 0
    color_primaries: int = 0
    still: Still | None = None

    def times_seconds(self) -> list[float] | None:
        """Return the time of each frame in seconds from the first; ``None`` without timestamps."""
        if self.timestamps is None:
            return None
        return [float((stamp - self.timestamps[0]) * self.time_base) for stamp in self.timestamps]


@dataclass(frozen=True, eq=False)
class _Declared:
    """Declarations of container and stream, copied because PyAV's objects end with the container."""

    container: str
    is_still: bool
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    num_frames: int | None
    end_seconds: float | None


class _Packet:
    """Properties of a packet without its data, which for a long file would not fit into memory."""

    __slots__ = ("duration", "holds_none", "is_corrupt", "is_hidden", "is_key", "stamp")

    def __init__(self, packet: Packet[VideoStream], codec: str) -> None:
        self.stamp = packet.pts
        self.duration = packet.duration or 0
        self.is_key = packet.is_keyframe
        self.is_corrupt = packet.is_corrupt
        self.is_hidden = packet.is_discard  # before an edit list's start
        self.holds_none = codec in _SHOWS_NONE and _SHOWS_NONE[codec](memoryview(packet))


@dataclass(frozen=True, eq=False)
class _PacketPass:
    """Result of one pass over the packets.

    Attributes:
        shown: Timestamp and duration of each packet to be shown, in the order of the file.
        num_present: Packets in the file, including those hidden by an edit list.
        is_cut: Whether the container ended in an error or with an incomplete packet.
        num_corrupt: Packets that the container marks as damaged, after the first that decodes alone.
        starts_decodable: Whether decoding can start with the first packet.
        is_one_each: Whether each packet shows a frame.
        first_frame: The first frame that decoded, if any.
    """

    shown: list[tuple[int | None, int]]
    num_present: int
    is_cut: bool
    num_corrupt: int
    starts_decodable: bool
    is_one_each: bool
    first_frame: VideoFrame | None


def read_metadata(path: str | os.PathLike[str], *, limits: DecodingLimits = DEFAULT_LIMITS) -> VideoMetadata:
    """Read a video file's metadata and check them against the frames in it.

    This reads the file once and decodes one frame. The whole file is decoded only if frames are missing
    or damaged, the video is interlaced or its codec may have several frames per packet, and if it is an
    image. A still image is a clip of one frame with a frame rate and duration of 0; the cover image of an
    audio file is not a video. If there are several video streams, the default one is read, or the largest.

    A file is truncated if frames that it declares are missing, if it ends within a frame, or if its own
    marks and checksums show damage. An MPEG transport or program stream declares neither length nor
    end, so one that is cut exactly between two frames is not recognized as truncated.

    ``num_frames_declared`` is the container's own number. It may exceed ``num_frames`` in an intact
    file: an MP4 also counts frames that its edit list hides, an AVI frames that are shown twice.

    Args:
        path: A file in any container and codec that FFmpeg decodes, or an image that Pillow decodes.
        limits: Largest file to read.

    Returns:
        The metadata; ``num_frames`` is at least 1, ``width`` and ``height`` are in pixels of a frame as it
        is shown, ``duration_seconds`` is in seconds.

    Raises:
        VideoNotFoundError: The file does not exist.
        VideoUnreadableError: It is a folder, a device, empty, not readable, not a video or only audio, or
            no frame can be decoded.
        VideoLimitError: The file exceeds the limits.
        OptionError: ``path`` is neither text nor a path.

    Example:
        >>> metadata = read_metadata("examples/demo.mp4")
        >>> metadata.width, metadata.height, metadata.is_truncated
        (640, 360, False)
    """
    return scan_video(path, limits).metadata


def scan_video(path: str | os.PathLike[str], limits: DecodingLimits = DEFAULT_LIMITS) -> ScannedVideo:
    """Read metadata like :func:`read_metadata`, with the timestamps; raises the same errors."""
    path = checked_path("video", path)
    check_file(path)
    if is_still(file_head(path, _HEAD_BYTES)):
        return _scanned_still(scan_still(path, limits))
    with open_video(path, limits=limits) as (container, stream):
        declared = _read_declared(container, stream)
        packets = _scan_packets(path, container, stream, limits)
        aspect = stream.sample_aspect_ratio
        others = tuple(_described(one) for one in video_streams(container)[1:])
    first = packets.first_frame
    if first is None:
        raise _no_frame_decodes(path, declared)
    shown_size = _shown_size(first.width, first.height, aspect)
    limits.check_size(path, *shown_size)
    is_regular = _is_regular(packets, first, declared)
    num_missing = _num_missing(path, declared, packets)
    is_cut = packets.is_cut or num_missing is not None
    damage = structure_damage(path, declared.container)
    stamps = [stamp for stamp, _ in packets.shown]
    if is_cut or damage or packets.num_corrupt or not is_regular:
        stamps = _decode_timestamps(path, limits, starts_decodable=packets.starts_decodable)
    if not stamps:
        raise _no_frame_decodes(path, declared)
    timestamps = _in_presentation_order(stamps, declared)
    duration = _duration_seconds(timestamps, len(stamps), declared, packets)
    if is_cut:
        damage = missing_part(len(stamps), declared.num_frames, duration)
    elif damage is None and packets.num_corrupt:
        damage = f"is damaged: {packets.num_corrupt} of its {packets.num_present} packets are incomplete"
    metadata = _metadata(path, declared, first, shown_size, len(stamps), duration)
    return ScannedVideo(
        replace(metadata, is_truncated=damage is not None, other_streams=others),
        timestamps,
        declared.time_base,
        is_regular and damage is None,
        packets.starts_decodable,
        shown_size,
        damage,
        num_missing or 0,
        0 if timestamps is None else _num_in_gaps(timestamps),
        first.color_trc,
        first.color_primaries,
    )


def _scanned_still(still: Still) -> ScannedVideo:
    times = (0,) if still.times_ms is None else still.times_ms
    return ScannedVideo(still.metadata, times, Fraction(1, 1000), damage=still.damage, still=still)


def _no_frame_decodes(path: Path, declared: _Declared) -> VideoUnreadableError:
    return VideoUnreadableError(
        path, f"no frame of its {declared.codec} video decodes", "download the file again"
    )


def _is_regular(packets: _PacketPass, first: VideoFrame, declared: _Declared) -> bool:
    """Whether every packet is one frame, in an order that the packets tell."""
    return (
        packets.starts_decodable
        and packets.is_one_each
        and not first.interlaced_frame
        and _is_in_order(declared)
    )


def _metadata(
    path: Path,
    declared: _Declared,
    first: VideoFrame,
    shown_size: tuple[int, int],
    num_frames: int,
    duration_seconds: float,
) -> VideoMetadata:
    turn, is_mirrored = _turn(first)
    width, height = shown_size if turn % 180 == 0 else reversed(shown_size)
    return VideoMetadata(
        path=path,
        codec=declared.codec,
        pixel_format=first.format.name,
        width=width,
        height=height,
        rotation_degrees=turn,
        frames_per_second=_frames_per_second(num_frames, duration_seconds, declared),
        num_frames=num_frames,
        num_frames_declared=declared.num_frames,
        duration_seconds=duration_seconds,
        is_truncated=False,
        is_mirrored=is_mirrored,
    )


def _described(stream: VideoStream) -> str:
    context = stream.codec_context
    return "unknown codec" if context is None else f"{context.width} x {context.height} {context.name}"


def _shown_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the size with square pixels; the side that would shrink stays, and the other grows."""
    if not aspect or abs(aspect - 1) < _LEAST_ASPECT_DIFFERENCE:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def _turn(frame: VideoFrame) -> tuple[int, bool]:
    """Return the counter-clockwise turn in degrees that shows a frame upright, and if it is mirrored then.

    Only quarter turns are applied; the matrix in the file may differ a little from one.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    # x' = a x + c y, y' = b x + d y
    matrix = np.frombuffer(bytes(data), np.int32)  # type: ignore[call-overload]
    a, b, _, c, d = matrix[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return 0 if d >= 0 else 180, (a < 0) != (d < 0)
    return 90 if b < 0 else 270, (b < 0) != (c > 0)


def _read_declared(container: InputContainer, stream: VideoStream) -> _Declared:
    name = container.format.name
    # FFmpeg invents 25 frames per second for a still image.
    is_still = name == "image2" or name.endswith("_pipe")
    return _Declared(
        container=name,
        is_still=is_still,
        codec=stream.codec_context.codec.canonical_name,
        average_rate=None if is_still else stream.average_rate,
        time_base=stream.time_base or Fraction(1),
        num_frames=stream.frames if stream.frames > 0 else None,
        end_seconds=_matroska_end_seconds(stream.metadata),
    )


def _matroska_end_seconds(tags: dict[str, str]) -> float | None:
    """Return the end that a Matroska file declares for a stream, in seconds.

    Matroska does not count frames, but the common writers tag each stream with its length
    (``DURATION`` or, with a language, ``DURATION-eng``: ``00:00:02.400000000``).
    """
    for key, value in tags.items():
        if key == "DURATION" or key.startswith("DURATION-"):
            hours, _, rest = value.partition(":")
            minutes, _, seconds = rest.partition(":")
            try:
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            except ValueError:
                return None  # the tag is free text; without a length nothing can be checked
    return None


def _scan_packets(
    path: Path, container: InputContainer, stream: VideoStream, limits: DecodingLimits
) -> _PacketPass:
    """Read all packets and decode only the first frame."""
    # Frame threads would decode a dozen packets before the first frame.
    stream.thread_type = "SLICE"
    codec = stream.codec_context.codec.canonical_name
    packets: list[_Packet] = []
    first_frame: VideoFrame | None = None
    has_failed = False
    try:
        for packet in limits.timed(path, read_packets(container, stream, is_tolerant=False)):
            packets.append(_Packet(packet, codec))
            if first_frame is None:
                first_frame = next(iter(decode_packet(stream.codec_context, packet, is_tolerant=True)), None)
            limits.check_count(path, len(packets))
    except av.FFmpegError:
        has_failed = True
    if first_frame is None:
        first_frame = next(iter(decode_packet(stream.codec_context, None, is_tolerant=True)), None)
    # A recording that starts in the middle of a broadcast starts with incomplete packets.
    usable = list(dropwhile(lambda packet: not packet.is_key or packet.is_corrupt, packets))
    return _PacketPass(
        shown=[(packet.stamp, packet.duration) for packet in packets if not packet.is_hidden],
        num_present=len(packets),
        is_cut=has_failed or (bool(packets) and packets[-1].is_corrupt),
        num_corrupt=sum(packet.is_corrupt for packet in usable),
        starts_decodable=_starts_decodable(packets),
        is_one_each=not any(packet.holds_none for packet in packets),
        first_frame=first_frame,
    )


def _starts_decodable(packets: list[_Packet]) -> bool:
    """Return whether decoding can start with the first packet and nothing is shown before it.

    A part of a longer recording may start with frames that refer to missing ones; decoders drop those.
    """
    if not packets or not packets[0].is_key or packets[0].is_corrupt:
        return False
    stamps = [packet.stamp for packet in packets if packet.stamp is not None]
    return not stamps or packets[0].stamp == min(stamps)


def _vp9_shows_none(data: memoryview) -> bool:
    """Return whether a VP9 packet is a single frame that is only referred to."""
    if data[-1] >> 5 == 0b110:  # several frames, of which one is shown
        return False
    shift = 0 if data[0] >> 4 & 0b11 == 0b11 else 1  # profile 3 has one bit more before
    return data[0] >> shift & 0b101 == 0  # neither shown, nor an order to show an earlier one


def _av1_shows_none(data: memoryview) -> bool:
    """Return whether an AV1 packet has frames, of which none is shown."""
    has_frame, position = False, 0
    while position < len(data):
        head, position = data[position], position + 1
        position += head >> 2 & 1  # an extension
        size = len(data) - position
        if head & 2:
            size = shift = 0
            while True:
                byte, position = data[position], position + 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 or shift > 56:
                    break
        if head >> 3 & 0xF in (3, 6) and position < len(data):  # a frame, or its header alone
            has_frame = True
            if data[position] & 0x90:  # an earlier one is shown, or this one
                return False
        position += size
    return has_frame


def _guarded(shows_none: Callable[[memoryview], bool]) -> Callable[[memoryview], bool]:
    def check(data: memoryview) -> bool:
        try:
            return shows_none(data)
        except IndexError:  # a damaged packet, which the decoder rejects
            return False

    return check


_SHOWS_NONE = {"vp9": _guarded(_vp9_shows_none), "av1": _guarded(_av1_shows_none)}


def _num_missing(path: Path, declared: _Declared, packets: _PacketPass) -> int | None:
    """Return how many frames fewer than the container declares the file holds; ``None`` for no fewer."""
    stamps = [stamp for stamp, _ in packets.shown if stamp is not None]
    if declared.num_frames is None:
        if declared.end_seconds is None or not stamps or not declared.average_rate:
            return None
        # The declared end is that of the last frame, which starts one frame earlier; a second frame
        # allows for rounding.
        missing_seconds = declared.end_seconds - float(
            max(stamps) * declared.time_base + 2 / declared.average_rate
        )
        return math.ceil(missing_seconds * declared.average_rate) if missing_seconds > 0 else None
    num_present = packets.num_present
    if declared.container == "avi" and stamps:
        # An AVI counts time slots. An empty slot repeats the frame before and has no packet; after the
        # last frame there may be as many as anywhere before.
        slots = [min(stamps) - 1, *sorted(stamps)]
        num_present = slots[-1] + max(later - earlier for earlier, later in pairwise(slots))
    if num_present >= declared.num_frames:
        return None
    # The MP4 reader leaves out frames after the end of an edit list: count again without the list.
    with open_video(path, ignore_edit_list=True) as (container, stream):
        num_present = sum(1 for _ in read_packets(container, stream, is_tolerant=True))
    return declared.num_frames - num_present if num_present < declared.num_frames else None


def _is_in_order(declared: _Declared) -> bool:
    """Return whether each packet holds one frame and its presentation time."""
    if declared.container == "avi" and declared.codec in _REORDERING:
        return False
    return declared.codec in _ONE_FRAME_PER_PACKET


def _decode_timestamps(path: Path, limits: DecodingLimits, *, starts_decodable: bool) -> list[int | None]:
    """Decode the whole file and return the timestamp of each frame."""
    with open_video(path, limits=limits) as (container, stream):
        stream.thread_type = "NONE"  # see decode.py
        decoded = limits.timed(path, decode_packets(container, stream, is_tolerant=True))
        frames = chain.from_iterable(decoded)
        return [frame.pts for frame in (frames if starts_decodable else without_lead(frames))]


def _in_presentation_order(stamps: list[int | None], declared: _Declared) -> tuple[int, ...] | None:
    """Sort timestamps; return ``None`` if one is missing or two are equal, so that they give no order.

    Those of an AVI count the frames as stored. If the decoder returns frames in another order, they are
    not the times at which frames are shown.
    """
    known = sorted(stamp for stamp in stamps if stamp is not None)
    if len(known) < len(stamps) or len(set(known)) < len(known):
        return None
    if declared.container == "avi" and known != stamps:
        return None
    return tuple(known)


def _num_in_gaps(timestamps: Sequence[int]) -> int:
    """Return how many frames lack in a clip whose other frames follow each other at one distance.

    Clips of variable rate have no such distance. An AVI may leave out frames that repeat the one before.
    """
    steps = np.diff(timestamps)
    if len(steps) < _LEAST_STEPS:
        return 0
    multiples = steps / np.quantile(steps, 0.25)
    is_regular = np.abs(multiples - 1) < _STEP_TOLERANCE
    is_gap = (multiples > 1.5) & (np.abs(multiples - multiples.round()) < _STEP_TOLERANCE * multiples)
    if is_regular.mean() < _LEAST_REGULAR or not (is_regular | is_gap).all():
        return 0
    return int(multiples[is_gap].round().sum()) - int(is_gap.sum())


def _duration_seconds(
    timestamps: tuple[int, ...] | None, num_frames: int, declared: _Declared, packets: _PacketPass
) -> float:
    """Return the time from the first frame to the end of the last, in seconds; 0 for a still image."""
    rate = declared.average_rate
    if declared.is_still:
        return 0.0
    if timestamps is None:
        return float(num_frames / rate) if rate else 0.0
    span = (timestamps[-1] - timestamps[0]) * declared.time_base
    last = dict(packets.shown).get(timestamps[-1], 0) * declared.time_base
    if not last and rate:
        last = 1 / rate  # the file does not contain the duration of its last frame
    return float(span + last)


def _frames_per_second(num_frames: int, duration_seconds: float, declared: _Declared) -> float:
    """Return the declared rate if it agrees with the timestamps, otherwise the real average."""
    rate = float(declared.average_rate or 0)
    if duration_seconds > 0 and abs(rate * duration_seconds - num_frames) > 1:
        return num_frames / duration_seconds
    return rate
