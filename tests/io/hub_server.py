"""A small Hugging Face Hub on this machine: downloads by revision, private repositories, uploads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_owner"


@dataclass
class Repository:
    """A repository: its revisions with their commits, and the files of each commit."""

    revisions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    is_private: bool = False

    def commit(self, files: dict[str, bytes], *revisions: str) -> str:
        """Add a commit with these files; ``main`` and other revisions are set to it."""
        name = hashlib.sha1(repr((len(self.files), sorted(files))).encode()).hexdigest()
        self.files[name] = files
        self.revisions.update(dict.fromkeys(("main", *revisions), name))
        return name


@dataclass
class Hub:
    """The server's state: what it has, what it was asked for, and what it does wrong."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cuts_files: bool = False
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._resolve(has_body=False)

    def do_GET(self) -> None:
        self._resolve(has_body=True)

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            is_new = name not in self.hub.repositories
            self.hub.repositories.setdefault(name, Repository(is_private=bool(wanted.get("private"))))
            url = {"url": f"{self.hub.address}/{name}", "id": name}
            self._answer(200 if is_new else 409, url if is_new else {**url, "error": "exists already"})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", self.path):
            files = [
                {"path": one["path"], "shouldIgnore": False, "uploadMode": "regular"}
                for one in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif found := re.fullmatch(r"/api/models/(.+)/branch/(.+)", self.path):
            repository = self.hub.repositories[found[1]]
            repository.revisions[found[2]] = repository.revisions.get("main", "0" * 40)
            self._answer(200, {})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/(.+)", self.path):
            self._commit(found[1], found[2], body)
        else:
            self._answer(404, {"error": self.path})

    def log_message(self, *_: object) -> None: ...

    def _commit(self, repository_name: str, revision: str, body: bytes) -> None:
        repository = self.hub.repositories[repository_name]
        files = dict(repository.files.get(repository.revisions.get("main", ""), {}))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        name = hashlib.sha1(body).hexdigest()
        repository.files[name] = files
        repository.revisions[revision] = name
        self._answer(
            200, {"commitUrl": f"{self.hub.address}/{repository_name}/commit/{name}", "commitOid": name}
        )

    def _resolve(self, *, has_body: bool) -> None:
        self._note()
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if found is None:
            self._answer(404, {"error": self.path})
            return
        name, revision, file = found.groups()
        repository = self.hub.repositories.get(name)
        has_token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.is_private and not has_token):
            self._answer(401, {"error": "Invalid username or password."}, code="RepoNotFound")
            return
        commit = repository.revisions.get(revision.replace("%2F", "/"), revision)
        if commit not in repository.files:
            self._answer(404, {"error": "Invalid rev id"}, code="RevisionNotFound")
        elif file not in repository.files[commit]:
            self._answer(404, {"error": "Entry not found"}, code="EntryNotFound", commit=commit)
        else:
            self._send_file(repository.files[commit][file], commit, has_body=has_body)

    def _send_file(self, data: bytes, commit: str, *, has_body: bool) -> None:
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if has_body:
            end = (first + len(data)) // 2 if self.hub.cuts_files else len(data)
            self.wfile.write(data[first:end])
            self.close_connection = self.hub.cuts_files

    def _answer(self, status: int, value: Any, *, code: str = "", commit: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _note(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Serve an empty hub; its ``address`` is for ``HF_ENDPOINT``."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
