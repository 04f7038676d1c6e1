"""Decode the frames of a file in one pass, and convert only the wanted ones to RGB.

Seeking to each frame is slower: face videos have a key frame every 150 frames or more, so a seek decodes
again what the one before it has decoded.

What happens to a damaged file, or one without all of its declared frames, is decided in one class,
:class:`VideoReader`: it is an error, unless the caller accepts the intact part.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoTruncatedError, VideoUnreadableError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video.container import decode_packets, open_video, wary_decoder, without_lead
from deepfake_detect.video.files import damaged_error
from deepfake_detect.video.hdr import to_bt709
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits
from deepfake_detect.video.metadata import ScannedVideo, scan_video
from deepfake_detect.video.sampling import AllFrames, Sampling, sampled_indices
from deepfake_detect.video.stills import Still, read_still
from deepfake_detect.video.wavefront import find_disagreements, has_wavefronts

_ALL_FRAMES = AllFrames()
_THREADS_PER_CORE, _MOST_THREADS = 4, 16
_MOST_PIXELS_IN_THREADS = 64_000_000  # each thread keeps a frame or two
_HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def read_frames(
    path: str | os.PathLike[str],
    *,
    sampling: Sampling = _ALL_FRAMES,
    allow_truncated: bool = False,
    limits: DecodingLimits = DEFAULT_LIMITS,
) -> Generator[Frame, None, None]:
    """Decode a clip once, in order, and yield the sampled frames.

    The call itself checks the file and chooses the frames; decoding happens during iteration, keeps only a
    few frames in memory and ends with the last wanted frame. The file is closed
    when the iterator is exhausted, closed or deleted.

    The rule for damaged files: a wanted frame comes with its own index, time and pixels, or there is an
    error. The call raises for a file without all of its declared frames. A frame that does not decode, is
    missing, or that FFmpeg had to fill in raises when it is reached. With ``allow_truncated``, frames are
    sampled from the intact part; damaged and lost frames are skipped, and all others keep their index and
    time.

    Frames look as in a player: rotated or mirrored as the file says, with square pixels;
    HDR (PQ, HLG) and BT.2020 colors are mapped to BT.709 by FFmpeg's perceptual tone mapping. Images are
    read by Pillow, see ``stills.py``.

    Args:
        path: A video in any container and codec that FFmpeg decodes, or an image (a clip of one frame).
        sampling: Which frames to read.
        allow_truncated: Whether to use the intact part of a truncated or damaged file.
        limits: Largest file to decode.

    Yields:
        Frames in ascending ``frame_index``, each with its own upright RGB uint8 image (H, W, 3) and its
        time in seconds.

    Raises:
        VideoNotFoundError: The file does not exist.
        VideoUnreadableError: No frame can be decoded from it.
        VideoTruncatedError: It lacks frames or is damaged, and ``allow_truncated`` is false.
        VideoLimitError: The file exceeds the limits.
        OptionError: ``sampling`` returned indices that are out of range or not in ascending order.

    Example:
        >>> from deepfake_detect.video import EvenlySpaced
        >>> frames = read_frames("clip.mp4", sampling=EvenlySpaced(8))  # doctest: +SKIP
        >>> [frame.frame_index for frame in frames]  # doctest: +SKIP
        [0, 43, 85, 128, 171, 214, 256, 299]
    """
    return VideoReader(path, allow_truncated=allow_truncated, limits=limits).frames(sampling)


class VideoReader:
    """A file whose frames can be read, with what is known of them before and after; see :func:`read_frames`.

    Attributes:
        metadata: The file's metadata.

    Raises:
        VideoError: As :func:`read_frames` does in the call itself.

    Example:
        >>> reader = VideoReader("examples/demo.mp4")
        >>> len(list(reader.frames(AllFrames()))) == reader.metadata.num_frames
        True
        >>> reader.bad_fraction
        0.0
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_truncated: bool = False,
        limits: DecodingLimits = DEFAULT_LIMITS,
    ) -> None:
        self._clip = scan_video(path, limits)
        self._limits = limits
        self._allow_truncated = allow_truncated
        self._bad_indices = set[int]()
        self._has_failed = False
        self.metadata: VideoMetadata = self._clip.metadata
        if self._clip.damage is not None and not allow_truncated:
            raise damaged_error(self.metadata.path, self._clip.damage)

    @property
    def is_damaged(self) -> bool:
        """Whether damage was seen so far."""
        return self._clip.damage is not None or self._has_failed

    @property
    def bad_fraction(self) -> float:
        """Fraction of the clip's frames that are missing or damaged, as far as it was decoded, 0 to 1."""
        num_missing = max(self._clip.num_missing, self._clip.num_in_gaps if self.is_damaged else 0)
        return (num_missing + len(self._bad_indices)) / (num_missing + self.metadata.num_frames)

    @property
    def num_in_gaps(self) -> int:
        """How many frames lack in gaps between the times of the others; 0 for a clip of variable rate."""
        return self._clip.num_in_gaps

    def frames(self, sampling: Sampling = _ALL_FRAMES) -> Generator[Frame, None, None]:
        """Yield the sampled frames, as :func:`read_frames` does."""
        wanted = sampled_indices(sampling, self.metadata, self._clip.times_seconds())
        still = self._clip.still
        return self._video_frames(wanted) if still is None else self._still_frames(still, wanted)

    def _still_frames(self, still: Still, wanted: Sequence[int]) -> Generator[Frame, None, None]:
        times = self._clip.times_seconds() or [0.0]
        if self._clip.damage is not None and still.pixels is not None:
            self._bad_indices.add(0)
        for index, image in read_still(still, wanted, self._limits):
            yield Frame(image, index, times[index])

    def _video_frames(self, wanted: Sequence[int]) -> Generator[Frame, None, None]:
        remaining = deque(wanted)
        if self._clip.damage is None:
            try:
                yield from self._one_pass(remaining, is_tolerant=False)
            except VideoTruncatedError:
                self._has_failed = True
                if not self._allow_truncated:
                    raise
        # The file is damaged: the remaining frames come from a tolerant pass.
        if remaining:
            is_anything_left = len(remaining) < len(wanted)
            for frame in self._one_pass(remaining, is_tolerant=True):
                is_anything_left = True
                yield frame
            if not is_anything_left:
                raise VideoUnreadableError(
                    self.metadata.path, "is damaged: none of its frames is intact", "download the file again"
                )

    def _one_pass(self, remaining: deque[int], *, is_tolerant: bool) -> Iterator[Frame]:
        """Decode from the start and yield the remaining frames, removing each from ``remaining``.

        Raises:
            VideoTruncatedError: A frame does not decode or is missing, in a pass that is not tolerant.
        """
        clip, num_frames = self._clip, self.metadata.num_frames
        if not remaining:
            return
        to_frame = _FrameMaker(clip)
        with open_video(self.metadata.path, limits=self._limits) as (container, stream):
            decoder = wary_decoder(stream, self._limits) if clip.starts_decodable else stream.codec_context
            _set_threads(decoder, self.metadata, is_tolerant=is_tolerant)
            packets = decode_packets(
                container,
                stream,
                decoder=decoder,
                is_tolerant=is_tolerant,
                skip_frame=None if is_tolerant else _skippable(clip, remaining),
            )
            path, limits = self.metadata.path, self._limits
            batches = limits.bounded(path, limits.timed(path, packets))
            frames: Iterator[VideoFrame] = chain.from_iterable(batches)
            disagreeing: set[int | None] = set()
            if self.metadata.codec == "hevc" and has_wavefronts(stream.codec_context.extradata):
                frames = find_disagreements(frames, path, limits, disagreeing)
            decoded = _numbered(clip, frames)
            expected = 0
            while remaining:
                try:
                    index, frame = next(decoded, (num_frames, None))
                except av.FFmpegError as error:
                    raise self._damaged(remaining[0]) from error
                if is_tolerant:
                    self._bad_indices.update(range(expected, index))
                    expected = index + 1
                if frame is not None and (frame.is_corrupt or frame.pts in disagreeing):
                    if not is_tolerant:
                        raise self._damaged(remaining[0])
                    self._bad_indices.add(index)
                    frame = None
                while remaining and remaining[0] < index + (frame is None and index < num_frames):
                    if not is_tolerant:
                        raise self._damaged(remaining[0])
                    remaining.popleft()
                if frame is not None and remaining and remaining[0] == index:
                    remaining.popleft()
                    yield to_frame(frame, index)
                del frame  # before the next one is decoded

    def _damaged(self, index: int) -> VideoTruncatedError:
        """Return the error for a frame that does not decode, at or before the next one that is wanted."""
        cause = f"is damaged: not all of its {self.metadata.num_frames} frames decode"
        return damaged_error(self.metadata.path, f"{cause} (at or before frame {index})")


def _set_threads(decoder: VideoCodecContext, metadata: VideoMetadata, *, is_tolerant: bool) -> None:
    """Choose the decoder's threads: none on a damaged file.

    Frame threads report damage late and lose good frames next to it; with slice threads FFmpeg fills in
    damaged parts in another way. Otherwise threads wait for one another's frames, and for the
    conversion of one: more threads than cores keep the cores busy and save a sixth of the time.
    """
    if is_tolerant:
        decoder.thread_type, decoder.thread_count = "NONE", 1
        return
    decoder.thread_type = "AUTO"
    most = _MOST_PIXELS_IN_THREADS // (metadata.width * metadata.height)
    decoder.thread_count = max(1, min(_MOST_THREADS, _THREADS_PER_CORE * (os.cpu_count() or 1), most))


def _skippable(clip: ScannedVideo, wanted: Sequence[int]) -> Callable[[Packet[VideoStream]], str] | None:
    """Return what skips frames that are neither wanted nor needed to decode wanted ones."""
    if clip.timestamps is None or not clip.is_regular or clip.metadata.codec != "h264":
        return None
    wanted_stamps = {clip.timestamps[index] for index in wanted}
    # Each H.264 frame states whether another refers to it; HEVC does so only within a layer.
    return lambda packet: "DEFAULT" if packet.pts in wanted_stamps else "NONREF"


def _numbered(clip: ScannedVideo, decoded: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each frame with its index: by its timestamp, or by counting if the file has no timestamps.

    A timestamp is still right when a frame before it was skipped or lost; a count is not.
    """
    if not clip.starts_decodable:
        decoded = without_lead(decoded)
    if clip.timestamps is None:
        yield from enumerate(decoded)
        return
    index_of_stamp = {stamp: index for index, stamp in enumerate(clip.timestamps)}
    for frame in decoded:
        index = index_of_stamp.get(frame.pts) if frame.pts is not None else None
        if index is not None:
            yield index, frame
        del frame  # before the next one is decoded


class _FrameMaker:
    """Converts decoded frames of one clip to RGB frames as they are shown."""

    def __init__(self, clip: ScannedVideo) -> None:
        self._times_seconds = clip.times_seconds()
        self._frames_per_second = clip.metadata.frames_per_second
        self._quarter_turns = clip.metadata.rotation_degrees // 90
        self._is_mirrored = clip.metadata.is_mirrored
        self._size = clip.shown_size
        self._colors = clip.color_trc, clip.color_primaries
        self._to_bgr = VideoReformatter()  # keeps its conversion tables from frame to frame

    def __call__(self, decoded: VideoFrame, index: int) -> Frame:
        """Return the frame with an index."""
        # Through BGR, with bicubic chroma: this gives the pixels of OpenCV for every size and format.
        # Directly to RGB, FFmpeg uses other code for odd heights and for more than 8 bits, with
        # results about one level darker.
        width, height = self._size
        if self._colors[0] in _HDR_TRANSFERS or self._colors[1] == ColorPrimaries.BT2020:
            decoded.color_trc, decoded.color_primaries = self._colors  # some are only in the container
            shown = to_bt709(decoded, width=width, height=height)
        else:
            shown = self._to_bgr.reformat(
                decoded, width=width, height=height, format="bgr24", interpolation="BICUBIC"
            )
        bgr = _packed_pixels(shown)
        image = np.rot90(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self._quarter_turns)  # (H, W, 3)
        image = np.ascontiguousarray(image[:, ::-1] if self._is_mirrored else image)
        return Frame(image, index, self._time_seconds(index))

    def _time_seconds(self, index: int) -> float:
        if self._times_seconds is not None:
            return self._times_seconds[index]
        return index / self._frames_per_second if self._frames_per_second else 0.0


def _packed_pixels(frame: VideoFrame) -> np.ndarray:
    """Return the pixels (H, W, 3) of a packed frame, without a copy."""
    plane = frame.planes[0]
    lines: np.ndarray = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height]  # type: ignore[call-overload]
    return lines[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)
