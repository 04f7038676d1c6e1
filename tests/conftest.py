"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from deepfake_detect.io.fetch import RemoteDir

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of garbage collections: accelerate runs one after each stage of a
    training, and each would take a second over the libraries alone.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip CUDA tests where there is no CUDA, unless the run promises there is."""
    marked = [item for item in items if "needs_cuda" in item.keywords]
    if not marked or os.environ.get("FAIL_WITHOUT_CUDA") == "1":
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _no_progress_lines() -> Iterator[None]:
    """On a slow machine progress lines would stand among the lines that tests compare."""
    from deepfake_detect import progress

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "_LINE_SECONDS", float("inf"))
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder, in which detectors are exported once; this user's own is left alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DETECT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a file of real data, which is not part of the project; skips the test without it."""
    from tests.data_sets import DATA_SETS, data_folder

    def find(name: str) -> Path:
        assert any(name in one.files for one in DATA_SETS), f"{name}: add it to tests/data_sets.py"
        path = data_folder() / name
        if not path.is_file():
            pytest.skip(f"{name} is missing: see python tests/data_sets.py")
        return path

    return find


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A real photograph of one face: NASA's of Eileen Collins, public domain, RGB (512, 512, 3)."""
    from skimage import data

    image: np.ndarray = data.astronaut()
    return image


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    return ROOT / "examples" / "demo.mp4"


@pytest.fixture(scope="session")
def portrait_clip(portrait: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames (320 x 240, 12 a second) in which the portrait drifts to the right."""
    from deepfake_detect.video import VideoWriter

    path = tmp_path_factory.mktemp("clips") / "portrait.mp4"
    with VideoWriter(path, width=320, height=240, frames_per_second=12) as writer:
        for number in range(24):
            left = 100 - 3 * number
            writer.write(np.ascontiguousarray(portrait[20:260, left : left + 320]))
    return path


@pytest.fixture(scope="session")
def faceless_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of a moving pattern without a face."""
    from deepfake_detect.video import VideoWriter

    path = tmp_path_factory.mktemp("clips") / "faceless.mp4"
    rows = np.arange(240)[:, None, None] + np.zeros((1, 320, 3), np.int64)
    with VideoWriter(path, width=320, height=240, frames_per_second=12) as writer:
        for number in range(12):
            writer.write(((rows + 5 * number) % 256).astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def small_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, untrained detector that loads and runs in no time."""
    import torch

    from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
    from deepfake_detect.models.classifier import create_model
    from deepfake_detect.records import CropGeometry

    torch.manual_seed(0)
    model = create_model("test_resnet", image_size=64)
    path = tmp_path_factory.mktemp("detector") / "small.safetensors"
    config = DetectorConfig(
        "small",
        "1",
        model.spec,
        CropGeometry(),
        uncertain_low=0.2,
        uncertain_high=0.8,
        training={"video_sha256_prefixes": {"train": [], "val": []}},
    )
    save_detector(path, model, config)
    return path


@pytest.fixture(scope="session")
def labeled_crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of twelve crops, half of them fake."""
    from tests.data.trees import crop_manifest, textured_crops

    return crop_manifest(tmp_path_factory.mktemp("manifest") / "m", textured_crops(6, "val"))


@pytest.fixture(scope="session")
def small_onnx(small_detector: Path, labeled_crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small detector as ONNX."""
    from deepfake_detect.runtimes.export import export

    out = tmp_path_factory.mktemp("exported") / "small.onnx"
    export(small_detector, format="onnx", out=out, verify=labeled_crops)
    return out


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """The address of a server of S3's kind, on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def object_store(object_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteDir]:
    """The empty bucket ``s3://faces`` of that server."""
    import s3fs

    from deepfake_detect.io.fetch import RemoteDir

    for name, value in {
        "AWS_ENDPOINT_URL": object_server,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    system = s3fs.S3FileSystem()
    system.mkdir("s3://faces")
    yield RemoteDir("s3://faces")
    system.rm("s3://faces", recursive=True)


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the text of reports: rendering the figures takes nearly all of the time."""
    import cv2

    blank = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
    monkeypatch.setattr("deepfake_detect.report.drawing.png_bytes", lambda figure, **_: blank)
