"""Frames of a video file: one pass in order, and only the frames asked for become RGB.

Seeking to each frame is the slowest way to sample: face videos hold a key frame every 150 pictures
or more, so that a seek decodes what the one before it decoded already.

What happens to a file that does not hold what it declares is decided once, in :func:`read_frames`:
it is an error, unless the caller says that the part that is there will do.
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
from deepfake_detect.video.files import damaged, truncated
from deepfake_detect.video.metadata import (
    ScannedVideo,
    decode_packet,
    open_video,
    packets_of,
    pictures,
    scan_video,
)
from deepfake_detect.video.sampling import AllFrames, Sampling, chosen_indices

_ALL_FRAMES = AllFrames()
_THREADS_PER_CORE, _MOST_THREADS = 4, 16


def read_frames(
    path: str | os.PathLike[str], *, sampling: Sampling = _ALL_FRAMES, allow_truncated: bool = False
) -> Generator[Frame, None, None]:
    """Decode a clip once, in order, and yield the frames that ``sampling`` names.

    The file is checked and the frames are chosen in the call itself; decoding happens while the
    result is iterated, holds a few pictures at a time and ends with the last frame asked for. The
    file is closed when the iterator is exhausted, closed or dropped.

    The rule for damaged files: a frame that is asked for comes with its own index and time, or
    there is an error. A file that lacks declared pictures is refused by the call. A picture in the
    middle that does not decode, or does not come, raises where the pass meets it. Damage that
    FFmpeg conceals without a word is not seen. With ``allow_truncated`` the frames are chosen
    among those that decode in the part that is there; frames that damage in the middle takes away
    are left out, and all others keep their index and time.

    Args:
        path: A video in any container and codec FFmpeg decodes, or a picture (a clip of one frame).
        sampling: Which frames to take.
        allow_truncated: Use what decodes of a truncated or damaged file.

    Yields:
        Frames in ascending ``frame_index``, each with its own upright RGB uint8 image (H, W, 3).

    Raises:
        VideoNotFoundError: There is no file at ``path``.
        VideoUnreadableError: No picture can be decoded from it.
        VideoTruncatedError: It lacks pictures or is damaged, and ``allow_truncated`` is false.
        OptionError: ``sampling`` named frames that are not there, or not in ascending order.

    Example:
        >>> from deepfake_detect.video import EvenlySpaced
        >>> frames = read_frames("clip.mp4", sampling=EvenlySpaced(8))  # doctest: +SKIP
        >>> [frame.frame_index for frame in frames]  # doctest: +SKIP
        [0, 43, 85, 128, 171, 214, 256, 299]
    """
    clip = scan_video(path)
    if clip.metadata.is_truncated and not allow_truncated:
        raise truncated(clip.metadata)
    wanted = chosen_indices(sampling, clip.metadata, clip.times_seconds())
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
    # Known or just found to be damaged: what is left to take comes from a tolerant pass.
    if remaining:
        yield from _one_pass(clip, remaining, is_tolerant=True)


def _one_pass(clip: ScannedVideo, remaining: deque[int], *, is_tolerant: bool) -> Iterator[Frame]:
    """Decode from the start and yield the remaining frames, taking each off ``remaining``.

    Raises:
        VideoTruncatedError: A picture does not decode or does not come, in a pass not tolerant.
    """
    if not remaining:
        return
    to_frame = _FrameMaker(clip)
    with open_video(clip.metadata.path) as (container, stream):
        # Frame threads report damage late and lose good pictures next to it.
        stream.thread_type = "SLICE" if is_tolerant else "AUTO"
        # Threads wait for one another's pictures, and for us while we convert one: more of them than
        # cores keep the cores busy, which takes a sixth less time.
        stream.codec_context.thread_count = min(_MOST_THREADS, _THREADS_PER_CORE * (os.cpu_count() or 1))
        decoded = _numbered(clip, _decoded(clip, remaining, container, stream, is_tolerant=is_tolerant))
        while remaining:
            try:
                index, picture = next(decoded, (clip.metadata.num_frames, None))
            except av.FFmpegError as error:
                raise damaged(clip.metadata, remaining[0]) from error
            while remaining and remaining[0] < index:
                if not is_tolerant:
                    raise damaged(clip.metadata, remaining[0])
                remaining.popleft()
            if picture is not None and remaining and remaining[0] == index:
                remaining.popleft()
                yield to_frame(picture, index)


def _decoded(
    clip: ScannedVideo,
    wanted: Iterable[int],
    container: InputContainer,
    stream: VideoStream,
    *,
    is_tolerant: bool,
) -> Iterator[VideoFrame]:
    """Decode in order, leaving out what neither is wanted nor serves to decode what is.

    Raises:
        av.FFmpegError: A packet does not decode, in a pass not tolerant.
    """
    if clip.timestamps is None or not clip.is_regular or clip.metadata.codec != "h264":
        yield from pictures(container, stream, is_tolerant=is_tolerant)
        return
    wanted_stamps = {clip.timestamps[index] for index in wanted}
    for packet in packets_of(container, stream, is_tolerant=is_tolerant):
        # Each H.264 picture says whether another refers to it; HEVC says so only within a layer.
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted_stamps else "NONREF"
        yield from decode_packet(stream, packet, is_tolerant=is_tolerant)
    yield from decode_packet(stream, None, is_tolerant=is_tolerant)


def _numbered(clip: ScannedVideo, decoded: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
    """Give each picture its index: by its timestamp, or by counting where the file has no stamps.

    A timestamp still holds when a picture before it was skipped or lost; a count does not.
    """
    if clip.timestamps is None:
        yield from enumerate(decoded)
        return
    index_of_stamp = {stamp: index for index, stamp in enumerate(clip.timestamps)}
    for picture in decoded:
        index = index_of_stamp.get(picture.pts) if picture.pts is not None else None
        if index is not None:
            yield index, picture


class _FrameMaker:
    """Turns decoded pictures of one clip into upright RGB frames."""

    def __init__(self, clip: ScannedVideo) -> None:
        self._times_seconds = clip.times_seconds()
        self._frames_per_second = clip.metadata.frames_per_second
        self._quarter_turns = clip.metadata.rotation_degrees // 90
        self._to_bgr = VideoReformatter()  # keeps its conversion tables from picture to picture

    def __call__(self, picture: VideoFrame, index: int) -> Frame:
        # By way of BGR, with bicubic chroma: so the pixels are those of OpenCV for every size and
        # format. Going straight to RGB, FFmpeg uses other code for odd heights and for more than
        # 8 bits, which comes out about one level darker.
        bgr = self._to_bgr.reformat(picture, format="bgr24", interpolation="BICUBIC").to_ndarray()
        stored = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        image = np.ascontiguousarray(np.rot90(stored, self._quarter_turns))  # (H, W, 3)
        return Frame(image, index, self._time_seconds(index))

    def _time_seconds(self, index: int) -> float:
        if self._times_seconds is not None:
            return self._times_seconds[index]
        return index / self._frames_per_second if self._frames_per_second else 0.0
