"""Decode the frames of a video file in one pass, and convert only the wanted ones to RGB.

Seeking to each frame is slower: face videos have a key frame every 150 frames or more, so a seek decodes
again what the one before it has decoded.

What happens to a file without all of its declared frames is decided in one function,
:func:`read_frames`: it is an error, unless the caller accepts the intact part.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from deepfake_detect.errors import VideoTruncatedError
from deepfake_detect.records import Frame
from deepfake_detect.video.container import decode_frames, decode_packet, open_video, read_packets
from deepfake_detect.video.files import damaged_error, truncated_error
from deepfake_detect.video.metadata import ScannedVideo, scan_video
from deepfake_detect.video.sampling import AllFrames, Sampling, sampled_indices

_ALL_FRAMES = AllFrames()
_THREADS_PER_CORE, _MOST_THREADS = 4, 16


def read_frames(
    path: str | os.PathLike[str], *, sampling: Sampling = _ALL_FRAMES, allow_truncated: bool = False
) -> Generator[Frame, None, None]:
    """Decode a clip once, in order, and yield the sampled frames.

    The file is checked and the frames are chosen in the call itself; decoding happens while the result
    is iterated, holds a few frames at a time and ends with the last wanted frame. The file is closed
    when the iterator is exhausted, closed or deleted.

    The rule for damaged files: a wanted frame comes with its own index and time, or there is an error.
    The call raises for a file without all of its declared frames. A frame in the middle that does not
    decode, or is missing, raises when it is reached. Damage that FFmpeg conceals silently is not
    detected. With ``allow_truncated``, frames are sampled from those that decode in the intact part;
    frames lost to damage in the middle are left out, and all others keep their index and time.

    Args:
        path: A video in any container and codec that FFmpeg decodes, or an image (a clip of one frame).
        sampling: Which frames to read.
        allow_truncated: Whether to use the intact part of a truncated or damaged file.

    Yields:
        Frames in ascending ``frame_index``, each with its own upright RGB uint8 image (H, W, 3) and its
        time in seconds.

    Raises:
        VideoNotFoundError: The file does not exist.
        VideoUnreadableError: No frame can be decoded from it.
        VideoTruncatedError: It lacks frames or is damaged, and ``allow_truncated`` is false.
        OptionError: ``sampling`` returned indices that are out of range or not in ascending order.

    Example:
        >>> from deepfake_detect.video import EvenlySpaced
        >>> frames = read_frames("clip.mp4", sampling=EvenlySpaced(8))  # doctest: +SKIP
        >>> [frame.frame_index for frame in frames]  # doctest: +SKIP
        [0, 43, 85, 128, 171, 214, 256, 299]
    """
    clip = scan_video(path)
    if clip.metadata.is_truncated and not allow_truncated:
        raise truncated_error(clip.metadata)
    wanted = sampled_indices(sampling, clip.metadata, clip.times_seconds())
    return _read_wanted(clip, wanted, allow_truncated=allow_truncated)


def _read_wanted(
    clip: ScannedVideo, wanted: Sequence[int], *, allow_truncated: bool
) -> Generator[Frame, None, None]:
    remaining = deque(wanted)
    if not clip.metadata.is_truncated:
        try:
            yield from _one_pass(clip, remaining, is_tolerant=False)
        except VideoTruncatedError:
            if not allow_truncated:
                raise
    # The file is damaged: the remaining frames come from a tolerant pass.
    if remaining:
        yield from _one_pass(clip, remaining, is_tolerant=True)


def _one_pass(clip: ScannedVideo, remaining: deque[int], *, is_tolerant: bool) -> Iterator[Frame]:
    """Decode from the start and yield the remaining frames, removing each from ``remaining``.

    Raises:
        VideoTruncatedError: A frame does not decode or is missing, in a pass that is not tolerant.
    """
    if not remaining:
        return
    to_frame = _FrameMaker(clip)
    with open_video(clip.metadata.path) as (container, stream):
        # Frame threads report damage late and lose good frames next to it.
        stream.thread_type = "SLICE" if is_tolerant else "AUTO"
        # Threads wait for one another's frames, and for the conversion of one: more threads than cores
        # keep the cores busy and save a sixth of the time.
        stream.codec_context.thread_count = min(_MOST_THREADS, _THREADS_PER_CORE * (os.cpu_count() or 1))
        decoded = _numbered(clip, _decoded(clip, remaining, container, stream, is_tolerant=is_tolerant))
        while remaining:
            try:
                index, decoded_frame = next(decoded, (clip.metadata.num_frames, None))
            except av.FFmpegError as error:
                raise damaged_error(clip.metadata, remaining[0]) from error
            while remaining and remaining[0] < index:
                if not is_tolerant:
                    raise damaged_error(clip.metadata, remaining[0])
                remaining.popleft()
            if decoded_frame is not None and remaining and remaining[0] == index:
                remaining.popleft()
                yield to_frame(decoded_frame, index)


def _decoded(
    clip: ScannedVideo,
    wanted: Iterable[int],
    container: InputContainer,
    stream: VideoStream,
    *,
    is_tolerant: bool,
) -> Iterator[VideoFrame]:
    """Decode in order, without frames that are neither wanted nor needed to decode wanted ones.

    Raises:
        av.FFmpegError: A packet does not decode, in a pass that is not tolerant.
    """
    if clip.timestamps is None or not clip.is_regular or clip.metadata.codec != "h264":
        yield from decode_frames(container, stream, is_tolerant=is_tolerant)
        return
    wanted_stamps = {clip.timestamps[index] for index in wanted}
    for packet in read_packets(container, stream, is_tolerant=is_tolerant):
        # Each H.264 frame states whether another refers to it; HEVC does so only within a layer.
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted_stamps else "NONREF"
        yield from decode_packet(stream, packet, is_tolerant=is_tolerant)
    yield from decode_packet(stream, None, is_tolerant=is_tolerant)


def _numbered(clip: ScannedVideo, decoded: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each frame with its index: by its timestamp, or by counting if the file has no timestamps.

    A timestamp is still right when a frame before it was skipped or lost; a count is not.
    """
    if clip.timestamps is None:
        yield from enumerate(decoded)
        return
    index_of_stamp = {stamp: index for index, stamp in enumerate(clip.timestamps)}
    for frame in decoded:
        index = index_of_stamp.get(frame.pts) if frame.pts is not None else None
        if index is not None:
            yield index, frame


class _FrameMaker:
    """Converts decoded frames of one clip to upright RGB frames."""

    def __init__(self, clip: ScannedVideo) -> None:
        self._times_seconds = clip.times_seconds()
        self._frames_per_second = clip.metadata.frames_per_second
        self._quarter_turns = clip.metadata.rotation_degrees // 90
        self._to_bgr = VideoReformatter()  # keeps its conversion tables from frame to frame

    def __call__(self, decoded: VideoFrame, index: int) -> Frame:
        """Return the frame with an index."""
        # Through BGR, with bicubic chroma: this gives the pixels of OpenCV for every size and format.
        # Directly to RGB, FFmpeg uses other code for odd heights and for more than 8 bits, with
        # results about one level darker.
        bgr = self._to_bgr.reformat(decoded, format="bgr24", interpolation="BICUBIC").to_ndarray()
        stored = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        image = np.ascontiguousarray(np.rot90(stored, self._quarter_turns))  # (H, W, 3)
        return Frame(image, index, self._time_seconds(index))

    def _time_seconds(self, index: int) -> float:
        if self._times_seconds is not None:
            return self._times_seconds[index]
        return index / self._frames_per_second if self._frames_per_second else 0.0
