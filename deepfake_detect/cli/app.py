"""Serve a page on this computer that judges clips dropped on it, and an HTTP interface beside it.

Everything runs on this computer and nothing leaves it. Ends on Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.util

from deepfake_detect.errors import OptionError

_NEEDED = ("fastapi", "uvicorn", "python_multipart")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="0 for any free one (default 7860)")
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--frames", type=int, default=32, help="evenly spaced frames to look at (default 32)")
    parser.add_argument(
        "--max-upload-mb", type=float, default=500, help="largest file in MB of 2^20 bytes (default 500)"
    )
    parser.add_argument("--max-seconds", type=float, default=600, help="longest clip (default 600)")
    parser.add_argument(
        "--max-waiting", type=int, default=64, help="uploads that may wait at once (default 64)"
    )
    parser.add_argument(
        "--keep-minutes",
        type=float,
        default=15,
        help="how long a scored clip stays for the page's player (default 15)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError("app", f"needs {', '.join(missing)}", "run: pip install 'deepfake_detect[app]'")
    from deepfake_detect.app.limits import Limits
    from deepfake_detect.app.serve import serve

    limits = Limits(
        max_upload_bytes=int(arguments.max_upload_mb * 2**20),
        max_seconds=arguments.max_seconds,
        max_waiting=arguments.max_waiting,
        num_frames=arguments.frames,
        keep_seconds=arguments.keep_minutes * 60,
    )
    try:
        serve(
            host=arguments.host,
            port=arguments.port,
            detector=arguments.detector,
            device=arguments.device,
            limits=limits,
            announce=lambda address: print(f"{address}  (end with Ctrl-C)", flush=True),
            opens_browser=arguments.open,
        )
    except KeyboardInterrupt:
        return 0  # the way to end it
    return 0
