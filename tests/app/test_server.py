"""The addresses, asked over a real connection; the scorer only pretends."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.app import jobs as jobs_module
from deepfake_detect.app import uploads
from deepfake_detect.app.options import Limits
from deepfake_detect.app.uploads import display_name
from tests.app.serving import CLIP, FakeScorer, Served, form, until

KEYS = {"error", "what", "came", "allowed", "do"}


@pytest.fixture
def limits() -> Limits:
    return Limits(max_upload_mb=1, max_waiting=16)


@pytest.fixture
def served(tmp_path: Path, limits: Limits) -> Iterator[Served]:
    """The real server on a free port of the loopback, with a scorer that only pretends."""
    with Served(FakeScorer(), limits, tmp_path / "uploads") as one:
        yield one


def refused(answer: Any, status: int, *words: str) -> None:
    """Check that an answer says what came, what is allowed and what to do."""
    assert answer.status == status, answer
    body = answer.json()
    assert body.keys() == KEYS
    assert all(body.values())
    assert all(word in body["error"] for word in words), body


def test_a_file_is_judged_and_deleted(served: Served) -> None:
    answer = served.send("/v1/score?frames=5")
    assert (answer.status, answer.json()) == (200, {"video": "a.mp4", "num_frames": 5})
    assert served.scorer.contents == [CLIP]
    assert served.uploads() == []
    assert served.send("/v1/score").json()["num_frames"] == 32


def test_the_page_comes_whole_and_from_here(served: Served) -> None:
    page = served.ask("GET", "/")
    assert b"nothing leaves it" in page.body
    assert "client=" in page.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(page.headers["set-cookie"].split("; "))
    for path, kind in (("/app.css", "text/css"), ("/app.js", "text/javascript"), ("/timeline.js", "text/")):
        answer = served.ask("GET", path)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        addresses = answer.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"http://" not in addresses
        assert b"https://" not in addresses
    for path in ("/app.py", "/page/app.css", "/../app/server.py", "/%2e%2e/server.py", "/docs", "/redoc"):
        assert served.ask("GET", path).status == 404


def test_every_answer_has_the_headers_of_safety(served: Served) -> None:
    for answer in (
        served.ask("GET", "/"),
        served.ask("GET", "/v1/jobs/x"),
        served.ask("GET", "/v1/health", Host="evil"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_a_job_is_followed_looked_at_and_deleted(served: Served) -> None:
    job = served.send("/v1/jobs?frames=3", name="my clip.mp4")
    assert job.status == 202
    key = job.json()["id"]
    assert served.finished(key)["name"] == "my clip.mp4"
    result = served.ask("GET", f"/v1/jobs/{key}/result").json()
    assert result == {"score": {"video": "my clip.mp4", "num_frames": 3}, "page": {"moments": []}}
    report = served.ask("GET", f"/v1/jobs/{key}/report.html")
    assert report.headers["content-disposition"] == "attachment"
    assert report.headers["content-security-policy"].startswith("sandbox")
    assert report.body == b"<p>report</p>"
    assert len(served.uploads()) == 1
    assert served.ask("DELETE", f"/v1/jobs/{key}").status == 204
    assert served.uploads() == []
    for path in ("", "/result", "/report.html", "/video"):
        refused(served.ask("GET", f"/v1/jobs/{key}{path}"), 404, "does not exist, or was deleted")


def test_a_page_that_closes_says_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key = served.send("/v1/jobs").json()["id"]
    served.finished(key)
    assert served.ask("POST", f"/v1/jobs/{key}/leave", Origin=served.address).status == 204
    assert served.ask("GET", f"/v1/jobs/{key}").status == 200  # the page was only reloaded
    served.app.state.jobs.expire()
    assert len(served.uploads()) == 1
    assert served.ask("POST", f"/v1/jobs/{key}/leave", Origin=served.address).status == 204
    monkeypatch.setattr(jobs_module, "LEAVE_SECONDS", 0.0)
    served.app.state.jobs.expire()
    assert served.uploads() == []


def test_the_player_can_seek(served: Served) -> None:
    content = CLIP + bytes(range(256)) * 40
    key = served.send("/v1/jobs", content).json()["id"]
    video = f"/v1/jobs/{key}/video"
    whole = served.ask("GET", video)
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, content, "video/mp4")
    part = served.ask("GET", video, Range="bytes=2030-2129")
    assert (part.status, part.body) == (206, content[2030:2130])
    assert part.headers["content-range"] == f"bytes 2030-2129/{len(content)}"
    assert served.ask("GET", video, Range="bytes=-5").body == content[-5:]
    assert served.ask("GET", video, Range=f"bytes={len(content)}-").status == 416


def test_results_before_their_time_and_of_failures(served: Served) -> None:
    served.scorer.gate.clear()
    key = served.send("/v1/jobs").json()["id"]
    refused(served.ask("GET", f"/v1/jobs/{key}/result"), 409, "is not finished")
    served.scorer.gate.set()
    bad = served.send("/v1/jobs", name="bad.mp4").json()["id"]
    assert served.finished(bad)["error"]["do"] == "pass a video"
    refused(served.ask("GET", f"/v1/jobs/{bad}/result"), 422, "bad.mp4: is a text file")
    refused(served.ask("GET", f"/v1/jobs/{bad}/video"), 404, "was deleted")


def test_a_bad_file_is_told_and_the_next_one_judged(served: Served) -> None:
    refused(served.send("/v1/score", name="bad.mp4"), 422, "bad.mp4: is a text file; pass a video")
    refused(served.send("/v1/score", name="bug.mp4"), 500, "caused an internal error (ZeroDivisionError)")
    refused(
        served.send("/v1/score", b"hello, world"), 415, "is not a supported video or image", "send an MP4"
    )
    refused(
        served.send("/v1/score", b"#EXTM3U\nfile:///etc/passwd"), 415, "is not a supported video or image"
    )
    refused(served.send("/v1/score", b""), 400, "is empty (0 bytes)")
    assert served.send("/v1/score").status == 200
    assert served.scorer.names == ["bad.mp4", "bug.mp4", "a.mp4"]
    assert served.uploads() == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (CLIP, "video/mp4", 415, "send it as a form"),
        (CLIP, "multipart/form-data", 415, "send it as a form"),
        (b"", "", 415, "has no content type"),
        (CLIP, "multipart/form-data; boundary=limit", 400, "is not a well-formed form"),
        (b"", "multipart/form-data; boundary=limit", 400, "ends too early"),
        (form(CLIP)[0][:-20], form(CLIP)[1], 400, "ends too early"),
        (
            *form(CLIP, field="clip"),
            400,
            "has its file in the field 'clip', and no file in the field 'file'",
        ),
        (form(CLIP)[0][:-11] + b"\r\n" + form(CLIP)[0], form(CLIP)[1], 400, "has several files"),
        (
            b"--limit\r\n" + b"X: " + b"a" * 9000 + b"\r\n\r\n",
            form(CLIP)[1],
            400,
            "is not a well-formed form",
        ),
        (
            form(bytes(200_000), field="other")[0],
            form(CLIP)[1],
            400,
            "has too much data in addition to the file",
        ),
        (b"--limit\r\n\r\nno header\r\n--limit--\r\n", form(CLIP)[1], 400, "has no file in the field"),
    ],
)
def test_malformed_forms(served: Served, body: bytes, kind: str, status: int, words: str) -> None:
    refused(served.ask("POST", "/v1/score", body, Content_Type=kind), status, words)
    assert served.uploads() == []
    assert served.send("/v1/score").status == 200


@pytest.mark.parametrize("frames", ["0", "513", "many", ""])
def test_frames_out_of_range(served: Served, frames: str) -> None:
    refused(served.send(f"/v1/score?frames={frames}"), 422, "frames: is")
    assert served.scorer.names == []


def test_a_large_file_is_refused_by_its_declared_size(served: Served) -> None:
    refused(served.send("/v1/score", bytes(1_300_000)), 413, "has 1,300,", "shorter part")
    assert served.uploads() == []


def test_the_limit_is_that_of_the_file_and_not_of_the_form(served: Served) -> None:
    room = bytes(2**20 - len(CLIP))
    assert served.send("/v1/score", CLIP + room).status == 200
    refused(served.send("/v1/score", CLIP + room + b"x"), 413, "has more than 1,048,576 bytes")
    assert served.uploads() == []


def test_a_large_file_is_refused_while_it_comes_without_a_size(served: Served) -> None:
    """Whoever declares no length is counted all the same, and hears the answer after sending all."""
    body, kind = form(CLIP + bytes(3 * 2**20))
    chunks = [body[start : start + 2**16] for start in range(0, len(body), 2**16)]
    coded = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    head = (f"Content-Type: {kind}", "Transfer-Encoding: chunked")
    with served.open_request("/v1/score", *head, body=coded[: 2**18]) as connection:
        until(lambda: served.app.state.jobs._slots)  # and it keeps its place while the rest is held back
        connection.sendall(coded[2**18 : 2 * 2**20])
        until(lambda: not served.app.state.jobs._slots)  # it is refused by now
        for start in range(2 * 2**20, len(coded), 2**18):
            connection.sendall(coded[start : start + 2**18])
            time.sleep(0.02)
        assert connection.recv(2**16).startswith(b"HTTP/1.1 413")
    assert served.uploads() == []
    assert served.scorer.names == []


def test_an_upload_goes_to_the_disk_as_it_comes(served: Served, tmp_path: Path) -> None:
    """Half a body is on the disk before the other half is sent; so it is held nowhere else."""
    limits = Limits(max_upload_mb=16)
    with Served(FakeScorer(), limits, tmp_path / "more") as one:
        body, kind = form(CLIP + bytes(8 * 2**20))
        head = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        with one.open_request("/v1/score", *head, body=body[: 4 * 2**20]) as connection:
            until(lambda: sum(path.stat().st_size for path in one.uploads()) >= 2 * 2**20)
            connection.sendall(body[4 * 2**20 :])
            assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
        assert one.uploads() == []


def close_rudely(connection: socket.socket) -> None:
    """Reset the connection, as a client that is killed may."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("is_rude", [False, True])
def test_a_client_that_leaves_while_it_sends(
    served: Served, is_rude: bool, caplog: pytest.LogCaptureFixture
) -> None:
    body, kind = form(CLIP + bytes(500_000))
    head = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    connection = served.open_request("/v1/score", *head, body=body[:300_000])
    until(served.uploads)
    close_rudely(connection) if is_rude else connection.close()
    until(lambda: served.uploads() == [])
    assert served.scorer.names == []
    assert served.send("/v1/score").status == 200
    assert served.app.state.jobs._slots == Counter()
    assert faults(caplog) == []


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def test_a_client_that_leaves_while_its_clip_is_judged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.scorer.gate.clear()
    body, kind = form(CLIP)
    head = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    connection = served.open_request("/v1/score", *head, body=body)
    until(lambda: served.scorer.names)
    connection.close()
    until(lambda: served.scorer.num_stopped == 1)
    until(lambda: served.uploads() == [])
    served.scorer.gate.set()
    assert served.send("/v1/score").status == 200
    assert faults(caplog) == []


def test_a_client_that_falls_silent(tmp_path: Path, limits: Limits) -> None:
    limits = replace(limits, max_silence_seconds=0.2)
    with Served(FakeScorer(), limits, tmp_path / "uploads") as served:
        head = (f"Content-Type: {form(CLIP)[1]}", "Content-Length: 9999")
        with served.open_request("/v1/score", *head, body=form(CLIP)[0][:100]) as connection:
            assert connection.recv(2**16).startswith(b"HTTP/1.1 408")
        assert served.uploads() == []


def test_a_client_that_drips(tmp_path: Path, limits: Limits) -> None:
    limits = replace(limits, max_upload_seconds=0.5)
    with Served(FakeScorer(), limits, tmp_path / "uploads") as served:
        head = (f"Content-Type: {form(CLIP)[1]}", "Content-Length: 9999")
        with served.open_request("/v1/score", *head, body=form(CLIP)[0][:100]) as connection:
            connection.settimeout(0.1)
            answer = b""
            for _ in range(100):
                with suppress(TimeoutError):
                    if not answer:
                        connection.sendall(b"\0")
                    answer += connection.recv(2**16)
                if b"was not complete after 0.5 s" in answer:
                    break
            assert answer.startswith(b"HTTP/1.1 408")
        assert served.uploads() == []


def test_fifty_at_once(tmp_path: Path) -> None:
    with Served(FakeScorer(), Limits(max_upload_mb=1), tmp_path / "uploads") as served:
        names = [f"{number}.mp4" if number % 5 else f"bad{number}.mp4" for number in range(50)]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda name: served.send("/v1/score", name=name), names))
        for name, answer in zip(names, answers, strict=True):
            assert answer.status == (422 if name.startswith("bad") else 200)
            assert name in answer.body.decode()
        assert sorted(served.scorer.names) == sorted(names)
        assert served.uploads() == []
        assert served.ask("GET", "/v1/health").json()["waiting"] == 0


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    limits = Limits(max_upload_mb=1, max_waiting=2)
    with Served(FakeScorer(), limits, tmp_path / "uploads") as served:
        served.scorer.gate.clear()
        served.send("/v1/jobs", name="running.mp4")
        until(lambda: served.scorer.names)
        for _ in range(2):
            assert served.send("/v1/jobs").status == 202
        answer = served.send("/v1/score", CLIP + bytes(500_000))
        refused(answer, 503, "is full (2 uploads are waiting)")
        assert int(answer.headers["retry-after"]) > 0
        assert len(served.uploads()) == 3
        served.scorer.gate.set()


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "error")])
def test_a_disk_that_fails(served: Served, number: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as patch:
        patch.setattr(uploads._FilePart, "feed", fail)
        refused(served.send("/v1/score"), 507, "cannot be stored", words)
    assert served.uploads() == []
    assert served.send("/v1/score").status == 200


def test_cookies_tell_the_browsers_of_one_address_apart(served: Served) -> None:
    served.scorer.gate.clear()
    first = served.send("/v1/jobs", name="first.mp4")
    until(lambda: served.scorer.names)
    for number in range(5):
        served.send("/v1/jobs", name=f"many{number}.mp4", Cookie="client=a")
    one = served.send("/v1/jobs", name="one.mp4", Cookie="client=b").json()
    assert (one["stage"], one["place"]) == ("waiting", 2)
    served.scorer.gate.set()
    served.finished(one["id"])
    until(lambda: len(served.scorer.names) == 7)
    assert served.scorer.names[:3] == ["first.mp4", "many0.mp4", "one.mp4"]
    assert first.status == 202


def test_other_pages_and_other_hosts_are_refused(served: Served) -> None:
    refused(served.send("/v1/score", Origin="http://evil.example"), 403, "comes from another page")
    refused(served.send("/v1/jobs", Sec_Fetch_Site="cross-site"), 403, "comes from another page")
    refused(served.ask("GET", "/v1/health", Host="evil.example"), 403, "is for the host 'evil.example'")
    assert served.scorer.names == []
    key = served.send("/v1/jobs", Origin=served.address, Sec_Fetch_Site="same-origin").json()["id"]
    refused(served.ask("DELETE", f"/v1/jobs/{key}", Origin="null"), 403, "comes from another page")
    assert served.ask("GET", f"/v1/jobs/{key}").status == 200


def test_names_are_for_display_alone(served: Served, tmp_path: Path) -> None:
    for name in ("../../escape.mp4", "/etc/passwd", "C:\\\\clip.mp4", "<script>alert(1)</script>.mp4"):
        assert served.send("/v1/score", name=name).status == 200
    assert served.scorer.names == ["escape.mp4", "passwd", "clip.mp4", "script>.mp4"]
    assert not list(tmp_path.rglob("escape*"))
    for path in ("/v1/jobs/..%2f..%2fetc%2fpasswd/video", "/v1/jobs/%2e%2e/video"):
        assert served.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"", "upload"),
        (b"...", "upload"),
        (b"a\x00b\x1b[31m.mp4", "a b [31m.mp4"),
        ("a\u202egpj.mp4".encode(), "a gpj.mp4"),
        (b"\xff.mp4", "\ufffd.mp4"),
        (b"x" * 300 + b".mp4", "x" * 96 + ".mp4"),
    ],
)
def test_names_are_made_fit_to_be_shown(raw: bytes, shown: str) -> None:
    assert display_name(raw) == shown


def test_health_and_the_description_tell_the_limits(served: Served) -> None:
    health = served.ask("GET", "/v1/health").json()
    assert (health["status"], health["running"], health["limits"]["max_upload_bytes"]) == ("ok", 0, 2**20)
    document = served.ask("GET", "/openapi.json").json()
    assert "up to 1 MB, 600 seconds and 50 megapixels" in document["info"]["description"]
    score = document["paths"]["/v1/score"]["post"]
    assert score["requestBody"]["content"]["multipart/form-data"]["schema"]["required"] == ["file"]
    (frames,) = score["parameters"]
    assert (frames["schema"]["minimum"], frames["schema"]["maximum"]) == (1, 512)
    assert {"200", "400", "403", "413", "415", "422", "503", "507"} <= score["responses"].keys()


def test_kept_clips_expire_and_the_end_deletes_the_folder(tmp_path: Path, limits: Limits) -> None:
    from deepfake_detect.app import server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_EXPIRE_SECONDS", 0.05)
        short = replace(limits, keep_minutes=0.1 / 60)
        with Served(FakeScorer(), short, tmp_path / "uploads") as served:
            served.send("/v1/jobs")
            until(lambda: served.scorer.names)
            until(lambda: served.uploads() == [])
            served.scorer.gate.clear()
            served.send("/v1/jobs")
            assert len(served.uploads()) == 1
    assert not served.folder.exists()
    assert served.scorer.is_closed


def test_a_request_that_waits_does_not_hold_up_the_end(tmp_path: Path, limits: Limits) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Served(FakeScorer(), limits, tmp_path / "uploads") as served:
            served.scorer.gate.clear()
            waiting = pool.submit(served.send, "/v1/score")
            until(lambda: served.scorer.names)
        error = waiting.exception(timeout=20)
        assert isinstance(error, OSError | HTTPException) or waiting.result().status >= 500
    assert served.scorer.num_stopped == 1
    assert not served.folder.exists()
