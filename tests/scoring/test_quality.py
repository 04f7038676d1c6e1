from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.records import FaceScore, FrameScore, TrackScore, VideoMetadata
from deepfake_detect.scoring.quality import (
    WARNING_KINDS,
    Clip,
    file_warnings,
    quality_warnings,
    sharpness_of,
)


def metadata(num_frames: int = 300) -> VideoMetadata:
    name = Path("a.mp4")
    return VideoMetadata(name, "h264", "yuv420p", 640, 480, 0, 30.0, num_frames, num_frames, 10.0, False)


def frames(
    count: int, *, side: float = 150.0, sharpness: float | None = 0.3, detection: float = 0.99
) -> list[FrameScore]:
    box = np.array([10, 10, 10 + 0.8 * side, 10 + side], np.float32)
    face = FaceScore(box, 0, detection, 0.5, sharpness)
    return [FrameScore(number, number / 30, (face,)) for number in range(count)]


def kinds(
    seen: list[FrameScore],
    *,
    tracks: tuple[TrackScore, ...] = (TrackScore(0, 32, 0.5, decides=True),),
    interval: tuple[float, float] | None = (0.4, 0.6),
    of_file: VideoMetadata | None = None,
    num_bytes: int = 10**7,
) -> list[str]:
    clip = Clip.from_metadata(of_file or metadata(), num_bytes=num_bytes)
    found = quality_warnings(seen, tracks, interval, clip)
    assert all(warning.kind in WARNING_KINDS for warning in found)
    return [warning.kind for warning in found]


def test_a_good_clip_has_no_limits() -> None:
    assert kinds(frames(32)) == []
    assert kinds(frames(32, sharpness=None)) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (frames(7), "few_frames"),
        (frames(32, side=99), "small_faces"),
        (frames(32, sharpness=0.09), "blurred_faces"),
        (frames(32, detection=0.94), "unsure_faces"),
    ],
)
def test_what_is_measured_on_faces_is_told(seen: list[FrameScore], expected: str) -> None:
    assert kinds(seen) == [expected]


def test_few_bits_and_disagreeing_frames_are_told() -> None:
    assert kinds(frames(32), interval=(0.2, 0.51)) == ["frames_disagree"]
    just_enough = round(0.02 * 300 * 640 * 480 / 8)
    assert kinds(frames(32), num_bytes=just_enough) == []
    assert kinds(frames(32), num_bytes=just_enough - 100) == ["heavy_compression"]


def test_a_picture_is_no_heavily_compressed_clip() -> None:
    assert kinds(frames(1), of_file=metadata(1), num_bytes=100, interval=None) == ["single_picture"]


def test_the_person_who_decides_is_judged() -> None:
    small = FaceScore(np.array([0, 0, 40, 40], np.float32), 1, 0.99, 0.1, 0.3)
    seen = [FrameScore(one.frame_index, one.time_seconds, (*one.faces, small, small)) for one in frames(32)]
    bystander = TrackScore(1, 32, 0.1, decides=False)
    assert kinds(seen, tracks=(TrackScore(0, 32, 0.5, decides=True), bystander)) == []
    everybody = (TrackScore(0, 32, 0.5, decides=False), bystander)
    assert kinds(seen, tracks=everybody) == ["small_faces"]


def test_nobody_limits_nothing() -> None:
    assert kinds([FrameScore(0, 0.0, ())], tracks=(), interval=None) == []


def test_sharpness_falls_with_blur_and_not_with_size_or_contrast(portrait: np.ndarray) -> None:
    crop = portrait[20:244, 120:344]
    sharp = sharpness_of(crop)
    assert sharpness_of(cv2.resize(crop, (448, 448))) == pytest.approx(sharp, rel=0.25)
    assert sharpness_of((crop // 2) + 60) == pytest.approx(sharp, rel=0.1)
    assert sharpness_of(cv2.GaussianBlur(crop, (0, 0), 5)) < 0.095 < sharp
    assert sharpness_of(np.full((50, 50, 3), 128, np.uint8)) == 0.0


@pytest.mark.parametrize(
    ("clip", "kind", "text"),
    [
        (Clip(100, bad_fraction=0.124), "damaged_file", "12% of its frames are missing or damaged"),
        (Clip(100, bad_fraction=0.0), "damaged_file", "some of its frames are missing or damaged"),
        (Clip(1, bad_fraction=1.0), "damaged_file", "the image is damaged or cut off"),
        (Clip(100, num_in_gaps=7), "missing_frames", "7 frames are missing between the 100 in the file"),
        (Clip(100, streams=("960 x 540", "160 x 90 h264")), "other_streams", "has 2 video streams"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(clip: Clip, kind: str, text: str) -> None:
    (warning,) = file_warnings(clip)
    assert warning.kind == kind
    assert text in warning.text
    assert kind in WARNING_KINDS


def test_an_intact_file_has_no_warning() -> None:
    assert list(file_warnings(Clip(100, 0.1, streams=("960 x 540",)))) == []
