"""A web server that ends no answer: endless, slow or silent."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *arguments: Any, is_ending: threading.Event) -> None:
        self._is_ending = is_ending
        super().__init__(*arguments)

    def do_GET(self) -> None:
        with suppress(OSError):
            if self.path.startswith("/silent"):
                self._is_ending.wait(5)
                return
            if self.path.startswith("/slow-head"):
                self._trickle(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            if self.path.startswith("/large"):
                self.send_header("Content-Length", str(2**40))
            self.end_headers()
            if self.path.startswith("/slow"):
                self._trickle(b"x" * 1000)
            while not self._is_ending.is_set():
                self.wfile.write(bytes(2**16))

    def _trickle(self, data: bytes) -> None:
        for number in range(len(data)):
            self.wfile.write(data[number : number + 1])
            self.wfile.flush()
            if self._is_ending.wait(0.05):
                return

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def bad_server() -> Iterator[str]:
    """Serve ``/endless``, ``/large`` (announced), ``/slow``, ``/slow-head`` and ``/silent``."""
    is_ending = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, is_ending=is_ending))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        is_ending.set()
        server.server_close()
        for one in threading.enumerate():
            if one.name == "download":  # given up, it ends with its connection
                one.join(10)
        gc.collect()
