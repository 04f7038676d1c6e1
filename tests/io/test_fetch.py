"""Downloads with urllib for the web and fsspec for the rest; resuming over http is in tests/models."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from deepfake_detect.errors import FetchError, OptionError, OutputError
from deepfake_detect.io.fetch import (
    OnBytes,
    RemoteDir,
    download,
    fetch_file,
    is_url,
    path_or_url,
    watch_download,
)
from deepfake_detect.io.files import cache_folder
from tests.io.bad_servers import bad_server

BODY = bytes(range(256)) * 16
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def url(tmp_path: Path) -> str:
    pytest.importorskip("fsspec")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.bin").write_bytes(BODY)
    return f"file://{tmp_path}/there/a.bin"


def test_a_file_is_fetched_once(url: str, tmp_path: Path) -> None:
    first = fetch_file(url, folder=tmp_path / "cache", sha256=SHA256)
    (tmp_path / "there" / "a.bin").unlink()
    assert fetch_file(url, folder=tmp_path / "cache", sha256=SHA256[:8]) == first
    assert first.read_bytes() == BODY
    with pytest.raises(FetchError, match=r"absent.bin: cannot be fetched .*; check that it exists"):
        fetch_file(url.replace("a.bin", "absent.bin"), folder=tmp_path / "cache")


def test_a_part_is_resumed(url: str, tmp_path: Path) -> None:
    (tmp_path / "b.bin.part").write_bytes(BODY[:1000])
    seen: list[tuple[int, int | None]] = []
    download(url, tmp_path / "b.bin", on_bytes=lambda *bytes_: seen.append(bytes_))
    assert (tmp_path / "b.bin").read_bytes() == BODY
    assert seen == [(4096, 4096)]
    assert not (tmp_path / "b.bin.part").exists()
    (tmp_path / "c.bin.part").write_bytes(b"x" * 5000)  # of another, longer file
    download(url, tmp_path / "c.bin")
    assert (tmp_path / "c.bin").read_bytes() == BODY


def test_too_large_or_another_hash(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="has more than 4,095 bytes; fetch a smaller file"):
        download(url, tmp_path / "b.bin", max_bytes=4095)
    download(url, tmp_path / "b.bin", max_bytes=4096)
    with pytest.raises(FetchError, match="has the SHA-256 .*, its publisher gives 00; delete it"):
        fetch_file(url, folder=tmp_path / "cache", sha256="00")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("path", ["/endless.mp4", "/large.mp4"])
def test_a_download_has_a_limit_of_bytes(path: str, tmp_path: Path) -> None:
    with (
        bad_server() as address,
        pytest.raises(FetchError, match="has more than 1,000,000 bytes; fetch a sm"),
    ):
        download(address + path, tmp_path / "a.mp4", max_bytes=1_000_000)
    assert all(file.stat().st_size <= 1_000_000 for file in tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/slow.mp4", "/slow-head.mp4", "/silent.mp4"])
def test_a_slow_or_silent_connection_ends(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_detect.io.fetch.SLOW_SECONDS", 0.4)
    started = time.monotonic()
    with (
        bad_server() as address,
        pytest.raises(FetchError, match="mp4: sent less than 500,000 bytes in 0.4 seconds; try again"),
    ):
        download(address + path, tmp_path / "a.mp4")
    assert time.monotonic() - started < 3


def test_a_download_of_any_kind_is_watched() -> None:
    def work(report: OnBytes) -> None:
        for done in range(10):
            report(done, None)
        raise ValueError("of its own")

    seen: list[int] = []
    with pytest.raises(ValueError, match="of its own"):
        watch_download("u", work, max_bytes=9, on_bytes=lambda done, _: seen.append(done))
    assert seen == list(range(10))
    with pytest.raises(FetchError, match="u: has more than 8 bytes"):
        watch_download("u", work, max_bytes=8)


def test_offline_nothing_is_fetched(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFAKE_DETECT_OFFLINE", "1")
    for remote in ("http://127.0.0.1:1/a.bin", "s3://bucket/a.bin"):
        with pytest.raises(FetchError, match="is not in the cache, and DEEPFAKE_DETECT_OFFLINE is set"):
            fetch_file(remote, folder=tmp_path / "cache")
    with pytest.raises(FetchError, match="unset DEEPFAKE_DETECT_OFFLINE"):
        RemoteDir("s3://bucket/a").files()
    assert fetch_file(url, folder=tmp_path / "cache").read_bytes() == BODY  # local files may be read


def test_folders_of_every_protocol(url: str, tmp_path: Path) -> None:
    folder = RemoteDir(url.rpartition("/")[0])
    folder.put(tmp_path / "there" / "a.bin", "sub/b.bin")
    assert folder.files() == {"a.bin": 4096, "sub/b.bin": 4096}
    folder.fetch("sub", tmp_path / "here")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["b.bin"]
    folder.remove("sub/b.bin")
    folder.remove("sub/b.bin")
    assert folder.files() == {"a.bin": 4096}
    with pytest.raises(OptionError, match="is not a URL that fsspec knows"):
        RemoteDir("nowhere://a").files()


def test_paths_and_urls() -> None:
    assert is_url("hf://datasets/a")
    assert path_or_url("s3://bucket/a") == "s3://bucket/a"
    assert path_or_url("a/b") == Path("a/b")


def test_the_cache_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPFAKE_DETECT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "deepfake_detect"
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_user_without_a_home_is_told_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("DEEPFAKE_DETECT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(OutputError, match="unknown because .* no home folder; set DEEPFAKE_DETECT_CACHE"):
        cache_folder()
