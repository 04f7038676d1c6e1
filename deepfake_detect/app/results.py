"""Results for the page: words, faces with heat maps, and the report.

Everything here needs the detector and runs in the worker.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import cv2
import numpy as np

from deepfake_detect.app.jobs import ScoredClip
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.records import ClipResult
from deepfake_detect.report.clip import clip_chart, report_html, thumbnail_urls
from deepfake_detect.report.key_frames import KeyFace, KeyFrames, collect_key_frames
from deepfake_detect.report.page import jpeg_url
from deepfake_detect.report.words import CAVEAT, HEADLINES, heat_map_note, verdict_words
from deepfake_detect.scoring.clip_scorer import clip_document, read_credentials

_SIDE = 208


def scored_clip(detector: BaseDetector, result: ClipResult, *, name: str, wants_page: bool) -> ScoredClip:
    """Return the response for a clip.

    Args:
        detector: The one that scored it.
        result: Of the clip; ``result.video`` is the upload.
        name: The client's name for the upload, shown instead of its path.
        wants_page: Whether to add the content of the page and the report.

    Raises:
        VideoError: The clip can no longer be read.
    """
    named = replace(result, video=name)
    provenance, credentials = read_credentials(result.video)
    numbers = clip_document(named, provenance)
    if not wants_page:
        return ScoredClip(numbers)
    key_frames = collect_key_frames(result, detector)
    page = {**_page(named, key_frames), "credentials": credentials}
    return ScoredClip(numbers, page, report_html(named, key_frames, provenance=provenance))


def _page(result: ClipResult, key_frames: KeyFrames) -> dict[str, Any]:  # JSON
    return {
        **asdict(verdict_words(result)),
        "caveat": CAVEAT,
        "verdicts": {
            str(track.track_id): HEADLINES[track.verdict or result.verdict] for track in result.tracks
        },
        "why_no_maps": key_frames.why_no_heat_maps,
        "heat_map_note": heat_map_note(key_frames.why_no_heat_maps),
        "chart": clip_chart(result, key_frames, with_images=False),
        "thumbnails": thumbnail_urls(key_frames),
        "frames": {index: jpeg_url(image) for index, image in key_frames.frames.items()},
        "moments": [_key_face(face) for face in key_frames.faces],
    }


def _key_face(face: KeyFace) -> dict[str, Any]:  # JSON
    return {
        "track_id": face.track_id,
        "frame_index": face.frame_index,
        "time_seconds": face.time_seconds,
        "fake_probability": face.fake_probability,
        "is_suspicious": face.is_suspicious,
        "face": jpeg_url(_small(face.crop)),
        "heat_map": None if face.heat_map is None else jpeg_url(_small(face.heat_map)),
    }


def _small(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
