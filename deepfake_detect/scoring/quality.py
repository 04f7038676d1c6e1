"""What makes a verdict less sure than its number says, measured on the clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from deepfake_detect.records import FaceScore, FrameScore, QualityWarning, TrackScore, VideoMetadata

WARNING_KINDS = {
    "single_picture": "one picture, without the mean over frames that steadies a clip",
    "few_frames": "a face in few of the frames",
    "small_faces": "faces smaller than detectors are trained on",
    "blurred_faces": "faces without the fine detail in which forgeries show",
    "unsure_faces": "faces of which the face detector itself is unsure",
    "heavy_compression": "few bits a pixel, which wipes out traces and leaves others",
    "frames_disagree": "a probability that moves much with the choice of frames",
    "another_rule": "another rule from faces to clip than the detector's limits were fitted with",
}
"""Every kind of limit, in few words."""

_FEW_FRAMES = 8
# DFDC's crops, on which the bundled detector was trained, are 100 pixels wide and more.
_SMALL_FACE = 100.0
_SHARPNESS_SIDE = 112
# Of 340 crops of DFDC and 227 of LFW none in fifty is below .12 as it came; blurred with a sigma of 5
# of 224 pixels, where the bundled detector is no longer of use, nine in ten are below .12, most below .08.
_LEAST_SHARPNESS = 0.095
_SURE_DETECTION = 0.95
_FEW_BITS_PER_PIXEL = 0.02
_WIDE_INTERVAL = 0.3


def sharpness_of(crop: np.ndarray) -> float:
    """Return how much fine detail a crop has, whatever its size and contrast.

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


def quality_warnings(
    frames: Sequence[FrameScore],
    tracks: Sequence[TrackScore],
    interval: tuple[float, float] | None,
    metadata: VideoMetadata,
    *,
    num_bytes: int,
) -> tuple[QualityWarning, ...]:
    """Return what limits a verdict, the person who decides it being judged where one does.

    Args:
        frames: Scored, of people only.
        tracks: The clip's.
        interval: Of its probability.
        metadata: Of its file.
        num_bytes: Of its file.
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
        *_of_frames(len(seen), metadata),
        *_of_faces(faces),
        *_of_file(metadata, num_bytes),
        *_of_interval(interval),
    ]
    return tuple(found)


def rule_warnings(rule: str, own_rule: str) -> Iterator[QualityWarning]:
    """Yield what limits a verdict that came about by another rule than the detector's own.

    Args:
        rule: From faces to the clip.
        own_rule: With which the detector's threshold and uncertain band were fitted.
    """
    if rule != own_rule:
        yield QualityWarning(
            "another_rule",
            f"the clip's probability was found by {rule}; where forged and undecided begin was measured "
            f"with {own_rule}",
        )


def _of_frames(num_seen: int, metadata: VideoMetadata) -> Iterator[QualityWarning]:
    if metadata.num_frames == 1:
        yield QualityWarning(
            "single_picture", "this is one picture; a clip is steadied by the mean over its frames"
        )
    elif num_seen < _FEW_FRAMES:
        yield QualityWarning("few_frames", f"the face was seen in only {num_seen} of the frames looked at")


def _of_faces(faces: Sequence[FaceScore]) -> Iterator[QualityWarning]:
    sides = [float(max(face.box_xyxy[2:] - face.box_xyxy[:2])) for face in faces]
    side = float(np.median(sides))
    if side < _SMALL_FACE:
        yield QualityWarning(
            "small_faces",
            f"the face is small: {side:.0f} pixels, detectors are trained on {_SMALL_FACE:.0f} and more",
        )
    sharpness = [face.sharpness for face in faces if face.sharpness is not None]
    if sharpness and float(np.median(sharpness)) < _LEAST_SHARPNESS:
        yield QualityWarning("blurred_faces", "the face is blurred, so that fine traces cannot be seen")
    if float(np.median([face.detection_score for face in faces])) < _SURE_DETECTION:
        yield QualityWarning("unsure_faces", "the face is hard to make out: dark, turned away or covered")


def _of_file(metadata: VideoMetadata, num_bytes: int) -> Iterator[QualityWarning]:
    if metadata.num_frames == 1:
        return  # a picture's bits are not a clip's
    bits = 8 * num_bytes / (metadata.num_frames * metadata.width * metadata.height)
    if bits < _FEW_BITS_PER_PIXEL:
        yield QualityWarning(
            "heavy_compression",
            f"the clip is heavily compressed ({bits:.3f} bits a pixel), which hides traces of forgery",
        )


def _of_interval(interval: tuple[float, float] | None) -> Iterator[QualityWarning]:
    if interval is not None and interval[1] - interval[0] > _WIDE_INTERVAL:
        yield QualityWarning(
            "frames_disagree",
            f"the frames disagree: with others the probability could be {interval[0]:.2f} "
            f"to {interval[1]:.2f}",
        )
