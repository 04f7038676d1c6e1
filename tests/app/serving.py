"""A real server with a scorer that only pretends, and a client that sends what it likes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from deepfake_detect.app.guard import HostNames
from deepfake_detect.app.http import server_config
from deepfake_detect.app.jobs import Progress, ScoredClip, Scorer, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.app.serve import bind
from deepfake_detect.app.server import create_app
from deepfake_detect.errors import CheckpointError, VideoUnreadableError
from deepfake_detect.work import report

CLIP = b"\0\0\0\x18ftypmp42" + bytes(2000)
"""What passes for an MP4 by its first bytes."""


class FakeScorer:
    """Says what it was asked; waits while its gate is closed. Names that begin with ``bad`` fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.names: list[str] = []
        self.contents: list[bytes] = []
        self.num_stopped = 0
        self.is_closed = False

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        self.names.append(task.name)
        self.contents.append(task.path.read_bytes())
        on_progress(Progress("looking", 1, task.num_frames))
        while not self.gate.wait(0.01):
            if is_cancelled():
                self.num_stopped += 1
                raise RequestError("job", "was stopped", "send it again", "", 410)
        if task.name.startswith("bad"):
            raise VideoUnreadableError(task.path, "is a text file", "pass a video")
        if task.name.startswith("bug"):
            raise ZeroDivisionError("by accident")
        score = {"video": task.name, "num_frames": task.num_frames}
        return ScoredClip(score, {"moments": []}, "<p>report</p>") if task.wants_page else ScoredClip(score)

    def close(self) -> None:
        self.is_closed = True


class QuickTaskScorer:
    """Stand-in for a worker's scorer: it starts at once, and scores as long as the name says."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, task: Task) -> ScoredClip:
        report(Progress("checking"))
        time.sleep(float(task.name))
        report(Progress("looking", 0, task.num_frames))
        return ScoredClip({"num_frames_scored": task.num_frames})


def crash_at_start(*_: object, **__: object) -> Any:
    """Stand in for a worker whose process crashes while it loads the detector."""
    os._exit(7)


def without_detector(*_: object, **__: object) -> Any:
    """Stand in for a worker that does not find its detector."""
    raise CheckpointError("absent", "there is no such detector file", "check the path")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A server in a thread; its address and folder, and ways to ask it."""

    def __init__(
        self,
        scorer: Scorer,
        limits: Limits,
        folder: Path,
        *,
        scorers: Sequence[Scorer] = (),
        allow_url: bool = False,
    ) -> None:
        folder.mkdir()
        self.scorer: Any = scorer
        self.folder = folder
        self._socket = bind("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        names = HostNames("127.0.0.1")
        self.app = create_app(
            scorers or [scorer], limits=limits, folder=folder, names=names, allow_url=allow_url
        )
        config = server_config(self.app, limits)
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Served:
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._socket.close()
        assert not self._thread.is_alive()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            lower = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, lower, answer.read())
        finally:
            connection.close()

    def ask_or_none(self, path: str) -> Answer | None:
        """Ask; return nothing where the server closes the connection."""
        try:
            return self.ask("GET", path)
        except (OSError, http.client.HTTPException):
            return None

    def send(self, path: str, content: bytes = CLIP, *, name: str = "a.mp4", **headers: str) -> Answer:
        """Send a file in a form."""
        body, kind = form(content, name=name)
        return self.ask("POST", path, body, Content_Type=kind, **headers)

    def open_request(self, path: str, *headers: str, body: bytes = b"") -> socket.socket:
        """Begin a POST and leave it open."""
        one = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers, "", ""]
        one.sendall("\r\n".join(lines).encode() + body)
        return one

    def uploads(self) -> list[Path]:
        return list(self.folder.iterdir())

    def finished(self, job_id: str) -> Any:
        """Wait for a job's end and return its status."""
        return until(
            lambda: (
                (status := self.ask("GET", f"/v1/jobs/{job_id}").json())["stage"] in ("done", "failed")
                and status
            )
        )


def form(content: bytes, *, name: str = "a.mp4", field: str = "file") -> tuple[bytes, str]:
    """Return the body of a form with one file, and its content type."""
    head = f'--limit\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
    return head.encode() + b"Content-Type: video/mp4\r\n\r\n" + content + b"\r\n--limit--\r\n", (
        "multipart/form-data; boundary=limit"
    )


def until(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
    return value
