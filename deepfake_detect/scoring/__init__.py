"""The short way: clip -> verdict.

pipeline    the way itself, whatever runs the networks
detector    with networks in PyTorch
clip_score  the verdict, and pictures of it; moments: what a report shows
limits      what makes a verdict less sure
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.scoring.clip_score import ClipScore
    from deepfake_detect.scoring.detector import Detector, load_detector, score_video
    from deepfake_detect.scoring.pipeline import (
        DEFAULT_NUM_FRAMES,
        ClipDetector,
        bundled_detector,
        verdict_of,
    )

# Loaded on first use: a verdict by another runtime needs no PyTorch.
_HOMES = {
    "DEFAULT_NUM_FRAMES": "pipeline",
    "ClipDetector": "pipeline",
    "ClipScore": "clip_score",
    "Detector": "detector",
    "bundled_detector": "pipeline",
    "load_detector": "detector",
    "score_video": "detector",
    "verdict_of": "pipeline",
}

__all__ = [
    "DEFAULT_NUM_FRAMES",
    "ClipDetector",
    "ClipScore",
    "Detector",
    "bundled_detector",
    "load_detector",
    "score_video",
    "verdict_of",
]

__getattr__ = lazy_names(__name__, _HOMES)
