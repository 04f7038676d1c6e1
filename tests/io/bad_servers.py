"""A web server that ends no answer: endless, slow or silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with suppress(OSError):
            if self.path.startswith("/silent"):
                time.sleep(5)
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
            while True:
                self.wfile.write(bytes(2**16))

    def _trickle(self, data: bytes) -> None:
        for number in range(len(data)):
            self.wfile.write(data[number : number + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def bad_server() -> Iterator[str]:
    """Serve ``/endless``, ``/large`` (announced), ``/slow``, ``/slow-head`` and ``/silent``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()  # not server_close(), which waits for the answers to end
