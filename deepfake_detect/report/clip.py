"""The report on one clip: a self-contained HTML page to read, print and archive."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect._version import __version__
from deepfake_detect.plurals import counted
from deepfake_detect.provenance import Provenance
from deepfake_detect.records import ClipResult, DetectorInfo, Segment, TrackScore
from deepfake_detect.report.key_frames import KeyFace, KeyFrames, collect_key_frames
from deepfake_detect.report.page import jpeg_url, render, write_text
from deepfake_detect.report.timeline import frame_words, timeline_chart
from deepfake_detect.report.words import (
    CAVEAT,
    CREDENTIALS,
    LOCAL,
    agreement_words,
    clock,
    forged_parts,
    headline,
    heat_map_note,
    opinion_words,
    percent,
    percent_range,
    person,
    printable,
    verdict_words,
)

_SHOWN_SIDE = 224
_THUMBNAIL_QUALITY = 75
_LABEL_PERCENT = 6.0  # of a frame's height: a face nearer to its top has its number inside the box


def write_report(
    result: ClipResult,
    path: str | os.PathLike[str],
    *,
    key_frames: KeyFrames | None = None,
    provenance: Provenance | None = None,
    name: str | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Path:
    """Write the report on a clip as a self-contained HTML file; return its path.

    Args:
        result: Of a clip that is still at ``result.video``.
        path: HTML file to write.
        key_frames: Faces with heat maps, from :func:`collect_key_frames` with the detector. If
            ``None``, the faces are read from the clip and the report has no heat maps.
        provenance: Content Credentials of the file, from :func:`provenance.read_provenance`.
        name: Name of the clip in the report; defaults to its file name.
        on_step: Called with a description of each step.

    Raises:
        VideoError: The clip can no longer be read, or has changed since it was scored.

    Example:
        >>> import tempfile
        >>> import deepfake_detect as dfd
        >>> detector = dfd.load_detector()
        >>> result = detector.score_video("examples/demo.mp4", num_frames=2)
        >>> path = write_report(result, Path(tempfile.mkdtemp()) / "report.html")
        >>> path.read_text()[:15]
        '<!doctype html>'
    """
    found = collect_key_frames(result, on_step=on_step) if key_frames is None else key_frames
    on_step("writing the report")
    write_text(path, report_html(result, found, provenance=provenance, name=name))
    return Path(path)


def report_html(
    result: ClipResult,
    key_frames: KeyFrames,
    *,
    provenance: Provenance | None = None,
    name: str | None = None,
) -> str:
    """Return the report that :func:`write_report` writes."""
    shown = result if name is None else replace(result, video=name)
    return render(
        "clip.html.j2",
        title=f"Report on {_shown_name(shown)}",
        verdict=verdict_words(shown),
        chart=clip_chart(shown, key_frames),
        num_frames=len(shown.frames),
        undecided=_undecided(shown),
        marked_frames=[_marked_frame(shown, key_frames, index) for index in key_frames.frames],
        key_frames=_key_frame_sections(key_frames),
        heat_map_note=heat_map_note(key_frames.why_no_heat_maps),
        segments=[_segment_row(one) for one in forged_parts(shown)],
        people=[_person_row(track, is_alone=len(shown.tracks) == 1) for track in shown.tracks],
        opinions=opinion_words(shown),
        agreement=agreement_words(shown),
        provenance=[] if provenance is None else list(provenance.rows()),
        credentials_note=CREDENTIALS,
        caveat=CAVEAT,
        local=LOCAL,
        appendix=_appendix(shown, key_frames),
    )


def clip_summary(result: ClipResult) -> str:
    """Return the verdict and the timeline of a clip as a piece of HTML, as notebooks show it."""
    return render(
        "clip_summary.html.j2",
        name=_shown_name(result),
        verdict=verdict_words(result),
        chart=clip_chart(result),
    )


def clip_chart(
    result: ClipResult, key_frames: KeyFrames | None = None, *, with_images: bool = True
) -> dict[str, Any] | None:
    """Return :func:`timeline.timeline_chart`; ``None`` without a face or for a single frame."""
    if not result.tracks or len(result.frames) < 2:
        return None
    if key_frames is None:
        return timeline_chart(result)
    return timeline_chart(
        result,
        duration_seconds=key_frames.metadata.duration_seconds,
        thumbnails=thumbnail_urls(key_frames) if with_images else {},
    )


def thumbnail_urls(key_frames: KeyFrames) -> dict[int, str]:
    """Return the thumbnails as data URLs by frame index."""
    images = key_frames.thumbnails.items()
    return {index: jpeg_url(image, quality=_THUMBNAIL_QUALITY) for index, image in images}


def _marked_frame(result: ClipResult, key_frames: KeyFrames, index: int) -> dict[str, Any]:
    """Return a whole frame, with the boxes of its faces in percent of its size."""
    frame = next(one for one in result.frames if one.frame_index == index)
    size = np.array([key_frames.metadata.width, key_frames.metadata.height])
    boxes = []
    for face in frame.faces:
        left, top, right, bottom = (100 * face.box_xyxy.reshape(2, 2) / size).clip(0, 100).reshape(4).tolist()
        place = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        boxes.append({"person": face.track_id, "place": place, "is_at_top": top < _LABEL_PERCENT})
    return {"image": jpeg_url(key_frames.frames[index]), "words": frame_words(frame), "boxes": boxes}


def _key_frame_sections(key_frames: KeyFrames) -> list[dict[str, Any]]:
    sections = []
    for title, is_suspicious in (("Most suspicious frames", True), ("Least suspicious frames", False)):
        faces = [_key_face(one) for one in key_frames.faces if one.is_suspicious == is_suspicious]
        sections += [{"title": title, "faces": faces}] if faces else []
    return sections


def _key_face(face: KeyFace) -> dict[str, str]:
    who, time = person(face.track_id), f"{face.time_seconds:.2f} s"
    return {
        "words": f"{who} at {time}",
        "image": jpeg_url(_fit(face.crop)),
        "heat_map": "" if face.heat_map is None else jpeg_url(_fit(face.heat_map)),
        "caption": f"{who}, {time}, frame {face.frame_index}: {percent(face.fake_probability)}",
    }


def _fit(image: np.ndarray) -> np.ndarray:
    side = min(_SHOWN_SIDE, max(image.shape[:2]))
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def _person_row(track: TrackScore, *, is_alone: bool) -> list[str]:
    interval = track.fake_probability_interval
    spread = "" if interval is None else f" [{percent_range(*interval)}]"
    return [
        person(track.track_id) + ", decides the verdict" * (track.decides and not is_alone),
        f"{percent(track.fake_probability)}{spread}",
        headline(track.verdict, track.fake_probability).lower() if track.verdict else "",
        str(track.num_frames),
    ]


def _segment_row(segment: Segment) -> list[str]:
    interval = segment.fake_probability_interval
    spread = "" if interval is None else f" [{percent_range(*interval)}]"
    return [
        person(segment.track_id),
        clock(segment.start_seconds),
        clock(segment.end_seconds),
        f"{percent(segment.fake_probability)}{spread}",
        str(segment.num_frames),
    ]


def _appendix(result: ClipResult, key_frames: KeyFrames) -> list[tuple[str, str]]:
    file, detector = key_frames.metadata, result.detector
    rate = f"{file.frames_per_second:.3f} per second"
    length = f"{file.duration_seconds:.2f} s, {counted(file.num_frames, 'frame')}, {rate}"
    probability = "none" if result.fake_probability is None else f"{100 * result.fake_probability:.4f}%"
    return [
        ("file", _shown_name(result)),
        ("size", f"{key_frames.num_bytes:,} bytes"),
        ("SHA-256", key_frames.sha256),
        ("video", f"{file.codec}, {file.pixel_format}, {file.width} x {file.height} pixels"),
        ("length", length if file.num_frames > 1 else "one image"),
        ("damage", "some declared frames are missing" if file.is_truncated else "none found"),
        ("detector", " + ".join(f"{one.detector.name} {one.detector.version}" for one in result.detectors)),
        *key_frames.detector_facts,
        *_limits(detector),
        ("aggregation", detector.aggregation_rule),
        ("frames sampled", f"{len(result.frames)}, with a face in {result.num_frames_scored}"),
        ("frames sampled again", f"{len(result.extra_frames)}, around suspicious changes"),
        ("fake probability", probability),
        ("software", f"deepfake_detect {__version__}, Python {platform.python_version()}"),
        ("created", key_frames.created_at.strftime("%Y-%m-%d %H:%M:%S %Z")),
    ]


def _undecided(result: ClipResult) -> str:
    """Return the range in which the detector is undecided; empty where it is not calibrated."""
    detector = result.detector
    return percent_range(detector.uncertain_low, detector.uncertain_high) if detector.is_calibrated else ""


def _limits(detector: DetectorInfo) -> list[tuple[str, str]]:
    if not detector.is_calibrated:
        return [("limits", "none: the detector is not calibrated")]
    return [
        ("no signs of forgery", f"below {100 * detector.uncertain_low:.1f}%"),
        ("signs of forgery", f"{100 * detector.uncertain_high:.1f}% or more"),
    ]


def _shown_name(result: ClipResult) -> str:
    return printable(Path(result.video).name)
