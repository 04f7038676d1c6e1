"""A web server on this machine alone: files, and a camera's stream at real speed."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np


class _Handler(SimpleHTTPRequestHandler):
    """Serves the folder's files; ``/camera`` is its stream of JPEGs, as network cameras send them."""

    def __init__(self, *arguments: object, jpegs: Sequence[bytes], rate: float, **more: object) -> None:
        self._jpegs, self._rate = jpegs, rate
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != "/camera":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for jpeg in self._jpegs:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(1 / self._rate)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(folder: Path, *, images: Sequence[np.ndarray] = (), rate: float = 10.0) -> Iterator[str]:
    """Serve a folder, and images (RGB) as a camera's; give the address that they are below."""
    jpegs = [cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in images]
    handler = functools.partial(_Handler, directory=str(folder), jpegs=jpegs, rate=rate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
