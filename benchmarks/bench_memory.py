"""Memory of scoring one file: the largest resident size of the process, for sizes of clips and images.

    python benchmarks/bench_memory.py CLIP [--rounds 3] [--json FILE]

Of CLIP (any clip with a face) eight frames are written in several sizes and formats, and each file is scored
by the default command in a process of its own, ``--frames 8``. Linux only: the peak is read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

import av  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.measuring import add_json_option, peak_mb, record  # noqa: E402
from deepfake_detect.video import EvenlySpaced, read_frames  # noqa: E402

_FRAMES = 8
_MEGAPIXELS = 50
_4K, _8K = (3840, 2160), (7680, 4320)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    add_json_option(parser, "memory")
    arguments = parser.parse_args()
    if arguments.score:
        print(json.dumps(_score(arguments.score)))
        return 0
    if arguments.clip is None:
        parser.error("name a clip")
    inputs = []
    with tempfile.TemporaryDirectory() as folder:
        images = [frame.image for frame in read_frames(arguments.clip, sampling=EvenlySpaced(_FRAMES))]
        for number, (name, (suffix, write)) in enumerate(_INPUTS.items()):
            write(path := Path(folder) / f"{number}{suffix}", images)
            runs = [_run(path) for _ in range(arguments.rounds)]
            inputs.append(
                {"input": name, "peak_mb": [round(one["peak_mb"]) for one in runs], **runs[0]["result"]}
            )
            path.unlink()
    record("memory", arguments, {"inputs": inputs}, packages=("av", "onnxruntime", "opencv-python-headless"))
    return 0


def _run(path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--score", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def _score(path: Path) -> dict[str, Any]:
    """Score a file as the command does; return what that took."""
    from deepfake_detect.cli import main as command

    with contextlib.redirect_stdout(io.StringIO()) as out:
        command(["score-video", str(path), "--frames", str(_FRAMES), "--json", "-"])
    frames = json.loads(out.getvalue())["frames"]
    found = sum(bool(frame["faces"]) for frame in frames)
    return {"peak_mb": peak_mb(), "result": {"frames": len(frames), "frames_with_faces": found}}


def _clip(path: Path, images: list[np.ndarray], *, size: tuple[int, int], codec: str, **options: str) -> None:
    pixel_format = options.pop("pix_fmt", "yuv420p")
    with av.open(str(path), "w") as writer:
        stream: Any = writer.add_stream(codec, rate=25, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(cv2.resize(image, size))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            writer.mux(stream.encode(frame.reformat(format=pixel_format)))
        writer.mux(stream.encode(None))


def _still(path: Path, images: list[np.ndarray], *, has_alpha: bool) -> None:
    height, width = images[0].shape[:2]
    factor = (_MEGAPIXELS * 1e6 / (height * width)) ** 0.5
    large = cv2.resize(images[0], (int(width * factor), int(height * factor)))
    cv2.imwrite(str(path), cv2.cvtColor(large, cv2.COLOR_RGB2BGRA if has_alpha else cv2.COLOR_RGB2BGR))


_INPUTS: dict[str, tuple[str, Callable[[Path, list[np.ndarray]], None]]] = {
    "H.264, 720p": (".mp4", partial(_clip, size=(1280, 720), codec="libx264")),
    "H.264, 4K": (".mp4", partial(_clip, size=_4K, codec="libx264")),
    "H.264, 8K, 16 reference frames": (".mp4", partial(_clip, size=_8K, codec="libx264", refs="16")),
    "HEVC, 8K, 10 bits": (".mp4", partial(_clip, size=_8K, codec="libx265", pix_fmt="yuv420p10le")),
    "JPEG, 50 megapixels": (".jpg", partial(_still, has_alpha=False)),
    "PNG with transparency, 50 megapixels": (".png", partial(_still, has_alpha=True)),
}


if __name__ == "__main__":
    sys.exit(main())
