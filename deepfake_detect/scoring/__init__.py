"""The short way: clip -> verdict."""

from deepfake_detect.scoring.clip_score import ClipScore
from deepfake_detect.scoring.detector import (
    DEFAULT_NUM_FRAMES,
    Detector,
    bundled_detector,
    load_detector,
    score_video,
    verdict_of,
)

__all__ = [
    "DEFAULT_NUM_FRAMES",
    "ClipScore",
    "Detector",
    "bundled_detector",
    "load_detector",
    "score_video",
    "verdict_of",
]
