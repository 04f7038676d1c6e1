"""The faces that a detector classified most wrongly, with their crops and clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation import Evaluation, ScoreTable
from deepfake_detect.evaluation.inputs import CropSource
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.report.page import jpeg_url

_NUM_SHOWN = 12
_SIDE = 192
_JPEG_QUALITY = 85


def wrong_faces(
    evaluation: Evaluation, table: ScoreTable, source: CropSource, *, label: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many videos of a label were misclassified, and a face of each of the worst, worst first.

    Args:
        evaluation, table: The result and the scores behind it, with the detail ``path``.
        source: Location of the crops.
        label: ``REAL`` for false positives, ``FAKE`` for false negatives.

    Returns:
        The number, and for each face what the report's template shows: ``video``, ``method``,
        ``frame_index``, ``video_score`` and ``score`` (fake probabilities), ``crop`` (its path),
        ``image`` (a data URL; empty if the crop can no longer be read) and ``link`` (address of the clip,
        or else of the crop; empty if neither exists).
    """
    scores = evaluation.video.scores
    called_fake = scores >= evaluation.settings.threshold
    wrong = np.flatnonzero((evaluation.video.labels == label) & (called_fake == (label == REAL)))
    order = wrong[np.argsort(scores[wrong] if label == FAKE else -scores[wrong], kind="stable")]
    return len(order), [
        _wrong_face(str(evaluation.video_ids[video]), float(scores[video]), table, source, label)
        for video in order[:_NUM_SHOWN]
    ]


def _wrong_face(
    video: str, video_score: float, table: ScoreTable, source: CropSource, label: int
) -> dict[str, Any]:
    rows = np.flatnonzero(table.video_id == video)
    error = table.fake_probability[rows] * (1 if label == REAL else -1)
    row = rows[error.argmax()]  # the face whose score is farthest from the truth
    crop = source.root / str(table.details["path"][row])
    target = Path(source.clips.get(video, crop))
    # A crop inside a tar has no address of its own; the tar has.
    while not target.exists() and target != target.parent:
        target = target.parent
    try:
        small = cv2.resize(read_crop(crop), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        image = jpeg_url(small, quality=_JPEG_QUALITY)
    except ManifestError:
        image = ""  # the report says so instead
    return {
        "video": video,
        "method": str(table.method[row]),
        "frame_index": int(table.frame_index[row]),
        "video_score": video_score,
        "score": float(table.fake_probability[row]),
        "crop": str(crop),
        "image": image,
        "link": target.absolute().as_uri() if target.is_file() else "",
    }
