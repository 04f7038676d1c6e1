from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import deepfake_detect as dfd
from deepfake_detect.errors import ImageError, OptionError, VideoUnreadableError


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


@pytest.fixture
def face(portrait: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(portrait[20:260, 60:380])


def test_a_clip_may_be_a_path_bytes_or_a_binary_file(detector: dfd.Detector, portrait_clip: Path) -> None:
    wanted = detector.score_video(portrait_clip, num_frames=2)
    content = portrait_clip.read_bytes()
    with portrait_clip.open("rb") as file:
        found = {
            "bytes": detector.score_video(content, num_frames=2),
            "file": detector.score_video(io.BytesIO(content), num_frames=2),
            str(portrait_clip): dfd.score_video(file, detector=detector, num_frames=2),
        }
    for name, result in found.items():
        assert {**result.to_dict(), "video": ""} == {**wanted.to_dict(), "video": ""}
        assert result.video == name
        assert result.file is not None
        assert result.file.modified_time == ""
    with pytest.raises(VideoUnreadableError, match="is not a video"):
        detector.score_video(b"hello")


def test_an_image_may_be_a_path_bytes_pil_or_an_array(
    detector: dfd.Detector, face: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), face[..., ::-1])
    wanted = detector.score_image(path)
    assert wanted.video == str(path)
    assert wanted.num_frames_scored == 1
    for image in (path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path), face, face / 255):
        found = dfd.score_image(image, detector=detector)
        assert found.fake_probability == pytest.approx(wanted.fake_probability, abs=1e-6)
        assert found.warnings == wanted.warnings
        assert found.warnings[0].kind == "single_picture"
    assert dfd.score_image(face, detector=detector).video == "image"
    with pytest.raises(ImageError, match="image: has the shape"):
        detector.score_image(face[..., 0])


def test_decoded_frames_are_scored_as_their_clip(detector: dfd.Detector, portrait_clip: Path) -> None:
    frames = list(dfd.read_frames(portrait_clip))
    wanted = detector.score_video(portrait_clip, num_frames=len(frames))
    done: list[int] = []
    found = dfd.score_frames(
        (frame.image for frame in frames), frames_per_second=12.0, detector=detector, on_frame=done.append
    )
    assert found.fake_probability == pytest.approx(wanted.fake_probability, abs=1e-6)
    assert [frame.time_seconds for frame in found.frames[:3]] == pytest.approx([0, 1 / 12, 2 / 12])
    assert (found.video, len(found.frames), done[-1]) == ("frames", len(frames), len(frames))
    assert found._repr_html_()
    with pytest.raises(OptionError, match="frames_per_second: is 0; must be above 0"):
        detector.score_frames([], frames_per_second=0)
    with pytest.raises(ImageError, match="frame 1: "):
        detector.score_frames([frames[0].image, "x"], frames_per_second=1.0)
    assert detector.score_frames([], frames_per_second=1.0).verdict == "no_face"
