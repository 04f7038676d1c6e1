"""Damage to whole clips before face detection: encoders, sizes, rates, re-uploads.

A damage is a chain of encodings, each of which may also shrink, thin, blur or add noise; damages are joined
by ``+``, as ``half+h264-40``. Profiles of platforms are like what is commonly seen of them (size, rate,
strength of compression), not copies of their encoders.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video import AllFrames, VideoReader, VideoWriter
from deepfake_detect.video.encode import VideoCodec

_NOMINAL_RATE = 25.0  # of clips that do not declare one
_SIDE_OF_BLUR = 720


@dataclass(frozen=True)
class Encoding:
    """One decoding of a clip, change of its frames, and encoding.

    Attributes:
        crf: Constant rate factor, 0 to 51; 18 is hard to see.
        codec: Of the encoder.
        scale: Of both sides, 0 to 1.
        max_side: Longer side at most, in pixels.
        max_rate: Frames per second at most.
        noise_sigma: Of Gaussian noise in gray levels of 255, alike in all channels.
        blur_sigma: Of a Gaussian blur, in pixels of a frame whose shorter side is 720.
    """

    crf: int = 18
    codec: VideoCodec = "h264"
    scale: float = 1.0
    max_side: int | None = None
    max_rate: float | None = None
    noise_sigma: float = 0.0
    blur_sigma: float = 0.0


CLIP_DAMAGES: dict[str, tuple[Encoding, ...]] = {
    **{f"h264-{crf}": (Encoding(crf),) for crf in (23, 32, 40)},
    **{f"h265-{crf}": (Encoding(crf, "h265"),) for crf in (23, 32, 40)},
    "half": (Encoding(scale=0.5),),
    "quarter": (Encoding(scale=0.25),),
    "15fps": (Encoding(max_rate=15),),
    "noise": (Encoding(noise_sigma=10),),
    "blur": (Encoding(blur_sigma=3),),
    "reupload": (Encoding(28, max_side=1280), Encoding(30, max_side=960)),
    "reupload-h265": (Encoding(28, max_side=1280), Encoding(30, "h265", max_side=960)),
    "messenger": (Encoding(30, max_side=848, max_rate=30),),
    "short-video": (Encoding(28, max_side=1024, max_rate=30),),
    "video-site": (Encoding(26, max_side=1280),),
}
"""Every damage by name."""


def encodings_of(damage: str) -> tuple[Encoding, ...]:
    """Return the encodings of a damage, or of several joined by ``+``, in their order.

    Raises:
        OptionError: A name is unknown.

    Example:
        >>> [one.crf for one in encodings_of("half+h264-40")]
        [18, 40]
    """
    names = damage.split("+")
    for name in names:
        if name not in CLIP_DAMAGES:
            allowed = f"must be of {', '.join(CLIP_DAMAGES)}, or several joined with +, as half+h264-40"
            raise OptionError("damages", f"has {name!r}", allowed)
    return tuple(one for name in names for one in CLIP_DAMAGES[name])


def damage_clip(source: Path, target: Path, damage: str) -> None:
    """Write a damaged copy of a clip, without sound.

    Args:
        source: The clip.
        target: File to write, with the suffix ``.mp4``.
        damage: Of ``CLIP_DAMAGES``, or several joined by ``+``.

    Raises:
        OptionError: The damage is unknown.
        VideoError: The clip cannot be read, or the copy not be written.
    """
    encodings = encodings_of(damage)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        between = [Path(folder) / f"{number}.mp4" for number in range(len(encodings) - 1)]
        for one, start, end in zip(encodings, [source, *between], [*between, target], strict=True):
            _encode(start, end, one)


def _encode(source: Path, target: Path, one: Encoding) -> None:
    reader = VideoReader(source)
    metadata = reader.metadata
    width, height = _size(metadata, one)
    rate = metadata.frames_per_second or _NOMINAL_RATE
    kept_rate = rate if one.max_rate is None else min(rate, one.max_rate)
    with VideoWriter(
        target, width=width, height=height, frames_per_second=kept_rate, codec=one.codec, crf=one.crf
    ) as writer:
        frames = reader.frames(AllFrames())
        for frame in frames if kept_rate == rate else _thinned(frames, kept_rate):
            writer.write(_changed(frame, (width, height), one))


def _size(metadata: VideoMetadata, one: Encoding) -> tuple[int, int]:
    longer = max(metadata.width, metadata.height)
    scale = one.scale if one.max_side is None else min(one.scale, one.max_side / longer)
    # Even, as encoders want them, and at least one block.
    width, height = (max(16, 2 * round(side * scale / 2)) for side in (metadata.width, metadata.height))
    return width, height


def _thinned(frames: Iterator[Frame], rate: float) -> Iterator[Frame]:
    """Yield the first frame of each interval of a lower rate."""
    last = -1
    for frame in frames:
        interval = int(frame.time_seconds * rate + 1e-6)
        if interval > last:
            last = interval
            yield frame


def _changed(frame: Frame, size: tuple[int, int], one: Encoding) -> np.ndarray:
    image = frame.image
    if one.blur_sigma:
        image = cv2.GaussianBlur(image, (0, 0), one.blur_sigma * min(image.shape[:2]) / _SIDE_OF_BLUR)
    if one.noise_sigma:
        generator = np.random.default_rng(frame.frame_index)
        noise = generator.standard_normal(image.shape[:2], dtype=np.float32) * one.noise_sigma
        image = np.clip(np.rint(image + noise[..., None]), 0, 255).astype(np.uint8)
    if (image.shape[1], image.shape[0]) != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)
