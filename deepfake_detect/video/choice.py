"""The installed decoder: PyAV, or OpenCV without it."""

from __future__ import annotations

try:
    from deepfake_detect.video.decode import read_frames
    from deepfake_detect.video.metadata import read_metadata
except ModuleNotFoundError as error:
    if error.name != "av":
        raise
    from deepfake_detect.video.opencv import read_frames, read_metadata

__all__ = ["read_frames", "read_metadata"]
