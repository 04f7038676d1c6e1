"""Write RGB frames to an H.264 file, with the audio of another file."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from fractions import Fraction
from numbers import Rational
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast, get_args

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from deepfake_detect.errors import ImageError, OptionError, VideoError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.video.container import open_container, video_streams
from deepfake_detect.video.files import checked_path

VideoCodec = Literal["h264", "h265"]
_ENCODERS: dict[VideoCodec, str] = {"h264": "libx264", "h265": "libx265"}
_INVISIBLE_CRF = 18  # differences to the original frames are hard to see
_MAX_CRF = 51
# Above 4K the encoder does not look ahead: 40 frames of 8K would take 2 GB.
_LARGE_PIXELS, _AT_ONCE = 9_000_000, {"tune": "zerolatency"}
_BT601 = 6  # FFmpeg's number for this color space in a file's tags
_MAX_SIDE = 16384  # limit of libx264
_MIN_RATE, _MAX_RATE = 0.01, 1000
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.EACCES})
# Enough to recover fractions from floats such as 29.97 and 30000/1001.
_MAX_RATE_DENOMINATOR = 1001


class VideoWriter:
    """Writes an MP4 file with H.264 or H.265 video (yuv420p, index at the front).

    The file appears at ``path`` when the ``with`` block ends without an error; otherwise nothing is
    written. H.264 in yuv420p needs even sides: an odd side is extended by repeating the last row or
    column, so no pixel is lost and the file is one pixel wider or higher.

    Args:
        path: The file to write, with the suffix ``.mp4``.
        width, height: Size of the frames in pixels, 1 to 16384.
        frames_per_second: 0.01 to 1000. A ``Fraction`` or ``int`` is kept exactly; a ``float`` becomes
            the nearest fraction with a denominator up to 1001.
        audio_from: A file whose first audio stream is added, in sync with the first frame of its own
            video. It is copied if MP4 allows its codec, otherwise encoded to AAC; a file without audio
            adds none.
        codec: ``"h264"`` or ``"h265"``.
        crf: Constant rate factor, 0 to 51; 18 is hard to see, higher is coarser.

    Raises:
        OptionError: A path has another type, or the suffix, size, rate, codec or CRF is not allowed.
        VideoNotFoundError, VideoUnreadableError: ``audio_from`` is missing or not a media file
            (raised at the start of the block).
        VideoError: This FFmpeg lacks the encoder, the audio cannot be read or does not fit into an MP4,
            the file cannot be written, or no frame was written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "gray.mp4"
        >>> with VideoWriter(path, width=64, height=48, frames_per_second=25) as writer:
        ...     for _ in range(5):
        ...         writer.write(np.full((48, 64, 3), 128, dtype=np.uint8))
        >>> path.stat().st_size > 0
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        frames_per_second: float | Fraction,
        audio_from: str | os.PathLike[str] | None = None,
        codec: VideoCodec = "h264",
        crf: int = _INVISIBLE_CRF,
    ) -> None:
        self.path = checked_path("path", path)
        if self.path.suffix.lower() != ".mp4":
            raise OptionError("path", f"{self.path} does not end in .mp4", "use the suffix .mp4")
        if codec not in _ENCODERS:
            raise OptionError("codec", f"is {codec!r}", f"must be one of {', '.join(get_args(VideoCodec))}")
        if not 0 <= crf <= _MAX_CRF:
            raise OptionError("crf", f"is {crf!r}", f"must be 0 to {_MAX_CRF}")
        self.codec, self.crf = codec, crf
        self.width = _checked_side("width", width)
        self.height = _checked_side("height", height)
        self.frames_per_second = _exact_rate(frames_per_second)
        self.audio_from = None if audio_from is None else checked_path("audio_from", audio_from)
        self._session: AbstractContextManager[None] | None = None
        self._to_yuv = VideoReformatter()
        self._num_written = 0

    def __enter__(self) -> VideoWriter:
        session = self._writing()
        session.__enter__()
        self._session = session
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(kind, error, traceback)

    def write(self, image: np.ndarray) -> None:
        """Append one frame.

        Args:
            image: RGB uint8 (height, width, 3).

        Raises:
            ImageError: The image has another shape or type.
            VideoError: The writer is not open, or the frame or its audio cannot be written.
        """
        if self._session is None:
            raise VideoError(self.path, "is not open for writing", "call write inside the with block")
        shape = (self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.shape != shape or image.dtype != np.uint8:
            raise ImageError("image", f"is {_described(image)}", f"pass an RGB uint8 array of shape {shape}")
        pad = ((0, self.height % 2), (0, self.width % 2), (0, 0))
        rgb = VideoFrame.from_ndarray(np.pad(image, pad, mode="edge"), format="rgb24")
        frame = self._to_yuv.reformat(
            rgb,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        frame.pts, frame.time_base = self._num_written, 1 / self.frames_per_second
        # Audio is interleaved, so that the muxer need not buffer the frames.
        with self._as_video_errors():
            self._audio.mux_until(self._num_written / self.frames_per_second)
            self._container.mux(self._stream.encode(frame))
        self._num_written += 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._container = stack.enter_context(self._output(temporary))
            with self._as_video_errors():
                self._stream = self._add_video_stream()
                packets = stack.enter_context(_audio_packets(self.audio_from, self._container))
                self._audio = _AudioMuxer(self._container, packets)
            yield
            if self._num_written == 0:
                raise VideoError(self.path, "no frame was written to it", "write at least one frame")
            with self._as_video_errors():
                self._container.mux(self._stream.encode(None))
                self._audio.mux_until(None)

    @contextmanager
    def _output(self, temporary: Path) -> Iterator[OutputContainer]:
        with self._as_video_errors():
            container = av.open(
                f"file:{temporary}", mode="w", format="mp4", options={"movflags": "+faststart"}
            )
        try:
            yield container
        except BaseException:
            # Closing a file that failed usually fails too, and must not hide the first error.
            with suppress(av.FFmpegError):
                container.close()
            raise
        with self._as_video_errors():
            container.close()

    @contextmanager
    def _as_video_errors(self) -> Iterator[None]:
        """Convert FFmpeg's errors to the library's."""
        try:
            yield
        except av.FFmpegError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: av.FFmpegError) -> VideoError:
        # Frames always fit, so an error that is not the disk's comes from the audio.
        if self.audio_from is None or error.errno in _DISK_ERRORS:
            return VideoError(
                self.path,
                f"cannot be written ({error.strerror})",
                "check the free space and the permissions there",
            )
        return VideoError(
            self.audio_from,
            f"its audio does not fit into an MP4 file ({error.strerror})",
            "omit `audio_from`",
        )

    def _add_video_stream(self) -> VideoStream:
        encoder, options = _ENCODERS[self.codec], {"crf": str(self.crf)}
        if self.codec == "h265":  # whose encoder is slow, and prints a page of settings
            options |= {"preset": "superfast", "x265-params": "log-level=error"}
        try:
            av.Codec(encoder, "w")
        except ValueError as error:
            raise VideoError(
                self.path,
                f"this FFmpeg cannot write {self.codec} (no {encoder})",
                "install PyAV from its binary wheels",
            ) from error
        options |= _AT_ONCE if self.width * self.height > _LARGE_PIXELS else {}
        stream = cast(
            VideoStream,
            self._container.add_stream(encoder, rate=self.frames_per_second, options=options),
        )
        stream.width = self.width + self.width % 2
        stream.height = self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / self.frames_per_second
        # Set explicitly, because players otherwise guess from the size.
        stream.codec_context.colorspace = _BT601
        stream.codec_context.color_range = ColorRange.MPEG
        return stream


class _AudioMuxer:
    """Writes audio packets to the container, up to a time."""

    def __init__(self, container: OutputContainer, packets: Iterator[Packet[Any]]) -> None:
        self._container = container
        self._packets = packets
        self._next = next(packets, None)

    def mux_until(self, seconds: Fraction | None) -> None:
        """Write the packets up to a time in seconds, or all remaining ones for ``None``."""
        while self._next is not None and (seconds is None or _start_seconds(self._next) <= seconds):
            self._container.mux(self._next)
            self._next = next(self._packets, None)


def _start_seconds(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


@contextmanager
def _audio_packets(path: Path | None, output: OutputContainer) -> Iterator[Iterator[Packet[Any]]]:
    """Add an audio stream to ``output`` and yield its packets, in order."""
    if path is None:
        yield iter(())
        return
    with open_container(path) as source:
        if not source.streams.audio:
            yield iter(())
            return
        audio = source.streams.audio[0]
        if audio.codec_context is None:
            raise VideoError(path, "this FFmpeg does not support its audio codec", "omit `audio_from`")
        start = _start_seconds_of_video(source, audio)
        if audio.codec_context.name in output.supported_codecs and _has_channel_layout(audio):
            packets = _copied(source, audio, output.add_stream_from_template(audio), start)
        else:
            packets = _encoded(source, audio, _add_aac_stream(output, audio), start)
        yield _with_read_errors(path, packets)


def _has_channel_layout(audio: AudioStream) -> bool:
    """Return whether the file states which channel is left and right, which MP4 requires for PCM.

    Matroska does not state it for PCM. FFmpeg's name for such a layout is "2 channels".
    """
    context = audio.codec_context
    return context.channels == 1 or not context.layout.name.endswith(" channels")


def _with_read_errors(path: Path, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    try:
        yield from packets
    except av.FFmpegError as error:
        raise VideoError(path, f"its audio cannot be read ({error.strerror})", "omit `audio_from`") from error


def _start_seconds_of_video(source: InputContainer, audio: AudioStream) -> Fraction:
    """Return the start time of the source's video, or of its audio if it has no video."""
    stream: Stream = next(iter(video_streams(source)), audio)
    return (stream.start_time or 0) * (stream.time_base or Fraction(1))


def _copied(
    source: InputContainer, audio: AudioStream, target: AudioStream, start: Fraction
) -> Iterator[Packet[Any]]:
    for packet in source.demux(audio):
        if packet.dts is None:
            continue  # the end mark
        shift = round(start / packet.time_base)
        packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
        packet.dts -= shift
        # Audio before the first frame is dropped. If the video starts at 0, packets before time 0 are
        # kept: decoders of AAC and MP3 need them as preroll.
        if start <= 0 or packet.pts + (packet.duration or 0) >= 0:
            packet.stream = target
            yield packet


def _add_aac_stream(output: OutputContainer, audio: AudioStream) -> AudioStream:
    rates = av.Codec("aac", "w").audio_rates or []
    rate = audio.codec_context.sample_rate
    stream = output.add_stream("aac", rate=rate if rate in rates else 48000)
    stream.codec_context.layout = "mono" if audio.codec_context.channels == 1 else "stereo"
    return stream


def _encoded(
    source: InputContainer, audio: AudioStream, target: AudioStream, start: Fraction
) -> Iterator[Packet[Any]]:
    time_base = audio.time_base or Fraction(1)
    for frame in source.decode(audio):
        frame.pts = (frame.pts or 0) - round(start / time_base)
        if frame.pts * time_base + Fraction(frame.samples, frame.sample_rate) > 0:
            yield from target.encode(frame)
    yield from target.encode(None)


def _checked_side(option: str, value: int) -> int:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or not 1 <= value <= _MAX_SIDE:
        raise OptionError(option, f"is {value!r}", f"must be an integer from 1 to {_MAX_SIDE}")
    return int(value)


def _exact_rate(value: float | Fraction) -> Fraction:
    is_number = isinstance(value, (int, float, Rational, np.number)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not _MIN_RATE <= value <= _MAX_RATE:
        raise OptionError(
            "frames_per_second",
            f"is {value!r}",
            f"must be a number from {_MIN_RATE} to {_MAX_RATE}",
        )
    if isinstance(value, Rational):
        return Fraction(value)
    return Fraction(float(value)).limit_denominator(_MAX_RATE_DENOMINATOR)


def _described(image: object) -> str:
    if isinstance(image, np.ndarray):
        return f"a {image.dtype} array of shape {image.shape}"
    return f"of type {type(image).__name__}"
