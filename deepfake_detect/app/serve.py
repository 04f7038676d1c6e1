"""Port, worker and server, until the user ends it."""

from __future__ import annotations

import os
import socket
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn

from deepfake_detect.app.guard import HostNames
from deepfake_detect.app.http import server_config, set_timeouts
from deepfake_detect.app.options import Limits, ServeOptions
from deepfake_detect.app.server import create_app
from deepfake_detect.app.worker import ScoringProcess
from deepfake_detect.device import has_gpu
from deepfake_detect.errors import OptionError
from deepfake_detect.io.scratch import scratch_folder
from deepfake_detect.progress import progress_bar
from deepfake_detect.scoring.fetch import check_fetching

_MAX_WORKERS = 4


def serve(
    *,
    host: str = ServeOptions.host,
    port: int = ServeOptions.port,
    detector: str | None = None,
    device: str = ServeOptions.device,
    workers: int | None = ServeOptions.workers,
    open_browser: bool = False,
    allow_url: bool = False,
    limits: Limits | None = None,
    on_start: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a web page and an HTTP API that score uploaded clips; return when the process is interrupted.

    Uploads are streamed to disk, scored in a separate process, and deleted. Nothing leaves this computer;
    only ``allow_url`` opens network connections, to the URLs that clients pass.

    Args:
        host: Address to listen on; ``"0.0.0.0"`` for all.
        port: Port to listen on; 0 picks a free one.
        detector: Detector file; the bundled detector when ``None``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        workers: Clips scored at a time, one process each; ``None`` is half the cores, at most 4, and 1 on
            a GPU.
        open_browser: Whether to open the page in the browser.
        allow_url: Whether clients can pass the URL of a clip, which this computer then downloads.
        limits: What can be uploaded and how long it is kept; ``None`` means the defaults.
        on_start: Called with the server's address once it accepts requests.

    Raises:
        OptionError: An option is out of range, the port is in use, the host is not this computer, or the
            extra ``url`` is missing.
        DeepfakeDetectError: The detector cannot be loaded.
    """
    options = ServeOptions(host, port, detector, device, workers, open_browser, allow_url)
    limits = Limits() if limits is None else limits
    check_fetching(["https://"] if options.allow_url else [])
    with bind(options.host, options.port) as bound, scratch_folder() as folder:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{bound.getsockname()[1]}"

        def start() -> None:
            on_start(address)
            if open_browser:
                webbrowser.open(address)

        scorers = _scorers(options, limits, folder)
        app = create_app(
            scorers,
            limits=limits,
            folder=folder,
            names=HostNames(host),
            allow_url=allow_url,
            on_start=start,
        )
        set_timeouts(bound, limits)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has shut down
            uvicorn.Server(server_config(app, limits)).run(sockets=[bound])


def default_num_workers(device: str, num_cores: int) -> int:
    """Return how many clips are scored at a time: decoding and detection use two cores each.

    Example:
        >>> [default_num_workers("cpu", cores) for cores in (1, 2, 6, 64)], default_num_workers("cuda", 64)
        ([1, 1, 3, 4], 1)
    """
    is_on_gpu = device.startswith("cuda") or (device == "auto" and has_gpu())
    return 1 if is_on_gpu else max(1, min(num_cores // 2, _MAX_WORKERS))


def _scorers(options: ServeOptions, limits: Limits, folder: Path) -> list[ScoringProcess]:
    """Return the scoring processes; leave none of them behind if one does not start."""
    num_cores = os.cpu_count() or 1
    num_workers = options.workers or default_num_workers(options.device, num_cores)
    num_threads = None if num_workers == 1 else max(1, num_cores // num_workers)
    start = partial(ScoringProcess, options.detector, options.device, limits, folder, num_threads=num_threads)
    with progress_bar() as progress, ThreadPoolExecutor(num_workers) as pool:
        progress.add_task("loading the detector", total=None, note="")
        starting = [pool.submit(start) for _ in range(num_workers)]
    failed = [error for one in starting if (error := one.exception())]
    if failed:
        for one in starting:
            if one.exception() is None:
                one.result().close()
        raise failed[0]
    return [one.result() for one in starting]


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; no request is accepted yet.

    Args:
        host: Name or address of this computer.
        port: 0 for any free one.

    Raises:
        OptionError: The port is in use, or the host is not this computer.

    Example:
        >>> with bind("127.0.0.1", 0) as first:
        ...     first.getsockname()[1] > 0
        True
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OptionError("host", f"{host!r} is unknown", "pass 127.0.0.1") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        cause = f"{host}:{port} cannot be used ({error.strerror})"
        raise OptionError("port", cause, "choose another `port`, or stop the program that uses it") from error
    return bound
