"""Open media files with PyAV and decode their packets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.io.media import HEAD_BYTES, is_playlist
from deepfake_detect.video.files import check_file, file_head, unopened_error
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits

# Tags in an unknown encoding must not make a good video unreadable. PyAV 19 always replaces what it
# cannot decode and has dropped the argument; earlier versions raise without it.
_TAG_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)

# Not every PyAV keeps FFmpeg's own messages off standard error; each fault is one of our errors instead.
av.logging.set_level(av.logging.PANIC)


# AV1: check the end of each tile. HEVC and JPEG: output no frame after an error within it.
_STRICT = {"strict": "strict", "err_detect": "explode"}
_STRICT_CODECS = frozenset({"av1", "hevc", "mjpeg"})
# FFmpeg's own decoders of these see no damage; libvpx gives the same pixels.
_WARY_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@contextmanager
def open_container(
    path: Path, *, max_pixels: int = DEFAULT_LIMITS.max_pixels, ignore_edit_list: bool = False
) -> Iterator[InputContainer]:
    """Open a media file; it is closed at the end of the block.

    FFmpeg decodes a few frames to open a file: no frame of more than ``max_pixels`` pixels.

    Raises:
        VideoNotFoundError, VideoUnreadableError: The file does not exist, or FFmpeg cannot open it.
    """
    check_file(path)
    if is_playlist(file_head(path, HEAD_BYTES)):
        raise VideoUnreadableError(path, "is a list of other files", "pass the videos themselves")
    # A name with %d in it is one image and not a numbered series.
    options = {
        "pattern_type": "none",
        "protocol_whitelist": "file",
        "ignore_editlist": str(int(ignore_edit_list)),
        "max_pixels": str(max_pixels),
    }
    try:
        # "file:" keeps names with a colon from being taken for a network address.
        container = av.open(f"file:{path}", mode="r", options=options, **_TAG_OPTIONS)
    except av.FFmpegError as error:
        raise unopened_error(path, f"is not a video FFmpeg can open ({error.strerror})") from error
    with container:
        if container.format.name == "tty":
            # FFmpeg would render the letters of any .txt file as a video.
            raise VideoUnreadableError(path, "is a text file", "pass a video or image file")
        try:
            yield container
        finally:
            _flush_decoders(container)


def _flush_decoders(container: InputContainer) -> None:
    """Wait for the threads of the decoders, without Python's lock.

    PyAV frees a decoder while it holds the lock, and FFmpeg then waits for threads that may be about to
    report damage, for which PyAV needs the lock: a deadlock.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and stream.codec_context.is_open:
            stream.codec_context.flush_buffers()


@contextmanager
def open_video(
    path: Path, *, limits: DecodingLimits = DEFAULT_LIMITS, ignore_edit_list: bool = False
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and find its video stream; the container is closed at the end of the block.

    Raises:
        VideoNotFoundError, VideoUnreadableError, VideoLimitError: See :func:`read_metadata`.
    """
    with open_container(path, max_pixels=limits.max_pixels, ignore_edit_list=ignore_edit_list) as container:
        streams = video_streams(container)
        if not streams:
            names = {"video": "a cover image"}
            kinds = sorted({names.get(stream.type, stream.type) for stream in container.streams})
            raise VideoUnreadableError(
                path, f"contains no video stream (only {' and '.join(kinds)})", "pass a video or image file"
            )
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoUnreadableError(
                path, "this FFmpeg does not support its video codec", "convert it to H.264"
            )
        limits.check_size(path, stream.codec_context.width, stream.codec_context.height)
        # The size in the packets may be another than the container's.
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
        yield container, stream


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams, the one that players show first: the default one, then the largest.

    The cover of an audio file, which is stored as a video stream, is not among them.
    """
    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        context = stream.codec_context
        num_pixels = 0 if context is None else context.width * context.height
        return context is None, not stream.disposition & Disposition.default, -num_pixels

    return sorted(streams, key=rank)


def wary_decoder(stream: VideoStream, limits: DecodingLimits) -> VideoCodecContext:
    """Return the decoder of a stream that sees most damage; it is not open yet."""
    own = stream.codec_context
    codec = own.codec.canonical_name
    if codec in _STRICT_CODECS:
        own.options = {**own.options, **_STRICT}
    name = _WARY_DECODERS.get(codec)
    if name is None or name not in av.codecs_available:
        return own
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.options = {"max_pixels": str(limits.max_pixels)}
    decoder.extradata = own.extradata
    return cast(VideoCodecContext, decoder)


def decode_packets(
    container: InputContainer,
    stream: VideoStream,
    *,
    decoder: VideoCodecContext | None = None,
    is_tolerant: bool,
    skip_frame: Callable[[Packet[VideoStream]], Any] | None = None,
) -> Iterator[list[VideoFrame]]:
    """Decode a stream from the current position of its container, in presentation order.

    Args:
        container, stream: From :func:`open_video`.
        decoder: See :func:`wary_decoder`; the stream's own if ``None``.
        is_tolerant: Whether to continue after packets that do not decode.
        skip_frame: Returns FFmpeg's name of the frames that need not be decoded, for each packet.

    Yields:
        For each packet the frames that became ready.

    Raises:
        av.FFmpegError: A packet does not decode and ``is_tolerant`` is false.
    """
    decoder = decoder or stream.codec_context
    for packet in read_packets(container, stream, is_tolerant=is_tolerant):
        if skip_frame is not None:
            decoder.skip_frame = skip_frame(packet)
        yield decode_packet(decoder, packet, is_tolerant=is_tolerant)
    yield decode_packet(decoder, None, is_tolerant=is_tolerant)


def read_packets(
    container: InputContainer, stream: VideoStream, *, is_tolerant: bool
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets with data; a tolerant pass ends where reading fails."""
    try:
        # An empty packet would flush the decoder in mid-stream.
        yield from (packet for packet in container.demux(stream) if packet.size > 0)
    except av.FFmpegError:
        if not is_tolerant:
            raise


def decode_packet(
    decoder: VideoCodecContext, packet: Packet[VideoStream] | None, *, is_tolerant: bool
) -> list[VideoFrame]:
    """Send a packet (``None`` at the end) to the decoder and return the frames that are ready."""
    try:
        return decoder.decode(packet)
    except av.FFmpegError:
        if not is_tolerant:
            raise
        return []


def is_decodable(data: bytes) -> bool:
    """Return whether FFmpeg decodes an image strictly; ``True`` where it does not decode it at all."""
    return _decodes(data, _STRICT) or not _decodes(data, {})


def _decodes(data: bytes, options: dict[str, str]) -> bool:
    try:
        with av.open(io.BytesIO(data), **_TAG_OPTIONS) as container:
            for stream in container.streams.video:
                stream.thread_type, stream.codec_context.options = "NONE", dict(options)
            return not any(
                frame.is_corrupt
                for packet in container.demux(container.streams.video)
                for frame in packet.stream.codec_context.decode(packet if packet.size else None)
            )
    except (av.FFmpegError, AttributeError):  # the latter: a codec that it does not know
        return False


def without_lead(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Leave out the damaged frames with which a recording starts that does not start with a key frame."""
    return dropwhile(lambda frame: frame.is_corrupt, frames)
