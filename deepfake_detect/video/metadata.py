"""What a video file declares, checked against the pictures it really holds.

A container's own count cannot be trusted: a download that stopped half-way still declares all its
frames. So the packets are counted, which reads the file once and decodes one picture; only when
that pass meets something odd is the whole file decoded to count.

:func:`scan_video` is shared with ``decode.py``; everyone else calls :func:`read_metadata`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import VideoMetadata
from deepfake_detect.video.files import (
    check_file,
    checked_path,
    file_head,
    gif_ends,
    jpeg_ends,
    unopened,
)

# Codecs whose packets hold exactly one picture each. In the others a packet may hold a picture
# that is never shown (VP8), none (MPEG-4 after some AVI writers) or half of one.
_ONE_PICTURE_A_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "png", "ffv1"})

# Codecs in which a picture may refer to a later one, so that they are stored in another order than
# they are shown in. AVI has no field for the order of showing.
_REORDERING = frozenset({"h264", "hevc"})

# Tags in an unknown encoding must not make a good video unreadable. PyAV 19 always replaces what
# it cannot decode and has dropped the argument; those before it raise unless told to.
_TAG_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)

# Not every PyAV keeps FFmpeg's own messages off standard error; each fault has our words instead.
av.logging.set_level(av.logging.PANIC)


@dataclass(frozen=True, eq=False)
class ScannedVideo:
    """A clip's metadata with the clock of its frames.

    Attributes:
        metadata: The metadata.
        timestamps: One for each decodable frame in presentation order, in units of ``time_base``,
            ascending and unique; ``None`` when the file does not stamp its frames so.
        time_base: Length of one unit in seconds.
        is_regular: Every packet holds exactly one progressive picture and decoding can start with
            the first.
    """

    metadata: VideoMetadata
    timestamps: tuple[int, ...] | None
    time_base: Fraction
    is_regular: bool

    def times_seconds(self) -> list[float] | None:
        """Return when each frame is shown, in seconds from the first; ``None`` without stamps."""
        if self.timestamps is None:
            return None
        return [float((stamp - self.timestamps[0]) * self.time_base) for stamp in self.timestamps]


@dataclass(frozen=True, eq=False)
class _Declared:
    """What container and stream say, copied out because PyAV's objects die with the container."""

    container: str
    is_still: bool
    codec: str
    average_rate: Fraction | None
    time_base: Fraction
    num_frames: int | None
    end_seconds: float | None


class _Packet:
    """What a packet says, without its data (a long file's packets would fill the memory)."""

    __slots__ = ("duration", "is_corrupt", "is_hidden", "is_key", "stamp")

    def __init__(self, packet: Packet[VideoStream]) -> None:
        self.stamp = packet.pts
        self.duration = packet.duration or 0
        self.is_key = packet.is_keyframe
        self.is_corrupt = packet.is_corrupt
        self.is_hidden = packet.is_discard  # in front of an edit list's start


@dataclass(frozen=True, eq=False)
class _PacketPass:
    """What one pass over the packets showed.

    Attributes:
        shown: Timestamp and duration of each packet to be shown, in the order of the file.
        num_present: Packets in the file, with those an edit list hides.
        is_cut: The container ended in an error or with an incomplete packet.
        is_odd: A packet is damaged, or the first is not where decoding can start.
        first_picture: The first picture that decoded, if any.
    """

    shown: list[tuple[int | None, int]]
    num_present: int
    is_cut: bool
    is_odd: bool
    first_picture: VideoFrame | None


def read_metadata(path: str | os.PathLike[str]) -> VideoMetadata:
    """Read what a video file says of itself and check it against the pictures in it.

    Reads the file once and decodes one picture. The whole file is decoded only when pictures are
    missing or damaged, the video is interlaced or its codec does not keep one picture a packet.
    A still picture (JPEG, PNG) is a clip of one frame without rate and duration; a cover
    picture in a sound file is not a video.

    A GIF or JPEG is truncated when its end mark is missing. An MPEG transport or program stream
    declares neither length nor end, so one that was cut off between two pictures looks whole.

    ``num_frames_declared`` is the container's own number. It may exceed ``num_frames`` in a sound
    file: an MP4 also counts frames that its edit list hides, an AVI frames shown twice.

    Args:
        path: A file in any container and codec FFmpeg decodes.

    Returns:
        The metadata; ``num_frames`` is at least 1.

    Raises:
        VideoNotFoundError: There is no file at ``path``.
        VideoUnreadableError: A folder or device, an empty or forbidden file, not a video, sound
            only, or no picture decodes.
        OptionError: ``path`` is neither text nor a path.

    Example:
        >>> metadata = read_metadata("clip.mp4")  # doctest: +SKIP
        >>> metadata.num_frames, metadata.frames_per_second, metadata.is_truncated  # doctest: +SKIP
        (300, 29.97, False)
    """
    return scan_video(path).metadata


def scan_video(path: str | os.PathLike[str]) -> ScannedVideo:
    """Do the work of :func:`read_metadata` and keep the timestamps; raises what that raises."""
    path = checked_path("video", path)
    with open_video(path) as (container, stream):
        declared = _read_declared(container, stream)
        packets = _read_packets(container, stream)
    first = packets.first_picture
    if first is None:
        raise VideoUnreadableError(
            path, f"not one picture of its {declared.codec} video decodes", "fetch the file again"
        )
    is_truncated = packets.is_cut or _lacks_pictures(path, declared, packets) or _lacks_end(path, declared)
    is_regular = not (packets.is_odd or first.interlaced_frame) and _keeps_order(declared)
    stamps = [stamp for stamp, _ in packets.shown]
    if is_truncated or not is_regular:
        stamps = _decode_timestamps(path)
    timestamps = _in_presentation_order(stamps, declared)
    duration = _duration_seconds(timestamps, len(stamps), declared, packets)
    # Only quarter turns are applied; the matrix in the file may be a little off one.
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


@contextmanager
def open_container(path: Path, *, ignore_edit_list: bool = False) -> Iterator[InputContainer]:
    """Open a media file; it is closed with the block.

    Raises:
        VideoNotFoundError, VideoUnreadableError: There is no file, or none FFmpeg can open.
    """
    check_file(path)
    # A name with %d in it is one picture and not a numbered series.
    options = {"pattern_type": "none", "ignore_editlist": str(int(ignore_edit_list))}
    try:
        # "file:" keeps names with a colon from being taken for a network address.
        container = av.open(f"file:{path}", mode="r", options=options, **_TAG_OPTIONS)
    except av.FFmpegError as error:
        raise unopened(path, f"is not a video FFmpeg can open ({error.strerror})") from error
    with container:
        if container.format.name == "tty":
            # FFmpeg would draw the letters of any .txt file as a film.
            raise VideoUnreadableError(path, "is a text file", "pass a video or picture file")
        try:
            yield container
        finally:
            _rest_decoders(container)


def _rest_decoders(container: InputContainer) -> None:
    """Wait for the threads of the decoders, letting go of Python's lock.

    PyAV frees a decoder with the lock held, and FFmpeg then waits for threads that may be about to
    report damage, for which PyAV needs the lock: the program would stand still for ever.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and stream.codec_context.is_open:
            stream.codec_context.flush_buffers()


@contextmanager
def open_video(path: Path, *, ignore_edit_list: bool = False) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and find its video stream; the container is closed with the block.

    Raises:
        VideoNotFoundError, VideoUnreadableError: As :func:`read_metadata`.
    """
    with open_container(path, ignore_edit_list=ignore_edit_list) as container:
        stream = next(cover_pictures_left_out(container), None)
        if stream is None:
            names = {"video": "a cover picture"}
            kinds = sorted({names.get(stream.type, stream.type) for stream in container.streams})
            raise VideoUnreadableError(
                path, f"holds no video stream (only {' and '.join(kinds)})", "pass a file with pictures"
            )
        if stream.codec_context is None:
            raise VideoUnreadableError(
                path, "its video codec is not known to this FFmpeg", "convert it to H.264"
            )
        yield container, stream


def cover_pictures_left_out(container: InputContainer) -> Iterator[VideoStream]:
    """Yield the streams of moving pictures; the cover of a sound file is stored as a video stream."""
    return (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)


def pictures(container: InputContainer, stream: VideoStream, *, is_tolerant: bool) -> Iterator[VideoFrame]:
    """Decode a stream from where its container stands, in presentation order.

    Args:
        container, stream: From :func:`open_video`.
        is_tolerant: Go on after packets that do not decode.

    Raises:
        av.FFmpegError: A packet does not decode and ``is_tolerant`` is false.
    """
    for packet in packets_of(container, stream, is_tolerant=is_tolerant):
        yield from decode_packet(stream, packet, is_tolerant=is_tolerant)
    yield from decode_packet(stream, None, is_tolerant=is_tolerant)


def packets_of(
    container: InputContainer, stream: VideoStream, *, is_tolerant: bool
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets that hold data; a tolerant pass ends where reading fails."""
    try:
        # An empty packet would flush the decoder in mid-stream.
        yield from (packet for packet in container.demux(stream) if packet.size > 0)
    except av.FFmpegError:
        if not is_tolerant:
            raise


def decode_packet(
    stream: VideoStream, packet: Packet[VideoStream] | None, *, is_tolerant: bool
) -> list[VideoFrame]:
    """Hand a packet (``None``: the end) to the decoder and return the pictures that are ready."""
    try:
        return stream.codec_context.decode(packet)
    except av.FFmpegError:
        if not is_tolerant:
            raise
        return []


def _read_declared(container: InputContainer, stream: VideoStream) -> _Declared:
    name = container.format.name
    # FFmpeg invents 25 frames per second for a still picture.
    is_still = name == "image2" or name.endswith("_pipe")
    return _Declared(
        container=name,
        is_still=is_still,
        codec=stream.codec_context.codec.canonical_name,
        average_rate=None if is_still else stream.average_rate,
        time_base=stream.time_base or Fraction(1),
        num_frames=stream.frames if stream.frames > 0 else None,
        end_seconds=_matroska_end(stream.metadata),
    )


def _matroska_end(tags: dict[str, str]) -> float | None:
    """Return the end that a Matroska file declares for a stream, in seconds.

    Matroska counts no frames, but the common writers tag each stream with its length
    (``DURATION`` or, with a language, ``DURATION-eng``: ``00:00:02.400000000``).
    """
    for key, value in tags.items():
        if key == "DURATION" or key.startswith("DURATION-"):
            hours, _, rest = value.partition(":")
            minutes, _, seconds = rest.partition(":")
            try:
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            except ValueError:
                return None  # the tag is free text; without a length there is nothing to check
    return None


def _read_packets(container: InputContainer, stream: VideoStream) -> _PacketPass:
    """Walk through the packets without decoding more than the first picture."""
    # Frame threads would decode a dozen packets to give the first picture.
    stream.thread_type = "SLICE"
    facts: list[_Packet] = []
    first_picture: VideoFrame | None = None
    has_failed = False
    try:
        for packet in packets_of(container, stream, is_tolerant=False):
            facts.append(_Packet(packet))
            if first_picture is None:
                first_picture = next(iter(decode_packet(stream, packet, is_tolerant=True)), None)
    except av.FFmpegError:
        has_failed = True
    if first_picture is None:
        first_picture = next(iter(decode_packet(stream, None, is_tolerant=True)), None)
    return _PacketPass(
        shown=[(fact.stamp, fact.duration) for fact in facts if not fact.is_hidden],
        num_present=len(facts),
        is_cut=has_failed or (bool(facts) and facts[-1].is_corrupt),
        is_odd=any(fact.is_corrupt for fact in facts) or not _starts_decodable(facts),
        first_picture=first_picture,
    )


def _starts_decodable(facts: list[_Packet]) -> bool:
    """Tell whether decoding can begin with the first packet and nothing is shown before it.

    A recording cut out of a longer one may begin with pictures that refer to lost ones; decoders
    drop those.
    """
    if not facts or not facts[0].is_key:
        return False
    stamps = [fact.stamp for fact in facts if fact.stamp is not None]
    return not stamps or facts[0].stamp == min(stamps)


def _lacks_pictures(path: Path, declared: _Declared, packets: _PacketPass) -> bool:
    """Tell whether the file holds fewer pictures than its container declares."""
    stamps = [stamp for stamp, _ in packets.shown if stamp is not None]
    if declared.num_frames is None:
        if declared.end_seconds is None or not stamps or not declared.average_rate:
            return False
        # The declared end is that of the last picture, so its start is one picture's time before;
        # a second one allows for rounding.
        return float(max(stamps) * declared.time_base + 2 / declared.average_rate) < declared.end_seconds
    num_present = packets.num_present
    if declared.container == "avi" and stamps:
        # An AVI counts time slots. An empty slot repeats the picture before and gives no packet;
        # as many as anywhere before may follow the last picture.
        slots = [min(stamps) - 1, *sorted(stamps)]
        num_present = slots[-1] + max(later - earlier for earlier, later in pairwise(slots))
    if num_present >= declared.num_frames:
        return False
    # The MP4 reader leaves out pictures behind the end of an edit list: look without the list.
    with open_video(path, ignore_edit_list=True) as (container, stream):
        return _read_packets(container, stream).num_present < declared.num_frames


def _keeps_order(declared: _Declared) -> bool:
    """Tell whether each packet holds one picture and says when it is shown."""
    if declared.container == "avi" and declared.codec in _REORDERING:
        return False
    return declared.codec in _ONE_PICTURE_A_PACKET


def _lacks_end(path: Path, declared: _Declared) -> bool:
    """Tell whether a GIF or JPEG stops before its end mark; FFmpeg fills such a picture with gray."""
    if declared.container == "gif":
        return not gif_ends(file_head(path, -1))
    if declared.is_still and declared.codec == "mjpeg":
        return not jpeg_ends(file_head(path, -1))
    return False


def _decode_timestamps(path: Path) -> list[int | None]:
    """Decode the whole file and return the timestamp of each picture that comes out."""
    with open_video(path) as (container, stream):
        # Frame threads lose good pictures next to a damaged one at the end of the file.
        stream.thread_type = "SLICE"
        return [picture.pts for picture in pictures(container, stream, is_tolerant=True)]


def _in_presentation_order(stamps: list[int | None], declared: _Declared) -> tuple[int, ...] | None:
    """Sort timestamps; ``None`` when one is missing or two are equal, so that they order nothing.

    An AVI's count the pictures as they are stored. Where those come out of the decoder in another
    order, they do not tell when a picture is shown.
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
    """Return the time from the first frame to the end of the last, in seconds; 0 for a still."""
    rate = declared.average_rate
    if declared.is_still:
        return 0.0
    if timestamps is None:
        return float(num_frames / rate) if rate else 0.0
    span = (timestamps[-1] - timestamps[0]) * declared.time_base
    last = dict(packets.shown).get(timestamps[-1], 0) * declared.time_base
    if not last and rate:
        last = 1 / rate  # the file does not tell how long its last frame is shown
    return float(span + last)


def _frames_per_second(num_frames: int, duration_seconds: float, declared: _Declared) -> float:
    """Return the declared rate where the real times bear it out, else the real average."""
    rate = float(declared.average_rate or 0)
    if duration_seconds > 0 and abs(rate * duration_seconds - num_frames) > 1:
        return num_frames / duration_seconds
    return rate
