"""The HTTP API as its OpenAPI document describes it: every response is compared with its schema."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from deepfake_detect import score_video
from deepfake_detect.app import http
from deepfake_detect.app.jobs import ScoredClip, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.serve import default_num_workers
from tests.app.serving import CLIP, Answer, FakeScorer, Served, form, until


class DocumentScorer(FakeScorer):
    """Returns the document of a real clip, whatever it is given."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self._document = document

    def score(self, task: Task, *rest: Any) -> ScoredClip:
        scored = super().score(task, *rest)
        return replace(scored, score={**self._document, "video": task.name})


@pytest.fixture(scope="module")
def document(portrait_clip: Path) -> dict[str, Any]:
    return score_video(portrait_clip, num_frames=2).to_dict()


@pytest.fixture
def served(document: dict[str, Any], tmp_path: Path) -> Iterator[Served]:
    limits = Limits(max_upload_mb=1)
    with Served(DocumentScorer(document), limits, tmp_path / "uploads") as one:
        yield one


class Interface:
    """Checks responses against the OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.checked: set[tuple[str, str, int]] = set()

    def check(self, method: str, path: str, answer: Answer) -> Any:
        """Check the body of a response; return it."""
        described = self.document["paths"][path][method]["responses"]
        assert str(answer.status) in described, (answer.status, sorted(described))
        self.checked.add((method, path, answer.status))
        content = described[str(answer.status)].get("content", {})
        if "application/json" not in content:
            return answer.body
        schema = {**content["application/json"]["schema"], "components": self.document["components"]}
        errors = list(Draft202012Validator(schema).iter_errors(answer.json()))
        assert errors == []
        return answer.json()


def test_every_response_is_as_the_document_says(served: Served) -> None:
    interface = Interface(served.ask("GET", "/openapi.json").json())
    job, score = "/v1/jobs/{job_id}", "/v1/score"
    interface.check("get", "/v1/health", served.ask("GET", "/v1/health"))
    interface.check("get", "/v1/health", served.ask("GET", "/v1/health", Host="evil"))
    assert interface.check("post", score, served.send(score))["schema_version"] >= 1
    interface.check("post", score, served.send(score, name="bad.mp4"))
    interface.check("post", score, served.send(score, name="bug.mp4"))
    interface.check("post", score, served.send(f"{score}?frames=0"))
    interface.check("post", score, served.send(score, b"text"))
    interface.check("post", score, served.send(score, b""))
    interface.check("post", score, served.send(score, CLIP + bytes(2**20)))
    served.scorer.gate.clear()
    key = interface.check("post", "/v1/jobs", served.send("/v1/jobs"))["id"]
    interface.check("get", job, served.ask("GET", f"/v1/jobs/{key}"))
    interface.check("get", f"{job}/result", served.ask("GET", f"/v1/jobs/{key}/result"))
    served.scorer.gate.set()
    served.finished(key)
    interface.check("get", job, served.ask("GET", f"/v1/jobs/{key}"))
    interface.check("get", f"{job}/result", served.ask("GET", f"/v1/jobs/{key}/result"))
    interface.check("get", f"{job}/report.html", served.ask("GET", f"/v1/jobs/{key}/report.html"))
    interface.check("get", f"{job}/video", served.ask("GET", f"/v1/jobs/{key}/video"))
    interface.check("get", f"{job}/video", served.ask("GET", f"/v1/jobs/{key}/video", Range="bytes=99999-"))
    bad = served.send("/v1/jobs", name="bad.mp4").json()["id"]
    served.finished(bad)
    interface.check("get", job, served.ask("GET", f"/v1/jobs/{bad}"))
    interface.check("delete", job, served.ask("DELETE", f"/v1/jobs/{key}"))
    interface.check("get", job, served.ask("GET", f"/v1/jobs/{key}"))
    statuses = {status for _, _, status in interface.checked}
    assert statuses == {200, 202, 204, 400, 403, 404, 409, 413, 415, 416, 422, 500}


def test_the_document_is_valid_and_describes_a_clip(served: Served, document: dict[str, Any]) -> None:
    described = served.ask("GET", "/openapi.json").json()
    validate(described)
    assert all(path.startswith("/v1/") for path in described["paths"])
    assert "ValidationError" not in described["components"]["schemas"]  # FastAPI's own; ours are Error
    assert "HTTPValidationError" not in str(described)
    clip = {"$ref": "#/components/schemas/ClipDocument", "components": described["components"]}
    validator = Draft202012Validator(clip)
    assert list(validator.iter_errors({**document, "provenance": None})) == []
    assert list(validator.iter_errors({**document, "verdict": "maybe"})) != []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("GET", "/v2/score", {}, 404, "request: GET '/v2/score' is unknown (Not Found)"),
        ("GET", "/score", {}, 404, "'/score' is unknown"),
        ("GET", "/v1/score", {}, 405, "GET '/v1/score' is unknown (Method Not Allowed)"),
        ("DELETE", "/", {}, 405, "Method Not Allowed"),
        ("POST", "/v1/score", {"Origin": "http://evil.example"}, 403, "comes from another page"),
    ],
)
def test_errors_have_one_form(
    served: Served, method: str, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    answer = served.ask(method, path, **headers)
    assert answer.status == status
    assert answer.json().keys() == {"error", "what", "came", "allowed", "do"}
    assert words in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_ranges_that_are_not_there_have_the_form_too(served: Served) -> None:
    key = served.send("/v1/jobs").json()["id"]
    for value, status in (("bytes=99999-", 416), ("bytes=x", 400), ("pages=1-2", 400)):
        answer = served.ask("GET", f"/v1/jobs/{key}/video", Range=value)
        assert answer.status == status
        assert answer.json()["what"] == "range"
    assert served.ask("GET", f"/v1/jobs/{key}/video", Range="bytes=0-3").body == CLIP[:4]


def test_a_bug_of_the_server_has_the_form_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("/a/secret/path")

    monkeypatch.setattr(served.app.state.jobs, "counts", fail)
    answer = served.ask("GET", "/v1/health")
    assert answer.status == 500
    assert "internal error (ZeroDivisionError)" in answer.json()["error"]
    assert b"secret" not in answer.body


def test_requests_are_logged_without_what_is_secret(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "deepfake_detect"):
        key = served.send("/v1/jobs?frames=3").json()["id"]
        served.ask("GET", f"/v1/jobs/{key}/video")
        served.ask("GET", "/v1/health%0a1.2.3.4", Host="evil")
        until(lambda: len([one for one in caplog.records if one.name == http.__name__]) == 3)
    lines = sorted(one.getMessage() for one in caplog.records if one.name == http.__name__)
    assert lines[0].startswith("127.0.0.1 GET /v1/health\\n1.2.3.4 403 ")
    assert lines[1].startswith(f"127.0.0.1 GET /v1/jobs/{key[:4]}.../video 200 ")
    assert lines[2].startswith("127.0.0.1 POST /v1/jobs 202 ")
    assert not any(key in line or "frames" in line for line in lines)


def test_several_clips_are_scored_at_once(tmp_path: Path) -> None:
    scorers = [FakeScorer() for _ in range(3)]
    for one in scorers:
        one.gate.clear()
    with Served(scorers[0], Limits(max_upload_mb=1), tmp_path / "uploads", scorers=scorers) as served:
        keys = [served.send("/v1/jobs", name=f"{number}.mp4").json()["id"] for number in range(5)]
        until(lambda: all(one.names for one in scorers))
        health = served.ask("GET", "/v1/health").json()
        assert (health["running"], health["waiting"], health["workers"]) == (3, 2, 3)
        assert served.ask("DELETE", f"/v1/jobs/{keys[0]}").status == 204
        until(lambda: sum(one.num_stopped for one in scorers) == 1)
        for one in scorers:
            one.gate.set()
        assert [served.finished(key)["stage"] for key in keys[1:]] == ["done"] * 4
    assert sorted(name for one in scorers for name in one.names) == [f"{number}.mp4" for number in range(5)]
    assert all(one.is_closed for one in scorers)


def test_half_the_cores_score_unless_a_gpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_detect.app.serve.has_gpu", lambda: True)
    assert [default_num_workers(device, 8) for device in ("auto", "cpu", "cuda:1")] == [1, 4, 1]
    monkeypatch.setattr("deepfake_detect.app.serve.has_gpu", lambda: False)
    assert default_num_workers("auto", 8) == 4


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(10)
    return connection.recv(2**12) == b""


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_connections_that_ask_nothing_are_closed(tmp_path: Path, sent: bytes) -> None:
    with Served(FakeScorer(), Limits(max_silence_seconds=0.3), tmp_path / "uploads") as served:
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(sent)
            assert is_closed(connection)
        assert served.ask("GET", "/v1/health").status == 200


def test_a_connection_that_has_an_answer_and_begins_anew_slowly_is_closed(tmp_path: Path) -> None:
    with Served(FakeScorer(), Limits(max_silence_seconds=0.5), tmp_path / "uploads") as served:
        head = f"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            for _ in range(2):  # one after the other on one connection
                connection.sendall(head)
                answer = b""
                while b"}}" not in answer:
                    answer += connection.recv(2**16)
                assert answer.startswith(b"HTTP/1.1 200")
            connection.sendall(head[:20])
            assert is_closed(connection)


def test_scoring_may_take_longer_than_a_client_may_be_silent(tmp_path: Path) -> None:
    with Served(FakeScorer(), Limits(max_silence_seconds=0.3), tmp_path / "uploads") as served:
        served.scorer.gate.clear()
        body, kind = form(CLIP)
        head = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        with served.open_request("/v1/score", *head, body=body) as connection:
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            served.scorer.gate.set()
            connection.settimeout(30)
            assert connection.recv(2**12).startswith(b"HTTP/1.1 200")


def test_one_address_gets_half_of_the_connections(tmp_path: Path) -> None:
    limits = Limits(max_connections=8)
    with Served(FakeScorer(), limits, tmp_path / "uploads") as served:
        opened = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(4)]
        with socket.create_connection(("127.0.0.1", served.port)) as fifth:
            assert is_closed(fifth)
        opened.pop().close()
        until(lambda: served.ask_or_none("/v1/health"))
        for one in opened:
            one.close()


def test_the_system_ends_dead_connections(tmp_path: Path) -> None:
    with socket.socket() as one:
        http.set_timeouts(one, Limits(max_silence_seconds=7))
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
