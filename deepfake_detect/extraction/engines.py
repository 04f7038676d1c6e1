"""Extractors of videos: a worker for one video at a time, or streams that share a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Literal, TypeAlias

from deepfake_detect.device import choose_device, has_gpu, keep_freed_memory
from deepfake_detect.errors import OptionError
from deepfake_detect.extraction.config import ExtractionConfig, FaceRuntime
from deepfake_detect.extraction.pipeline import stream_videos
from deepfake_detect.extraction.remote import Remote, RemoteExtractor
from deepfake_detect.extraction.video import Job
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.faces.detector import FaceDetector
from deepfake_detect.runtimes.faces import face_finder
from deepfake_detect.runtimes.sessions import default_num_threads

_GPU_RUN_LENGTH = 8
Extractor: TypeAlias = Callable[[Job], None]
"""Extracts a video; whatever is wrong with the video becomes a failure file."""


def choose_runtime(runtime: FaceRuntime, device: str) -> tuple[Literal["torch", "onnx"], str]:
    """Return what finds the faces, and its device; PyTorch is not imported for ONNX Runtime.

    Raises:
        OptionError: PyTorch is not installed, ONNX Runtime is to use a GPU, or the device is unknown.
        DeviceError: There is no such device.
    """
    if runtime == "auto":
        may_use_gpu = device == "auto" and is_installed("torch") and has_gpu()
        runtime = "torch" if may_use_gpu or device not in ("auto", "cpu") else "onnx"
    if runtime == "onnx":
        if device not in ("auto", "cpu"):
            cause = f"is {device}, and ONNX Runtime detects faces on the CPU only"
            raise OptionError("device", cause, "set `runtime` to torch, or `device` to cpu")
        return "onnx", "cpu"
    if not is_installed("torch"):
        raise missing_library("runtime", "torch")
    return "torch", str(choose_device(device))


def in_streams(
    jobs: Sequence[Job], config: ExtractionConfig, num_streams: int, runtime: FaceRuntime, device: str
) -> Generator[str, None, None]:
    """Extract videos in this process, several at a time on one GPU; yield ids as videos end."""
    detector = face_detector(config, runtime, device)
    return stream_videos(jobs, detector=detector, num_streams=num_streams, run_length=_GPU_RUN_LENGTH)


def make_extractor(config: ExtractionConfig, runtime: FaceRuntime, device: str, remote: Remote) -> Extractor:
    """Return a function that extracts one video in this process."""
    keep_freed_memory()
    detector = face_detector(config, runtime, device)

    def extract(job: Job) -> None:
        deque(stream_videos([job], detector=detector), maxlen=0)

    return extract if remote == Remote() else RemoteExtractor(extract, remote)


def face_detector(config: ExtractionConfig, runtime: FaceRuntime, device: str) -> FaceDetector | None:
    """Return the detector of a runtime; ``None`` where every frame is a face crop already."""
    if config.already_cropped:
        return None
    runtime, device = choose_runtime(runtime, device)
    if runtime == "onnx":
        return face_finder("onnx", num_threads=default_num_threads(), min_face=config.min_face)
    from deepfake_detect.faces import MtcnnDetector  # here, as PyTorch comes with it

    return MtcnnDetector(device=device, min_face=config.min_face)
