"""The faces a detector was most wrong about, as they stand in the crops, linked to their clips."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation import Evaluation, ScoreTable
from deepfake_detect.records import FAKE, REAL

_NUM_SHOWN = 12
_SIDE = 192


@dataclass(frozen=True)
class CropSource:
    """Where crops and clips are.

    Attributes:
        root: Folder that the scores' ``path`` is relative to.
        clips: Clip of each video, by video id, as far as known.
    """

    root: Path
    clips: Mapping[str, str]


def worst_faces(evaluation: Evaluation, table: ScoreTable, source: CropSource, *, label: int) -> str:
    """Return a sheet of the videos of one label that were judged most wrongly, worst first.

    Of each video the face that speaks most against the truth is shown. Only wrong verdicts are.

    Args:
        evaluation, table: The result and the scores behind it, with the detail ``path``.
        source: Where the crops are.
        label: ``REAL`` shows false positives, ``FAKE`` false negatives.
    """
    scores = evaluation.video.scores
    called_fake = scores >= evaluation.settings.threshold
    wrong = np.flatnonzero((evaluation.video.labels == label) & (called_fake == (label == REAL)))
    order = wrong[np.argsort(scores[wrong] if label == FAKE else -scores[wrong], kind="stable")]
    if len(order) == 0:
        return "<p>None.</p>"
    cells = [
        _cell(str(evaluation.video_ids[video]), float(scores[video]), table, source, label)
        for video in order[:_NUM_SHOWN]
    ]
    where = "Faces link to their clips." if source.clips else "Faces link to their crops (--index: clips)."
    more = f"<p class='small'>{min(len(order), _NUM_SHOWN)} of {len(order):,}, worst first. {where}</p>"
    return more + '<div class="sheet">' + "\n".join(cells) + "</div>"


def _cell(video: str, score: float, table: ScoreTable, source: CropSource, label: int) -> str:
    rows = np.flatnonzero(table.video_id == video)
    against = table.fake_probability[rows] * (1 if label == REAL else -1)
    row = rows[against.argmax()]
    crop = source.root / str(table.details["path"][row])
    image = _thumbnail(crop)
    if image is None:
        inside = "(the crop can no longer be read)"
    else:
        inside = f'<img alt="{escape(video)}" src="data:image/jpeg;base64,{image}">'
    target = Path(source.clips.get(video, crop))
    # A crop inside a tar has no address of its own; the tar has.
    while not target.exists() and target != target.parent:
        target = target.parent
    link = inside
    if target.is_file():
        link = f'<a title="{escape(str(crop))}" href="{escape(target.absolute().as_uri())}">{inside}</a>'
    words = (
        f"{escape(video)}<br>{escape(str(table.method[row]))}, frame {table.frame_index[row]}"
        f"<br>p(fake) {score:.3f}, this face {table.fake_probability[row]:.3f}"
    )
    return f"<figure>{link}<figcaption>{words}</figcaption></figure>"


def _thumbnail(crop: Path) -> str | None:
    try:
        image = read_crop(crop)
    except ManifestError:
        return None  # the page says so in place of the picture
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(data.tobytes()).decode()
