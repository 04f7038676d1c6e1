"""A picture through a video codec, as a crop of a compressed clip has gone through it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.images import rgb_uint8

_LARGEST_CRF = 51


def through_h264(image: np.ndarray, *, crf: int) -> np.ndarray:
    """Encode an image as the key frame of an H.264 clip and decode it again.

    Args:
        image: RGB uint8 (H, W, 3). An odd last row or column is doubled for the encoder, which halves
            color, and taken off again.
        crf: Constant rate factor of libx264, 0 (lossless but for the color's halving) to 51.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        OptionError: ``crf`` is out of range.
        ImageError: It is no such image.

    Example:
        >>> through_h264(np.full((33, 40, 3), 90, np.uint8), crf=40).shape
        (33, 40, 3)
    """
    if not 0 <= crf <= _LARGEST_CRF:
        raise OptionError("crf", f"is {crf}", f"pass 0 to {_LARGEST_CRF}")
    image = rgb_uint8(image)
    height, width = image.shape[:2]
    even: Any = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = even.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "x264-params": "log=-1"}
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(even, format="rgb24")), *encoder.encode(None)]
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    (picture,) = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    decoded: np.ndarray = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(decoded[:height, :width])
