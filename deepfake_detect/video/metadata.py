"""Metadata of a video file, checked against the frames it really holds.

A container's own count is not reliable: an incomplete download still declares all of its frames. So the
packets are counted, which reads the file once and decodes one frame; only if that pass finds something
unusual is the whole file decoded to count its frames.

:func:`scan_video` is for ``decode.py``; all other code calls :func:`read_metadata`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import VideoMetadata
from deepfake_detect.video.container import decode_frames, decode_packet, open_video, read_packets
from deepfake_detect.video.files import checked_path, file_head, has_gif_end, has_jpeg_end

# Codecs whose packets hold exactly one frame each. In the others a packet may hold a frame that is never
# shown (VP8), none (MPEG-4 after some AVI writers) or half of one.
_ONE_FRAME_PER_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "png", "ffv1"})

# Codecs in which a frame may refer to a later one, so that frames are not stored in presentation order.
# AVI has no field for that order.
_REORDERING = frozenset({"h264", "hevc"})


@dataclass(frozen=True, eq=False)
class ScannedVideo:
    """A clip's metadata with the timestamps of its frames.

    Attributes:
        metadata: The metadata.
        timestamps: One for each decodable frame in presentation order, in units of ``time_base``,
            ascending and unique; ``None`` if the file has no such timestamps.
        time_base: Length of one unit in seconds.
        is_regular: Whether every packet holds exactly one progressive frame and decoding can start with
            the first.
    """

    metadata: VideoMetadata
    timestamps: tuple[int, ...] | None
    time_base: Fraction
    is_regular: bool

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

    __slots__ = ("duration", "is_corrupt", "is_hidden", "is_key", "stamp")

    def __init__(self, packet: Packet[VideoStream]) -> None:
        self.stamp = packet.pts
        self.duration = packet.duration or 0
        self.is_key = packet.is_keyframe
        self.is_corrupt = packet.is_corrupt
        self.is_hidden = packet.is_discard  # before an edit list's start


@dataclass(frozen=True, eq=False)
class _PacketPass:
    """Result of one pass over the packets.

    Attributes:
        shown: Timestamp and duration of each packet to be shown, in the order of the file.
        num_present: Packets in the file, including those hidden by an edit list.
        is_cut: Whether the container ended in an error or with an incomplete packet.
        is_irregular: Whether a packet is damaged, or decoding cannot start with the first.
        first_frame: The first frame that decoded, if any.
    """

    shown: list[tuple[int | None, int]]
    num_present: int
    is_cut: bool
    is_irregular: bool
    first_frame: VideoFrame | None


def read_metadata(path: str | os.PathLike[str]) -> VideoMetadata:
    """Read a video file's metadata and check them against the frames in it.

    This reads the file once and decodes one frame. The whole file is decoded only if frames are missing
    or damaged, the video is interlaced or its codec may have several frames per packet. A still image
    (JPEG, PNG) is a clip of one frame with a frame rate and duration of 0; the cover image of an audio
    file is not a video.

    A GIF or JPEG is truncated if its end mark is missing. An MPEG transport or program stream declares
    neither length nor end, so one that ends between two frames is not recognized as truncated.

    ``num_frames_declared`` is the container's own number. It may exceed ``num_frames`` in an intact
    file: an MP4 also counts frames that its edit list hides, an AVI frames that are shown twice.

    Args:
        path: A file in any container and codec that FFmpeg decodes.

    Returns:
        The metadata; ``num_frames`` is at least 1, ``width`` and ``height`` are in pixels of an upright
        frame, ``duration_seconds`` is in seconds.

    Raises:
        VideoNotFoundError: The file does not exist.
        VideoUnreadableError: It is a folder, a device, empty, forbidden, not a video or only audio, or
            no frame decodes.
        OptionError: ``path`` is neither text nor a path.

    Example:
        >>> metadata = read_metadata("examples/demo.mp4")
        >>> metadata.width, metadata.height, metadata.is_truncated
        (640, 360, False)
    """
    return scan_video(path).metadata


def scan_video(path: str | os.PathLike[str]) -> ScannedVideo:
    """Read metadata like :func:`read_metadata`, with the timestamps; raises the same errors."""
    path = checked_path("video", path)
    with open_video(path) as (container, stream):
        declared = _read_declared(container, stream)
        packets = _scan_packets(container, stream)
    first = packets.first_frame
    if first is None:
        raise VideoUnreadableError(
            path, f"no frame of its {declared.codec} video decodes", "download the file again"
        )
    is_truncated = packets.is_cut or _lacks_frames(path, declared, packets) or _lacks_end(path, declared)
    is_regular = not (packets.is_irregular or first.interlaced_frame) and _is_in_order(declared)
    stamps = [stamp for stamp, _ in packets.shown]
    if is_truncated or not is_regular:
        stamps = _decode_timestamps(path)
    timestamps = _in_presentation_order(stamps, declared)
    duration = _duration_seconds(timestamps, len(stamps), declared, packets)
    # Only quarter turns are applied; the matrix in the file may differ a little from one.
    rotation = round(first.rotation / 90) % 4 * 90
    is_upright = rotation % 180 == 0
    metadata = VideoMetadata(
        path=path,
        codec=declared.codec,
        pixel_format=first.format.name,
        width=first.width if is_upright else first.height,
        height=first.height if is_upright else first.width,
        rotation_degrees=rotation,
        frames_per_second=_frames_per_second(len(stamps), duration, declared),
        num_frames=len(stamps),
        num_frames_declared=declared.num_frames,
        duration_seconds=duration,
        is_truncated=is_truncated,
    )
    return ScannedVideo(metadata, timestamps, declared.time_base, is_regular)


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


def _scan_packets(container: InputContainer, stream: VideoStream) -> _PacketPass:
    """Read all packets and decode only the first frame."""
    # Frame threads would decode a dozen packets before the first frame.
    stream.thread_type = "SLICE"
    packets: list[_Packet] = []
    first_frame: VideoFrame | None = None
    has_failed = False
    try:
        for packet in read_packets(container, stream, is_tolerant=False):
            packets.append(_Packet(packet))
            if first_frame is None:
                first_frame = next(iter(decode_packet(stream, packet, is_tolerant=True)), None)
    except av.FFmpegError:
        has_failed = True
    if first_frame is None:
        first_frame = next(iter(decode_packet(stream, None, is_tolerant=True)), None)
    return _PacketPass(
        shown=[(packet.stamp, packet.duration) for packet in packets if not packet.is_hidden],
        num_present=len(packets),
        is_cut=has_failed or (bool(packets) and packets[-1].is_corrupt),
        is_irregular=any(packet.is_corrupt for packet in packets) or not _starts_decodable(packets),
        first_frame=first_frame,
    )


def _starts_decodable(packets: list[_Packet]) -> bool:
    """Return whether decoding can start with the first packet and nothing is shown before it.

    A part of a longer recording may start with frames that refer to missing ones; decoders drop those.
    """
    if not packets or not packets[0].is_key:
        return False
    stamps = [packet.stamp for packet in packets if packet.stamp is not None]
    return not stamps or packets[0].stamp == min(stamps)


def _lacks_frames(path: Path, declared: _Declared, packets: _PacketPass) -> bool:
    """Return whether the file holds fewer frames than its container declares."""
    stamps = [stamp for stamp, _ in packets.shown if stamp is not None]
    if declared.num_frames is None:
        if declared.end_seconds is None or not stamps or not declared.average_rate:
            return False
        # The declared end is that of the last frame, which starts one frame earlier; a second frame
        # allows for rounding.
        return float(max(stamps) * declared.time_base + 2 / declared.average_rate) < declared.end_seconds
    num_present = packets.num_present
    if declared.container == "avi" and stamps:
        # An AVI counts time slots. An empty slot repeats the frame before and has no packet; after the
        # last frame there may be as many as anywhere before.
        slots = [min(stamps) - 1, *sorted(stamps)]
        num_present = slots[-1] + max(later - earlier for earlier, later in pairwise(slots))
    if num_present >= declared.num_frames:
        return False
    # The MP4 reader leaves out frames after the end of an edit list: count again without the list.
    with open_video(path, ignore_edit_list=True) as (container, stream):
        return _scan_packets(container, stream).num_present < declared.num_frames


def _is_in_order(declared: _Declared) -> bool:
    """Return whether each packet holds one frame and its presentation time."""
    if declared.container == "avi" and declared.codec in _REORDERING:
        return False
    return declared.codec in _ONE_FRAME_PER_PACKET


def _lacks_end(path: Path, declared: _Declared) -> bool:
    """Return whether a GIF or JPEG stops before its end mark; FFmpeg fills such an image with gray."""
    if declared.container == "gif":
        return not has_gif_end(file_head(path, -1))
    if declared.is_still and declared.codec == "mjpeg":
        return not has_jpeg_end(file_head(path, -1))
    return False


def _decode_timestamps(path: Path) -> list[int | None]:
    """Decode the whole file and return the timestamp of each frame."""
    with open_video(path) as (container, stream):
        # Frame threads lose good frames next to a damaged one at the end of the file.
        stream.thread_type = "SLICE"
        return [frame.pts for frame in decode_frames(container, stream, is_tolerant=True)]


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
