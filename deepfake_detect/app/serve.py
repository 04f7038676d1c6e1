"""A port, a worker and the server, until the user ends it."""

from __future__ import annotations

import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from deepfake_detect.app.guard import HostNames
from deepfake_detect.app.limits import Limits
from deepfake_detect.app.server import create_app
from deepfake_detect.app.worker import WorkerProcess
from deepfake_detect.errors import OptionError
from deepfake_detect.progress import progress_bar

_LARGEST_PORT = 65535
_SHUTDOWN_SECONDS = 3


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; no request is taken yet.

    Args:
        host: Name or address of this computer.
        port: 0 for one that is free.

    Raises:
        OptionError: The port is taken or out of range, or the host is not this computer.

    Example:
        >>> with bind("127.0.0.1", 0) as first:
        ...     first.getsockname()[1] > 0
        True
    """
    if not 0 <= port <= _LARGEST_PORT:
        raise OptionError("port", f"is {port}", f"pass 0 to {_LARGEST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OptionError("host", f"{host!r} is not known", "pass 127.0.0.1") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        cause = f"{host}:{port} cannot be bound to ({error.strerror})"
        raise OptionError("port", cause, "choose another with --port, or end what uses it") from error
    return bound


def serve(
    *,
    host: str,
    port: int,
    detector: str | None,
    device: str,
    limits: Limits,
    announce: Callable[[str], None],
    opens_browser: bool,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        host, port: Where to; see :func:`bind`.
        detector, device: As for ``load_detector``.
        limits: Which to keep.
        announce: Told the address when requests are served.
        opens_browser: Whether the page is opened too.

    Raises:
        OptionError: As :func:`bind`.
        DeepfakeDetectError: The detector cannot be loaded.
    """
    with bind(host, port) as bound:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{bound.getsockname()[1]}"
        folder = Path(tempfile.mkdtemp(prefix="deepfake-detect-"))

        def start() -> None:
            announce(address)
            if opens_browser:
                webbrowser.open(address)

        try:
            with progress_bar() as progress:
                progress.add_task("loading the detector", total=None, note="")
                worker = WorkerProcess(detector, device, limits, folder)
        except BaseException:
            folder.rmdir()
            raise
        app = create_app(worker, limits=limits, folder=folder, names=HostNames(host), on_start=start)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Otherwise a client could call itself anybody, and have anybody's turns.
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[bound])
