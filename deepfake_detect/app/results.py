"""What is made of a scored clip for the page: words, faces with heat maps, and the report.

Everything here needs the detector and runs in the worker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from deepfake_detect.app.jobs import ScoredClip
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import ClipResult
from deepfake_detect.report.clip import ClipEvidence, Moment, clip_report, jpeg_url
from deepfake_detect.report.key_frames import collect_key_frames
from deepfake_detect.report.verdicts import CAVEAT, HEADLINES, explain_verdict, steadiness
from deepfake_detect.scoring.clip_scorer import read_credentials

_SIDE = 208


def scored_clip(detector: TorchDetector, score: ClipResult, *, name: str, wants_page: bool) -> ScoredClip:
    """Return what is sent back for a clip.

    Args:
        detector: The one that spoke.
        score: What it said; ``score.video`` is the upload.
        name: What the upload's sender calls it, put in place of where it lies.
        wants_page: Whether the page and the report are wanted beside the numbers.

    Raises:
        VideoError: The clip can no longer be read.
    """
    named = replace(score, video=name)
    provenance, credentials = read_credentials(score.video)
    numbers = {**named.to_dict(), "provenance": None if provenance is None else provenance.to_dict()}
    if not wants_page:
        return ScoredClip(numbers)
    evidence = collect_key_frames(detector, score)
    page = {**_page(named, evidence), "credentials": credentials}
    return ScoredClip(numbers, page, clip_report(named, evidence, provenance=provenance))


def _page(score: ClipResult, evidence: ClipEvidence) -> dict[str, Any]:
    return {
        "headline": HEADLINES[score.verdict],
        "meaning": " ".join(filter(None, (explain_verdict(score), steadiness(score)))),
        "caveat": CAVEAT,
        "verdicts": {
            str(track.track_id): HEADLINES[track.verdict or score.verdict] for track in score.tracks
        },
        "why_no_maps": evidence.why_no_maps,
        "moments": [_moment(moment) for moment in evidence.moments],
    }


def _moment(moment: Moment) -> dict[str, Any]:
    return {
        "track_id": moment.track_id,
        "frame_index": moment.frame_index,
        "time_seconds": moment.time_seconds,
        "fake_probability": moment.fake_probability,
        "is_suspicious": moment.is_suspicious,
        "face": jpeg_url(_small(moment.crop)),
        "heat_map": None if moment.overlay is None else jpeg_url(_small(moment.overlay)),
    }


def _small(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
