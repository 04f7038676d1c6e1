"""The report on one clip: a page that needs no other file, to read, print and archive."""

from __future__ import annotations

import base64
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from deepfake_detect._version import __version__
from deepfake_detect.records import ClipResult, TrackScore, VideoMetadata
from deepfake_detect.report.clip_timeline import TIMELINE_STYLE, timeline_html
from deepfake_detect.report.page import page, paragraph, section, table
from deepfake_detect.report.verdicts import (
    CAVEAT,
    HEADLINES,
    LOCAL,
    explain_verdict,
    printable,
    steadiness,
)

_JPEG_QUALITY = 88
_SHOWN_SIDE = 224
_STYLE = (
    """
.verdict { border-left: .5rem solid #777; background: #f5f6f8; padding: .8rem 1.2rem; margin: 1rem 0; }
.verdict strong { font-size: 1.5rem; display: block; }
.verdict.fake { border-color: #b3261e; } .verdict.real { border-color: #1e7d43; }
.verdict.uncertain { border-color: #b8860b; }
.moments { display: flex; flex-wrap: wrap; gap: 1rem; }
.moments figure { width: 15.5rem; break-inside: avoid; }
.moments img { width: 7.5rem; border-radius: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  h2 { break-after: avoid; } body { margin: 0; max-width: none; }
  .moments { gap: .7rem; } .moments figure { width: 12.4rem; } .moments img { width: 6rem; }
}
"""
    + TIMELINE_STYLE
)


class Words(Protocol):
    """Something that can say itself in rows of name and value, such as a file's provenance."""

    def rows(self) -> Iterable[tuple[str, str]]: ...


@dataclass(frozen=True, eq=False)
class Moment:
    """A face worth looking at.

    Attributes:
        track_id: Whose.
        frame_index, time_seconds: When.
        fake_probability: Of this face, 0 to 1.
        is_suspicious: Whether it is shown among the most suspicious, else the most trustworthy.
        crop: RGB uint8 (S, S, 3), as the detector saw it.
        overlay: The same with a heat map over it; ``None`` where there is none.
    """

    track_id: int
    frame_index: int
    time_seconds: float
    fake_probability: float
    is_suspicious: bool
    crop: np.ndarray
    overlay: np.ndarray | None


@dataclass(frozen=True, eq=False)
class ClipEvidence:
    """What a report shows of a clip beside its score.

    Attributes:
        metadata: Of the file.
        num_bytes, sha256: Of the file.
        made_at: Now, with a time zone.
        moments: Faces to show.
        why_no_maps: Why moments have no heat maps; empty where they have.
        thumbnails: Small pictures of frames, RGB uint8 (H, W, 3), by frame index.
        detector_facts: Rows of name and value.
    """

    metadata: VideoMetadata
    num_bytes: int
    sha256: str
    made_at: datetime
    moments: tuple[Moment, ...]
    why_no_maps: str
    thumbnails: Mapping[int, np.ndarray]
    detector_facts: tuple[tuple[str, str], ...]


def clip_report(score: ClipResult, evidence: ClipEvidence, *, provenance: Words | None = None) -> str:
    """Return the report as HTML.

    Args:
        score: The verdict and its numbers.
        evidence: What else is shown.
        provenance: Content credentials of the file, where it carries some; told apart from the verdict.
    """
    pictures = {index: jpeg_url(image) for index, image in evidence.thumbnails.items()}
    parts = [verdict_box(score), _limits(score)]
    if score.tracks:
        parts += [
            section("Over time", timeline_html(score, pictures), _timeline_words(score)),
            *_moment_sections(evidence),
            section("People", _people_table(score.tracks)),
        ]
    if provenance is not None:
        rows = provenance.rows()
        told = "Said by the file's own content credentials (C2PA), and no part of the verdict above."
        parts.append(
            section("Where the file says it comes from", paragraph(told, kind="small"), _facts(rows))
        )
    parts += [section("How to read this", paragraph(CAVEAT), paragraph(LOCAL)), _appendix(score, evidence)]
    return page(f"Report on {_shown_name(score)}", parts, style=_STYLE)


def clip_summary(score: ClipResult) -> str:
    """Return the verdict and the timeline of a clip as a piece of HTML, as notebooks show it."""
    timeline = timeline_html(score, {}) if score.tracks else ""
    return f"<style>{_STYLE}</style><p>{escape(_shown_name(score))}</p>{verdict_box(score)}{timeline}"


def verdict_box(score: ClipResult) -> str:
    """Return the verdict with what it means."""
    sentences = " ".join(filter(None, (explain_verdict(score), steadiness(score))))
    return (
        f'<div class="verdict {score.verdict}"><strong>{HEADLINES[score.verdict]}</strong>'
        f"{paragraph(sentences)}</div>"
    )


def jpeg_url(image: np.ndarray) -> str:
    """Return an RGB uint8 image (H, W, 3) as a data URL."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert done, "an image of this size can be encoded"
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _limits(score: ClipResult) -> str:
    if not score.warnings:
        return ""
    items = "".join(f"<li>{escape(limit.text)}</li>" for limit in score.warnings)
    return section("What limits this verdict", f"<ul>{items}</ul>")


def _timeline_words(score: ClipResult) -> str:
    detector = score.detector
    band = (
        f"; the gray band, {detector.uncertain_low:.2f} to {detector.uncertain_high:.2f}, is called undecided"
        if detector.uncertain_low < detector.uncertain_high
        else ""
    )
    return paragraph(
        f"Each dot is one face in one of {len(score.frames)} frames; the dashed line, "
        f"{detector.threshold:.2f}, is where forged begins{band}. Point at the drawing to see the frame.",
        kind="small",
    )


def _moment_sections(evidence: ClipEvidence) -> list[str]:
    sections = []
    for title, is_suspicious in (("Most suspicious moments", True), ("Most trustworthy moments", False)):
        of_kind = [moment for moment in evidence.moments if moment.is_suspicious == is_suspicious]
        if of_kind:
            cells = "".join(map(_moment, of_kind))
            sections.append(section(title, f'<div class="moments">{cells}</div>'))
    if sections:
        sections.append(paragraph(_map_words(evidence.why_no_maps), kind="small"))
    return sections


def _map_words(why_no_maps: str) -> str:
    if why_no_maps:
        return f"There are no heat maps: {why_no_maps}."
    return (
        "Beside each face: which places speak most for forgery to the detector, red the most (Grad-CAM), "
        "drawn relative to the strongest place of that face. It tells where the network looks, not where "
        "the picture was changed."
    )


def _moment(moment: Moment) -> str:
    images = [("face", moment.crop)] + ([] if moment.overlay is None else [("heat map", moment.overlay)])
    shown = " ".join(
        f'<img alt="{words} of person {moment.track_id} at {moment.time_seconds:.2f} s" '
        f'src="{jpeg_url(_fit(image))}">'
        for words, image in images
    )
    return (
        f"<figure>{shown}<figcaption>person {moment.track_id}, {moment.time_seconds:.2f} s, frame "
        f"{moment.frame_index}: {moment.fake_probability:.2f}</figcaption></figure>"
    )


def _fit(image: np.ndarray) -> np.ndarray:
    if max(image.shape[:2]) <= _SHOWN_SIDE:
        return image
    return cv2.resize(image, (_SHOWN_SIDE, _SHOWN_SIDE), interpolation=cv2.INTER_AREA)


def _people_table(tracks: Iterable[TrackScore]) -> str:
    rows = []
    for track in tracks:
        interval = track.fake_probability_interval
        spread = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
        rows.append(
            (
                f"person {track.track_id}",
                HEADLINES[track.verdict].lower() if track.verdict else "",
                f"{track.fake_probability:.2f}{spread}",
                str(track.num_frames),
                "yes" if track.decides else "",
            )
        )
    return table(("", "verdict", "fake probability", "frames seen", "decides the clip"), rows)


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>{cells}</dl>"


def _appendix(score: ClipResult, evidence: ClipEvidence) -> str:
    file, detector = evidence.metadata, score.detector
    rows = [
        ("file", _shown_name(score)),
        ("size", f"{evidence.num_bytes:,} bytes"),
        ("SHA-256", evidence.sha256),
        ("video", f"{file.codec}, {file.pixel_format}, {file.width} x {file.height} pixels"),
        (
            "length",
            f"{file.duration_seconds:.2f} s, {file.num_frames:,} frames, "
            f"{file.frames_per_second:.3f} a second",
        ),
        ("damage", "pictures that the file declares are missing" if file.is_truncated else "none found"),
        ("detector", f"{detector.name} {detector.version}"),
        *evidence.detector_facts,
        ("threshold", f"{detector.threshold:.3f}"),
        ("undecided between", f"{detector.uncertain_low:.3f} and {detector.uncertain_high:.3f}"),
        ("from faces to clip", detector.aggregation_rule),
        ("frames looked at", f"{len(score.frames)}, a face in {score.num_frames_scored}"),
        ("fake probability", "none" if score.fake_probability is None else f"{score.fake_probability:.6f}"),
        ("software", f"deepfake_detect {__version__}, Python {platform.python_version()}"),
        ("made at", evidence.made_at.strftime("%Y-%m-%d %H:%M:%S %Z")),
    ]
    return section("Technical appendix", _facts(rows))


def _shown_name(score: ClipResult) -> str:
    return printable(Path(score.video).name)
