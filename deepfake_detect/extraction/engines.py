"""Extractors of videos: a worker for one video at a time, or streams that share a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from deepfake_detect.device import keep_freed_memory
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.extraction.pipeline import stream_videos
from deepfake_detect.extraction.remote import Remote, RemoteExtractor
from deepfake_detect.extraction.video import Job
from deepfake_detect.faces import TorchMtcnnDetector

_GPU_RUN_LENGTH = 8
Extractor: TypeAlias = Callable[[Job], None]
"""Extracts a video; whatever is wrong with the video becomes a failure file."""


def in_streams(jobs: Sequence[Job], config: ExtractionConfig, num_streams: int, device: str) -> Iterator[str]:
    """Extract videos in this process, several at a time on one GPU; yield ids as videos end."""
    detector = _face_detector(config, device)
    return stream_videos(jobs, detector=detector, num_streams=num_streams, run_length=_GPU_RUN_LENGTH)


def make_extractor(config: ExtractionConfig, device: str, remote: Remote) -> Extractor:
    """Return a function that extracts one video in this process.

    Args:
        config: How to crop.
        device: Where the face detector runs.
        remote: Which folders are behind URLs.
    """
    keep_freed_memory()
    extract = partial(_extract, _face_detector(config, device))
    return extract if remote == Remote() else RemoteExtractor(extract, remote)


def _extract(detector: TorchMtcnnDetector | None, job: Job) -> None:
    for _ in stream_videos([job], detector=detector):
        pass


def _face_detector(config: ExtractionConfig, device: str) -> TorchMtcnnDetector | None:
    return None if config.already_cropped else TorchMtcnnDetector(device=device, min_face=config.min_face)
