"""The command line: one module a subcommand, arguments in, library calls, words out.

Each module has a docstring, ``add_arguments(parser)`` and ``run(arguments) -> exit code``; the codes are
those of ``main.EXIT_CODES``.
"""

from deepfake_detect.cli.main import main

__all__ = ["main"]
