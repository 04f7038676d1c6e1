"""The faces of other runtimes are those of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.errors import OptionError
from deepfake_detect.faces.integral import crop_windows, integral_images
from deepfake_detect.faces.networks import load_networks
from deepfake_detect.records import Face
from deepfake_detect.runtimes import RUNTIMES
from deepfake_detect.runtimes.faces import FACE_FILES, _networks, face_finder
from deepfake_detect.runtimes.mtcnn import export_face_networks
from deepfake_detect.video import EvenlySpaced

WEIGHTS = Path(dfd.__file__).parent / "weights"


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    shared = np.maximum(0, np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).prod()
    return float(shared / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def assert_same(found: list[list[Face]], wanted: list[list[Face]]) -> None:
    assert [len(faces) for faces in found] == [len(faces) for faces in wanted]
    for faces, others in zip(found, wanted, strict=True):
        for face, other in zip(faces, others, strict=True):
            assert overlap(face.box_xyxy, other.box_xyxy) >= 0.99
            np.testing.assert_allclose(face.box_xyxy, other.box_xyxy, atol=0.5)
            np.testing.assert_allclose(face.landmarks_xy, other.landmarks_xy, atol=0.5)
            assert face.score == pytest.approx(other.score, abs=1e-3)


@pytest.fixture(scope="module")
def pictures(portrait: np.ndarray, demo_clip: Path) -> list[np.ndarray]:
    """Of several sizes, even and odd, with 0 to 20 faces."""
    head = cv2.resize(portrait[30:270, 100:340], (120, 120), interpolation=cv2.INTER_AREA)
    frames = [frame.image for frame in dfd.read_frames(demo_clip, sampling=EvenlySpaced(3))]
    crowd = np.tile(head, (4, 5, 1))
    blank = np.zeros((90, 160, 3), np.uint8)
    return [portrait, blank, crowd, portrait[:301, 60:333], portrait[:, ::-1], blank[:8, :8], *frames]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_faces_are_those_of_pytorch(runtime: str, pictures: list[np.ndarray]) -> None:
    pytest.importorskip("openvino")
    wanted = dfd.detect_faces(pictures, device="cpu")
    assert [len(faces) for faces in wanted[:6]] == [1, 0, 20, 1, 1, 0]
    finder = face_finder(runtime, num_threads=2, min_face=None)
    assert_same(list(finder.detect_each(pictures)), wanted)
    assert_same([finder.detect(pictures[0])], wanted[:1])


def test_a_smallest_face_means_the_same(portrait: np.ndarray) -> None:
    small = cv2.resize(portrait, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    for min_face in (12, 20, 60):
        finder = face_finder("onnx", num_threads=1, min_face=min_face)
        assert_same([finder.detect(small)], dfd.detect_faces([small], min_face=min_face, device="cpu"))
    with pytest.raises(OptionError, match=r"min_face: is 11; must be 12 or more pixels"):
        face_finder("onnx", num_threads=1, min_face=11)


def test_faces_of_real_frames_are_those_of_pytorch(real_data: Callable[[str], Path]) -> None:
    clip = cv2.VideoCapture(str(real_data("videos/short_hamilton_clip.mp4")))
    frames = [cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB) for _ in range(3)]
    clip.release()
    frames.append(cv2.imread(str(real_data("videos/multiface.jpg")))[..., ::-1])
    wanted = dfd.detect_faces(frames, min_face=40, device="cpu")
    finder = face_finder("onnx", num_threads=1, min_face=40)
    assert_same(list(finder.detect_each(frames)), wanted)
    assert sum(map(len, wanted)) > 8


def test_the_shipped_networks_answer_as_the_originals() -> None:
    """Anew made files would be those that are shipped."""
    ours, theirs = _networks("onnx", 1), load_networks(torch.device("cpu"))
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1, 120, 160, 3), dtype=np.uint8)
    tables = integral_images(frame)
    windows = np.stack([np.array([n, n, n + 40, n + 50]) for n in range(70)])
    for name, side in (("rnet", 24), ("onet", 48)):
        crops = crop_windows(tables, np.zeros(70, np.int64), windows, side)
        with torch.inference_mode():
            wanted = getattr(theirs, name)(torch.from_numpy(crops))
        for answer, other in zip(getattr(ours, name)(crops), wanted, strict=True):
            np.testing.assert_allclose(answer, other.numpy(), atol=1e-5)
    pixels = np.moveaxis(rng.standard_normal((2, 60, 62, 3), np.float32), 3, 1)
    seams = np.array([5, 300, 3479])
    features = ours.pnet.features(pixels, seams)
    with torch.inference_mode():
        tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(memory_format=torch.channels_last)
        wanted_features = theirs.pnet.features(tensor, torch.from_numpy(seams))
        odds = theirs.pnet.log_odds(wanted_features)
        scores, moves = theirs.pnet.heads(wanted_features.flatten(0, 1))
    np.testing.assert_allclose(ours.pnet.log_odds(features), odds.numpy(), atol=1e-4)
    found, corrections = ours.pnet.heads(features.reshape(-1, 5))
    np.testing.assert_allclose(found, scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(corrections, moves.numpy(), atol=1e-5)


def test_the_shipped_networks_are_what_the_command_writes(tmp_path: Path) -> None:
    import onnx

    for path in export_face_networks(tmp_path):
        made, shipped = onnx.load(str(path)), onnx.load(str(WEIGHTS / path.name))
        names = {one.name for one in made.graph.initializer}
        assert names == {one.name for one in shipped.graph.initializer}
        for one, other in zip(made.graph.initializer, shipped.graph.initializer, strict=True):
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(FACE_FILES)
    assert sum((WEIGHTS / name).stat().st_size for name in FACE_FILES) < 3e6
