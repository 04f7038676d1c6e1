"""Quality warnings: what makes a verdict less certain than its number suggests, measured on the clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from deepfake_detect.plurals import counted
from deepfake_detect.records import FaceScore, FrameScore, QualityWarning, TrackScore, VideoMetadata
from deepfake_detect.report.words import percent_range

WARNING_KINDS = {
    "single_picture": "a single image, without averaging over frames",
    "few_frames": "a face that is visible in few frames",
    "small_faces": "faces smaller than detectors are trained on",
    "blurred_faces": "faces without the fine detail in which forgeries show",
    "unsure_faces": "faces of which the face detector is uncertain",
    "heavy_compression": "few bits per pixel, which removes traces and adds others",
    "frames_disagree": "a probability that depends strongly on the choice of frames",
    "damaged_file": "frames that are missing or damaged, which are left out",
    "missing_frames": "gaps in a clip of constant frame rate",
    "other_streams": "further video streams in the file, which are not scored",
    "detectors_differ": "detectors with different verdicts",
    "another_rule": "an aggregation rule other than the one the undecided range was fitted with",
}
"""Every kind of warning, with a short description."""

_FEW_FRAMES = 8
# DFDC's crops, on which the bundled detector was trained, are 100 pixels wide and more.
_SMALL_FACE = 100.0
_SHARPNESS_SIDE = 112
# Of 340 crops of DFDC and 227 of LFW fewer than 2% are below .12 unchanged; blurred with a sigma of 5
# of 224 pixels, where the bundled detector no longer works, 90% are below .12, most below .08.
_LEAST_SHARPNESS = 0.095
_SURE_DETECTION = 0.95
_FEW_BITS_PER_PIXEL = 0.02
_WIDE_INTERVAL = 0.3


def sharpness_of(crop: np.ndarray) -> float:
    """Return how much fine detail a crop has, independent of its size and contrast.

    The standard deviation of the Laplacian over that of the brightness, both at a width of 112
    pixels (variance of the Laplacian as a measure of focus: Pech-Pacheco et al. 2000).

    Args:
        crop: RGB uint8 (H, W, 3).

    Example:
        >>> crop = np.random.default_rng(0).integers(256, size=(112, 112, 3), dtype=np.uint8)
        >>> sharpness_of(crop) > sharpness_of(cv2.GaussianBlur(crop, (0, 0), 3)) > 0
        True
    """
    side = (_SHARPNESS_SIDE, _SHARPNESS_SIDE)
    gray = cv2.cvtColor(cv2.resize(crop, side, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    brightness = gray.astype(np.float32)
    return float(cv2.Laplacian(brightness, cv2.CV_32F).std() / max(brightness.std(), 1.0))


@dataclass(frozen=True)
class Clip:
    """What the warnings need to know about a clip's file.

    Attributes:
        num_frames: Frames in it; 1 is a still image.
        bits_per_pixel: Size of the file per pixel of all frames; ``None`` where there is no file.
        bad_fraction: Fraction of its frames that are missing or damaged; ``None`` for an intact file.
        num_in_gaps: Frames for which its times have gaps.
        streams: The video stream that is scored and the other ones.
    """

    num_frames: int
    bits_per_pixel: float | None = None
    bad_fraction: float | None = None
    num_in_gaps: int = 0
    streams: tuple[str, ...] = ()

    @classmethod
    def from_metadata(
        cls,
        metadata: VideoMetadata,
        *,
        num_bytes: int,
        bad_fraction: float | None = None,
        num_in_gaps: int = 0,
    ) -> Clip:
        """Return the facts of a file of ``num_bytes`` bytes."""
        num_pixels = metadata.num_frames * metadata.width * metadata.height
        streams = (f"{metadata.width} x {metadata.height}", *metadata.other_streams)
        return cls(metadata.num_frames, 8 * num_bytes / num_pixels, bad_fraction, num_in_gaps, streams)


def quality_warnings(
    frames: Sequence[FrameScore],
    tracks: Sequence[TrackScore],
    interval: tuple[float, float] | None,
    clip: Clip,
) -> tuple[QualityWarning, ...]:
    """Return what limits a verdict, measured on the deciding person where there is one.

    Args:
        frames: Scored frames, with the faces of people only.
        tracks: The clip's tracks.
        interval: Interval of the clip's probability.
        clip: The clip's file.
    """
    deciding = {track.track_id for track in tracks if track.decides} or {t.track_id for t in tracks}
    seen = [
        [face for face in frame.faces if face.track_id in deciding]
        for frame in frames
        if any(face.track_id in deciding for face in frame.faces)
    ]
    if not seen:
        return ()
    faces = [face for of_frame in seen for face in of_frame]
    found = [
        *_of_frames(len(seen), clip),
        *_of_faces(faces),
        *_of_file(clip),
        *_of_interval(interval),
    ]
    return tuple(found)


def file_warnings(clip: Clip) -> Iterator[QualityWarning]:
    """Yield what is wrong with a clip's file, whether or not it shows a face."""
    if clip.bad_fraction is not None:
        share = f"{max(clip.bad_fraction, 0.01):.0%}" if clip.bad_fraction else "some"
        yield QualityWarning(
            "damaged_file",
            f"the file is damaged or cut off: {share} of its frames are missing or damaged and were skipped"
            if clip.num_frames > 1
            else "the image is damaged or cut off: part of it may be missing or wrong",
        )
    if clip.num_in_gaps:
        yield QualityWarning(
            "missing_frames",
            f"{counted(clip.num_in_gaps, 'frame')} {'is' if clip.num_in_gaps == 1 else 'are'} missing "
            f"between the {clip.num_frames:,} in the file: it was cut, or frames were lost",
        )
    if len(clip.streams) > 1:
        scored, *others = clip.streams
        yield QualityWarning(
            "other_streams",
            f"the file has {len(clip.streams)} video streams; only the default one ({scored}) was scored, "
            f"not {', '.join(others)}",
        )


def rule_warnings(rule: str, own_rule: str) -> Iterator[QualityWarning]:
    """Yield a warning where the aggregation rule is not the detector's own.

    Args:
        rule: The rule in use.
        own_rule: The rule that the detector's uncertain band was fitted with.
    """
    if rule != own_rule:
        yield QualityWarning(
            "another_rule",
            f"the clip's probability was aggregated with {rule}, but the verdict's limits were fitted with "
            f"{own_rule}",
        )


def _of_frames(num_seen: int, clip: Clip) -> Iterator[QualityWarning]:
    if clip.num_frames == 1:
        yield QualityWarning("single_picture", "this is a single image; a video's score averages many frames")
    elif num_seen < _FEW_FRAMES:
        yield QualityWarning("few_frames", f"the face is visible in only {num_seen} of the sampled frames")


def _of_faces(faces: Sequence[FaceScore]) -> Iterator[QualityWarning]:
    sides = [float(max(face.box_xyxy[2:] - face.box_xyxy[:2])) for face in faces]
    side = float(np.median(sides))
    if side < _SMALL_FACE:
        yield QualityWarning(
            "small_faces",
            f"the face is small ({side:.0f} pixels); detectors are trained on faces of {_SMALL_FACE:.0f} or "
            "more",
        )
    sharpness = [face.sharpness for face in faces if face.sharpness is not None]
    if sharpness and float(np.median(sharpness)) < _LEAST_SHARPNESS:
        yield QualityWarning("blurred_faces", "the face is blurred, which hides fine traces of forgery")
    if float(np.median([face.detection_score for face in faces])) < _SURE_DETECTION:
        yield QualityWarning(
            "unsure_faces", "the face is hard to detect: it may be dark, turned away or covered"
        )


def _of_file(clip: Clip) -> Iterator[QualityWarning]:
    if clip.num_frames == 1 or clip.bits_per_pixel is None:
        return  # the bits of a still image are not comparable with a clip's
    if clip.bits_per_pixel < _FEW_BITS_PER_PIXEL:
        yield QualityWarning(
            "heavy_compression",
            f"the clip is heavily compressed ({clip.bits_per_pixel:.3f} bits per pixel), which hides traces "
            "of forgery",
        )


def _of_interval(interval: tuple[float, float] | None) -> Iterator[QualityWarning]:
    if interval is not None and interval[1] - interval[0] > _WIDE_INTERVAL:
        yield QualityWarning(
            "frames_disagree",
            f"the frames disagree: sampling other frames could give {percent_range(*interval)}",
        )
