"""Compress an image by a video codec, as the crops of a compressed clip are."""

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
        image: RGB uint8 (H, W, 3). An odd last row or column is duplicated for the encoder, which
            halves the color resolution, and removed again.
        crf: Constant rate factor of libx264, 0 (lossless except for the color resolution) to 51.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        OptionError: ``crf`` is out of range.
        ImageError: The image has another shape or type.

    Example:
        >>> through_h264(np.full((33, 40, 3), 90, np.uint8), crf=40).shape
        (33, 40, 3)
    """
    if not 0 <= crf <= _LARGEST_CRF:
        raise OptionError("crf", f"is {crf}", f"must be 0 to {_LARGEST_CRF}")
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
    (frame,) = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    decoded: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(decoded[:height, :width])
