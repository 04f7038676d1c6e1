"""Downloads against a real HTTP server on the loopback address."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepfake_detect.errors import WeightsError
from deepfake_detect.io.files import cache_folder
from deepfake_detect.models import weights
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.models.weights import PublishedWeights, fetch_weights, read_weights_file

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY with ranges; can break off, serve damage, or refuse."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []
        self.stop_after: int | None = None
        self.body = BODY
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.server.requests.append(requested)
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        if start >= len(self.server.body):
            self.send_error(416)
            return
        body = self.server.body[start:]
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_fetched_once_and_then_served_from_the_cache(server: Server, tmp_path: Path) -> None:
    published = PublishedWeights(server.url, SHA256[:8], "none")
    first = fetch_weights(published, folder=tmp_path)
    assert first.read_bytes() == BODY
    assert fetch_weights(published, folder=tmp_path) == first
    assert server.requests == [None]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["weights.pt"]


def test_a_broken_download_resumes_where_it_stopped(server: Server, tmp_path: Path) -> None:
    published = PublishedWeights(server.url, SHA256, "none")
    server.stop_after = 100_000
    with pytest.raises(WeightsError, match="closed after 100000 of 1024000 bytes.*try again to resume"):
        fetch_weights(published, folder=tmp_path)
    assert not (tmp_path / "weights.pt").exists()
    server.stop_after = None
    assert fetch_weights(published, folder=tmp_path).read_bytes() == BODY
    assert server.requests == [None, "bytes=100000-"]


def test_many_at_once_download_once(server: Server, tmp_path: Path) -> None:
    published = PublishedWeights(server.url, None, "none")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch_weights(published, folder=tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert server.requests == [None]


def test_a_whole_part_file_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt.part").write_bytes(BODY)
    assert fetch_weights(PublishedWeights(server.url, SHA256, "none"), folder=tmp_path).read_bytes() == BODY


def test_damage_on_the_way_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-1] + b"x"
    with pytest.raises(WeightsError, match=f"has the SHA-256 .*{SHA256}"):
        fetch_weights(PublishedWeights(server.url, SHA256, "none"), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_damage_in_the_cache_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(BODY[:1000])
    with pytest.raises(WeightsError, match="delete it and download it again"):
        fetch_weights(PublishedWeights(server.url, SHA256, "none"), folder=tmp_path)


def test_a_refusal_names_the_offline_way(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(WeightsError, match="HTTP Error 404.*or pass a local file as `weights`"):
        fetch_weights(PublishedWeights(server.url, None, "none"), folder=tmp_path)


@pytest.fixture(scope="module")
def facenet_file() -> tuple[bytes, torch.Tensor]:
    """A file laid out as facenet-pytorch's VGGFace2 weights are, and one of its tensors."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(3)
    source = InceptionResnetV1(num_classes=8631, classify=True)
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    return buffer.getvalue(), source.last_linear.weight.detach()


@pytest.fixture
def published_facenet(
    server: Server, facenet_file: tuple[bytes, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """The server, with the pinned weights of FaceNet and an empty cache."""
    server.body = facenet_file[0]
    published = PublishedWeights(server.url, hashlib.sha256(server.body).hexdigest(), "none")
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(weights.PUBLISHED_WEIGHTS, ("facenet", "vggface2"), published)
    return server


def test_a_named_download_ends_in_a_network(
    published_facenet: Server, facenet_file: tuple[bytes, torch.Tensor], tmp_path: Path
) -> None:
    model = create_model("facenet", weights="vggface2")
    assert torch.equal(model.encoder[0].last_linear.weight, facenet_file[1])
    assert cache_folder() == tmp_path / "cache"
    assert (tmp_path / "cache" / "weights.pt").is_file()
    create_sequence_model("facenet", weights="vggface2")
    assert published_facenet.requests == [None]


def test_a_damaged_facenet_ends_in_no_network(published_facenet: Server, tmp_path: Path) -> None:
    whole = published_facenet.body
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (flipped, whole[:middle]):  # one bit; a server that has half of the file
        published_facenet.body = damaged
        with pytest.raises(WeightsError, match="has the SHA-256 .* its publisher gives"):
            create_model("facenet", weights="vggface2")
    published_facenet.body, published_facenet.stop_after = whole, middle
    with pytest.raises(WeightsError, match=f"closed after {middle} of {len(whole)} bytes"):
        create_model("facenet", weights="vggface2")
    assert not (tmp_path / "cache" / "weights.pt").exists()


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        read_weights_file(tmp_path / "absent.pt")
    path = tmp_path / "w.pt"
    path.write_bytes(b"not torch")
    with pytest.raises(WeightsError, match="cannot be read as torch weights"):
        read_weights_file(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="contains no state dict"):
        read_weights_file(path)
    save_file({"a": torch.zeros(100)}, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-50])
    with pytest.raises(WeightsError, match="is not a complete safetensors file"):
        read_weights_file(tmp_path / "w.safetensors")


def test_half_precision_files_become_single_precision(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}, tmp_path / "w.safetensors")
    file = read_weights_file(tmp_path / "w.safetensors")
    assert file.tensors["a"].dtype == torch.float32
    assert file.tensors["n"].dtype == torch.int64


def test_a_detector_lends_its_backbone(small_detector: Path) -> None:
    detector, config = read_detector(small_detector)
    lent = create_model(config.model.backbone, weights=str(small_detector))
    assert lent.spec.preprocessing == config.model.preprocessing
    assert lent.spec.backbone_options == config.model.backbone_options
    theirs = detector.encoder.state_dict()
    for name, tensor in lent.encoder.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    assert not torch.equal(lent.head[-1].weight, detector.head[-1].weight)
    with pytest.raises(WeightsError, match="does not fit resnet18.*pass its own weights"):
        create_model("resnet18", weights=str(small_detector))


def test_a_detector_with_a_damaged_config_lends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    for config in ("{}", "[", '{"model": {"preprocessing": 3, "backbone_options": {}, "sequence": null}}'):
        metadata = {"format": "deepfake_detect.detector", "config": config}
        save_file({"encoder.weight": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(WeightsError, match="is a detector whose config is damaged"):
            read_weights_file(path)
    whole = {"preprocessing": {"image_size": 8, "mean": [0], "std": [1]}, "backbone_options": {}}
    for sequence, name in ((None, "head.weight"), ({"temporal": "lstm"}, "encoder.weight")):
        config = json.dumps({"model": {**whole, "sequence": sequence}})
        metadata = {"format": "deepfake_detect.detector", "config": config}
        save_file({name: torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(WeightsError, match="which has no backbone alone"):
            read_weights_file(path)
