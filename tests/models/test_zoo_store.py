"""Fetching, finding and verifying published detectors, from a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.cli.main import main
from deepfake_detect.errors import CheckpointError, FetchError, OptionError, WeightsError
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.models.zoo.entry import ZooEntry, ZooFile
from deepfake_detect.models.zoo.store import local_detector, zoo_folder
from tests.models.keras_files import write_meso4

NAME = "tiny"
FORM = '<form action="{}/download"><input name="id" value="7"><input name="confirm" value="t"></form>'


class Server(ThreadingHTTPServer):
    """Serves one file with ranges, whatever its path; can cut it, and ask to confirm as Google Drive does."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.cut_after, self.page = body, len(body), ""
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.server.requests.append((self.path, requested))
        if self.server.page and "confirm=t" not in self.path:
            self._send(200, self.server.page.encode(), "text/html; charset=utf-8")
            return
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        self._send(206 if requested else 200, self.server.body[start:], "application/octet-stream")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_meso4(tmp_path / "Meso4.h5")


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(published.read_bytes()) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("DEEPFAKE_DETECT_ZOO_MIRROR", running.url)
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def entry(published: Path, monkeypatch: pytest.MonkeyPatch) -> ZooEntry:
    """An entry whose authors publish no hash."""
    made = replace(
        ZOO["meso4-df"],
        name=NAME,
        files=(ZooFile("https://example.invalid/files/Meso4.h5", size_mb=0.2),),
        license="CC BY-NC 4.0",
        is_noncommercial=True,
        equivalents=(),
    )
    monkeypatch.setitem(ZOO, NAME, made)
    return made


def with_hash(entry: ZooEntry, sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = (replace(entry.files[0], sha256=sha256),)
    monkeypatch.setitem(ZOO, NAME, replace(entry, files=files))


def test_a_detector_is_fetched_once_and_found_by_name(server: Server, entry: ZooEntry) -> None:
    path = dfd.fetch_zoo(NAME, accept_license=True)
    assert path == local_detector("zoo:tiny") == zoo_folder(NAME) / "detector.safetensors"
    assert dfd.fetch_zoo(NAME) == path  # accepted before
    assert server.requests == [("/tiny/Meso4.h5", None)]
    detector = dfd.load_detector("zoo:tiny", runtime="torch", device="cpu")
    assert not detector.config.is_calibrated
    facts = detector.config.training.published
    assert facts is not None
    assert (facts.entry, facts.license, facts.sha256) == (
        NAME,
        "CC BY-NC 4.0",
        (sha256_of_file(path.parent / "Meso4.h5"),),
    )
    check = dfd.verify_zoo("zoo:tiny")
    assert (check.num_tensors, check.largest_difference, check.is_calibrated) == (32, 0.0, False)


def test_a_cut_file_is_resumed(server: Server, entry: ZooEntry) -> None:
    server.cut_after = 50_000
    with pytest.raises(FetchError, match="the connection closed after 50000 of .* try again to resume"):
        dfd.fetch_zoo(NAME, accept_license=True)
    with pytest.raises(
        CheckpointError, match="has not been downloaded yet; run deepfake-detect zoo fetch tiny"
    ):
        dfd.load_detector("zoo:tiny")
    server.cut_after = 10**9
    dfd.fetch_zoo(NAME, accept_license=True)
    assert [ranges for _, ranges in server.requests] == [None, "bytes=50000-"]
    assert dfd.verify_zoo(NAME).num_tensors == 32


def test_another_hash_than_the_published_one(
    server: Server, entry: ZooEntry, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_hash(entry, "0" * 64, monkeypatch)
    with pytest.raises(FetchError, match="has the SHA-256 .*, its publisher gives 0000"):
        dfd.fetch_zoo(NAME, accept_license=True)
    assert [path.name for path in zoo_folder(NAME).iterdir() if path.suffix != ".lock"] == [".lock"]
    with_hash(entry, sha256_of_file(published), monkeypatch)
    dfd.fetch_zoo(NAME, accept_license=True)
    assert dfd.verify_zoo(NAME).files[0].sha256 == sha256_of_file(published)
    with_hash(entry, "1" * 64, monkeypatch)  # the authors have published another file since
    with pytest.raises(FetchError, match="has the SHA-256 .*, which is not that of the published file"):
        dfd.verify_zoo(NAME)


def test_another_hash_than_at_the_first_download(server: Server, entry: ZooEntry) -> None:
    folder = dfd.fetch_zoo(NAME, accept_license=True).parent
    write_meso4(folder / "Meso4.h5", seed=1)
    with pytest.raises(FetchError, match="has the SHA-256 .*, and had .* when it was fetched; delete"):
        dfd.verify_zoo(NAME)
    (folder / "Meso4.h5").unlink()
    with pytest.raises(FetchError, match="Meso4.h5: there is no such file"):
        dfd.verify_zoo(NAME)


def test_a_detector_that_was_exchanged_is_found(server: Server, entry: ZooEntry, tmp_path: Path) -> None:
    folder = dfd.fetch_zoo(NAME, accept_license=True).parent
    kept = (folder / "Meso4.h5").read_bytes()
    record = json.loads((folder / "fetched.json").read_text())
    other = write_meso4(tmp_path / "other.h5", seed=1)
    dfd.fetch_zoo(NAME, accept_license=True, files=[other])
    (folder / "Meso4.h5").write_bytes(kept)
    (folder / "fetched.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="contains other weights than its published file"):
        dfd.verify_zoo(NAME)
    dfd.fetch_zoo(NAME, accept_license=True, files=[folder / "Meso4.h5"])
    record["check_logits"][0] += 1
    (folder / "fetched.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="gives different logits than right after conversion, by"):
        dfd.verify_zoo(NAME)
    (folder / "fetched.json").write_text("{}")
    with pytest.raises(CheckpointError, match="fetched.json: is missing or damaged .*lacks entry"):
        dfd.verify_zoo(NAME)


def test_a_license_that_is_not_accepted(server: Server, entry: ZooEntry) -> None:
    cause = r"the weights of tiny are under CC BY-NC 4.0 \(no commercial use\); read https://github.com"
    with pytest.raises(OptionError, match=f"accept_license: is not set, and {cause}"):
        dfd.fetch_zoo(NAME)
    assert server.requests == []
    assert not zoo_folder(NAME).exists()


def test_offline(entry: ZooEntry, monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    monkeypatch.setenv("DEEPFAKE_DETECT_OFFLINE", "1")
    with pytest.raises(FetchError, match="Meso4.h5: is not in the cache, and DEEPFAKE_DETECT_OFFLINE is set"):
        dfd.fetch_zoo(NAME, accept_license=True)
    path = dfd.fetch_zoo(NAME, accept_license=True, files=[published])
    assert dfd.load_detector("zoo:tiny", runtime="torch", device="cpu").config.name == NAME
    assert (path.parent / "Meso4.h5").read_bytes() == published.read_bytes()


def test_local_files_are_checked(
    entry: ZooEntry, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match=r"files: are 2, and tiny is made of 1; pass Meso4.h5"):
        dfd.fetch_zoo(NAME, accept_license=True, files=[published, published])
    with pytest.raises(FetchError, match=r"absent.h5: there is no such file; pass Meso4.h5"):
        dfd.fetch_zoo(NAME, accept_license=True, files=[tmp_path / "absent.h5"])
    with_hash(entry, "0" * 64, monkeypatch)
    with pytest.raises(FetchError, match="has the SHA-256 .*, that of tiny is 0000"):
        dfd.fetch_zoo(NAME, accept_license=True, files=[published])
    assert not (zoo_folder(NAME) / "detector.safetensors").exists()


def test_an_entry_that_cannot_be_used_says_why(entry: ZooEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ZOO, NAME, replace(entry, refused="its file is a pickled module"))
    with pytest.raises(WeightsError, match="tiny: cannot be used: its file is a pickled module"):
        dfd.load_detector("zoo:tiny")
    with pytest.raises(WeightsError, match="tiny: cannot be used"):
        dfd.fetch_zoo(NAME, accept_license=True)


def test_google_drive_asks_to_confirm(
    server: Server, entry: ZooEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPFAKE_DETECT_ZOO_MIRROR")
    monkeypatch.setattr("deepfake_detect.io.drive.DRIVE_HOSTS", ("127.0.0.1",))
    file = ZooFile(f"{server.url}/uc?id=7", name="Meso4.h5")
    monkeypatch.setitem(ZOO, NAME, replace(entry, files=(file,)))
    server.page = "<p>Sign in</p>"
    with pytest.raises(
        FetchError, match="returned a web page instead of a file: it is not shared .*; download it in a br"
    ):
        dfd.fetch_zoo(NAME, accept_license=True)
    server.page = '<a href="/elsewhere">x</a><a href="/uc?id=7&confirm=no">download</a>'
    with pytest.raises(FetchError, match="returned a web page again after the download was confirmed"):
        dfd.fetch_zoo(NAME, accept_license=True)
    server.page, server.requests = FORM.format(server.url), []
    dfd.fetch_zoo(NAME, accept_license=True)
    assert server.requests == [("/uc?id=7", None), ("/download?id=7&confirm=t", None)]


def test_the_hub_is_where_its_endpoint_is(
    server: Server, entry: ZooEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPFAKE_DETECT_ZOO_MIRROR")
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    file = ZooFile("https://huggingface.co/owner/name/resolve/abc/Meso4.h5")
    monkeypatch.setitem(ZOO, NAME, replace(entry, files=(file,)))
    dfd.fetch_zoo(NAME, accept_license=True)
    assert server.requests == [("/owner/name/resolve/abc/Meso4.h5", None)]


def test_a_published_detector_gives_a_score_and_no_verdict(
    server: Server, entry: ZooEntry, portrait: np.ndarray
) -> None:
    dfd.fetch_zoo(NAME, accept_license=True)
    detector = dfd.load_detector("zoo:tiny", runtime="torch", device="cpu")
    result = detector.score_image(portrait)
    assert result.verdict == "score"
    assert {track.verdict for track in result.tracks} == {"score"}
    assert result.fake_probability is not None
    assert not result.to_dict()["detector"]["is_calibrated"]
    assert dfd.ClipResult.from_dict(result.to_dict()).verdict == "score"


def test_the_commands(server: Server, entry: ZooEntry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "fetch", NAME]) == 2
    assert "error: --accept-license: is not set, and the weights of tiny are under" in capsys.readouterr().err
    assert main(["zoo", "show", NAME]) == 0
    assert "CC BY-NC 4.0, no commercial use" in capsys.readouterr().out
    assert main(["zoo", "fetch", NAME, "--accept-license", "-q"]) == 0
    assert "--detector zoo:tiny" in capsys.readouterr().out
    assert main(["zoo", "verify", NAME]) == 0
    assert "32 tensors converted again: identical" in capsys.readouterr().out
    assert main(["zoo", "list", NAME, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["is_fetched"], listed["is_noncommercial"]) == (NAME, True, True)
    assert main(["zoo", "show", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed
    assert main(["zoo", "list"]) == 0
    assert "meso4-df" in capsys.readouterr().out
    assert main(["zoo", "show"]) == 2
    assert "NAME: is missing; name a detector" in capsys.readouterr().err
