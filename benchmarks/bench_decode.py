"""Evenly spaced frames of clips: `video.read_frames` beside the ways other tools read them.

    python benchmarks/bench_decode.py CLIP [CLIP ...] [--frames 32] [--rounds 5] [--json FILE]

The named alternative is OpenCV's seek to each frame (`POS_FRAMES`, then read). Beside it: OpenCV
grabbing in order and converting only the wanted frames, and torchcodec where it is installed.
Pixels are compared with those of OpenCV reading every frame in order.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, record, time_in_turn  # noqa: E402
from deepfake_detect.video import EvenlySpaced, read_frames, read_metadata  # noqa: E402

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, RuntimeError, OSError):  # not installed, or without the FFmpeg it wants
    VideoDecoder = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    add_json_option(parser, "decode")
    arguments = parser.parse_args()
    clips = [_measure(clip, arguments.frames, arguments.rounds) for clip in arguments.clips]
    record("decode", arguments, {"clips": clips}, packages=("av", "opencv-python-headless"))
    return 0


def _measure(clip: Path, num_frames: int, num_rounds: int) -> dict[str, object]:
    """Return what a clip is, and of each way the seconds of every round and how far its pixels are off."""
    metadata = read_metadata(clip)
    indices = list(EvenlySpaced(num_frames).frame_indices(metadata))
    readers: dict[str, Callable[[Path, list[int]], list[np.ndarray]]] = {
        "deepfake_detect": _ours,
        "OpenCV seek and read": _seek,
        "OpenCV grab and retrieve": _grab,
    }
    if VideoDecoder is not None:
        readers["torchcodec"] = _torchcodec
    timings = time_in_turn(
        {name: functools.partial(read, clip, indices) for name, read in readers.items()},
        num_rounds=num_rounds,
    )
    truth = _in_order(clip, indices)
    return {
        "clip": clip.name,
        "width": metadata.width,
        "height": metadata.height,
        "codec": metadata.codec,
        "pixel_format": metadata.pixel_format,
        "ways": {
            way: {
                "seconds": timing.rounded(),
                "max_difference": _difference(readers[way](clip, indices), truth),
            }
            for way, timing in timings.items()
        },
    }


def _ours(clip: Path, indices: list[int]) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(clip, sampling=EvenlySpaced(len(indices)))]


def _seek(clip: Path, indices: list[int]) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(clip))
    images = []
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        images.append(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
    return images


def _grab(clip: Path, indices: list[int]) -> list[np.ndarray]:
    capture, wanted, images = cv2.VideoCapture(str(clip)), set(indices), []
    for index in range(indices[-1] + 1):
        capture.grab()
        if index in wanted:
            images.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return images


def _in_order(clip: Path, indices: list[int]) -> list[np.ndarray]:
    capture, wanted, images = cv2.VideoCapture(str(clip)), set(indices), []
    for index in range(indices[-1] + 1):
        picture = capture.read()[1]
        if index in wanted:
            images.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return images


def _torchcodec(clip: Path, indices: list[int]) -> list[np.ndarray]:
    frames = VideoDecoder(str(clip), dimension_order="NHWC").get_frames_at(indices)
    return list(frames.data.numpy())


def _difference(images: list[np.ndarray], truth: list[np.ndarray]) -> int | None:
    """Return the largest difference of a pixel value; ``None`` where frames are missing."""
    if len(images) != len(truth):
        return None
    return max(int(cv2.absdiff(one, other).max()) for one, other in zip(images, truth, strict=True))


if __name__ == "__main__":
    sys.exit(main())
