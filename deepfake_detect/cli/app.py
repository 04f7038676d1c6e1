"""Serve a web page and an HTTP API that score uploaded clips on this computer.

Nothing leaves this computer. Press Ctrl-C to stop.
"""

from __future__ import annotations

import argparse

from deepfake_detect.app.options import Limits, ServeOptions
from deepfake_detect.cli.arguments import add_options, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_options(parser, ServeOptions)
    add_options(parser, Limits)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from deepfake_detect.app.serve import serve

    serve(
        **vars(options_of(ServeOptions, arguments)),
        limits=options_of(Limits, arguments),
        on_start=lambda address: print(f"{address}  (press Ctrl-C to stop)", flush=True),
    )
    return 0
